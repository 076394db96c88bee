"""A route leads to a cluster its proxy does not have: Envoy answers 503 with flag NC, `cluster_not_found`.

Envoy checks the clusters of a route only when a request takes it, so such a configuration is accepted and in sync.
Nearly always a VirtualService names a subset no DestinationRule defines, or a host or port no Service has.

Only routes in use are looked at. A cluster that is warming for the first time, or that Envoy refused, is answered the
same way, but the VirtualService is right: such a cluster is a finding of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from meshnb.checks.registry import check, passed
from meshnb.checks.requests import has_flag, matching
from meshnb.checks.states import in_use
from meshnb.checks.subsets import define_subsets
from meshnb.envoy.names import ClusterName
from meshnb.model.finding import Evidence, Finding, Fix, Severity, Status, Subject

if TYPE_CHECKING:
    import pandas as pd

CODE = "MNB0101"
_ROUTE_COLUMNS = ["proxy", "route_config", "virtual_host", "match", "cluster", "weight"]
_LOG_COLUMNS = [
    "proxy",
    "start_time",
    "method",
    "authority",
    "path",
    "response_code",
    "flag_set",
    "response_code_details",
]


@check(
    CODE,
    "Does every route lead to a cluster that its proxy has?",
    requires=("routes", "clusters"),
    uses=("access_log", "services", "pods", "destination_rules"),
)
def missing_cluster(
    *,
    routes: pd.DataFrame,
    clusters: pd.DataFrame,
    access_log: pd.DataFrame | None,
    services: pd.DataFrame | None,
    pods: pd.DataFrame | None,
    destination_rules: pd.DataFrame | None,
) -> list[Finding]:
    """Routes whose cluster is missing, one finding per VirtualService and host; one per cluster that is not in use."""
    leading = in_use(routes)
    leading = leading[leading.cluster.notna()]
    if leading.empty:
        return [_nothing_to_look_at()]
    missing = missing_routes(leading, clusters)
    if missing.empty:
        proxies = leading.proxy.nunique()
        return [
            passed(CODE, f"All {len(leading)} route destinations of {proxies} proxies lead to a cluster they have.")
        ]
    names = missing.cluster.map(ClusterName.parse)
    missing = missing.assign(host=[n.fqdn or str(n) for n in names], port=[n.port for n in names])
    missing = missing.assign(subset=[n.subset for n in names])
    missing, unready = _unready(missing, clusters)
    found = []
    for (cluster, state), group in unready.groupby(["cluster", "state"], sort=True):
        name = ClusterName.parse(str(cluster))
        case = _Case("", "", name.fqdn or str(name), name.port or 0, group)
        rows = clusters[clusters.proxy.isin(case.proxies) & (clusters.cluster == cluster) & (clusters.state == state)]
        found.append(_not_in_use(case, str(cluster), str(state), rows, access_log))
    clusters = in_use(clusters)
    keys = ["virtual_service_namespace", "virtual_service", "host", "port"]
    for (namespace, virtual_service, host, port), group in missing.groupby(keys, dropna=False, sort=True):
        case = _Case(_text(namespace), _text(virtual_service), str(host), int(port or 0), group)
        found.append(_finding(case, clusters, access_log, services, pods, destination_rules))
    return found


def missing_routes(routes: pd.DataFrame, clusters: pd.DataFrame) -> pd.DataFrame:
    """The rows of `routes` whose cluster their own proxy does not have in use.

    Args:
        routes: table `routes`.
        clusters: table `clusters`; a proxy without any row in it is left out, its clusters are not known.

    Returns:
        Rows of `routes`.
    """
    import pandas as pd

    used = in_use(clusters)
    known = set(zip(used.proxy, used.cluster, strict=True))
    proxies = set(clusters.proxy)
    rows = [
        isinstance(cluster, str) and proxy in proxies and (proxy, cluster) not in known
        for proxy, cluster in zip(routes.proxy, routes.cluster, strict=True)
    ]
    return routes[pd.Series(rows, index=routes.index, dtype=bool)]


def _unready(missing: pd.DataFrame, clusters: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Rows whose cluster the proxy does not know at all; and, with its state, those it has but does not use."""
    states = dict(zip(zip(clusters.proxy, clusters.cluster, strict=True), clusters.state, strict=True))
    state = [states.get(key) for key in zip(missing.proxy, missing.cluster, strict=True)]
    marked = missing.assign(state=state)
    return missing[marked.state.isna()], marked[marked.state.notna()]


