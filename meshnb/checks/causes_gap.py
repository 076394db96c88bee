"""The gap between what clients and servers report: the same requests, 504 on one side and 0 on the other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from meshnb.checks.questions import question
from meshnb.checks.requests import carries, is_server

if TYPE_CHECKING:
    import ibis.expr.types as ir


@dataclass(frozen=True, slots=True)
class Sides:
    """What both sides count. A dashboard counts a code below 500 as success, and 0 is below.

    Args:
        requests: requests at all, those without an id counted row by row.
        client_success: share of the clients' rows that are a success, of requests that a server logged as well.
        server_success: share of the servers' rows.
        failed: rows of clients that are none, of requests that a server logged as well.
        explained: those of them for which the server logged `DC`.
    """

    requests: int
    client_success: float | None
    server_success: float | None
    failed: int
    explained: int

    @property
    def gap(self) -> str:
        """The gap between both success rates and how much of it `DC` explains; empty if there is none."""
        client, server = self.client_success, self.server_success
        if client is None or server is None or server - client < 0.005:
            return ""
        return (
            f"The client's side counts {client:.0%} success and the server's {server:.0%}. Of the {self.failed} "
            f"requests that failed for the client, the server logged {self.explained} as 0 DC (its client hung up), "
            f"and a code of 0 is no error to a dashboard: that explains {self.explained / self.failed:.0%} of the gap."
        )


@question("log")
def count_sides(log: ir.Table) -> ir.Table:
    """One row: requests, with an id (`named`) and without, and rows with an id of both sides.

    Of the client's rows (`client_coded`, those with a code) only those count whose request a server logged as well.
    """
    rows = log.filter(log.request_id.notnull())
    served, coded = is_server(rows), rows.response_code.notnull()
    requests = rows.group_by("request_id").agg(served=served.any(), client_coded=rows.count(where=coded & ~served))
    named = requests.agg(
        named=requests.count(), client_coded=requests.client_coded.sum(where=requests.served).fill_null(0)
    )
    counts = rows.agg(
        rows=rows.count(),
        server_coded=rows.count(where=served & coded),
        server_good=rows.count(where=served & (rows.response_code < 500).fill_null(False)),
    )
    nameless = log.agg(nameless=log.count(where=log.method.notnull() & log.request_id.isnull()))
    result: ir.Table = named.cross_join(counts).cross_join(nameless)
    return result


@question("suspects", "partners")
def count_failed(suspects: ir.Table, partners: ir.Table) -> ir.Table:
    """One row: the client's rows with an error of 5xx whose request a server logged, and those it logged as `DC`."""
    import ibis

    rows = ibis.union(suspects, partners)
    rows = rows.filter(rows.request_id.notnull())
    served = rows.filter(rows.server)
    served = served.group_by(of=served.request_id).agg(cut=carries(served, "DC").any())
    failed = rows.filter((rows.response_code >= 500) & ~rows.server)
    failed = failed.inner_join(served, failed.request_id == served.of)
    return failed.agg(failed=failed.count(), explained=failed.count(where=failed.cut))


def sides(totals: Mapping[str, int], failures: Mapping[str, int]) -> Sides:
    """What both sides count.

    Args:
        totals: the row of `count_sides`.
        failures: the row of `count_failed`.
    """
    client, server = totals["client_coded"], totals["server_coded"]
    return Sides(
        totals["named"] + totals["nameless"],
        (client - failures["failed"]) / client if client else None,
        totals["server_good"] / server if server else None,
        failures["failed"],
        failures["explained"],
    )
