"""Clusters of a config dump."""

from __future__ import annotations

from typing import Any

import msgspec

from meshnb.envoy.names import ClusterName
from meshnb.loaders.proto import (
    EMPTY,
    Message,
    Metadata,
    NamedConfig,
    Reader,
    config_path,
    istio_object,
    ms,
    texts,
)
from meshnb.loaders.sections import Resource
from meshnb.loaders.tls import upstream_tls


class EdsClusterConfig(Message):
    """`cluster.v3.Cluster.EdsClusterConfig`."""

    service_name: str = ""


class Thresholds(Message):
    """`cluster.v3.CircuitBreakers.Thresholds`; Envoy's own defaults."""

    priority: str | int = "DEFAULT"
    max_connections: int = 1024
    max_pending_requests: int = 1024
    max_requests: int = 1024
    max_retries: int = 3


class CircuitBreakers(Message):
    """`cluster.v3.CircuitBreakers`."""

    thresholds: list[Thresholds] = []


class OutlierDetection(Message):
    """`cluster.v3.OutlierDetection`; Envoy's own defaults."""

    consecutive_5xx: int = 5
    consecutive_gateway_failure: int = 5
    enforcing_consecutive_gateway_failure: int = 0
    interval: str = "10s"
    base_ejection_time: str = "30s"
    max_ejection_percent: int = 10


class Percent(Message):
    """`type.v3.Percent`."""

    value: float = 0.0


class CommonLbConfig(Message):
    """`cluster.v3.Cluster.CommonLbConfig`."""

    healthy_panic_threshold: Percent | None = None


class ClusterType(Message):
    """`cluster.v3.Cluster.CustomClusterType`."""

    name: str = ""


class SocketMatch(Message):
    """`cluster.v3.Cluster.TransportSocketMatch`."""

    name: str = ""
    transport_socket: NamedConfig | None = None


class LbSubsetConfig(Message):
    """`cluster.v3.Cluster.LbSubsetConfig`."""

    subset_selectors: list[msgspec.Raw] = []


class LbPolicy(Message):
    """`cluster.v3.LoadBalancingPolicy.Policy`."""

    typed_extension_config: NamedConfig | None = None


class LbPolicies(Message):
    """`cluster.v3.LoadBalancingPolicy`."""

    policies: list[LbPolicy] = []


class CommonHttp(Message):
    """`core.v3.HttpProtocolOptions`."""

    idle_timeout: str | None = None
    max_requests_per_connection: int | None = None


class ExplicitHttp(Message):
    """`HttpProtocolOptions.ExplicitHttpConfig`."""

    http_protocol_options: msgspec.Raw = EMPTY
    http2_protocol_options: msgspec.Raw = EMPTY
    http3_protocol_options: msgspec.Raw = EMPTY


class HttpOptions(Message):
    """`extensions.upstreams.http.v3.HttpProtocolOptions`."""

    common_http_protocol_options: CommonHttp | None = None
    explicit_http_config: ExplicitHttp | None = None
    use_downstream_protocol_config: msgspec.Raw = EMPTY
    auto_config: msgspec.Raw = EMPTY


class ProtocolOptions(Message):
    """`typed_extension_protocol_options`, the entry every HTTP cluster has."""

    http: msgspec.Raw = msgspec.field(name="envoy.extensions.upstreams.http.v3.HttpProtocolOptions", default=EMPTY)


class Cluster(Message):
    """`config.cluster.v3.Cluster`."""

    name: str = ""
    type: str | int = "STATIC"
    cluster_type: ClusterType | None = None
    alt_stat_name: str = ""
    eds_cluster_config: EdsClusterConfig | None = None
    connect_timeout: str = "5s"
    lb_policy: str | int = "ROUND_ROBIN"
    load_balancing_policy: LbPolicies | None = None
    lb_subset_config: LbSubsetConfig | None = None
    common_lb_config: CommonLbConfig | None = None
    circuit_breakers: CircuitBreakers | None = None
    outlier_detection: OutlierDetection | None = None
    health_checks: list[msgspec.Raw] = []
    load_assignment: msgspec.Raw = EMPTY
    transport_socket: NamedConfig | None = None
    transport_socket_matches: list[SocketMatch] = []
    typed_extension_protocol_options: ProtocolOptions | None = None
    http2_protocol_options: msgspec.Raw = EMPTY
    max_requests_per_connection: int | None = None
    filters: list[NamedConfig] = []
    dns_lookup_family: str | int = ""
    dns_refresh_rate: str | None = None
    metadata: Metadata | None = None


read_cluster = Reader(Cluster)
_read_http = Reader(HttpOptions)
_TYPES = ("STATIC", "STRICT_DNS", "LOGICAL_DNS", "EDS", "ORIGINAL_DST")
_NO_THRESHOLDS = Thresholds()
_NO_OUTLIER: dict[str, Any] = {
    "outlier_detection": False,
    "outlier_consecutive_5xx": None,
    "outlier_consecutive_gateway_failure": None,
    "outlier_interval_ms": None,
    "outlier_base_ejection_ms": None,
    "outlier_max_ejection_percent": None,
}