@dataclass(frozen=True)
class _Case:
    """What one VirtualService gets wrong about one host."""

    namespace: str
    virtual_service: str
    host: str
    port: int
    routes: pd.DataFrame

    @property
    def subsets(self) -> list[str]:
        return sorted({subset for subset in self.routes.subset if subset})

    @property
    def proxies(self) -> list[str]:
        return sorted(self.routes.proxy.unique())

    @property
    def subject(self) -> Subject:
        if self.virtual_service:
            return Subject("VirtualService", self.virtual_service, self.namespace)
        first = self.routes.iloc[0]
        return Subject("Route", f"{first.route_config}/{first.virtual_host}")


def _finding(
    case: _Case,
    clusters: pd.DataFrame,
    access_log: pd.DataFrame | None,
    services: pd.DataFrame | None,
    pods: pd.DataFrame | None,
    destination_rules: pd.DataFrame | None,
) -> Finding:
    present = clusters[clusters.proxy.isin(case.proxies) & (clusters.fqdn == case.host)]
    evidence = [
        Evidence.of(
            f"{_count(case.routes.cluster.nunique(), 'cluster')} named by routes that the proxy does not have",
            case.routes[_ROUTE_COLUMNS],
            source="mesh.routes()",
        ),
        Evidence.of(
            f"clusters the proxy has of {case.host} instead"
            if len(present)
            else f"no cluster of {case.host} in the proxy",
            present[["proxy", "cluster", "subset", "destination_rule"]],
            source=f"mesh.clusters().query('fqdn == \"{case.host}\"')",
        ),
    ]
    failed, total, rows = _refused(case, access_log)
    if total:
        evidence.append(
            Evidence.of(f"{failed} of {total} requests answered 503 NC", rows[_LOG_COLUMNS], source="mesh.access_log()")
        )
    share = failed / total if total else None
    return Finding(
        CODE,
        Status.FAIL,
        Severity.ERROR,
        case.subject,
        _summary(case, failed, total),
        cause=_cause(case, present, destination_rules),
        evidence=tuple(evidence),
        fix=_fix(case, present, services, pods, destination_rules),
        verify=_verify(case),
        share=share,
        docs="https://istio.io/latest/docs/reference/config/analysis/ist0101/",
        refs=("KIA1107", "IST0101"),
    )


def _not_in_use(case: _Case, cluster: str, state: str, rows: pd.DataFrame, access_log: pd.DataFrame | None) -> Finding:
    """A cluster that warms or was refused: Envoy answers as if it were not there."""
    failed, total, refused = _refused(case, access_log)
    evidence = [
        Evidence.of("the routes that lead to it", case.routes[_ROUTE_COLUMNS], source="mesh.routes()"),
        Evidence.of(
            "the cluster", rows[["proxy", "cluster", "state", "error_state", "last_updated"]], source="mesh.clusters()"
        ),
    ]
    if total:
        evidence.append(
            Evidence.of(
                f"{failed} of {total} requests answered 503 NC", refused[_LOG_COLUMNS], source="mesh.access_log()"
            )
        )
    if state == "warming":
        what = "is still warming"
        cause = (
            "Envoy uses a new cluster when it is ready: one of type EDS waits for its endpoints, one with TLS for its "
            "certificate. Until then it answers 503 NC (cluster_not_found) to each request that is routed there."
        )
        note = "A cluster gets its endpoints by EDS: see whether EDS is SYNCED for these proxies."
    else:
        what = "was refused by Envoy"
        errors = "; ".join(sorted(rows.error_state.dropna().unique()))
        cause = f"Envoy refused the cluster ({errors or 'no reason given'}) and has no older version of it."
        note = "CDS is in ERROR for these proxies until the object the message speaks of is corrected."
    return Finding(
        CODE,
        Status.FAIL,
        Severity.ERROR,
        Subject("Cluster", cluster),
        f"Routes of {_some(case.proxies)} lead to cluster {cluster}, which {what}{_failed(failed, total)}.",
        cause=cause,
        evidence=tuple(evidence),
        fix=(Fix("istioctl proxy-status", kind="command", note=note),),
        verify=_verify(case),
        share=failed / total if total else None,
    )


