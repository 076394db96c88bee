"""Access logs as Istio writes them, and `istio_requests_total` from Envoy's stats access logger."""

from __future__ import annotations

from typing import Any

from meshnb.lab.xds.common import Proxy, Resource, typed

JSON_FORMAT = {
    "start_time": "%START_TIME%",
    "route_name": "%ROUTE_NAME%",
    "method": "%REQ(:METHOD)%",
    "path": "%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%",
    "protocol": "%PROTOCOL%",
    "response_code": "%RESPONSE_CODE%",
    "response_flags": "%RESPONSE_FLAGS%",
    "response_code_details": "%RESPONSE_CODE_DETAILS%",
    "connection_termination_details": "%CONNECTION_TERMINATION_DETAILS%",
    "bytes_received": "%BYTES_RECEIVED%",
    "bytes_sent": "%BYTES_SENT%",
    "duration": "%DURATION%",
    "upstream_service_time": "%RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)%",
    "x_forwarded_for": "%REQ(X-FORWARDED-FOR)%",
    "user_agent": "%REQ(USER-AGENT)%",
    "request_id": "%REQ(X-REQUEST-ID)%",
    "authority": "%REQ(:AUTHORITY)%",
    "upstream_host": "%UPSTREAM_HOST%",
    "upstream_cluster": "%UPSTREAM_CLUSTER_RAW%",
    "upstream_local_address": "%UPSTREAM_LOCAL_ADDRESS%",
    "downstream_local_address": "%DOWNSTREAM_LOCAL_ADDRESS%",
    "downstream_remote_address": "%DOWNSTREAM_REMOTE_ADDRESS%",
    "requested_server_name": "%REQUESTED_SERVER_NAME%",
    "upstream_transport_failure_reason": "%UPSTREAM_TRANSPORT_FAILURE_REASON%",
}
"""The keys of Istio's JSON access log and Envoy's operators behind them."""

TEXT_FORMAT = (
    '[%START_TIME%] "%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%" %RESPONSE_CODE% %RESPONSE_FLAGS% '
    '%RESPONSE_CODE_DETAILS% %CONNECTION_TERMINATION_DETAILS% "%UPSTREAM_TRANSPORT_FAILURE_REASON%" %BYTES_RECEIVED% '
    '%BYTES_SENT% %DURATION% %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% "%REQ(X-FORWARDED-FOR)%" "%REQ(USER-AGENT)%" '
    '"%REQ(X-REQUEST-ID)%" "%REQ(:AUTHORITY)%" "%UPSTREAM_HOST%" %UPSTREAM_CLUSTER_RAW% %UPSTREAM_LOCAL_ADDRESS% '
    "%DOWNSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_REMOTE_ADDRESS% %REQUESTED_SERVER_NAME% %ROUTE_NAME%\n"
)
"""Istio's default access log line."""


def file_logs(proxy: Proxy, *, mode: str, only_no_route: bool = False) -> list[Resource]:
    """The access logs of a listener or connection manager: on standard output, unless a Telemetry says otherwise.

    The Telemetry nearest to the workload decides: its own, the namespace's, the mesh's.

    Args:
        proxy: whose log.
        mode: `CLIENT` or `SERVER`.
        only_no_route: log only connections that no filter chain took, as a listener does.
    """
    entries = [entry for entry in _telemetry(proxy) if (entry.get("match") or {}).get("mode", mode) in (mode, _BOTH)]
    if any(entry.get("disabled") for entry in entries[-1:]):
        return []
    log = _file_log(proxy)
    expression = (entries[-1].get("filter") or {}).get("expression") if entries else None
    if only_no_route:
        log["filter"] = {"response_flag_filter": {"flags": ["NR"]}}
    elif expression:
        name = "envoy.access_loggers.extension_filters.cel"
        kind = "access_loggers.filters.cel.v3.ExpressionFilter"
        log["filter"] = {"extension_filter": typed(name, kind, expression=expression)}
    return [log]


