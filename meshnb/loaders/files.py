"""Which tables can be read from one raw file, and how: for `meshnb table NAME FILE`.

To add one, write a function here that takes a path or bytes and decorate it with `file_reader`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from meshnb.errors import UsageError
from meshnb.loaders.documents import Source, read_document, what_is

if TYPE_CHECKING:
    import pandas as pd

    from meshnb.loaders.access_log_lines import LogFile
    from meshnb.loaders.config_dump import ConfigDump
    from meshnb.loaders.ztunnel import ZtunnelDump

FileReader = Callable[[Source], "pd.DataFrame"]

READERS: dict[str, FileReader] = {}
"""Reader by name of the table."""


def file_reader(*tables: str) -> Callable[[FileReader], FileReader]:
    """Register the reader of tables."""

    def decorate(function: FileReader) -> FileReader:
        READERS.update(dict.fromkeys(tables, function))
        return function

    return decorate


def _of_config_dump(make: Callable[[ConfigDump], pd.DataFrame]) -> FileReader:
    def read(source: Source) -> pd.DataFrame:
        from meshnb.loaders.config_dump import read_config_dump

        return make(read_config_dump(source))

    return read


def _of_ztunnel(make: Callable[[ZtunnelDump], pd.DataFrame]) -> FileReader:
    def read(source: Source) -> pd.DataFrame:
        from meshnb.loaders.ztunnel import read_ztunnel_dump

        return make(read_ztunnel_dump(source))

    return read


READERS.update(
    {
        "listeners": _of_config_dump(lambda dump: dump.listeners()),
        "routes": _of_config_dump(lambda dump: dump.routes()),
        "clusters": _of_config_dump(lambda dump: dump.clusters()),
        "secrets": _of_config_dump(lambda dump: dump.secrets()),
        "ecds": _of_config_dump(lambda dump: dump.ecds()),
        "authz": _of_config_dump(lambda dump: dump.authz()),
        "bootstrap": _of_config_dump(lambda dump: dump.bootstrap()),
        "sizes": _of_config_dump(lambda dump: dump.sizes()),
        "ztunnel_workload": _of_ztunnel(lambda dump: dump.workloads()),
        "ztunnel_service": _of_ztunnel(lambda dump: dump.services()),
        "ztunnel_policy": _of_ztunnel(lambda dump: dump.policies()),
        "ztunnel_certificate": _of_ztunnel(lambda dump: dump.certificates()),
        "ztunnel_connections": _of_ztunnel(lambda dump: dump.connections()),
    }
)


@file_reader("endpoints")
def _endpoints(source: Source) -> pd.DataFrame:
    """Of a config dump or of a `/clusters` page, whichever it is."""
    from meshnb.loaders.clusters_admin import read_clusters_admin
    from meshnb.loaders.config_dump import read_config_dump

    data, name = read_document(source)
    if what_is(data).startswith("a /clusters page"):
        return read_clusters_admin(data, name=name)
    return read_config_dump(data, name=name).endpoints()


@file_reader("live_endpoints")
def _live_endpoints(source: Source) -> pd.DataFrame:
    from meshnb.loaders.clusters_admin import read_clusters_admin

    return read_clusters_admin(source)


@file_reader("access_log")
def _access_log(source: Source) -> pd.DataFrame:
    """Any format that is recognised; bytes come from standard input."""
    from meshnb.loaders.access_log import read_access_log

    return read_access_log(_as_path(source))


@file_reader("skipped_lines")
def _skipped_lines(source: Source) -> pd.DataFrame:
    from meshnb.loaders.access_log import scan_access_log

    return scan_access_log(_as_path(source)).skipped


@file_reader("debug_log")
def _debug_log(source: Source) -> pd.DataFrame:
    from meshnb.loaders.debug_log import read_debug_log

    return read_debug_log(_as_path(source))


@file_reader("tcp_streams")
def _tcp_streams(source: Source) -> pd.DataFrame:
    from meshnb.loaders.pcap import read_pcap

    return read_pcap(bytes(source) if isinstance(source, (bytearray, memoryview)) else _path_or_bytes(source))


def _path_or_bytes(source: Source) -> str | bytes:
    if isinstance(source, Mapping):
        raise UsageError("a log is read from a file, not from a decoded document")
    return source if isinstance(source, bytes) else str(source)


def _as_path(source: Source) -> str | LogFile:
    """What readers of logs take: a path; bytes are kept in a temporary file."""
    from meshnb.loaders.access_log_lines import spooled

    if isinstance(source, (bytearray, memoryview)):
        source = bytes(source)
    given = _path_or_bytes(source)
    return spooled(given) if isinstance(given, bytes) else given


@file_reader("proxy_status")
def _proxy_status(source: Source) -> pd.DataFrame:
    from meshnb.loaders.proxy_status_text import read_sync_status

    return read_sync_status(source)


@file_reader("listening_ports")
def _listening_ports(source: Source) -> pd.DataFrame:
    from meshnb.loaders.ports import read_ports

    data, name = read_document(source)
    return read_ports(data, file=name)


@file_reader("pod_usage")
def _pod_usage(source: Source) -> pd.DataFrame:
    from meshnb.loaders.kubectl_text import read_top

    data, name = read_document(source)
    return read_top(data, file=name)


@file_reader("resource_capacity")
def _resource_capacity(source: Source) -> pd.DataFrame:
    from meshnb.loaders.kubectl_text import read_resource_capacity

    data, name = read_document(source)
    return read_resource_capacity(data, file=name)


@file_reader("analysis")
def _analysis(source: Source) -> pd.DataFrame:
    from meshnb.loaders.istioctl_analyze import read_analysis

    data, name = read_document(source)
    return read_analysis(data, file=name)


@file_reader("changes")
def _changes(source: Source) -> pd.DataFrame:
    from meshnb.loaders.kubernetes_changes import read_changes

    data, name = read_document(source)
    return read_changes(data, file=name)
