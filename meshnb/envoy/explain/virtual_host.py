"""Which virtual host of a route configuration a Host header selects."""

from __future__ import annotations

from dataclasses import dataclass, field

from meshnb.envoy.explain.explanation import Lost
from meshnb.envoy.explain.fields import Message, flag, items, text, texts
from meshnb.envoy.explain.headers import Headers
from meshnb.envoy.explain.match import lower
from meshnb.envoy.explain.route import Route
from meshnb.envoy.explain.rules import Rules

_SHOWN = 12


def port_start(host: str) -> int:
    """Where the `:port` of a Host header begins, -1 if it has none; knows IPv6 in brackets.

    Example:
        >>> port_start("shop:80"), port_start("[::1]"), port_start("[::1]:80")
        (4, -1, 5)
    """
    start, bracket = host.rfind(":"), host.rfind("]")
    return start if start >= 0 and bracket < start else -1


@dataclass(slots=True)
class VirtualHost:
    """A virtual host with its routes compiled."""

    name: str
    domains: list[str]
    config: Message
    routes: list[Route]
    require_tls: str = "NONE"

    @classmethod
    def of(cls, config: Message, *, ignore_path_parameters: str = "") -> VirtualHost:
        """From the JSON of a `VirtualHost`."""
        routes = [
            Route(route, index, ignore_path_parameters=ignore_path_parameters)
            for index, route in enumerate(items(config, "routes"))
        ]
        return cls(text(config, "name"), texts(config, "domains"), config, routes, text(config, "require_tls", "NONE"))


@dataclass(slots=True)
class HostChoice:
    """Which virtual host was chosen, by which domain, and which were not."""

    host: VirtualHost | None
    because: str
    lost: tuple[Lost, ...] = ()
    more: int = 0


