"""Small tables for the tests of checks, in the shapes the loaders give."""

from __future__ import annotations

import json
from typing import Any

import pandas as pd

from meshnb.model.frame import Frame
from meshnb.model.tables.envoy import CLUSTERS, ROUTES
from meshnb.model.tables.logs import ACCESS_LOG
from meshnb.model.tables.objects import DESTINATION_RULES, PODS, SERVICES

GATEWAY = "istio-ingressgateway-7d9f8c6b5-lab01.istio-system"
HOST = "catalog.istioinaction.svc.cluster.local"
IPS = {"catalog-v1": "10.0.0.1", "catalog-v2-a": "10.0.0.2", "catalog-v2-b": "10.0.0.3"}

_FILL: dict[str, Any] = {"string": "", "int64": 0, "float64": 0.0, "bool": False, "list<string>": [], "json": "{}"}


def rows(frame: Frame, *given: dict[str, Any]) -> pd.DataFrame:
    """Rows of a frame; columns that must not be missing and are not given get a neutral value."""
    needed = {c.name: _FILL[c.dtype] for c in frame.columns if not c.nullable}
    return frame.rows([needed | row for row in given])


def route(cluster: str | None, **more: Any) -> dict[str, Any]:
    return {
        "proxy": GATEWAY,
        "route_config": "http.8080",
        "virtual_host": "catalog.istioinaction.io:80",
        "domains": ["catalog.istioinaction.io"],
        "match": "/*",
        "cluster": cluster,
        "virtual_service": "catalog-v1-v2",
        "virtual_service_namespace": "istioinaction",
        "timeout_ms": 500.0,
    } | more


def cluster(subset: str = "", *, port: int = 80, host: str = HOST, proxy: str = GATEWAY) -> dict[str, Any]:
    name = f"outbound|{port}|{subset}|{host}"
    return {"proxy": proxy, "cluster": name, "port": port, "subset": subset or None, "fqdn": host}


def pod(name: str) -> dict[str, Any]:
    version = name.split("-")[1]
    labels = json.dumps({"app": "catalog", "version": version, "pod-template-hash": "6c8d9f7b6"})
    return {
        "namespace": "istioinaction",
        "pod": name,
        "proxy": f"{name}.istioinaction",
        "version": version,
        "ip": IPS[name],
        "labels": labels,
    }


def request(code: int, flags: str | None = None, *, to: str = "catalog-v1", ms: int = 5, id: str = "", **more: Any):
    version = to.split("-")[1]
    return {
        "proxy": GATEWAY,
        "response_code": code,
        "flag_set": flags,
        "authority": "catalog.istioinaction.io",
        "upstream_host": f"{IPS[to]}:3000",
        "upstream_cluster": f"outbound|80|version-{version}|{HOST}",
        "duration_ms": ms,
        "request_id": id or None,
    } | more


def routes(*given: dict[str, Any]) -> pd.DataFrame:
    return rows(ROUTES, *given)


def clusters(*given: dict[str, Any]) -> pd.DataFrame:
    return rows(CLUSTERS, *given)


def log(*given: dict[str, Any]) -> pd.DataFrame:
    return rows(ACCESS_LOG, *given)


def pods(*names: str) -> pd.DataFrame:
    return rows(PODS, *(pod(name) for name in names))


def services() -> pd.DataFrame:
    selector = json.dumps({"app": "catalog"})
    return rows(SERVICES, {"namespace": "istioinaction", "service": "catalog", "host": HOST, "selector": selector})


def rules(*subsets: str | None) -> pd.DataFrame:
    return rows(
        DESTINATION_RULES,
        *({"namespace": "istioinaction", "destination_rule": "catalog", "host": HOST, "subset": s} for s in subsets),
    )
