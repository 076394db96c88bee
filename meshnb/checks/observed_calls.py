"""What workloads were seen to call: asked of the access log, not read from it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from meshnb.checks.causes_log import AnyLog, open_log
from meshnb.envoy.names import ClusterName
from meshnb.model.frame import returns
from meshnb.model.tables.sidecars import LOG_EXTENT, OBSERVED_CALLS

if TYPE_CHECKING:
    import pandas as pd

# clusters of calls that come in, and of Envoy's own pages
_NOT_OUT = ("inbound|", "inbound-vip|", "InboundPassthroughCluster", "prometheus_stats", "agent")


def _outbound(log: Any) -> Any:
    """Whether a line is of a call that went out: it has a cluster, and none for calls that come in."""
    cluster = log.upstream_cluster
    coming = cluster.startswith(_NOT_OUT[0])
    for name in _NOT_OUT[1:]:
        coming = coming | cluster.startswith(name)
    return (cluster.notnull() & ~coming).fill_null(False)


@returns(OBSERVED_CALLS)
def observed_calls(log: AnyLog) -> pd.DataFrame:
    """Calls that went out, by proxy, cluster and authority, most frequent first.

    A line without a cluster does not tell whether the call came in or went out, and is left out: it failed anyway.

    Args:
        log: rows, a scan, or a table of an Ibis backend with the columns of `ACCESS_LOG`.
    """
    engine = open_log(log)
    table = engine.table.filter(_outbound(engine.table))
    groups = table.group_by(["proxy", "upstream_cluster", "authority"]).agg(
        requests=table.count(), first_seen=table.start_time.min(), last_seen=table.start_time.max()
    )
    rows = []
    for row in engine.run(groups).to_pylist():
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
    engine = open_log(log)
    table = engine.table
    groups = table.group_by("proxy").agg(
        lines=table.count(),
        outbound=_outbound(table).cast("int64").sum(),
        first=table.start_time.min(),
        last=table.start_time.max(),
    )
    found = engine.run(groups).to_pylist()
    return LOG_EXTENT.rows(
        sorted(({**row, "proxy": row["proxy"] or ""} for row in found), key=lambda row: row["proxy"])
    )
