"""Gateways, PeerAuthentications, AuthorizationPolicies and EnvoyFilters → listeners."""

from __future__ import annotations

from typing import Any

from meshnb.lab.inventory import Object
from meshnb.lab.plan import APP_PORT, GATEWAY_PORT, OUTBOUND_PORT, TRUST_DOMAIN
from meshnb.lab.xds.access_log import file_logs, stats_log
from meshnb.lab.xds.common import HTTP_PORT, LISTENER, Proxy, Resource, ads, sds, typed
from meshnb.lab.xds.routes import GATEWAY_ROUTES, SIDECAR_ROUTES


def listeners(proxy: Proxy) -> list[Resource]:
    """Listeners of a proxy."""
    if not proxy.pod.is_gateway:
        return [_inbound(proxy), _outbound(proxy)]
    # without a Gateway that selects it, a gateway listens nowhere
    return [_gateway(proxy)] if proxy.world.gateways(proxy.pod.all_labels) else []


def _listener(proxy: Proxy, name: str, port: int, direction: str, chains: list[Resource], **fields: Any) -> Resource:
    return {
        "@type": LISTENER,
        "name": name,
        "traffic_direction": direction,
        "address": {"socket_address": {"address": proxy.ip, "port_value": port}},
        "filter_chains": chains,
        "continue_on_listener_filters_timeout": True,
        "access_log": file_logs(proxy, mode="SERVER" if direction == "INBOUND" else "CLIENT", only_no_route=True),
        **fields,
    }


def _gateway(proxy: Proxy) -> Resource:
    manager = _manager(
        proxy,
        f"outbound_0.0.0.0_{GATEWAY_PORT};",
        "GATEWAY",
        use_remote_address=True,
        # a loopback client would be logged under the address of this machine's network card
        skip_xff_append=True,
        preserve_external_request_id=True,
        forward_client_cert_details="SANITIZE_SET",
        rds={"route_config_name": GATEWAY_ROUTES, "config_source": ads()},
    )
    return _listener(proxy, f"0.0.0.0_{GATEWAY_PORT}", GATEWAY_PORT, "OUTBOUND", [{"filters": [manager]}])


def _outbound(proxy: Proxy) -> Resource:
    manager = _manager(
        proxy,
        f"outbound_0.0.0.0_{HTTP_PORT};",
        "SIDECAR_OUTBOUND",
        use_remote_address=False,
        rds={"route_config_name": SIDECAR_ROUTES, "config_source": ads()},
    )
    return _listener(proxy, f"0.0.0.0_{HTTP_PORT}", OUTBOUND_PORT, "OUTBOUND", [{"filters": [manager]}])


def _inbound(proxy: Proxy) -> Resource:
    """The inbound listener: one filter chain per kind of connection that the PeerAuthentication lets in."""
    mode = proxy.world.mtls_mode(proxy.pod.namespace, proxy.pod.all_labels)
    filters = [_inbound_manager(proxy)]
    tls = {
        "name": f"0.0.0.0_{APP_PORT}",
        "filter_chain_match": {"transport_protocol": "tls"},
        "transport_socket": _server_tls(),
        "filters": filters,
    }
    plain = {
        "name": f"0.0.0.0_{APP_PORT}",
        "filter_chain_match": {"transport_protocol": "raw_buffer"},
        "filters": filters,
    }
    chains = {"STRICT": [tls], "PERMISSIVE": [tls, plain], "DISABLE": [{**plain, "filter_chain_match": {}}]}
    inspector = typed("envoy.filters.listener.tls_inspector", "filters.listener.tls_inspector.v3.TlsInspector")
    inspectors = [] if mode == "DISABLE" else [inspector]
    return _listener(proxy, "virtualInbound", APP_PORT, "INBOUND", chains[mode], listener_filters=inspectors)


def _server_tls() -> Resource:
    trusted = {
        "match_typed_subject_alt_names": [{"san_type": "URI", "matcher": {"prefix": f"spiffe://{TRUST_DOMAIN}/"}}]
    }
    return typed(
        "envoy.transport_sockets.tls",
        "transport_sockets.tls.v3.DownstreamTlsContext",
        require_client_certificate=True,
        common_tls_context={
            "alpn_protocols": ["istio-peer-exchange", "h2", "http/1.1"],
            "tls_params": {"tls_minimum_protocol_version": "TLSv1_2"},
            "tls_certificate_sds_secret_configs": [sds("default")],
            "combined_validation_context": {
                "default_validation_context": trusted,
                "validation_context_sds_secret_config": sds("ROOTCA"),
            },
        },
    )


