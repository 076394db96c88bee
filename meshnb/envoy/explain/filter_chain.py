"""Which filter chain takes a connection: Envoy's sieve of nine levels, most specific first, without going back."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from meshnb.envoy.explain.explanation import Lost
from meshnb.envoy.explain.fields import Message, child, has, items, number, numbers, text, texts
from meshnb.envoy.explain.verdict import Unknown
from meshnb.errors import FormatError

Network = IPv4Network | IPv6Network
Address = IPv4Address | IPv6Address
_LOOPBACK = (ip_address("127.0.0.1"), ip_address("::1"))
_FAKE = ip_address("255.255.255.255")


@dataclass(frozen=True, slots=True)
class Connection:
    """A connection as the listener sees it, after its listener filters.

    A field is `Unknown` where it is not given; that matters only if a chain asks for it.
    """

    port: int
    address: str | Unknown
    server_name: str
    transport: str
    protocols: tuple[str, ...]
    direct_source: str | Unknown
    source: str | Unknown
    source_port: int | Unknown


@dataclass(slots=True)
class Chain:
    """A filter chain and what it asks for."""

    config: Message
    index: int
    name: str
    port: int
    addresses: tuple[Network, ...]
    server_names: tuple[str, ...]
    transport: str
    protocols: tuple[str, ...]
    direct_sources: tuple[Network, ...]
    source_type: str
    sources: tuple[Network, ...]
    source_ports: tuple[int, ...]

    @classmethod
    def of(cls, config: Message, index: int) -> Chain:
        """From the JSON of a `FilterChain`."""
        match = child(config, "filter_chain_match")
        kind = text(match, "source_type", "ANY")
        return cls(
            config,
            index,
            text(config, "name") or f"#{index}",
            number(match, "destination_port"),
            _networks(match, "prefix_ranges"),
            tuple(name.lower().removeprefix("*") for name in texts(match, "server_names")),
            text(match, "transport_protocol"),
            tuple(texts(match, "application_protocols")),
            _networks(match, "direct_source_prefix_ranges"),
            {"LOCAL": "SAME_IP_OR_LOOPBACK"}.get(kind, kind),
            _networks(match, "source_prefix_ranges"),
            tuple(numbers(match, "source_ports")),
        )

    @property
    def asks(self) -> str:
        """What the chain asks for, in words."""
        parts = [f"destination port {self.port}"] if self.port else []
        for what, found in (
            ("destination", self.addresses),
            ("server name", tuple(f"*{n}" if n.startswith(".") else n for n in self.server_names)),
            ("transport", (self.transport,) if self.transport else ()),
            ("application protocol", self.protocols),
            ("direct source", self.direct_sources),
            ("source type", () if self.source_type == "ANY" else (self.source_type,)),
            ("source", self.sources),
            ("source port", self.source_ports),
        ):
            if found:
                parts.append(f"{what} {'|'.join(map(str, found))}")
        return ", ".join(parts) or "anything"

    def key(self) -> tuple[object, ...]:
        """Two chains with the same key match the same connections; Envoy refuses such a listener."""
        return (
            self.port,
            frozenset(self.addresses),
            frozenset(self.server_names),
            self.transport,
            frozenset(self.protocols),
            frozenset(self.direct_sources),
            self.source_type,
            frozenset(self.sources),
            frozenset(self.source_ports),
        )


@dataclass(frozen=True, slots=True)
class ChainChoice:
    """The chain chosen, if any; `is_default` if it is the default chain, for want of another."""

    chain: Chain | None
    because: str
    lost: tuple[Lost, ...] = ()
    undecided: str = ""
    is_default: bool = False


def _networks(match: Message, name: str) -> tuple[Network, ...]:
    found = []
    for entry in items(match, name):
        address = text(entry, "address_prefix")
        length = number(entry, "prefix_len") if has(entry, "prefix_len") else 0
        try:
            found.append(ip_network(f"{address}/{length}", strict=False))
        except ValueError as error:
            raise FormatError(f"{name}: {error}", position=name) from error
    return tuple(found)


# How a level chooses: from the connection and the keys on offer, the key to take and what the connection has.
Choose = Callable[[Connection, set[object]], tuple[object, str] | Unknown]
Level = tuple[str, Callable[[Chain], Iterable[object]], Choose]


def _port(connection: Connection, keys: set[object]) -> tuple[object, str] | Unknown:
    return connection.port, str(connection.port)


def _most_specific(found: str | Unknown, keys: set[object]) -> tuple[object, str] | Unknown:
    networks = [key for key in keys if isinstance(key, IPv4Network | IPv6Network)]
    if isinstance(found, Unknown):
        return found if networks else ("", "any")
    address = parse_ip(found) if found else _FAKE
    best = max(
        (n for n in networks if n.version == address.version and address in n),
        key=lambda n: n.prefixlen,
        default="",
    )
    return best, found or "no IP"


def _server_name(connection: Connection, keys: set[object]) -> tuple[object, str] | Unknown:
    name = connection.server_name
    shown = name or "none"
    if name and name in keys:
        return name, shown
    position = name.find(".", 1)
    while 0 <= position < len(name) - 1:
        if name[position:] in keys:
            return name[position:], shown
        position = name.find(".", position + 1)
    return "", shown


def _transport(connection: Connection, keys: set[object]) -> tuple[object, str] | Unknown:
    return (connection.transport if connection.transport in keys else ""), connection.transport


def _protocol(connection: Connection, keys: set[object]) -> tuple[object, str] | Unknown:
    shown = ",".join(connection.protocols) or "none"
    return next((protocol for protocol in connection.protocols if protocol in keys), ""), shown


def _source_type(connection: Connection, keys: set[object]) -> tuple[object, str] | Unknown:
    if keys == {"ANY"}:
        return "ANY", "any"
    local = is_local(connection)
    if isinstance(local, Unknown):
        return local
    kind = "SAME_IP_OR_LOOPBACK" if local else "EXTERNAL"
    return (kind if kind in keys else "ANY"), "local" if local else "external"


def _source_port(connection: Connection, keys: set[object]) -> tuple[object, str] | Unknown:
    port = connection.source_port
    if isinstance(port, Unknown):
        return port if keys != {0} else (0, "any")
    return (port if port in keys else 0), str(port)


_LEVELS: list[Level] = [
    ("destination port", lambda c: (c.port,), _port),
    ("destination IP", lambda c: c.addresses or ("",), lambda c, k: _most_specific(c.address, k)),
    ("server name", lambda c: c.server_names or ("",), _server_name),
    ("transport protocol", lambda c: (c.transport,), _transport),
    ("application protocol", lambda c: c.protocols or ("",), _protocol),
    ("direct source IP", lambda c: c.direct_sources or ("",), lambda c, k: _most_specific(c.direct_source, k)),
    ("source type", lambda c: (c.source_type,), _source_type),
    ("source IP", lambda c: c.sources or ("",), lambda c, k: _most_specific(c.source, k)),
    ("source port", lambda c: c.source_ports or (0,), _source_port),
]


def choose_chain(chains: list[Chain], default: Chain | None, connection: Connection) -> ChainChoice:
    """Sieve the chains level by level.

    Args:
        chains: the listener's chains in order.
        default: its default chain.
        connection: what is known of the connection.
    """
    left = list(chains)
    lost: list[Lost] = []
    won: list[str] = []
    for name, keys_of, choose in _LEVELS:
        keys = {key for chain in left for key in keys_of(chain)}
        picked = (0, str(connection.port)) if name == "destination port" and connection.port not in keys else None
        answer = picked or choose(connection, keys)
        if isinstance(answer, Unknown):
            names = ", ".join(chain.name for chain in left[:5])
            return ChainChoice(None, "", tuple(lost), undecided=f"{name}: {answer}; still possible: {names}")
        key, found = answer
        stay = [chain for chain in left if key in keys_of(chain)]
        if len(stay) < len(left):
            lost += [_loser(chain, name, list(keys_of(chain)), key, found) for chain in left if chain not in stay]
            won.append(f"{name} {found}" if key in ("", 0, "ANY") else f"{name} {_shown(key)}")
        left = stay
        if not left:
            break
    if left:
        return ChainChoice(left[0], ", ".join(won) or "the only chain left", tuple(lost))
    because = f"no chain is left after {lost[-1].because.split(':')[0] if lost else 'destination port'}"
    if default is not None:
        return ChainChoice(default, f"default filter chain: {because}", tuple(lost), is_default=True)
    return ChainChoice(None, because if chains else "the listener has no chain", tuple(lost))


def _loser(chain: Chain, level: str, asked: list[object], key: object, found: str) -> Lost:
    wanted = "|".join(map(_shown, asked)) or "any"
    if all(not ask or ask == "ANY" for ask in asked):
        why = f"asks for none, and {_shown(key)} is more specific"
    elif key in ("", 0, "ANY"):
        why = f"asks for {wanted}, the connection has {found}"
    else:
        why = f"asks for {wanted}, {_shown(key)} fits {found} better"
    return Lost(chain.name, f"{level}: {why}")


def _shown(key: object) -> str:
    if key in ("", 0):
        return "any"
    return f"*{key}" if isinstance(key, str) and key.startswith(".") else str(key)


def is_local(connection: Connection) -> bool | Unknown:
    """Whether the client is on this machine: 127.0.0.1 or ::1 (no other loopback), or the address it connects to."""
    if isinstance(connection.source, Unknown):
        return connection.source
    if not connection.source:
        return True
    source = parse_ip(connection.source)
    if source in _LOOPBACK:
        return True
    if isinstance(connection.address, Unknown):
        return connection.address
    return bool(connection.address) and source == parse_ip(connection.address)


@lru_cache(maxsize=4096)
def parse_ip(address: str) -> Address:
    """An IP address.

    Raises:
        FormatError: it is none.
    """
    try:
        return ip_address(address)
    except ValueError as error:
        raise FormatError(str(error), position="address") from error
