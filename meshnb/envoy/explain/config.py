"""A config dump indexed for explaining: listeners, route configurations, clusters, endpoints and runtime by name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from meshnb.envoy.explain.cluster import Clusters
from meshnb.envoy.explain.connection_manager import ConnectionManager
from meshnb.envoy.explain.endpoint import address_text
from meshnb.envoy.explain.fields import Message, child, has, items, text, type_name, value
from meshnb.envoy.explain.listener import Listener
from meshnb.envoy.explain.rules import Rules
from meshnb.envoy.explain.virtual_host import RouteTable
from meshnb.errors import FormatError


class Config:
    """One config dump, ready to explain many requests.

    Args:
        dump: the decoded JSON of `GET /config_dump?include_eds`, in either key style.
        clusters: the decoded JSON of `GET /clusters?format=json`, which tells draining hosts from unhealthy ones.
        name: how errors name it.

    Raises:
        FormatError: not a config dump.

    Example:
        >>> config = Config({"configs": []})
        >>> config.listeners
        []
    """

    def __init__(self, dump: object, *, clusters: object = None, name: str = "config dump") -> None:
        self.name = name
        self._page = clusters if isinstance(clusters, Mapping) else {}
        self._sections = list(self._sections_of(dump))
        self.rules = self._rules()
        self.rejected_listeners: list[tuple[str, Message]] = []
        self.listeners = self._listeners()
        self.clusters = self._clusters()
        self.routes = self._routes()
        self.runtime, self.runtime_unknown = self._runtime()
        self.ecds = self._ecds()
        self._managers: dict[int, ConnectionManager] = {}
        self._tables: dict[str, RouteTable] = {}

    @classmethod
    def of(cls, config: object) -> Config:
        """The index itself, or the index of a dump."""
        return config if isinstance(config, Config) else cls(config)

    def _sections_of(self, dump: object) -> Iterator[Message]:
        if not isinstance(dump, Mapping):
            raise FormatError("not a config dump: no JSON object", file=self.name, hint="save GET /config_dump")
        if "cluster_statuses" in dump or "clusterStatuses" in dump:
            hint = "explain needs GET /config_dump?include_eds"
            raise FormatError("this is a /clusters page, not a config dump", file=self.name, hint=hint)
        if type_name(dump).endswith("ConfigDump"):
            yield dump  # one section alone, as people paste it
            return
        if "configs" not in dump:
            raise FormatError("not a config dump: it has no configs", file=self.name, hint="save GET /config_dump")
        yield from items(dump, "configs")

    def _each(self, section_type: str, *lists: str) -> Iterator[Message]:
        for section in self._sections:
            if type_name(section) == section_type:
                for name in lists:
                    yield from items(section, name)

    def _listeners(self) -> list[Listener]:
        found = []
        for entry in self._each("ListenersConfigDump", "static_listeners", "dynamic_listeners"):
            state = child(entry, "active_state") or entry
            config = child(state, "listener")
            if has(entry, "error_state"):
                state = child(entry, "error_state")
                name = text(entry, "name") or text(child(state, "failed_configuration"), "name")
                self.rejected_listeners.append((name, state))
            if config:
                found.append(Listener.of(config, name=text(entry, "name")))
        return found

    def _clusters(self) -> Clusters:
        found: dict[str, Message] = {}
        for entry in self._each("ClustersConfigDump", "static_clusters", "dynamic_active_clusters"):
            config = child(entry, "cluster")
            found.setdefault(text(config, "name"), config)
        warming = frozenset(
            text(child(entry, "cluster"), "name")
            for entry in self._each("ClustersConfigDump", "dynamic_warming_clusters")
        )
        assignments: dict[str, Message] | None = None
        if any(type_name(section) == "EndpointsConfigDump" for section in self._sections):
            assignments = {}
            names = ("static_endpoint_configs", "dynamic_endpoint_configs")
            for entry in self._each("EndpointsConfigDump", *names):
                config = child(entry, "endpoint_config")
                assignments.setdefault(text(config, "cluster_name"), config)
        return Clusters(found, warming=warming - found.keys(), assignments=assignments, draining=self._draining())

    def _draining(self) -> dict[str, set[str]]:
        found: dict[str, set[str]] = {}
        for cluster in items(self._page, "cluster_statuses"):
            for host in items(cluster, "host_statuses"):
                if text(child(host, "health_status"), "eds_health_status") == "DRAINING":
                    found.setdefault(text(cluster, "name"), set()).add(address_text(child(host, "address")))
        return found

    def _routes(self) -> dict[str, Message]:
        found: dict[str, Message] = {}
        for entry in self._each("RoutesConfigDump", "dynamic_route_configs"):
            config = child(entry, "route_config")
            found.setdefault(text(config, "name"), config)
        return found

    def _ecds(self) -> dict[str, Message]:
        found: dict[str, Message] = {}
        for entry in self._each("EcdsConfigDump", "ecds_filters"):
            config = child(entry, "ecds_filter")
            found.setdefault(text(config, "name"), child(config, "typed_config"))
        return found

    def _runtime(self) -> tuple[dict[str, Any], str]:
        values: dict[str, Any] = {}
        unknown = ""
        for section in self._sections:
            if type_name(section) != "BootstrapConfigDump":
                continue
            for layer in items(child(child(section, "bootstrap"), "layered_runtime"), "layers"):
                _flatten("", child(layer, "static_layer"), values)
                for kind in ("disk_layer", "rtds_layer"):
                    if value(layer, kind) is not None:
                        unknown = f"runtime layer {text(layer, 'name')} is not in the dump"
        return values, unknown

    def _rules(self) -> Rules:
        bootstraps = (child(s, "bootstrap") for s in self._sections if type_name(s) == "BootstrapConfigDump")
        return Rules.of(next(bootstraps, {}))

    def manager(self, filter_config: Message) -> ConnectionManager:
        """The HTTP connection manager of a filter's `typed_config`, compiled once."""
        key = id(filter_config)
        if key not in self._managers:
            self._managers[key] = ConnectionManager.of(filter_config, ecds=self.ecds)
        return self._managers[key]

    def table(self, manager: ConnectionManager) -> RouteTable | None:
        """The route configuration a connection manager uses; `None` if the dump does not have it."""
        if manager.rds:
            if manager.rds not in self._tables:
                if manager.rds not in self.routes:
                    return None
                self._tables[manager.rds] = RouteTable.of(self.routes[manager.rds], self.rules)
            return self._tables[manager.rds]
        if manager.table is None:
            manager.table = RouteTable.of(manager.inline, self.rules)
        return manager.table

    def tables(self) -> Iterator[tuple[str, RouteTable]]:
        """Every route configuration with where it is used, inline ones by listener and chain."""
        for name in self.routes:
            table = self._tables.setdefault(name, RouteTable.of(self.routes[name], self.rules))
            yield name, table
        for listener in self.listeners:
            for chain in [*listener.chains, *([listener.default] if listener.default else [])]:
                for entry in items(chain.config, "filters"):
                    typed = child(entry, "typed_config")
                    if type_name(typed) == "HttpConnectionManager":
                        manager = self.manager(typed)
                        inline = None if manager.rds or manager.scoped else self.table(manager)
                        if inline is not None:
                            yield inline.name or f"{listener.name}/{chain.name}", inline


def _flatten(prefix: str, layer: Message, into: dict[str, Any], *, depth: int = 0) -> None:
    for key, found in layer.items():
        name = f"{prefix}.{key}" if prefix else key
        if isinstance(found, Mapping) and not {"numerator", "denominator"} & found.keys() and depth < 30:
            _flatten(name, found, into, depth=depth + 1)
        else:
            into[name] = found
