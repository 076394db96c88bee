"""Listeners and filter chains that stand in each other's way."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from meshnb.envoy.explain.config import Config
from meshnb.envoy.explain.fields import child, items, text, type_name
from meshnb.envoy.explain.listener import Listener, inspects_tls, knows_destination
from meshnb.model.frame import returns
from meshnb.model.tables.explain import LISTENER_CONFLICTS

if TYPE_CHECKING:
    import pandas as pd

_ANY = ("0.0.0.0", "::")
Row = dict[str, Any]


@returns(LISTENER_CONFLICTS)
def listener_conflicts(config: object, *, proxy: str = "") -> pd.DataFrame:
    """What stands in the way of what among the listeners of a dump.

    Kinds: `rejected` (Envoy refused an update and keeps the old listener), `same_address`, `same_chain_match` (Envoy
    refuses such a listener), `unreachable_chain` (a chain asks for what its listener cannot know), and
    `wildcard_takes_rest` (an HTTP listener on every address takes the traffic of services without a listener of their
    own, which then is not found or not HTTP).

    Args:
        config: a config dump as decoded JSON, or a `Config`.
        proxy: name of the proxy, for the column.

    Raises:
        FormatError: the dump is not one.

    Example:
        >>> len(listener_conflicts({"configs": []}))
        0
    """
    index = Config.of(config)
    rows: list[Row] = []
    rows += _rejected(index)
    rows += _same_address(index.listeners)
    for listener in index.listeners:
        rows += _same_match(listener)
        rows += _unreachable_chains(listener)
        rows += _takes_rest(index, listener)
    return LISTENER_CONFLICTS.rows({"proxy": proxy or None, **row} for row in rows)


def _row(kind: str, listener: str, item: str, other: str, because: str) -> Row:
    return {"kind": kind, "listener": listener, "item": item or None, "other": other or None, "because": because}


def _rejected(index: Config) -> Iterator[Row]:
    for name, state in index.rejected_listeners:
        because = text(state, "details") or "Envoy refused the update"
        yield _row("rejected", name, name, "", because)
        failed = child(state, "failed_configuration")
        if failed:
            yield from _same_match(Listener.of(failed, name=name))


def _same_address(listeners: list[Listener]) -> Iterator[Row]:
    bound: dict[tuple[str, int], str] = {}
    for listener in listeners:
        for host, port in listener.addresses:
            if not listener.bound or not port:
                continue
            first = bound.setdefault((host, port), listener.name)
            if first != listener.name:
                yield _row("same_address", listener.name, listener.name, first, f"both bind {host}:{port}")


def _same_match(listener: Listener) -> Iterator[Row]:
    if child(listener.config, "filter_chain_matcher"):
        return
    seen: dict[object, str] = {}
    for chain in listener.chains:
        first = seen.setdefault(chain.key(), chain.name)
        if first != chain.name:
            because = f"both match {chain.asks}; Envoy refuses the listener"
            yield _row("same_chain_match", listener.name, chain.name, first, because)


def _unreachable_chains(listener: Listener) -> Iterator[Row]:
    if child(listener.config, "filter_chain_matcher"):
        return
    sees_tls = inspects_tls(listener)
    ports = {port for _, port in listener.addresses}
    for chain in listener.chains:
        because = ""
        if not sees_tls and (chain.server_names or chain.transport == "tls"):
            because = f"it asks for {chain.asks}, and the listener has no TLS inspector"
        elif chain.port and chain.port not in ports and not knows_destination(listener):
            because = f"it asks for destination port {chain.port}, and connections arrive at {listener.where()}"
        if because:
            yield _row("unreachable_chain", listener.name, chain.name, "", because)


def _takes_rest(index: Config, listener: Listener) -> Iterator[Row]:
    """Services of a port whose traffic falls into an HTTP listener that has no route for them."""
    if text(listener.config, "traffic_direction") == "INBOUND" or listener.hands_off:
        return
    ports = {port for host, port in listener.addresses if host in _ANY and port}
    if not ports or not _is_http(listener):
        return
    routed = _routed(index, listener)
    own: dict[int, set[str]] = defaultdict(set)
    for other in index.listeners:
        if other is not listener and (used := _clusters_of(other)):
            for _, port in other.addresses:
                own[port] |= used
    for name in index.clusters.clusters:
        parts = name.split("|")
        if len(parts) != 4 or parts[0] != "outbound" or parts[2] or not parts[1].isdigit():
            continue
        port = int(parts[1])
        if port in ports and name not in routed and name not in own[port]:
            because = f"{listener.name} speaks HTTP on every address of port {port} and has no route to it"
            yield _row("wildcard_takes_rest", listener.name, name, listener.name, because)


def _is_http(listener: Listener) -> bool:
    return any(
        type_name(child(entry, "typed_config")) == "HttpConnectionManager"
        for chain in listener.chains
        for entry in items(chain.config, "filters")
    )


def _routed(index: Config, listener: Listener) -> set[str]:
    found: set[str] = set()
    for chain in [*listener.chains, *([listener.default] if listener.default else [])]:
        for entry in items(chain.config, "filters"):
            typed = child(entry, "typed_config")
            if type_name(typed) == "HttpConnectionManager":
                table = index.table(index.manager(typed))
                for host in table.hosts() if table else ():
                    for route in host.routes:
                        found |= _clusters_in(child(route.config, "route"))
            elif type_name(typed) == "TcpProxy":
                found |= _clusters_in(typed)
    return found


def _clusters_of(listener: Listener) -> set[str]:
    found: set[str] = set()
    for chain in listener.chains:
        for entry in items(chain.config, "filters"):
            found |= _clusters_in(child(entry, "typed_config"))
    return found


def _clusters_in(action: Any) -> set[str]:
    weighted = items(child(action, "weighted_clusters"), "clusters")
    return {name for name in (text(action, "cluster"), *(text(entry, "name") for entry in weighted)) if name}
