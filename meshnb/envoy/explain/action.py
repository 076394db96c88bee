"""What a matched route does: which clusters with which probability, a redirect, or a direct response."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from meshnb.envoy.explain.chance import Chance
from meshnb.envoy.explain.fields import Message, child, has, items, number, text
from meshnb.envoy.explain.headers import Headers

NOT_FOUND_CODES = {"SERVICE_UNAVAILABLE": 503, "NOT_FOUND": 404, "INTERNAL_SERVER_ERROR": 500}


@dataclass(frozen=True, slots=True)
class Pick:
    """One cluster a route may choose.

    Args:
        name: its name; empty if it cannot be known.
        probability: how likely, among all requests; `None` if that cannot be known.
        because: why this one.
        config: the weighted cluster's own configuration.
        undecided: why its name or its probability is not known.
    """

    name: str
    probability: float | None
    because: str = ""
    config: Message = field(default_factory=dict)
    undecided: str = ""


def pick_clusters(action: Message, headers: Headers, chance: Chance, runtime: Mapping[str, Any]) -> list[Pick]:
    """The clusters a `route` action may choose.

    Args:
        action: the `route` action.
        headers: request headers, for `cluster_header` and weights chosen by a header.
        chance: the random numbers that led to this route.
        runtime: runtime values known from the bootstrap.
    """
    likely = chance.probability
    if has(action, "weighted_clusters"):
        return _weighted(child(action, "weighted_clusters"), headers, chance, runtime)
    if has(action, "cluster_header"):
        return [_by_header(text(action, "cluster_header"), headers, likely, {})]
    for name in ("cluster_specifier_plugin", "inline_cluster_specifier_plugin"):
        if has(action, name):
            plugin = text(action, name) if isinstance(action.get(name), str) else ""
            return [Pick("", likely, undecided=f"cluster specifier plugin {plugin}".rstrip())]
    return [Pick(text(action, "cluster"), likely, "the route's only cluster")]


def _by_header(name: str, headers: Headers, likely: float | None, config: Message) -> Pick:
    found = headers.first(name.lower())
    because = f"header {name} names it" if found else f"header {name} is absent"
    return Pick(found or "", likely, because, config)


def _weighted(config: Message, headers: Headers, chance: Chance, runtime: Mapping[str, Any]) -> list[Pick]:
    clusters = items(config, "clusters")
    prefix = text(config, "runtime_key_prefix")
    weights = []
    for entry in clusters:
        override = runtime.get(f"{prefix}.{text(entry, 'name')}") if prefix else None
        weights.append(override if isinstance(override, int) and override >= 0 else number(entry, "weight"))
    # With runtime weights the total stays the configured one.
    total = sum(number(entry, "weight") for entry in clusters)
    if total <= 0:
        return [Pick("", chance.probability, undecided="the weights add up to nothing")]
    fixed = _random_of(text(config, "header_name"), headers)
    undecided = "the choice follows the hash policy" if config.get("use_hash_policy") else ""
    picks, begin = [], 0
    for entry, weight in zip(clusters, weights, strict=True):
        end = min(begin + weight, total)
        if fixed is None:
            likely = chance.share(begin, end, total)
        else:
            likely = chance.probability if begin <= fixed % total < end else 0.0
        because = f"weight {weight} of {total}" + ("" if fixed is None else f", chosen by header value {fixed}")
        if has(entry, "cluster_header") and headers.first(text(entry, "cluster_header").lower()) is not None:
            pick = _by_header(text(entry, "cluster_header"), headers, likely, entry)
            picks.append(Pick(pick.name, likely, f"{because}; {pick.because}", entry, undecided))
        else:
            picks.append(Pick(text(entry, "name"), likely, because, entry, undecided))
        begin = end
    return picks


def _random_of(name: str, headers: Headers) -> int | None:
    """The random value a header brings; Envoy takes it only if there is exactly one that is a 64-bit number."""
    if not name or headers.count(name.lower()) != 1:
        return None
    found = (headers.first(name.lower()) or "").strip()
    digits = found.removeprefix("+")
    return int(digits) if digits.isascii() and digits.isdigit() and int(digits[:40]) < 1 << 64 else None


def mirrors(action: Message, wider: Iterable[Message]) -> tuple[str, ...]:
    """Clusters that get a copy of the request: the route's policies, else the virtual host's, else the table's."""
    for message in (action, *wider):
        found = []
        for policy in items(message, "request_mirror_policies"):
            name = text(policy, "cluster") or f"named by header {text(policy, 'cluster_header')}"
            fraction = child(policy, "runtime_fraction")
            if fraction:
                from meshnb.envoy.explain.route import percentage

                numerator, denominator = percentage(child(fraction, "default_value"))
                name += f" ({numerator}/{denominator})"
            found.append(name)
        if found:
            return tuple(found)
    return ()


def subset_criteria(action: Message, weighted: Message) -> dict[str, Any]:
    """`envoy.lb` metadata that selects a subset: the route's, with the weighted cluster's on top."""
    found: dict[str, Any] = {}
    for message in (action, weighted):
        found |= child(child(child(message, "metadata_match"), "filter_metadata"), "envoy.lb")
    return found


def action_notes(action: Message) -> list[str]:
    """What else a route does that does not change where the request goes."""
    notes = []
    if items(action, "hash_policy"):
        notes.append("hash policy: the same key goes to the same endpoint where the cluster hashes")
    policy = child(action, "internal_redirect_policy")
    if has(action, "internal_redirect_policy"):
        times = number(policy, "max_internal_redirects", 1)
        notes.append(f"redirects of the upstream are followed up to {times} times")
    if items(action, "rate_limits"):
        notes.append("rate limits apply")
    return notes
