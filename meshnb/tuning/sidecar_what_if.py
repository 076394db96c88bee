"""What Sidecars would change: for each proxy what goes, what gets the rest, its size, and which calls would break."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from meshnb.envoy.sidecar_scope import (
    ROOT_NAMESPACE,
    UNLIMITED,
    Choice,
    Rules,
    Scope,
    Service,
    Sidecar,
    choose,
    scope,
)
from meshnb.model.tables.sidecars import SIDECAR_CALLS, SIDECAR_CHANGES, SIDECAR_WHAT_IF
from meshnb.model.tables.telemetry import REQUEST_RATES
from meshnb.tuning.sidecar_calls import calls
from meshnb.tuning.sidecar_changes import (
    CATCH_ALL_HOSTS,
    Config,
    changes,
    dynamic_hosts,
    namespace_of,
    route_configs_gone,
    rules_in,
)

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy of the mesh.

    Args:
        name: `POD.NAMESPACE`.
        namespace: its namespace.
        workload: workload of its pod, empty if not known.
        labels: labels of its pod.
        kind: sidecar, router, waypoint or ztunnel.
    """

    name: str
    namespace: str
    workload: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    kind: str = "sidecar"


@dataclass(frozen=True)
class Known:
    """What is known of a mesh.

    Args:
        proxies: its proxies.
        sidecars: its Sidecars; `None` if they were not captured.
        services: its services; `None` if they were not captured.
        rules: its VirtualServices bound to sidecars; `None` if they were not captured.
        policy: MeshConfig's outbound policy; empty if not known.
        root: the root namespace.
        strict: namespaces whose pods take mutual TLS alone; `None` if PeerAuthentications were not captured.
        providers: names of MeshConfig's `extensionProviders`, by the host of their service.
    """

    proxies: Sequence[Proxy]
    sidecars: Sequence[Sidecar] | None = ()
    services: Sequence[Service] | None = ()
    rules: Sequence[Rules] | None = ()
    policy: str = ""
    root: str = ROOT_NAMESPACE
    strict: frozenset[str] | None = frozenset()
    providers: Mapping[str, str] = field(default_factory=dict)

    def choose(self, proxy: Proxy, sidecars: Sequence[Sidecar] | None = None) -> Choice:
        """The Sidecar that holds for a proxy.

        Args:
            proxy: the proxy.
            sidecars: all Sidecars, if not those of the mesh.
        """
        held = (self.sidecars if sidecars is None else sidecars) or ()
        return choose(held, namespace=proxy.namespace, labels=proxy.labels, kind=proxy.kind, root=self.root)

    def scope(self, proxy: Proxy, choice: Choice, *, services: Sequence[Service], rules: Sequence[Rules]) -> Scope:
        """What a proxy may know under the Sidecar that holds for it."""
        return scope(choice.sidecar, namespace=proxy.namespace, services=services, rules=rules, policy=self.policy)


@dataclass(frozen=True)
class Observed:
    """What is known of the calls of the proxies.

    Args:
        calls: table `observed_calls`; `None` without access logs.
        extent: table `log_extent`; `None` likewise.
        rates: table `request_rates`; `None` if not recorded.
        silent: proxies whose listeners do not log calls that go out.
        logs: proxies whose log was captured, with lines or without.
    """

    calls: pd.DataFrame | None = None
    extent: pd.DataFrame | None = None
    rates: pd.DataFrame | None = None
    silent: frozenset[str] = frozenset()
    logs: frozenset[str] = frozenset()

    def source(self, proxy: Proxy) -> tuple[str, str]:
        """Where calls of a proxy are told (access log, metrics, unknown), and why they are unknown."""
        why = "its access log has no line" if proxy.name in self.logs else "no access log of it was captured"
        if proxy.name in self.silent:
            why = "its listeners do not log calls that go out"
        elif self.extent is not None and len(own := self.extent[self.extent.proxy == proxy.name]):
            if own.told.sum():
                return "access log", ""
            why = "its access log names no cluster (upstream_cluster)"
        if len(self.rates_of(proxy)):
            return "metrics", ""
        return "unknown", f"{why}, and istio_requests_total has nothing of its workload"

    def rates_of(self, proxy: Proxy) -> pd.DataFrame:
        """Rates of the proxy's workload as its own side counts them."""
        rates = REQUEST_RATES.empty() if self.rates is None else self.rates
        own = (rates.source_workload == proxy.workload) & (rates.source_workload_namespace == proxy.namespace)
        return rates[(own & (rates.reporter == "source")).fillna(False)]


