"""Summaries of an access log as Ibis expressions over one logical table.

DuckDB runs them by default. The same expressions run on any engine that Ibis knows (Spark, ClickHouse, BigQuery,
Trino), where a table of the columns of `ACCESS_LOG` lies: give that backend's table instead of `log_table()`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from meshnb.loaders.access_log_sql import name as quoted
from meshnb.model.tables.logs import ACCESS_LOG

if TYPE_CHECKING:
    import ibis.expr.types as ir

COMPILED = Path(__file__).parent / "compiled"
"""DuckDB's SQL of the usual summaries, made by `scripts/make_sql.py`: importing Ibis takes longer than many a log."""
PLACEHOLDERS = ("by_1", "by_2", "by_3")
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
    # what is missing makes a condition missing, which is no reason to call the request failed
    flagged = flags.notin(list(_HARMLESS))
    refused = (code >= 400) & (details != "via_upstream")
    silent = (code == 0) & log.method.notnull()
    result: Any = ((code >= 500) | flagged | refused | silent).fill_null(False)
    return result


def summary(log: ir.Table, by: Sequence[str]) -> ir.Table:
    """Requests, failures and durations per group, most requests first.

    Args:
        log: the table.
        by: columns that make a group.

    Example:
        >>> summary(log_table(), ["flag_set"]).columns
        ('flag_set', 'requests', 'failed', 'error_rate', 'p50_ms', 'p90_ms', 'p99_ms', 'max_ms')
    """
    import ibis

    groups = _groups(log, by, {})
    rate = groups.failed / groups.requests
    columns = groups.select(*by, "requests", "failed", *QUANTILES, "max_ms", error_rate=rate)
    columns = columns.relocate("error_rate", after="failed")
    return columns.order_by([ibis.desc("requests"), *by])


def _groups(log: ir.Table, by: Sequence[str], first: Mapping[str, ir.Scalar]) -> ir.Table:
    """Requests, failures and durations per group, and the least of what else is asked for.

    Quantiles are taken from how many requests took each millisecond. An engine's own function would keep every
    duration in memory, and two engines (BigQuery, Trino) have approximate ones only.
    """
    import ibis

    counts = log.group_by([*by, "duration_ms"]).agg(
        requests=log.count(), failed=failed(log).cast("int64").sum(), **first
    )
    timed = counts.duration_ms.notnull().ifelse(counts.requests, 0)
    counts = counts.mutate(timed=timed)
    group = ibis.window(group_by=list(by))
    until = ibis.window(group_by=list(by), order_by="duration_ms", preceding=None, following=0)
    places = counts.mutate(until=counts.timed.sum().over(until), last=counts.timed.sum().over(group) - 1)
    quantiles = {name: _quantile(places, q) for name, q in QUANTILES.items()}
    return places.group_by(list(by)).agg(
        requests=places.requests.sum(),
        failed=places.failed.sum(),
        **{name: places[name].min() for name in first},
        **quantiles,
        max_ms=places.duration_ms.max(),
    )


def _quantile(places: Any, q: float) -> ir.Scalar:
    """The value at a place between two rows, as pandas interpolates it; `until` counts rows up to a duration."""
    at = places.last.cast("float64") * q
    low = places.duration_ms.min(where=places.until > at.floor())
    high = places.duration_ms.min(where=places.until > at.ceil())
    share = (at - at.floor()).max()
    result: Any = low + (high - low) * share
    return result


def ranking(log: ir.Table, by: str) -> ir.Table:
    """Who fails more than the rest: per value of a column, its failures against what the others would have had.

    `excess` is the number of failures above those expected at the error rate of all other rows: what would vanish if
    this one failed like the rest.

    Args:
        log: the table.
        by: the column, such as `upstream_host`, `route_name` or `user_agent`.

    Example:
        >>> ranking(log_table(), "upstream_host").columns[:4]
        ('upstream_host', 'requests', 'failed', 'error_rate')
    """
    import ibis

    groups = _groups(log, [by], {"first_failure": log.start_time.min(where=failed(log))})
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
    """The expression as SQL of an engine, in one line."""
    import ibis

    return str(ibis.to_sql(expression, dialect=dialect, pretty=False))


def compile_summary(by: Sequence[str]) -> str:
    """DuckDB's SQL of `summary` over text columns."""
    return to_sql(summary(log_table([c for c in by if c not in ACCESS_LOG.column_names]), by))


def compile_ranking(by: str) -> str:
    """DuckDB's SQL of `ranking` over a text column."""
    return to_sql(ranking(log_table([] if by in ACCESS_LOG.column_names else [by]), by))


def summary_sql(by: Sequence[str]) -> str:
    """DuckDB's SQL of `summary`, without Ibis for up to three columns.

    Args:
        by: columns that make a group.
    """
    if not 1 <= len(by) <= len(PLACEHOLDERS):
        return compile_summary(by)
    return _stored(f"summary-{len(by)}", dict(zip(PLACEHOLDERS, by, strict=False)))


def ranking_sql(by: str) -> str:
    """DuckDB's SQL of `ranking`, without Ibis.

    Args:
        by: the column.
    """
    return _stored("ranking", {PLACEHOLDERS[0]: by})


def _stored(kind: str, names: Mapping[str, str]) -> str:
    sql = (COMPILED / f"{kind}.sql").read_text()
    for placeholder, column in names.items():
        sql = sql.replace(f'"{placeholder}"', quoted(column))
    return sql
