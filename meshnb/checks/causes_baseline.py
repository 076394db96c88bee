"""Baselines of a cause: where it is more frequent than elsewhere, when it began, at which durations it gathers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from meshnb.checks.requests import inbound
from meshnb.model.frame import Column, Frame, returns

if TYPE_CHECKING:
    import pandas as pd

EXCESS = Frame(
    "excess",
    "One row per property of requests that makes a cause more frequent than for all other requests.",
    (
        Column("property", "string", "Column of the access log.", nullable=False),
        Column("value", "string", "Value of it.", nullable=False),
        Column("requests", "int64", "Requests with this value.", nullable=False),
        Column("affected", "int64", "Of them, those the cause explains.", nullable=False),
        Column("rate", "float64", "Share of them.", unit="0 to 1", nullable=False),
        Column("rest_rate", "float64", "Share among all other requests.", unit="0 to 1", nullable=False),
        Column("excess", "float64", "Requests above what the rest's share would give.", nullable=False),
    ),
)

DURATION_CLUSTERS = Frame(
    "duration_clusters",
    "One row per duration at which requests gather: the mark of a timeout.",
    (
        Column("duration_ms", "float64", "Middle of the cluster.", unit="ms", nullable=False),
        Column("requests", "int64", "Requests in it.", nullable=False),
        Column("share", "float64", "Their share.", unit="0 to 1", nullable=False),
        Column(
            "timeout_ms", "int64", "The round number a little below, which somebody may have configured.", unit="ms"
        ),
    ),
)

PROPERTIES = ("upstream_host", "upstream_cluster", "route_name", "path", "downstream_remote_address", "user_agent")
_ROUND = (100, 200, 250, 300, 500, 1000, 1500, 2000, 2500, 3000, 5000, 10000, 15000, 20000, 30000, 60000, 300000)


@returns(EXCESS)
def baselines(access_log: pd.DataFrame, affected: pd.DataFrame) -> pd.DataFrame:
    """Properties that set a cause's requests apart, by excess over the rest.

    Args:
        access_log: rows of an access log.
        affected: rows of `failed_requests` of one cause.
    """
    ids = set(affected.request_id.dropna())
    rows = access_log[~inbound(access_log) & access_log.request_id.notna()]
    if rows.empty:
        rows = access_log[access_log.request_id.notna()]
    rows = rows.assign(hit=rows.request_id.isin(ids))
    total, hits = len(rows), int(rows.hit.sum())
    found: list[dict[str, object]] = []
    for column in PROPERTIES if hits else ():
        values = rows[column].str.rpartition(":")[0] if column == "downstream_remote_address" else rows[column]
        groups = rows.hit.groupby(values).agg(["size", "sum"])
        if len(groups) < 2:
            continue
        for value, (size, own) in zip(groups.index, groups.itertuples(index=False), strict=True):
            others = total - int(size)
            rest = (hits - int(own)) / others if others else 0.0
            excess = int(own) - int(size) * rest
            if excess > 0.5 and int(own) / int(size) > 1.5 * rest:
                found.append(
                    {
                        "property": column,
                        "value": str(value),
                        "requests": int(size),
                        "affected": int(own),
                        "rate": int(own) / int(size),
                        "rest_rate": rest,
                        "excess": excess,
                    }
                )
    return EXCESS.rows(sorted(found, key=lambda row: (-float(str(row["excess"])), str(row["property"])))[:8])


@returns(DURATION_CLUSTERS)
def duration_clusters(affected: pd.DataFrame) -> pd.DataFrame:
    """Durations at which requests gather within two percent, with at least a third of them.

    Args:
        affected: rows with `duration_ms`.

    Example:
        >>> import pandas as pd
        >>> duration_clusters(pd.DataFrame({"duration_ms": [499, 500, 501, 502, 20]})).timeout_ms.tolist()
        [500]
    """
    durations = sorted(int(d) for d in affected.duration_ms.dropna() if d >= 50)
    total = int(affected.duration_ms.notna().sum())
    clusters: list[list[int]] = []
    for duration in durations:
        if clusters and duration - clusters[-1][0] <= max(10, clusters[-1][0] * 0.02):
            clusters[-1].append(duration)
        else:
            clusters.append([duration])
    rows = [
        {
            "duration_ms": float(group[len(group) // 2]),
            "requests": len(group),
            "share": len(group) / total,
            "timeout_ms": next((r for r in _ROUND if abs(group[len(group) // 2] - r) <= max(10, r * 0.02)), None),
        }
        for group in clusters
        if len(group) >= max(3, total / 3)
    ]
    return DURATION_CLUSTERS.rows(sorted(rows, key=lambda row: -int(str(row["requests"]))))
