"""What all rows of a log say, for the rules that look around a request: small grouped questions, each asked once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from functools import cached_property
from typing import TYPE_CHECKING, Any

from meshnb.checks.causes_log import Log, Table
from meshnb.checks.causes_refine import bare
from meshnb.checks.causes_requests import good_rows
from meshnb.checks.questions import question
from meshnb.checks.requests import is_server

if TYPE_CHECKING:
    import ibis.expr.types as ir


@question("log", "suspects")
def traffic(log: ir.Table, suspects: ir.Table) -> ir.Table:
    """Rows, and those of them that say something is wrong, per cluster and endpoint."""
    rows = log.group_by("upstream_cluster", "upstream_host").agg(requests=log.count())
    bad = suspects.filter(suspects.said.notnull())
    bad = bad.group_by(of_cluster="upstream_cluster", of_host="upstream_host").agg(bad=bad.count())
    same = [rows.upstream_cluster.identical_to(bad.of_cluster), rows.upstream_host.identical_to(bad.of_host)]
    joined = rows.left_join(bad, same)
    joined = joined.mutate(server=is_server(joined), good=joined.requests - joined.bad.fill_null(0))
    return joined.select("server", "upstream_cluster", "upstream_host", "requests", "good")


@question("suspects", "with_circumstances")
def errors_before(suspects: ir.Table, failed: ir.Table) -> ir.Table:
    """Per cluster without a healthy endpoint: server errors of its endpoints up to the first such request."""
    unhealthy = failed.filter(failed.cause == "no_healthy_upstream")
    begins = unhealthy.group_by(of=unhealthy.upstream_cluster).agg(begin=unhealthy.start_time.min())
    errors = suspects.filter((suspects.response_code >= 500) & suspects.upstream_host.notnull())
    errors = errors.inner_join(begins, [errors.upstream_cluster == begins.of, errors.start_time <= begins.begin])
    return errors.group_by("upstream_cluster").agg(errors=errors.count())


@question("log")
def hosts_served(log: ir.Table) -> ir.Table:
    """Hosts for which a route led to a cluster."""
    rows = log.filter(log.upstream_cluster.notnull() & log.authority.notnull())
    rows = rows.group_by("upstream_cluster", "authority").agg(requests=rows.count())
    return rows.filter(~is_server(rows)).select("authority").distinct()


@question("log", "suspects", numbers=["slow_ms"])
def good_durations(log: ir.Table, suspects: ir.Table, slow_ms: float) -> ir.Table:
    """How many requests that went well, as callers logged them, took each millisecond."""
    rows = good_rows(log, suspects, slow_ms, ("upstream_cluster", "duration_ms"))
    rows = rows.group_by("upstream_cluster", "duration_ms").agg(requests=rows.count())
    rows = rows.filter(~is_server(rows) & rows.duration_ms.notnull())
    return rows.group_by("duration_ms").agg(requests=rows.requests.sum()).order_by("duration_ms")


@question("log", "suspects", "asked_paths", numbers=["slow_ms"])
def good_paths(log: ir.Table, suspects: ir.Table, asked_paths: ir.Table, slow_ms: float) -> ir.Table:
    """Those of some endpoints and paths that were served well."""
    rows = good_rows(log, suspects, slow_ms, ("upstream_host", "path"))
    same = [rows.upstream_host == asked_paths.of_host, rows.path == asked_paths.of_path]
    return rows.semi_join(asked_paths, same).select("path").distinct()


class LogFacts:
    """What all rows of a log say.

    Args:
        log: the engine.
        suspects: its suspect rows.
        failed: the failed requests with their circumstances.
        slow_ms: what takes longer is slow.
    """

    def __init__(self, log: Log, suspects: Table, failed: Table, *, slow_ms: float) -> None:
        self._log = log
        self._suspects = suspects
        self._failed = failed
        self._slow_ms = slow_ms

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
        import pyarrow as pa

        asked = self._log.lend(pa.table({"of_host": [host] * len(paths), "of_path": sorted(paths)}))
        found = self._log.ask(good_paths, self._log.table, self._suspects, asked, slow_ms=self._slow_ms)
        return set(found["path"].to_pylist())

    def errors_before(self, cluster: str) -> int:
        """Server errors of endpoints of a cluster before none of them was healthy."""
        return self._errors.get(cluster, 0)

    def hosts_served(self) -> Collection[str]:
        """Hosts, without port, for which a route led to a cluster."""
        return {bare(host) for host in self._log.ask(hosts_served, self._log.table)["authority"].to_pylist()}

    def usual_ms(self) -> float | None:
        """95 % of good answers take at most this."""
        return self._usual

    @cached_property
    def _traffic(self) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = self._log.ask(traffic, self._log.table, self._suspects).to_pylist()
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
        counts = self._log.ask(errors_before, self._suspects, self._failed).to_pylist()
        return {row["upstream_cluster"]: int(row["errors"]) for row in counts}

    @cached_property
    def _usual(self) -> float | None:
        rows = self._log.ask(good_durations, self._log.table, self._suspects, slow_ms=self._slow_ms)
        return quantile(rows["duration_ms"].to_pylist(), [int(n) for n in rows["requests"].to_pylist()], 0.95)


def quantile(values: list[int], counts: list[int], q: float) -> float | None:
    """A quantile of values that occur so often, between two of them as pandas interpolates it.

    Example:
        >>> quantile([10, 20], [1, 1], 0.95)
        19.5
    """
    if not values:
        return None
    at = (sum(counts) - 1) * q
    until, below = 0, values[0]
    for value, count in zip(values, counts, strict=True):
        if at < until:  # between the last of those before and the first of these
            return below + (value - below) * (at - (until - 1))
        until += count
        below = value
        if at <= until - 1:
            return float(value)
    return float(values[-1])
