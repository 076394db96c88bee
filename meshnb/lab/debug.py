"""What istiod answers below `/debug`, from the objects, connections, ACKs and NACKs that the control plane has."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from meshnb.lab.ads import Connection, Discovery
from meshnb.lab.envoy import node_id
from meshnb.lab.inventory import Object, workload_of
from meshnb.lab.plan import CLUSTER_ID, TRUST_DOMAIN, Plan, find_pod
from meshnb.lab.scope import scope_of
from meshnb.lab.world import ROOT_NAMESPACE, World, host_of
from meshnb.lab.xds.common import CLUSTER, ENDPOINT, LISTENER, ROUTE

_SYNCZ = {CLUSTER: "cluster", LISTENER: "listener", ROUTE: "route", ENDPOINT: "endpoint"}
_ADMIN = "type.googleapis.com/envoy.admin.v3."


@dataclass(frozen=True, slots=True)
class View:
    """What the pages are made from.

    Args:
        plan: the lab.
        world: the objects as they are now.
        discovery: the connected proxies.
        resources: what a proxy would be sent of a type now, by name.
    """

    plan: Plan
    world: World
    discovery: Discovery
    resources: Callable[[str, str], Mapping[str, Any]]


def answer(view: View, name: str, query: Mapping[str, str]) -> tuple[int, object]:
    """Status and body of `/debug/NAME`; text for what went wrong and for the index."""
    if not name:
        return 200, _index()
    if page := _PAGES.get(name):
        return 200, page(view)
    per_proxy = _PER_PROXY.get(name)
    if per_proxy is None:
        return 404, f"no /debug/{name} in the lab; there are {', '.join(names())}"
    wanted = query.get("proxyID", "")
    if not wanted:
        return 400, "which proxy? add ?proxyID=POD.NAMESPACE"
    connection = _find(view.discovery, wanted)
    if connection is None:
        return 404, f"proxy {wanted} is not connected to this control plane"
    return 200, per_proxy(view, connection, query)


def names() -> list[str]:
    """All pages, sorted."""
    return sorted([*_PAGES, *_PER_PROXY])


def _index() -> str:
    rows = "".join(f'<li><a href="/debug/{name}">{name}</a></li>' for name in names())
    return f"<!doctype html><title>Debug pages of the lab's control plane</title><ul>{rows}</ul>"


def _connections(discovery: Discovery) -> list[Connection]:
    return [connection for _, connection in sorted(discovery.connections.items())]


def _find(discovery: Discovery, wanted: str) -> Connection | None:
    """As in istiod, a part of the connection's id is enough."""
    with discovery.changed:
        return next((c for c in _connections(discovery) if wanted in _id(c)), None)


def _id(connection: Connection) -> str:
    return f"{connection.proxy}-{connection.number}"


