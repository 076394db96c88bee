"""Pages of Kiali, Grafana and Prometheus for the object of a finding.

Where they are is said by whoever opens the mesh, else by the snapshot, else by the Services in it: those are reached as
`istioctl dashboard` forwards them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, timedelta
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode

from meshnb.envoy.names import ClusterName
from meshnb.errors import UsageError
from meshnb.model.debug_endpoints import minor
from meshnb.model.finding import Finding, Link, Status, Subject
from meshnb.model.resources import RESOURCES
from meshnb.model.window import Window

if TYPE_CHECKING:
    import pandas as pd

    from meshnb.runbook.mesh import Mesh

FORWARDED = {
    "kiali": "http://localhost:20001/kiali",
    "grafana": "http://localhost:3000",
    "prometheus": "http://localhost:9090",
}
"""Where `istioctl dashboard NAME` has them."""

_ISTIO = {r.kind: r for r in RESOURCES if r.group.endswith("istio.io")}
_PLANE = ("Mesh", "ControlPlane", "PushStatus", "Setting", "Istiod", "Proxies", "Istiods")
_PROMQL = "sum by (reporter, response_code, response_flags) (rate(istio_requests_total{%s}[5m]))"
_PUSHES = "sum by (type) (rate(pilot_xds_pushes[5m]))"
_SERVICE, _WORKLOAD = "LJ_uJAvmk/istio-service-dashboard", "UbsSZTDik/istio-workload-dashboard"
_CONTROL_PLANE = "3--MLVZZk/istio-control-plane-dashboard"


@dataclass(frozen=True, slots=True)
class Pages:
    """Makes the links.

    Args:
        bases: `kiali`, `grafana`, `prometheus` → URL; those that are missing get no link.
        window: the time the pages show.
        workloads: `POD.NAMESPACE` → workload.
        kiali: release of Kiali, for the form of its paths; empty for a new one.
        notes: what to do first, by name of the base.

    Example:
        >>> pages = Pages({"kiali": "https://k.example/kiali"}, Window.parse("2026-01-01T09:00/2026-01-01T10:00"))
        >>> [link.url for link in pages.of(Subject("VirtualService", "catalog", "shop"))]
        ['https://k.example/kiali/console/namespaces/shop/istio/networking.istio.io/v1/VirtualService/catalog']
    """

    bases: Mapping[str, str]
    window: Window
    workloads: Mapping[str, str] = field(default_factory=dict)
    kiali: str = ""
    notes: Mapping[str, str] = field(default_factory=dict)

    def of(self, subject: Subject) -> tuple[Link, ...]:
        """Pages about an object; none where there is no page of its kind."""
        kind, name, space = subject.kind, subject.name, subject.namespace
        if kind in _PLANE:
            return self._links("/console/mesh", (_CONTROL_PLANE, {}), _PUSHES)
        if kind in _ISTIO:
            return self._links(self._object(kind, name, space), None, "")
        if host := _host(subject):
            service, namespace = host.split(".")[:2]
            path = f"/console/namespaces/{quote(namespace)}/services/{quote(service)}"
            return self._links(path, (_SERVICE, {"var-service": host}), _PROMQL % f'destination_service="{host}"')
        if kind == "Namespace":
            return self._links(f"/console/graph/namespaces?{urlencode({'namespaces': name})}", None, "")
        workload = (
            name if kind in ("Deployment", "Workload", "StatefulSet") else self.workloads.get(f"{name}.{space}", "")
        )
        if not workload or not space:
            return ()
        path = f"/console/namespaces/{quote(space)}/workloads/{quote(workload)}"
        labels = f'destination_workload="{workload}",destination_workload_namespace="{space}"'
        return self._links(path, (_WORKLOAD, {"var-namespace": space, "var-workload": workload}), _PROMQL % labels)

    def _object(self, kind: str, name: str, space: str) -> str:
        resource = _ISTIO[kind]
        old = (minor(self.kiali) or (2, 0)) < (2, 0)
        place = resource.plural if old else f"{resource.group}/{resource.versions[0]}/{kind}"
        return f"/console/namespaces/{quote(space)}/istio/{place}/{quote(name)}"

    def _links(self, kiali: str, grafana: tuple[str, Mapping[str, str]] | None, promql: str) -> tuple[Link, ...]:
        first, last = (round(moment.timestamp() * 1000) for moment in (self.window.start, self.window.end))
        made = {}
        if kiali:
            made["kiali"] = kiali
        if grafana:
            made["grafana"] = f"/d/{grafana[0]}?{urlencode({**grafana[1], 'from': first, 'to': last})}"
        if promql:
            until = self.window.end.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")
            span = f"{max((last - first) // 1000, 1)}s"
            query = {"g0.expr": promql, "g0.tab": 0, "g0.range_input": span, "g0.end_input": until}
            made["prometheus"] = f"/graph?{urlencode(query)}"
        return tuple(
            Link(name.capitalize(), self.bases[name].rstrip("/") + path, self.notes.get(name, ""))
            for name, path in made.items()
            if self.bases.get(name)
        )

    def add(self, found: Sequence[Finding]) -> list[Finding]:
        """The findings, each failure with the pages of its object."""
        return [replace(f, links=self.of(f.subject)) if f.status is Status.FAIL else f for f in found]


def checked(bases: Mapping[str, str]) -> dict[str, str]:
    """Bases somebody gave, as they are.

    Raises:
        UsageError: a name that is not known, or no URL.
    """
    for name, url in bases.items():
        if name not in FORWARDED:
            raise UsageError(f"no pages of {name!r}", hint=f"there are {', '.join(FORWARDED)}")
        if not url.startswith(("http://", "https://")):
            raise UsageError(f"{url!r} is not the URL of a {name}", hint=f"write it like {FORWARDED[name]}")
    return dict(bases)


def pages_of(mesh: Mesh, given: Mapping[str, str]) -> Pages:
    """The pages of a mesh.

    Args:
        mesh: the mesh.
        given: bases that its user named; they win over those of the snapshot.
    """
    services = None if mesh.absent("services") else mesh.services()
    pods = None if mesh.absent("pods") else mesh.pods()
    detected = _detected(services)
    known = {**dict(mesh.snapshot.manifest.links), **given}
    created = mesh.snapshot.manifest.created.astimezone(UTC)
    return Pages(
        {**detected, **known},
        mesh.window or Window(created - timedelta(hours=1), created),
        {} if pods is None else dict(zip(pods.proxy, pods.workload.astype(object), strict=True)),
        _kiali_release(mesh),
        {name: f"after: istioctl dashboard {name}" for name in detected.keys() - known.keys()},
    )


def _detected(services: pd.DataFrame | None) -> dict[str, str]:
    """Where `istioctl dashboard` forwards those of which there is a Service."""
    names = set() if services is None else set(services.service)
    return {name: url for name, url in FORWARDED.items() if name in names}


def _kiali_release(mesh: Mesh) -> str:
    objects = None if mesh.absent("objects") else mesh.objects("Deployment")
    if objects is None or objects.empty:
        return ""
    for text in objects[objects.name == "kiali"].object:
        template = (json.loads(text).get("spec") or {}).get("template") or {}
        return next((str(c.get("image", "")) for c in (template.get("spec") or {}).get("containers") or ()), "")
    return ""


def _host(subject: Subject) -> str:
    """The service an object stands for: a Service, or a cluster, route or host of Envoy named after one."""
    if subject.kind == "Service":
        if subject.name.count(".") > 1:
            return subject.name
        return f"{subject.name}.{subject.namespace}.svc.cluster.local" if subject.namespace else ""
    if subject.kind in ("Cluster", "Host", "Subset", "Endpoint"):
        name = subject.name.split(" ")[0]
        host = (ClusterName.parse(name).fqdn or "") if "|" in name else name
        if name and "." not in name and subject.namespace:
            return f"{name}.{subject.namespace}.svc.cluster.local"
        return host if host.count(".") >= 2 and not host[0].isdigit() else ""
    return ""
