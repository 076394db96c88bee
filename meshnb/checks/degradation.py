"""A service that got worse: more errors or slower answers from some moment on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from meshnb.checks.causes_log import AnyLog, open_log
from meshnb.checks.registry import check, passed
from meshnb.checks.requests import carries, is_server
from meshnb.envoy.names import ClusterName
from meshnb.model.finding import Evidence, Finding, Fix, Severity, Status, Subject
from meshnb.model.frame import to_pandas

if TYPE_CHECKING:
    import pandas as pd

CODE = "MNB0259"
MIN_REQUESTS = 30
"""Requests there must be on either side of the moment."""
MORE_ERRORS = 0.05
"""The share of failed requests grew by this much …"""
SLOWER = 2.0
"""… or the 95th percentile of the duration by this factor …"""
SLOWER_MS = 50.0
"""… and by this much."""
SURE = 4.0
"""How many standard errors lie between before and after: what chance alone makes of some dozen moments is less."""
_CUTS = 48


@dataclass(frozen=True, slots=True)
class Change:
    """The requests to a host before and after a moment.

    Args:
        at: when the first request after it began.
        before, after: number of requests.
        errors_before, errors_after: share of failed ones.
        p95_before, p95_after: 95th percentile of their durations, in ms.
        errors_z, slow_z: standard errors between before and after, of the share of failed ones and of the share of
            those that took at least `slower` times the 95th percentile before.
    """

    at: Any
    before: int
    after: int
    errors_before: float
    errors_after: float
    p95_before: float
    p95_after: float
    errors_z: float
    slow_z: float


@check(CODE, "Did a service get worse, and since when?", requires=("access_log",), scans=("access_log",))
def degradation(
    *,
    access_log: AnyLog,
    min_requests: int = MIN_REQUESTS,
    more_errors: float = MORE_ERRORS,
    slower: float = SLOWER,
    slower_ms: float = SLOWER_MS,
    sure: float = SURE,
) -> list[Finding]:
    """One finding per host, with the moment that splits its requests best into good ones and worse ones."""
    sent = _sent(access_log)
    if sent.empty:
        return [
            Finding(
                CODE, Status.UNKNOWN, Severity.ERROR, Subject("Mesh"), "No request with a host and a time was logged."
            )
        ]
    found, looked = [], 0
    for host, rows in sent.groupby("host", sort=True):
        changes = _changes(rows, min_requests, slower)
        looked += bool(changes)
        by_errors = [c for c in changes if c.errors_after - c.errors_before >= more_errors and c.errors_z >= sure]
        by_time = [
            c
            for c in changes
            if c.p95_after >= max(slower * c.p95_before, c.p95_before + slower_ms) and c.slow_z >= sure
        ]
        if by_errors or by_time:
            first = max(by_errors, key=lambda c: c.errors_z) if by_errors else max(by_time, key=lambda c: c.slow_z)
            found.append(_finding(str(host), first, rows))
    if not looked:
        what = f"No host got {2 * min_requests} requests: too few to compare before and after."
        return [Finding(CODE, Status.UNKNOWN, Severity.ERROR, Subject("Mesh"), what)]
    return found or [passed(CODE, f"None of {looked} hosts got worse.")]


def _sent(access_log: AnyLog) -> pd.DataFrame:
    """Requests by the host asked for, as the client's side logged them; where that is missing, the server's."""
    log = open_log(access_log)
    named = log.ibis(log.table)
    named = named.filter(named.authority.notnull() & named.start_time.notnull() & named.duration_ms.notnull())
    sides = log.run(named.group_by(server=is_server(named)).agg(requests=named.count())).to_pydict()["server"]
    rows = named.filter(~is_server(named)) if False in sides else named
    failed: Any = (rows.response_code >= 500).fill_null(False) | carries(rows, "DC", "NR")
    rows = rows.mutate(failed=failed, host=rows.authority.split(":")[0])
    frame = to_pandas(
        log.run(
            rows.order_by("file", "line").select(
                "host", "start_time", "duration_ms", "failed", "upstream_host", "upstream_cluster"
            )
        )
    )
    return frame.assign(start_time=frame.start_time.dt.tz_localize("UTC"))


def _changes(rows: pd.DataFrame, least: int, slower: float) -> list[Change]:
    """The requests cut in two at some dozens of moments, and at its first failure and first slow answer."""
    import numpy as np

    if len(rows) < 2 * least:
        return []
    rows = rows.sort_values("start_time", kind="stable")
    failed, took = rows.failed.to_numpy(dtype=bool), rows.duration_ms.to_numpy(dtype=float)
    late = took >= slower * np.quantile(took[:least], 0.95)
    places = {int(place) for place in np.linspace(least, len(rows) - least, _CUTS)}
    places |= {int(np.argmax(marks)) for marks in (failed, late) if marks.any()}
    return [
        _change(rows.start_time.iloc[place], place, failed, took, slower)
        for place in sorted(places)
        if least <= place <= len(rows) - least
    ]


def _change(at: Any, place: int, failed: Any, took: Any, slower: float) -> Change:
    import numpy as np

    usual = float(np.quantile(took[:place], 0.95))
    return Change(
        at,
        place,
        len(took) - place,
        float(failed[:place].mean()),
        float(failed[place:].mean()),
        usual,
        float(np.quantile(took[place:], 0.95)),
        _apart(failed, place),
        _apart(took >= slower * usual, place),
    )


def _apart(marks: Any, place: int) -> float:
    """Standard errors between the shares before and after; what is marked everywhere or nowhere is not apart."""
    share = float(marks.mean())
    error = (share * (1 - share) * (1 / place + 1 / (len(marks) - place))) ** 0.5
    return float(marks[place:].mean() - marks[:place].mean()) / error if error else 0.0


def _finding(host: str, change: Change, rows: pd.DataFrame) -> Finding:
    import pandas as pd

    subject = _subject(host, rows)
    before, after = rows[rows.start_time < change.at], rows[rows.start_time >= change.at]
    sides = pd.DataFrame([{"when": when, **_sums(part)} for when, part in (("before", before), ("after", after))])
    said = (
        f"failed {change.errors_after:.1%} of requests, before {change.errors_before:.1%}; "
        f"95 % of answers took at most {change.p95_after:.0f} ms, before {change.p95_before:.0f} ms"
    )
    evidence = [Evidence.of("its requests before and after", sides, source="mesh.access_log()")]
    hosts = after[after.upstream_host.notna()].groupby("upstream_host")
    if len(hosts):
        parts = pd.DataFrame([{"upstream_host": host, **_sums(part)} for host, part in hosts])
        parts = parts.sort_values(["failed", "p95_ms"], ascending=False, ignore_index=True)
        evidence.append(Evidence.of("its endpoints after that", parts, source="mesh.access_log()"))
    return Finding(
        CODE,
        Status.FAIL,
        Severity.ERROR,
        subject,
        f"From {change.at:%Y-%m-%d %H:%M:%S} UTC on {host} {said}.",
        cause="Something changed then: a rollout, a configuration, the load, a dependency. Compare the moment with the "
        "age of pods and objects; where one endpoint alone is worse, it is that endpoint.",
        evidence=tuple(evidence),
        fix=(
            Fix(
                f"kubectl -n {subject.namespace or 'NAMESPACE'} get pods --sort-by=.metadata.creationTimestamp",
                kind="command",
                note="What was new at that moment? mesh.changes() lists objects by the time they were made.",
            ),
        ),
        verify=f"meshnb check NEW_SNAPSHOT {CODE}",
        confidence=0.8,
        share=change.after / (change.before + change.after) * change.errors_after,
    )


def _subject(host: str, rows: pd.DataFrame) -> Subject:
    """The Service behind the host, if all its requests went to one."""
    services = {ClusterName.parse(cluster).fqdn for cluster in rows.upstream_cluster.dropna().unique()}
    name, _, rest = (next(iter(services)) or "").partition(".") if len(services) == 1 else ("", "", "")
    return Subject("Service", name, rest.partition(".")[0]) if ".svc" in rest else Subject("Host", host)


def _sums(part: pd.DataFrame) -> dict[str, Any]:
    return {
        "requests": len(part),
        "failed": int(part.failed.sum()),
        "p50_ms": float(part.duration_ms.quantile(0.5)) if len(part) else None,
        "p95_ms": float(part.duration_ms.quantile(0.95)) if len(part) else None,
    }
