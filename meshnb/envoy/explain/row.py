"""The request behind a line of an access log, as far as the line tells it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from meshnb.envoy.explain.request import Request
from meshnb.errors import UsageError

_HEADERS = {"user_agent": "user-agent", "request_id": "x-request-id", "x_forwarded_for": "x-forwarded-for"}
_ISTIO_ALPN = ("istio-peer-exchange", "istio")


def request_of_row(row: object) -> Request:
    """The request a log line is about.

    The line shows few headers and not the client's TLS offer. What hangs on another header is undecided, unless the
    line names the route that was taken. A server name means TLS; the ALPN taken for granted is Istio's own for its
    mutual TLS (`outbound_.80_…`), else that of the protocol logged.

    Args:
        row: a row of the table `access_log`, or a decoded JSON line.

    Raises:
        UsageError: neither a mapping nor a row of a table.

    Example:
        >>> row = {"authority": "shop", "path": "/a", "method": "GET", "downstream_local_address": "10.0.0.1:80"}
        >>> str(request_of_row(row)), request_of_row(row).address
        ('GET http://shop/a (port 80)', '10.0.0.1')
    """
    cells = _cells(row)
    address, port = _split(cells.get("downstream_local_address", ""))
    source, source_port = _split(cells.get("downstream_remote_address", ""))
    sni = cells.get("requested_server_name", "")
    protocol = cells.get("protocol", "") or "HTTP/1.1"
    alpn: tuple[str, ...] = ()
    if sni:
        alpn = _ISTIO_ALPN if sni.startswith("outbound_") else ("h2",) if protocol == "HTTP/2" else ("http/1.1",)
    headers = tuple((name, cells[key]) for key, name in _HEADERS.items() if cells.get(key))
    return Request(
        cells.get("authority", ""),
        cells.get("path", "") or "/",
        cells.get("method", "") or "GET",
        headers,
        scheme="https" if sni else "http",
        address=address,
        port=port,
        tls=bool(sni),
        sni=sni,
        alpn=alpn,
        source=source,
        source_port=source_port,
        protocol=protocol,
        tcp=not cells.get("method"),
        partial=True,
        logged_route=_route(row, cells),
    )


def _route(row: object, cells: dict[str, str]) -> str | None:
    if not cells.get("method"):
        return None
    if cells.get("response_code_details") == "route_not_found":
        return "-"
    # A table has the column whether or not the log was written with it; a line has the key only if it was.
    is_line = isinstance(row, Mapping) and "route_name" in row
    return cells.get("route_name", "" if is_line else None)


def _cells(row: object) -> dict[str, str]:
    to_dict: Any = getattr(row, "to_dict", None) or getattr(row, "_asdict", None)
    found = row if isinstance(row, Mapping) else to_dict() if callable(to_dict) else None
    if not isinstance(found, Mapping):
        hint = 'give a row of mesh.access_log(), such as log.iloc[0], or a URL such as "http://host/path"'
        raise UsageError(f"cannot explain {type(row).__name__}", hint=hint)
    return {str(key): text for key, cell in found.items() if (text := _text(cell))}


def _text(cell: object) -> str:
    """A plain cell as text; lists and what is missing (`None`, NaN, pandas' own mark) as nothing."""
    if not isinstance(cell, str | int | float) or cell != cell or cell == "-":
        return ""
    return str(cell)


def _split(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    return (host.strip("[]"), int(port)) if host and port.isdigit() and len(port) < 6 else ("", 0)
