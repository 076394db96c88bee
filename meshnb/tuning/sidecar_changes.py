"""What of a proxy's configuration would go, and come, if it knew other services."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from meshnb.envoy.names import ClusterName
from meshnb.envoy.sidecar_scope import Key, Rules, Scope

if TYPE_CHECKING:
    import pandas as pd

CATCH_ALL_HOSTS = {"allow_any": "ALLOW_ANY", "block_all": "REGISTRY_ONLY"}
"""Virtual hosts that take what no other takes, and the outbound policy they carry out."""
_KEPT_CLUSTERS = ("PassthroughCluster", "BlackHoleCluster")
# where iptables leads all that leaves a pod: it is there whatever the proxy knows
_OUTBOUND_PORT = 15001


@dataclass(frozen=True)
class Config:
    """What one proxy has: rows of the tables of these names that are in use.

    Args:
        clusters: table `clusters`.
        routes: table `routes`.
        listeners: table `listeners`.
        endpoints: table `endpoints`.
        sizes: table `sizes`.
        virtual_hosts: table `virtual_host_sizes`.
    """

    clusters: pd.DataFrame
    routes: pd.DataFrame
    listeners: pd.DataFrame
    endpoints: pd.DataFrame
    sizes: pd.DataFrame
    virtual_hosts: pd.DataFrame

    @property
    def outbound(self) -> pd.DataFrame:
        """Clusters of services that came over CDS."""
        rows = self.clusters
        return rows[(rows.direction == "outbound").fillna(False) & rows.dynamic.fillna(False)]

    @property
    def policy(self) -> str:
        """The outbound policy it carries out now, as its catch-all virtual hosts tell; empty if they do not."""
        found = {CATCH_ALL_HOSTS[name] for name in self.routes.virtual_host.dropna() if name in CATCH_ALL_HOSTS}
        return found.pop() if len(found) == 1 else ""

    @property
    def has_endpoints(self) -> bool:
        """Whether the dump was asked for its endpoints."""
        return bool((self.sizes.section == "endpoints").any())


def host_of(virtual_host: str) -> tuple[str, int]:
    """Host and port of a virtual host's name; port 0 if it names none.

    Example:
        >>> host_of("web.shop.svc.cluster.local:80"), host_of("allow_any")
        (('web.shop.svc.cluster.local', 80), ('allow_any', 0))
    """
    host, colon, port = virtual_host.rpartition(":")
    return (host, int(port)) if colon and port.isdigit() else (virtual_host, 0)


def rules_in(configs: Iterable[Config], known: Collection[Key]) -> list[Rules]:
    """VirtualServices that routes were made from and whose objects were not captured, as far as the routes tell.

    Args:
        configs: what the proxies have.
        known: those that were captured.
    """
    hosts: dict[Key, set[str]] = {}
    led: dict[Key, dict[str, frozenset[int]]] = {}
    for config in configs:
        rows = config.routes
        rows = rows[rows.virtual_service.notna() & rows.dynamic.fillna(False)]
        for row in rows.itertuples():
            key = (str(row.virtual_service_namespace), str(row.virtual_service))
            if key in known:
                continue
            hosts.setdefault(key, set()).add(host_of(str(row.virtual_host))[0])
            name = ClusterName.parse(row.cluster) if isinstance(row.cluster, str) else ClusterName()
            if name.fqdn:
                ports = led.setdefault(key, {})
                ports[name.fqdn] = ports.get(name.fqdn, frozenset()) | {name.port}
    return [Rules(*key, tuple(sorted(names)), led.get(key, {})) for key, names in sorted(hosts.items())]


def changes(
    proxy: str, config: Config, scope: Scope, *, now: Scope | None = None, ingress: Sequence[int] = ()
) -> list[dict[str, Any]]:
    """The rows of `SIDECAR_CHANGES` of one proxy.

    Args:
        proxy: its name.
        config: what it has.
        scope: what it would know.
        now: what it knows now; `None` if that is not known: then nothing is said of what comes.
        ingress: ports of the Sidecar's ingress listeners; none: the ports of the pod's Services, as now.
    """
    going = _clusters(config, scope)
    rows = [row for row in going if row["type"] == "cluster"]
    gone = {row["name"] for row in rows}
    hosts = list(_virtual_hosts(config, scope))
    listeners = list(_listeners(config, gone, hosts))
    comes = _coming(config, scope, now) if now is not None else []
    entering = _ingress(config, ingress) if ingress else []
    found = (*rows, *_endpoints(config, rows), *hosts, *listeners, *entering, *comes)
    return [{"proxy": proxy, **row} for row in found]


def _clusters(config: Config, scope: Scope) -> list[dict[str, Any]]:
    return [
        {
            "change": "goes",
            "type": "cluster",
            "name": row.cluster,
            "host": row.fqdn,
            "service_namespace": namespace_of(row),
            "port": row.port,
            "subset": row.subset if isinstance(row.subset, str) else None,
            "bytes": _known(row.bytes),
        }
        for row in config.outbound.itertuples()
        if not scope.knows(row.fqdn, row.port)
    ]


def namespace_of(cluster: Any) -> str:
    """Namespace of a cluster's service: as its metadata says, else as the host does; empty if neither tells.

    Args:
        cluster: a row of the table `clusters`.
    """
    if isinstance(cluster.service_namespace, str):
        return cluster.service_namespace
    parts = str(cluster.fqdn).split(".")
    return parts[1] if len(parts) > 2 and parts[2] == "svc" else ""


def _endpoints(config: Config, clusters: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    held = {name: group.tolist() for name, group in config.endpoints.groupby("cluster").endpoint}
    sizes = config.sizes[config.sizes.section == "endpoints"].groupby("resource").bytes.sum().to_dict()
    for row in clusters:
        if row["name"] in held or row["name"] in sizes:
            found = [str(one) for one in held.get(row["name"], [])]
            yield {**row, "type": "endpoints", "endpoints": found, "bytes": _known(sizes.get(row["name"]))}


def _virtual_hosts(config: Config, scope: Scope) -> Iterator[dict[str, Any]]:
    sizes = {(row.route_config, row.virtual_host): row.bytes for row in config.virtual_hosts.itertuples()}
    for (route_config, name), rules in _rules_of_hosts(config).items():
        host, port = host_of(name)
        row = {"type": "virtual_host", "name": name, "host": host, "port": port or None, "route_config": route_config}
        if not scope.knows(host, port) and not scope.routes(host):
            yield {**row, "change": "goes", "bytes": _known(sizes.get((route_config, name)))}
            continue
        for one in rules:
            if one not in scope.rules:
                yield {**row, "change": "loses rules", "virtual_service": "/".join(one)}


def _rules_of_hosts(config: Config) -> dict[tuple[str, str], dict[Key, None]]:
    """The VirtualServices each virtual host is made from, by route configuration and name."""
    rows = dynamic_hosts(config)
    rows = rows[~rows.virtual_host.isin(list(CATCH_ALL_HOSTS))]
    found: dict[tuple[str, str], dict[Key, None]] = {}
    columns = (rows.route_config, rows.virtual_host, rows.virtual_service_namespace, rows.virtual_service)
    for route_config, name, space, rule in zip(*columns, strict=True):
        rules = found.setdefault((str(route_config), str(name)), {})
        if isinstance(rule, str):
            rules[str(space), rule] = None
    return found


def dynamic_hosts(config: Config) -> pd.DataFrame:
    """Routes of the virtual hosts that came over RDS."""
    rows = config.routes
    return rows[rows.dynamic.fillna(False) & rows.virtual_host.notna()]


def _listeners(config: Config, gone: set[str], hosts: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Listeners all of whose chains lead to what goes; those without such a chain stay."""
    left = {(row["route_config"], row["name"]) for row in hosts if row["change"] == "goes"}
    held: dict[str, bool] = {}
    for key in _rules_of_hosts(config):
        held[key[0]] = held.get(key[0], False) or key not in left
    listeners: dict[str, list[Any]] = {}
    for chain in outbound_listeners(config).itertuples():
        listeners.setdefault(str(chain.listener), []).append(chain)
    for name, chains in listeners.items():
        ends = [_ends(chain, gone, held) for chain in chains]
        if True in ends and False not in ends:
            port, size = _known(chains[0].port), _known(chains[0].bytes)
            yield {"change": "goes", "type": "listener", "name": name, "port": port, "bytes": size}