def _time(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _syncz(view: View) -> list[dict[str, Any]]:
    with view.discovery.changed:
        return [_sync_row(connection) for connection in _connections(view.discovery)]


def _sync_row(connection: Connection) -> dict[str, Any]:
    row: dict[str, Any] = {
        "cluster_id": CLUSTER_ID,
        "proxy": connection.proxy,
        "proxy_type": connection.node.partition("~")[0],
        "proxy_version": connection.version,
        "istio_version": "lab",
    }
    resources = {}
    for kind, state in sorted(connection.types.items()):
        row |= {
            f"{_SYNCZ[kind]}_{what}": nonce for what, nonce in (("sent", state.sent), ("acked", state.acked)) if nonce
        }
        entry = {"sent": state.sent, "acked": state.acked, "lastError": state.error}
        if state.sent:
            entry["sentTime"] = _time(datetime.fromtimestamp(state.sent_at, UTC))
        resources[kind] = {key: value for key, value in entry.items() if value}
    return {**row, "resources": resources}


def _adsz(view: View, *, whole: bool = True) -> dict[str, Any]:
    with view.discovery.changed:
        clients = [_client(view.plan, connection, whole=whole) for connection in _connections(view.discovery)]
    return {"totalClients": len(clients), "clients": clients}


def _client(plan: Plan, connection: Connection, *, whole: bool) -> dict[str, Any]:
    pod = find_pod(connection.proxy)
    client: dict[str, Any] = {
        "connectionId": _id(connection),
        "connectedAt": _time(connection.since),
        "address": node_id(plan, pod).split("~")[1],
    }
    if whole:
        client |= {
            "labels": pod.all_labels,
            "metadata": {"CLUSTER_ID": CLUSTER_ID, "NAMESPACE": pod.namespace, "ISTIO_VERSION": "lab"},
            "locality": {"region": "lab", "zone": "lab-a"},
            "watches": {kind: list(state.names) for kind, state in connection.types.items()},
        }
    return client


def _shards(view: View) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for host, service in view.world.services().items():
        endpoints = [_endpoint(pod, port) for pod in view.world.endpoints(host) for port in service["spec"]["ports"]]
        accounts = sorted({endpoint["ServiceAccount"] for endpoint in endpoints})
        shard = {"Shards": {f"Kubernetes/{CLUSTER_ID}": endpoints}, "ServiceAccounts": {a: {} for a in accounts}}
        found[host] = {service["metadata"]["namespace"]: shard}
    return found


def _endpoint(pod: Object, port: Object) -> dict[str, Any]:
    meta, spec = pod["metadata"], pod["spec"]
    account = spec.get("serviceAccountName", "default")
    return {
        "Addresses": [pod["status"]["podIP"]],
        "ServicePortName": port.get("name", ""),
        "ServiceAccount": f"spiffe://{TRUST_DOMAIN}/ns/{meta['namespace']}/sa/{account}",
        "Locality": {"Label": "lab/lab-a", "ClusterID": CLUSTER_ID},
        "EndpointPort": port.get("targetPort", port["port"]),
        "LbWeight": 0,
        "TLSMode": "istio",
        "Namespace": meta["namespace"],
        "WorkloadName": workload_of(pod),
        "HealthStatus": 1,
        "NodeName": spec.get("nodeName", ""),
        "Labels": meta.get("labels") or {},
    }


def _registryz(view: View) -> list[dict[str, Any]]:
    return [_service(service) for service in view.world.of("Service")]


def _service(service: Object) -> dict[str, Any]:
    meta, spec = service["metadata"], service["spec"]
    return {
        "Attributes": {
            "ServiceRegistry": "Kubernetes",
            "Name": meta["name"],
            "Namespace": meta["namespace"],
            "Labels": meta.get("labels") or {},
            "LabelSelectors": spec.get("selector") or {},
        },
        "ports": [{"name": port.get("name", ""), "port": port["port"], "protocol": "HTTP"} for port in spec["ports"]],
        "creationTime": meta["creationTimestamp"],
        "hostname": host_of(service),
        "clusterVIPs": {"Addresses": {CLUSTER_ID: [spec["clusterIP"]]}},
        "defaultAddress": spec["clusterIP"],
        "Resolution": 0,
        "MeshExternal": False,
        "ResourceVersion": meta["resourceVersion"],
    }


def _configz(view: View) -> list[Object]:
    return [item for item in view.world.objects() if "istio.io/" in item.get("apiVersion", "")]


def _authorizationz(view: View) -> dict[str, Any]:
    policies: dict[str, list[dict[str, Any]]] = {}
    for item in view.world.of("AuthorizationPolicy"):
        meta = item["metadata"]
        entry = {"name": meta["name"], "namespace": meta["namespace"], "annotations": meta.get("annotations") or {}}
        policies.setdefault(meta["namespace"], []).append({**entry, "spec": item["spec"]})
    return {"authorization_policies": {"namespace_to_policies": policies, "root_namespace": ROOT_NAMESPACE}}


def _push_status(view: View) -> dict[str, Any]:
    """The one problem of istiod's that the lab looks for: clusters of its proxies that have no endpoint."""
    empty: dict[str, Any] = {}
    with view.discovery.changed:
        proxies = sorted(view.discovery.connections)
    for proxy in proxies:
        for name, packed in view.resources(proxy, ENDPOINT).items():
            if not _unpack(packed).get("endpoints"):
                empty.setdefault(name, {})
    return {"pilot_eds_no_instances": empty} if empty else {}


def _unpack(packed: Any) -> dict[str, Any]:
    from google.protobuf import json_format

    # camelCase, as istiod prints
    found: dict[str, Any] = json_format.MessageToDict(packed)
    return found


def _watched(view: View, connection: Connection, kind: str) -> list[dict[str, Any]]:
    """What the proxy would be sent of a type now."""
    with view.discovery.changed:
        state = connection.types.get(kind)
        wanted = None if kind in (CLUSTER, LISTENER) else set(state.names if state else ())
    found = view.resources(connection.proxy, kind)
    return [_unpack(packed) for name, packed in found.items() if wanted is None or name in wanted]


def _edsz(view: View, connection: Connection, query: Mapping[str, str]) -> dict[str, Any]:
    return {"configs": _watched(view, connection, ENDPOINT)}


def _config_dump(view: View, connection: Connection, query: Mapping[str, str]) -> dict[str, Any]:
    """In the shape of Envoy's own dump; without secrets, which istiod prints with their keys struck out."""
    version = view.discovery.version
    configs: list[dict[str, Any]] = [
        {
            "@type": f"{_ADMIN}ClustersConfigDump",
            "versionInfo": version,
            "dynamicActiveClusters": [{"cluster": one} for one in _watched(view, connection, CLUSTER)],
        },
        {
            "@type": f"{_ADMIN}ListenersConfigDump",
            "versionInfo": version,
            "dynamicListeners": [
                {"name": one["name"], "activeState": {"listener": one}} for one in _watched(view, connection, LISTENER)
            ],
        },
        {
            "@type": f"{_ADMIN}RoutesConfigDump",
            "dynamicRouteConfigs": [{"routeConfig": one} for one in _watched(view, connection, ROUTE)],
        },
    ]
    if query.get("include_eds", "false") not in ("false", "0"):
        endpoints = [{"endpointConfig": one} for one in _watched(view, connection, ENDPOINT)]
        configs.append({"@type": f"{_ADMIN}EndpointsConfigDump", "dynamicEndpointConfigs": endpoints})
    return {"configs": configs}


def _sidecarz(view: View, connection: Connection, query: Mapping[str, str]) -> dict[str, Any]:
    pod = find_pod(connection.proxy)
    scope = scope_of(view.world, pod)
    meta = scope.sidecar["metadata"] if scope.sidecar else {"name": "default-sidecar"}
    return {
        "name": meta["name"],
        "namespace": pod.namespace,
        "outboundTrafficPolicy": {} if scope.registry_only else {"mode": 1},
        "services": [_service(service) for service in scope.services.values()],
        "sidecar": scope.sidecar["spec"] if scope.sidecar else None,
    }


_PAGES: Mapping[str, Callable[[View], object]] = {
    "adsz": _adsz,
    "authorizationz": _authorizationz,
    "configz": _configz,
    "connections": lambda view: _adsz(view, whole=False),
    "endpointShardz": _shards,
    "endpointz": _shards,
    "list": lambda view: names(),
    "push_status": _push_status,
    "registryz": _registryz,
    "syncz": _syncz,
}
_PER_PROXY: Mapping[str, Callable[[View, Connection, Mapping[str, str]], object]] = {
    "config_dump": _config_dump,
    "edsz": _edsz,
    "sidecarz": _sidecarz,
}
