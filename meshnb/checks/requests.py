"""Questions several checks ask of the rows of an access log."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd


def has_flag(log: pd.DataFrame, flag: str) -> pd.Series:
    """Which rows carry a response flag; flags are a set, so `UF,URX` has `UF`.

    Args:
        log: rows of table `access_log`.
        flag: short name, as in `NC`.
    """
    return log["flags"].fillna("").map(lambda flags: flag in flags.split(",")).astype(bool)


def inbound(log: pd.DataFrame) -> pd.Series:
    """Which rows the server's side logged: the proxy of a pod, of a request to that pod."""
    return log.upstream_cluster.fillna("").map(lambda cluster: cluster.startswith("inbound|")).astype(bool)


def to_host(log: pd.DataFrame, host: str) -> pd.Series:
    """Which rows are requests to an authority, the port left aside; all if `host` is empty."""
    return (
        log.authority.fillna("")
        .map(lambda authority: host in ("", authority, authority.partition(":")[0]))
        .astype(bool)
    )


def success_rate(log: pd.DataFrame) -> float | None:
    """Share of requests a dashboard counts as successful: code below 500, and 0 is below. `None` without requests."""
    known = log.response_code.dropna()
    return float((known < 500).mean()) if len(known) else None
