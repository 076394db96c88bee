"""Do callers and servers agree on the success of a service, and are workloads healthy as Kiali counts?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from meshnb.checks.registry import check, passed
from meshnb.model.finding import Evidence, Finding, Severity, Status, Subject

if TYPE_CHECKING:
    import pandas as pd

_TOLERATED = 0.01


@check(
    "MNB0330",
    "Do callers and servers agree on how many requests succeed?",
    requires=["request_rates", "request_gap"],
    uses=["request_pods"],
    severity=Severity.WARNING,
)
def disagreement(
    request_rates: pd.DataFrame, request_gap: pd.DataFrame, request_pods: pd.DataFrame | None
) -> Iterator[Finding]:
    """A gap means that the service's own dashboard is blind to failures; DC says how much of it."""
    if request_gap.empty:
        why = (
            "No request was counted."
            if request_rates.empty
            else "No service was counted by both its callers and itself."
        )
        yield Finding("MNB0330", Status.UNKNOWN, Severity.WARNING, Subject("Mesh"), why)
        return
    wide = request_gap[request_gap["gap"] > _TOLERATED]
    if wide.empty:
        yield passed("MNB0330", f"Both sides agree for {len(request_gap)} services.")
    for row in wide.to_dict("records"):
        yield _gap(row, wide[wide["destination_service"] == row["destination_service"]], request_pods)


def _gap(row: dict[str, Any], rows: pd.DataFrame, pods: pd.DataFrame | None) -> Finding:
    """One service whose callers and proxies differ, with the pod that is to blame if it can be told."""
    evidence = [Evidence.of("success by side", rows, source="mesh.request_gap()")]
    guilty = ""
    if pods is not None:
        mine = pods[(pods["destination_service"] == row["destination_service"]) & (pods["dc_rate"] > 0)]
        if len(mine):
            version = mine["version"].dropna().head(1).tolist()
            guilty = f" Most of them at {mine['pod'].iloc[0]}" + (f", version {version[0]}." if version else ".")
            evidence.append(Evidence.of("pods whose callers went away", mine, source="mesh.request_pods()"))
    name, _, rest = str(row["destination_service"]).partition(".")
    return Finding(
        "MNB0330",
        Status.FAIL,
        Severity.WARNING,
        Subject("Service", name, rest.partition(".")[0]),
        f"Callers see {row['client_success'] * 100:.1f} % succeed, the service itself"
        f" {row['server_success'] * 100:.1f} %; DC accounts for {row['explained'] * 100:.0f} % of the gap.{guilty}",
        cause="The caller's proxy gave up and reports a 5xx. The service's proxy saw its caller hang up and reports"
        " code 0 with flag DC, which no dashboard counts as 5xx: the service looks healthy to itself.",
        evidence=tuple(evidence),
        verify="mesh.request_gap()",
        share=min(max(float(row["gap"]), 0.0), 1.0),
        confidence=0.9 if row["dc"] > 0 else 0.5,
    )


@check("MNB0331", "Is every workload healthy by Kiali's formula?", requires=["request_health"])
def health(request_health: pd.DataFrame) -> Iterator[Finding]:
    """Kiali's thresholds; degraded is a warning, failure an error."""
    if request_health.empty:
        yield Finding(
            "MNB0331", Status.UNKNOWN, Severity.ERROR, Subject("Mesh"), "No request was counted in the window."
        )
        return
    bad = request_health[request_health["status"] != "healthy"]
    if bad.empty:
        workloads = request_health["workload"].nunique()
        yield passed("MNB0331", f"All {workloads} workloads are within Kiali's tolerances.")
    for (namespace, workload), rows in bad.groupby(["namespace", "workload"], dropna=False):
        worst = rows.iloc[0]
        failure = worst["status"] == "failure"
        space = "" if str(namespace) in ("<NA>", "nan", "None") else str(namespace)
        yield Finding(
            "MNB0331",
            Status.FAIL,
            Severity.ERROR if failure else Severity.WARNING,
            Subject("Workload", str(workload), space),
            f"{worst['error_percent']:.3g} % of its {worst['direction']} requests end in {worst['errors']}"
            f" ({worst['error_rate']:.3g} a second); {worst['status']} from"
            f" {worst['failure_from' if failure else 'degraded_from']:g} % on.",
            cause="Kiali counts a request without response code as an error; Istio's dashboards count it as a success.",
            evidence=(Evidence.of("tolerances it is outside of", rows, source="mesh.request_health()"),),
            verify="meshnb run what-is-failing",
        )
