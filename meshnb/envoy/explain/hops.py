"""Internal listeners: where a request goes on inside the same proxy, as in ambient meshes."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from meshnb.envoy.explain.endpoint import INTERNAL
from meshnb.envoy.explain.explanation import Endpoint, Outcome, Step
from meshnb.envoy.explain.fields import child, items, text, type_name
from meshnb.envoy.explain.listener import Listener

if TYPE_CHECKING:
    from meshnb.envoy.explain.config import Config


def follow(config: Config, outcome: Outcome, steps: list[Step]) -> Outcome:
    """Follow an outcome through internal listeners to the last cluster.

    Args:
        config: the indexed dump.
        outcome: one that may end at an internal listener.
        steps: the steps so far; each hop appends its own.
    """
    seen: list[str] = []
    endpoints = outcome.endpoints
    while (name := _internal(endpoints)) is not None:
        if name in seen:
            circle = " → ".join([*seen[seen.index(name) :], name])
            steps.append(Step("listener", name, undecided=f"internal listeners go round in a circle: {circle}"))
            return replace(outcome, kind="undecided", probability=None, notes=(*outcome.notes, f"circle: {circle}"))
        seen.append(name)
        cluster, why = _next(config, name)
        if not cluster:
            steps.append(Step("listener", name, "internal listener", undecided=why))
            return replace(outcome, notes=(*outcome.notes, f"goes on at internal listener {name}"))
        upstream = config.clusters.upstream(cluster)
        steps.append(Step("listener", name, f"internal listener, whose TCP proxy leads to {cluster}"))
        if not upstream.found or upstream.no_host:
            flags = "UH" if upstream.found else "NC"
            steps.append(Step("cluster", cluster, upstream.because))
            return replace(outcome, notes=(*outcome.notes, f"internal listener {name} ends with {flags}"))
        shown = ", ".join(endpoint.address for endpoint in upstream.endpoints if endpoint.eligible)
        steps.append(Step("endpoint", shown[:200], upstream.because, undecided=upstream.undecided))
        endpoints = upstream.endpoints
    if not seen:
        return outcome
    note = f"goes on through {', '.join(f'internal listener {name}' for name in seen)}"
    return replace(outcome, endpoints=endpoints or outcome.endpoints, notes=(*outcome.notes, note))


def _internal(endpoints: tuple[Endpoint, ...]) -> str | None:
    """The internal listener that the first usable endpoint leads to."""
    address = next((endpoint.address for endpoint in endpoints if endpoint.eligible), "")
    if not address.startswith(INTERNAL):
        return None
    return address.removeprefix(INTERNAL).partition(" (")[0]


def _next(config: Config, name: str) -> tuple[str, str]:
    """The cluster an internal listener leads to, or why that is not known."""
    listener: Listener | None = next((item for item in config.listeners if item.internal and item.name == name), None)
    if listener is None:
        return "", "the dump has no such internal listener"
    chains = [*listener.chains, *([listener.default] if listener.default else [])]
    if len(chains) != 1 or child(listener.config, "filter_chain_matcher"):
        return "", f"which of its {len(chains)} chains is taken depends on the destination the cluster passes on"
    for entry in items(chains[0].config, "filters"):
        typed = child(entry, "typed_config")
        if type_name(typed) == "TcpProxy" and text(typed, "cluster"):
            return text(typed, "cluster"), ""
    return "", "its chain does not end in a TCP proxy to one cluster"
