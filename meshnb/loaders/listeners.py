"""Listeners of a config dump, with their filter chains."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from meshnb.loaders.proto import (
    EMPTY,
    AdditionalAddress,
    Address,
    Message,
    Metadata,
    NamedConfig,
    Reader,
    config_path,
    ms,
    text,
)
from meshnb.loaders.routes import RouteConfiguration, WeightedClusters, action_of, match_text, read_match
from meshnb.loaders.sections import Resource
from meshnb.loaders.tls import downstream_tls

HCM = ("envoy.filters.network.http_connection_manager", "envoy.http_connection_manager")
TCP_PROXY = ("envoy.filters.network.tcp_proxy", "envoy.tcp_proxy")


class CidrRange(Message):
    """`core.v3.CidrRange`."""

    address_prefix: str = ""
    prefix_len: int = 0


class FilterChainMatch(Message):
    """`listener.v3.FilterChainMatch`, the part istioctl shows."""

    destination_port: int | None = None
    prefix_ranges: list[CidrRange] = []
    server_names: list[str] = []
    transport_protocol: str = ""
    application_protocols: list[str] = []


class FilterChain(Message):
    """`listener.v3.FilterChain`."""

    name: str = ""
    filter_chain_match: msgspec.Raw = EMPTY
    filters: list[NamedConfig] = []
    transport_socket: NamedConfig | None = None
    metadata: Metadata | None = None


class Listener(Message):
    """`config.listener.v3.Listener`."""

    name: str = ""
    address: Address | None = None
    additional_addresses: list[AdditionalAddress] = []
    filter_chains: list[FilterChain] = []
    default_filter_chain: FilterChain | None = None
    filter_chain_matcher: msgspec.Raw = EMPTY
    listener_filters: list[NamedConfig] = []
    traffic_direction: str | int = ""
    internal_listener: msgspec.Raw = EMPTY
    metadata: Metadata | None = None


class Rds(Message):
    """`http_connection_manager.v3.Rds`."""

    route_config_name: str = ""


class CommonHttp(Message):
    """`core.v3.HttpProtocolOptions`."""

    idle_timeout: str | None = None


class HttpConnectionManager(Message):
    """`http_connection_manager.v3.HttpConnectionManager`."""

    stat_prefix: str = ""
    rds: Rds | None = None
    route_config: RouteConfiguration | None = None
    scoped_routes: msgspec.Raw = EMPTY
    http_filters: list[NamedConfig] = []
    access_log: list[NamedConfig] = []
    common_http_protocol_options: CommonHttp | None = None
    stream_idle_timeout: str | None = None
    request_timeout: str | None = None


class TcpProxy(Message):
    """`tcp_proxy.v3.TcpProxy`."""

    stat_prefix: str = ""
    cluster: str = ""
    weighted_clusters: WeightedClusters | None = None
    idle_timeout: str | None = None
    access_log: list[NamedConfig] = []


read_listener = Reader(Listener)
read_chain_match = Reader(FilterChainMatch)
read_hcm = Reader(HttpConnectionManager)
read_tcp_proxy = Reader(TcpProxy)

# what Istio's lists of application protocols mean, as istioctl words them
_APPLICATION_PROTOCOLS = {
    ("http/1.0", "http/1.1", "h2c", "istio-http/1.0", "istio-http/1.1", "istio-h2"): "HTTP TLS",
    ("istio", "istio-http/1.0", "istio-http/1.1", "istio-h2"): "Istio HTTP Plain",
    ("istio-peer-exchange", "istio"): "TCP TLS",
    ("http/1.0", "http/1.1", "h2c"): "HTTP",
}


def listener_rows(resource: Resource) -> Iterator[dict[str, Any]]:
    """The rows of one listener, see `meshnb.model.tables.envoy.LISTENERS`.

    Raises:
        msgspec.MsgspecError, ValueError: not a listener.
    """
    listener = read_listener(resource.raw) if resource.size else Listener()
    address = listener.address or Address()
    shared = {
        "listener": listener.name or resource.name,
        "address": address.host,
        "port": address.port,
        "additional_addresses": [str(one.address or Address()) for one in listener.additional_addresses] or None,
        "internal": listener.internal_listener is not EMPTY,
        "direction": str(listener.traffic_direction) or None,
        "type": listener_type(listener),
        "listener_filters": [one.name for one in listener.listener_filters],
        "listener_matcher": text(listener.filter_chain_matcher),
        **resource.status,
        "bytes": resource.size,
    }
    own_config = config_path(listener.metadata)
    chains = [(chain, False) for chain in listener.filter_chains]
    chains += [(listener.default_filter_chain, True)] if listener.default_filter_chain is not None else []
    if not chains:
        yield {**shared, "config": own_config}
    for position, (chain, default) in enumerate(chains):
        row = {**shared, "position": position, "default_chain": default, **_chain(chain)}
        row["config"] = config_path(chain.metadata) or own_config
        for destination in _destinations(chain):
            yield {**row, **destination}


def _chain(chain: FilterChain) -> dict[str, Any]:
    raw = chain.filter_chain_match
    match = read_chain_match(raw) if raw is not EMPTY else FilterChainMatch()
    return {
        "chain": chain.name or None,
        "match": chain_match_text(match),
        "match_config": text(raw),
        "sni": match.server_names or None,
        "transport_protocol": match.transport_protocol or None,
        "application_protocols": match.application_protocols or None,
        "destination_port": match.destination_port,
        "filters": [one.name for one in chain.filters],
        **downstream_tls(chain.transport_socket),
    }


def chain_match_text(match: FilterChainMatch) -> str:
    """What a filter chain matches, in istioctl's words.

    Example:
        >>> chain_match_text(FilterChainMatch(server_names=["a.example"], destination_port=443))
        'SNI: a.example; Addr: *:443'
    """
    parts = []
    if match.server_names:
        parts.append(f"SNI: {','.join(match.server_names)}")
    if match.transport_protocol:
        parts.append(f"Trans: {match.transport_protocol}")
    if match.application_protocols:
        known = _APPLICATION_PROTOCOLS.get(tuple(match.application_protocols))
        parts.append(f"App: {known or ','.join(match.application_protocols)}")
    port = f":{match.destination_port}" if match.destination_port is not None else ""
    if match.prefix_ranges:
        parts.append(f"Addr: {','.join(f'{one.address_prefix}/{one.prefix_len}' for one in match.prefix_ranges)}{port}")
    elif port:
        parts.append(f"Addr: *{port}")
    return "; ".join(parts) or "ALL"


def is_black_hole(filter_: NamedConfig) -> bool:
    """Whether istioctl leaves this TCP proxy out: its text holds `BlackHoleCluster` anywhere."""
    return b"BlackHoleCluster" in bytes(filter_.any_config)


def listener_type(listener: Listener) -> str:
    """HTTP, TCP, HTTP+TCP or UNKNOWN, as istioctl judges."""
    chains = [*listener.filter_chains, listener.default_filter_chain]
    filters = [one for chain in chains if chain is not None for one in chain.filters]
    http = any(one.name in HCM for one in filters)
    tcp = any(one.name in TCP_PROXY and not is_black_hole(one) for one in filters)
    return {(True, True): "HTTP+TCP", (True, False): "HTTP", (False, True): "TCP"}.get((http, tcp), "UNKNOWN")


def _destinations(chain: FilterChain) -> Iterator[dict[str, Any]]:
    """One row of destination columns, more for weighted clusters of a TCP proxy."""
    for one in chain.filters:
        if one.name in HCM:
            hcm = read_hcm.maybe(one.any_config) or HttpConnectionManager()
            yield _http(hcm)
            return
        if one.name in TCP_PROXY:
            yield from _tcp(read_tcp_proxy.maybe(one.any_config) or TcpProxy())
            return
    yield {"destination": "Non-HTTP/Non-TCP"}


def _http(hcm: HttpConnectionManager) -> dict[str, Any]:
    common = hcm.common_http_protocol_options
    row: dict[str, Any] = {
        "http_filters": [one.name for one in hcm.http_filters],
        "stat_prefix": hcm.stat_prefix.removesuffix(";") or None,
        "access_logs": [one.name for one in hcm.access_log],
        "idle_timeout_ms": ms(common.idle_timeout) if common is not None else None,
        "stream_idle_timeout_ms": ms(hcm.stream_idle_timeout),
        "request_timeout_ms": ms(hcm.request_timeout),
        "destination": "HTTP",
    }
    if hcm.route_config is not None:
        row["cluster"] = _only_cluster(hcm.route_config)
        return row | {
            "destination": inline_text(hcm.route_config),
            "route_config": hcm.route_config.name,
            "route_source": "inline",
        }
    if hcm.rds is not None:
        name = hcm.rds.route_config_name
        return row | {"destination": f"Route: {name}", "route_config": name, "route_source": "rds"}
    return row | {"route_source": "scoped"} if hcm.scoped_routes is not EMPTY else row


def _tcp(proxy: TcpProxy) -> Iterator[dict[str, Any]]:
    row = {
        "stat_prefix": proxy.stat_prefix.removesuffix(";") or None,
        "access_logs": [one.name for one in proxy.access_log],
        "idle_timeout_ms": ms(proxy.idle_timeout),
    }
    if proxy.weighted_clusters is None or not proxy.weighted_clusters.clusters:
        yield {**row, "destination": cluster_text(proxy.cluster), "cluster": proxy.cluster or None}
        return
    clusters = proxy.weighted_clusters.clusters
    total = sum(one.weight for one in clusters)
    for one in clusters:
        yield {
            **row,
            "destination": cluster_text(one.name),
            "cluster": one.name or None,
            "weight": one.weight,
            "total_weight": total,
        }


def cluster_text(cluster: str) -> str:
    """A cluster as a destination, in istioctl's words."""
    return cluster if "Cluster" in cluster else f"Cluster: {cluster}"


def _only_cluster(config: RouteConfiguration) -> str | None:
    """The cluster of an inline route that sends everything to one."""
    hosts = config.virtual_hosts
    if len(hosts) != 1 or hosts[0].domains != ["*"] or len(hosts[0].routes) != 1:
        return None
    route = hosts[0].routes[0]
    match = read_match(route.match) if route.match is not EMPTY else None
    if match is None or match.prefix != "/" or action_of(route) != "cluster" or route.route is None:
        return None
    return route.route.cluster


def inline_text(config: RouteConfiguration) -> str:
    """Where an inline route configuration leads, in istioctl's words."""
    cluster = _only_cluster(config)
    if cluster is not None:
        return cluster_text(cluster)
    described = []
    for host in config.virtual_hosts:
        domains = "" if host.domains == ["*"] else "/".join(host.domains) + " "
        matches = [match_text(read_match(route.match)) for route in host.routes if route.match is not EMPTY]
        described.append(domains + ", ".join(matches))
    return "Inline Route: " + "; ".join(described)
