"""The exact size of every virtual host: what a route configuration would lose without one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from meshnb.loaders.config_dump import ConfigDump
from meshnb.loaders.proto import EMPTY, Message, Reader
from meshnb.model.frame import returns
from meshnb.model.tables.sidecars import VIRTUAL_HOST_SIZES

if TYPE_CHECKING:
    import pandas as pd


class _Named(Message):
    name: str = ""


class _Hosts(Message):
    name: str = ""
    virtual_hosts: list[msgspec.Raw] = []


_read_hosts = Reader(_Hosts)
_read_name = Reader(_Named)


@returns(VIRTUAL_HOST_SIZES)
def virtual_host_sizes(dump: ConfigDump) -> pd.DataFrame:
    """The virtual hosts of the route configurations that came over RDS and are in use.

    Args:
        dump: a config dump.
    """
    rows = []
    for resource in dump.resources("routes"):
        if not resource.dynamic or resource.state != "active" or resource.raw == EMPTY:
            continue
        config = _read_hosts.maybe(resource.raw)
        for raw in config.virtual_hosts if config is not None else ():
            named = _read_name.maybe(raw)
            rows.append(
                {
                    "proxy": dump.proxy,
                    "route_config": (config.name if config else "") or resource.name,
                    "virtual_host": named.name if named is not None else "",
                    "bytes": len(memoryview(raw)),
                }
            )
    return VIRTUAL_HOST_SIZES.rows(rows)
