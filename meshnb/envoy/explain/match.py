"""String, header and query parameter matchers, each saying why it does not match."""

from __future__ import annotations

import re
from collections.abc import Mapping

from meshnb.envoy.explain.fields import Message, child, flag, has, number, text
from meshnb.envoy.explain.headers import Headers
from meshnb.envoy.explain.regex import full_match
from meshnb.envoy.explain.verdict import Miss, Unknown, Verdict

_UPPER_TO_LOWER = {code: code + 32 for code in range(ord("A"), ord("Z") + 1)}
_INTEGER = re.compile(r"[ \t\n\v\f\r]*([+-]?[0-9]{1,25})[ \t\n\v\f\r]*")
_STRING_KINDS = ("exact", "prefix", "suffix", "contains", "safe_regex", "custom")


def lower(value: str) -> str:
    """Lower case of ASCII letters only, as Envoy compares."""
    return value.lower() if value.isascii() else value.translate(_UPPER_TO_LOWER)


class StringMatcher:
    """Envoy's StringMatcher."""

    __slots__ = ("_compared", "ignore_case", "kind", "value")

    def __init__(self, kind: str, value: str, *, ignore_case: bool = False) -> None:
        self.kind = kind
        self.value = value
        self.ignore_case = ignore_case and kind != "safe_regex"
        self._compared = lower(value) if self.ignore_case else value

    @classmethod
    def of(cls, config: Message) -> StringMatcher:
        """From the JSON of a `StringMatcher`."""
        for kind in _STRING_KINDS:
            if kind in ("safe_regex", "custom"):
                if has(config, kind):
                    return cls(kind, text(child(config, kind), "regex" if kind == "safe_regex" else "name"))
            elif has(config, kind):
                return cls(kind, text(config, kind), ignore_case=flag(config, "ignore_case"))
        # A proto3 oneof of strings that is printed without its empty value: exact "".
        return cls("exact", "", ignore_case=flag(config, "ignore_case"))

    def test(self, value: str) -> bool | Unknown:
        """Whether the value matches."""
        if self.ignore_case:
            value = lower(value)
        match self.kind:
            case "exact":
                return value == self._compared
            case "prefix":
                return value.startswith(self._compared)
            case "suffix":
                return value.endswith(self._compared)
            case "contains":
                return self._compared in value
            case "safe_regex":
                return full_match(self.value, value)
        return Unknown(f"string matcher {self.value or self.kind} is an extension")

    def __str__(self) -> str:
        kind = "regex" if self.kind == "safe_regex" else self.kind
        return f'{kind} "{self.value}"' + (" ignoring case" if self.ignore_case else "")


class HeaderMatcher:
    """Envoy's HeaderMatcher, in its current and its deprecated forms."""

    __slots__ = ("_end", "_start", "config", "empty_if_missing", "invert", "kind", "name", "string")

    def __init__(self, config: Message) -> None:
        self.config = config
        self.name = text(config, "name").lower()
        self.invert = flag(config, "invert_match")
        self.empty_if_missing = flag(config, "treat_missing_header_as_empty")
        self.string: StringMatcher | None = None
        self.kind = "present"
        self._start = self._end = 0
        if has(config, "string_match"):
            self.kind, self.string = "string", StringMatcher.of(child(config, "string_match"))
        elif has(config, "range_match"):
            self.kind = "range"
            self._start = number(child(config, "range_match"), "start")
            self._end = number(child(config, "range_match"), "end")
        elif has(config, "safe_regex_match"):
            regex = text(child(config, "safe_regex_match"), "regex")
            self.kind, self.string = "string", StringMatcher("safe_regex", regex)
        elif has(config, "present_match"):
            self.kind = "present" if flag(config, "present_match") else "absent"
        else:
            for kind in ("exact", "prefix", "suffix", "contains"):
                if has(config, f"{kind}_match"):
                    self.kind, self.string = "string", StringMatcher(kind, text(config, f"{kind}_match"))
                    if kind == "exact" and not self.string.value:
                        self.kind = "any"

    def __str__(self) -> str:
        what = {"present": "present", "absent": "absent", "any": "any value"}.get(self.kind, "")
        if self.kind == "range":
            what = f"in [{self._start}, {self._end})"
        return f"header {self.name} {'not ' if self.invert else ''}{what or self.string}"

    def verdict(self, headers: Headers) -> Verdict:
        """Compare with the headers of a request."""
        found = headers.all(self.name)
        if isinstance(found, Unknown):
            return self._of_unknown(found, headers)
        if self.kind in ("present", "absent"):
            is_there = bool(found) or self.empty_if_missing
            matches: bool | Unknown = (is_there != self.invert) == (self.kind == "present")
        elif not found and not self.empty_if_missing:
            return Miss(f"{self}: the request has none")
        else:
            matches = self._any(found or [""])
            if isinstance(matches, Unknown):
                return Unknown(f"{self}: {matches}")
            matches = matches != self.invert
        if matches:
            return None
        shown = " and ".join(f'"{value[:200]}"' for value in found[:4])
        return Miss(f"{self}: the request has {shown or 'none'}")

    def _any(self, found: list[str]) -> bool | Unknown:
        unknown: Unknown | None = None
        for value in found:
            matches = self.matches_value(value)
            if matches is True:
                return True
            if isinstance(matches, Unknown):
                unknown = matches
        return unknown or False

    def _of_unknown(self, found: Unknown, headers: Headers) -> Verdict:
        if headers.surely_present(self.name) and self.kind in ("present", "absent"):
            return None if (not self.invert) == (self.kind == "present") else Miss(f"{self}: the request has it")
        return Unknown(f"{self}: {found}")

    def matches_value(self, found: str) -> bool | Unknown:
        """Whether one value matches, before inversion."""
        if self.kind == "any":
            return True
        if self.kind == "range":
            match = _INTEGER.fullmatch(found)
            whole = int(match[1]) if match else 1 << 70
            return -(1 << 63) <= whole < 1 << 63 and self._start <= whole < self._end
        assert self.string is not None  # noqa: S101 - every other kind has one
        return self.string.test(found)


class QueryMatcher:
    """Envoy's QueryParameterMatcher: compares the first value of a name, without decoding it."""

    __slots__ = ("config", "name", "present", "string")

    def __init__(self, config: Message) -> None:
        self.config = config
        self.name = text(config, "name")
        self.string = StringMatcher.of(child(config, "string_match")) if has(config, "string_match") else None
        self.present = flag(config, "present_match") if has(config, "present_match") else None

    def __str__(self) -> str:
        if self.string is not None:
            return f"query {self.name} {self.string}"
        return f"query {self.name} {'absent' if self.present is False else 'present'}"

    def verdict(self, query: Mapping[str, str]) -> Verdict:
        """Compare with the query parameters of a request."""
        found = query.get(self.name)
        if self.string is None:
            if (found is not None) == (self.present is not False):
                return None
        elif found is not None:
            matches = self.string.test(found)
            if isinstance(matches, Unknown):
                return Unknown(f"{self}: {matches}")
            if matches:
                return None
        return Miss(f"{self}: " + ("the request has none" if found is None else f'the request has "{found[:200]}"'))


def query_of(path: str) -> dict[str, str]:
    """The first value of each query parameter, undecoded.

    Example:
        >>> query_of("/items?a=1&a=2&b&c=x=y")
        {'a': '1', 'b': '', 'c': 'x=y'}
    """
    start = path.find("?")
    found: dict[str, str] = {}
    if start >= 0 and start + 1 < len(path):
        for part in path[start + 1 :].split("&"):
            name, _, setting = part.partition("=")
            found.setdefault(name, setting)
    return found
