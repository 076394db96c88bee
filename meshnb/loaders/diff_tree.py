"""What differs between two messages: lists are compared by what their elements are, not by where they stand."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any

ORDERED = frozenset({"routes", "filters", "httpFilters", "listenerFilters"})
"""Fields whose order has a meaning: the first route that matches is taken, and filters run one after the other."""

# conditions of access loggers: whichever comes first, all of them are asked
_NO_ORDER_BELOW = ("andFilter", "orFilter")

_SECRET = {"privateKey", "password", "sessionTicketKeys", "genericSecret"}
# what an element of a list is known by, the first that it has
_NAMED = ("name", "key", "clusterName", "header", "path", "prefix")


@dataclass(frozen=True, slots=True)
class Change:
    """One difference.

    Args:
        path: where, in the words of the message: `virtualHosts[catalog]/routes[1]/route/timeout`.
        change: added, removed, changed or moved.
        before: value in the first message.
        after: value in the second.
        config: path of the Istio object nearest above it.
    """

    path: str
    change: str
    before: Any
    after: Any
    config: str = ""


def canonical(value: Any) -> str:
    """Text that is the same for equal values."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False)


def meaning(value: Any, field: str = "", ordered: frozenset[str] = ORDERED) -> Any:
    """The value with every list whose order means nothing sorted."""
    if isinstance(value, dict):
        ordered = frozenset() if field in _NO_ORDER_BELOW else ordered
        return {key: meaning(one, key, ordered) for key, one in value.items()}
    if isinstance(value, list):
        elements = [meaning(one, "", ordered) for one in value]
        return elements if field in ordered else sorted(elements, key=canonical)
    return value


def compare(
    a: Any, b: Any, *, path: str = "", field: str = "", config: str = "", ordered: frozenset[str] = ORDERED
) -> Iterator[Change]:
    """The differences between two values of the same field, in the order of the path.

    Args:
        a: value before, with proto3 JSON names.
        b: value after.
        path: where they stand.
        field: name of the field.
        config: path of the Istio object they belong to.
        ordered: fields whose order has a meaning.
    """
    if type(a) is type(b) and canonical(meaning(a, field, ordered)) == canonical(meaning(b, field, ordered)):
        return
    walk = _Walk(frozenset() if field in _NO_ORDER_BELOW else ordered, istio_config(b) or istio_config(a) or config)
    if field in _SECRET:
        yield Change(path, "changed", "[redacted]", "[redacted]", walk.config)
    elif isinstance(a, dict) and isinstance(b, dict):
        yield from walk.dicts(a, b, path)
    elif isinstance(a, list) and isinstance(b, list):
        yield from walk.in_order(a, b, path, field) if field in ordered else walk.lists(a, b, path, field)
    else:
        yield Change(path, "changed", hide(a), hide(b), walk.config)


def istio_config(value: Any) -> str:
    """Path of the Istio object in the metadata of a message."""
    for key in ("metadata", "filterMetadata", "istio", "config"):
        value = value.get(key) if isinstance(value, dict) else None
    return value if isinstance(value, str) else ""


def hide(value: Any) -> Any:
    """The value without secrets."""
    if isinstance(value, dict):
        return {key: "[redacted]" if key in _SECRET else hide(one) for key, one in value.items()}
    return [hide(one) for one in value] if isinstance(value, list) else value


def label(value: Any, field: str) -> str:
    """What an element of a list is known by; empty if by nothing but its value."""
    if not isinstance(value, dict):
        return str(value)
    if field == "filterChains":
        return canonical(meaning(value.get("filterChainMatch", {})))
    if field == "lbEndpoints":
        endpoint = value.get("endpoint")
        return canonical(endpoint.get("address")) if isinstance(endpoint, dict) else ""
    if field == "endpoints":
        return canonical([value.get("locality") or {}, value.get("priority", 0)])
    return next((str(value[name]) for name in _NAMED if isinstance(value.get(name), str)), "")


