"""The subset of Istio and Kubernetes objects that the lab translates.

An object with anything else in it is refused, so nothing that a file asks for is dropped in silence.
"""

from __future__ import annotations

import difflib
from typing import Any

from meshnb.errors import LabError

KINDS = {
    "AuthorizationPolicy": "authorizationpolicies",
    "Deployment": "deployments",
    "DestinationRule": "destinationrules",
    "EndpointSlice": "endpointslices",
    "EnvoyFilter": "envoyfilters",
    "Gateway": "gateways",
    "Namespace": "namespaces",
    "PeerAuthentication": "peerauthentications",
    "Pod": "pods",
    "Service": "services",
    "Sidecar": "sidecars",
    "Telemetry": "telemetries",
    "VirtualService": "virtualservices",
}
"""Kind -> name of its resource."""

ANY: dict[str, Any] = {}
"""Anything may stand here."""


class OneOf(tuple[Any, ...]):
    """Only these values may stand here."""


_STRING_MATCH = {"exact": ANY, "prefix": ANY, "regex": ANY}
_PORT = {"number": ANY}
_DESTINATION = {"host": ANY, "subset": ANY, "port": _PORT}
_HEADER_CHANGES = {"set": ANY, "add": ANY, "remove": ANY}
_HEADERS = {"request": _HEADER_CHANGES, "response": _HEADER_CHANGES}
_FAULT = {
    "delay": {"percentage": ANY, "fixedDelay": ANY},
    "abort": {"percentage": ANY, "httpStatus": ANY},
}
_HTTP_ROUTE = {
    "name": ANY,
    "match": [
        {
            "name": ANY,
            "uri": _STRING_MATCH,
            "method": _STRING_MATCH,
            "authority": _STRING_MATCH,
            "headers": {"*": _STRING_MATCH},
            "withoutHeaders": {"*": _STRING_MATCH},
            "queryParams": {"*": {"exact": ANY, "regex": ANY}},
            "ignoreUriCase": ANY,
        }
    ],
    "route": [{"destination": _DESTINATION, "weight": ANY, "headers": _HEADERS}],
    "redirect": {"uri": ANY, "authority": ANY, "redirectCode": ANY, "scheme": ANY},
    "directResponse": {"status": ANY, "body": {"string": ANY}},
    "rewrite": {"uri": ANY, "authority": ANY},
    "timeout": ANY,
    "retries": {"attempts": ANY, "perTryTimeout": ANY, "retryOn": ANY},
    "fault": _FAULT,
    "headers": _HEADERS,
}
_TRAFFIC_POLICY = {
    "loadBalancer": {"simple": OneOf(("LEAST_REQUEST", "LEAST_CONN", "ROUND_ROBIN", "RANDOM"))},
    "connectionPool": {
        "tcp": {"maxConnections": ANY, "connectTimeout": ANY, "idleTimeout": ANY, "maxConnectionDuration": ANY},
        "http": {
            "http1MaxPendingRequests": ANY,
            "http2MaxRequests": ANY,
            "maxRequestsPerConnection": ANY,
            "maxRetries": ANY,
            "idleTimeout": ANY,
        },
    },
    "outlierDetection": {
        "consecutive5xxErrors": ANY,
        "consecutiveGatewayErrors": ANY,
        "interval": ANY,
        "baseEjectionTime": ANY,
        "maxEjectionPercent": ANY,
        "minHealthPercent": ANY,
    },
    "tls": {"mode": OneOf(("DISABLE", "SIMPLE", "ISTIO_MUTUAL")), "sni": ANY, "subjectAltNames": ANY},
}
_SELECTOR = {"matchLabels": ANY}
_SPECS: dict[str, Any] = {
    "Gateway": {
        "selector": ANY,
        "servers": [
            {
                "name": ANY,
                "port": {"number": OneOf((80,)), "name": ANY, "protocol": OneOf(("HTTP", "HTTP2"))},
                "hosts": ANY,
            }
        ],
    },
    "VirtualService": {"hosts": ANY, "gateways": ANY, "http": [_HTTP_ROUTE]},
    "DestinationRule": {
        "host": ANY,
        "subsets": [{"name": ANY, "labels": ANY, "trafficPolicy": _TRAFFIC_POLICY}],
        "trafficPolicy": _TRAFFIC_POLICY,
    },
    "PeerAuthentication": {
        "selector": _SELECTOR,
        "mtls": {"mode": OneOf(("UNSET", "DISABLE", "PERMISSIVE", "STRICT"))},
    },
    "AuthorizationPolicy": {
        "selector": _SELECTOR,
        "action": OneOf(("ALLOW", "DENY")),
        "rules": [
            {
                "from": [{"source": {"principals": ANY, "namespaces": ANY}}],
                "to": [{"operation": {"methods": ANY, "paths": ANY}}],
            }
        ],
    },
    "EnvoyFilter": {
        "workloadSelector": {"labels": ANY},
        "configPatches": [
            {
                "applyTo": OneOf(("HTTP_FILTER",)),
                "match": {
                    "context": OneOf(("ANY", "GATEWAY", "SIDECAR_INBOUND", "SIDECAR_OUTBOUND")),
                    "listener": {"filterChain": {"filter": {"name": ANY, "subFilter": {"name": ANY}}}},
                },
                "patch": {"operation": OneOf(("INSERT_FIRST", "INSERT_BEFORE")), "value": ANY},
            }
        ],
    },
    "Sidecar": {
        "workloadSelector": {"labels": ANY},
        "egress": [{"hosts": ANY}],
        "outboundTrafficPolicy": {"mode": OneOf(("ALLOW_ANY", "REGISTRY_ONLY"))},
    },
    "Telemetry": {
        "selector": _SELECTOR,
        "accessLogging": [
            {
                "providers": [{"name": OneOf(("envoy",))}],
                "match": {"mode": OneOf(("CLIENT", "SERVER", "CLIENT_AND_SERVER"))},
                "disabled": ANY,
                "filter": {"expression": ANY},
            }
        ],
    },
    "Service": {
        "type": ANY,
        "clusterIP": ANY,
        "selector": ANY,
        "ports": [{"name": ANY, "port": OneOf((80,)), "protocol": OneOf(("TCP",)), "targetPort": ANY}],
    },
}


