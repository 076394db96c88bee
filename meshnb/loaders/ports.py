"""What a pod listens on, from `netstat -tnlp` or `ss -tnlp`."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from meshnb.errors import FormatError
from meshnb.loaders.text_table import decode_text
from meshnb.model.frame import returns
from meshnb.model.ports import ports_of
from meshnb.model.tables.components import LISTENING_PORTS

if TYPE_CHECKING:
    import pandas as pd

_NETSTAT = re.compile(
    r"^(?P<protocol>(?:tcp|udp)6?)\s+\d+\s+\d+\s+(?P<local>\S+)\s+\S+(?:\s+(?P<state>[A-Z_0-9]+))?(?:\s+(?P<process>\S.*))?$"
)
_SS = re.compile(
    r"^(?:(?P<protocol>tcp|udp)\s+)?(?P<state>LISTEN|UNCONN|ESTAB|[A-Z][A-Z0-9-]+)\s+\d+\s+\d+\s+(?P<local>\S+)\s+\S+"
    r"(?:\s+(?P<process>\S.*))?$"
)
_SS_USER = re.compile(r'\("(?P<name>[^"]+)",pid=(?P<pid>\d+)')
_NETSTAT_USER = re.compile(r"^(?P<pid>\d+)/(?P<name>\S+)")
_MARKS = {"pilot-discovery": "istiod", "envoy": "proxy", "pilot-agent": "proxy", "ztunnel": "ztunnel"}


@returns(LISTENING_PORTS)
def read_ports(data: bytes | str, *, proxy: str = "", file: str = "") -> pd.DataFrame:
    """Sockets that listen; established connections are left out.

    Args:
        data: what `netstat -tnl[p]` or `ss -tnl[p]` printed.
        proxy: pod it was printed in, `POD.NAMESPACE`.
        file: how to name it in an error.

    Raises:
        FormatError: neither of the two.

    Example:
        >>> text = "tcp        0      0 127.0.0.1:15000         0.0.0.0:*               LISTEN      12/envoy"
        >>> read_ports(text)[["port", "loopback", "process", "role"]].values.tolist()
        [[15000, True, 'envoy', "Envoy's admin interface"]]
    """
    sockets: list[dict[str, Any]] = []
    seen = False
    for line in decode_text(data).splitlines():
        match = _NETSTAT.match(line.rstrip()) or _SS.match(line.rstrip())
        seen = seen or match is not None or line.startswith(("Active Internet", "State ", "Netid ", "Proto "))
        if match and (match["state"] in (None, "LISTEN", "UNCONN")):
            sockets.append(_socket(match))
    if not seen:
        raise FormatError(
            "neither netstat nor ss printed this",
            file=file,
            hint="save it with: kubectl exec POD -c istio-proxy -- ss -tnlp",
        )
    component = _component(sockets)
    known = ports_of(component) if component else {}
    for socket in sockets:
        expected = known.get(socket["port"])
        socket |= {
            "proxy": proxy or None,
            "component": component or None,
            "role": expected.role if expected else None,
            "expected_process": expected.owner if expected else None,
        }
    return LISTENING_PORTS.rows(sockets)


def _socket(match: re.Match[str]) -> dict[str, Any]:
    address, _, port = match["local"].rpartition(":")
    address = address.partition("%")[0].strip("[]") or "*"
    process = match["process"] or ""
    user = _SS_USER.search(process) or _NETSTAT_USER.match(process)
    six = ":" in address and not address.startswith("::ffff:")
    protocol = match["protocol"] or "tcp"
    return {
        "protocol": protocol if protocol.endswith("6") or not six else f"{protocol}6",
        "address": address,
        "port": int(port) if port.isdigit() else 0,
        "loopback": address.startswith(("127.", "::ffff:127.")) or address == "::1",
        "process": user["name"] if user else None,
        "pid": int(user["pid"]) if user else None,
    }


def _component(sockets: Iterable[dict[str, Any]]) -> str:
    """Whose ports these are: the processes say it, else the ports only one component has."""
    sockets = list(sockets)
    for socket in sockets:
        if found := _MARKS.get(socket["process"] or ""):
            return found
    ports = {socket["port"] for socket in sockets}
    if ports & {15012, 15014, 15017, 9876}:
        return "istiod"
    return "proxy" if ports & {15090, 15021, 15001, 15006} else ""