@dataclass(frozen=True)
class Predicted:
    """What the Sidecars would change.

    Args:
        proxies: a row per proxy, see `SIDECAR_WHAT_IF`.
        changes: what goes and comes, see `SIDECAR_CHANGES`.
        calls: what becomes of calls, see `SIDECAR_CALLS`.
        clusters: clusters of each proxy, as they are and as they would be.
    """

    proxies: pd.DataFrame
    changes: pd.DataFrame
    calls: pd.DataFrame
    clusters: Mapping[str, tuple[frozenset[str], frozenset[str]]]


def predict(
    known: Known, tried: Sequence[Sidecar], config_of: Callable[[str], Config | None], observed: Observed
) -> Predicted:
    """What Sidecars would change, if they were applied.

    Args:
        known: what is known of the mesh.
        tried: the Sidecars; one that is there already under its name is replaced.
        config_of: what a proxy has, `None` without a config dump.
        observed: what is known of calls.
    """
    before = list(known.sidecars or ())
    created = {one.key: one.created for one in before}
    keys = {one.key for one in tried}
    after = [one for one in before if one.key not in keys] + [_aged(one, created.get(one.key)) for one in tried]
    configs = {one.name: config_of(one.name) for one in known.proxies if one.kind not in UNLIMITED}
    services, rules = _all_services(known, configs), _all_rules(known, configs)
    policy = known.policy or _policy(known, configs)
    mesh = Known(known.proxies, known.sidecars, services, rules, policy, known.root, known.strict)
    rows, changed, called = [], [], []
    clusters = {}
    cached: dict[object, Scope] = {}

    def limit_of(proxy: Proxy, choice: Choice) -> Scope:
        at = (proxy.namespace, id(choice.sidecar))
        if at not in cached:
            cached[at] = mesh.scope(proxy, choice, services=services, rules=rules)
        return cached[at]

    for proxy in known.proxies:
        now, then = known.choose(proxy), known.choose(proxy, after)
        changes_hands = (now.sidecar and now.sidecar.key) != (then.sidecar and then.sidecar.key)
        if proxy.kind in UNLIMITED or not (changes_hands or (then.sidecar and then.sidecar.key in keys)):
            continue
        config = configs[proxy.name]
        limit = limit_of(proxy, then)
        found = []
        if config is not None:
            ingress = then.sidecar.ingress if then.sidecar else ()
            found = changes(proxy.name, config, limit, now=limit_of(proxy, now), ingress=ingress)
        seen = calls(proxy, limit, config, found, observed, known.strict)
        rows.append(_row(proxy, (now, then), limit, config, found, seen, observed, known))
        changed += found
        called += seen
        if config is not None:
            clusters[proxy.name] = _cluster_names(config, found)
    frames = (SIDECAR_WHAT_IF.rows(rows), SIDECAR_CHANGES.rows(changed), SIDECAR_CALLS.rows(called))
    return Predicted(*frames, clusters)


def _aged(one: Sidecar, created: Any) -> Sidecar:
    """A Sidecar with the age of the one it replaces; its own time, if it has one, is not when it will be applied."""
    return Sidecar(one.namespace, one.name, one.selector, one.egress, one.ingress, one.policy, created)


def _all_services(known: Known, configs: Mapping[str, Config | None]) -> list[Service]:
    """Services of the objects, and those that proxies have clusters of though no object was captured."""
    services = list(known.services or ())
    hosts = {one.host for one in services}
    more: dict[tuple[str, str], set[int]] = {}
    for config in configs.values():
        for row in config.outbound.itertuples() if config is not None else ():
            if row.fqdn not in hosts:
                more.setdefault((str(row.fqdn), namespace_of(row)), set()).add(int(row.port))
    return services + [Service(*key, tuple(sorted(ports))) for key, ports in sorted(more.items())]


