"""Explanations a second on an Istio-shaped dump of about 2 MB.

    python benchmarks/explain_speed.py [--services 190] [--requests 5000]

Prints the size of the dump, the time to index it, and explanations a second, each request another one.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from typing import Any

from meshnb.envoy.explain import Config, Request, explain


def service(number: int) -> tuple[dict, list[dict], list[dict]]:
    """Virtual host, clusters and endpoints of one service with three subsets."""
    host = f"svc-{number}.ns-{number % 20}.svc.cluster.local"
    names = [f"outbound|80|v{subset}|{host}" for subset in range(3)]
    istio = {"filter_metadata": {"istio": {"config": f"/apis/networking.istio.io/v1/virtual-service/vs-{number}"}}}
    routes: list[dict[str, Any]] = [
        {
            "match": {"prefix": f"/api/v{n}", "headers": [{"name": "x-user", "string_match": {"exact": f"u{n}"}}]},
            "route": {"cluster": name, "timeout": "5s"},
            "metadata": istio,
        }
        for n, name in enumerate(names)
    ]
    weights = [{"name": name, "weight": weight} for name, weight in zip(names, (20, 30, 50), strict=True)]
    retry = {"retry_on": "connect-failure,refused-stream", "num_retries": 2}
    action = {"weighted_clusters": {"clusters": weights}, "timeout": "0s", "retry_policy": retry}
    routes.append({"name": "default", "match": {"prefix": "/"}, "route": action, "metadata": istio})
    short = f"svc-{number}.ns-{number % 20}"
    domains = [host, f"{short}.svc", short, f"10.96.{number // 250}.{number % 250}"]
    limits = {"thresholds": [{"max_connections": 4294967295, "max_requests": 4294967295, "max_retries": 4294967295}]}
    clusters = [
        {
            "name": name,
            "type": "EDS",
            "eds_cluster_config": {"service_name": name},
            "connect_timeout": "10s",
            "circuit_breakers": limits,
            "metadata": {"filter_metadata": {"istio": {"services": [{"host": host, "name": f"svc-{number}"}]}}},
        }
        for name in names
    ]
    assignments = [
        {
            "cluster_name": name,
            "endpoints": [
                {
                    "lb_endpoints": [
                        {
                            "endpoint": {"address": {"socket_address": {"address": address, "port_value": 8080}}},
                            "health_status": "HEALTHY",
                            "load_balancing_weight": 1,
                        }
                        for address in (f"10.{number % 200}.{subset}.{e}" for e in range(6))
                    ]
                }
            ],
        }
        for subset, name in enumerate(names)
    ]
    return {"name": f"{host}:80", "domains": domains, "routes": routes}, clusters, assignments


def dump(services: int) -> dict:
    """A sidecar's dump with one HTTP listener for all services."""
    parts = [service(number) for number in range(services)]
    kinds = ("HTTPFault", "Cors", "Router")
    filters = [
        {"name": f"envoy.filters.http.{kind.lower()}", "typed_config": {"@type": f"v3.{kind}"}} for kind in kinds
    ]
    manager = {
        "@type": "v3.HttpConnectionManager",
        "rds": {"route_config_name": "80"},
        "http_filters": filters,
        "normalize_path": True,
    }
    listener = {
        "name": "0.0.0.0_80",
        "address": {"socket_address": {"address": "0.0.0.0", "port_value": 80}},
        "traffic_direction": "OUTBOUND",
        "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}],
    }
    table = {"name": "80", "virtual_hosts": [part[0] for part in parts]}
    clusters = [{"cluster": cluster} for part in parts for cluster in part[1]]
    endpoints = [{"endpoint_config": assignment} for part in parts for assignment in part[2]]
    return {
        "configs": [
            {"@type": "v3.ListenersConfigDump", "static_listeners": [{"listener": listener}]},
            {"@type": "v3.RoutesConfigDump", "dynamic_route_configs": [{"route_config": table}]},
            {"@type": "v3.ClustersConfigDump", "dynamic_active_clusters": clusters},
            {"@type": "v3.EndpointsConfigDump", "dynamic_endpoint_configs": endpoints},
        ]
    }


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--services", type=int, default=190)
    parser.add_argument("--requests", type=int, default=5000)
    given = parser.parse_args()
    document = dump(given.services)
    print(f"dump {len(json.dumps(document, indent=1)) / 1e6:.1f} MB")
    started = time.perf_counter()
    config = Config(document)
    print(f"index {(time.perf_counter() - started) * 1000:.1f} ms")
    pick = random.Random(1)
    requests = []
    for number in range(given.requests):
        service_number, version = pick.randrange(given.services), pick.randrange(4)
        url = f"http://svc-{service_number}.ns-{service_number % 20}/api/v{version}/{number}"
        requests.append(Request.to(url, headers={"x-user": f"u{pick.randrange(3)}"}))
    started = time.perf_counter()
    undecided = sum(len(explain(config, request).undecided) for request in requests)
    seconds = time.perf_counter() - started
    assert not undecided
    print(f"{given.requests / seconds:,.0f} explanations a second")


if __name__ == "__main__":
    main()
