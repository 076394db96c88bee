"""What a stale proxy holds says little about what was applied: findings drawn from it are less sure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from meshnb.model.finding import Evidence, Finding, Status, Subject

if TYPE_CHECKING:
    import pandas as pd

CAP = 0.5
_ABOUT_SYNC = ("MNB0310", "MNB0311", "MNB0312", "MNB0313", "MNB0314", "MNB0315", "MNB0316", "MNB0317")


def behind(proxy_status: pd.DataFrame) -> set[str]:
    """Proxies that have not taken, or have rejected, what istiod sent them last."""
    return set(proxy_status.proxy[proxy_status.status.isin(["STALE", "ERROR"])])


def cap_confidence(findings: Iterable[Finding], stale: set[str]) -> list[Finding]:
    """The findings, those that rest on stale proxies alone with a confidence of at most `CAP`.

    Args:
        findings: of any checks; those about sync itself and passes stay as they are.
        stale: proxies that are not up to date, `POD.NAMESPACE`.
    """
    result = []
    for finding in findings:
        proxies = _proxies(finding)
        if finding.status is Status.FAIL and finding.code not in _ABOUT_SYNC and proxies and proxies <= stale:
            names = ", ".join(sorted(proxies)[:3])
            said = Evidence(
                f"Drawn from proxies that are not up to date ({names}): look at their sync first.",
                source="mesh.proxy_status()",
            )
            confidence = min(finding.confidence, CAP)
            finding = replace(finding, confidence=confidence, evidence=(*finding.evidence, said))
        result.append(finding)
    return result


def _proxies(finding: Finding) -> set[str]:
    """The proxies a finding rests on: its subject, or those of its evidence."""
    subject: Subject = finding.subject
    if subject.kind == "Proxy":
        return {f"{subject.name}.{subject.namespace}" if subject.namespace else subject.name}
    rows = (row for evidence in finding.evidence for row in evidence.rows)
    return {row["proxy"] for row in rows if isinstance(row.get("proxy"), str)}
