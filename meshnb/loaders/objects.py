"""Kubernetes objects as tables. Istio's own objects are in `istio_objects`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from meshnb.envoy.names import CLUSTER_DOMAIN, full_host
from meshnb.errors import FormatError
from meshnb.loaders.shape import shaped
from meshnb.model.frame import returns
from meshnb.model.tables.objects import ENDPOINT_SLICES, OBJECTS, PODS, SERVICES
from meshnb.model.times import timestamp

if TYPE_CHECKING:
    import pandas as pd

SIDECAR = "istio-proxy"

Object = Mapping[str, Any]


def decode_objects(data: bytes | str, *, file: str = "") -> list[Object]:
    """The objects of a document, whatever its form: a List, a typed list (`PodList`), one object, or YAML of several.

    Args:
        data: JSON or YAML.
        file: how to name the document in an error.

    Raises:
        FormatError: neither JSON nor YAML, or something in it is no Kubernetes object.

    Example:
        >>> [o["kind"] for o in decode_objects('{"kind": "PodList", "apiVersion": "v1", "items": [{"metadata": {}}]}')]
        ['Pod']
    """
    text = data.encode() if isinstance(data, str) else data
    if not text.strip():
        raise FormatError("the document is empty", file=file)
    if text.lstrip()[:1] in (b"{", b"["):
        import msgspec

        try:
            documents = [msgspec.json.decode(text)]
        except msgspec.DecodeError as error:
            raise FormatError(f"not JSON: {error}", file=file, hint="the document may be cut short") from error
    else:
        documents = _yaml(text, file)
    objects: list[Object] = []
    for number, document in enumerate(documents):
        where = f"document {number + 1}" if len(documents) > 1 else ""
        objects += _items(document, file=file, where=where)
    return objects


def _yaml(text: bytes, file: str) -> list[Any]:
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        return [document for document in yaml.load_all(text, loader) if document is not None]
    except (yaml.YAMLError, ValueError) as error:
        raise FormatError(f"neither JSON nor YAML: {error}", file=file) from error


def _items(document: Any, *, file: str, where: str) -> Iterator[Object]:
    if not isinstance(document, Mapping):
        raise FormatError(f"a Kubernetes object expected, found {_type(document)}", file=file, position=where)
    kind = document.get("kind")
    if not isinstance(kind, str):
        raise FormatError("a Kubernetes object expected, found a mapping without kind", file=file, position=where)
    if "items" not in document or not kind.endswith("List"):
        yield document
        return
    items = sequence(document["items"], file=file, where="items")
    # the API leaves kind and apiVersion out of the items of a typed list
    defaults = (
        {"kind": kind.removesuffix("List"), "apiVersion": document.get("apiVersion", "")} if kind != "List" else {}
    )
    for number, item in enumerate(items):
        if not isinstance(item, Mapping):
            position = f"items[{number}]"
            raise FormatError(f"a Kubernetes object expected, found {_type(item)}", file=file, position=position)
        yield {**defaults, **item}


@returns(OBJECTS)
@shaped("Kubernetes objects")
def objects_table(objects: Sequence[Object], *, file: str = "") -> pd.DataFrame:
    """Any objects, one row each.

    Raises:
        FormatError: an object without metadata or name.

    Example:
        >>> objects_table([{"kind": "Namespace", "metadata": {"name": "istioinaction"}}]).name.tolist()
        ['istioinaction']
    """
    rows = []
    for thing in objects:
        meta = metadata(thing, file=file)
        rows.append(
            {
                "kind": thing.get("kind", ""),
                "api_version": thing.get("apiVersion", ""),
                "namespace": meta.get("namespace"),
                "name": meta["name"],
                "labels": to_json(meta.get("labels") or {}),
                "annotations": to_json(meta.get("annotations") or {}),
                "created": timestamp(meta.get("creationTimestamp")),
                "generation": meta.get("generation"),
                "resource_version": meta.get("resourceVersion"),
                "object": to_json(thing),
            }
        )
    return OBJECTS.rows(rows)


@returns(PODS)
@shaped("pods")
def pods_table(objects: Sequence[Object], *, file: str = "") -> pd.DataFrame:
    """Pods, one row each; other kinds are left out.

    Raises:
        FormatError: a pod that is not shaped like one.
    """
    return PODS.rows(_pod(pod, file) for pod in objects if pod.get("kind") == "Pod")


def _pod(pod: Object, file: str) -> dict[str, Any]:
    meta = metadata(pod, file=file)
    where = f"Pod {meta.get('namespace', '')}/{meta['name']}"
    spec, status = section(pod, "spec", file, where), section(pod, "status", file, where)
    labels = meta.get("labels") or {}
    workload_kind, workload = _workload(meta, labels)
    # a native sidecar is an init container that restarts always
    containers = [
        *sequence(spec.get("containers"), file=file, where=f"{where} spec.containers"),
        *(c for c in spec.get("initContainers") or () if c.get("restartPolicy") == "Always"),
    ]
    statuses = [*(status.get("containerStatuses") or ()), *(status.get("initContainerStatuses") or ())]
    proxy = next((c for c in containers if c.get("name") == SIDECAR), None)
    proxy_status: Object = next((s for s in statuses if s.get("name") == SIDECAR), {})
    ready: Object = next((c for c in status.get("conditions") or () if c.get("type") == "Ready"), {})
    return {
        "namespace": meta.get("namespace", "default"),
        "pod": meta["name"],
        "proxy": f"{meta['name']}.{meta.get('namespace', 'default')}",
        "workload": workload,
        "workload_kind": workload_kind,
        "app": labels.get("app") or labels.get("app.kubernetes.io/name"),
        "version": labels.get("version") or labels.get("app.kubernetes.io/version"),
        "ip": status.get("podIP") or None,
        "node": spec.get("nodeName") or None,
        "phase": status.get("phase"),
        "ready": ready.get("status") == "True",
        "reason": ready.get("reason") or status.get("reason"),
        "ready_since": timestamp(ready.get("lastTransitionTime")),
        "terminating": bool(meta.get("deletionTimestamp")),
        "service_account": spec.get("serviceAccountName") or "default",
        "containers": [c.get("name", "") for c in containers],
        "has_sidecar": proxy is not None,
        "proxy_type": _proxy_type(proxy),
        "proxy_image": proxy.get("image") if proxy else None,
        "proxy_ready": proxy_status.get("ready") if proxy else None,
        "restarts": sum(s.get("restartCount", 0) for s in statuses),
        "revision": labels.get("istio.io/rev") or (meta.get("annotations") or {}).get("istio.io/rev"),
        "labels": to_json(labels),
        "created": timestamp(meta.get("creationTimestamp")),
    }


def _workload(meta: Object, labels: Object) -> tuple[str, str]:
    owner = next((o for o in meta.get("ownerReferences") or () if o.get("controller", True)), None)
    if owner is None:
        return "Pod", meta["name"]
    kind, name = owner.get("kind", ""), owner.get("name", "")
    template = labels.get("pod-template-hash", "")
    if kind == "ReplicaSet" and template and name.endswith(f"-{template}"):
        return "Deployment", name.removesuffix(f"-{template}")
    return kind, name


def _proxy_type(proxy: Object | None) -> str | None:
    """What `pilot-agent proxy TYPE` or `ztunnel` in its arguments says."""
    if proxy is None:
        return None
    arguments = [str(a) for a in proxy.get("args") or ()]
    if len(arguments) > 1 and arguments[0] == "proxy" and arguments[1] in ("sidecar", "router", "waypoint", "ztunnel"):
        return arguments[1]
    return "sidecar"


@returns(SERVICES)
@shaped("services")
def services_table(objects: Sequence[Object], *, file: str = "", domain: str = CLUSTER_DOMAIN) -> pd.DataFrame:
    """Services, one row each; other kinds are left out."""
    rows = []
    for service in objects:
        if service.get("kind") != "Service":
            continue
        meta = metadata(service, file=file)
        namespace = meta.get("namespace", "default")
        spec = section(service, "spec", file, f"Service {namespace}/{meta['name']}")
        rows.append(
            {
                "namespace": namespace,
                "service": meta["name"],
                "host": full_host(meta["name"], namespace, domain),
                "type": spec.get("type") or "ClusterIP",
                "cluster_ip": spec.get("clusterIP") or None,
                "headless": spec.get("clusterIP") == "None",
                "external_name": spec.get("externalName"),
                "selector": to_json(spec.get("selector") or {}),
                "ports": to_json(spec.get("ports") or []),
                "labels": to_json(meta.get("labels") or {}),
                "created": timestamp(meta.get("creationTimestamp")),
            }
        )
    return SERVICES.rows(rows)


@returns(ENDPOINT_SLICES)
@shaped("EndpointSlices")
def endpoint_slices_table(objects: Sequence[Object], *, file: str = "") -> pd.DataFrame:
    """EndpointSlices, one row per address and port; other kinds are left out."""
    rows: list[dict[str, Any]] = []
    for thing in objects:
        if thing.get("kind") != "EndpointSlice":
            continue
        meta = metadata(thing, file=file)
        namespace = meta.get("namespace", "default")
        common = {
            "namespace": namespace,
            "service": (meta.get("labels") or {}).get("kubernetes.io/service-name"),
            "slice": meta["name"],
            "address_type": thing.get("addressType", "IPv4"),
            "created": timestamp(meta.get("creationTimestamp")),
        }
        where = f"EndpointSlice {namespace}/{meta['name']} endpoints"
        ports = thing.get("ports") or [{}]
        for endpoint in sequence(thing.get("endpoints"), file=file, where=where):
            rows += [
                {**common, **_endpoint(endpoint), "address": address, **_port(port)}
                for address in endpoint.get("addresses") or ()
                for port in ports
            ]
    return ENDPOINT_SLICES.rows(rows)


def _endpoint(endpoint: Object) -> dict[str, Any]:
    conditions = endpoint.get("conditions") or {}
    target = endpoint.get("targetRef") or {}
    ready = conditions.get("ready")
    return {
        "ready": True if ready is None else ready,
        "serving": conditions.get("serving"),
        "terminating": conditions.get("terminating"),
        "pod": target.get("name") if target.get("kind") == "Pod" else None,
        "node": endpoint.get("nodeName"),
        "zone": endpoint.get("zone"),
    }


def _port(port: Object) -> dict[str, Any]:
    return {"port": port.get("port"), "port_name": port.get("name") or None, "app_protocol": port.get("appProtocol")}


def metadata(thing: Object, *, file: str = "") -> Object:
    """The metadata of an object, which has a name.

    Raises:
        FormatError: it has none.
    """
    meta = thing.get("metadata")
    if not isinstance(meta, Mapping) or not isinstance(meta.get("name"), str):
        raise FormatError(f"a {thing.get('kind', 'object')} without metadata.name", file=file)
    return meta


def section(thing: Object, name: str, file: str, where: str) -> Object:
    """A mapping of an object, empty if it is left out.

    Raises:
        FormatError: something else stands there.
    """
    value = thing.get(name)
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise FormatError(f"{name} must be a mapping, found {_type(value)}", file=file, position=where)
    return value


def sequence(value: Any, *, file: str, where: str) -> list[Any]:
    """A list of an object, empty if it is left out.

    Raises:
        FormatError: something else stands there.
    """
    if value is None:
        return []
    if not isinstance(value, list):
        raise FormatError(f"a list expected, found {_type(value)}", file=file, position=where)
    return value


def to_json(value: Any) -> str:
    """Compact JSON text; times that YAML parsed become text again."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False, default=_plain)


def _plain(value: Any) -> str:
    return value.isoformat() if hasattr(value, "isoformat") else str(value)


def _type(value: Any) -> str:
    return {dict: "a mapping", list: "a list", str: "text", int: "a number", float: "a number"}.get(
        type(value), type(value).__name__
    )
