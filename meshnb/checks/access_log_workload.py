"""Which Telemetry objects hold for a workload: by labels, or by the Gateway, Service or GatewayClass they refer to."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

GATEWAY_NAME = "gateway.networking.k8s.io/gateway-name"
"""Label of the pods that Istio runs for a Gateway of the Gateway API."""
GATEWAY_API, ISTIO_API = "gateway.networking.k8s.io", "networking.istio.io"
_WAYPOINT_CLASS = "istio-waypoint"


@dataclass(frozen=True, slots=True)
class Bound:
    """Whether a Telemetry holds for a workload; `doubt` says why that cannot be told."""

    holds: bool = False
    doubt: str = ""


@dataclass(frozen=True, slots=True)
class Workload:
    """A proxy, as Telemetry objects see it.

    Args:
        namespace: of its pod.
        labels: of its pod; `None` if that was not captured.
        kind: what its proxy runs as: sidecar, router, waypoint; empty if not known.
        gateways: Gateways of networking.istio.io in its namespace that select it; `None` if not captured.
    """

    namespace: str
    labels: Mapping[str, str] | None = None
    kind: str = ""
    gateways: frozenset[str] | None = None

    @property
    def is_waypoint(self) -> bool | None:
        """Whether it is a waypoint, `None` if that is not known."""
        if self.kind:
            return self.kind == "waypoint"
        # a waypoint has a Gateway of its own
        return None if self.labels is None or GATEWAY_NAME in self.labels else False

    def bound_by(self, selector: Mapping[str, str], refs: Iterable[Mapping[str, Any]], *, root: str) -> Bound:
        """Whether a Telemetry of its namespace, which has a selector or references, holds for it.

        As istiod decides: whoever runs for a Gateway of the Gateway API is bound by references, and only without any by
        a selector, if it is no waypoint; anybody else by a selector, and by none if there are references.

        Args:
            selector: labels it selects.
            refs: its references.
            root: the root namespace.
        """
        if self.labels is None:
            return Bound(doubt="its pod was not captured, so its labels are not known")
        answers = [self._meant_by(ref, root) for ref in refs]
        if answers:
            # the first one that is sure, else the first one that may be
            return max(answers, key=lambda one: (one.holds, bool(one.doubt)))
        selected = selector.items() <= self.labels.items()
        if not selected or GATEWAY_NAME not in self.labels:
            return Bound(selected)
        if self.is_waypoint is None:
            return Bound(
                doubt="it selects by labels, which waypoints do not heed, and whether this is one is not known"
            )
        return Bound(not self.is_waypoint)

    def _meant_by(self, ref: Mapping[str, Any], root: str) -> Bound:
        labels, waypoint = self.labels or {}, self.is_waypoint
        kind, name, group = str(ref.get("kind", "")), str(ref.get("name", "")), str(ref.get("group") or "core")
        elsewhere = ref.get("namespace") not in (None, "", self.namespace)
        if (group, kind) == (ISTIO_API, "Gateway"):
            if elsewhere or (self.gateways is not None and name not in self.gateways):
                return Bound()
            known = "only an istiod of today heeds a Gateway of Istio's own"
            return Bound(doubt=known if self.gateways is not None else f"Gateway {name} was not captured")
        if (group, kind) == (GATEWAY_API, "Gateway"):
            return Bound(not elsewhere and name == labels.get(GATEWAY_NAME))
        if waypoint is False or GATEWAY_NAME not in labels:
            return Bound()
        if is_waypoint_class(ref) and self.namespace == root:
            return Bound(doubt="whether this is a waypoint is not known") if waypoint is None else Bound(True)
        if (group, kind) in (("core", "Service"), (ISTIO_API, "ServiceEntry")):
            return Bound(doubt=f"it refers to {kind} {name}, whose requests are a part of those that a waypoint takes")
        return Bound()


def is_waypoint_class(ref: Mapping[str, Any]) -> bool:
    """Whether a reference means all waypoints.

    Example:
        >>> is_waypoint_class({"group": "gateway.networking.k8s.io", "kind": "GatewayClass", "name": "istio-waypoint"})
        True
    """
    return (ref.get("group"), ref.get("kind"), ref.get("name")) == (GATEWAY_API, "GatewayClass", _WAYPOINT_CLASS)


def workload(proxy: str, pods: pd.DataFrame | None, objects: pd.DataFrame | None) -> Workload:
    """The workload of a proxy.

    Args:
        proxy: `POD.NAMESPACE`.
        pods: table `pods`.
        objects: table `objects`.
    """
    namespace = proxy.rpartition(".")[2]
    pod = None if pods is None else next(pods[pods.proxy == proxy].itertuples(), None)
    if pod is None:
        return Workload(namespace)
    labels = json.loads(pod.labels)
    gateways = None if objects is None else frozenset(_selecting(labels, namespace, objects))
    return Workload(namespace, labels, pod.proxy_type if isinstance(pod.proxy_type, str) else "", gateways)


def _selecting(labels: Mapping[str, str], namespace: str, objects: pd.DataFrame) -> Iterable[str]:
    """Gateways of Istio's own that select these labels."""
    here = objects[(objects.kind == "Gateway") & (objects.namespace == namespace)]
    for row in here[here.api_version.str.startswith(f"{ISTIO_API}/")].itertuples():
        selector = (json.loads(row.object).get("spec") or {}).get("selector") or {}
        if selector.items() <= labels.items():
            yield row.name
