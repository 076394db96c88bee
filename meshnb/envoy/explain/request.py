"""One request, as much of it as is known."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from meshnb.errors import UsageError

DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Request:
    """A request to explain. Make one with `Request.to` or `request_of_row`.

    Args:
        authority: the Host header, with its port if the client sends one.
        path: path with query.
        method: HTTP method.
        headers: name and value pairs; names in lower case.
        scheme: `http` or `https`, as the client sees it.
        address: destination IP, empty if not known.
        port: destination port.
        listener: name or `address:port` of the listener to start at, empty to look one up.
        tls: whether the client speaks TLS to this proxy.
        sni: server name the client sends, empty for none.
        alpn: protocols the client offers in TLS.
        source: IP of the client, empty if not known.
        source_port: port of the client, 0 if not known.
        direct_source: IP of the peer, if it is a proxy that tells the client's by PROXY protocol.
        protocol: `HTTP/1.1`, `HTTP/1.0` or `HTTP/2`.
        random: the random number Envoy drew for the request; chances become certainties with it.
        principal: identity in the client's certificate (`spiffe://…`), `None` if not known.
        metadata: dynamic metadata by namespace, `None` if not known.
        tcp: raw TCP: there is no HTTP request, only a connection.
        partial: other headers than those given may have been sent, as of a log line.
        logged_route: name of the route a log line shows, empty for a route without a name, `-` if no route matched,
            `None` if the line does not tell; settles what `partial` leaves open.
    """

    authority: str = ""
    path: str = "/"
    method: str = "GET"
    headers: tuple[tuple[str, str], ...] = ()
    scheme: str = "http"
    address: str = ""
    port: int = 0
    listener: str = ""
    tls: bool = False
    sni: str = ""
    alpn: tuple[str, ...] = ()
    source: str = ""
    source_port: int = 0
    direct_source: str = ""
    protocol: str = "HTTP/1.1"
    random: int | None = None
    principal: str | None = None
    metadata: Mapping[str, Any] | None = field(default=None, hash=False)
    tcp: bool = False
    partial: bool = False
    logged_route: str | None = None

    @classmethod
    def to(
        cls,
        url: str,
        *,
        method: str = "GET",
        headers: Mapping[str, str] | Iterable[tuple[str, str]] = (),
        authority: str = "",
        port: int | None = None,
        **known: Any,
    ) -> Request:
        """A request to a URL. `https` means TLS with the host as SNI, and h2 and http/1.1 offered, unless told else.

        Args:
            url: `http://host/path`, `https://host/path?query`, or `tcp://address:port` for a bare connection.
            method: HTTP method.
            headers: request headers; a `host` header replaces the authority.
            authority: Host header if it is not that of the URL.
            port: destination port if it is not that of the URL.
            **known: other fields of `Request`.

        Raises:
            UsageError: not such a URL, or a field that is out of range.

        Example:
            >>> request = Request.to("https://shop.example:8443/items?page=2")
            >>> request.authority, request.path, request.port, request.sni, request.alpn
            ('shop.example:8443', '/items?page=2', 8443, 'shop.example', ('h2', 'http/1.1'))
        """
        split, host, url_port = _split(url)
        pairs = headers.items() if isinstance(headers, Mapping) else headers
        lower = tuple((name.lower(), text.strip(" \t")) for name, text in pairs)
        hosts = [text for name, text in lower if name in ("host", ":authority")]
        scheme = "http" if split.scheme == "tcp" else split.scheme
        tls = known.setdefault("tls", scheme == "https")
        if tls:
            known.setdefault("sni", "" if _is_ip(host) else host)
            known.setdefault("alpn", ("h2", "http/1.1"))
        if _is_ip(host):
            known["address"] = known.get("address") or host
        path = (split.path or "/") + (f"?{split.query}" if "?" in url else "")
        request = cls(
            authority=authority or (hosts[-1] if hosts else split.netloc.rpartition("@")[2]),
            path=path + (f"#{split.fragment}" if split.fragment else ""),
            method=method,
            headers=tuple(pair for pair in lower if pair[0] not in ("host", ":authority")),
            scheme=scheme,
            port=port if port is not None else url_port or DEFAULT_PORTS[scheme],
            tcp=split.scheme == "tcp",
            **known,
        )
        return request.checked()

    def checked(self) -> Request:
        """The request itself, if its fields make sense.

        Raises:
            UsageError: a port out of range or an address that is no IP.
        """
        for name in ("port", "source_port"):
            if not 0 <= getattr(self, name) <= 65535:
                raise UsageError(f"{name} {getattr(self, name)} is no port", hint="a port is between 0 and 65535")
        for name in ("address", "source", "direct_source"):
            if getattr(self, name) and not _is_ip(getattr(self, name)):
                raise UsageError(f"{name} {getattr(self, name)!r} is no IP address", hint="give for example 10.0.0.1")
        lower = (self.sni.lower(), tuple((name.lower(), text) for name, text in self.headers))
        return replace(self, sni=lower[0], headers=lower[1])

    def __str__(self) -> str:
        if self.tcp:
            where = f"connection to {self.address or '?'}:{self.port}"
        else:
            where = f"{self.method} {self.scheme}://{self.authority}{self.path}"
        extras = [f"port {self.port}"] if self.port and not self.tcp else []
        extras += ["TLS" + (f" with SNI {self.sni}" if self.sni else "")] if self.tls else []
        return where + (f" ({', '.join(extras)})" if extras else "")


def _split(url: str) -> tuple[Any, str, int | None]:
    wrong = UsageError(f"not a URL to explain: {url[:120]!r}", hint="give for example http://catalog.example/items")
    try:
        split = urlsplit(url)
        host, port = split.hostname or "", split.port
    except ValueError as error:
        raise wrong from error
    if split.scheme not in ("http", "https", "tcp") or not host or (split.scheme == "tcp" and not port):
        raise wrong
    return split, host, port


def _is_ip(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
