"""Baselines of a cause: where it is more frequent than elsewhere, when it began, at which durations it gathers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from meshnb.checks.causes_assign import Assigned
from meshnb.checks.questions import question
from meshnb.checks.requests import is_server
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
def baselines(found: Assigned, affected: pd.DataFrame) -> pd.DataFrame:
    """Properties that set a cause's requests apart, by excess over the rest.

    Args:
        found: the causes of the requests of a log.
        affected: rows of it of one cause.
    """
    return baselines_of(found, affected.request_id, [0] * len(affected)).get(0, EXCESS.empty())


def baselines_of(found: Assigned, request_ids: pd.Series, groups: Sequence[int]) -> dict[int, pd.DataFrame]:
    """The same for many groups of requests at once, as tables of the columns of `EXCESS`; none where nothing is apart.

    Args:
        found: the causes of the requests of a log.
        request_ids: requests in trouble; those without an id are left out.
        groups: the number of the group of each.
    """
    import pyarrow as pa

    log = found.log
    ids = pa.array(request_ids, pa.string(), from_pandas=True)
    affected = pa.table({"of": ids, "of_group": pa.array(groups, pa.int64())}).filter(ids.is_valid())
    if not len(affected):
        return {}
    served = {"only_served": not log.ask(any_client, log.table).num_rows}
    hits = log.keep(hit_rows, found.suspects, found.partners, log.lend(affected), **served)
    excesses = to_pandas(log.ask(excess, log.table, hits, **served))
    return {
        int(group): EXCESS.conform(rows.drop(columns="of_group").reset_index(drop=True))
        for group, rows in excesses.sort_values(["of_group", "place"]).drop(columns="place").groupby("of_group")
    }


@question("log")
def any_client(log: ir.Table) -> ir.Table:
    """A row if a client logged a request."""
    return log.filter(log.request_id.notnull() & ~is_server(log)).select("request_id").limit(1)


@question("suspects", "partners", "affected", switches=["only_served"])
def hit_rows(suspects: ir.Table, partners: ir.Table, affected: ir.Table, only_served: bool) -> ir.Table:
    """Rows of the requests affected, with `of_group`."""
    import ibis

    rows = _counted(ibis.union(suspects, partners), only_served).select("request_id", *PROPERTIES)
    hit = rows.inner_join(affected, rows.request_id == affected.of)
    hit = hit.mutate(downstream_remote_address=_address(hit.downstream_remote_address))
    return hit.select("of_group", *PROPERTIES)


@question("log", "hit_rows", switches=["only_served"])
def excess(log: ir.Table, hit_rows: ir.Table, only_served: bool) -> ir.Table:
    """The columns of `EXCESS` for each group of requests, at most `SHOWN` a group, with their `place`.

    Each request counts as often as clients logged it; where only servers did, as often as they did.

    Args:
        log: rows of an access log.
        hit_rows: those of the requests affected.
        only_served: whether only servers logged.
    """
    import ibis

    rows = _counted(log, only_served)
    hits = hit_rows.group_by(hits_of=hit_rows.of_group).agg(hits=hit_rows.count())
    parts = []
    for column in PROPERTIES:
        known = rows.filter(rows[column].notnull())
        sizes = known.group_by(value_of=column).agg(requests=known.count())
        if column == "downstream_remote_address":  # few addresses, many ports
            sizes = sizes.group_by(value_of=_address(sizes.value_of)).agg(requests=sizes.requests.sum())
        sizes = sizes.mutate(values=sizes.count().over(ibis.window()))
        own = hit_rows.filter(hit_rows[column].notnull())
        own = own.group_by("of_group", value=own[column]).agg(affected=own.count())
        part = own.inner_join(sizes.filter(sizes["values"] > 1), own.value == sizes.value_of)
        parts.append(part.select("of_group", "value", "affected", "requests", property=ibis.literal(column)))
    both = ibis.union(*parts)
    both = both.inner_join(hits, both.of_group == hits.hits_of).cross_join(rows.agg(total=rows.count()))
    others = (both.total - both.requests).nullif(0)
    both = both.mutate(
        rate=both.affected / both.requests, rest_rate=((both.hits - both.affected) / others).fill_null(0.0)
    )
    both = both.mutate(excess=both.affected - both.requests * both.rest_rate)
    both = both.filter((both.excess > 0.5) & (both.rate > 1.5 * both.rest_rate))
    order = [ibis.desc("excess"), "property", "value"]
    both = both.mutate(place=ibis.row_number().over(group_by="of_group", order_by=order))
    return both.filter(both.place < SHOWN).select("of_group", "place", *EXCESS.column_names)


def _counted(log: ir.Table, only_served: bool) -> ir.Table:
    named = log.request_id.notnull()
    return log.filter(named if only_served else named & ~is_server(log))


def _address(text: ir.StringValue) -> ir.StringValue:
    """An address without its port; missing if it has none."""
    return text.re_extract("^(.*):", 1)


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
    known = affected.duration_ms.dropna().to_numpy(dtype="int64")
    durations, total = sorted(known[known >= 50].tolist()), len(known)
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