def _some(proxies: list[str]) -> str:
    return ", ".join(proxies[:3]) + (f" and {len(proxies) - 3} more" if len(proxies) > 3 else "")


def _failed(failed: int, total: int) -> str:
    return f"; {failed} of {total} requests ({failed / total:.0%}) failed with 503 NC" if total else ""


def _summary(case: _Case, failed: int, total: int) -> str:
    what = f"subset{'s' if len(case.subsets) > 1 else ''} {', '.join(case.subsets)} of " if case.subsets else ""
    where = _some(case.proxies)
    return f"Routes to {what}{case.host} port {case.port}, which {where} has no cluster for{_failed(failed, total)}."


def _cause(case: _Case, present: pd.DataFrame, destination_rules: pd.DataFrame | None) -> str:
    if case.subsets and len(present):
        has_rule = destination_rules is not None and (destination_rules.host == case.host).any()
        if destination_rules is None:
            rule = "No DestinationRule is known that defines them (the objects were not captured)."
        elif has_rule:
            rule = "A DestinationRule for the host exists and does not define them."
        else:
            rule = "No DestinationRule exists for the host."
        return (
            "A subset becomes a cluster only when a DestinationRule defines it. "
            f"{rule} Envoy accepts the route and answers 503 NC (cluster_not_found) to each request that takes it."
        )
    if len(present):
        ports = ", ".join(map(str, sorted(present.port.dropna().unique())))
        return f"The host has no port {case.port}; the proxy knows it on {ports}."
    return (
        f"The proxy has no cluster of {case.host} at all: the Service does not exist, is not exported to the proxy's "
        "namespace, or a Sidecar resource leaves it out."
    )


def _fix(
    case: _Case,
    present: pd.DataFrame,
    services: pd.DataFrame | None,
    pods: pd.DataFrame | None,
    destination_rules: pd.DataFrame | None,
) -> tuple[Fix, ...]:
    if case.subsets and len(present):
        defined = define_subsets(
            case.host, case.subsets, services=services, pods=pods, destination_rules=destination_rules
        )
        if defined:
            return defined
    name, namespace = [*case.host.split("."), case.namespace][:2]
    return (Fix(f"kubectl -n {namespace} get service {name} --show-labels -o wide", kind="command"),)


def _verify(case: _Case) -> str:
    pod, _, namespace = case.proxies[0].partition(".")
    subset = f" --subset {case.subsets[0]}" if len(case.subsets) == 1 else ""
    return f"istioctl proxy-config clusters {pod}.{namespace} --fqdn {case.host} --port {case.port}{subset}"


def _refused(case: _Case, access_log: pd.DataFrame | None) -> tuple[int, int, pd.DataFrame]:
    """Requests to the virtual hosts at these proxies: how many were refused with NC, how many in all, the rows."""
    import pandas as pd

    if access_log is None:
        return 0, 0, pd.DataFrame()
    domains = {domain.partition(":")[0] for domains in case.routes.domains for domain in domains}
    log = access_log[access_log.proxy.isin(case.proxies)]
    if "*" not in domains:
        log = log[matching(log.authority, lambda authority: authority.partition(":")[0] in domains)]
    refused = log[has_flag(log, "NC")]
    return len(refused), len(log), refused


def _nothing_to_look_at() -> Finding:
    return Finding(
        CODE,
        Status.UNKNOWN,
        Severity.ERROR,
        Subject("Mesh"),
        "No route of any proxy leads to a cluster: nothing to check.",
    )


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
