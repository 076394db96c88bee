"""Which tables can be read from one raw file, and how: for `meshnb table NAME FILE`.

To add one, write a function here that takes a path or bytes and decorate it with `file_reader`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from meshnb.loaders.documents import Source, read_document, what_is

if TYPE_CHECKING:
    import pandas as pd

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
