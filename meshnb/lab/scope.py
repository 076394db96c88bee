"""What a Sidecar object leaves a proxy of the lab to know, as istiod decides it.

It knows less than istiod: no `exportTo`, no ServiceEntry, no port of an egress listener. It is written apart from
`meshnb.envoy.sidecar_scope`, so that one can be held against the other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from meshnb.lab.inventory import Object, matches
from meshnb.lab.plan import Pod
from meshnb.lab.world import ROOT_NAMESPACE, World

PASSTHROUGH = "PassthroughCluster"


@dataclass(frozen=True, slots=True)
class Scope:
    """What a proxy knows.

    Args:
        sidecar: the Sidecar that holds; none for a gateway, or where there is none.
        services: Services by full host name.
        rules: VirtualServices bound to sidecars.
        registry_only: whether everything else is refused.
    """

    sidecar: Object | None
    services: Mapping[str, Object]
    rules: tuple[Object, ...]
    registry_only: bool


def scope_of(world: World, pod: Pod) -> Scope:
    """What the proxy of a pod knows.

    Args:
        world: the objects.
        pod: the pod.
    """
    sidecar = None if pod.is_gateway else _sidecar(world, pod)
    services, rules = world.services(), tuple(world.virtual_services("mesh"))
    if sidecar is None:
        return Scope(None, services, rules, registry_only=False)
    spec = sidecar["spec"]
    hosts = [host.split("/", 1) for listener in spec.get("egress") or [] for host in listener.get("hosts") or []]
    named = [(pod.namespace if space == "." else space, name) for space, name in hosts] or [("*", "*")]
    policy = spec.get("outboundTrafficPolicy")
    refuses = policy is not None and policy.get("mode", "REGISTRY_ONLY") == "REGISTRY_ONLY"
    kept = tuple(rule for rule in rules if _in(rule, _rule_hosts(world, rule), named))
    led = {host for rule in kept for host in _destinations(world, rule)}
    known = {host: one for host, one in services.items() if host in led or _in(one, [host], named)}
    return Scope(sidecar, known, kept, registry_only=refuses)


def _sidecar(world: World, pod: Pod) -> Object | None:
    """The Sidecar with a selector that fits, else the namespace's, else the root namespace's; the oldest of several."""
    own = sorted(world.of("Sidecar", pod.namespace), key=_age)
    labelled = {"metadata": {"labels": dict(pod.all_labels)}}
    for one in own:
        selector = one["spec"].get("workloadSelector")
        if selector is not None and matches(selector.get("labels") or {}, labelled):
            return one
    whole = own + sorted(world.of("Sidecar", ROOT_NAMESPACE), key=_age)
    return next((one for one in whole if "workloadSelector" not in one["spec"]), None)


def _age(one: Object) -> tuple[str, str]:
    return one["metadata"]["creationTimestamp"], one["metadata"]["name"]


def _in(item: Object, hosts: list[str], named: list[tuple[str, str]]) -> bool:
    spaces = ("*", item["metadata"]["namespace"])
    patterns = [name for space, name in named if space in spaces]
    return any(p in ("*", host) or (p.startswith("*.") and host.endswith(p[1:])) for p in patterns for host in hosts)


def _rule_hosts(world: World, rule: Object) -> list[str]:
    return [world.resolve(host, rule["metadata"]["namespace"]) for host in rule["spec"].get("hosts") or []]


def _destinations(world: World, rule: Object) -> set[str]:
    targets = [
        entry["destination"]["host"] for http in rule["spec"].get("http") or [] for entry in http.get("route") or []
    ]
    return {world.resolve(host, rule["metadata"]["namespace"]) for host in targets}
