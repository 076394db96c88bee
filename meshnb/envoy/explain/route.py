"""One route: whether a request matches it, and if not, which comparison failed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from meshnb.envoy.explain.fields import Message, child, flag, has, items, number, text, value
from meshnb.envoy.explain.headers import Headers
from meshnb.envoy.explain.match import HeaderMatcher, QueryMatcher, StringMatcher, lower, query_of
from meshnb.envoy.explain.path import without_parameters, without_query
from meshnb.envoy.explain.regex import full_match
from meshnb.envoy.explain.verdict import Miss, Unknown, Verdict

DENOMINATORS = {"HUNDRED": 100, "TEN_THOUSAND": 10_000, "MILLION": 1_000_000}
_PATH_KINDS = ("prefix", "path", "path_separated_prefix")
_UNKNOWN_KINDS = {
    "path_match_policy": "path match policy is an extension",
    "dynamic_metadata": "dynamic metadata",
    "filter_state": "filter state",
    "cookies": "cookie matchers",
}


@dataclass(slots=True)
class View:
    """A request as route matching sees it: after normalization, with what the connection adds."""

    headers: Headers
    path: str | None
    query: Mapping[str, str] = field(default_factory=dict)
    client_certificate: bool | None = None
    metadata: Mapping[str, Any] | None = None
    runtime: Mapping[str, Any] = field(default_factory=dict)
    runtime_unknown: str = ""

    @classmethod
    def of(cls, headers: Headers, **known: Any) -> View:
        """From headers alone; path and query are those of `:path`."""
        path = headers.first(":path")
        return cls(headers, path, query_of(path or ""), **known)


class Route:
    """A route compiled.

    Args:
        config: JSON of a `Route`.
        index: its position in the virtual host.
        ignore_path_parameters: which `;parameters` of a path are left out: `segments` for all, `rest` for the first
            with everything behind it, empty for none.
    """

    __slots__ = (
        "_compared",
        "config",
        "fraction",
        "grpc",
        "headers",
        "ignore_case",
        "ignore_path_parameters",
        "index",
        "kind",
        "match",
        "name",
        "query",
        "runtime_key",
        "undecided",
        "value",
    )

    def __init__(self, config: Message, index: int, *, ignore_path_parameters: str = "") -> None:
        self.config = config
        self.index = index
        self.name = text(config, "name")
        self.match = match = child(config, "match")
        self.ignore_path_parameters = ignore_path_parameters
        self.kind, self.value = _path_rule(match)
        self.ignore_case = not flag(match, "case_sensitive", default=True) and self.kind != "safe_regex"
        self._compared = lower(self.value) if self.ignore_case else self.value
        self.headers = [HeaderMatcher(header) for header in items(match, "headers")]
        self.query = [QueryMatcher(parameter) for parameter in items(match, "query_parameters")]
        self.grpc = has(match, "grpc")
        self.undecided = [why for name, why in _UNKNOWN_KINDS.items() if value(match, name)]
        fraction = child(match, "runtime_fraction")
        self.runtime_key = text(fraction, "runtime_key")
        self.fraction = percentage(child(fraction, "default_value")) if has(match, "runtime_fraction") else None

    @property
    def title(self) -> str:
        """How the route is shown: position, name and path rule."""
        name = f' "{self.name}"' if self.name else ""
        return f"#{self.index}{name} {self.rule}"

    @property
    def rule(self) -> str:
        """The path rule in words."""
        kind = {"safe_regex": "regex", "connect_matcher": "CONNECT"}.get(self.kind, self.kind.replace("_", " "))
        return f"{kind} {self.value}".rstrip() + (" ignoring case" if self.ignore_case else "")

    def verdict(self, view: View) -> Verdict:
        """Compare with a request in Envoy's order. A runtime fraction is left to the caller.

        Returns:
            `None` for a match, a `Miss` if any comparison fails, else what is not known.
        """
        missed = self._path_verdict(view)
        if isinstance(missed, Miss):
            return missed
        unknown = missed
        if self.grpc and (missed := self._grpc_verdict(view)) is not None:
            return missed
        for matcher in self.headers:
            found = matcher.verdict(view.headers)
            if isinstance(found, Miss):
                return found
            unknown = unknown or found
        for parameter in self.query:
            found = parameter.verdict(view.query)
            if isinstance(found, Miss):
                return found
            unknown = unknown or found
        found = self._context_verdict(view)
        return found if isinstance(found, Miss) else unknown or found

    def _path_verdict(self, view: View) -> Verdict:
        if self.kind == "connect_matcher":
            method = view.headers.first(":method")
            return None if method == "CONNECT" else Miss(f"CONNECT requests only: the method is {method}")
        if view.path is None:
            return Miss("the request has no path; only a CONNECT route takes it")
        path = without_query(view.path)
        if self.ignore_path_parameters and ";" in path:
            by_segment = self.ignore_path_parameters == "segments"
            path = without_parameters(path) if by_segment else path.partition(";")[0]
        if self.kind == "safe_regex":
            matches = full_match(self.value, path)
            if isinstance(matches, Unknown):
                return Unknown(f"regex {self.value}: {matches}")
            return None if matches else Miss(f'regex {self.value} does not match all of "{path}"')
        if self.kind == "path_match_policy":
            return None
        compared = lower(path) if self.ignore_case else path
        return self._text_verdict(path, compared)

    def _text_verdict(self, path: str, compared: str) -> Verdict:
        if self.kind == "path":
            return None if compared == self._compared else Miss(f'path "{path}" is not "{self.value}"')
        if not compared.startswith(self._compared):
            return Miss(f'path "{path}" does not start with "{self.value}"')
        if self.kind == "path_separated_prefix":
            rest = compared[len(self._compared) :]
            if rest and not rest.startswith("/"):
                return Miss(f'path "{path}" goes on after "{self.value}" without a slash')
        return None

    def _grpc_verdict(self, view: View) -> Verdict:
        if is_grpc(view.headers):
            return None
        return Miss(f"gRPC requests only: content-type is {view.headers.get('content-type') or 'absent'}")

    def _context_verdict(self, view: View) -> Verdict:
        context = child(self.match, "tls_context")
        if has(context, "presented"):
            wanted = flag(context, "presented")
            if view.client_certificate is None:
                return Unknown("whether the client presents a certificate is not given")
            if view.client_certificate != wanted:
                return Miss(f"tls_context: a client certificate is {'not ' if wanted else ''}presented")
        if has(context, "validated"):
            wanted = flag(context, "validated")
            if view.client_certificate is None:
                return Unknown("whether the client certificate is validated is not given")
            if not view.client_certificate and wanted:
                return Miss("tls_context: no client certificate is validated")
        if view.metadata is not None and "dynamic metadata" in self.undecided:
            return self._metadata_verdict(view.metadata)
        return Unknown(f"{self.undecided[0]} cannot be decided from a dump") if self.undecided else None

    def _metadata_verdict(self, metadata: Mapping[str, Any]) -> Verdict:
        for matcher in items(self.match, "dynamic_metadata"):
            path = [text(step, "key") for step in items(matcher, "path")]
            name = ".".join([text(matcher, "filter"), *path])
            found: Any = metadata.get(text(matcher, "filter"))
            for key in path:
                found = found.get(key) if isinstance(found, Mapping) else None
            matches = metadata_value(child(matcher, "value"), found)
            if isinstance(matches, Unknown):
                return matches
            if matches == flag(matcher, "invert"):
                return Miss(f"dynamic metadata {name} is {found!r:.80}")
        rest = [why for why in self.undecided if why != "dynamic metadata"]
        return Unknown(f"{rest[0]} cannot be decided from a dump") if rest else None


def _path_rule(match: Message) -> tuple[str, str]:
    for kind in _PATH_KINDS:
        if has(match, kind):
            return kind, text(match, kind)
    if has(match, "safe_regex"):
        return "safe_regex", text(child(match, "safe_regex"), "regex")
    if has(match, "connect_matcher"):
        return "connect_matcher", ""
    if has(match, "path_match_policy"):
        return "path_match_policy", text(child(match, "path_match_policy"), "name")
    # A oneof of strings printed without its empty value: prefix "" matches every path.
    return "prefix", ""


def is_grpc(headers: Headers) -> bool:
    """Whether a request is gRPC: it has a path and the content type."""
    kind = headers.get("content-type")
    if headers.first(":path") is None or not isinstance(kind, str):
        return False
    return re.fullmatch(r"application/grpc(\+.*)?", kind, re.DOTALL) is not None


def metadata_value(matcher: Message, found: Any) -> bool | Unknown:
    """Envoy's ValueMatcher on one metadata value, `None` if it is absent."""
    if has(matcher, "present_match"):
        return (found is not None) == flag(matcher, "present_match")
    if has(matcher, "string_match"):
        return isinstance(found, str) and StringMatcher.of(child(matcher, "string_match")).test(found)
    if has(matcher, "bool_match"):
        return isinstance(found, bool) and found == flag(matcher, "bool_match")
    if has(matcher, "null_match"):
        return found is None
    return Unknown("this kind of metadata value matcher")


def percentage(config: Message) -> tuple[int, int]:
    """A FractionalPercent as numerator and denominator.

    Example:
        >>> percentage({"numerator": 5, "denominator": "TEN_THOUSAND"})
        (5, 10000)
    """
    denominator = DENOMINATORS.get(text(config, "denominator", "HUNDRED"), 100)
    return min(number(config, "numerator"), denominator), denominator
