"""The gap between what clients and servers report: the same requests, 504 on one side and 0 on the other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from meshnb.checks.causes_log import AnyLog, open_log

if TYPE_CHECKING:
    import ibis.expr.types as ir


def reporter_gap(access_log: AnyLog) -> str:
    """The gap between both sides' success rates and how much of it `DC` explains; empty if there is none.

    Args:
        access_log: rows of both sides.
    """
    log = open_log(access_log)
    row = log.run(both_sides(log.table)).to_pylist()[0]
    client, server = row["client_success"], row["server_success"]
    if client is None or server is None or server - client < 0.005:
        return ""
    failed, explained = int(row["failed"]), int(row["explained"])
    return (
        f"The client's side counts {client:.0%} success and the server's {server:.0%}. Of the {failed} requests "
        f"that failed for the client, the server logged {explained} as 0 DC (its client hung up), and a code of 0 is "
        f"no error to a dashboard: that explains {explained / failed:.0%} of the gap."
    )


def both_sides(log: ir.Table) -> ir.Table:
    """One row: success of the requests that the server's side logged, as both sides count it, and what `DC` explains.

    A dashboard counts a code below 500 as success, and 0 is below. `failed` and `explained` count rows of the client.
    """
    named = log.filter(log.request_id.notnull())
    served = named.upstream_cluster.startswith("inbound|").fill_null(False)
    server = named.filter(served)
    # flags are a set, sorted and joined by commas
    hung_up: Any = (("," + server["flag_set"] + ",").contains(",DC,")).fill_null(False).cast("int64")
    ids = server.group_by(of=server.request_id).agg(cut=hung_up.max())
    client = named.filter(~served)
    client = client.inner_join(ids, client.request_id == ids.of)
    bad: Any = client.response_code >= 500
    ours = client.agg(
        client_success=(client.response_code < 500).cast("float64").mean(),
        failed=bad.fill_null(False).cast("int64").sum(),
        explained=(bad.fill_null(False) & (client.cut == 1)).cast("int64").sum(),
    )
    theirs = server.agg(server_success=(server.response_code < 500).cast("float64").mean())
    result: ir.Table = ours.cross_join(theirs)
    return result
