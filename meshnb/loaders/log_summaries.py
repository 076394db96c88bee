"""Summaries of an access log as Ibis expressions over one logical table.

DuckDB runs them by default. The same expressions run on any engine that Ibis knows (Spark, ClickHouse, BigQuery,
Trino), where a table of the columns of `ACCESS_LOG` lies: give that backend's table instead of `log_table()`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from meshnb.model.tables.logs import ACCESS_LOG

if TYPE_CHECKING:
    import ibis.expr.types as ir

QUANTILES = {"p50_ms": 0.5, "p90_ms": 0.9, "p99_ms": 0.99}

_IBIS_TYPES = {
    "string": "string",
    "int64": "int64",
    "float64": "float64",
    "bool": "boolean",
    "timestamp": "timestamp",
    "list<string>": "array<string>",
    "json": "string",
}

# flags that tell of something done on purpose that leaves the request whole
_HARMLESS = ("DI", "RFCF")


def log_table(extra: Sequence[str] = (), *, name: str = "log") -> ir.Table:
    """The logical table, bound to no engine.

    Args:
        extra: text columns beyond those of `ACCESS_LOG`.
        name: its name in the engine.
    """
    import ibis

    columns = {column.name: _IBIS_TYPES[column.dtype] for column in ACCESS_LOG.columns}
    return ibis.table({**columns, **dict.fromkeys(extra, "string")}, name=name)


def failed(log: ir.Table) -> ir.BooleanValue:
    """Whether a request failed, whoever's fault it was.

    Code alone misleads: a 200 may carry `UPE`, a 403 be Envoy's own, and 0 is a failure for a request but the rule for
    a TCP connection.
    """
    code, flags, details = log.response_code, log["flag_set"], log.response_code_details
    flagged = flags.notnull() & flags.notin(list(_HARMLESS))
    refused = (code >= 400) & details.notnull() & (details != "via_upstream")
    silent = (code == 0) & log.method.notnull()
    result: Any = ((code >= 500) | flagged | refused | silent).fill_null(False)
    return result


def summary(log: ir.Table, by: Sequence[str], *, exact: bool = True) -> ir.Table:
    """Requests, failures and durations per group, most requests first.

    Args:
        log: the table.
        by: columns that make a group.
        exact: exact quantiles; BigQuery and Trino have approximate ones only.

    Example:
        >>> summary(log_table(), ["flag_set"]).columns
        ('flag_set', 'requests', 'failed', 'error_rate', 'p50_ms', 'p90_ms', 'p99_ms', 'max_ms')
    """
    import ibis

    bad = failed(log).cast("int64")
    durations = {name: _quantile(log.duration_ms, q, exact) for name, q in QUANTILES.items()}
    groups = log.group_by(list(by)).agg(
        requests=log.count(), failed=bad.sum(), error_rate=bad.mean(), **durations, max_ms=log.duration_ms.max()
    )
    return groups.order_by([ibis.desc("requests"), *by])


def _quantile(column: ir.IntegerColumn, q: float, exact: bool) -> ir.Scalar:
    value: Any = column.cast("float64")
    return value.quantile(q) if exact else value.approx_quantile(q)


def ranking(log: ir.Table, by: str, *, exact: bool = True) -> ir.Table:
    """Who fails more than the rest: per value of a column, its failures against what the others would have had.

    `excess` is the number of failures above those expected at the error rate of all other rows: what would vanish if
    this one failed like the rest.

    Args:
        log: the table.
        by: the column, such as `upstream_host`, `route_name` or `user_agent`.
        exact: as for `summary`.

    Example:
        >>> ranking(log_table(), "upstream_host").columns[:4]
        ('upstream_host', 'requests', 'failed', 'error_rate')
    """
    import ibis

    bad = failed(log).cast("int64")
    groups = log.group_by(by).agg(
        requests=log.count(),
        failed=bad.sum(),
        p50_ms=_quantile(log.duration_ms, 0.5, exact),
        p99_ms=_quantile(log.duration_ms, 0.99, exact),
        first_failure=log.start_time.min(where=failed(log)),
    )
    window = ibis.window()
    all_requests, all_failed = groups.requests.sum().over(window), groups.failed.sum().over(window)
    others = (all_requests - groups.requests).nullif(0)
    rest_rate = (all_failed - groups.failed) / others
    ranked = groups.mutate(
        error_rate=groups.failed / groups.requests,
        rest_error_rate=rest_rate,
        share_of_failures=groups.failed / all_failed.nullif(0),
        excess=groups.failed - groups.requests * rest_rate.fill_null(0.0),
    )
    columns = [by, "requests", "failed", "error_rate", "rest_error_rate", "excess", "share_of_failures"]
    return ranked.select(*columns, "p50_ms", "p99_ms", "first_failure").order_by(
        [ibis.desc("excess"), ibis.desc("failed"), by]
    )


def to_sql(expression: ir.Table, *, dialect: str = "duckdb") -> str:
    """The expression as SQL of an engine."""
    import ibis

    return str(ibis.to_sql(expression, dialect=dialect))
