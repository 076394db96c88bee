"""The difference between two config dumps, in meaning and not in text."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from meshnb.envoy.names import ClusterName
from meshnb.errors import UsageError
from meshnb.loaders.config_dump import ConfigDump, read_config_dump
from meshnb.loaders.diff_tree import ORDERED, Change, canonical, compare, hide, istio_config
from meshnb.loaders.documents import Source
from meshnb.loaders.istioctl_json import camel_json
from meshnb.loaders.sections import Resource
from meshnb.loaders.sizes import read_name
from meshnb.model.frame import returns
from meshnb.model.tables.diff import DIFF

if TYPE_CHECKING:
    import pandas as pd

KINDS = ("listeners", "routes", "clusters", "endpoints", "secrets", "ecds")
"""Sections that are compared."""

_RANK = ("active", "warming", "draining", "rejected")


@returns(DIFF)
def diff(
    a: ConfigDump | Source,
    b: ConfigDump | Source,
    *,
    kinds: Collection[str] = KINDS,
    ordered: Collection[str] = tuple(sorted(ORDERED)),
) -> pd.DataFrame:
    """What differs between two config dumps: over time, of two proxies, or what istiod expects and what Envoy has.

    Resources are paired by name, filter chains by their match, virtual hosts by their domains, endpoints by address.
    The order of routes and of filters matters, any other does not; versions, times and nonces are not compared. Either
    key style will do. Private keys are never shown.

    Args:
        a: the first dump: a `ConfigDump`, path, bytes or decoded document.
        b: the second one.
        kinds: sections to compare.
        ordered: fields in whose lists the order matters; `("routes",)` leaves out filters that moved.

    Raises:
        NotFound: no such file.
        FormatError: not a config dump.
        UsageError: no such section.

    Example:
        >>> def dump(timeout):
        ...     cluster = {"name": "outbound|80||a.shop.svc.cluster.local", "connect_timeout": timeout}
        ...     kind = "type.googleapis.com/envoy.admin.v3.ClustersConfigDump"
        ...     return {"configs": [{"@type": kind, "dynamic_active_clusters": [{"cluster": cluster}]}]}
        >>> diff(dump("1s"), dump("5s"))[["path", "change", "before", "after", "object"]].values.tolist()
        [['connectTimeout', 'changed', '"1s"', '"5s"', 'Service a.shop']]
    """
    unknown = sorted(set(kinds) - set(KINDS))
    if unknown:
        raise UsageError(f"no section {', '.join(unknown)} to compare", hint=f"sections: {', '.join(KINDS)}")
    first, second = (one if isinstance(one, ConfigDump) else read_config_dump(one) for one in (a, b))
    owners = _Owners(first, second)
    rows = []
    for kind in KINDS:
        if kind in kinds:
            for name, change in _changes(_by_name(first, kind), _by_name(second, kind), frozenset(ordered)):
                rows.append({"kind": kind, "resource": name, **_row(change), **owners.of(kind, name, change)})
    return DIFF.rows(rows)


def _row(change: Change) -> dict[str, Any]:
    return {
        "path": change.path,
        "change": change.change,
        "before": None if change.before is None else canonical(change.before),
        "after": None if change.after is None else canonical(change.after),
    }


@dataclass(frozen=True, slots=True)
class _Found:
    """A resource of one of the dumps."""

    dump: ConfigDump
    resource: Resource

    @property
    def message(self) -> Any:
        """It with proto3 JSON names."""
        message = camel_json(self.dump.decode(self.resource)) if self.resource.size else {}
        message = message if isinstance(message, dict) else {"": message}
        message.pop("@type", None)
        return message

    @property
    def name(self) -> str:
        """Its name; static ones without are known by their address or virtual hosts."""
        named = read_name.maybe(self.resource.raw)
        if found := (named.name or named.cluster_name if named is not None else "") or self.resource.name:
            return found
        message = self.message
        if "address" in message:
            return canonical(message["address"])
        hosts = message.get("virtualHosts")
        names = [str(one.get("name", "")) for one in hosts if isinstance(one, dict)] if isinstance(hosts, list) else []
        return f"({', '.join(sorted(names))})" if names else ""


def _by_name(dump: ConfigDump, kind: str) -> dict[str, _Found]:
    """The resources by name; of several states the one in use."""
    found: dict[str, list[_Found]] = {}
    for resource in dump.resources(kind):
        one = _Found(dump, resource)
        found.setdefault(one.name, []).append(one)
    named: dict[str, _Found] = {}
    for name, entries in found.items():
        best = min(_RANK.index(one.resource.state) for one in entries)
        same = [one for one in entries if _RANK.index(one.resource.state) == best]
        if len(same) > 1:
            same.sort(key=lambda one: canonical(one.message))
        for number, one in enumerate(same):
            named[f"{name} #{number + 1}" if number else name] = one
    return named


def _changes(a: dict[str, _Found], b: dict[str, _Found], ordered: frozenset[str]) -> Iterator[tuple[str, Change]]:
    for name in sorted(a.keys() | b.keys()):
        if name not in b:
            message = a[name].message
            yield name, Change("", "removed", hide(message), None, istio_config(message))
        elif name not in a:
            message = b[name].message
            yield name, Change("", "added", None, hide(message), istio_config(message))
        else:
            for change in _change(a[name], b[name], ordered):
                yield name, change


def _change(a: _Found, b: _Found, ordered: frozenset[str]) -> Iterator[Change]:
    same_text = bytes(a.resource.raw) == bytes(b.resource.raw)
    if a.resource.state != b.resource.state:
        yield Change("(state)", "changed", a.resource.state, b.resource.state, istio_config(b.message))
    if not same_text:
        yield from compare(a.message, b.message, ordered=ordered)


class _Owners:
    """Which Istio object a change is of."""

    def __init__(self, *dumps: ConfigDump) -> None:
        self._dumps = dumps

    @cached_property
    def _clusters(self) -> dict[str, _Found]:
        return {name: one for dump in self._dumps for name, one in _by_name(dump, "clusters").items()}

    def of(self, kind: str, name: str, change: Change) -> dict[str, Any]:
        """The columns `config`, `object`, `object_kind`, `object_name`, `object_namespace`."""
        if owner := _of_config(change.config):
            return owner
        if kind not in ("clusters", "endpoints"):
            return {}
        cluster = self._clusters.get(name)
        owner = _owner_of(cluster.message) if cluster is not None else {}
        return owner or _of_host(ClusterName.parse(name).fqdn)


def _owner_of(cluster: Any) -> dict[str, Any]:
    if config := istio_config(cluster):
        return _of_config(config)
    services: Any = cluster
    for key in ("metadata", "filterMetadata", "istio", "services"):
        services = services.get(key) if isinstance(services, dict) else None
    first = services[0] if isinstance(services, list) and services else None
    if not isinstance(first, dict) or not isinstance(first.get("name"), str):
        return {}
    # of a ServiceEntry the name is the host itself
    kind = "ServiceEntry" if first["name"] == first.get("host") else "Service"
    return _owner(kind, first["name"], str(first.get("namespace", "")))


def _of_config(path: str) -> dict[str, Any]:
    pieces = path.split("/")
    if len(pieces) != 8 or pieces[1] != "apis":
        return {"config": path} if path else {}
    kind = "".join(word.capitalize() for word in pieces[6].split("-"))
    return {**_owner(kind, pieces[7], pieces[5]), "config": path}


def _of_host(host: str) -> dict[str, Any]:
    parts = host.split(".")
    return _owner("Service", parts[0], parts[1]) if len(parts) > 2 and parts[2] == "svc" else {}


def _owner(kind: str, name: str, namespace: str) -> dict[str, Any]:
    return {
        "object": f"{kind} {name}.{namespace}",
        "object_kind": kind,
        "object_name": name,
        "object_namespace": namespace,
    }
