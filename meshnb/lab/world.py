"""The objects of the control plane, and which of them concern whom."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from meshnb.errors import LabError
from meshnb.lab.inventory import CREATED, Object, endpoint_slices, is_ready, matches
from meshnb.lab.plan import TRUST_DOMAIN
from meshnb.lab.subset import KINDS, check_object

Key = tuple[str, str, str]
DOMAIN = f"svc.{TRUST_DOMAIN}"
ROOT_NAMESPACE = "istio-system"


class World:
    """The objects by kind, namespace and name.

    Example:
        >>> world = World([{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}}])
        >>> [name for _, _, name in world.keys()]
        ['shop']
    """

    def __init__(self, objects: Iterable[Object] = ()) -> None:
        self._objects: dict[Key, Object] = {}
        # what is asked for again and again while it is translated; emptied when an object changes
        self._kinds: dict[str, list[Object]] = {}
        self._services: dict[str, Object] = {}
        self.version = 0
        for item in objects:
            self.put(item)

    @classmethod
    def restore(cls, objects: Iterable[Object], *, version: int = 0) -> World:
        """A world of objects that were in one before, with their metadata as it was."""
        world = cls()
        world._objects = {key_of(item): item for item in objects}
        world.version = version or max((int(o["metadata"]["resourceVersion"]) for o in world.objects()), default=0)
        return world

    def put(self, item: Object) -> Key | None:
        """Add or change an object.

        Returns:
            Its key, or none if it is there already just like this.

        Raises:
            LabError: a kind or field that the lab does not translate.
        """
        check_object(item)
        key = key_of(item)
        old = self._objects.get(key)
        if key[0] == "Service" and "clusterIP" not in item["spec"]:
            item = {**item, "spec": {"clusterIP": self._cluster_ip(old), **item["spec"]}}
        if old and _content(old) == _content(item):
            return None
        self.version += 1
        meta = dict(item["metadata"])
        if key[1]:
            meta["namespace"] = key[1]
        meta["resourceVersion"] = str(self.version)
        meta["generation"] = old["metadata"]["generation"] + 1 if old else 1
        meta.setdefault("creationTimestamp", CREATED)
        self._objects[key] = {**item, "metadata": meta}
        self._forget()
        return key

    def _cluster_ip(self, old: Object | None) -> str:
        """The address of a Service that asks for none, as Kubernetes gives it: the one it has, else a free one."""
        if old:
            return str(old["spec"]["clusterIP"])
        taken = {service["spec"].get("clusterIP") for service in self.of("Service")}
        return next(ip for n in range(1, 65_536) if (ip := f"10.97.{n // 256}.{n % 256}") not in taken)

    def drop(self, key: Key) -> bool:
        """Delete an object; false if it was not there."""
        self.version += 1
        self._forget()
        return self._objects.pop(key, None) is not None

    def _forget(self) -> None:
        self._kinds, self._services = {}, {}

    def keys(self) -> list[Key]:
        """Keys of all objects, sorted."""
        return sorted(self._objects)

    def objects(self) -> list[Object]:
        """All objects, sorted by kind, namespace, name."""
        return [self._objects[key] for key in self.keys()]

    def of(self, kind: str, namespace: str = "") -> list[Object]:
        """Objects of one kind, of one namespace or all."""
        if not self._kinds:
            kinds: dict[str, list[Object]] = {}
            for key in self.keys():
                kinds.setdefault(key[0], []).append(self._objects[key])
            self._kinds = kinds
        found = self._kinds.get(kind, [])
        return [item for item in found if key_of(item)[1] == namespace] if namespace else list(found)

    def get(self, kind: str, namespace: str, name: str) -> Object | None:
        """One object, or none."""
        return self._objects.get((kind, namespace, name))

    def lists(self) -> dict[str, list[Object]]:
        """Objects by plural resource name, with the EndpointSlices, as `kubectl get` would list them."""
        result: dict[str, list[Object]] = {plural: [] for plural in KINDS.values()}
        for item in self.objects():
            result[KINDS[item["kind"]]].append(item)
        result["endpointslices"] = endpoint_slices(self.of("Service"), self.of("Pod"))
        return result

    # What concerns whom

    def services(self) -> dict[str, Object]:
        """Services by full host name."""
        if not self._services:
            self._services = {host_of(service): service for service in self.of("Service")}
        return self._services

    def resolve(self, host: str, namespace: str) -> str:
        """Full host name of a host as written in an object: a short name is one of the object's namespace."""
        if "." not in host and host != "*":
            return f"{host}.{namespace}.{DOMAIN}"
        if host.count(".") == 1 and f"{host}.{DOMAIN}" in self.services():
            return f"{host}.{DOMAIN}"
        return host

    def destination_rule(self, host: str) -> Object | None:
        """The DestinationRule of a full host name."""
        for rule in self.of("DestinationRule"):
            if self.resolve(rule["spec"]["host"], rule["metadata"]["namespace"]) == host:
                return rule
        return None

    def endpoints(self, host: str, labels: Mapping[str, str] | None = None) -> list[Object]:
        """Ready pods behind a Service, of a subset's labels if given."""
        service = self.services()[host]
        pods = self.of("Pod", service["metadata"]["namespace"])
        chosen = [p for p in pods if matches(service["spec"].get("selector") or {}, p) and is_ready(p)]
        return [p for p in chosen if not labels or matches(dict(labels), p)]

    def virtual_services(self, gateway: str) -> list[Object]:
        """VirtualServices bound to a gateway (`NAMESPACE/NAME`, or `mesh` for sidecars)."""
        found = []
        for item in self.of("VirtualService"):
            namespace = item["metadata"]["namespace"]
            names = item["spec"].get("gateways") or ["mesh"]
            full = {name if "/" in name or name == "mesh" else f"{namespace}/{name}" for name in names}
            if gateway in full:
                found.append(item)
        return found

    def gateways(self, labels: Mapping[str, str]) -> list[Object]:
        """Gateways whose selector fits the labels of a gateway pod."""
        pod = {"metadata": {"labels": dict(labels)}}
        return [g for g in self.of("Gateway") if matches(g["spec"].get("selector") or {}, pod)]

    def mtls_mode(self, namespace: str, labels: Mapping[str, str]) -> str:
        """Mode of the PeerAuthentication that holds for a pod: its own, its namespace's, the mesh's, PERMISSIVE."""
        pod = {"metadata": {"labels": dict(labels)}}
        levels: list[tuple[int, str]] = []
        for item in self.of("PeerAuthentication"):
            where = item["metadata"]["namespace"]
            selector = (item["spec"].get("selector") or {}).get("matchLabels") or {}
            mode = (item["spec"].get("mtls") or {}).get("mode", "UNSET")
            if mode == "UNSET":
                continue
            if selector and where == namespace and matches(selector, pod):
                levels.append((0, mode))
            elif not selector and where == namespace:
                levels.append((1, mode))
            elif not selector and where == ROOT_NAMESPACE:
                levels.append((2, mode))
        return min(levels)[1] if levels else "PERMISSIVE"

    def selecting(self, kind: str, namespace: str, labels: Mapping[str, str]) -> Iterator[Object]:
        """Objects of a kind that hold for a pod: those of its namespace and the root namespace, by their selector."""
        pod = {"metadata": {"labels": dict(labels)}}
        for item in self.of(kind):
            if item["metadata"]["namespace"] not in (namespace, ROOT_NAMESPACE):
                continue
            selector = item["spec"].get("selector") or item["spec"].get("workloadSelector") or {}
            wanted = selector.get("matchLabels") or selector.get("labels") or {}
            if not wanted or matches(wanted, pod):
                yield item


