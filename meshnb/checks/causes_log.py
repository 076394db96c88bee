"""The access log as one logical table, whatever holds it: what the questions of the causes are asked of.

Rows in memory and files are DuckDB's: a scan is written once, column by column, to Parquet files of a temporary folder,
so that no question needs all rows in memory. A table of an Ibis backend (Spark, ClickHouse …) stays where it is.
"""

from __future__ import annotations

import itertools
import tempfile
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, Union

from meshnb.checks.questions import COLUMNS, Question

if TYPE_CHECKING:
    import ibis.expr.types as ir
    import pandas as pd
    import pyarrow as pa

MEMORY = "512MB"
"""What DuckDB may hold in memory of a log; beyond that it uses the temporary folder."""
_MISSING = {"string": "<missing>", "int64": -(1 << 62)}
Table: TypeAlias = Any
"""A table as an engine knows it: DuckDB by its name, the others as Ibis has it."""


class Scan(Protocol):
    """A log in files, not read yet; `scan_access_log` makes one."""

    def spill(self, folder: Path, *, columns: Sequence[str]) -> str:
        """Write the rows to Parquet files, return the SQL of DuckDB that reads them back."""


class Log(Protocol):
    """An engine with an access log in it."""

    table: Table

    def ask(self, question: Question, *tables: Table, **values: float | bool) -> pa.Table:
        """The answer to a question."""

    def keep(self, question: Question, *tables: Table, **values: float | bool) -> Table:
        """The answer as a table of the engine, computed once."""

    def lend(self, rows: pa.Table) -> Table:
        """Rows from here as a table of the engine."""

    def ibis(self, table: Table) -> ir.Table:
        """A table of the engine for expressions of one's own."""

    def run(self, expression: ir.Table) -> pa.Table:
        """The rows of an expression of one's own."""


AnyLog = Union["pd.DataFrame", "ir.Table", Scan, Log]


def open_log(log: AnyLog, columns: Sequence[str] = COLUMNS) -> Log:
    """The log as a table in an engine.

    Args:
        log: rows, a scan, or a table of an Ibis backend with the columns of `ACCESS_LOG`; a `Log` is given back.
        columns: those that will be asked for.
    """
    if isinstance(log, DuckDbLog | BackendLog):
        return log
    if hasattr(type(log), "spill"):
        return DuckDbLog.of_scan(log, columns)  # type: ignore[arg-type]
    if type(log).__module__.startswith("ibis."):
        return BackendLog(log)
    return DuckDbLog.of_rows(log, columns)


class DuckDbLog:
    """A log that DuckDB reads: rows in memory, or a Parquet file in a folder that goes when this object does."""

    def __init__(self) -> None:
        import duckdb

        folder = tempfile.TemporaryDirectory(prefix="meshnb-log-")
        weakref.finalize(self, folder.cleanup)
        self.folder = Path(folder.name)
        self.connection = duckdb.connect(config={"memory_limit": MEMORY, "temp_directory": folder.name})
        self.connection.execute("SET TimeZone = 'UTC'; SET preserve_insertion_order = false")
        self.table = "log"
        self._numbers = itertools.count()
        self._rows: list[pa.Table] = []

    @classmethod
    def of_rows(cls, df: pd.DataFrame, columns: Sequence[str]) -> DuckDbLog:
        """Of rows in memory, which are not copied."""
        import pyarrow as pa

        self = cls()
        self.table = self.lend(pa.Table.from_pandas(df[list(columns)], preserve_index=False))
        return self

    @classmethod
    def of_scan(cls, scan: Scan, columns: Sequence[str]) -> DuckDbLog:
        """Of a scan, read once."""
        self = cls()
        rows = self.folder / "rows"
        rows.mkdir()
        self.connection.execute(f"CREATE VIEW log AS {scan.spill(rows, columns=columns)}")
        return self

    def ask(self, question: Question, *tables: str, **values: float | bool) -> pa.Table:
        """The answer to a question."""
        return self.connection.sql(question.sql(tables, **values)).to_arrow_table()

    def keep(self, question: Question, *tables: str, **values: float | bool) -> str:
        """The answer as a temporary table."""
        name = f"kept_{next(self._numbers)}"
        self.connection.execute(f"CREATE TEMP TABLE {name} AS {question.sql(tables, **values)}")
        return name

    def lend(self, rows: pa.Table) -> str:
        """Rows from here as a table."""
        name = f"lent_{next(self._numbers)}"
        rows = _without_zone(rows)
        self._rows.append(rows)
        self.connection.register(name, rows)
        return name

    def ibis(self, table: str) -> ir.Table:
        """A table for expressions of one's own, which `run` runs."""
        import ibis

        head = self.connection.sql(f'FROM "{table}" LIMIT 0').to_arrow_table()
        return ibis.table(ibis.schema(_types(head)), name=table)

    def run(self, expression: ir.Table) -> pa.Table:
        """The rows of an expression of one's own."""
        import ibis

        return self.connection.sql(str(ibis.to_sql(expression, dialect="duckdb"))).to_arrow_table()


class BackendLog:
    """A log that lies in an engine of Ibis."""

    def __init__(self, table: ir.Table) -> None:
        self.table = table
        self._backend = table.get_backend()
        self._lent: list[ir.Table] = []

    def ask(self, question: Question, *tables: ir.Table, **values: float | bool) -> pa.Table:
        """The answer to a question."""
        return self.run(question(*tables, **values))

    def keep(self, question: Question, *tables: ir.Table, **values: float | bool) -> ir.Table:
        """The answer as Ibis keeps one: cached by Spark, a temporary table elsewhere."""
        return question(*tables, **values).cache()

    def ibis(self, table: ir.Table) -> ir.Table:
        """A table for expressions of one's own: it is one."""
        return table

    def run(self, expression: ir.Table) -> pa.Table:
        """The rows of an expression of one's own."""
        return self._backend.to_pyarrow(expression)

    def lend(self, rows: pa.Table) -> ir.Table:
        """Rows from here as a table."""
        import ibis

        rows, marks = _without_zone(rows), {}
        for i, field in enumerate(rows.schema):
            if rows[field.name].null_count:  # through pandas, as Spark is given them, they would be no longer missing
                marks[field.name] = _MISSING[str(field.type)]
                rows = rows.set_column(i, field.name, rows[field.name].fill_null(marks[field.name]))
        lent = ibis.memtable(rows)
        self._backend.to_pyarrow(lent.count())  # Spark learns of it by a query alone, not when one is kept
        self._lent.append(lent)
        return lent.mutate(**{name: lent[name].nullif(mark) for name, mark in marks.items()})


def _without_zone(rows: pa.Table) -> pa.Table:
    """Times are UTC throughout and carry no zone within an engine; texts are texts even where all are missing."""
    import pyarrow as pa

    def fit(kind: Any) -> Any:
        if pa.types.is_timestamp(kind):
            return pa.timestamp("us")
        return pa.string() if pa.types.is_null(kind) or pa.types.is_large_string(kind) else kind

    return rows.cast(pa.schema([(field.name, fit(field.type)) for field in rows.schema]))


def _types(rows: pa.Table) -> dict[str, str]:
    """Names of Ibis' types."""
    import pyarrow as pa

    names = {pa.string(): "string", pa.int64(): "int64", pa.float64(): "float64", pa.bool_(): "boolean"}
    return {
        field.name: "timestamp(6)" if pa.types.is_timestamp(field.type) else names[field.type] for field in rows.schema
    }
