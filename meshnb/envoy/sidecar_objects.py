"""Objects as `sidecar_scope` takes them: Sidecars, Services, ServiceEntries, VirtualServices."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from meshnb.envoy.names import full_host
from meshnb.envoy.sidecar_scope import REGISTRY_ONLY, Egress, Rules, Service, Sidecar
from meshnb.model.times import timestamp

Object = Mapping[str, Any]
EXPORT_TO = "networking.istio.io/exportTo"


def sidecar_of(thing: Object) -> Sidecar:
    """A Sidecar object; what is not shaped as it should be is left out, as `meshnb.checks.sidecar_yaml` tells.

    Example:
        >>> meta = {"name": "default", "namespace": "shop"}
        >>> sidecar_of({"metadata": meta, "spec": {"outboundTrafficPolicy": {}}}).policy
        'REGISTRY_ONLY'
    """
    meta, spec = _mapping(thing.get("metadata")), _mapping(thing.get("spec"))
    selector = spec.get("workloadSelector")
    policy = spec.get("outboundTrafficPolicy")
    return Sidecar(
        namespace=str(meta.get("namespace") or "default"),
        name=str(meta.get("name") or ""),
        selector=None if selector is None else _texts(_mapping(selector).get("labels")),
        egress=tuple(_egress(one) for one in _list(spec.get("egress")) if isinstance(one, Mapping)),
        ingress=tuple(port for one in _list(spec.get("ingress")) if (port := _number(_mapping(one).get("port")))),
        # a mode that is left out is the first one, as protobuf has it
        policy="" if policy is None else str(_mapping(policy).get("mode") or REGISTRY_ONLY),
        created=timestamp(meta.get("creationTimestamp")),
    )


def _egress(listener: Object) -> Egress:
    port = _mapping(listener.get("port"))
    return Egress(
        hosts=tuple(str(host) for host in _list(listener.get("hosts"))),
        port=_number(port),
        protocol=str(port.get("protocol") or ""),
        bind=str(listener.get("bind") or ""),
    )


def services_of(things: Iterable[Object], *, default_export: Sequence[str] = ("*",)) -> list[Service]:
    """The services of Services and ServiceEntries, oldest first; other kinds are left out.

    Args:
        things: objects.
        default_export: MeshConfig's `defaultServiceExportTo`.

    Example:
        >>> entry = {"kind": "ServiceEntry", "metadata": {"name": "ext", "namespace": "shop"},
        ...          "spec": {"hosts": ["api.example.com"], "ports": [{"number": 443}], "exportTo": ["."]}}
        >>> services_of([entry])[0].export_to
        ('.',)
    """
    found: list[tuple[tuple[bool, str], Service]] = []
    for thing in things:
        meta, spec = _mapping(thing.get("metadata")), _mapping(thing.get("spec"))
        namespace = str(meta.get("namespace") or "default")
        age = (not meta.get("creationTimestamp"), str(meta.get("creationTimestamp") or ""))
        if thing.get("kind") == "Service":
            text = str(_mapping(meta.get("annotations")).get(EXPORT_TO) or "")
            export = tuple(part.strip() for part in text.split(",") if part.strip()) or tuple(default_export)
            ports = tuple(_number(one, "port") for one in _list(spec.get("ports")))
            found.append((age, Service(full_host(str(meta.get("name")), namespace), namespace, ports, export)))
        elif thing.get("kind") == "ServiceEntry":
            export = tuple(map(str, _list(spec.get("exportTo")))) or tuple(default_export)
            ports = tuple(_number(one) for one in _list(spec.get("ports")))
            found += [
                (age, Service(str(host).lower(), namespace, ports, export, kubernetes=False))
                for host in _list(spec.get("hosts"))
            ]
    return [service for _, service in sorted(found, key=lambda pair: pair[0])]


def rules_of(things: Iterable[Object], *, default_export: Sequence[str] = ("*",)) -> list[Rules]:
    """The VirtualServices that are bound to sidecars, each with the destinations of its delegates.

    Args:
        things: objects; other kinds are left out.
        default_export: MeshConfig's `defaultVirtualServiceExportTo`.

    Example:
        >>> spec = {"hosts": ["web"], "http": [{"route": [{"destination": {"host": "api", "port": {"number": 80}}}]}]}
        >>> one = {"kind": "VirtualService", "metadata": {"name": "web", "namespace": "shop"}, "spec": spec}
        >>> rules_of([one])[0].destinations
        {'api.shop.svc.cluster.local': frozenset({80})}
    """
    known = {_key(thing): thing for thing in things if thing.get("kind") == "VirtualService"}
    found = []
    for (namespace, name), thing in known.items():
        spec = _mapping(thing.get("spec"))
        hosts = tuple(full_host(str(host), namespace).lower() for host in _list(spec.get("hosts")))
        if not hosts or "mesh" not in (_list(spec.get("gateways")) or ["mesh"]):
            continue
        led: dict[str, frozenset[int]] = {}
        for host, port in _led(spec, namespace, known):
            led[host] = led.get(host, frozenset()) | {port}
        export = tuple(map(str, _list(spec.get("exportTo")))) or tuple(default_export)
        found.append(Rules(namespace, name, hosts, led, export))
    return found


def _led(spec: Object, namespace: str, known: Mapping[tuple[str, str], Object]) -> Iterator[tuple[str, int]]:
    """Destinations and mirrors with their ports, 0 where none is named."""
    for kind in ("http", "tls", "tcp"):
        for route in map(_mapping, _list(spec.get(kind))):
            targets = [_mapping(one).get("destination") for one in _list(route.get("route"))]
            targets += [route.get("mirror"), *(_mapping(one).get("destination") for one in _list(route.get("mirrors")))]
            for target in map(_mapping, targets):
                if target.get("host"):
                    yield full_host(str(target["host"]), namespace).lower(), _number(_mapping(target.get("port")))
            if delegate := _mapping(route.get("delegate")):
                key = (str(delegate.get("namespace") or namespace), str(delegate.get("name") or ""))
                # a delegate has no hosts and delegates no further
                yield from _led({**_mapping(known.get(key, {}).get("spec")), "delegate": None}, key[0], {})


def strict_namespaces(things: Iterable[Object], namespaces: Iterable[str], *, root: str) -> frozenset[str]:
    """Namespaces whose pods take mutual TLS alone, by PeerAuthentications that select no workload.

    Args:
        things: objects; other kinds are left out.
        namespaces: those to tell of.
        root: the root namespace.

    Example:
        >>> mesh = {"kind": "PeerAuthentication", "metadata": {"name": "default", "namespace": "istio-system"},
        ...         "spec": {"mtls": {"mode": "STRICT"}}}
        >>> sorted(strict_namespaces([mesh], ["shop"], root="istio-system"))
        ['shop']
    """
    modes: dict[str, str] = {}
    for thing in things:
        spec = _mapping(thing.get("spec"))
        if thing.get("kind") == "PeerAuthentication" and not _mapping(spec.get("selector")).get("matchLabels"):
            mode = str(_mapping(spec.get("mtls")).get("mode") or "UNSET")
            modes.setdefault(_key(thing)[0], mode)
    mesh = modes.get(root, "UNSET")
    return frozenset(
        space for space in namespaces if (mesh if modes.get(space, "UNSET") == "UNSET" else modes[space]) == "STRICT"
    )


def objects_of(texts: Iterable[str]) -> list[Object]:
    """Objects from the column `object` of the table `objects`."""
    return [json.loads(text) for text in texts]


def _key(thing: Object) -> tuple[str, str]:
    meta = _mapping(thing.get("metadata"))
    return str(meta.get("namespace") or "default"), str(meta.get("name") or "")


def _mapping(value: Any) -> Object:
    return value if isinstance(value, Mapping) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _texts(value: Any) -> dict[str, str]:
    return {str(name): str(text) for name, text in _mapping(value).items()}


def _number(port: Any, name: str = "number") -> int:
    value = _mapping(port).get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 65536 else 0
