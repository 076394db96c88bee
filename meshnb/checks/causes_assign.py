"""Every failed or slow request gets one cause: the rows of both sides joined by request id, the deepest one decides.

The outermost row says what the caller got, the row that knows most says why. A gateway's `503 via_upstream` is
innocent if the sidecar's row of the same request says that the application refused the connection.

All that touches every row is an expression of Ibis (`causes_requests`) that the log's engine runs. Here only what is
distinct arrives: what rows say (`causes_rows`) and the circumstances of requests (`causes_refine`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from meshnb.checks.causes_facts import LogFacts
from meshnb.checks.causes_gap import Sides, count_failed, count_sides, sides
from meshnb.checks.causes_log import AnyLog, Log, Table, open_log
from meshnb.checks.causes_refine import Circumstance, refine
from meshnb.checks.causes_requests import (
    MARKS,
    circumstances,
    count_saved,
    partners,
    places,
    suspects,
    troubled_requests,
    with_circumstances,
    with_verdicts,
)
from meshnb.checks.causes_rows import RowCause, said_by, signatures
from meshnb.envoy.names import ClusterName
from meshnb.model.frame import returns, to_pandas
from meshnb.model.tables.logs import FAILED_REQUESTS

if TYPE_CHECKING:
    import ibis.expr.types as ir
    import pandas as pd
    import pyarrow as pa

SLOW_MS = 1000.0
"""An answer that takes longer is slow."""


@dataclass(frozen=True)
class Assigned:
    """The causes of the failed requests of a log, in the engine that holds it.

    Args:
        log: the engine.
        sides: how many requests there were at all, as clients and servers logged them.
        recovered: how many failed somewhere and were saved by a retry.
        suspects: rows that may have something wrong to say.
        partners: the other rows of their requests.
        failed: the failed requests with their circumstances.
        verdicts: the verdict on each of the circumstances.
    """

    log: Log
    sides: Sides
    recovered: int
    suspects: Table
    partners: Table
    failed: Table
    verdicts: Table

    @property
    def requests(self) -> int:
        """How many requests there were at all."""
        return self.sides.requests

    @property
    def table(self) -> ir.Table:
        """One row per failed request with the columns of `FAILED_REQUESTS`, for questions of one's own."""
        return with_verdicts(self.log.ibis(self.failed), self.log.ibis(self.verdicts))

    @returns(FAILED_REQUESTS)
    def rows(self) -> pd.DataFrame:
        """The same as a DataFrame."""
        import pyarrow as pa

        rows = self.log.ask(with_verdicts, self.failed, self.verdicts)
        rows = rows.cast(pa.schema([(column.name, column.arrow_type) for column in FAILED_REQUESTS.columns]))
        df = to_pandas(rows)
        df.attrs.update(requests=self.requests, recovered=self.recovered)
        return df


@returns(FAILED_REQUESTS)
def failed_requests(
    access_log: AnyLog,
    *,
    routes: pd.DataFrame | None = None,
    endpoints: pd.DataFrame | None = None,
    slow_ms: float = SLOW_MS,
) -> pd.DataFrame:
    """Assign every failed or slow request to one cause.

    Args:
        access_log: rows of both sides, as far as there are logs: a DataFrame, what `scan_access_log` opened, or a table
            of any Ibis backend with these columns. Only the failed requests are held in memory.
        routes: table `routes`, to tell an unknown host from an unmatched path.
        endpoints: table `endpoints`, to tell ejected endpoints from missing ones.
        slow_ms: an answer that takes longer is slow.

    Returns:
        One row per request; `.attrs["requests"]` is how many requests there were, `.attrs["recovered"]` how many
        failed somewhere and were saved by a retry.
    """
    return assign(access_log, routes=routes, endpoints=endpoints, slow_ms=slow_ms).rows()


def assign(
    access_log: AnyLog,
    *,
    routes: pd.DataFrame | None = None,
    endpoints: pd.DataFrame | None = None,
    slow_ms: float = SLOW_MS,
) -> Assigned:
    """The same as `failed_requests`, left in the engine that holds the log."""
    log = open_log(access_log)
    said, table = said_by(log.ask(signatures, log.table, slow_ms=slow_ms))
    totals = _counts(log.ask(count_sides, log.table))  # first, since what is kept below takes room
    suspect = log.keep(suspects, log.table, log.lend(table), slow_ms=slow_ms)
    alone = totals["rows"] == totals["named"]
    partner = log.keep(partners, log.table, suspect, slow_ms=slow_ms, alone=alone)
    place = log.keep(places, suspect, partner, alone=alone)
    requests = log.keep(troubled_requests, suspect, partner, place, alone=alone)
    causes = {one.cause for one in said}
    failed = log.keep(
        with_circumstances, requests, log.table, suspect,
        slow_ms=slow_ms, closed="connection_closed" in causes, drain="drain" in causes,
    )  # fmt: skip
    cases = [_circumstance(row, said) for row in log.ask(circumstances, failed).to_pylist()]
    refine(cases, LogFacts(log, suspect, failed, slow_ms=slow_ms), routes=routes, endpoints=endpoints)
    return Assigned(
        log,
        sides(totals, _counts(log.ask(count_failed, suspect, partner))),
        _counts(log.ask(count_saved, requests))["saved"],
        suspects=suspect,
        partners=partner,
        failed=failed,
        verdicts=log.lend(_verdicts(cases, said)),
    )


def _counts(rows: pa.Table) -> dict[str, int]:
    """A single row of numbers."""
    return {name: int(value) for name, value in rows.to_pylist()[0].items()}


def _circumstance(row: dict[str, Any], said: list[RowCause]) -> Circumstance:
    return Circumstance(row=said[row.pop("said")], **row)


def _verdicts(cases: list[Circumstance], said: list[RowCause]) -> pa.Table:
    """The circumstances with their verdicts, as a table to join."""
    import pyarrow as pa

    number = {id(one): place for place, one in enumerate(said)}
    names = {c: ClusterName.parse(c).fqdn for c in {case.upstream_cluster for case in cases} if c is not None}
    texts = dict.fromkeys(("upstream_cluster", "upstream_host", "about"), pa.string())
    given = {"cause": pa.string(), "confidence": pa.float64(), "why": pa.string()}
    columns = {**texts, "waited_ms": pa.int64(), **dict.fromkeys(MARKS, pa.bool_()), **given}
    arrays: dict[str, pa.Array] = {"said": pa.array([number[id(case.row)] for case in cases], pa.int64())}
    for name, kind in columns.items():
        arrays[name] = pa.array([getattr(case, name) for case in cases], kind)
    arrays["ended_by"] = pa.array([case.row.ended_by for case in cases], pa.string())
    fqdns = [names[case.upstream_cluster] or None if case.upstream_cluster else None for case in cases]
    arrays["fqdn"] = pa.array(fqdns, pa.string())
    return pa.table(arrays)
