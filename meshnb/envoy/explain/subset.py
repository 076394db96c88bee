"""Subset load balancing: which hosts a route's metadata selects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from meshnb.envoy.explain.endpoint import Host
from meshnb.envoy.explain.fields import Message, child, flag, items, text, texts


@dataclass(slots=True)
class Subset:
    """Hosts selected, and how."""

    hosts: list[Host]
    because: str = ""
    undecided: str = ""
    notes: list[str] = field(default_factory=list)


def choose_subset(config: Message, criteria: Message, hosts: Sequence[Host]) -> Subset:
    """The hosts of the subset whose keys are exactly those of the route's metadata, or the fallback.

    Args:
        config: `lb_subset_config`; without selectors every host is used.
        criteria: `envoy.lb` metadata of the route and the weighted cluster.
        hosts: all hosts of the cluster.
    """
    selectors = items(config, "subset_selectors")
    if not selectors:
        return Subset(list(hosts))
    if flag(config, "list_as_any") or flag(config, "locality_weight_aware"):
        return Subset(list(hosts), undecided="list_as_any and locality weights of subsets are not followed")
    wanted = f"subset {_pairs(criteria)}"
    for selector in selectors:
        if set(texts(selector, "keys")) != set(criteria):
            continue
        if flag(selector, "single_host_per_subset"):
            return Subset(list(hosts), undecided="single_host_per_subset is not followed")
        found = [host for host in hosts if all(host.metadata.get(key) == criteria[key] for key in criteria)]
        if found:
            return Subset(found, wanted)
        policy = text(selector, "fallback_policy", "NOT_DEFINED")
        if policy == "KEYS_SUBSET":
            return Subset(list(hosts), undecided="fallback policy KEYS_SUBSET is not followed")
        return _fallback(config, policy, hosts, f"{wanted} has no host")
    return _fallback(config, "NOT_DEFINED", hosts, f"no selector has exactly the keys of {wanted}")


def _fallback(config: Message, policy: str, hosts: Sequence[Host], why: str) -> Subset:
    if text(config, "metadata_fallback_policy", "METADATA_NO_FALLBACK") != "METADATA_NO_FALLBACK":
        return Subset(list(hosts), undecided="metadata_fallback_policy is not followed")
    if policy == "NOT_DEFINED":
        policy = text(config, "fallback_policy", "NO_FALLBACK")
    if policy == "ANY_ENDPOINT":
        return Subset(list(hosts), f"fallback to any endpoint: {why}")
    if policy == "DEFAULT_SUBSET":
        default = child(config, "default_subset")
        found = [host for host in hosts if all(host.metadata.get(key) == default[key] for key in default)]
        return Subset(found, f"fallback to the default subset {_pairs(default)}: {why}")
    return Subset([], f"no fallback: {why}")


def _pairs(criteria: Message) -> str:
    return ", ".join(f"{key}={criteria[key]}" for key in sorted(criteria)) or "without keys"
