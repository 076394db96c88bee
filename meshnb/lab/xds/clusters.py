"""Services and DestinationRules → clusters, named as Istio names them."""

from __future__ import annotations

from typing import Any

from meshnb.lab.inventory import Object
from meshnb.lab.plan import APP_PORT, PODS
from meshnb.lab.scope import scope_of
from meshnb.lab.world import World
from meshnb.lab.xds.common import (
    CLUSTER,
    HTTP_PORT,
    Proxy,
    Resource,
    ads,
    config_path,
    duration,
    sds,
    typed,
)

_UNLIMITED = 4294967295


def cluster_name(host: str, subset: str = "") -> str:
    """Name of the outbound cluster of a host and subset."""
    return f"outbound|{HTTP_PORT}|{subset}|{host}"


def clusters(proxy: Proxy) -> list[Resource]:
    """All clusters of a proxy."""
    found = []
    for host, service in scope_of(proxy.world, proxy.pod).services.items():
        rule = proxy.world.destination_rule(host)
        found.append(_outbound(proxy.world, host, service, rule))
        for subset in (rule["spec"].get("subsets") or []) if rule else []:
            found.append(_outbound(proxy.world, host, service, rule, subset))
    found.append(_base("BlackHoleCluster", type="STATIC"))
    if not proxy.pod.is_gateway:
        found += [_inbound(proxy), _passthrough("InboundPassthroughCluster"), _passthrough("PassthroughCluster")]
    return found


def _base(name: str, **fields: Any) -> Resource:
    # alt_stat_name with its semicolon keeps the dots of the name out of Envoy's metric hierarchy, as in Istio
    return {"@type": CLUSTER, "name": name, "alt_stat_name": f"{name};", "connect_timeout": "10s", **fields}


def _lb(balancer: Object) -> str:
    simple = str(balancer.get("simple", "LEAST_REQUEST"))
    return "LEAST_REQUEST" if simple == "LEAST_CONN" else simple


def _thresholds(pool: Object) -> list[Resource]:
    tcp, http = pool.get("tcp") or {}, pool.get("http") or {}
    return [
        {
            "max_connections": tcp.get("maxConnections", _UNLIMITED),
            "max_pending_requests": http.get("http1MaxPendingRequests", _UNLIMITED),
            "max_requests": http.get("http2MaxRequests", _UNLIMITED),
            "max_retries": http.get("maxRetries", _UNLIMITED),
            "track_remaining": True,
        }
    ]


def _passthrough(name: str) -> Resource:
    return _base(
        name, type="ORIGINAL_DST", lb_policy="CLUSTER_PROVIDED", circuit_breakers={"thresholds": _thresholds({})}
    )