def _content(item: Object) -> Object:
    """An object without what the control plane adds to its metadata."""
    meta = {k: v for k, v in item["metadata"].items() if k in ("labels", "annotations", "ownerReferences")}
    return {**item, "metadata": meta}


def key_of(item: Object) -> Key:
    """Kind, namespace and name of an object; without a namespace it is in `default`."""
    meta = item.get("metadata") or {}
    namespace = "" if item["kind"] == "Namespace" else meta.get("namespace") or "default"
    return item["kind"], namespace, meta["name"]


def host_of(service: Object) -> str:
    """Full host name of a Service."""
    return f"{service['metadata']['name']}.{service['metadata']['namespace']}.{DOMAIN}"


def parse(text: str, *, file: str) -> list[Object]:
    """Objects of a YAML text with one or more documents; a `List` is taken apart.

    Raises:
        LabError: not YAML, or not objects; names file, document and line.
    """
    import yaml

    try:
        documents = [document for document in yaml.safe_load_all(text) if document is not None]
    except yaml.YAMLError as error:
        raise LabError(f"{file}: not YAML: {error}", hint="one or more objects, separated by ---") from error
    found: list[Any] = []
    for document in documents:
        is_list = isinstance(document, dict) and str(document.get("kind", "")).endswith("List")
        found += document.get("items") or [] if is_list else [document]
    for number, item in enumerate(found, start=1):
        try:
            check_object(item)
        except LabError as error:
            raise LabError(f"{file}, document {number}: {error.message}", hint=error.hint) from error
    if not found:
        raise LabError(f"{file}: holds no object", hint="one or more objects, separated by ---")
    return found