def cluster_row(resource: Resource) -> dict[str, Any]:
    """The row of one cluster, see `meshnb.model.tables.envoy.CLUSTERS`.

    Raises:
        msgspec.MsgspecError, ValueError: not a cluster.
    """
    cluster = read_cluster(resource.raw) if resource.size else Cluster()
    name = cluster.name or resource.name
    parts = ClusterName.parse(name)
    config = config_path(cluster.metadata)
    rule, rule_namespace = istio_object(config, "destination-rule")
    structured = not parts.own
    return {
        "cluster": name,
        "direction": parts.direction if structured else None,
        "port": parts.port if structured else None,
        "subset": parts.subset or None,
        "fqdn": parts.fqdn or None,
        "type": _type(cluster),
        "eds_service_name": (cluster.eds_cluster_config.service_name if cluster.eds_cluster_config else "") or None,
        "origin": _origin(rule, rule_namespace, dynamic=resource.dynamic),
        "destination_rule": rule,
        "destination_rule_namespace": rule_namespace,
        "config": config,
        **_service(cluster.metadata),
        "connect_timeout_ms": ms(cluster.connect_timeout),
        "lb_policy": _lb_policy(cluster),
        **_limits(cluster),
        **_outlier(cluster.outlier_detection),
        **_http(cluster),
        **upstream_tls(
            cluster.transport_socket, [match.transport_socket for match in cluster.transport_socket_matches]
        ),
        "panic_threshold_percent": _panic(cluster.common_lb_config),
        "health_checks": len(cluster.health_checks),
        "filters": [one.name for one in cluster.filters],
        "lb_subset_selectors": texts(cluster.lb_subset_config.subset_selectors) if cluster.lb_subset_config else None,
        "dns_lookup_family": str(cluster.dns_lookup_family) or None,
        "dns_refresh_ms": ms(cluster.dns_refresh_rate),
        # Envoy 1.30 and later print the name with ";" where a tag ends
        "stat_name": cluster.alt_stat_name.removesuffix(";") or None,
        **resource.status,
        "bytes": resource.size,
    }


def _type(cluster: Cluster) -> str:
    if cluster.cluster_type is not None:
        return cluster.cluster_type.name or "custom"
    if isinstance(cluster.type, int) and 0 <= cluster.type < len(_TYPES):
        return _TYPES[cluster.type]
    return str(cluster.type)


def _origin(rule: str | None, namespace: str | None, *, dynamic: bool) -> str:
    if rule:
        return f"DestinationRule {rule}.{namespace}"
    return "service discovery" if dynamic else "bootstrap"


def _service(metadata: Metadata | None) -> dict[str, Any]:
    istio = metadata.istio if metadata is not None else None
    services = istio.services if istio is not None and isinstance(istio.services, list) else []
    first = services[0] if services and isinstance(services[0], dict) else {}
    name, namespace = first.get("name"), first.get("namespace")
    return {
        "service": name if isinstance(name, str) else None,
        "service_namespace": namespace if isinstance(namespace, str) else None,
    }


def _lb_policy(cluster: Cluster) -> str:
    # load_balancing_policy overrides lb_policy; its policies are tried in order
    policies = cluster.load_balancing_policy.policies if cluster.load_balancing_policy is not None else []
    names = [policy.typed_extension_config.name for policy in policies if policy.typed_extension_config]
    if names:
        return names[0].removeprefix("envoy.load_balancing_policies.").upper()
    return str(cluster.lb_policy)


def _limits(cluster: Cluster) -> dict[str, Any]:
    thresholds = cluster.circuit_breakers.thresholds if cluster.circuit_breakers is not None else []
    default = next((one for one in thresholds if one.priority in ("DEFAULT", 0)), _NO_THRESHOLDS)
    return {
        "max_connections": default.max_connections,
        "max_pending_requests": default.max_pending_requests,
        "max_requests": default.max_requests,
        "max_retries": default.max_retries,
    }


def _outlier(outlier: OutlierDetection | None) -> dict[str, Any]:
    if outlier is None:
        return _NO_OUTLIER
    return {
        "outlier_detection": True,
        "outlier_consecutive_5xx": outlier.consecutive_5xx,
        "outlier_consecutive_gateway_failure": (
            outlier.consecutive_gateway_failure if outlier.enforcing_consecutive_gateway_failure else None
        ),
        "outlier_interval_ms": ms(outlier.interval),
        "outlier_base_ejection_ms": ms(outlier.base_ejection_time),
        "outlier_max_ejection_percent": outlier.max_ejection_percent,
    }


def _http(cluster: Cluster) -> dict[str, Any]:
    options = cluster.typed_extension_protocol_options
    http = _read_http.maybe(options.http) if options is not None else None
    common = http.common_http_protocol_options if http is not None else None
    limit = common.max_requests_per_connection if common is not None else None
    return {
        "protocol": _protocol(http, cluster),
        "idle_timeout_ms": ms(common.idle_timeout) if common is not None else None,
        "max_requests_per_connection": limit if limit is not None else cluster.max_requests_per_connection,
    }


def _protocol(http: HttpOptions | None, cluster: Cluster) -> str | None:
    if http is not None and http.use_downstream_protocol_config is not EMPTY:
        return "downstream"
    if http is not None and http.auto_config is not EMPTY:
        return "auto"
    explicit = http.explicit_http_config if http is not None else None
    if explicit is not None:
        return "http3" if explicit.http3_protocol_options is not EMPTY else (
            "http2" if explicit.http2_protocol_options is not EMPTY else "http1"
        )  # fmt: skip
    return "http2" if cluster.http2_protocol_options is not EMPTY else None


def _panic(config: CommonLbConfig | None) -> float:
    threshold = config.healthy_panic_threshold if config is not None else None
    return threshold.value if threshold is not None else 50.0