@dataclass(frozen=True, slots=True)
class _Walk:
    ordered: frozenset[str]
    config: str

    def inner(self, a: Any, b: Any, path: str, field: str) -> Iterator[Change]:
        return compare(a, b, path=path, field=field, config=self.config, ordered=self.ordered)

    def only(self, value: Any, path: str, change: str) -> Change:
        config = istio_config(value) or _below(value) or self.config
        shown = hide(value)
        return Change(
            path, change, shown if change == "removed" else None, shown if change == "added" else None, config
        )

    def dicts(self, a: dict[str, Any], b: dict[str, Any], path: str) -> Iterator[Change]:
        for key in sorted(a.keys() | b.keys()):
            where = f"{path}/{key}" if path else key
            if key in _SECRET and (key in a) != (key in b):
                yield Change(where, "added" if key in b else "removed", None, None, self.config)
            elif key not in b:
                yield self.only(a[key], where, "removed")
            elif key not in a:
                yield self.only(b[key], where, "added")
            else:
                yield from self.inner(a[key], b[key], where, key)

    def lists(self, a: list[Any], b: list[Any], path: str, field: str) -> Iterator[Change]:
        """Elements in any order: equal ones are left out, the rest is paired by what it is known by."""
        left, right = _without_common(a, b, self.ordered)
        pairs, left, right = _paired(left, right, _shares(field))
        for one, other, name in pairs:
            yield from self.inner(one, other, f"{path}[{name}]", "")
        for change, values in (("removed", left), ("added", right)):
            for value in values:
                yield self.only(value, f"{path}[{_shown(value, field)}]", change)

    def in_order(self, a: list[Any], b: list[Any], path: str, field: str) -> Iterator[Change]:
        """Elements whose order has a meaning: one that stands elsewhere among the others has moved."""
        before, after = ([canonical(meaning(one, "", self.ordered)) for one in side] for side in (a, b))
        gone: list[tuple[int, str]] = []
        come: list[tuple[int, str]] = []
        stayed: list[tuple[int, int]] = []
        for tag, a1, a2, b1, b2 in SequenceMatcher(a=before, b=after, autojunk=False).get_opcodes():
            if tag == "equal":
                stayed += zip(range(a1, a2), range(b1, b2), strict=True)
            else:
                gone += [(index, before[index]) for index in range(a1, a2)]
                come += [(index, after[index]) for index in range(b1, b2)]
        moved = Counter(text for _, text in gone) & Counter(text for _, text in come)
        from_: dict[str, list[int]] = {}
        for index, text in gone:
            from_.setdefault(text, []).append(index)
        to: list[int] = []
        for index, text in come:
            if moved[text]:
                moved[text] -= 1
                old = from_[text].pop(0)
                yield self._moved(f"{path}[{_place(b[index], index, field)}]", old, index, b[index])
            else:
                to.append(index)
        left = sorted(index for rest in from_.values() for index in rest)
        yield from self._rest({i: a[i] for i in left}, {i: b[i] for i in to}, path, field, stayed)

    def _rest(
        self, gone: dict[int, Any], come: dict[int, Any], path: str, field: str, stayed: list[tuple[int, int]]
    ) -> Iterator[Change]:
        """What is in one list alone: paired by name or match while that is told, then added and removed."""
        known = _route_key if field == "routes" else _shares(field)
        pairs, gone_left, come_left = _paired([*gone.values()], [*come.values()], known)
        was, is_ = ({id(value): index for index, value in side.items()} for side in (gone, come))
        for one, other, _ in pairs:
            old, new = was[id(one)], is_[id(other)]
            where = f"{path}[{_place(other, new, field)}]"
            yield from self.inner(one, other, where, "")
            if any((old < before) != (new < after) for before, after in stayed):
                yield self._moved(where, old, new, other)
            else:
                stayed.append((old, new))
        for value in gone_left:
            yield self.only(value, f"{path}[{_place(value, was[id(value)], field)}]", "removed")
        for value in come_left:
            yield self.only(value, f"{path}[{_place(value, is_[id(value)], field)}]", "added")

    def _moved(self, path: str, old: int, new: int, value: Any) -> Change:
        return Change(path, "moved", old, new, istio_config(value) or self.config)


Known = Callable[[Any], list[str]]


def _shares(field: str) -> Known:
    if field == "virtualHosts":
        # no domain stands in two virtual hosts of a configuration
        return lambda value: _domains(value)
    return lambda value: [name] if isinstance(value, dict) and (name := label(value, field)) else []


def _place(value: Any, index: int, field: str) -> str:
    """Where an element of an ordered list stands: a route by its number, a filter by its name."""
    return str(index) if field == "routes" else label(value, field) or str(index)


def _domains(host: Any) -> list[str]:
    domains = host.get("domains") if isinstance(host, dict) else None
    return [str(one) for one in domains] if isinstance(domains, list) else []


def _route_key(value: Any) -> list[str]:
    if not isinstance(value, dict):
        return []
    return [
        canonical([value.get("name"), value.get("match")]),
        canonical(value.get("match")),
        f"name {value.get('name')}",
    ]


def _without_common(a: list[Any], b: list[Any], ordered: frozenset[str]) -> tuple[list[Any], list[Any]]:
    first = [(canonical(meaning(one, "", ordered)), one) for one in a]
    second = [(canonical(meaning(one, "", ordered)), one) for one in b]
    return _less(first, Counter(text for text, _ in second)), _less(second, Counter(text for text, _ in first))


def _less(side: list[tuple[str, Any]], other: Counter[str]) -> list[Any]:
    rest = []
    for text, value in side:
        if other[text]:
            other[text] -= 1
        else:
            rest.append(value)
    return rest


def _paired(a: list[Any], b: list[Any], known: Known) -> tuple[list[tuple[Any, Any, str]], list[Any], list[Any]]:
    """Pairs that share what they are known by, with that; and the rest of either side."""
    pairs: list[tuple[Any, Any, str]] = []
    free = dict(enumerate(b))
    by_name: dict[str, list[int]] = {}
    for index, value in free.items():
        for name in known(value):
            by_name.setdefault(name, []).append(index)
    rest = []
    for value in a:
        found = next(((index, name) for name in known(value) for index in by_name.get(name, ()) if index in free), None)
        if found is None:
            rest.append(value)
        else:
            pairs.append((value, free.pop(found[0]), _short(found[1])))
    return pairs, rest, list(free.values())


def _shown(value: Any, field: str) -> str:
    if field == "virtualHosts" and isinstance(value, dict):
        return _short(str(value.get("name") or ",".join(_domains(value))))
    return _short(label(value, field) or canonical(value))


def _short(text: str) -> str:
    return text if len(text) <= 120 else text[:117] + "..."


def _below(value: Any) -> str:
    """The Istio object of the first message below that has one: a virtual host has none, its routes do."""
    children = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for child in children:
        found = istio_config(child) or _below(child)
        if found:
            return found
    return ""
