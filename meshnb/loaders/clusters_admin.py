"""Envoy's `/clusters` page, in JSON or as text: what Envoy knows of each endpoint now."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import msgspec

from meshnb.errors import FormatError
from meshnb.loaders.documents import Source, read_document, unreadable, values_of, what_is
from meshnb.loaders.endpoints import health_name
from meshnb.loaders.proto import Address, Locality, Message, Reader
from meshnb.model.frame import returns
from meshnb.model.tables.envoy import COUNTERS, ENDPOINTS

if TYPE_CHECKING:
    import pandas as pd


class Stat(Message):
    """`admin.v3.SimpleMetric`; a value of 0 is not printed."""

    name: str = ""
    value: int = 0


class Health(Message):
    """`admin.v3.HostHealthStatus`."""

    failed_active_health_check: bool = False
    failed_outlier_check: bool = False
    failed_active_degraded_check: bool = False
    pending_dynamic_removal: bool = False
    pending_active_hc: bool = False
    exclude_via_immediate_hc_fail: bool = False
    active_hc_timeout: bool = False
    eds_health_status: str | int = "UNKNOWN"


class Percent(Message):
    """`type.v3.Percent`."""

    value: float = 0.0


class HostStatus(Message):
    """`admin.v3.HostStatus`."""

    address: Address | None = None
    stats: list[Stat] = []
    health_status: Health | None = None
    success_rate: Percent | None = None
    weight: int = 0
    hostname: str = ""
    priority: int = 0
    locality: Locality | None = None


class ClusterStatus(Message):
    """`admin.v3.ClusterStatus`."""

    name: str = ""
    added_via_api: bool = False
    host_statuses: list[HostStatus] = []
    eds_service_name: str = ""


class _Page(msgspec.Struct):
    """`admin.v3.Clusters`."""

    cluster_statuses: list[msgspec.Raw] | None = None
    camel: list[msgspec.Raw] | None = msgspec.field(name="clusterStatuses", default=None)


read_cluster_status = Reader(ClusterStatus)

# flag of the JSON page -> word of the text page
_FLAGS = {
    "failed_active_health_check": "failed_active_hc",
    "failed_outlier_check": "failed_outlier_check",
    "failed_active_degraded_check": "degraded_active_hc",
    "pending_dynamic_removal": "pending_dynamic_removal",
    "pending_active_hc": "pending_active_hc",
    "exclude_via_immediate_hc_fail": "excluded_via_immediate_hc_fail",
    "active_hc_timeout": "active_hc_timeout",
}
# word of the text page -> health status it stands for
_EDS_FLAGS = {"failed_eds_health": "UNHEALTHY", "degraded_eds_health": "DEGRADED", "eds_status_draining": "DRAINING"}
# CLUSTER::HOST::KEY::VALUE; an IPv6 host holds `::` itself, so it is told by its brackets
_LINE = re.compile(
    r"(?P<cluster>.+?)::(?P<host>\[[^\]]*\]:\d+|envoy://[^:]*(?::\d+)?|[^:/][^:]*:\d+|[/@].*?)::(?P<key>[a-z_0-9]+)::(?P<value>.*)"
)
_CLUSTER_LINE = re.compile(
    r"(?P<cluster>.+?)::(?:(?:default|high)_priority|outlier|added_via_api|observability_name|eds_service_name)::.*"
)


@returns(ENDPOINTS)
def read_clusters_admin(source: Source, *, name: str = "", proxy: str = "") -> pd.DataFrame:
    """Read what Envoy answers to `/clusters` or `/clusters?format=json`: endpoints with health and counters.

    Lines of the text form that are none are counted in `attrs["skipped"]`.

    Args:
        source: path (`.gz` too), bytes, or the decoded document.
        name: how to name the document in errors; the path if empty.
        proxy: `POD.NAMESPACE` it comes from.

    Raises:
        NotFound: no such file.
        FormatError: cut short, or a document of another kind.

    Example:
        >>> page = b'''shop::10.0.0.1:80::rq_total::7
        ... shop::10.0.0.1:80::health_flags::/failed_outlier_check
        ... '''
        >>> read_clusters_admin(page)[["endpoint", "rq_total", "outlier_failed"]].values.tolist()
        [['10.0.0.1:80', 7, True]]
    """
    data, name = read_document(source, name=name)
    skipped = 0
    if data.lstrip()[:1] == b"{":
        rows = [row for status in cluster_statuses(data, name=name) for row in _rows(status)]
    else:
        rows, skipped = _read_text(data, name)
    for row in rows:
        row |= {"proxy": proxy or None, "source": "clusters", "state": "active"}
    with values_of(name):
        df = ENDPOINTS.rows(rows)
    df.attrs["skipped"] = skipped
    return df


def cluster_statuses(data: bytes, *, name: str) -> list[ClusterStatus]:
    """The clusters of a JSON page.

    Raises:
        FormatError: not such a page.
    """
    try:
        page = msgspec.json.decode(data, type=_Page)
        found = page.cluster_statuses if page.cluster_statuses is not None else page.camel
        if found is None:
            if data.strip() == b"{}":  # a proxy without clusters: proto3 prints no empty list
                return []
            seen = "a config dump" if b'"configs"' in data[:4096] else what_is(data) or "something else"
            hint = "read it with meshnb.read_config_dump" if seen == "a config dump" else "give the answer of /clusters"
            raise FormatError(f"this is {seen}, not a /clusters page", file=name, position="byte 0", hint=hint)
        return [read_cluster_status(raw) for raw in found]
    except FormatError:
        raise
    except (msgspec.MsgspecError, ValueError, TypeError, RecursionError) as error:
        raise unreadable(error, data, file=name, own="a /clusters page") from error


def _rows(cluster: ClusterStatus) -> Iterator[dict[str, Any]]:
    for host in cluster.host_statuses:
        address = host.address or Address()
        health = host.health_status or Health()
        status = health.eds_health_status
        flags = [word for flag, word in _FLAGS.items() if getattr(health, flag)]
        stats = {stat.name: stat.value for stat in host.stats if stat.name in COUNTERS}
        yield {
            "cluster": cluster.name,
            "address": address.host,
            "port": address.port,
            "endpoint": str(address),
            "hostname": host.hostname or None,
            "health_status": status if isinstance(status, str) else health_name(status),
            "outlier_failed": health.failed_outlier_check,
            "active_health_failed": health.failed_active_health_check,
            "health_flags": flags,
            "weight": host.weight or 1,
            "priority": host.priority,
            "locality": (str(host.locality) if host.locality is not None else "") or None,
            "success_rate": host.success_rate.value if host.success_rate is not None else None,
            **dict.fromkeys((stat.name for stat in host.stats if stat.name in COUNTERS), 0),
            **stats,
            "dynamic": cluster.added_via_api,
        }


def _read_text(data: bytes, name: str) -> tuple[list[dict[str, Any]], int]:
    hosts: dict[tuple[str, str], dict[str, str]] = defaultdict(dict)
    added: dict[str, bool] = {}
    skipped = known = 0
    for line in data.decode(errors="replace").splitlines():
        if not line.strip():
            continue
        if cluster_line := _CLUSTER_LINE.fullmatch(line):
            known += 1
            if line.startswith(f"{cluster_line['cluster']}::added_via_api::"):
                added[cluster_line["cluster"]] = line.endswith("::true")
        elif found := _LINE.fullmatch(line):
            known += 1
            hosts[found["cluster"], found["host"]][found["key"]] = found["value"]
        else:
            skipped += 1
    if not known and data.strip():
        seen = what_is(data) or "not a /clusters page"
        raise FormatError(f"this is {seen}", file=name, position="byte 0", hint="give the answer of /clusters")
    try:
        return [_text_row(*key, values, added=added.get(key[0])) for key, values in hosts.items()], skipped
    except ValueError as error:
        raise FormatError(f"not a /clusters page: {error}", file=name, hint="give the answer of /clusters") from error


def _text_row(cluster: str, host: str, values: dict[str, str], *, added: bool | None) -> dict[str, Any]:
    flags = [flag for flag in values.get("health_flags", "").split("/") if flag and flag != "healthy"]
    address, _, port = host.rpartition(":")
    socket = not host.startswith(("/", "@", "envoy://"))
    rate = float(values.get("success_rate", "-1"))
    locality = Locality(values.get("region", ""), values.get("zone", ""), values.get("sub_zone", ""))
    return {
        "cluster": cluster,
        "address": address.strip("[]") if socket else _path_or_listener(host),
        "port": int(port) if socket else 0,
        "endpoint": f"unix://{host}" if host.startswith(("/", "@")) else host,
        "hostname": values.get("hostname") or None,
        "health_status": next((_EDS_FLAGS[flag] for flag in flags if flag in _EDS_FLAGS), "HEALTHY"),
        "outlier_failed": "failed_outlier_check" in flags,
        "active_health_failed": "failed_active_hc" in flags,
        "health_flags": [flag for flag in flags if flag not in _EDS_FLAGS],
        "weight": int(values["weight"]) if "weight" in values else 1,
        "priority": int(values.get("priority", "0")),
        "locality": str(locality) or None,
        # -1 stands for "not measured"
        "success_rate": rate if rate >= 0 else None,
        **{name: int(values[name]) for name in COUNTERS if name in values},
        "dynamic": added,
    }


def _path_or_listener(host: str) -> str:
    return host.removeprefix("envoy://").partition("/")[0] if host.startswith("envoy://") else host
