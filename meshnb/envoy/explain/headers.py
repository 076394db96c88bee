"""The headers of a request as Envoy's route matching sees them, with those whose value cannot be known."""

from __future__ import annotations

from collections.abc import Iterable

from meshnb.envoy.explain.verdict import Unknown

INLINE = frozenset({
    ":authority", ":method", ":path", ":scheme", "accept", "accept-encoding", "authorization",
    "cache-control", "origin", "pragma", "referer", "user-agent", "content-type", "content-encoding",
    "x-forwarded-for", "x-forwarded-host", "x-forwarded-port", "x-forwarded-proto", "x-forwarded-client-cert",
    "x-request-id", "x-client-trace-id", "x-envoy-original-path", "x-envoy-original-host",
    "x-envoy-decorator-operation", "x-envoy-downstream-service-cluster", "x-envoy-downstream-service-node",
    "x-envoy-external-address", "x-envoy-attempt-count", "expect", "grpc-timeout", "grpc-accept-encoding",
    "via", "access-control-request-method", "access-control-request-headers", "if-none-match",
    "if-modified-since", "if-match", "if-range", "if-unmodified-since", "x-envoy-retry-on",
    "x-envoy-retry-grpc-on", "x-envoy-max-retries", "x-envoy-upstream-rq-timeout-ms",
    "x-envoy-upstream-rq-per-try-timeout-ms", "x-envoy-upstream-alt-stat-name", "x-envoy-internal",
    "x-envoy-force-trace", "x-envoy-hedge-on-per-try-timeout", "x-envoy-ip-tags",
    "x-envoy-expected-rq-timeout-ms", "x-envoy-upstream-stream-duration-ms", "x-envoy-retriable-status-codes",
    "x-envoy-retriable-header-names",
})  # fmt: skip
"""Headers Envoy keeps once: several are joined by a comma. Of any other name, each is compared on its own."""


class Headers:
    """Headers by lower-case name.

    Args:
        pairs: names in lower case, with values.
        partial: there may be others.
        one_by_one: headers of one name are compared each on its own, as newer versions do.
    """

    __slots__ = ("_maybe", "_one_by_one", "_partial", "_sure", "_values")

    def __init__(
        self, pairs: Iterable[tuple[str, str]] = (), *, partial: bool = False, one_by_one: bool = True
    ) -> None:
        self._partial = partial
        self._one_by_one = one_by_one
        self._values: dict[str, list[str]] = {}
        self._sure: dict[str, str] = {}
        self._maybe: dict[str, str] = {}
        for name, text in pairs:
            self._values.setdefault(name, []).append(text)

    def all(self, name: str) -> list[str] | Unknown:
        """The values a matcher compares with, empty if there are none, or what is not known about them."""
        name = ":authority" if name == "host" else name
        if name in self._sure:
            return Unknown(self._sure[name])
        if name in self._maybe:
            return Unknown(self._maybe[name])
        found = self._values.get(name, [])
        if self._partial and not found and not name.startswith(":"):
            return Unknown("the log does not show it")
        if len(found) > 1 and name in INLINE:
            return [",".join(text for text in found if text)]
        return found if self._one_by_one or len(found) < 2 else [",".join(found)]

    def get(self, name: str) -> str | Unknown | None:
        """All values as one, `None` if there is none, or what is not known."""
        found = self.all(name)
        return found if isinstance(found, Unknown) else ",".join(found) if found else None

    def first(self, name: str) -> str | None:
        """The first value, `None` if there is none or it is not known."""
        found = self._values.get(":authority" if name == "host" else name)
        return found[0] if found else None

    def count(self, name: str) -> int:
        """How many headers of the name there are."""
        return len(self._values.get(name, ()))

    def surely_present(self, name: str) -> bool:
        """Whether a header of unknown value is there for sure."""
        return name in self._sure

    def set(self, name: str, text: str) -> None:
        """Replace a header."""
        self._values[name] = [text]
        self._sure.pop(name, None)
        self._maybe.pop(name, None)

    def remove(self, name: str) -> None:
        """Drop a header."""
        self._values.pop(name, None)

    def unknown(self, name: str, why: str, *, present: bool) -> None:
        """Say that a header's value is not known."""
        (self._sure if present else self._maybe)[name] = why

    def pairs(self) -> list[tuple[str, str]]:
        """All known headers, for display."""
        return [(name, text) for name, found in self._values.items() for text in found]
