"""Tables of ztunnel exactly as `istioctl ztunnel-config …` prints them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from meshnb.loaders.istioctl_text import aligned
from meshnb.loaders.ztunnel import ZtunnelDump

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True)
class ZtunnelStyle:
    """The flags of `istioctl ztunnel-config`; empty ones ask for nothing.

    Args:
        address: IP address of a workload, any case.
        name: name of a workload.
        workload: workload of connections, `NAME` or `NAME.NAMESPACE`.
        workload_namespace: namespace of workloads and connections.
        workload_node: node of workloads.
        service_namespace: namespace of services.
        policy_namespace: namespace of policies.
        direction: `inbound` or `outbound` connections.
        raw: addresses of connections as they are.
        verbose: the longer table of workloads and services.
        at: time at which certificates must be valid.
    """

    address: str = ""
    name: str = ""
    workload: str = ""
    workload_namespace: str = ""
    workload_node: str = ""
    service_namespace: str = ""
    policy_namespace: str = ""
    direction: str = ""
    raw: bool = False
    verbose: bool = True
    at: datetime | None = None


def _is(value: object, wanted: str) -> bool:
    return not wanted or (isinstance(value, str) and value.lower() == wanted.lower())


def _waypoint(row: pd.Series) -> str:
    if not isinstance(row.waypoint_destination, str):
        return "None"
    return row.waypoint if isinstance(row.waypoint, str) else "NA"


def _cell(value: object, missing: str = "") -> str:
    return value if isinstance(value, str) else missing


def workload_text(dump: ZtunnelDump, style: ZtunnelStyle) -> str:
    """`ztunnel-config workload`."""
    rows = []
    for row in dump.workloads().itertuples(index=False):
        addresses = list(row.addresses)
        wanted = (
            _is(row.namespace, style.workload_namespace)
            and _is(row.node, style.workload_node)
            and (not style.name or row.name == style.name)
            and (not style.address or any(_is(one, style.address) for one in addresses))
        )
        if wanted:
            shown = ",".join(addresses) or _cell(row.hostname)
            begin = [_cell(row.namespace), _cell(row.name), shown, _cell(row.node)]
            rows.append([*begin, _waypoint(row), _cell(row.protocol)] if style.verbose else begin)
    rows.sort(key=lambda cells: (f"{cells[0]}.{cells[1]}", cells[3]))
    header = ["NAMESPACE", "POD NAME", "ADDRESS", "NODE"]
    return aligned([*header, "WAYPOINT", "PROTOCOL"] if style.verbose else header, rows, padding=1)


def service_text(dump: ZtunnelDump, style: ZtunnelStyle) -> str:
    """`ztunnel-config service`."""
    rows = [
        [
            _cell(row.namespace),
            _cell(row.service),
            ",".join(row.vips),
            _waypoint(row),
            f"{row.endpoints_healthy}/{row.endpoints}",
        ]
        for row in dump.services().itertuples(index=False)
        if _is(row.namespace, style.service_namespace)
    ]
    return aligned(["NAMESPACE", "SERVICE NAME", "SERVICE VIP", "WAYPOINT", "ENDPOINTS"], rows, padding=1)


def policy_text(dump: ZtunnelDump, style: ZtunnelStyle) -> str:
    """`ztunnel-config policy`."""
    rows = [
        [_cell(row.namespace), _cell(row.policy), _cell(row.action), _cell(row.scope)]
        for row in dump.policies().itertuples(index=False)
        if _is(row.namespace, style.policy_namespace)
    ]
    return aligned(["NAMESPACE", "POLICY NAME", "ACTION", "SCOPE"], rows, padding=1)


def certificate_text(dump: ZtunnelDump, style: ZtunnelStyle) -> str:
    """`ztunnel-config certificate`."""
    rows = [
        [
            _cell(row.identity),
            _cell(row.type, "NA"),
            _cell(row.state),
            "true" if row.valid else "false",
            _cell(row.serial, "NA"),
            _time(row.not_after),
            _time(row.not_before),
        ]
        for row in dump.certificates(at=style.at).itertuples(index=False)
    ]
    header = ["CERTIFICATE NAME", "TYPE", "STATUS", "VALID CERT", "SERIAL NUMBER", "NOT AFTER", "NOT BEFORE"]
    return aligned(header, rows)


def _time(value: object) -> str:
    return value.strftime("%Y-%m-%dT%H:%M:%SZ") if isinstance(value, datetime) and value == value else "NA"


def connections_text(dump: ZtunnelDump, style: ZtunnelStyle) -> str:
    """`ztunnel-config connections`."""
    shown: Callable[[object], str] = (
        (lambda value: _cell(value)) if style.raw else (lambda value: dump.resolve(_cell(value)))
    )
    rows = []
    for row in dump.connections().itertuples(index=False):
        wanted = (
            _is(row.namespace, style.workload_namespace)
            and _is(row.direction, style.direction)
            and (not style.workload or style.workload in (row.workload, row.workload.rpartition(".")[0]))
        )
        if not wanted:
            continue
        if row.direction == "Inbound":
            ends = [shown(row.destination), shown(row.source), _cell(row.original_destination)]
        else:
            ends = [shown(row.source), shown(row.destination), shown(row.original_destination)]
        rows.append([row.workload, row.direction, *ends, _cell(row.protocol)])
    header = ["WORKLOAD", "DIRECTION", "LOCAL", "REMOTE", "REMOTE TARGET", "PROTOCOL"]
    return aligned(header, rows, padding=1)


ZTUNNEL_TEXTS: dict[str, Callable[[ZtunnelDump, ZtunnelStyle], str]] = {
    "ztunnel_workload": workload_text,
    "ztunnel_service": service_text,
    "ztunnel_policy": policy_text,
    "ztunnel_certificate": certificate_text,
    "ztunnel_connections": connections_text,
}
"""Function by name of the table."""

_HEADINGS = ("WORKLOAD", "SERVICE", "POLICY", "SECRET", "CONNECTIONS")


def ztunnel_all_text(dump: ZtunnelDump, style: ZtunnelStyle, *, with_headers: bool = False) -> str:
    """`ztunnel-config all`."""
    parts = []
    for heading, text in zip(_HEADINGS, ZTUNNEL_TEXTS.values(), strict=True):
        begin = f"\n------ {heading} INFO ------\n\n" if with_headers else "\n"
        parts.append(begin + text(dump, style))
    return "".join(parts)
