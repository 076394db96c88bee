"""Write a config dump of any size in the shape Envoy prints for a sidecar of Istio.

    python benchmarks/config_dump_generator.py --megabytes 100 dump.json
    python benchmarks/config_dump_generator.py --services 20 --bootstrap envoy.json    # to load into a real Envoy

4,300 services make 100 MB: every service has a cluster, every other one has subsets v1 and v2 as well, each with
its endpoints, and a virtual host with one to three routes.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

T = "type.googleapis.com/"
TLS = T + "envoy.extensions.transport_sockets.tls.v3."
NOW = "2026-11-23T09:03:51.568Z"
VERSION = "2026-11-23T09:03:50Z/1"
BYTES_PER_SERVICE = 23_100
Json = dict[str, Any]


def host(number: int) -> str:
    """Host of a service; ten services share a namespace."""
    return f"service-{number}.team-{number // 10}.svc.cluster.local"


def subsets(number: int) -> list[str]:
    """Subsets of a service, the empty one first."""
    return ["", "v1", "v2"] if number % 2 else [""]


def all_clusters(services: int) -> Iterator[tuple[int, str]]:
    """Service and subset of every cluster."""
    return ((number, subset) for number in range(services) for subset in subsets(number))


def cluster_name(number: int, subset: str) -> str:
    """Name of the cluster of a service and subset."""
    return f"outbound|8080|{subset}|{host(number)}"


def istio_config(number: int, kind: str) -> str:
    """Path of the Istio object in the metadata."""
    return f"/apis/networking.istio.io/v1/namespaces/team-{number // 10}/{kind}/service-{number}"


def cluster(number: int, subset: str) -> Json:
    """One outbound cluster with automatic mutual TLS."""
    istio: Json = {
        "services": [{"host": host(number), "name": f"service-{number}", "namespace": f"team-{number // 10}"}]
    }
    if number % 2:
        istio = {"config": istio_config(number, "destination-rule"), "subset": subset or "default", **istio}
    context = {
        "@type": TLS + "UpstreamTlsContext",
        "common_tls_context": {
            "alpn_protocols": ["istio-peer-exchange", "istio", "h2"],
            "tls_params": {"tls_minimum_protocol_version": "TLSv1_2", "tls_maximum_protocol_version": "TLSv1_3"},
            "tls_certificate_sds_secret_configs": [sds("default")],
            "combined_validation_context": {
                "default_validation_context": {
                    "match_subject_alt_names": [
                        {"exact": f"spiffe://cluster.local/ns/team-{number // 10}/sa/service-{number}"}
                    ]
                },
                "validation_context_sds_secret_config": sds("ROOTCA"),
            },
        },
        "sni": f"outbound_.8080_.{subset}_.{host(number)}",
    }
    return {
        "@type": T + "envoy.config.cluster.v3.Cluster",
        "transport_socket_matches": [
            {
                "name": "tlsMode-istio",
                "match": {"tlsMode": "istio"},
                "transport_socket": {"name": "envoy.transport_sockets.tls", "typed_config": context},
            },
            {
                "name": "tlsMode-disabled",
                "match": {},
                "transport_socket": {
                    "name": "envoy.transport_sockets.raw_buffer",
                    "typed_config": {"@type": T + "envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer"},
                },
            },
        ],
        "name": cluster_name(number, subset),
        "type": "EDS",
        "eds_cluster_config": {
            "eds_config": {"ads": {}, "initial_fetch_timeout": "0s", "resource_api_version": "V3"},
            "service_name": cluster_name(number, subset),
        },
        "connect_timeout": "10s",
        "lb_policy": "LEAST_REQUEST",
        "alt_stat_name": f"{cluster_name(number, subset)};",
        "circuit_breakers": {
            "thresholds": [
                {
                    "max_connections": 4294967295,
                    "max_pending_requests": 4294967295,
                    "max_requests": 4294967295,
                    "max_retries": 4294967295,
                    "track_remaining": True,
                }
            ]
        },
        "outlier_detection": {"consecutive_5xx": 5, "interval": "10s", "base_ejection_time": "30s"},
        "common_lb_config": {"locality_weighted_lb_config": {}, "healthy_panic_threshold": {}},
        "metadata": {"filter_metadata": {"istio": istio}},
        "filters": [
            {
                "name": "istio.metadata_exchange",
                "typed_config": {
                    "@type": T + "udpa.type.v1.TypedStruct",
                    "type_url": T + "envoy.tcp.metadataexchange.config.MetadataExchange",
                    "value": {"protocol": "istio-peer-exchange", "enable_discovery": True},
                },
            }
        ],
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": T + "envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                "explicit_http_config": {"http_protocol_options": {}},
            }
        },
    }


def sds(name: str) -> Json:
    """Where a secret comes from."""
    return {
        "name": name,
        "sds_config": {
            "api_config_source": {
                "api_type": "GRPC",
                "grpc_services": [{"envoy_grpc": {"cluster_name": "sds-grpc"}}],
                "set_node_on_first_message_only": True,
                "transport_api_version": "V3",
            },
            "resource_api_version": "V3",
        },
    }


def assignment(number: int, subset: str, pods: random.Random) -> Json:
    """The endpoints of a cluster in two zones."""
    version = subset or "v1"
    zones = []
    for zone in ("a", "b"):
        endpoints = [
            {
                "endpoint": {
                    "address": {
                        "socket_address": {
                            "address": f"10.{number // 250}.{number % 250}.{pods.randrange(1, 255)}",
                            "port_value": 8080,
                        }
                    },
                    "health_check_config": {},
                },
                "health_status": "HEALTHY",
                "metadata": {
                    "filter_metadata": {
                        "istio": {
                            "workload": f"service-{number}-{version};team-{number // 10};service-{number};{version};c1"
                        },
                        "envoy.transport_socket_match": {"tlsMode": "istio"},
                    }
                },
                "load_balancing_weight": 1,
            }
            for _ in range(pods.randrange(3, 6))
        ]
        zones.append(
            {
                "locality": {"region": "eu-central-1", "zone": f"eu-central-1{zone}"},
                "lb_endpoints": endpoints,
                "load_balancing_weight": len(endpoints),
            }
        )
    return {
        "@type": T + "envoy.config.endpoint.v3.ClusterLoadAssignment",
        "cluster_name": cluster_name(number, subset),
        "endpoints": zones,
        "policy": {"overprovisioning_factor": 140},
    }


def virtual_host(number: int) -> Json:
    """A virtual host: one plain route, or one by header and one by weight."""
    names = host(number).split(".")
    domains = [".".join(names[:end]) for end in (len(names), 1, 3, 2)]
    action = {
        "timeout": "0s",
        "retry_policy": {
            "retry_on": "connect-failure,refused-stream,unavailable,cancelled,retriable-status-codes",
            "num_retries": 2,
            "retry_host_predicate": [
                {
                    "name": "envoy.retry_host_predicates.previous_hosts",
                    "typed_config": {
                        "@type": T + "envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"
                    },
                }
            ],
            "host_selection_retry_max_attempts": "5",
        },
        "max_stream_duration": {"max_stream_duration": "0s", "grpc_timeout_header_max": "0s"},
    }
    decorator = {"operation": f"{host(number)}:8080/*"}
    if number % 2 == 0:
        routes: list[Json] = [
            {
                "match": {"prefix": "/"},
                "route": {"cluster": cluster_name(number, ""), **action},
                "decorator": decorator,
                "name": "default",
            }
        ]
    else:
        metadata = {"filter_metadata": {"istio": {"config": istio_config(number, "virtual-service")}}}
        weighted = [
            {"name": cluster_name(number, "v1"), "weight": 90},
            {"name": cluster_name(number, "v2"), "weight": 10},
        ]
        header = {"name": "x-cohort", "string_match": {"exact": "internal"}}
        routes = [
            {
                "match": {"prefix": "/", "case_sensitive": True, "headers": [header]},
                "route": {"cluster": cluster_name(number, "v2"), **action},
                "metadata": metadata,
                "decorator": decorator,
            },
            {
                "match": {"prefix": "/", "case_sensitive": True},
                "route": {"weighted_clusters": {"clusters": weighted}, **action},
                "metadata": metadata,
                "decorator": decorator,
            },
        ]
    return {"name": f"{host(number)}:8080", "domains": domains, "routes": routes, "include_request_attempt_count": True}


def route_config(services: int) -> Json:
    """The route configuration of port 8080."""
    return {
        "@type": T + "envoy.config.route.v3.RouteConfiguration",
        "name": "8080",
        "virtual_hosts": [virtual_host(number) for number in range(services)],
        "validate_clusters": False,
        "max_direct_response_body_size_bytes": 1048576,
    }


def listener(config: Json | None) -> Json:
    """The listener of port 8080; routes over RDS, or inline."""
    manager: Json = {
        "@type": T + "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "outbound_0.0.0.0_8080",
        "http_filters": [
            {
                "name": "envoy.filters.http.router",
                "typed_config": {"@type": T + "envoy.extensions.filters.http.router.v3.Router"},
            }
        ],
    }
    if config is None:
        manager["rds"] = {
            "config_source": {"ads": {}, "initial_fetch_timeout": "0s", "resource_api_version": "V3"},
            "route_config_name": "8080",
        }
    else:
        manager["route_config"] = {key: value for key, value in config.items() if key != "@type"}
    return {
        "@type": T + "envoy.config.listener.v3.Listener",
        "name": "0.0.0.0_8080",
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}},
        "filter_chains": [
            {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}
        ],
        "traffic_direction": "OUTBOUND",
    }


def dump(services: int) -> Json:
    """The whole dump, EDS included."""
    pods = random.Random(services)
    admin = T + "envoy.admin.v3."

    def dynamic(**resource: Json) -> Json:
        return {"version_info": VERSION, **resource, "last_updated": NOW}

    pairs = list(all_clusters(services))
    metadata = {"NAME": "web-0", "NAMESPACE": "team-0", "ISTIO_VERSION": "1.24.0"}
    node = {"id": "sidecar~10.0.0.1~web-0.team-0~team-0.svc.cluster.local", "metadata": metadata}
    return {
        "configs": [
            {"@type": admin + "BootstrapConfigDump", "bootstrap": {"node": node}, "last_updated": NOW},
            {
                "@type": admin + "ClustersConfigDump",
                "version_info": VERSION,
                "dynamic_active_clusters": [dynamic(cluster=cluster(*pair)) for pair in pairs],
            },
            {
                "@type": admin + "EndpointsConfigDump",
                "dynamic_endpoint_configs": [{"endpoint_config": assignment(*pair, pods)} for pair in pairs],
            },
            {
                "@type": admin + "ListenersConfigDump",
                "version_info": VERSION,
                "dynamic_listeners": [{"name": "0.0.0.0_8080", "active_state": dynamic(listener=listener(None))}],
            },
            {
                "@type": admin + "RoutesConfigDump",
                "dynamic_route_configs": [dynamic(route_config=route_config(services))],
            },
        ]
    }


def bootstrap(services: int) -> Json:
    """A bootstrap with the same resources, static: Envoy refuses it if one is wrong."""
    pods = random.Random(services)
    clusters = []
    for number, subset in all_clusters(services):
        one = {key: value for key, value in cluster(number, subset).items() if key != "@type"}
        endpoints = assignment(number, subset, pods)
        endpoints.pop("@type")
        # static endpoints instead of ADS; the network filter of Istio's build is not in every Envoy
        one = {**one, "type": "STATIC", "load_assignment": endpoints, "filters": []}
        one.pop("eds_cluster_config")
        clusters.append(one)
    sds_cluster = {
        "name": "sds-grpc",
        "type": "STATIC",
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": T + "envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                "explicit_http_config": {"http2_protocol_options": {}},
            }
        },
    }
    one_listener = {key: value for key, value in listener(route_config(services)).items() if key != "@type"}
    return {
        "node": {"id": "benchmark", "cluster": "benchmark"},
        "admin": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}}},
        "static_resources": {"clusters": [*clusters, sds_cluster], "listeners": [one_listener]},
    }


def text(services: int) -> bytes:
    """The dump as Envoy prints it; the layout of json.dumps with indent=1, made faster."""
    return msgspec.json.format(msgspec.json.encode(dump(services)), indent=1) + b"\n"


def services_for(megabytes: float) -> int:
    """How many services make a dump of that size."""
    return max(1, round(megabytes * 1_000_000 / BYTES_PER_SERVICE))


def write(path: Path, services: int) -> int:
    """Write the dump and return its size."""
    return path.write_bytes(text(services))


def main() -> None:
    """Write what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--services", type=int, default=0)
    parser.add_argument("--megabytes", type=float, default=2)
    parser.add_argument("--bootstrap", action="store_true", help="write a bootstrap for Envoy instead")
    arguments = parser.parse_args()
    services = arguments.services or services_for(arguments.megabytes)
    if arguments.bootstrap:
        arguments.file.write_text(json.dumps(bootstrap(services), indent=1))
    else:
        print(f"{write(arguments.file, services):,} bytes, {services:,} services")


if __name__ == "__main__":
    main()
