"""Istio objects → Envoy's configuration, named as Istio names it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from meshnb.lab.xds.clusters import clusters
from meshnb.lab.xds.common import CLUSTER, ENDPOINT, LISTENER, ROUTE, Proxy, Resource
from meshnb.lab.xds.endpoints import endpoints
from meshnb.lab.xds.listeners import listeners
from meshnb.lab.xds.routes import routes

TRANSLATORS: Mapping[str, Callable[[Proxy], list[Resource]]] = {
    CLUSTER: clusters,
    ENDPOINT: endpoints,
    LISTENER: listeners,
    ROUTE: routes,
}
"""Type URL -> what makes the resources of that type."""


def translate(proxy: Proxy) -> dict[str, list[Resource]]:
    """All resources of a proxy by type URL.

    Raises:
        LabError: an object asks for something that the lab does not translate.
    """
    return {kind: make(proxy) for kind, make in TRANSLATORS.items()}
