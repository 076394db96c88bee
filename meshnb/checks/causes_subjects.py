"""What failed requests are about: pod, route, policy, client … of each cause."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from meshnb.checks.states import in_use
from meshnb.envoy.details import parse_details
from meshnb.model.finding import Subject

if TYPE_CHECKING:
    import pandas as pd

# what the subject of a cause is told from, beside the service
_TOLD_BY = {
    "host": ["upstream_host", "proxy", "outer_proxy"],
    "client": ["client"],
    "route": ["route_name", "proxy", "authority"],
    "policy": ["response_code_details"],
    "proxy": ["proxy"],
    "authority": ["authority"],
}


def subjects_of(
    kind: str,
    failed: pd.DataFrame,
    places: Any,
    by_ip: Mapping[str, Any],
    virtual: Mapping[tuple[str, str], set[Subject]],
) -> dict[Subject, list[int]]:
    """Which object each request of a cause is about; requests that are alike are looked at once.

    Args:
        kind: kind of the subject of the cause.
        failed: failed requests, texts as categories.
        places: where in them those of the cause are.
        by_ip: pods by address.
        virtual: VirtualServices by proxy and host.
    """
    subjects: dict[Subject, list[int]] = {}
    told = failed[["service", *_TOLD_BY.get(kind, [])]].iloc[places]
    for alike in told.groupby(list(told.columns), dropna=False, sort=False, observed=True).indices.values():
        row = next(failed.iloc[places[alike[:1]]].itertuples())
        made_by = virtual.get((str(row.proxy), _host(row.authority)), set()) if kind == "route" else set()
        subject = next(iter(made_by)) if len(made_by) == 1 else _subject(kind, row, by_ip)
        subjects.setdefault(subject, []).extend(places[alike])
    return subjects


def pods_of(rows: pd.DataFrame, by_ip: Mapping[str, Any]) -> dict[str, set[Subject]]:
    """The pods that requests went to, by service; endpoints where no pod is known."""
    found: dict[str, set[Subject]] = {}
    where = ["service", "upstream_host", "proxy", "outer_proxy"]
    for row in rows[where].dropna(subset=where[:2]).drop_duplicates().itertuples():
        found.setdefault(str(row.service), set()).add(_subject("host", row, by_ip))
    return found


def virtual_services(routes: pd.DataFrame | None) -> dict[tuple[str, str], set[Subject]]:
    """VirtualServices behind the routes of a proxy and host."""
    found: dict[tuple[str, str], set[Subject]] = {}
    if routes is None:
        return found
    for row in in_use(routes[routes.virtual_service.notna()]).itertuples():
        namespace = row.virtual_service_namespace if isinstance(row.virtual_service_namespace, str) else ""
        for domain in row.domains:
            found.setdefault((str(row.proxy), _host(domain)), set()).add(
                Subject("VirtualService", row.virtual_service, namespace)
            )
    return found


def _host(authority: Any) -> str:
    return str(authority).partition(":")[0]


def _subject(kind: str, row: Any, by_ip: Mapping[str, Any]) -> Subject:
    service = service_of(row.service)
    if kind == "host" and isinstance(row.upstream_host, str):
        pod = by_ip.get(row.upstream_host.rpartition(":")[0].strip("[]"))
        if pod is not None:
            return Subject("Pod", pod.pod, pod.namespace)
        if isinstance(row.proxy, str) and row.proxy != row.outer_proxy:
            name, _, namespace = row.proxy.rpartition(".")
            return Subject("Pod", name or namespace, namespace if name else "")
        return Subject("Endpoint", row.upstream_host, service.namespace)
    if kind == "client":
        return Subject("Client", row.client if isinstance(row.client, str) else "unknown")
    if kind == "route" and isinstance(row.route_name, str) and row.route_name != "default":
        return Subject("Route", row.route_name, service.namespace)
    if kind == "policy":
        details = parse_details(row.response_code_details)
        if details and details.policy:
            namespace, _, name = details.policy.partition("/")
            return Subject("AuthorizationPolicy", name, namespace)
    if kind == "proxy" and isinstance(row.proxy, str):
        name, _, namespace = row.proxy.rpartition(".")
        return Subject("Proxy", name or namespace, namespace if name else "")
    if kind == "authority":
        return Subject("Host", row.authority if isinstance(row.authority, str) else "none")
    return service


def service_of(service: Any) -> Subject:
    """The Service of a full name, the host if that is none of Kubernetes, the mesh if there is none."""
    if not isinstance(service, str):
        return Subject("Mesh")
    host = service.rpartition(":")[0] or service if service.count(":") == 1 else service
    name, _, rest = host.partition(".")
    if ".svc" not in rest:
        return Subject("Host", host)
    return Subject("Service", name, rest.partition(".")[0])