def check_object(item: object) -> None:
    """Refuse an object that the lab would not translate whole.

    Raises:
        LabError: names the kind or the path of the field.
    """
    if not isinstance(item, dict) or not isinstance(item.get("kind"), str):
        raise LabError("not an object: it has no kind", hint="apiVersion, kind, metadata, spec")
    kind = item["kind"]
    if kind not in KINDS or kind == "EndpointSlice":
        near = difflib.get_close_matches(kind, KINDS, n=1)
        known = ", ".join(sorted(set(KINDS) - {"EndpointSlice"}))
        raise LabError(
            f"the lab does not translate {kind}", hint=f"did you mean {near[0]}?" if near else f"kinds: {known}"
        )
    name = (item.get("metadata") or {}).get("name")
    if not isinstance(name, str) or not name:
        raise LabError(f"{kind} without metadata.name", hint="apiVersion, kind, metadata, spec")
    if kind in _SPECS:
        if not isinstance(item.get("spec"), dict):
            raise LabError(f"{kind} {name} has no spec")
        _check(item["spec"], _SPECS[kind], path="spec", owner=f"{kind} {name}")


def _check(value: object, shape: Any, *, path: str, owner: str) -> None:
    if not shape or value is None:
        return
    if isinstance(shape, OneOf):
        if value not in shape:
            raise LabError(
                f"{owner}: the lab does not translate {path}: {value}", hint=f"one of {', '.join(map(str, shape))}"
            )
        return
    if isinstance(shape, list):
        if not isinstance(value, list):
            raise LabError(f"{owner}: {path} is no list")
        for index, entry in enumerate(value):
            _check(entry, shape[0], path=f"{path}[{index}]", owner=owner)
        return
    if not isinstance(value, dict):
        raise LabError(f"{owner}: {path} is no mapping")
    for key, entry in value.items():
        inner = shape.get("*", shape.get(key))
        if inner is None:
            near = difflib.get_close_matches(str(key), shape, n=1)
            raise LabError(
                f"{owner}: the lab does not translate {path}.{key}",
                hint=f"did you mean {near[0]}?" if near else "docs/lab.md lists the fields it knows",
            )
        _check(entry, inner, path=f"{path}.{key}", owner=owner)
