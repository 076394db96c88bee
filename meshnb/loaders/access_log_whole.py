"""All rows of clean files at once: only what stands in the lines is asked of DuckDB, the rest is made beside it.

A number of its own for every row would make DuckDB read with one thread; a list of flags for every row costs more than
one per flag set that occurs. Here the numbers are counted, and both columns of flags are made from the few that occur.
"""

# ruff: noqa: S608 - every value put into the SQL goes through quote() or name(), or is a name declared in a Frame

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from meshnb.loaders.access_log_native import TYPES, Clean, LineCount, Source, source_of
from meshnb.loaders.access_log_sql import Plan, name

if TYPE_CHECKING:
    import pyarrow as pa

_FLAG_COLUMNS = ("response_flags", "flag_set")


def whole_table(files: Sequence[Clean], plan: Plan, columns: Sequence[str]) -> pa.Table | None:
    """Columns of all rows of clean files, in order; nothing if a row is not a line, so that it has no number.

    Args:
        files: the files.
        plan: which columns there are.
        columns: those wanted.

    Raises:
        duckdb.Error: a file is not as clean as it looked.
    """
    import duckdb
    import pyarrow as pa

    tables = []
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        for file in files:
            count = LineCount([file.file.path])
            source = source_of(file, plan, {*columns, "response_flags"})
            rows = connection.sql(_select(source, columns)).to_arrow_table()
            if count.lines() != len(rows):
                return None
            tables.append(_completed(rows, file, columns))
    return pa.concat_tables(tables)


def _select(source: Source, columns: Sequence[str]) -> str:
    wanted = [column for column in columns if column in source.values and column not in _FLAG_COLUMNS]
    made = [f"{source.values[column]} AS {name(column)}" for column in wanted]
    if source.flags and set(_FLAG_COLUMNS) & set(columns):
        made.append(f"{source.flags} AS flags")
    return f"SELECT {', '.join(made) or 'NULL AS nothing'} FROM {source.rows}"


def _completed(rows: pa.Table, file: Clean, columns: Sequence[str]) -> pa.Table:
    """The columns in order, with those that do not stand in the lines."""
    import numpy as np
    import pyarrow as pa

    of_file: dict[str, Any] = {
        "file": file.file.name,
        "proxy": file.file.proxy or None,
        "pod": file.file.pod or None,
        "container": None,
    }
    made: dict[str, Any] = {}
    with ThreadPoolExecutor(1) as beside:
        flags = beside.submit(_flags, rows["flags"]) if "flags" in rows.column_names else None
        for column in columns:
            if column == "line":
                made[column] = pa.array(np.arange(1, len(rows) + 1))
            elif column in of_file:
                value = of_file[column]
                made[column] = pa.nulls(len(rows), pa.string()) if value is None else pa.repeat(value, len(rows))
            elif column in rows.column_names:
                made[column] = rows[column]
            else:
                made[column] = pa.nulls(len(rows), _arrow_type(column))
        if flags is not None:
            made |= {column: array for column, array in flags.result().items() if column in made}
    if "start_time" in rows.column_names:
        made["start_time"] = made["start_time"].cast(pa.timestamp("us", tz="UTC"))
    return pa.table(made)


def _arrow_type(column: str) -> pa.DataType:
    import pyarrow as pa

    if column == "response_flags":
        return pa.list_(pa.string())
    kinds = {"BIGINT": pa.int64(), "TIMESTAMP": pa.timestamp("us", tz="UTC")}
    return kinds[TYPES[column]] if column in TYPES else pa.string()


def _flags(texts: pa.ChunkedArray) -> dict[str, pa.Array]:
    """Both columns of flags, made once per text that occurs."""
    import pyarrow as pa

    encoded = texts.combine_chunks().dictionary_encode()
    parts = [[] if text == "-" else text.split(",") for text in encoded.dictionary.to_pylist()]
    lists = pa.array(parts, pa.list_(pa.string()))
    sets = pa.array([",".join(sorted(flags)) or None for flags in parts], pa.string())
    return {"response_flags": lists.take(encoded.indices), "flag_set": sets.take(encoded.indices)}
