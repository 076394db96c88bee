"""Requests cut off by a route timeout: 504 UT at the client's side, 0 DC at the server's.

The proxy in front gives up after the route's timeout and answers 504 with flag UT (`response_timeout`). It closes its
connection, so the proxy of the pod logs code 0 with flag DC. A 0 is no 5xx: the server's success rate stays at 100 %
while its clients fail. Nothing in the log of the server's side is wrong; what is slow is the application behind it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from meshnb.checks.registry import check, passed
from meshnb.checks.requests import has_flag, inbound, success_rate
from meshnb.checks.states import in_use
from meshnb.envoy.names import ClusterName
from meshnb.model.finding import Evidence, Finding, Fix, Severity, Status, Subject

if TYPE_CHECKING:
    import pandas as pd

CODE = "MNB0201"

GUILTY_SHARE = 0.8
"""A replica is called the slow one if it stands behind at least this share of the timeouts …"""
GUILTY_FACTOR = 5.0
"""… and its requests time out at least this many times as often as those to all other replicas together."""
MIN_REQUESTS = 5
"""With fewer requests to either, one slow replica cannot be told from a slow service."""


@check(
    CODE,
    "Are requests cut off by a route timeout, and by which replica?",
    requires=("access_log",),
    uses=("routes", "pods"),
)
def slow_upstream(*, access_log: pd.DataFrame, routes: pd.DataFrame | None, pods: pd.DataFrame | None) -> list[Finding]:
    """One finding per service whose requests time out."""
    sent = access_log[access_log.upstream_host.notna() & ~inbound(access_log)]
    if access_log.empty:
        return [_unknown("No request was logged in the window.")]
    if sent.empty:
        return [_unknown("No proxy on the client's side logged a request that reached an upstream.")]
    names = {cluster: ClusterName.parse(cluster) for cluster in sent.upstream_cluster.dropna().unique()}
    sent = sent.assign(host=[names[c].fqdn or c if c in names else None for c in sent.upstream_cluster])
    late = sent[has_flag(sent, "UT")]
    if late.empty:
        slowest = sent.duration_ms.quantile(0.99)
        return [passed(CODE, f"None of {len(sent)} requests hit a timeout; 99 % took at most {slowest:.0f} ms.")]
    found = []
    for host, group in late.groupby("host"):
        requests = sent[sent.host == host]
        found.append(_finding(_Case(str(host), requests, group, by_upstream_host(requests, pods)), access_log, routes))
    return found


def by_upstream_host(requests: pd.DataFrame, pods: pd.DataFrame | None) -> pd.DataFrame:
    """Requests per upstream host, with its pod: the guilty one first.

    Args:
        requests: rows of `access_log` as the client's side logged them.
        pods: table `pods`, to name the pod behind an address; `None` if not captured.

    Returns:
        One row per upstream host: upstream_host, pod, namespace, version, requests, timeouts, timeout_share, and the
        durations p50_ms and p99_ms; most timeouts first.
    """
    grouped = requests.assign(late=has_flag(requests, "UT")).groupby("upstream_host")
    table = grouped.agg(
        requests=("late", "size"),
        timeouts=("late", "sum"),
        p50_ms=("duration_ms", lambda values: float(values.quantile(0.5))),
        p99_ms=("duration_ms", lambda values: float(values.quantile(0.99))),
    ).reset_index()
    table["timeout_share"] = table.timeouts / table.requests
    by_ip = {} if pods is None else {row.ip: row for row in pods[pods.ip.notna()].itertuples()}
    owners = [by_ip.get(host.rpartition(":")[0].strip("[]")) for host in table.upstream_host]
    for column in ("pod", "namespace", "version"):
        table[column] = [getattr(owner, column, None) for owner in owners]
    columns = ["upstream_host", "pod", "namespace", "version", "requests", "timeouts", "timeout_share"]
    return table.sort_values(["timeouts", "upstream_host"], ascending=[False, True], ignore_index=True)[
        [*columns, "p50_ms", "p99_ms"]
    ]


@dataclass(frozen=True)
class _Case:
    """The requests to one service, those that timed out, and its replicas."""

    host: str
    requests: pd.DataFrame
    late: pd.DataFrame
    replicas: pd.DataFrame

    @property
    def share(self) -> float:
        return len(self.late) / len(self.requests)

    @property
    def guilty(self) -> pd.Series | None:
        """The one slow replica, if it can be told from the rest."""
        first, rest = self.replicas.iloc[0], self.replicas.iloc[1:]
        others = int(rest.requests.sum())
        enough = first.requests >= MIN_REQUESTS and others >= MIN_REQUESTS
        if not enough:
            return None
        behind = first.timeouts / len(self.late) >= GUILTY_SHARE
        return first if behind and first.timeout_share >= GUILTY_FACTOR * rest.timeouts.sum() / others else None


def _finding(case: _Case, access_log: pd.DataFrame, routes: pd.DataFrame | None) -> Finding:
    guilty = case.guilty
    timeout, virtual_service = _timeout(case, routes)
    late = case.late.duration_ms
    observed = f"{late.min():.0f} to {late.max():.0f} ms"
    other_side = _server_side(case, access_log)
    return Finding(
        CODE,
        Status.FAIL,
        Severity.ERROR,
        _subject(case, guilty),
        _summary(case, guilty, observed, timeout),
        cause=_cause(case, guilty, other_side, timeout),
        evidence=_evidence(case, other_side),
        fix=_fix(case, guilty, timeout, virtual_service),
        verify="meshnb run 504-slow-upstream -p source=NEW_SNAPSHOT",
        confidence=0.95 if guilty is not None else 0.7,
        share=case.share,
        docs="https://istio.io/latest/docs/tasks/traffic-management/request-timeouts/",
    )


def _subject(case: _Case, guilty: pd.Series | None) -> Subject:
    if guilty is not None and isinstance(guilty.pod, str):
        return Subject("Pod", guilty.pod, guilty.namespace)
    name, _, rest = case.host.partition(".")
    return Subject("Service", name, rest.partition(".")[0])


def _summary(case: _Case, guilty: pd.Series | None, observed: str, timeout: float | None) -> str:
    limit = f"the route's timeout of {timeout:.0f} ms" if timeout else "a timeout of the route"
    total = f"{len(case.late)} of {len(case.requests)} requests to {case.host} ({case.share:.0%})"
    if guilty is None:
        return f"{total} were cut off by {limit} (504 UT after {observed}), on all replicas alike or too few to tell."
    version = f"Version {guilty.version}" if isinstance(guilty.version, str) else "The replica"
    cut = f"{guilty.timeouts} of its {guilty.requests} requests were cut off by {limit} (504 UT after {observed})"
    return (
        f"{version} at {guilty.upstream_host} is slow: {cut}. "
        f"That is {guilty.timeouts} of {len(case.late)} timeouts; {total} failed in all."
    )


def _cause(case: _Case, guilty: pd.Series | None, other_side: pd.DataFrame, timeout: float | None) -> str:
    parts = []
    if timeout:
        parts.append(
            f"The proxy in front waits {timeout:.0f} ms for an answer, then sends 504 (UT, response_timeout) and "
            "closes its connection to the replica."
        )
    if len(other_side):
        disconnected = int((has_flag(other_side, "DC") & other_side.late).sum())
        parts.append(
            f"The replica's own proxy logged {disconnected} of the same requests as 0 DC: its client hung up. "
            "A code of 0 counts as no error, so dashboards show "
            f"{success_rate(case.requests):.0%} success at the client and {success_rate(other_side):.0%} at the server."
        )
    if guilty is not None:
        parts.append("The other replicas answer in time under the same route, so the route and the timeout are sound.")
    else:
        parts.append(
            "Timeouts are spread over the replicas: look at what they share (a database, CPU limits, the timeout)."
        )
    return " ".join(parts)


def _evidence(case: _Case, other_side: pd.DataFrame) -> tuple[Evidence, ...]:
    columns = ["start_time", "proxy", "path", "response_code", "flag_set", "duration_ms", "upstream_host", "request_id"]
    evidence = [
        Evidence.of("requests and timeouts per replica", case.replicas, source="mesh.upstream_hosts()"),
        Evidence.of(
            "requests cut off, as the client's side logged them", case.late[columns], source="mesh.access_log()"
        ),
    ]
    if other_side.late.any():
        rows = other_side[other_side.late][
            ["start_time", "proxy", "path", "response_code", "flag_set", "duration_ms", "request_id"]
        ]
        evidence.append(
            Evidence.of("the same requests, as the server's side logged them", rows, source="mesh.access_log()")
        )
    return tuple(evidence)


def _fix(
    case: _Case, guilty: pd.Series | None, timeout: float | None, virtual_service: tuple[str, str] | None
) -> tuple[Fix, ...]:
    fixes = []
    if guilty is not None and isinstance(guilty.pod, str):
        fixes.append(
            Fix(
                f"kubectl -n {guilty.namespace} delete pod {guilty.pod}",
                kind="command",
                note="Takes the slow replica out; save its logs and a thread dump first, they show why it is slow.",
            )
        )
    if timeout and virtual_service:
        namespace, name = virtual_service
        patch = json.dumps([{"op": "replace", "path": "/spec/http/0/timeout", "value": f"{timeout * 3 / 1000:g}s"}])
        fixes.append(
            Fix(
                f"kubectl -n {namespace} patch virtualservice {name} --type json -p '{patch}'",
                kind="command",
                note="A stopgap: callers then wait longer. Check that http/0 is the route meant.",
            )
        )
    return tuple(fixes)


def _timeout(case: _Case, routes: pd.DataFrame | None) -> tuple[float | None, tuple[str, str] | None]:
    """The timeout of the routes that lead to the clusters concerned, and the VirtualService that sets it."""
    if routes is None:
        return None, None
    routes = in_use(routes)
    leading = routes[
        routes.cluster.isin(set(case.late.upstream_cluster))
        & routes.proxy.isin(set(case.late.proxy))
        & (routes.timeout_ms > 0)
    ]
    if leading.empty:
        return None, None
    # several routes may lead there; the one whose timeout the observed durations meet
    typical = float(case.late.duration_ms.median())
    row = leading.iloc[(leading.timeout_ms - typical).abs().astype("float64").argmin()]
    named = isinstance(row.virtual_service, str) and isinstance(row.virtual_service_namespace, str)
    return float(row.timeout_ms), (row.virtual_service_namespace, row.virtual_service) if named else None


def _server_side(case: _Case, access_log: pd.DataFrame) -> pd.DataFrame:
    """What the proxies of the replicas logged of the same requests, joined by request id; `late`: cut off."""
    rows = access_log[inbound(access_log) & access_log.request_id.isin(set(case.requests.request_id.dropna()))]
    return rows.assign(late=rows.request_id.isin(set(case.late.request_id.dropna())))


def _unknown(summary: str) -> Finding:
    return Finding(CODE, Status.UNKNOWN, Severity.ERROR, Subject("Mesh"), summary)