def _all_rules(known: Known, configs: Mapping[str, Config | None]) -> list[Rules]:
    rules = list(known.rules or ())
    there = [config for config in configs.values() if config is not None]
    return rules + rules_in(there, {one.key for one in rules})


def _policy(known: Known, configs: Mapping[str, Config | None]) -> str:
    """MeshConfig's policy, as proxies carry it out whose Sidecar says nothing of it; empty if they do not agree."""
    found = set()
    for proxy in known.proxies:
        config, sidecar = configs.get(proxy.name), known.choose(proxy).sidecar
        if config is not None and known.sidecars is not None and not (sidecar and sidecar.policy):
            found.add(config.policy)
    found.discard("")
    return found.pop() if len(found) == 1 else ""


def _cluster_names(config: Config, found: list[dict[str, Any]]) -> tuple[frozenset[str], frozenset[str]]:
    now = frozenset(map(str, config.clusters.cluster))
    goes = {row["name"] for row in found if row["type"] == "cluster" and row["change"] == "goes"}
    comes = {row["name"] for row in found if row["type"] == "cluster" and row["change"] == "comes"}
    return now, now - goes | comes


def _row(
    proxy: Proxy,
    choices: tuple[Choice, Choice],
    limit: Scope,
    config: Config | None,
    found: list[dict[str, Any]],
    seen: list[dict[str, Any]],
    observed: Observed,
    known: Known,
) -> dict[str, Any]:
    now, then = choices
    source, why = observed.source(proxy)
    row: dict[str, Any] = {
        "proxy": proxy.name,
        "namespace": proxy.namespace,
        "workload": proxy.workload or None,
        "sidecar_before": str(now.sidecar) if now.sidecar else None,
        "sidecar": str(then.sidecar) if then.sidecar else None,
        "why": then.why,
        "outbound_policy": limit.policy or None,
        "catch_all": limit.catch_all or None,
        "ingress_ports": [str(port) for port in then.sidecar.ingress]
        if then.sidecar and then.sidecar.ingress
        else None,
        "calls": source,
        "unknown": _unknown(config, found, known, limit, choices) + ([f"calls: {why}"] if why else []),
    }
    lost = [one for one in seen if one["verdict"] == "breaks"]
    if source != "unknown":
        row["hosts_lost"] = len({one["host"] for one in lost})
    if source == "access log":
        row["requests"] = sum(one["requests"] for one in seen)
        row["requests_lost"] = sum(one["requests"] for one in lost)
        row["last_lost"] = max((one["last_seen"] for one in lost if one["last_seen"]), default=None)
    return row if config is None else row | _counts(config, found) | _sizes(config, found)


def _unknown(
    config: Config | None, found: list[dict[str, Any]], known: Known, limit: Scope, choices: tuple[Choice, Choice]
) -> list[str]:
    """What could not be said of a proxy: what was not captured, then what is not modelled."""
    reasons = ["what goes and how large it is: no config dump of it was captured"] if config is None else []
    if config is not None and not config.has_endpoints:
        reasons.append("endpoints: the dump has none, take it with ?include_eds")
    if not limit.policy:
        reasons.append("what gets the rest: neither the Sidecar nor a captured MeshConfig says so")
    if known.sidecars is None:
        reasons.append("what comes, and which Sidecars hold now: no Sidecar objects were captured, taken for none")
    if known.services is None:
        reasons.append("exportTo: no Services were captured, services are those the proxies have clusters of")
    if known.rules is None:
        reasons.append("VirtualServices were not captured: they are taken from the routes")
    for host in sorted(
        {row["host"] for row in found if row["change"] == "goes" and row.get("host") in known.providers}
    ):
        what = f"extensionProvider {known.providers[host]}: {host} goes"
        reasons.append(f"{what}; tracing, logs or authorization by it would stop (istio/istio#53701)")
    now, then = (choice.sidecar for choice in choices)
    if now and now.ingress and not (then and then.ingress):
        reasons.append(f"inbound: the ingress listeners of {now} end, and the ports of the pod's Services come back")
    if then and any(listener.port or listener.bind for listener in then.egress):
        reasons.append("listeners and routes: an egress listener with a port or bind makes its own, not modelled")
    if any(row["type"] == "cluster" and row["name"].startswith("inbound|") for row in found):
        reasons.append("size of virtualInbound: its chains for ports that are no ingress listeners go too")
    if any(row["change"] == "loses rules" for row in found):
        reasons.append("size: virtual hosts lose rules, how much smaller they become is not known")
    if any(row["change"] == "comes" for row in found):
        reasons.append("size: clusters come, and their subsets, how large they are is not known")
    return reasons


