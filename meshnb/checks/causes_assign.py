"""Every failed or slow request gets one cause: the rows of both sides joined by request id, the deepest one decides.

The outermost row says what the caller got, the row that knows most says why. A gateway's `503 via_upstream` is
innocent if the sidecar's row of the same request says that the application refused the connection.

All that touches every row is an expression of Ibis (`causes_requests`) that the log's engine runs. Here only what is
distinct arrives: what rows say (`causes_rows`) and the circumstances of requests (`causes_refine`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from meshnb.checks.causes_log import AnyLog, Log, open_log
from meshnb.checks.causes_refine import Circumstance, bare, refine
from meshnb.checks.causes_requests import (
    MARKS,
    NO_FAULT,
    circumstances,
    count_requests,
    good_rows,
    read_rows,
    traffic,
    troubled_requests,
    troubled_rows,
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
    """The causes of the failed requests of a log.

    Args:
        log: the engine that holds them.
        table: one row per failed request, with the columns of `FAILED_REQUESTS`, in no order.
        requests: how many requests there were at all.
        recovered: how many failed somewhere and were saved by a retry.
    """

    log: Log
    table: ir.Table
    requests: int
    recovered: int


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
    assigned = assign(access_log, routes=routes, endpoints=endpoints, slow_ms=slow_ms)
    import ibis  # here, since a scan is read while it is imported
    import pyarrow as pa

    order = [ibis.asc("start_time", nulls_first=False), "file", "line"]
    rows = assigned.log.run(assigned.table.order_by(order))
    df = to_pandas(rows.cast(pa.schema([(column.name, column.arrow_type) for column in FAILED_REQUESTS.columns])))
    df.attrs.update(requests=assigned.requests, recovered=assigned.recovered)
    return df


def assign(
    access_log: AnyLog,
    *,
    routes: pd.DataFrame | None = None,
    endpoints: pd.DataFrame | None = None,
    slow_ms: float = SLOW_MS,
) -> Assigned:
    """The same as `failed_requests`, left in the engine that holds the log."""
    log = open_log(access_log)
    said, table = said_by(log.run(signatures(log.table, slow_ms)))
    known = log.lend(table)
    rows = read_rows(log.table, known, slow_ms)
    requests = log.keep(troubled_requests(log.keep(troubled_rows(log.table, known, slow_ms))))
    counts = log.run(requests.agg(troubled=requests.count(), wrong=requests.wrong.sum().fill_null(0))).to_pylist()[0]
    total = log.run(count_requests(log.table)).to_pylist()[0]
    causes = {one.cause for one in said}
    failed = requests.filter(requests.wrong & (requests.best < NO_FAULT))
    failed = log.keep(with_circumstances(failed, rows, causes))
    cases = [_circumstance(row, said) for row in log.run(circumstances(failed)).to_pylist()]
    refine(cases, LogFacts(log, rows, failed), routes=routes, endpoints=endpoints)
    verdicts = log.lend(_verdicts(cases, said))
    return Assigned(
        log,
        with_verdicts(failed, verdicts),
        requests=int(total["named"]) + int(total["nameless"]),
        recovered=int(counts["troubled"]) - int(counts["wrong"]),
    )


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


class LogFacts:
    """What all rows of a log say; each question is a small grouped query, asked once.

    Args:
        log: the engine.
        rows: all rows, as from `read_rows`.
        failed: requests with their circumstances.
    """

    def __init__(self, log: Log, rows: ir.Table, failed: ir.Table) -> None:
        self._log = log
        self._rows = rows
        self._failed = failed

    def requests_to(self, cluster: str) -> dict[str, int]:
        """Requests per endpoint of a cluster, as callers logged them."""
        return self._sent.get(cluster, {})

    def good_clusters(self) -> Collection[str]:
        """Clusters of which a request succeeded."""
        return self._good_clusters

    def good_to(self, host: str) -> int:
        """Rows of an endpoint that went well."""
        return self._good[host]

    def good_paths(self, host: str, paths: Collection[str]) -> Collection[str]:
        """Those of some paths that an endpoint served well."""
        rows = good_rows(self._rows)
        rows = rows.filter((rows.upstream_host == host) & rows.path.isin(sorted(paths)))
        return {row["path"] for row in self._log.run(rows.select("path").distinct()).to_pylist()}

    def errors_before(self, cluster: str) -> int:
        """Server errors of endpoints of a cluster before none of them was healthy."""
        return self._errors.get(cluster, 0)

    def hosts_served(self) -> Collection[str]:
        """Hosts, without port, for which a route led to a cluster."""
        rows = self._rows
        rows = rows.filter(rows.upstream_cluster.notnull() & ~rows.server & rows.authority.notnull())
        return {bare(row["authority"]) for row in self._log.run(rows.select("authority").distinct()).to_pylist()}

    def usual_ms(self) -> float | None:
        """95 % of good answers take at most this."""
        return self._usual

    @cached_property
    def _traffic(self) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = self._log.run(traffic(self._rows)).to_pylist()
        return rows

    @cached_property
    def _sent(self) -> dict[str, dict[str, int]]:
        sent: dict[str, dict[str, int]] = {}
        for row in self._traffic:
            if not row["server"] and row["upstream_host"] is not None and row["upstream_cluster"] is not None:
                sent.setdefault(row["upstream_cluster"], {})[row["upstream_host"]] = int(row["requests"])
        return sent

    @cached_property
    def _good_clusters(self) -> set[str]:
        return {row["upstream_cluster"] for row in self._traffic if row["good"]}

    @cached_property
    def _good(self) -> Counter[str]:
        good: Counter[str] = Counter()
        for row in self._traffic:
            good[row["upstream_host"]] += int(row["good"])
        return good

    @cached_property
    def _errors(self) -> dict[str, int]:
        unhealthy = self._failed.filter(self._failed.cause == "no_healthy_upstream")
        begins = unhealthy.group_by(of=unhealthy.upstream_cluster).agg(begin=unhealthy.start_time.min())
        rows = self._rows
        errors = rows.filter((rows.response_code >= 500) & rows.upstream_host.notnull())
        errors = errors.inner_join(begins, [errors.upstream_cluster == begins.of, errors.start_time <= begins.begin])
        counts = self._log.run(errors.group_by("upstream_cluster").agg(errors=errors.count())).to_pylist()
        return {row["upstream_cluster"]: int(row["errors"]) for row in counts}

    @cached_property
    def _usual(self) -> float | None:
        rows = good_rows(self._rows)
        rows = rows.filter(~rows.server)
        usual = self._log.run(rows.agg(usual=rows.duration_ms.cast("float64").quantile(0.95))).to_pylist()[0]["usual"]
        return None if usual is None else float(usual)
