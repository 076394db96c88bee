"""Would a capture be allowed? Asked of the cluster, verb by verb, before anything is captured."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from meshnb.errors import MeshnbError
from meshnb.sources import capture_plan
from meshnb.sources.kubernetes import Cluster

_HINT = "grant it with docs/rbac.yaml"
_FORWARD = ("pages of Envoy, agents and istiod", "exec is used instead, if that is allowed")
_EXEC = ("what pods listen on, and the way round port-forward", "needed for --ports alone")
# a connection over a websocket is "get" to Kubernetes, and since 1.35 "create" as well
_STREAMS = (
    ("get", "log", "logs of containers", "capture with --since none"),
    ("get", "portforward", *_FORWARD),
    ("create", "portforward", *_FORWARD),
    ("get", "exec", *_EXEC),
    ("create", "exec", *_EXEC),
)


@dataclass(frozen=True, slots=True)
class Access:
    """What was asked for.

    Args:
        what: `list pods in istioinaction`.
        refused: why not; empty if it is allowed.
        without: what is lacking without it, or what to do.
    """

    what: str
    refused: str
    without: str


def review(
    cluster: Cluster, *, namespaces: Sequence[str] = (), istio_namespace: str = "istio-system"
) -> Iterator[Access]:
    """Ask for everything a capture needs.

    Args:
        cluster: the cluster.
        namespaces: where; empty for all.
        istio_namespace: where istiod runs, and the ConfigMap of the mesh lies.

    Yields:
        One answer for each verb, kind and namespace.

    Raises:
        Unreachable: the cluster does not answer.
    """
    spaces: Sequence[str] = sorted({*namespaces, istio_namespace}) if namespaces else ("",)
    for kind in capture_plan.resources():
        for space in spaces if kind.namespaced else ("",):
            place = f" in {space}" if space else ""
            refused = _ask(cluster, "list", kind.plural, group=kind.group, namespace=space)
            yield Access(f"list {kind.plural}{place}", refused, f"{kind.plural} will be missing; {_HINT}")
    for verb, stream, what, without in _STREAMS:
        for space in spaces:
            place = f" in {space}" if space else ""
            refused = _ask(cluster, verb, "pods", namespace=space, subresource=stream)
            yield Access(f"{verb} pods/{stream}{place}", refused, f"{what}: {without}; {_HINT}")
    what = f"get configmaps/istio in {istio_namespace}"
    refused = _ask(cluster, "get", "configmaps", namespace=istio_namespace, name="istio")
    yield Access(what, refused, f"MeshConfig will be missing; {_HINT}")


def _ask(
    cluster: Cluster,
    verb: str,
    resource: str,
    *,
    group: str = "",
    namespace: str = "",
    subresource: str = "",
    name: str = "",
) -> str:
    try:
        return cluster.can(verb, resource, group=group, namespace=namespace, subresource=subresource, name=name)
    except MeshnbError as error:
        return error.message
