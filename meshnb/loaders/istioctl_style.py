"""Tables of Envoy's configuration exactly as `istioctl proxy-config … -o short` prints them.

Its defects are kept on purpose, so that the text can be compared: resources that warm or were rejected are not shown,
weighted clusters of a TCP proxy are blank, and a chain that mentions `BlackHoleCluster` counts as none. The tables of
`meshnb.read_config_dump` have none of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime

from meshnb.errors import NotFound
from meshnb.loaders.certificates import certificate_rows
from meshnb.loaders.clusters import Cluster, read_cluster
from meshnb.loaders.config_dump import ConfigDump
from meshnb.loaders.ecds import extension_type, read_extension
from meshnb.loaders.endpoints import (
    LbEndpoint,
    health_name,
    read_assignment,
)
from meshnb.loaders.istioctl_text import (
    aligned,
    cluster_key,
    cluster_parts,
    domains_text,
    insertion_sorted,
    numeric_less,
    object_text,
)
from meshnb.loaders.listeners import (
    FilterChain,
    FilterChainMatch,
    HttpConnectionManager,
    Listener,
    TcpProxy,
    chain_match_text,
    cluster_text,
    inline_text,
    is_black_hole,
    read_chain_match,
    read_hcm,
    read_listener,
    read_tcp_proxy,
)
from meshnb.loaders.proto import EMPTY, Address, config_path
from meshnb.loaders.routes import Route, RouteConfiguration, RouteMatch, action_of, match_text, read_match, read_routes
from meshnb.loaders.secrets import read_secret, secret_sources

HCM = "envoy.filters.network.http_connection_manager"
TCP_PROXY = "envoy.filters.network.tcp_proxy"


@dataclass(frozen=True, slots=True)
class Filters:
    """The flags of `istioctl proxy-config`; empty ones ask for nothing.

    Args:
        fqdn: text in the name of a cluster.
        port: port.
        subset: text in the name of a cluster.
        direction: text in the name of a cluster.
        address: IP address, any case.
        type: type of a listener, any case.
        name: name of a route configuration.
        cluster: full name of a cluster, any case.
        status: health status of an endpoint, any case.
    """

    fqdn: str = ""
    port: int = 0
    subset: str = ""
    direction: str = ""
    address: str = ""
    type: str = ""
    name: str = ""
    cluster: str = ""
    status: str = ""


@dataclass(frozen=True, slots=True)
class Style:
    """How to print.

    Args:
        filters: what to leave out.
        verbose: the longer table of listeners and routes.
        prefixed: as in `all`: a column NAME that says what each row is.
        at: time at which certificates must be valid.
    """

    filters: Filters = field(default_factory=Filters)
    verbose: bool = True
    prefixed: bool = False
    at: datetime | None = None


def clusters_text(dump: ConfigDump, style: Style) -> str:
    """`proxy-config clusters`."""
    found = dump.read("clusters", read_cluster)
    if not found:
        raise NotFound("no clusters found", hint="the dump has no section of clusters, or an empty one")
    header = ["SERVICE FQDN", "PORT", "SUBSET", "DIRECTION", "TYPE", "DESTINATION RULE"]
    rows = []
    for cluster in sorted(found, key=lambda one: cluster_key(one.name)):
        if not cluster_wanted(cluster, style.filters):
            continue
        kind = "STATIC" if cluster.cluster_type is not None else str(cluster.type)
        rule = object_text(config_path(cluster.metadata))
        parts = cluster_parts(cluster.name)
        if parts is None:
            shown = f"cluster/{cluster.name}" if style.prefixed else cluster.name
            row: list[object] = [shown, "-", "-", "-", kind, rule]
        else:
            direction, port, subset, host = parts
            row = [host, port, subset or "-", direction, kind, rule]
        rows.append([f"cluster/{cluster.name}", *row] if style.prefixed else row)
    return aligned(["NAME", *header] if style.prefixed else header, rows)


def cluster_wanted(cluster: Cluster, filters: Filters) -> bool:
    """Whether the filters leave a cluster: all of them look for text in its name."""
    texts = (filters.fqdn, filters.subset, filters.direction, f"|{filters.port}|" if filters.port else "")
    return all(text in cluster.name for text in texts)


def listeners_text(dump: ConfigDump, style: Style) -> str:
    """`proxy-config listeners`."""
    found = dump.read("listeners", read_listener)
    if not found:
        raise NotFound("no listeners found", hint="the dump has no section of listeners, or an empty one")
    rows: list[list[object]] = []
    for listener in sorted(found, key=lambda one: (_port(one), _addresses(one)[0], listener_type(one))):
        if not listener_wanted(listener, style.filters):
            continue
        begin: list[object] = [f"listener/{listener.name}"] if style.prefixed else []
        begin += [",".join(_addresses(listener)), _port(listener)]
        if not style.verbose:
            rows.append([*begin, listener_type(listener)])
            continue
        chains = [(_destination(chain), _match(chain)) for chain in _chains(listener)]
        rows += [[*begin, match, to] for to, match in sorted(chains, key=lambda one: one[0], reverse=True)]
    header = ["ADDRESSES", "PORT", *(["MATCH", "DESTINATION"] if style.verbose else ["TYPE"])]
    return aligned(["NAME", *header] if style.prefixed else header, rows, padding=1)


def listener_wanted(listener: Listener, filters: Filters) -> bool:
    """Whether the filters leave a listener."""
    return (
        (not filters.address or filters.address.lower() in [one.lower() for one in _addresses(listener)])
        and (not filters.port or _port(listener) == filters.port)
        and (not filters.type or listener_type(listener).lower() == filters.type.lower())
    )


def _chains(listener: Listener) -> list[FilterChain]:
    default = listener.default_filter_chain
    return [*listener.filter_chains, *([default] if default is not None else [])]


def _addresses(listener: Listener) -> list[str]:
    both = [listener.address, *(one.address for one in listener.additional_addresses)]
    return [_ip(one) for one in both]


def _ip(address: Address | None) -> str:
    internal = address is None or address.envoy_internal_address is not None
    return "" if internal or address is None else address.host or ""


def _port(listener: Listener) -> int:
    return listener.address.port if listener.address is not None else 0


def listener_type(listener: Listener) -> str:
    """HTTP, TCP, HTTP+TCP or UNKNOWN, by the names filters have today."""
    filters = [one for chain in _chains(listener) for one in chain.filters]
    http = any(one.name == HCM for one in filters)
    tcp = any(one.name == TCP_PROXY and not is_black_hole(one) for one in filters)
    return {(True, True): "HTTP+TCP", (True, False): "HTTP", (False, True): "TCP"}.get((http, tcp), "UNKNOWN")


def _match(chain: FilterChain) -> str:
    raw = chain.filter_chain_match
    return chain_match_text(read_chain_match(raw) if raw is not EMPTY else FilterChainMatch())


def _destination(chain: FilterChain) -> str:
    for one in chain.filters:
        if one.name == HCM:
            hcm = read_hcm.maybe(one.any_config) or HttpConnectionManager()
            if hcm.route_config is not None:
                return inline_text(hcm.route_config)
            name = hcm.rds.route_config_name if hcm.rds is not None else ""
            return f"Route: {name}" if name else "HTTP"
        if one.name == TCP_PROXY and not is_black_hole(one):
            return cluster_text((read_tcp_proxy.maybe(one.any_config) or TcpProxy()).cluster)
    return "Non-HTTP/Non-TCP"


def routes_text(dump: ConfigDump, style: Style) -> str:
    """`proxy-config routes`."""
    found = dump.read("routes", read_routes)
    if not found:
        raise NotFound("no routes found", hint="the dump has no section of routes, or an empty one")
    rows: list[list[object]] = []
    for config in insertion_sorted(found, lambda a, b: numeric_less(a.name, b.name)):
        if style.filters.name and config.name != style.filters.name:
            continue
        name = f"route/{config.name}" if style.prefixed else config.name
        if style.verbose:
            rows += [[name, *row] for row in _route_rows(config)]
        else:
            rows.append([name, len(config.virtual_hosts)])
    long = ["VHOST NAME", "DOMAINS", "MATCH", "VIRTUAL SERVICE"]
    return aligned(["NAME", *(long if style.verbose else ["VIRTUAL HOSTS"])], rows)


def _route_rows(config: RouteConfiguration) -> Iterator[list[str]]:
    for host in config.virtual_hosts:
        domains = domains_text(host.domains)
        for route in host.routes:
            if not _to_passthrough(route):
                match = read_match(route.match) if route.match is not EMPTY else RouteMatch()
                yield [host.name, domains, match_text(match), object_text(config_path(route.metadata))]
        if not host.routes:
            yield [host.name, domains, "/*", "404"]


def _to_passthrough(route: Route) -> bool:
    return route.route is not None and action_of(route) == "cluster" and route.route.cluster == "PassthroughCluster"


def endpoints_text(dump: ConfigDump, style: Style) -> str:
    """`proxy-config eds`."""
    rows = [
        [
            f"endpoint/{eds_name(endpoint)}" if style.prefixed else eds_name(endpoint),
            health_text(endpoint),
            str(group.locality) if group.locality is not None else "",
            assignment.cluster_name,
        ]
        for assignment in sorted(dump.read("endpoints", read_assignment), key=lambda one: cluster_key(one.cluster_name))
        for group in assignment.endpoints
        for endpoint in group.lb_endpoints
        if endpoint_wanted(endpoint, assignment.cluster_name, style.filters)
    ]
    return aligned(["NAME", "STATUS", "LOCALITY", "CLUSTER"], rows)


def endpoint_wanted(endpoint: LbEndpoint, cluster: str, filters: Filters) -> bool:
    """Whether the filters leave an endpoint of a cluster."""
    address = (endpoint.endpoint.address if endpoint.endpoint is not None else None) or Address()
    same = filters.address.lower() in (_ip(address).lower(), eds_address(address).lower())
    return (
        (not filters.address or same)
        and (not filters.port or address.port == filters.port)
        and (not filters.cluster or filters.cluster.lower() == cluster.lower())
        and (not filters.status or health_text(endpoint).lower() == filters.status.lower())
    )


def health_text(endpoint: LbEndpoint) -> str:
    """Name of the health status."""
    health = endpoint.health_status
    return health if isinstance(health, str) else health_name(health)


def eds_name(endpoint: LbEndpoint) -> str:
    """All addresses of an endpoint."""
    inner = endpoint.endpoint
    both = [inner.address, *(one.address for one in inner.additional_addresses)] if inner is not None else [None]
    return ",".join(eds_address(one) for one in both)


def eds_address(address: Address | None) -> str:
    """An address as the EDS table shows it: no brackets around IPv6, no `unix://` before a path."""
    if address is not None and address.socket_address is not None:
        return f"{address.socket_address.address}:{address.socket_address.port_value}"
    if address is not None and address.pipe is not None:
        return address.pipe.path
    return str(address) if address is not None else "unknown"


def secrets_text(dump: ConfigDump, style: Style) -> str:
    """`proxy-config secret`: the first certificate of each secret that came over SDS."""
    found = [one for one in dump.resources("secrets") if one.dynamic and one.state in ("warming", "active")]
    if not found:
        return "No active or warming secrets found.\n"
    rows: list[list[str]] = []
    domains: list[str] = []
    for resource in found:
        secret = read_secret(resource.raw)
        for domain, source in secret_sources(secret)[1] or [(None, None)]:
            # text that Envoy was given as a string instead of bytes is not looked at
            given = source if source is not None and source.inline_bytes else None
            first = next(certificate_rows(given, at=style.at))
            name = resource.name or secret.name
            rows.append(
                [
                    f"secret/{name}" if style.prefixed else name,
                    first.get("type", ""),
                    resource.state.upper(),
                    "true" if first.get("valid") else "false",
                    first.get("serial", ""),
                    _rfc3339(first.get("not_after")),
                    _rfc3339(first.get("not_before")),
                ]
            )
            domains.append(domain or first.get("trust_domain") or "")
    header = ["RESOURCE NAME", "TYPE", "STATUS", "VALID CERT", "SERIAL NUMBER", "NOT AFTER", "NOT BEFORE"]
    if all(domains) and not style.prefixed:
        header, rows = [*header, "TRUST DOMAIN"], [[*row, domain] for row, domain in zip(rows, domains, strict=True)]
    return aligned(header, rows)


def _rfc3339(time: datetime | None) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ") if time is not None else ""


def ecds_text(dump: ConfigDump, style: Style) -> str:
    """`proxy-config ecds`."""
    rows = [(one.name, extension_type(one.typed_config) or "") for one in dump.read("ecds", read_extension)]
    return aligned(["ECDS NAME", "TYPE"], sorted(rows, key=lambda row: (row[1], row[0])))


def bootstrap_text(dump: ConfigDump, style: Style) -> str:
    """`proxy-config bootstrap -o short`."""
    df = dump.bootstrap()
    if df.empty:
        raise NotFound("no bootstrap found", hint="the dump has no section of the bootstrap")
    row = df.iloc[-1]
    named = {
        "Istio Version:": row.istio_version,
        "Istio Proxy Version:": row.istio_proxy_version,
        "Envoy Version:": row.envoy_version if isinstance(row.envoy_version, str) else "0.0.0",
    }
    lines = [[name, value] for name, value in named.items() if isinstance(value, str)]
    return aligned(lines[0], lines[1:], padding=1)


TEXTS: dict[str, Callable[[ConfigDump, Style], str]] = {
    "bootstrap": bootstrap_text,
    "clusters": clusters_text,
    "listeners": listeners_text,
    "routes": routes_text,
    "secrets": secrets_text,
    "ecds": ecds_text,
    "endpoints": endpoints_text,
}
"""Function by name of the table."""

_HEADINGS = {
    "bootstrap": "BOOTSTRAP",
    "clusters": "CLUSTER",
    "listeners": "LISTENER",
    "routes": "ROUTE",
    "secrets": "SECRET",
    "endpoints": "ENDPOINTS",
}


def all_text(dump: ConfigDump, style: Style, *, with_headers: bool = False) -> str:
    """`proxy-config all`."""
    style = Style(filters=style.filters, verbose=style.verbose, prefixed=True, at=style.at)
    parts = [
        (f"------ {heading} INFO ------\n\n" if with_headers else "") + TEXTS[name](dump, style)
        for name, heading in _HEADINGS.items()
    ]
    return "\n".join(parts)
