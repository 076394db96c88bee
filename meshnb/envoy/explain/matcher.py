"""Matcher trees (`filter_chain_matcher`): inputs, maps, lists and predicates, as waypoints and gateways use them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_network

from meshnb.envoy.explain.fields import Message, child, has, items, number, text, type_name
from meshnb.envoy.explain.filter_chain import Connection, is_local, parse_ip
from meshnb.envoy.explain.match import StringMatcher
from meshnb.envoy.explain.verdict import Unknown
from meshnb.errors import FormatError

_DEEPEST = 64


@dataclass(frozen=True, slots=True)
class Decision:
    """Name of the chain a tree leads to, empty if it leads to none, with the comparisons on the way."""

    name: str
    because: str


def decide(tree: Message, connection: Connection, *, depth: int = 0) -> Decision | Unknown:
    """Follow a matcher tree for a connection.

    Args:
        tree: JSON of an `xds.type.matcher.v3.Matcher`.
        connection: the connection.
        depth: how deep the tree is already.
    """
    if depth > _DEEPEST:
        raise FormatError("matcher trees are nested too deeply", position="filter_chain_matcher")
    if has(tree, "matcher_tree"):
        found = _of_tree(child(tree, "matcher_tree"), connection)
    else:
        found = _of_list(items(child(tree, "matcher_list"), "matchers"), connection)
    compared = "no matcher matches"
    # A branch that leads nowhere counts as no match: the next one is tried, and `on_no_match` last.
    for entry in found:
        if isinstance(entry, Unknown):
            return entry
        on_match, because = entry
        compared = because
        decided = _follow(on_match, because, connection, depth)
        if isinstance(decided, Unknown) or decided.name:
            return decided
    return _follow(child(tree, "on_no_match"), f"{compared}, no match", connection, depth)


def _follow(on_match: Message, because: str, connection: Connection, depth: int) -> Decision | Unknown:
    if not on_match:
        return Decision("", because)
    if has(on_match, "matcher"):
        inner = decide(child(on_match, "matcher"), connection, depth=depth + 1)
        return inner if isinstance(inner, Unknown) else Decision(inner.name, f"{because}; {inner.because}")
    action = child(child(on_match, "action"), "typed_config")
    if type_name(action) not in ("StringValue", ""):
        return Unknown(f"action {type_name(action)} of the matcher tree")
    return Decision(text(action, "value") or text(child(on_match, "action"), "name"), because)


Branches = Iterator[tuple[Message, str] | Unknown]


def _of_tree(tree: Message, connection: Connection) -> Branches:
    """Branches that match, the most specific first."""
    value = _input(child(tree, "input"), connection)
    if isinstance(value, Unknown):
        yield value
        return
    name, found = value
    shown = f"{name} {found or 'none'}"
    exact = child(child(tree, "exact_match_map"), "map")
    prefixes = child(child(tree, "prefix_match_map"), "map")
    custom = child(child(tree, "custom_match"), "typed_config")
    if exact or prefixes:
        if found in exact:
            yield child(exact, found), shown
        for key in sorted((key for key in prefixes if found.startswith(key)), key=len, reverse=True):
            yield child(prefixes, key), shown
    elif type_name(custom) == "IPMatcher":
        for _, on_match in sorted(_ranges(custom, found), key=lambda pair: -pair[0]):
            yield on_match, shown
    else:
        yield Unknown(f"matcher {type_name(custom) or 'of an unknown kind'} of the matcher tree")


def _ranges(custom: Message, found: str) -> Iterator[tuple[int, Message]]:
    """Ranges that hold the address, with their length."""
    for matcher in items(custom, "range_matchers"):
        for entry in items(matcher, "ranges"):
            try:
                network = ip_network(f"{text(entry, 'address_prefix')}/{number(entry, 'prefix_len')}", strict=False)
            except ValueError as error:
                raise FormatError(str(error), position="ranges") from error
            if found and parse_ip(found).version == network.version and parse_ip(found) in network:
                yield network.prefixlen, child(matcher, "on_match")


def _of_list(matchers: list[Message], connection: Connection) -> Branches:
    """Branches that match, in order."""
    for position, matcher in enumerate(matchers):
        matches = _predicate(child(matcher, "predicate"), connection)
        if isinstance(matches, Unknown):
            yield matches
        elif matches:
            yield child(matcher, "on_match"), f"matcher #{position}"


def _predicate(predicate: Message, connection: Connection) -> bool | Unknown:
    if has(predicate, "single_predicate"):
        single = child(predicate, "single_predicate")
        value = _input(child(single, "input"), connection)
        if isinstance(value, Unknown):
            return value
        if not has(single, "value_match"):
            return Unknown("a custom predicate of the matcher tree")
        return StringMatcher.of(child(single, "value_match")).test(value[1])
    if has(predicate, "not_matcher"):
        found = _predicate(child(predicate, "not_matcher"), connection)
        return found if isinstance(found, Unknown) else not found
    for name, wanted in (("or_matcher", True), ("and_matcher", False)):
        if has(predicate, name):
            for part in items(child(predicate, name), "predicate"):
                found = _predicate(part, connection)
                if isinstance(found, Unknown) or found is wanted:
                    return found
            return not wanted
    return Unknown("a predicate of an unknown kind")


def _input(config: Message, connection: Connection) -> tuple[str, str] | Unknown:
    """Name and text of an input."""
    kind = type_name(child(config, "typed_config"))
    match kind:
        case "DestinationPortInput":
            return "destination port", str(connection.port)
        case "DestinationIPInput":
            return _known("destination IP", connection.address)
        case "SourceIPInput":
            return _known("source IP", connection.source)
        case "DirectSourceIPInput":
            return _known("direct source IP", connection.direct_source)
        case "SourcePortInput":
            return _known("source port", connection.source_port)
        case "ServerNameInput":
            return "server name", connection.server_name
        case "TransportProtocolInput":
            return "transport", connection.transport
        case "ApplicationProtocolInput":
            return "application protocols", ",".join(f"'{protocol}'" for protocol in connection.protocols)
        case "SourceTypeInput":
            local = is_local(connection)
            return local if isinstance(local, Unknown) else ("source type", "local" if local else "")
    return Unknown(f"input {kind or text(config, 'name')} of the matcher tree")


def _known(name: str, value: str | int | Unknown) -> tuple[str, str] | Unknown:
    return value if isinstance(value, Unknown) else (name, str(value))