def outbound_listeners(config: Config) -> pd.DataFrame:
    """Chains of listeners that came over LDS for calls that go out, but for the one that takes everything."""
    rows = config.listeners
    rows = rows[(rows.direction == "OUTBOUND").fillna(False) & rows.dynamic.fillna(False)]
    return rows[(rows.port != _OUTBOUND_PORT).fillna(True)]


def _ends(chain: Any, gone: set[str], held: Mapping[str, bool]) -> bool | None:
    """Whether a filter chain leads nowhere any more; `None` if it says nothing of services."""
    if isinstance(chain.route_config, str) and chain.route_config in held:
        return not held[chain.route_config]
    if isinstance(chain.cluster, str) and chain.cluster not in _KEPT_CLUSTERS:
        return chain.cluster in gone
    return None


def _ingress(config: Config, ports: Sequence[int]) -> Iterator[dict[str, Any]]:
    """Inbound clusters with ingress listeners: one for each of their ports, and none for the other ports of the pod.

    What comes in at another port goes through InboundPassthroughCluster then: it arrives, without rules and metrics.
    """
    rows = config.clusters
    rows = rows[(rows.direction == "inbound").fillna(False) & rows.dynamic.fillna(False)]
    for row in rows[~rows.port.isin(list(ports))].itertuples():
        yield {"change": "goes", "type": "cluster", "name": row.cluster, "port": row.port, "bytes": _known(row.bytes)}
    for port in sorted(set(ports) - set(rows.port)):
        yield {"change": "comes", "type": "cluster", "name": str(ClusterName("inbound", port)), "port": port}


def route_configs_gone(config: Config, rows: list[dict[str, Any]]) -> set[str]:
    """Route configurations that go whole: all listeners that use them go.

    Args:
        config: what the proxy has.
        rows: its changes.
    """
    listeners = {row["name"] for row in rows if row["type"] == "listener"}
    users = config.listeners[config.listeners.route_config.notna() & config.listeners.dynamic.fillna(False)]
    used: dict[str, set[str]] = {}
    for route_config, listener in zip(users.route_config, users.listener, strict=True):
        used.setdefault(str(route_config), set()).add(str(listener))
    return {name for name, by in used.items() if by <= listeners}


def _coming(config: Config, scope: Scope, now: Scope) -> list[dict[str, Any]]:
    have = set(zip(config.outbound.fqdn, config.outbound.port, strict=True))
    rows = []
    for host, visible in scope.services.items():
        for port in sorted(visible.ports or set(visible.service.ports)):
            if not now.knows(host, port) and (host, port) not in have:
                row = {"change": "comes", "type": "cluster", "name": str(ClusterName("outbound", port, "", host))}
                rows.append({**row, "host": host, "service_namespace": visible.service.namespace, "port": port})
    return rows


def _known(value: Any) -> int | None:
    import pandas as pd

    return None if value is None or pd.isna(value) else int(value)
