"""What workloads were seen to call: asked of the access log, not read from it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from meshnb.checks.causes_log import AnyLog, open_log
from meshnb.checks.questions import question
from meshnb.envoy.names import ClusterName
from meshnb.model.frame import returns
from meshnb.model.tables.sidecars import LOG_EXTENT, OBSERVED_CALLS

if TYPE_CHECKING:
    import ibis.expr.types as ir
    import pandas as pd

# clusters of calls that come in, and of Envoy's own pages
_NOT_OUT = ("inbound|", "inbound-vip|", "InboundPassthroughCluster", "prometheus_stats", "agent")
_COLUMNS = ("proxy", "upstream_cluster", "authority", "start_time")


def _outbound(log: ir.Table) -> ir.BooleanValue:
    """Whether a line is of a call that went out: it has a cluster, and none for calls that come in."""
    cluster = log.upstream_cluster
    result: ir.BooleanValue = cluster.notnull()
    for name in _NOT_OUT:
        result = result & ~cluster.startswith(name)
    return result.fill_null(False)


@question("log")
def calls_out(log: ir.Table) -> ir.Table:
    """Calls that went out, by proxy, cluster and authority."""
    rows = log.filter(_outbound(log))
    return rows.group_by(["proxy", "upstream_cluster", "authority"]).agg(
        requests=rows.count(), first_seen=rows.start_time.min(), last_seen=rows.start_time.max()
    )


@question("log")
def reach(log: ir.Table) -> ir.Table:
    """How far the log of each proxy reaches, and of how many lines it tells where they went."""
    return log.group_by("proxy").agg(
        lines=log.count(),
        told=log.upstream_cluster.count(),
        outbound=log.count(where=_outbound(log)),
        first=log.start_time.min(),
        last=log.start_time.max(),
    )


@returns(OBSERVED_CALLS)
def observed_calls(log: AnyLog) -> pd.DataFrame:
    """Calls that went out, by proxy, cluster and authority, most frequent first.

    A line without a cluster does not tell whether the call came in or went out, and is left out: it failed anyway.

    Args:
        log: rows, a scan, or a table of an Ibis backend with the columns of `ACCESS_LOG`.
    """
    engine = open_log(log, _COLUMNS)
    rows = []
    for row in engine.ask(calls_out, engine.table).to_pylist():
        name = ClusterName.parse(row["upstream_cluster"])
        rows.append(
            {
                "proxy": row["proxy"] or "",
                "cluster": row["upstream_cluster"],
                "host": name.fqdn or None,
                "port": name.port if name.direction else None,
                "authority": row["authority"],
                "requests": row["requests"],
                "first_seen": row["first_seen"],
                "last_seen": row["last_seen"],
            }
        )
    rows.sort(key=lambda row: (row["proxy"], -row["requests"], row["cluster"], row["authority"] or ""))
    return OBSERVED_CALLS.rows(rows)


@returns(LOG_EXTENT)
def log_extent(log: AnyLog) -> pd.DataFrame:
    """From when to when each proxy's log reaches, and how many of its lines are calls that went out.

    Args:
        log: as in `observed_calls`.
    """
    engine = open_log(log, _COLUMNS)
    found = engine.ask(reach, engine.table).to_pylist()
    return LOG_EXTENT.rows(
        sorted(({**row, "proxy": row["proxy"] or ""} for row in found), key=lambda row: row["proxy"])
    )
