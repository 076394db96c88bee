"""Endpoints that fail more often than the others of their service, by access log or by metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from meshnb.checks.causes_log import AnyLog, open_log
from meshnb.checks.registry import check, passed
from meshnb.checks.requests import carries, is_server
from meshnb.envoy.names import ClusterName
from meshnb.model.finding import Evidence, Finding, Fix, Severity, Status, Subject
from meshnb.model.frame import to_pandas

if TYPE_CHECKING:
    import pandas as pd

CODE = "MNB0258"
MIN_REQUESTS = 20
"""With fewer requests to an endpoint, or to the others of its service, nothing is said of it."""
MIN_SHARE = 0.05
"""An endpoint fails often if it fails at least this share of its requests …"""
MIN_FACTOR = 3.0
"""… and at least this many times as often as the others of its service together."""


@check(
    CODE,
    "Does an endpoint fail more often than the others of its service?",
    requires=(),
    uses=("access_log", "request_pods", "pods"),
    scans=("access_log",),
)
def failing_endpoints(
    *,
    access_log: AnyLog | None,
    request_pods: pd.DataFrame | None,
    pods: pd.DataFrame | None,
    min_requests: int = MIN_REQUESTS,
    min_share: float = MIN_SHARE,
    min_factor: float = MIN_FACTOR,
) -> list[Finding]:
    """One finding per endpoint: a server error, a failed connection or a timeout counts, a client that left does not.

    Where no access log was captured, the rates of Istio's metrics by pod are taken instead.
    """
    counted, source = _counted(access_log, request_pods, pods)
    if counted is None or counted.empty:
        what = "Neither access log nor request metrics were captured."
        why = what if counted is None else "No request with an endpoint was counted."
        return [Finding(CODE, Status.UNKNOWN, Severity.ERROR, Subject("Mesh"), why)]
    counted = _against_rest(counted)
    # metrics give rates: how many requests there were is not known, only that there were some
    enough = min_requests if source == "mesh.access_log()" else 0.0
    compared = counted[(counted.requests >= enough) & (counted.others >= enough) & (counted.others > 0)]
    if compared.empty:
        what = f"No endpoint, and the others of its service, got {min_requests} requests: too few to compare."
        return [Finding(CODE, Status.UNKNOWN, Severity.ERROR, Subject("Mesh"), what)]
    # exactly three times as often counts, whatever floating point makes of it
    margin = compared.share - min_factor * compared.share_of_others
    often = compared[(compared.share >= min_share) & (margin >= -1e-9)]
    if often.empty:
        worst = compared.sort_values("share").iloc[-1]
        said = f"the worst, {worst.endpoint}, fails {worst.share:.1%}, the others {worst.share_of_others:.1%}"
        return [passed(CODE, f"None of {len(compared)} endpoints stands out: {said}.")]
    return [_finding(row, counted, source) for row in often.itertuples()]


def _counted(
    access_log: AnyLog | None, request_pods: pd.DataFrame | None, pods: pd.DataFrame | None
) -> tuple[pd.DataFrame | None, str]:
    """Service, endpoint, pod, namespace, version, requests and failed, from the log or else from the metrics."""
    if access_log is not None:
        return _of_log(access_log, pods), "mesh.access_log()"
    if request_pods is not None:
        return _of_metrics(request_pods), "mesh.request_pods()"
    return None, ""


def _of_log(access_log: AnyLog, pods: pd.DataFrame | None) -> pd.DataFrame:
    log = open_log(access_log)
    sent = log.ibis(log.table)
    sent = sent.filter(sent.upstream_host.notnull() & sent.upstream_cluster.notnull())
    sent = sent.filter(~is_server(sent))
    failed: Any = (sent.response_code >= 500).fill_null(False) | carries(sent, "UF", "UT")
    late: Any = carries(sent, "UT")
    counted = sent.group_by("upstream_cluster", endpoint=sent.upstream_host).agg(
        requests=sent.count(), failed=failed.cast("int64").sum(), timeouts=late.cast("int64").sum()
    )
    table = to_pandas(log.run(counted))
    counts = ["requests", "failed", "timeouts"]
    table = (
        table.assign(service=[ClusterName.parse(cluster).fqdn or cluster for cluster in table.upstream_cluster])
        .astype(dict.fromkeys(counts, "int64"))
        .groupby(["service", "endpoint"])[counts]
        .sum()
        .reset_index()
    )
    by_ip = {} if pods is None else {row.ip: row for row in pods[pods.ip.notna()].itertuples()}
    owners = [by_ip.get(endpoint.rpartition(":")[0].strip("[]")) for endpoint in table.endpoint]
    return table.assign(**{name: [getattr(o, name, None) for o in owners] for name in ("pod", "namespace", "version")})


def _of_metrics(pods: pd.DataFrame) -> pd.DataFrame:
    bad = pods.response_code.str.startswith("5").fillna(False).astype(bool)
    # at the server's side a caller that gave up is code 0 with DC: for its caller the endpoint failed
    failed = pods.rate.where(bad, pods.dc_rate)
    table = (
        pods.assign(service=pods.destination_service, endpoint=pods.pod, failed=failed, requests=pods.rate)
        .groupby(["service", "endpoint", "version"], dropna=False)[["requests", "failed"]]
        .sum()
        .reset_index()
    )
    spaces = [str(service).partition(".")[2].partition(".")[0] or None for service in table.service]
    return table.assign(pod=table.endpoint, namespace=spaces)


def _against_rest(counted: pd.DataFrame) -> pd.DataFrame:
    of_service = counted.groupby("service")[["requests", "failed"]].transform("sum")
    others = of_service.requests - counted.requests
    rest = (of_service.failed - counted.failed) / others.where(others > 0)
    return counted.assign(share=counted.failed / counted.requests, others=others, share_of_others=rest.fillna(0.0))


def _finding(endpoint: Any, counted: pd.DataFrame, source: str) -> Finding:
    pod, namespace = endpoint.pod, endpoint.namespace
    named = isinstance(pod, str) and isinstance(namespace, str)
    subject = Subject("Pod", str(pod), str(namespace)) if named else Subject("Endpoint", str(endpoint.endpoint))
    version = f", version {endpoint.version}" if isinstance(endpoint.version, str) else ""
    unit = "requests" if source == "mesh.access_log()" else "requests a second"
    rows = counted[counted.service == endpoint.service].sort_values("share", ascending=False)
    fix = f"kubectl -n {namespace} describe pod {pod}" if named else "kubectl get pods -A -o wide"
    return Finding(
        CODE,
        Status.FAIL,
        Severity.ERROR,
        subject,
        f"Endpoint {endpoint.endpoint}{version} of {endpoint.service} failed {endpoint.failed:g} of "
        f"{endpoint.requests:g} {unit} ({endpoint.share:.1%}); the others {endpoint.share_of_others:.1%}.",
        cause="The others serve the same requests under the same routes, so what is wrong is at this endpoint: its "
        "application, its node, its version. meshnb run what-is-failing says how the requests failed.",
        evidence=(Evidence.of("endpoints of the service", rows, source=source),),
        fix=(Fix(fix, kind="command", note="Outlier detection in the DestinationRule would take it out by itself."),),
        verify=f"meshnb check NEW_SNAPSHOT {CODE}",
        confidence=0.9,
        # cut off by a timeout: those checks say more of the same fault
        refs=("MNB0221", "MNB0201") if 2 * getattr(endpoint, "timeouts", 0) > endpoint.failed else (),
        share=float(endpoint.failed) / float(rows.requests.sum()),
    )