def _inbound_manager(proxy: Proxy) -> Resource:
    cluster = f"inbound|{APP_PORT}||"
    host = f"{proxy.pod.app}.{proxy.pod.namespace}.svc.cluster.local"
    route = {
        "name": "default",
        "match": {"prefix": "/"},
        "decorator": {"operation": f"{host}:{HTTP_PORT}/*"},
        "route": {
            "cluster": cluster,
            "timeout": "0s",
            "max_stream_duration": {"max_stream_duration": "0s", "grpc_timeout_header_max": "0s"},
        },
    }
    virtual_host = {"name": f"inbound|http|{HTTP_PORT}", "domains": ["*"], "routes": [route]}
    return _manager(
        proxy,
        f"inbound_0.0.0.0_{APP_PORT};",
        "SIDECAR_INBOUND",
        use_remote_address=False,
        forward_client_cert_details="APPEND_FORWARD",
        set_current_client_cert_details={"subject": True, "dns": True, "uri": True},
        route_config={"name": cluster, "validate_clusters": False, "virtual_hosts": [virtual_host]},
    )


def _manager(proxy: Proxy, stat_prefix: str, context: str, **fields: Any) -> Resource:
    """The HTTP connection manager with its filters, router last."""
    inbound = context == "SIDECAR_INBOUND"
    return typed(
        "envoy.filters.network.http_connection_manager",
        "filters.network.http_connection_manager.v3.HttpConnectionManager",
        stat_prefix=stat_prefix,
        server_name="istio-envoy",
        access_log=[
            *file_logs(proxy, mode="SERVER" if inbound else "CLIENT"),
            stats_log(proxy, reporter="destination" if inbound else "source"),
        ],
        http_filters=_filters(proxy, context),
        stream_idle_timeout="0s",
        normalize_path=True,
        request_id_extension={
            "typed_config": typed("", "request_id.uuid.v3.UuidRequestIdConfig", use_request_id_for_trace_sampling=True)[
                "typed_config"
            ]
        },
        **fields,
    )


def _filters(proxy: Proxy, context: str) -> list[Resource]:
    found = []
    if context != "SIDECAR_OUTBOUND":
        found += _authorization(proxy)
    found.append(typed("envoy.filters.http.fault", "filters.http.fault.v3.HTTPFault"))
    patches = [
        patch["patch"]["value"]
        for item in proxy.world.selecting("EnvoyFilter", proxy.pod.namespace, proxy.pod.all_labels)
        for patch in item["spec"].get("configPatches") or []
        if (patch.get("match") or {}).get("context", "ANY") in ("ANY", context)
    ]
    # INSERT_FIRST and INSERT_BEFORE, which are all that there is: the filters of the lab come after
    return [*patches, *found, typed("envoy.filters.http.router", "filters.http.router.v3.Router")]


def _authorization(proxy: Proxy) -> list[Resource]:
    """RBAC filters of the AuthorizationPolicies of this pod: denials first, as Istio orders them."""
    found = []
    policies = list(proxy.world.selecting("AuthorizationPolicy", proxy.pod.namespace, proxy.pod.all_labels))
    for action in ("DENY", "ALLOW"):
        rules: Resource = {}
        chosen = [item for item in policies if item["spec"].get("action", "ALLOW") == action]
        for item in chosen:
            meta = item["metadata"]
            for index, rule in enumerate(item["spec"].get("rules") or []):
                rules[f"ns[{meta['namespace']}]-policy[{meta['name']}]-rule[{index}]"] = _rule(rule)
        if chosen:
            body = {"rules": {"action": action, "policies": rules}}
            found.append(typed("envoy.filters.http.rbac", "filters.http.rbac.v3.RBAC", **body))
    return found


def _rule(rule: Object) -> Resource:
    principals = [_principal(entry["source"]) for entry in rule.get("from") or []]
    permissions = [_permission(entry["operation"]) for entry in rule.get("to") or []]
    return {"permissions": permissions or [{"any": True}], "principals": principals or [{"any": True}]}


def _principal(source: Object) -> Resource:
    every: list[list[Resource]] = []
    if names := source.get("principals"):
        every.append([{"prefix": "spiffe://"}] if names == ["*"] else [{"exact": f"spiffe://{name}"} for name in names])
    if spaces := source.get("namespaces"):
        every.append([{"safe_regex": {"regex": f".*/ns/{space}/.*"}} for space in spaces])
    either = [{"or_ids": {"ids": [{"authenticated": {"principal_name": m}} for m in group]}} for group in every]
    return {"and_ids": {"ids": either or [{"any": True}]}}


def _permission(operation: Object) -> Resource:
    every: list[list[Resource]] = []
    if methods := operation.get("methods"):
        every.append([{"header": {"name": ":method", "string_match": {"exact": name}}} for name in methods])
    if paths := operation.get("paths"):
        every.append([{"url_path": {"path": _path(path)}} for path in paths])
    either = [{"or_rules": {"rules": group}} for group in every]
    return {"and_rules": {"rules": either or [{"any": True}]}}


def _path(path: str) -> Resource:
    if path.endswith("*"):
        return {"prefix": path[:-1]} if len(path) > 1 else {"safe_regex": {"regex": ".+"}}
    return {"exact": path}
