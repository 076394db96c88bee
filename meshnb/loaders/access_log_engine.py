"""One SQL query over the lines of access logs: the fast way where the files are clean, else line by line."""

# ruff: noqa: S608 - every value put into the SQL goes through quote() or name(), or is a name declared in a Frame

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from meshnb.errors import UsageError
from meshnb.loaders.access_log_count import LineCount
from meshnb.loaders.access_log_lines import Damage, Lines, LogFile
from meshnb.loaders.access_log_native import clean_files, import_meanwhile, native_query
from meshnb.loaders.access_log_sql import Plan, pick, query
from meshnb.model.tables.logs import ACCESS_LOG

if TYPE_CHECKING:
    import pyarrow as pa


def run(
    files: Sequence[LogFile],
    plan: Plan,
    sql: str,
    *,
    where: str = "true",
    numbered: bool = False,
    careful: bool = False,
) -> tuple[pa.Table, list[Damage]]:
    """An SQL query over the lines, as the table `log`, with `reason` and `excerpt` for what is no row.

    Args:
        files: the files.
        plan: how their lines are read.
        sql: the query.
        where: which lines `log` holds.
        numbered: whether the query gives every line with its number.
        careful: read line by line even if the files look clean.

    Returns:
        The answer, and what of the files could not be read.

    Raises:
        UsageError: the query does not fit the columns.
    """
    import duckdb

    table = None if careful else _fast(files, plan, sql, where=where, numbered=numbered)
    if table is not None:
        return table, []
    lines = Lines(files)
    try:
        table = query_rows(files, query(plan.only(sql + where)), sql, where, lines)
    except duckdb.InvalidInputException:
        if lines.error is None:
            raise
        raise lines.error from None
    except (duckdb.BinderException, duckdb.ParserException, duckdb.ConversionException) as error:
        raise UsageError(
            f"not an expression over the access log: {str(error).splitlines()[0]}",
            hint=f"columns: {', '.join([*ACCESS_LOG.column_names, *plan.extra])}",
        ) from error
    return table, lines.damage


def _fast(files: Sequence[LogFile], plan: Plan, sql: str, *, where: str, numbered: bool) -> pa.Table | None:
    """The answer if all files are clean and nothing of them was passed over."""
    import duckdb

    clean = clean_files(files, plan)
    if not clean:
        return None
    counted = [each.file.path for each in clean if numbered or each.compression == "zstd"]
    count = LineCount(counted) if counted else None
    try:
        table = query_rows(files, native_query(clean, plan, sql + where), sql, where)
    except (duckdb.Error, OSError):
        return None  # not so clean after all, or the query is wrong: the careful way tells
    lines = count.lines() if count else 0
    return table if (lines == _rows(table) if numbered else lines >= 0) else None


def query_rows(files: Sequence[LogFile], rows: str, sql: str, where: str, lines: Lines | None = None) -> pa.Table:
    """An SQL query over rows that are made by another one.

    Args:
        files: where the rows come from.
        rows: SQL of the rows, with `file_id`, `no` and `prefix`.
        sql: the query over them, as the table `log`.
        where: which of them `log` holds.
        lines: the table `lines` that `rows` reads, if it does.
    """
    with connected() as connection:
        if lines is not None:
            connection.register("lines", lines.reader())
        connection.execute(f"CREATE TEMP VIEW log AS SELECT * FROM ({named_rows(files, rows)}) WHERE {where}")
        asked = connection.sql(sql)
        import_meanwhile("pandas")
        return in_utc(asked.to_arrow_table())


def connected() -> Any:
    """A connection to a new DuckDB: times in UTC, and no progress bar, which would get into notebooks and reports."""
    import duckdb

    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'; SET enable_progress_bar = false")
    return connection


def named_rows(files: Sequence[LogFile], rows: str) -> str:
    """Rows with the names of their file, proxy, pod and container."""
    names = pick([file.name for file in files])
    proxies = pick([file.proxy for file in files])
    pods = pick([file.pod for file in files])
    columns = {
        "file": names,
        "line": "no",
        "pod": f"coalesce(nullif(split_part(prefix, '/', 2), ''), nullif({pods}, ''))",
        "container": "nullif(split_part(split_part(prefix, '/', 3), ']', 1), '')",
        "proxy": f"coalesce(nullif({proxies}, ''), nullif(split_part(prefix, '/', 2), ''))",
    }
    made = ", ".join(f"{expression} AS {column}" for column, expression in columns.items())
    return f"SELECT {made}, * EXCLUDE (file_id, no, prefix) FROM ({rows})"


def _rows(table: pa.Table) -> int:
    """How many rows were read, also if they went to a file."""
    return int(table[0][0].as_py()) if table.column_names == ["Count"] else len(table)


def in_utc(table: pa.Table) -> pa.Table:
    """Times marked as UTC, which they are, and sums as plain integers."""
    import pyarrow as pa

    def fit(kind: Any) -> Any:
        if pa.types.is_timestamp(kind):
            return pa.timestamp("us", tz="UTC")
        return pa.int64() if pa.types.is_decimal(kind) and kind.scale == 0 else kind

    return table.cast(pa.schema([(f.name, fit(f.type)) for f in table.schema]))