def _counts(config: Config, found: list[dict[str, Any]]) -> dict[str, Any]:
    goes: dict[str, int] = {}
    for row in found:
        if row["change"] == "goes":
            goes[row["type"]] = goes.get(row["type"], 0) + 1
    comes = sum(1 for row in found if row["change"] == "comes")
    hosts = dynamic_hosts(config)
    hosts = hosts[~hosts.virtual_host.isin(list(CATCH_ALL_HOSTS))]
    held = {
        "clusters": len(config.clusters),
        "virtual_hosts": len(hosts.drop_duplicates(["route_config", "virtual_host"])),
        "listeners": int(config.listeners[config.listeners.dynamic.fillna(False)].listener.nunique()),
    }
    result = {f"{name}_before": count for name, count in held.items()}
    result |= {f"{name}_after": count - goes.get(name[:-1], 0) for name, count in held.items()}
    result["clusters_after"] += comes
    if len(config.endpoints) or config.has_endpoints:
        lost = sum(len(row["endpoints"]) for row in found if row["type"] == "endpoints")
        result |= {"endpoints_before": len(config.endpoints)}
        result |= {} if comes else {"endpoints_after": len(config.endpoints) - lost}
    return result


def _sizes(config: Config, found: list[dict[str, Any]]) -> dict[str, Any]:
    """Bytes before and after: exact for what goes, with its share of what surrounds the resources of its section."""
    sizes = config.sizes
    eds = int(sizes[sizes.section == "endpoints"].bytes.sum())
    before = int(sizes.bytes.sum())
    whole = route_configs_gone(config, found)
    routes = sizes[(sizes.section == "routes") & sizes.resource.isin(list(whole)) & sizes.dynamic.fillna(False)]
    around = _envelopes(sizes)
    less = {"endpoints": 0.0, "routes": float(routes.bytes.sum()) + around.get("routes", 0.0) * len(routes)}
    for row in found:
        if row["change"] != "goes" or row["bytes"] is None:
            continue
        section = {"cluster": "clusters", "listener": "listeners", "endpoints": "endpoints"}.get(row["type"], "routes")
        if section == "routes":
            # a virtual host goes with the comma before it; one of a configuration that goes whole is counted there
            less["routes"] += row["bytes"] + 1 if row["route_config"] not in whole else 0
        else:
            less[section] = less.get(section, 0.0) + row["bytes"] + around.get(section, 0.0)
    without = before - eds - round(sum(value for name, value in less.items() if name != "endpoints"))
    result = {"bytes_before_without_eds": before - eds}
    result |= {"bytes_before": before} if config.has_endpoints else {}
    if any(row["change"] == "comes" for row in found):
        return result
    result["bytes_after_without_eds"] = without
    return result | ({"bytes_after": without + eds - round(less["endpoints"])} if config.has_endpoints else {})


def _envelopes(sizes: pd.DataFrame) -> dict[str, float]:
    """Bytes around each resource of a section: its version, times, name beside it."""
    around = sizes[sizes.part == "envelope"].groupby("section").bytes.sum()
    count = sizes[sizes.part == "resource"].groupby("section").bytes.count()
    return {str(name): float(around[name]) / int(count[name]) for name in around.index if name in count.index}
