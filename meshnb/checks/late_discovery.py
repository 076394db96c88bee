"""Requests lost because configuration or endpoints reach a proxy late: what a bottleneck in discovery looks like.

Two marks in the access log. A proxy sends requests to an address that no pod has any more. Or it has no cluster, route
or endpoint (`NC`, `NR`, `UH`) for a while, and then serves the same host without anybody's help. Istio's own metrics
tell whether the control plane was late at that time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from meshnb.checks.causes_log import AnyLog, Log, open_log
from meshnb.checks.registry import check, passed
from meshnb.checks.requests import answered, carries, has_flag, is_server, matching
from meshnb.envoy.names import ClusterName
from meshnb.model.finding import Evidence, Finding, Fix, Severity, Status, Subject
from meshnb.model.frame import to_pandas

if TYPE_CHECKING:
    import ibis.expr.types as ir
    import pandas as pd

CODE = "MNB0257"
MIN_FAILED = 3
"""Requests that must have been lost."""
LATE_S = 1.0
"""Configuration is late if requests are lost for at least this long, in seconds."""
_FLAGS = ("NC", "NR", "UH")
_SHOWN = ["start_time", "proxy", "authority", "path", "response_code", "flag_set", "upstream_host", "duration_ms"]


@dataclass(frozen=True)
class _Late:
    """Requests lost to one gap: which, at which proxy, and whether it closed by itself."""

    what: str
    subject: Subject
    rows: pd.DataFrame
    closed: bool

    @property
    def seconds(self) -> float:
        times = self.rows.start_time
        return float((times.max() - times.min()).total_seconds())


@check(
    CODE,
    "Are requests lost because configuration or endpoints reach proxies late?",
    requires=("access_log",),
    uses=("pods", "control_plane"),
    scans=("access_log",),
    severity=Severity.WARNING,
)
def late_discovery(
    *,
    access_log: AnyLog,
    pods: pd.DataFrame | None,
    control_plane: pd.DataFrame | None,
    min_failed: int = MIN_FAILED,
    late_s: float = LATE_S,
) -> list[Finding]:
    """One finding per address without pod, or per host of a proxy that had no configuration for a while."""
    log = open_log(access_log)
    sent = log.ibis(log.table)
    sent = sent.filter(sent.start_time.notnull())
    sent = sent.filter(~is_server(sent))
    if not log.run(sent.agg(requests=sent.count())).to_pydict()["requests"][0]:
        return [_unknown("No proxy on the client's side logged a request.")]
    lost = answered(log, sent.filter(carries(sent, "UF", *_FLAGS)), [*_SHOWN, "method", "upstream_cluster"])
    gaps = [*_ghosts(lost, pods), *_transient(lost, log, sent)]
    late = [gap for gap in gaps if len(gap.rows) >= min_failed and gap.seconds >= late_s]
    if late:
        return [_finding(gap, control_plane) for gap in late]
    if pods is None:
        return [_unknown("The pods were not captured: addresses that no pod has any more cannot be told.")]
    longest = max((gap.seconds for gap in gaps), default=0.0)
    return [passed(CODE, f"No configuration was late for {late_s:g} s; the longest gap was {longest:.1f} s.")]


def _ghosts(lost: pd.DataFrame, pods: pd.DataFrame | None) -> list[_Late]:
    """Failed connections to addresses that no pod has."""
    if pods is None or pods.empty:
        return []
    failed = lost[has_flag(lost, "UF") & lost.upstream_host.notna() & lost.upstream_cluster.notna()]
    there = set(pods.ip.dropna())
    # hosts outside of the mesh never have pods
    failed = failed[
        matching(failed.upstream_cluster, lambda cluster: ".svc." in (ClusterName.parse(cluster).fqdn or ""))
    ]
    gone = failed[matching(failed.upstream_host, lambda host: host.rpartition(":")[0].strip("[]") not in there)]
    return [
        _Late(
            f"went to {host}, an address that no pod has",
            _service(str(rows.upstream_cluster.iloc[0])),
            rows,
            closed=False,
        )
        for host, rows in gone.groupby("upstream_host", sort=True)
    ]


def _transient(lost: pd.DataFrame, log: Log, sent: ir.Table) -> list[_Late]:
    """Hosts of a proxy that had no cluster, route or endpoint, and were served afterwards."""
    asked = lost[lost.authority.notna() & lost.method.notna() & lost.path.notna()]
    groups = [
        (flag, key, rows)
        for flag in _FLAGS
        for key, rows in asked[has_flag(asked, flag)].groupby(["proxy", "authority", "path"], sort=True)
    ]
    last = _last_served([key for _, key, _ in groups], log, sent)
    found = []
    for flag, (proxy, authority, path), rows in groups:
        if (proxy, authority, path) in last and last[proxy, authority, path] > rows.start_time.max():
            what = f"found no {_MISSING[flag]} for {authority}{path} at {proxy} ({flag})"
            found.append(_Late(what, Subject("Host", str(authority)), rows, closed=True))
    return found


def _last_served(keys: list[tuple[str, str, str]], log: Log, sent: ir.Table) -> dict[tuple[str, str, str], Any]:
    """When a proxy, host and path were last answered with a status below 500."""
    import pyarrow as pa

    if not keys:
        return {}
    columns = [pa.array(column, pa.string()) for column in zip(*dict.fromkeys(keys), strict=True)]
    wanted = log.ibis(log.lend(pa.table(dict(zip(("by", "host", "where"), columns, strict=True)))))
    good = sent.filter((sent.response_code < 500).fill_null(False))
    same: Any = [good.proxy == wanted.by, good.authority == wanted.host, good.path == wanted.where]
    good = good.semi_join(wanted, same)
    rows = to_pandas(log.run(good.group_by("proxy", "authority", "path").agg(at=good.start_time.max())))
    times = rows["at"].dt.tz_localize("UTC")
    return dict(zip(zip(rows.proxy, rows.authority, rows.path, strict=True), times, strict=True))


_MISSING = {"NC": "cluster", "NR": "route", "UH": "endpoint"}


def _service(cluster: str) -> Subject:
    name, _, rest = (ClusterName.parse(cluster).fqdn or cluster).partition(".")
    return Subject("Service", name, rest.partition(".")[0])


def _finding(gap: _Late, control_plane: pd.DataFrame | None) -> Finding:
    slow = _slow(control_plane)
    end = "; then it was served" if gap.closed else "; it had not ended when the log did"
    evidence = [Evidence.of("requests that were lost", gap.rows[_SHOWN], source="mesh.access_log()")]
    if slow is not None and len(slow):
        evidence.append(Evidence.of("the control plane was late", slow, source="mesh.control_plane()"))
        told = "The control plane's metrics say that pushes were late."
    elif slow is not None:
        told = "The control plane's metrics say that pushes were in time: rather a mistake, repaired meanwhile."
    else:
        told = "No metrics of the control plane were captured: it may as well be a mistake, repaired meanwhile."
    confidence = 0.9 if slow is not None and len(slow) else 0.4 if slow is not None and gap.closed else 0.6
    return Finding(
        CODE,
        Status.FAIL,
        Severity.WARNING,
        gap.subject,
        f"{len(gap.rows)} requests {gap.what}, from {gap.rows.start_time.min():%H:%M:%S} for {gap.seconds:.1f} s{end}.",
        cause="Until the proxy has the new configuration it works with the old one: it sends requests to pods that are "
        f"gone, and knows no cluster or route that is new. {told}",
        evidence=tuple(evidence),
        fix=(Fix("meshnb run control-plane -p source=SNAPSHOT", kind="command", note="Where is the bottleneck?"),),
        verify=f"meshnb check NEW_SNAPSHOT {CODE}",
        confidence=confidence,
    )


def _slow(control_plane: pd.DataFrame | None) -> pd.DataFrame | None:
    """Measures of the push latency above their threshold; `None` if they were not measured."""
    if control_plane is None:
        return None
    rows: Any = control_plane[control_plane.signal == "latency"]
    measured = rows[~rows.verdict.isin(["unknown", "quiet"])]
    columns = ["measure", "what", "verdict", "peak", "unit", "at", "statement"]
    return measured[measured.verdict.isin(["warning", "critical"])][columns] if len(measured) else None


def _unknown(summary: str) -> Finding:
    return Finding(CODE, Status.UNKNOWN, Severity.WARNING, Subject("Mesh"), summary)
