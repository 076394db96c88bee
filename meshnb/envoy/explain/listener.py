"""Which listener takes a connection, and what its listener filters find out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from meshnb.envoy.explain.explanation import Lost
from meshnb.envoy.explain.fields import Message, child, flag, has, items, number, text, value
from meshnb.envoy.explain.filter_chain import Chain, Connection
from meshnb.envoy.explain.request import Request
from meshnb.envoy.explain.verdict import Unknown

_WILDCARDS = ("0.0.0.0", "::", "[::]")
_TLS_INSPECTOR = ("TlsInspector", "envoy.filters.listener.tls_inspector", "envoy.listener.tls_inspector")
_HTTP_INSPECTOR = ("HttpInspector", "envoy.filters.listener.http_inspector", "envoy.listener.http_inspector")
_ORIGINAL_DST = ("OriginalDst", "envoy.filters.listener.original_dst", "envoy.listener.original_dst")
_PROXY_PROTOCOL = ("ProxyProtocol", "envoy.filters.listener.proxy_protocol", "envoy.listener.proxy_protocol")
_KNOWN = {*_TLS_INSPECTOR, *_HTTP_INSPECTOR, *_ORIGINAL_DST, *_PROXY_PROTOCOL, "LocalRateLimit", "MetadataToPeerNode"}

# What a Kubernetes Service of a gateway maps these ports to, where nothing listens on the port itself.
_GATEWAY_PORTS = {80: 8080, 443: 8443}


@dataclass(slots=True)
class Listener:
    """A listener with its chains compiled."""

    config: Message
    name: str
    addresses: list[tuple[str, int]]
    chains: list[Chain]
    default: Chain | None
    hands_off: bool = False
    bound: bool = True
    filters: list[Message] = field(default_factory=list)
    internal: bool = False
    ipv4_compat: bool = False

    @classmethod
    def of(cls, config: Message, *, name: str = "") -> Listener:
        """From the JSON of a `Listener`."""
        chains = [Chain.of(chain, index) for index, chain in enumerate(items(config, "filter_chains"))]
        default = child(config, "default_filter_chain")
        addresses = [child(config, "address"), *(child(a, "address") for a in items(config, "additional_addresses"))]
        sockets = [_socket(address) for address in addresses]
        deprecated = flag(child(config, "deprecated_v1"), "bind_to_port", default=True)
        return cls(
            config,
            text(config, "name") or name or ", ".join(f"{host}:{port}" for host, port in sockets),
            sockets,
            chains,
            Chain.of({**default, "name": text(default, "name") or "default"}, -1) if default else None,
            flag(config, "use_original_dst"),
            flag(config, "bind_to_port", default=deprecated),
            items(config, "listener_filters"),
            value(config, "internal_listener") is not None,
            any(flag(child(address, "socket_address"), "ipv4_compat") for address in addresses),
        )

    def matches(self, address: str, port: int) -> str:
        """`exact`, `wildcard` or empty: how the listener is bound to a destination."""
        for host, bound_port in self.addresses:
            if bound_port == port:
                if host == address:
                    return "exact"
                if host == "0.0.0.0" and ":" not in address:
                    return "wildcard"
                if host in _WILDCARDS[1:] and (":" in address or self.ipv4_compat):
                    return "wildcard"
        return ""

    def where(self) -> str:
        """Its addresses in words."""
        return ", ".join(f"[{h}]:{p}" if ":" in h else f"{h}:{p}" for h, p in self.addresses)


@dataclass(frozen=True, slots=True)
class ListenerChoice:
    """The listener chosen, if any."""

    listener: Listener | None
    because: str
    lost: tuple[Lost, ...] = ()
    undecided: str = ""
    address: str = ""
    port: int = 0


def _socket(address: Message) -> tuple[str, int]:
    socket = child(address, "socket_address")
    if not socket:
        pipe = text(child(address, "pipe"), "path")
        return pipe or text(child(address, "envoy_internal_address"), "server_listener_name"), 0
    return text(socket, "address"), number(socket, "port_value")


def choose_listener(listeners: Sequence[Listener], request: Request) -> ListenerChoice:
    """The listener for a destination: bound to the address, else to the wildcard of its port, else one that hands off.

    Args:
        listeners: all active listeners.
        request: says the destination, or names the listener.
    """
    if request.listener:
        return _named(listeners, request)
    port = request.port
    by_address = _by_address(listeners, request.address, port)
    if by_address is not None:
        return by_address
    for wanted in (port, _GATEWAY_PORTS.get(port, 0)):
        at_port = [item for item in listeners if wanted and any(p == wanted for _, p in item.addresses)]
        if at_port and not request.address:
            return _guess(at_port, listeners, wanted, asked=port)
    named = [item for item in listeners if item.name.endswith(f"_{port}") and not item.matches(request.address, port)]
    if len(named) == 1 and not request.address:
        # Istio names a listener after the port it serves; a lab binds it elsewhere.
        host, bound = named[0].addresses[0]
        because = f"named for port {port}; bound to {named[0].where()}"
        return ListenerChoice(named[0], because, address=host, port=bound)
    handing = [item for item in listeners if item.hands_off]
    if handing:
        outbound = [item for item in handing if text(item.config, "traffic_direction") != "INBOUND"] or handing
        lost = _others(listeners, outbound[0], request.address, port)
        because = f"no listener is bound to {request.address or '*'}:{port}; redirected traffic stays where it arrives"
        return ListenerChoice(outbound[0], because, lost, address=request.address, port=port)
    lost = _others(listeners, None, request.address, port)
    known = ", ".join(item.where() for item in listeners[:8]) or "none"
    return ListenerChoice(None, f"nothing listens on {request.address or '*'}:{port}; listeners: {known}", lost)


def _named(listeners: Sequence[Listener], request: Request) -> ListenerChoice:
    for item in listeners:
        if request.listener in (item.name, item.where()):
            host, port = item.addresses[0]
            told = any(_filter_name(entry) in _PROXY_PROTOCOL for entry in item.filters)
            if item.hands_off or item.internal or (told and request.address):
                host, port = request.address, request.port
            return ListenerChoice(item, "named by the caller", address=host, port=port)
    names = ", ".join(item.name for item in listeners[:12]) or "none"
    return ListenerChoice(None, f"no listener {request.listener!r}; listeners: {names}")


def _by_address(listeners: Sequence[Listener], address: str, port: int) -> ListenerChoice | None:
    if not address:
        return None
    for how in ("exact", "wildcard"):
        for item in listeners:
            if item.matches(address, port) == how:
                what = "bound to the destination" if how == "exact" else f"bound to every address at port {port}"
                because = what if item.bound else f"{what}; reached by redirected traffic"
                lost = _others(listeners, item, address, port)
                return ListenerChoice(item, because, lost, address=address, port=port)
    return None


def _guess(at_port: list[Listener], listeners: Sequence[Listener], port: int, *, asked: int) -> ListenerChoice:
    """No destination IP is given: the wildcard listener of the port, else the only one."""
    wildcard = [item for item in at_port if any(h in _WILDCARDS and p == port for h, p in item.addresses)]
    mapped = f"; nothing listens on {asked}, which a gateway's Service maps to {port}" if asked != port else ""
    if len(wildcard) == 1 or len(at_port) == 1:
        chosen = (wildcard or at_port)[0]
        host = next(h for h, p in chosen.addresses if p == port)
        what = "bound to every address at" if wildcard else "the only one at"
        lost = tuple(
            Lost(item.name, f"bound to {item.where()}: taken only if that is the destination")
            for item in at_port
            if item is not chosen
        )
        address = "" if host in _WILDCARDS else host
        return ListenerChoice(chosen, f"{what} port {port}{mapped}", lost[:12], address=address, port=port)
    names = ", ".join(item.where() for item in at_port[:8])
    return ListenerChoice(
        None, f"several listeners at port {port}", undecided=f"the destination IP decides among {names}; give address"
    )


def _others(
    listeners: Sequence[Listener], chosen: Listener | None, address: str, port: int, *, limit: int = 8
) -> tuple[Lost, ...]:
    found: list[Lost] = []
    for item in listeners:
        if item is chosen or len(found) >= limit:
            continue
        if any(p == port for _, p in item.addresses):
            how = item.matches(address, port)
            why = f"bound to {item.where()}, not {address}:{port}"
            why = "the wildcard, and the address itself wins" if how else why
            found.append(Lost(item.name, why))
        elif chosen is None or len(listeners) <= limit:
            found.append(Lost(item.name, f"bound to {item.where()}"))
    return tuple(found)


def connection_of(listener: Listener, request: Request, choice: ListenerChoice) -> tuple[Connection, list[str]]:
    """The connection after the listener filters, and what they could not tell.

    Without a TLS inspector a listener knows neither server name nor ALPN, and takes TLS for plain bytes.
    """
    undecided = []
    names = [_filter_name(item) for item in listener.filters if not _disabled(item, choice.port)]
    inspects_tls = any(name in _TLS_INSPECTOR for name in names)
    for name in names:
        if name not in _KNOWN:
            undecided.append(f"listener filter {name} is an extension")
    seen_tls = request.tls and inspects_tls
    protocols = request.alpn if seen_tls else ()
    if not request.tls and not request.tcp and any(name in _HTTP_INSPECTOR for name in names):
        protocols = ({"HTTP/2": "h2c", "HTTP/1.0": "http/1.0"}.get(request.protocol, "http/1.1"),)
    source: str | Unknown = request.source or Unknown("the client's IP is not given")
    return (
        Connection(
            choice.port or request.port,
            choice.address or request.address or Unknown("the destination IP is not given"),
            request.sni if seen_tls else "",
            "tls" if seen_tls else "raw_buffer",
            protocols,
            request.direct_source or source,
            source,
            request.source_port or Unknown("the client's port is not given"),
        ),
        undecided,
    )


def inspects_tls(listener: Listener) -> bool:
    """Whether a listener looks for TLS at all, at any port."""
    return any(_filter_name(item) in _TLS_INSPECTOR for item in listener.filters)


def knows_destination(listener: Listener) -> bool:
    """Whether a connection can have another destination than the address it arrives at."""
    if listener.hands_off or not listener.bound or listener.internal:
        return True
    return any(_filter_name(item) in (*_PROXY_PROTOCOL, *_ORIGINAL_DST) for item in listener.filters)


def _filter_name(config: Message) -> str:
    kind = text(child(config, "typed_config"), "@type").rpartition(".")[2]
    return kind if kind in _KNOWN else text(config, "name") or kind


def _disabled(config: Message, port: int) -> bool:
    predicate = child(config, "filter_disabled")
    return bool(predicate) and _predicate(predicate, port)


def _predicate(predicate: Message, port: int, *, depth: int = 0) -> bool:
    if depth > 50:
        return False
    if flag(predicate, "any_match"):
        return True
    if has(predicate, "destination_port_range"):
        ports = child(predicate, "destination_port_range")
        return number(ports, "start") <= port < number(ports, "end")
    if has(predicate, "not_match"):
        return not _predicate(child(predicate, "not_match"), port, depth=depth + 1)
    for name, combine in (("or_match", any), ("and_match", all)):
        if has(predicate, name):
            rules: Iterable[Message] = items(child(predicate, name), "rules")
            return combine(_predicate(rule, port, depth=depth + 1) for rule in rules)
    return False
