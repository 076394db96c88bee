"""Messages of `istioctl analyze` as findings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from meshnb.model.finding import Evidence, Finding, Findings, Fix, Severity, Status, Subject

if TYPE_CHECKING:
    import pandas as pd

CODE = "MNB0340"


def analysis_findings(analysis: pd.DataFrame, analyzers: pd.DataFrame | None = None) -> Findings:
    """One finding per message; what was skipped is `unknown`, and a run that names no analyzer never passes in full.

    Args:
        analysis: table `analysis`.
        analyzers: table `analyzers` of the same run, if it was run with -v.

    Returns:
        Findings with the IST code as reference, so that the same fault found by a check is one finding.
    """
    found = []
    for number, row in enumerate(analysis.itertuples()):
        subject = Subject(
            row.kind if isinstance(row.kind, str) else "Mesh",
            row.object if isinstance(row.object, str) else "",
            row.namespace if isinstance(row.namespace, str) and row.kind != "Namespace" else "",
            row.cluster if isinstance(row.cluster, str) else "",
        )
        found.append(
            Finding(
                CODE,
                Status.FAIL,
                Severity.parse(row.level),
                subject,
                f"{row.code} {row.message}",
                cause=row.meaning if isinstance(row.meaning, str) else "meshnb does not know this message.",
                evidence=(Evidence.of("As istioctl says it.", analysis.iloc[[number]], source="istioctl analyze"),),
                fix=(Fix(row.fix, kind="command"),) if isinstance(row.fix, str) else (),
                verify="istioctl analyze",
                docs=f"https://istio.io/latest/docs/reference/config/analysis/{row.code.lower()}/",
                refs=(row.code,),
            )
        )
    skipped = [] if analyzers is None else sorted(analyzers.analyzer[analyzers.state == "skipped"])
    if skipped:
        summary = f"{len(skipped)} analyzers were skipped: {', '.join(skipped[:5])}{' …' if len(skipped) > 5 else ''}."
        found.append(Finding(CODE, Status.UNKNOWN, Severity.WARNING, Subject("Analysis", "skipped"), summary))
    if analyzers is None and analysis.empty:
        summary = "No message; which analyzers ran is not known. Run it with -v."
        found.append(Finding(CODE, Status.UNKNOWN, Severity.WARNING, Subject("Analysis"), summary))
    elif analysis.empty:
        ran = int((analyzers.state == "executed").sum()) if analyzers is not None else 0
        found.append(
            Finding(CODE, Status.PASS, Severity.ERROR, Subject("Analysis"), f"{ran} analyzers ran and say nothing.")
        )
    return Findings(found)
