"""What concerns one pod or one service, gathered from every object: as data, and as text like `istioctl x describe`."""

from __future__ import annotations

import html
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from meshnb.checks.identity_drift import behind
from meshnb.runbook.describe_policy import authorization_policies, mutual_tls

if TYPE_CHECKING:
    import pandas as pd

_PROTOCOLS = ("http", "http2", "https", "grpc", "grpc-web", "tcp", "tls", "udp", "mongo", "mysql", "redis")


@dataclass(frozen=True)
class Tables:
    """The tables a description is made of; `None` where one is absent."""

    pods: pd.DataFrame
    services: pd.DataFrame
    destination_rules: pd.DataFrame | None = None
    virtual_services: pd.DataFrame | None = None
    gateways: pd.DataFrame | None = None
    objects: pd.DataFrame | None = None
    clusters: pd.DataFrame | None = None
    proxy_status: pd.DataFrame | None = None


@dataclass(frozen=True)
class Description:
    """What concerns a pod or a service.

    Args:
        title: `Pod NAMESPACE/NAME` or `Service NAMESPACE/NAME`.
        facts: what it is.
        services: one row per port of each service.
        subsets: one row per DestinationRule and subset, and whether its labels are the pod's.
        routes: one row per route destination of every VirtualService for the services, and whether it leads here.
        ingress: one row per server of a Gateway that exposes it.
        policies: what secures it, each with its reason.
        warnings: what to look at, in sentences.
    """

    title: str
    facts: Mapping[str, Any]
    services: pd.DataFrame
    subsets: pd.DataFrame
    routes: pd.DataFrame
    ingress: pd.DataFrame
    policies: pd.DataFrame
    warnings: Sequence[str] = field(default=())

    @property
    def parts(self) -> dict[str, pd.DataFrame]:
        """The tables by heading, empty ones left out."""
        named = {
            "Services": self.services,
            "DestinationRules": self.subsets,
            "Routes": self.routes,
            "Gateways": self.ingress,
            "Policies": self.policies,
        }
        return {name: frame for name, frame in named.items() if len(frame)}

    def __str__(self) -> str:
        lines = [self.title, *(f"  {name}: {value}" for name, value in self.facts.items() if value not in (None, ""))]
        for name, frame in self.parts.items():
            lines += [name, *(f"  {_line(row)}" for row in frame.to_dict("records"))]
        if self.warnings:
            lines += ["Warnings", *(f"  {warning}" for warning in self.warnings)]
        return "\n".join(lines)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        from meshnb.views.style import page
        from meshnb.views.tables import Table, facts

        known = {name: value for name, value in self.facts.items() if value not in (None, "")}
        body = facts(known, title=self.title).html()
        body += "".join(Table(frame, title=name, limit=len(frame)).html() for name, frame in self.parts.items())
        items = "".join(f"<li>{html.escape(warning)}</li>" for warning in self.warnings)
        return page(f"{body}<ul>{items}</ul>" if items else body)


def _line(row: Mapping[str, Any]) -> str:
    return ", ".join(
        f"{key} {value}" for key, value in row.items() if isinstance(value, str | int | float | bool) and value == value
    )


def describe_pod(pod: Any, tables: Tables) -> Description:
    """Gather what concerns a pod.

    Args:
        pod: its row of the table `pods`.
        tables: everything that is known.
    """
    labels = json.loads(pod.labels)
    services = tables.services[
        [
            namespace == pod.namespace and bool(selector := json.loads(text)) and selector.items() <= labels.items()
            for namespace, text in zip(tables.services.namespace, tables.services.selector, strict=True)
        ]
    ]
    warnings = list(_pod_warnings(pod, labels, services))
    description = _describe(f"Pod {pod.namespace}/{pod.pod}", _pod_facts(pod, tables), services, [labels], tables)
    policies = _policies(pod.namespace, labels, tables)
    return Description(**{**description, "policies": policies, "warnings": [*warnings, *description["warnings"]]})


