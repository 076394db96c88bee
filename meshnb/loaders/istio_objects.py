"""Istio's VirtualServices, DestinationRules and Gateways as tables."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from meshnb.envoy.names import CLUSTER_DOMAIN, full_host
from meshnb.loaders.objects import (
    Object,
    metadata,
    section,
    sequence,
    to_json,
)
from meshnb.loaders.shape import shaped
from meshnb.model.frame import returns
from meshnb.model.tables.objects import DESTINATION_RULES, GATEWAYS, VIRTUAL_SERVICES
from meshnb.model.times import timestamp

if TYPE_CHECKING:
    import pandas as pd

ISTIO_NETWORKING = "networking.istio.io/"

_PART = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)")
_MS = {"ns": 1e-6, "us": 1e-3, "µs": 1e-3, "ms": 1.0, "s": 1e3, "m": 6e4, "h": 3.6e6}


def duration_ms(text: Any) -> float | None:
    """A duration as Istio and Envoy write it, in milliseconds; missing if it is none.

    Example:
        >>> duration_ms("1m0.5s"), duration_ms("500ms"), duration_ms("soon")
        (60500.0, 500.0, None)
    """
    if not isinstance(text, str):
        return None
    parts = _PART.findall(text)
    if "".join(f"{number}{unit}" for number, unit in parts) != text:
        return 0.0 if text == "0" else None
    return sum(float(number) * _MS[unit] for number, unit in parts)


def of_kind(objects: Sequence[Object], kind: str) -> Iterator[Object]:
    """Istio's objects of a kind; the Gateway of Kubernetes' own Gateway API is another one."""
    return (o for o in objects if o.get("kind") == kind and str(o.get("apiVersion", "")).startswith(ISTIO_NETWORKING))


@returns(VIRTUAL_SERVICES)
@shaped("VirtualServices")
def virtual_services_table(objects: Sequence[Object], *, file: str = "", domain: str = CLUSTER_DOMAIN) -> pd.DataFrame:
    """VirtualServices, one row per route destination; other kinds are left out."""
    rows: list[dict[str, Any]] = []
    for thing in of_kind(objects, "VirtualService"):
        meta = metadata(thing, file=file)
        namespace = meta.get("namespace", "default")
        where = f"VirtualService {namespace}/{meta['name']}"
        spec = section(thing, "spec", file, where)
        common = {
            "namespace": namespace,
            "virtual_service": meta["name"],
            "hosts": [str(h) for h in sequence(spec.get("hosts"), file=file, where=f"{where} spec.hosts")],
            "gateways": [_gateway(g, namespace) for g in spec.get("gateways") or ["mesh"]],
            "export_to": [str(e) for e in spec.get("exportTo") or ["*"]],
            "created": timestamp(meta.get("creationTimestamp")),
        }
        routes = [
            {**common, "protocol": protocol, "route_index": index, **row}
            for protocol in ("http", "tls", "tcp")
            for index, route in enumerate(sequence(spec.get(protocol), file=file, where=f"{where} spec.{protocol}"))
            for row in _route(route, namespace, domain, file, f"{where} spec.{protocol}[{index}]")
        ]
        rows += routes or [{**common, "match": "[]"}]
    return VIRTUAL_SERVICES.rows(rows)


def _gateway(name: Any, namespace: str) -> str:
    text = str(name)
    return text if text == "mesh" or "/" in text else f"{namespace}/{text}"


def _route(route: Any, namespace: str, domain: str, file: str, where: str) -> list[dict[str, Any]]:
    route = section({"route": route}, "route", file, where)
    retries = route.get("retries") or {}
    common = {
        "route_name": route.get("name"),
        "match": to_json(route.get("match") or []),
        "timeout_ms": duration_ms(route.get("timeout")),
        "retry_attempts": retries.get("attempts"),
        "retry_on": retries.get("retryOn"),
        "per_try_timeout_ms": duration_ms(retries.get("perTryTimeout")),
        "fault": to_json(route["fault"]) if route.get("fault") else None,
        "mirror": to_json(route.get("mirror") or route.get("mirrors")) if _mirrors(route) else None,
    }
    destinations = sequence(route.get("route"), file=file, where=f"{where}.route")
    if not destinations:
        action = next((a for a in ("redirect", "directResponse", "delegate") if a in route), None)
        return [{**common, "action": "direct_response" if action == "directResponse" else action}]
    rows = []
    for index, weighted in enumerate(destinations):
        target = section(weighted, "destination", file, f"{where}.route[{index}]")
        default = 100 if len(destinations) == 1 else 0
        rows.append(
            {
                **common,
                "action": "route",
                "destination_index": index,
                "destination_host": full_host(str(target.get("host", "")), namespace, domain),
                "subset": target.get("subset") or None,
                "port": (target.get("port") or {}).get("number"),
                "weight": weighted.get("weight") or default,
            }
        )
    return rows


def _mirrors(route: Object) -> bool:
    return bool(route.get("mirror") or route.get("mirrors"))


@returns(DESTINATION_RULES)
@shaped("DestinationRules")
def destination_rules_table(objects: Sequence[Object], *, file: str = "", domain: str = CLUSTER_DOMAIN) -> pd.DataFrame:
    """DestinationRules, one row per subset and one for the whole host; other kinds are left out."""
    rows: list[dict[str, Any]] = []
    for thing in of_kind(objects, "DestinationRule"):
        meta = metadata(thing, file=file)
        namespace = meta.get("namespace", "default")
        where = f"DestinationRule {namespace}/{meta['name']}"
        spec = section(thing, "spec", file, where)
        policy = section(spec, "trafficPolicy", file, where)
        selector = (spec.get("workloadSelector") or {}).get("matchLabels")
        common = {
            "namespace": namespace,
            "destination_rule": meta["name"],
            "host": full_host(str(spec.get("host", "")), namespace, domain),
            "workload_selector": to_json(selector) if selector else None,
            "export_to": [str(e) for e in spec.get("exportTo") or ["*"]],
            "created": timestamp(meta.get("creationTimestamp")),
        }
        rows.append({**common, "labels": "{}", **_policy(policy, {})})
        for index, subset in enumerate(sequence(spec.get("subsets"), file=file, where=f"{where} spec.subsets")):
            position = f"{where} spec.subsets[{index}]"
            subset = section({"subset": subset}, "subset", file, position)
            rows.append(
                {
                    **common,
                    "subset": subset.get("name", ""),
                    "labels": to_json(subset.get("labels") or {}),
                    **_policy(section(subset, "trafficPolicy", file, position), policy),
                }
            )
    return DESTINATION_RULES.rows(rows)


def _policy(policy: Object, host: Object) -> dict[str, Any]:
    """Traffic settings: those of the subset replace, setting by setting, those of the host."""

    def setting(name: str) -> str | None:
        value = policy.get(name) or host.get(name)
        return to_json(value) if value else None

    return {
        "tls_mode": (policy.get("tls") or host.get("tls") or {}).get("mode"),
        "load_balancer": setting("loadBalancer"),
        "connection_pool": setting("connectionPool"),
        "outlier_detection": setting("outlierDetection"),
        "port_settings": setting("portLevelSettings"),
    }


@returns(GATEWAYS)
@shaped("Gateways")
def gateways_table(objects: Sequence[Object], *, file: str = "") -> pd.DataFrame:
    """Istio Gateways, one row per server; other kinds are left out."""
    rows: list[dict[str, Any]] = []
    for thing in of_kind(objects, "Gateway"):
        meta = metadata(thing, file=file)
        where = f"Gateway {meta.get('namespace', 'default')}/{meta['name']}"
        spec = section(thing, "spec", file, where)
        common = {
            "namespace": meta.get("namespace", "default"),
            "gateway": meta["name"],
            "selector": to_json(spec.get("selector") or {}),
            "created": timestamp(meta.get("creationTimestamp")),
        }
        servers = sequence(spec.get("servers"), file=file, where=f"{where} spec.servers")
        rows += [{**common, "server_index": i, **_server(s)} for i, s in enumerate(servers)] or [
            {**common, "hosts": [], "https_redirect": False}
        ]
    return GATEWAYS.rows(rows)


def _server(server: Object) -> dict[str, Any]:
    port, tls = server.get("port") or {}, server.get("tls") or {}
    return {
        "port": port.get("number"),
        "port_name": port.get("name"),
        "protocol": port.get("protocol"),
        "hosts": [str(h) for h in server.get("hosts") or ()],
        "tls_mode": tls.get("mode") or ("PASSTHROUGH" if tls and not tls.get("httpsRedirect") else None),
        "credential_name": tls.get("credentialName"),
        "https_redirect": bool(tls.get("httpsRedirect")),
    }