_BOTH = "CLIENT_AND_SERVER"


def _telemetry(proxy: Proxy) -> list[Any]:
    """What the nearest Telemetry that speaks of access logs says of them; nothing if none does."""
    labels, namespace = proxy.pod.all_labels, proxy.pod.namespace
    levels: dict[tuple[bool, bool], Any] = {}
    for item in proxy.world.selecting("Telemetry", namespace, labels):
        # a selector holds in the object's own namespace only
        own, here = bool(item["spec"].get("selector")), item["metadata"]["namespace"] == namespace
        if item["spec"].get("accessLogging") and (here or not own):
            levels.setdefault((own, here), item["spec"]["accessLogging"])
    return levels[max(levels)] if levels else []


def _file_log(proxy: Proxy) -> Resource:
    text = {"text_format_source": {"inline_string": TEXT_FORMAT}}
    return typed(
        "envoy.access_loggers.file",
        "access_loggers.file.v3.FileAccessLog",
        path="/dev/stdout",
        log_format=text if proxy.plan.log_format == "text" else {"json_format": JSON_FORMAT},
    )


def stats_log(proxy: Proxy, *, reporter: str) -> Resource:
    """Counts requests as Istio's telemetry does.

    Args:
        proxy: whose requests.
        reporter: `source` on the way out, `destination` on the way in.
    """
    tags = _source_tags(proxy) if reporter == "source" else _destination_tags(proxy)
    tags |= {
        "reporter": reporter,
        "request_protocol": "http",
        "response_code": "%RESPONSE_CODE%",
        "response_flags": "%RESPONSE_FLAGS%",
    }
    entries = [{"name": name, "value_format": value} for name, value in tags.items()]
    fields: dict[str, Any] = {
        "stat_prefix": "istio",
        "counters": [{"stat": {"name": "requests_total", "tags": entries}, "value_fixed": 1}],
        "histograms": [
            {
                "stat": {"name": "request_duration_milliseconds", "tags": entries},
                "unit": "Milliseconds",
                "value_format": "%DURATION%",
            }
        ],
    }
    return typed("envoy.access_loggers.stats", "access_loggers.stats.v3.Config", **fields)


def _source_tags(proxy: Proxy) -> dict[str, str]:
    pod = proxy.pod
    return {
        "source_workload": pod.workload,
        "source_workload_namespace": pod.namespace,
        "source_principal": pod.identity,
        "source_app": pod.app,
        "destination_workload": "%UPSTREAM_METADATA(lab:workload)%",
        "destination_workload_namespace": "%UPSTREAM_METADATA(lab:namespace)%",
        "destination_app": "%UPSTREAM_METADATA(lab:app)%",
        "destination_version": "%UPSTREAM_METADATA(lab:version)%",
        "destination_principal": "%UPSTREAM_PEER_URI_SAN%",
        "destination_service": "%METADATA(ROUTE:lab:service)%",
        "destination_service_name": "%METADATA(ROUTE:lab:service_name)%",
        "destination_service_namespace": "%METADATA(ROUTE:lab:service_namespace)%",
        "connection_security_policy": "unknown",
    }


def _destination_tags(proxy: Proxy) -> dict[str, str]:
    pod = proxy.pod
    # without Istio's metadata exchange the server does not know the client's workload
    return {
        "source_workload": "unknown",
        "source_workload_namespace": "unknown",
        "source_principal": "%DOWNSTREAM_PEER_URI_SAN%",
        "source_app": "unknown",
        "destination_workload": pod.workload,
        "destination_workload_namespace": pod.namespace,
        "destination_app": pod.app,
        "destination_version": pod.version,
        "destination_principal": "%DOWNSTREAM_LOCAL_URI_SAN%",
        "destination_service": f"{pod.app}.{pod.namespace}.svc.cluster.local",
        "destination_service_name": pod.app,
        "destination_service_namespace": pod.namespace,
        "connection_security_policy": "mutual_tls",
    }