def describe_service(service: Any, tables: Tables) -> Description:
    """Gather what concerns a service and the pods behind it.

    Args:
        service: its row of the table `services`.
        tables: everything that is known.
    """
    pods = behind(service.selector, service.namespace, tables.pods)
    meshed, ready = pods[pods.has_sidecar], pods[pods.ready]
    facts = {
        "host": service.host,
        "type": service.type,
        "selector": service.selector,
        "pods": len(pods),
        "ready": len(ready),
        "with a proxy": len(meshed),
    }
    warnings = []
    if not len(pods):
        warnings.append("No pod is behind it." if service.selector != "{}" else "It selects no pods by itself.")
    elif not len(meshed):
        warnings.append(f"None of its {len(pods)} pods has a proxy.")
    warnings += [f"Pod {name} is not ready." for name in pods.pod[~pods.ready]]
    frame = tables.services[tables.services.host == service.host]
    labels = [json.loads(text) for text in pods.labels]
    description = _describe(f"Service {service.namespace}/{service.service}", facts, frame, labels, tables)
    return Description(**{**description, "warnings": [*warnings, *description["warnings"]]})


def _pod_facts(pod: Any, tables: Tables) -> dict[str, Any]:
    status = tables.proxy_status
    own = None if status is None else status[status.proxy == pod.proxy]
    sync = "not known" if own is None else "no istiod lists it"
    if own is not None and len(own):
        sync = ", ".join(
            f"{t} {s}" for t, s in zip(own.type, own.status, strict=True) if s not in ("SYNCED", "NOT SENT")
        )
        sync = sync or "SYNCED"
    return {
        "workload": f"{pod.workload_kind} {pod.workload}",
        "address": pod.ip if isinstance(pod.ip, str) else "",
        "phase": pod.phase,
        "ready": bool(pod.ready),
        "service account": pod.service_account,
        "revision": pod.revision if isinstance(pod.revision, str) else "",
        "containers": ", ".join(pod.containers),
        "proxy": pod.proxy_image if isinstance(pod.proxy_image, str) else "none",
        "sync": sync if pod.has_sidecar else "",
    }


def _pod_warnings(pod: Any, labels: Mapping[str, str], services: pd.DataFrame) -> list[str]:
    found = []
    if pod.phase != "Running":
        found.append(f"It is {pod.phase}, not Running.")
    elif not pod.ready:
        found.append("It is not ready.")
    if not pod.has_sidecar:
        found.append("It is not part of the mesh: it has no proxy.")
    if not {"app", "service.istio.io/canonical-name", "app.kubernetes.io/name"} & set(labels):
        found.append("It has no label app: its telemetry has no name.")
    if not {"version", "service.istio.io/canonical-revision", "app.kubernetes.io/version"} & set(labels):
        found.append("It has no label version: its telemetry has no revision.")
    if services.empty:
        found.append("No Service selects it: its inbound ports are not known to the mesh.")
    return found


def _describe(
    title: str, facts: Mapping[str, Any], services: pd.DataFrame, labels: Sequence[Mapping[str, str]], tables: Tables
) -> dict[str, Any]:
    import pandas as pd

    hosts = set(services.host)
    subsets, defined = _subsets(hosts, labels, tables)
    routes, warnings = _routes(hosts, defined, labels, tables)
    ingress = _ingress(set(routes.virtual_service) if len(routes) else set(), tables)
    return {
        "title": title,
        "facts": dict(facts),
        "services": _ports(services),
        "subsets": subsets,
        "routes": routes,
        "ingress": ingress,
        "policies": pd.DataFrame(),
        "warnings": warnings,
    }


def _ports(services: pd.DataFrame) -> pd.DataFrame:
    import pandas as pd

    rows = []
    for service in services.itertuples():
        for port in json.loads(service.ports):
            name = str(port.get("name") or "")
            declared = str(port.get("appProtocol") or "") or name.partition("-")[0]
            protocol = declared if declared.lower() in _PROTOCOLS else "detected"
            rows.append(
                {
                    "service": f"{service.namespace}/{service.service}",
                    "port": port.get("port"),
                    "name": name,
                    "protocol": protocol,
                    "target_port": str(port.get("targetPort", port.get("port"))),
                }
            )
    return pd.DataFrame(rows)


