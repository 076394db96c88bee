"""What all parts of the translation share: types, config sources, durations, matches."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from meshnb.errors import LabError
from meshnb.lab.inventory import Object
from meshnb.lab.plan import Plan, Pod
from meshnb.lab.world import World

Resource = dict[str, Any]

TYPE = "type.googleapis.com/"
CLUSTER = TYPE + "envoy.config.cluster.v3.Cluster"
ENDPOINT = TYPE + "envoy.config.endpoint.v3.ClusterLoadAssignment"
LISTENER = TYPE + "envoy.config.listener.v3.Listener"
ROUTE = TYPE + "envoy.config.route.v3.RouteConfiguration"
SECRET = TYPE + "envoy.extensions.transport_sockets.tls.v3.Secret"

PUSH_ORDER = (CLUSTER, ENDPOINT, LISTENER, ROUTE)
"""The order in which a push must go out: a route may only name clusters that are there."""

HTTP_PORT = 80
"""Port of all Services of the lab."""


@dataclass(frozen=True, slots=True)
class Proxy:
    """One Envoy to translate for."""

    pod: Pod
    plan: Plan
    world: World

    @property
    def ip(self) -> str:
        """Address of its pod."""
        return self.plan.ip(self.pod)


def typed(name: str, message: str, **fields: Any) -> Resource:
    """A named extension with its configuration."""
    return {"name": name, "typed_config": {"@type": f"{TYPE}envoy.extensions.{message}", **fields}}


def ads() -> Resource:
    """Config source: the stream the proxy already has."""
    return {"ads": {}, "initial_fetch_timeout": "0s", "resource_api_version": "V3"}


def sds(name: str) -> Resource:
    """A certificate from the secret service, named as in Istio: `default` or `ROOTCA`."""
    return {
        "name": name,
        "sds_config": {
            "api_config_source": {
                "api_type": "GRPC",
                "transport_api_version": "V3",
                "grpc_services": [{"envoy_grpc": {"cluster_name": "sds-grpc"}}],
                "set_node_on_first_message_only": True,
            },
            "initial_fetch_timeout": "0s",
            "resource_api_version": "V3",
        },
    }


def duration(value: object, *, where: str = "a duration") -> str:
    """A duration of Istio (`0.5s`, `500ms`, `1m30s`) as Envoy writes it.

    Example:
        >>> duration("500ms"), duration("1m30s"), duration("0s")
        ('0.5s', '90s', '0s')
    """
    text = str(value)
    parts = re.findall(r"(\d+(?:\.\d+)?)(ms|us|ns|h|m|s)", text)
    if not parts or "".join(n + u for n, u in parts) != text:
        raise LabError(f"{where}: {text!r} is no duration", hint="such as 0.5s, 500ms or 1m")
    unit = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}
    seconds = sum(float(number) * unit[name] for number, name in parts)
    return f"{seconds:.9f}".rstrip("0").rstrip(".") + "s"


def string_match(value: Object) -> Resource:
    """A StringMatch of Istio as Envoy's StringMatcher."""
    if "exact" in value:
        return {"exact": value["exact"]}
    if "prefix" in value:
        return {"prefix": value["prefix"]}
    return {"safe_regex": {"regex": value.get("regex", "")}}


def config_path(item: Object) -> str:
    """How Istio names an object in metadata."""
    kind = re.sub(r"(?<!^)(?=[A-Z])", "-", item["kind"]).lower()
    meta = item["metadata"]
    return f"/apis/networking.istio.io/v1alpha3/namespaces/{meta['namespace']}/{kind}/{meta['name']}"
