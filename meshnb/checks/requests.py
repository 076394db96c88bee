"""Questions several checks ask of the rows of an access log.

They look at each distinct value once, so they stay fast on millions of rows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd


def matching(column: pd.Series, holds: Callable[[str], bool]) -> pd.Series:
    """Which values of a text column satisfy a condition; missing ones do not."""
    return column.isin([value for value in column.dropna().unique() if holds(value)]).astype(bool)


def has_flag(log: pd.DataFrame, flag: str) -> pd.Series:
    """Which rows carry a response flag; flags are a set, so `UF,URX` has `UF`.

    Args:
        log: rows of table `access_log`.
        flag: short name, as in `NC`.
    """
    return matching(log["flag_set"], lambda flags: flag in flags.split(","))


def inbound(log: pd.DataFrame) -> pd.Series:
    """Which rows the server's side logged: the proxy of a pod, of a request to that pod."""
    return matching(log.upstream_cluster, lambda cluster: cluster.startswith("inbound|"))


def to_host(log: pd.DataFrame, host: str) -> pd.Series:
    """Which rows are requests to an authority, the port left aside; all if `host` is empty."""
    return matching(log.authority, lambda authority: host in (authority, authority.partition(":")[0])) | (not host)


def success_rate(log: pd.DataFrame) -> float | None:
    """Share of requests a dashboard counts as successful: code below 500, and 0 is below. `None` without requests."""
    known = log.response_code.dropna()
    return float((known < 500).mean()) if len(known) else None
