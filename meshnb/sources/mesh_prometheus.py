"""The Prometheus of a mesh: found among the Services of the cluster, asked by port-forward."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from meshnb.errors import MeshnbError, NotFound
from meshnb.sources.kubernetes import Cluster
from meshnb.sources.port_forward import PortForward
from meshnb.sources.prometheus import PrometheusApi

_LABELS = ("app.kubernetes.io/name", "app", "k8s-app")
_OTHERS = re.compile(r"alertmanager|operator|exporter|pushgateway|adapter|blackbox|kube-state|webhook|thanos-sidecar")
_HINT = "give its address with --prometheus URL"


@dataclass(frozen=True, slots=True)
class PrometheusService:
    """A Service that looks like a Prometheus.

    Args:
        name: name of the Service.
        namespace: its namespace.
        pod: a pod behind it that is ready.
        port: port of that pod.
    """

    name: str
    namespace: str
    pod: str
    port: int


def find_prometheus(cluster: Cluster, *, istio_namespace: str = "istio-system") -> list[PrometheusService]:
    """Services that look like a Prometheus, those beside istiod first.

    They are told by a label `app.kubernetes.io/name`, `app` or `k8s-app` of `prometheus`, or by their name.

    Args:
        cluster: the cluster.
        istio_namespace: namespace of istiod.

    Raises:
        NotFound: there is none with a ready pod.
        SourceError: Services cannot be listed.
    """
    found = []
    for service in _services(cluster, istio_namespace):
        target = _target(cluster, service)
        if target is not None:
            found.append(target)
    if not found:
        raise NotFound(f"no Prometheus with a ready pod beside {istio_namespace} or by its labels", hint=_HINT)
    return found


def _services(cluster: Cluster, istio_namespace: str) -> list[Mapping[str, Any]]:
    """Candidates, each once; a cluster that lets one namespace be listed alone is asked for that."""
    spaces = ["/api/v1/services", f"/api/v1/namespaces/{quote(istio_namespace)}/services"]
    reason: MeshnbError | None = None
    for path in spaces:
        try:
            items = json.loads(cluster.get(path)).get("items") or []
        except MeshnbError as error:
            reason = reason or error
            continue
        return sorted(filter(_looks_like, items), key=lambda s: _rank(s, istio_namespace))
    raise reason or NotFound("no Services")


def _looks_like(service: Mapping[str, Any]) -> bool:
    meta = service.get("metadata") or {}
    name, labels = str(meta.get("name", "")), meta.get("labels") or {}
    words = " ".join([name, *(str(labels.get(key, "")) for key in (*_LABELS, "app.kubernetes.io/component"))])
    if _OTHERS.search(words):
        return False
    return name.startswith("prometheus") or any(labels.get(key) == "prometheus" for key in _LABELS)


def _rank(service: Mapping[str, Any], istio_namespace: str) -> tuple[bool, bool, str, str]:
    meta = service["metadata"]
    space, name = str(meta.get("namespace", "")), str(meta["name"])
    return (space != istio_namespace, name != "prometheus", space, name)


def _target(cluster: Cluster, service: Mapping[str, Any]) -> PrometheusService | None:
    """A ready pod behind the Service and the port that answers there."""
    spec, meta = service.get("spec") or {}, service["metadata"]
    selector, ports = spec.get("selector") or {}, spec.get("ports") or []
    if not selector or not ports:
        return None
    wanted = next((p for p in ports if p.get("port") == 9090 or p.get("name") in ("http", "web", "http-web")), ports[0])
    query = {"labelSelector": ",".join(f"{key}={value}" for key, value in sorted(selector.items()))}
    try:
        pods = json.loads(cluster.get(f"/api/v1/namespaces/{quote(meta['namespace'])}/pods", query)).get("items") or []
    except MeshnbError:
        return None
    for pod in pods:
        conditions = (pod.get("status") or {}).get("conditions") or ()
        if any(c.get("type") == "Ready" and c.get("status") == "True" for c in conditions):
            port = _port(wanted.get("targetPort") or wanted.get("port"), pod)
            if port:
                return PrometheusService(meta["name"], meta["namespace"], pod["metadata"]["name"], port)
    return None


def _port(target: Any, pod: Mapping[str, Any]) -> int:
    """Number of a target port, which may be the name of a container's port; 0 if the pod has none of that name."""
    if not isinstance(target, str) or target.isdigit():
        return int(target)
    named = [p for c in (pod.get("spec") or {}).get("containers") or () for p in c.get("ports") or ()]
    return next((int(p["containerPort"]) for p in named if p.get("name") == target), 0)


@contextmanager
def mesh_prometheus(
    cluster: Cluster, *, istio_namespace: str = "istio-system", progress: Callable[[str], None] = lambda _: None
) -> Iterator[str]:
    """The URL, on this machine, of the Prometheus that scrapes istiod; of one that does not if there is no other.

    Args:
        cluster: the cluster.
        istio_namespace: namespace of istiod.
        progress: told which was taken.

    Raises:
        NotFound: there is none.
        SourceError: those there are do not answer; every reason is named.
    """
    reasons = []
    spare: PrometheusService | None = None
    for service in find_prometheus(cluster, istio_namespace=istio_namespace):
        try:
            scrapes = _scrapes(cluster, service)
        except MeshnbError as error:
            reasons.append(f"{service.name}.{service.namespace}: {error.message}")
            continue
        if not scrapes:
            spare = spare or service
            continue
        with _forwarded(cluster, service) as url:
            progress(f"Prometheus {service.name}.{service.namespace}")
            yield url
        return
    if spare is None:
        raise NotFound("no Prometheus of the cluster answers: " + "; ".join(reasons), hint=_HINT)
    with _forwarded(cluster, spare) as url:
        progress(f"Prometheus {spare.name}.{spare.namespace}, which does not scrape istiod")
        yield url


@contextmanager
def _forwarded(cluster: Cluster, service: PrometheusService) -> Iterator[str]:
    with PortForward(cluster, service.pod, service.namespace, service.port) as forward:
        yield "http://{}:{}".format(*forward.address)


def _scrapes(cluster: Cluster, service: PrometheusService) -> bool:
    with PortForward(cluster, service.pod, service.namespace, service.port) as forward:
        api = PrometheusApi("http://{}:{}".format(*forward.address), timeout=cluster.timeout_s, retries=0)
        with closing(api.session):
            try:
                return bool(json.loads(api.query("count(pilot_xds)")).get("data", {}).get("result"))
            except MeshnbError:
                if forward.error is not None:
                    raise forward.error from None
                raise