def _subsets(
    hosts: set[str], labels: Sequence[Mapping[str, str]], tables: Tables
) -> tuple[pd.DataFrame, dict[tuple[str, str], bool]]:
    """Subsets for the hosts with whether one of the pods is in it; and the same by host and subset."""
    import pandas as pd

    if tables.destination_rules is None:
        return pd.DataFrame(), {}
    rows, defined = [], {}
    for rule in tables.destination_rules[tables.destination_rules.host.isin(hosts)].itertuples():
        wanted = json.loads(rule.labels)
        subset = rule.subset if isinstance(rule.subset, str) else ""
        fits = any(wanted.items() <= own.items() for own in labels)
        if subset:
            defined[(rule.host, subset)] = fits
        named = ("load_balancer", "connection_pool", "outlier_detection")
        settings = [name for name in named if isinstance(getattr(rule, name), str)]
        rows.append(
            {
                "destination_rule": f"{rule.namespace}/{rule.destination_rule}",
                "host": rule.host,
                "subset": subset or None,
                "labels": rule.labels,
                "matches": fits,
                "tls": rule.tls_mode if isinstance(rule.tls_mode, str) else None,
                "settings": ", ".join(settings) or None,
            }
        )
    return pd.DataFrame(rows), defined


def _routes(
    hosts: set[str], defined: Mapping[tuple[str, str], bool], labels: Sequence[Mapping[str, str]], tables: Tables
) -> tuple[pd.DataFrame, list[str]]:
    """Every destination of every VirtualService that leads to one of the hosts, those of its other hosts too."""
    import pandas as pd

    frame, warnings = tables.virtual_services, []
    if frame is None or frame.empty:
        return pd.DataFrame(), []
    own = frame[frame.destination_host.isin(hosts)][["namespace", "virtual_service"]].drop_duplicates()
    rows = []
    for route in frame.merge(own, on=["namespace", "virtual_service"]).itertuples():
        host = route.destination_host if isinstance(route.destination_host, str) else ""
        subset = route.subset if isinstance(route.subset, str) else ""
        name = f"{route.namespace}/{route.virtual_service}"
        if host in hosts and subset and (host, subset) not in defined:
            warnings.append(
                f"VirtualService {name} routes to subset {subset} of {host}, which no DestinationRule defines."
            )
        here = host in hosts and (defined.get((host, subset), False) if subset else bool(labels))
        rows.append(
            {
                "virtual_service": name,
                "route": f"{route.protocol}[{route.route_index}]" if isinstance(route.protocol, str) else "",
                "match": None if route.match == "[]" else route.match,
                "destination": host or route.action,
                "subset": subset or None,
                "weight": None if pd.isna(route.weight) else int(route.weight),
                "leads_here": here,
            }
        )
    result = pd.DataFrame(rows)
    if len(result) and not result.leads_here.any():
        warnings.append("No route of its VirtualServices leads here.")
    return result, warnings


def _ingress(names: set[str], tables: Tables) -> pd.DataFrame:
    import pandas as pd

    if tables.gateways is None or tables.virtual_services is None or not names:
        return pd.DataFrame()
    bound: dict[str, set[str]] = {}
    for route in tables.virtual_services.itertuples():
        name = f"{route.namespace}/{route.virtual_service}"
        if name in names:
            for gateway in set(route.gateways) - {"mesh"}:
                bound.setdefault(gateway, set()).update(route.hosts)
    rows = []
    for server in tables.gateways.itertuples():
        hosts = bound.get(f"{server.namespace}/{server.gateway}")
        if hosts is None:
            continue
        selector = json.loads(server.selector)
        pods = [
            p
            for p, text in zip(tables.pods.pod, tables.pods.labels, strict=True)
            if selector.items() <= json.loads(text).items()
        ]
        rows.append(
            {
                "gateway": f"{server.namespace}/{server.gateway}",
                "port": server.port,
                "protocol": server.protocol,
                "hosts": ", ".join(sorted(hosts)),
                "served_by": ", ".join(pods) or "no pod",
            }
        )
    return pd.DataFrame(rows)


def _policies(namespace: str, labels: Mapping[str, str], tables: Tables) -> pd.DataFrame:
    import pandas as pd

    if tables.objects is None:
        return pd.DataFrame()
    return pd.DataFrame(
        [*mutual_tls(tables.objects, namespace, labels), *authorization_policies(tables.objects, namespace, labels)]
    )