@dataclass(slots=True)
class RouteTable:
    """A route configuration, its virtual hosts found by domain as Envoy finds them.

    Virtual hosts are compiled when first chosen: a sidecar has thousands and a request needs one.
    """

    name: str
    config: Message
    ignore_port: bool = False
    _ignore_path_parameters: str = ""
    _exact: dict[str, int] = field(default_factory=dict)
    _suffixes: dict[int, dict[str, int]] = field(default_factory=dict)
    _prefixes: dict[int, dict[str, int]] = field(default_factory=dict)
    _default: int | None = None
    _configs: list[Message] = field(default_factory=list)
    _made: dict[int, VirtualHost] = field(default_factory=dict)
    # domains by host and by first label, to name the near misses
    _similar: dict[str, list[tuple[int, str]]] = field(default_factory=dict)

    @classmethod
    def of(cls, config: Message, rules: Rules = Rules()) -> RouteTable:  # noqa: B008 - immutable
        """From the JSON of a `RouteConfiguration`."""
        ignored = "segments" if rules.parameters_by_segment else "rest"
        table = cls(
            text(config, "name"),
            config,
            flag(config, "ignore_port_in_host_matching"),
            ignored if flag(config, "ignore_path_parameters_in_path_matching") else "",
            _configs=items(config, "virtual_hosts"),
        )
        for index, host in enumerate(table._configs):
            for domain in texts(host, "domains"):
                table._add(lower(domain), index)
        # Longest first: that is the order in which Envoy tries wildcards.
        table._suffixes = dict(sorted(table._suffixes.items(), reverse=True))
        table._prefixes = dict(sorted(table._prefixes.items(), reverse=True))
        return table

    def _add(self, domain: str, index: int) -> None:
        bare = _without_port(domain)
        for key in {bare, bare.split(".")[0]}:
            similar = self._similar.setdefault(key, [])
            if len(similar) < _SHOWN:
                similar.append((index, domain))
        if domain == "*":
            if self._default is None:
                self._default = index
        elif domain.startswith("*"):
            self._suffixes.setdefault(len(domain) - 1, {}).setdefault(domain[1:], index)
        elif domain.endswith("*"):
            self._prefixes.setdefault(len(domain) - 1, {}).setdefault(domain[:-1], index)
        else:
            self._exact.setdefault(domain, index)

    def hosts(self) -> list[VirtualHost]:
        """All virtual hosts, compiled."""
        return [self._host(index) for index in range(len(self._configs))]

    def _host(self, index: int) -> VirtualHost:
        if index not in self._made:
            self._made[index] = VirtualHost.of(
                self._configs[index], ignore_path_parameters=self._ignore_path_parameters
            )
        return self._made[index]

    def choose(self, headers: Headers) -> HostChoice:
        """The virtual host for a request: exact domain, longest suffix, longest prefix, then `*`."""
        if not self._exact and not self._suffixes and not self._prefixes:
            if self._default is None:
                return HostChoice(None, "the route configuration has no virtual host")
            return HostChoice(self._host(self._default), 'domain "*", the only virtual host')
        host = headers.first(":authority")
        if host is None:
            return HostChoice(None, "the request has no Host header")
        if self.ignore_port and (start := port_start(host)) >= 0:
            host = host[:start]
        host = lower(host)
        index, because = self._find(host)
        chosen = None if index is None else self._host(index)
        return HostChoice(chosen, because, *self._losers(host, index))

    def _find(self, host: str) -> tuple[int | None, str]:
        if host in self._exact:
            return self._exact[host], f'domain "{host}" is the host'
        for length, suffixes in self._suffixes.items():
            # A wildcard stands for at least one character: *.example does not match .example.
            if length < len(host) and host[-length:] in suffixes:
                return suffixes[host[-length:]], f'domain "*{host[-length:]}" is the longest suffix of "{host}"'
        for length, prefixes in self._prefixes.items():
            if length < len(host) and host[:length] in prefixes:
                return prefixes[host[:length]], f'domain "{host[:length]}*" is the longest prefix of "{host}"'
        if self._default is not None:
            return self._default, f'domain "*": no other domain matches "{host}"'
        return None, f'no domain matches "{host}"'

    def _losers(self, host: str, chosen: int | None) -> tuple[tuple[Lost, ...], int]:
        """Virtual hosts that were not chosen: those that match less exactly, then the most similar ones."""
        shown: dict[int, str] = {}
        for index, domain in self._matching(host):
            if index != chosen:
                shown.setdefault(index, f'domain "{domain}" matches too, less exactly')
        bare = _without_port(host)
        for index, domain in (*self._similar.get(bare, ()), *self._similar.get(bare.split(".")[0], ())):
            if index != chosen:
                shown.setdefault(index, _why_not(domain, host))
        for index, config in enumerate(self._configs[:4] if not shown else ()):
            if index != chosen:
                shown[index] = _why_not(lower(next(iter(texts(config, "domains")), "")), host)
        lost = [Lost(text(self._configs[index], "name"), why) for index, why in list(shown.items())[:_SHOWN]]
        return tuple(lost), len(self._configs) - (chosen is not None) - len(lost)

    def _matching(self, host: str) -> list[tuple[int, str]]:
        """Every domain that matches, the best first."""
        found = [(self._exact[host], host)] if host in self._exact else []
        for length, suffixes in self._suffixes.items():
            if length < len(host) and host[-length:] in suffixes:
                found.append((suffixes[host[-length:]], f"*{host[-length:]}"))
        for length, prefixes in self._prefixes.items():
            if length < len(host) and host[:length] in prefixes:
                found.append((prefixes[host[:length]], f"{host[:length]}*"))
        return found + ([(self._default, "*")] if self._default is not None else [])


def _without_port(host: str) -> str:
    start = port_start(host)
    return host[:start] if start >= 0 else host


def _why_not(domain: str, host: str) -> str:
    if _without_port(host) == _without_port(domain) and host != domain:
        return f'domain "{domain}" differs from "{host}" in the port'
    if domain.startswith("*"):
        return f'"{host}" does not end with "{domain[1:]}"'
    if domain.endswith("*"):
        return f'"{host}" does not start with "{domain[:-1]}"'
    return f'domain "{domain}" is not "{host}"'