def _inbound(proxy: Proxy) -> Resource:
    address = {"socket_address": {"address": proxy.plan.app_ip(proxy.pod), "port_value": APP_PORT}}
    name = f"inbound|{APP_PORT}||"
    return _base(
        name,
        type="STATIC",
        lb_policy="ROUND_ROBIN",
        circuit_breakers={"thresholds": _thresholds({})},
        load_assignment={"cluster_name": name, "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}]},
        upstream_bind_config={"source_address": {"address": "127.0.0.6", "port_value": 0}},
        metadata={"filter_metadata": {"istio": {"services": [_service(s) for s in _services_of(proxy)]}}},
    )


def _services_of(proxy: Proxy) -> list[Object]:
    services = proxy.world.services()
    names = {host for host in services for pod in proxy.world.endpoints(host) if _is(pod, proxy)}
    return [services[host] for host in sorted(names)]


def _is(pod: Object, proxy: Proxy) -> bool:
    return bool(pod["metadata"]["name"] == proxy.pod.name)


def _service(service: Object) -> Resource:
    meta = service["metadata"]
    host = f"{meta['name']}.{meta['namespace']}.svc.cluster.local"
    return {"name": meta["name"], "namespace": meta["namespace"], "host": host}


def _outbound(world: World, host: str, service: Object, rule: Object | None, subset: Object | None = None) -> Resource:
    policy: Object = dict((rule or {"spec": {}})["spec"].get("trafficPolicy") or {})
    policy |= (subset or {}).get("trafficPolicy") or {}
    name = cluster_name(host, subset["name"] if subset else "")
    istio: Resource = {"services": [_service(service)]}
    if rule:
        istio["config"] = config_path(rule)
    if subset:
        istio["subset"] = subset["name"]
    pool = policy.get("connectionPool") or {}
    result = _base(
        name,
        type="EDS",
        eds_cluster_config={"eds_config": ads(), "service_name": name},
        lb_policy=_lb(policy.get("loadBalancer") or {}),
        circuit_breakers={"thresholds": _thresholds(pool)},
        common_lb_config={"healthy_panic_threshold": {}},
        metadata={"filter_metadata": {"istio": istio}},
    )
    _connection_pool(result, pool)
    if outlier := policy.get("outlierDetection"):
        result["outlier_detection"] = _outlier(outlier)
        result["common_lb_config"] = {"healthy_panic_threshold": {"value": outlier.get("minHealthPercent", 0)}}
    result |= _tls(world, host, subset["name"] if subset else "", policy.get("tls"))
    return result


def _connection_pool(cluster: Resource, pool: Object) -> None:
    tcp, http = pool.get("tcp") or {}, pool.get("http") or {}
    if "connectTimeout" in tcp:
        cluster["connect_timeout"] = duration(tcp["connectTimeout"], where="tcp.connectTimeout")
    common: Resource = {}
    if "idleTimeout" in http or "idleTimeout" in tcp:
        common["idle_timeout"] = duration(http.get("idleTimeout", tcp.get("idleTimeout")), where="idleTimeout")
    if "maxRequestsPerConnection" in http:
        common["max_requests_per_connection"] = http["maxRequestsPerConnection"]
    if "maxConnectionDuration" in tcp:
        common["max_connection_duration"] = duration(tcp["maxConnectionDuration"], where="tcp.maxConnectionDuration")
    if common:
        options = "upstreams.http.v3.HttpProtocolOptions"
        explicit: Resource = {"http_protocol_options": {}}
        config = typed("", options, common_http_protocol_options=common, explicit_http_config=explicit)["typed_config"]
        cluster["typed_extension_protocol_options"] = {f"envoy.extensions.{options}": config}


def _outlier(outlier: Object) -> Resource:
    result: Resource = {"enforcing_success_rate": 0, "max_ejection_percent": outlier.get("maxEjectionPercent", 10)}
    if "consecutive5xxErrors" in outlier:
        count = outlier["consecutive5xxErrors"]
        result |= {"consecutive_5xx": count, "enforcing_consecutive_5xx": 100 if count else 0}
    if "consecutiveGatewayErrors" in outlier:
        count = outlier["consecutiveGatewayErrors"]
        result |= {"consecutive_gateway_failure": count, "enforcing_consecutive_gateway_failure": 100 if count else 0}
    for field, name in (("interval", "interval"), ("baseEjectionTime", "base_ejection_time")):
        if field in outlier:
            result[name] = duration(outlier[field], where=f"outlierDetection.{field}")
    return result


def _tls(world: World, host: str, subset: str, tls: Object | None) -> Resource:
    """How to speak to the upstream: as the DestinationRule says, else mutual TLS to pods with a sidecar."""
    raw = typed("envoy.transport_sockets.raw_buffer", "transport_sockets.raw_buffer.v3.RawBuffer")
    if tls is None or "mode" not in tls:
        mutual = _mutual(world, host, subset)
        return {
            "transport_socket_matches": [
                {"name": "tlsMode-istio", "match": {"tlsMode": "istio"}, "transport_socket": mutual},
                {"name": "tlsMode-disabled", "match": {}, "transport_socket": raw},
            ]
        }
    if tls["mode"] == "DISABLE":
        return {}
    if tls["mode"] == "ISTIO_MUTUAL":
        return {"transport_socket": _mutual(world, host, subset, sans=tls.get("subjectAltNames"), sni=tls.get("sni"))}
    simple = typed(
        "envoy.transport_sockets.tls",
        "transport_sockets.tls.v3.UpstreamTlsContext",
        sni=tls.get("sni", ""),
        common_tls_context={"validation_context_sds_secret_config": sds("ROOTCA")},
    )
    return {"transport_socket": simple}


def _mutual(world: World, host: str, subset: str, *, sans: list[str] | None = None, sni: str | None = None) -> Resource:
    pods = world.endpoints(host)
    accounts = {(pod["metadata"]["namespace"], pod["spec"].get("serviceAccountName", "default")) for pod in pods}
    # what the certificates of the service may be called; pods that are gone still have a name
    expected = sans or sorted(f"spiffe://cluster.local/ns/{ns}/sa/{sa}" for ns, sa in accounts)
    expected = expected or sorted({pod.identity for pod in PODS if host.startswith(f"{pod.app}.")})
    return typed(
        "envoy.transport_sockets.tls",
        "transport_sockets.tls.v3.UpstreamTlsContext",
        sni=sni or f"outbound_.{HTTP_PORT}_.{subset}_.{host}",
        common_tls_context={
            "alpn_protocols": ["istio-peer-exchange", "istio"],
            "tls_params": {"tls_minimum_protocol_version": "TLSv1_2", "tls_maximum_protocol_version": "TLSv1_3"},
            "tls_certificate_sds_secret_configs": [sds("default")],
            "combined_validation_context": {
                "default_validation_context": {
                    "match_typed_subject_alt_names": [
                        {"san_type": "URI", "matcher": {"exact": name}} for name in expected
                    ]
                },
                "validation_context_sds_secret_config": sds("ROOTCA"),
            },
        },
    )
