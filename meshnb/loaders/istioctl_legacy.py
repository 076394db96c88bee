"""The shorter tables that `istioctl proxy-config … -o short` of release 1.6 printed."""

from __future__ import annotations

from collections.abc import Callable

from meshnb.loaders.clusters import read_cluster
from meshnb.loaders.config_dump import ConfigDump
from meshnb.loaders.istioctl_style import Style, cluster_wanted
from meshnb.loaders.istioctl_text import aligned, cluster_key, cluster_parts, insertion_sorted, numeric_less
from meshnb.loaders.listeners import listener_type, read_listener
from meshnb.loaders.proto import Address
from meshnb.loaders.routes import read_routes


def clusters_text(dump: ConfigDump, style: Style) -> str:
    """`proxy-config clusters`: no DESTINATION RULE."""
    rows: list[list[object]] = []
    for cluster in sorted(dump.read("clusters", read_cluster), key=lambda one: cluster_key(one.name)):
        if cluster_wanted(cluster, style.filters):
            direction, port, subset, host = cluster_parts(cluster.name) or ("-", "-", "-", cluster.name)
            rows.append([host, port, subset or "-", direction, cluster.type])
    return aligned(["SERVICE FQDN", "PORT", "SUBSET", "DIRECTION", "TYPE"], rows)


def listeners_text(dump: ConfigDump, style: Style) -> str:
    """`proxy-config listeners`: one row per listener, in the order of the dump; filters by their old names too."""
    filters = style.filters
    rows: list[list[object]] = []
    for listener in dump.read("listeners", read_listener):
        address = listener.address or Address()
        host, kind = address.host or "", listener_type(listener)
        if (
            (not filters.address or host.lower() == filters.address.lower())
            and (not filters.port or address.port == filters.port)
            and (not filters.type or kind.lower() == filters.type.lower())
        ):
            rows.append([host, address.port, kind])
    return aligned(["ADDRESS", "PORT", "TYPE"], rows)


def routes_text(dump: ConfigDump, style: Style) -> str:
    """`proxy-config routes`: one row per route configuration."""
    rows: list[list[object]] = [
        [config.name, len(config.virtual_hosts)]
        for config in insertion_sorted(dump.read("routes", read_routes), lambda a, b: numeric_less(a.name, b.name))
        if style.filters.name in ("", config.name)
    ]
    note = "NOTE: This output only contains routes loaded via RDS.\n"
    return note + aligned(["NAME", "VIRTUAL HOSTS"], rows)


TEXTS_1_6: dict[str, Callable[[ConfigDump, Style], str]] = {
    "clusters": clusters_text,
    "listeners": listeners_text,
    "routes": routes_text,
}
"""Function by name of the table."""
