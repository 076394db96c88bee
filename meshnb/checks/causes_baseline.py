"""Baselines of a cause: where it is more frequent than elsewhere, when it began, at which durations it gathers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from meshnb.checks.causes_log import AnyLog, open_log
from meshnb.model.frame import Column, Frame, returns, to_pandas

if TYPE_CHECKING:
    import ibis.expr.types as ir
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
SHOWN = 8
"""Properties named per group of requests."""
_ROUND = (100, 200, 250, 300, 500, 1000, 1500, 2000, 2500, 3000, 5000, 10000, 15000, 20000, 30000, 60000, 300000)


@returns(EXCESS)
def baselines(access_log: AnyLog, affected: pd.DataFrame) -> pd.DataFrame:
    """Properties that set a cause's requests apart, by excess over the rest.

    Args:
        access_log: rows of an access log.
        affected: rows of `failed_requests` of one cause.
    """
    return baselines_of(access_log, affected.request_id, [0] * len(affected)).get(0, EXCESS.empty())


def baselines_of(access_log: AnyLog, request_ids: pd.Series, groups: Sequence[int]) -> dict[int, pd.DataFrame]:
    """The same for many groups of requests at once, as tables of the columns of `EXCESS`; none where nothing is apart.

    Args:
        access_log: rows of an access log.
        request_ids: the requests; those without an id are left out.
        groups: the number of the group of each.
    """
    import pyarrow as pa

    log = open_log(access_log)
    ids = pa.array(request_ids, pa.string(), from_pandas=True)
    affected = pa.table({"of": ids, "of_group": pa.array(groups, pa.int64())}).filter(ids.is_valid())
    if not len(affected):
        return {}
    found = to_pandas(log.run(excess(log.table, log.lend(affected))))
    return {
        int(group): EXCESS.conform(rows.drop(columns="of_group").reset_index(drop=True))
        for group, rows in found.sort_values(["of_group", "place"]).drop(columns="place").groupby("of_group")
    }


def excess(log: ir.Table, affected: ir.Table) -> ir.Table:
    """The columns of `EXCESS` for each group of requests, at most `SHOWN` a group, with their `place`.

    Each request counts as often as clients logged it; where only servers did, as often as they did.

    Args:
        log: rows of an access log.
        affected: request ids `of` and their group `of_group`.
    """
    import ibis

    rows = log.filter(log.request_id.notnull())
    served = rows.upstream_cluster.startswith("inbound|").fill_null(False)
    rows = rows.mutate(served=served, downstream_remote_address=rows.downstream_remote_address.re_extract("^(.*):", 1))
    sides = rows.agg(only_served=rows.served.all())
    rows = rows.cross_join(sides)
    rows = rows.filter(rows.only_served | ~rows.served).select("request_id", *PROPERTIES)
    hit = rows.inner_join(affected, rows.request_id == affected.of)
    hits = hit.group_by(hits_of=hit.of_group).agg(hits=hit.count())
    total = rows.agg(total=rows.count())
    parts = []
    for column in PROPERTIES:
        known = rows.filter(rows[column].notnull())
        sizes = known.group_by(value_of=known[column]).agg(requests=known.count())
        sizes = sizes.mutate(values=sizes.count().over(ibis.window()))
        own = hit.filter(hit[column].notnull())
        own = own.group_by("of_group", value=own[column]).agg(affected=own.count())
        part = own.inner_join(sizes.filter(sizes["values"] > 1), own.value == sizes.value_of)
        parts.append(part.select("of_group", "value", "affected", "requests", property=ibis.literal(column)))
    both = ibis.union(*parts)
    both = both.inner_join(hits, both.of_group == hits.hits_of).cross_join(total)
    others = (both.total - both.requests).nullif(0)
    both = both.mutate(
        rate=both.affected / both.requests, rest_rate=((both.hits - both.affected) / others).fill_null(0.0)
    )
    both = both.mutate(excess=both.affected - both.requests * both.rest_rate)
    both = both.filter((both.excess > 0.5) & (both.rate > 1.5 * both.rest_rate))
    order = [ibis.desc("excess"), "property", "value"]
    both = both.mutate(place=ibis.row_number().over(group_by="of_group", order_by=order))
    return both.filter(both.place < SHOWN).select("of_group", "place", *EXCESS.column_names)


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
