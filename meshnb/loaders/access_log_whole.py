"""All rows of clean files at once: only what stands in the lines is asked of DuckDB, the rest is made beside it.

A number of its own for every row would make DuckDB read with one thread; a list of flags for every row costs more than
one per flag set that occurs. Here the numbers are counted, and both columns of flags are made from the few that occur.
"""

# ruff: noqa: S608 - every value put into the SQL goes through quote() or name(), or is a name declared in a Frame

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from meshnb.loaders.access_log_count import LineCount
from meshnb.loaders.access_log_engine import connected, in_utc, named_rows
from meshnb.loaders.access_log_native import (
    TYPES,
    Clean,
    Source,
    import_meanwhile,
    native_query,
    source_of,
)
from meshnb.loaders.access_log_sql import Plan, name

if TYPE_CHECKING:
    import pyarrow as pa

_FLAG_COLUMNS = ("response_flags", "flag_set")
_CHUNK = 1 << 14
"""Rows of a chunk that is repeated."""


class MoreKeys(Exception):  # noqa: N818 - not an error: the files are read again with these
    """Lines have keys that were not known of.

    Args:
        keys: the keys.
    """

    def __init__(self, keys: Sequence[str]) -> None:
        super().__init__(", ".join(keys))
        self.keys = keys


def whole_table(files: Sequence[Clean], plan: Plan, columns: Sequence[str], *, look: bool = False) -> pa.Table | None:
    """Columns of all rows of clean files, in order; nothing if a row is not a line, so that it has no number.

    Args:
        files: the files.
        plan: which columns there are.
        columns: those wanted.
        look: whether to look for keys of JSON lines that the plan does not have.

    Raises:
        duckdb.Error: a file is not as clean as it looked.
        MoreKeys: there are such keys.
    """
    tables = []
    with connected() as connection:
        for file in files:
            source = source_of(file, plan, {*columns, "response_flags"})
            query = connection.sql(_select(source, columns))
            count = LineCount([file.file.path], look=look and file.text_format is None)
            import_meanwhile("pandas")
            rows = query.to_arrow_table()
            if count.lines() != len(rows):
                return None
            if unknown := [key for key in count.seen_keys() if key not in plan.keys]:
                raise MoreKeys(unknown)
            tables.append(_completed(rows, file, columns))
    import pyarrow as pa  # here, since the engine starts a tenth of a second earlier without it

    return pa.concat_tables(tables)


def sifted_table(files: Sequence[Clean], plan: Plan, columns: Sequence[str], where: str) -> pa.Table | None:
    """Columns of those rows of clean files that fulfil a condition, with `line`; nothing if a row is not a line.

    The rows pass by in their order and are numbered here: a number of its own would make DuckDB read with one thread.

    Args:
        files: the files.
        plan: which columns there are.
        columns: those wanted.
        where: SQL expression over the columns, but for `line`.

    Raises:
        duckdb.Error: a file is not as clean as it looked, or the condition is none.
    """
    import numpy as np
    import pyarrow as pa

    batches = []
    carried = [column for column in columns if column != "line"]
    sql = f"SELECT {', '.join(map(name, carried))}, ({where}) AS kept FROM log"
    for file in files:
        count, read = LineCount([file.file.path]), 0
        with connected() as connection:
            rows = named_rows([file.file], native_query([file], plan, sql))
            connection.execute(f"CREATE TEMP VIEW log AS {rows}")
            for batch in connection.sql(sql).to_arrow_reader():
                kept = batch["kept"].fill_null(False)
                lines = pa.array(np.flatnonzero(kept.to_numpy(zero_copy_only=False)) + (read + 1))
                batches.append(batch.drop_columns("kept").filter(kept).append_column("line", lines))
                read += len(batch)
        if count.lines() != read:
            return None
    return in_utc(pa.Table.from_batches(batches)).select(list(columns)) if batches else None


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

    of_file: dict[str, str | None] = {
        "file": file.file.name,
        "proxy": file.file.proxy or None,
        "pod": file.file.pod or None,
        "container": None,
    }
    made: dict[str, Any] = {}
    for column in columns:
        if column == "line":
            made[column] = pa.array(np.arange(1, len(rows) + 1))
        elif column in of_file:
            made[column] = _repeated(of_file[column], len(rows), pa.string())
        elif column in rows.column_names:
            made[column] = rows[column]
        else:
            made[column] = _repeated(None, len(rows), _arrow_type(column))
    if "flags" in rows.column_names:
        made |= {column: array for column, array in _flags(rows["flags"]).items() if column in made}
    if "start_time" in rows.column_names:
        made["start_time"] = made["start_time"].cast(pa.timestamp("us", tz="UTC"))
    return pa.table(made)


def _repeated(value: str | None, count: int, kind: pa.DataType) -> pa.ChunkedArray:
    """One value for all rows: chunks that lie in the same memory."""
    import pyarrow as pa

    chunk = pa.repeat(pa.scalar(value, kind), min(count, _CHUNK))
    whole, rest = divmod(count, _CHUNK)
    return pa.chunked_array([*[chunk] * whole, chunk.slice(0, rest)], kind)


def _arrow_type(column: str) -> pa.DataType:
    import pyarrow as pa

    if column == "response_flags":
        return pa.list_(pa.string())
    kinds = {"BIGINT": pa.int64(), "TIMESTAMP": pa.timestamp("us", tz="UTC")}
    return kinds[TYPES[column]] if column in TYPES else pa.string()


def _flags(texts: pa.ChunkedArray) -> dict[str, pa.ChunkedArray]:
    """Both columns of flags, made once per text that occurs."""
    import pyarrow as pa

    encoded = texts.dictionary_encode()  # one dictionary for all chunks
    known = encoded.chunk(0).dictionary.to_pylist() if encoded.num_chunks else []
    parts = [[] if text == "-" else text.split(",") for text in known]
    lists = pa.array(parts, pa.list_(pa.string()))
    sets = pa.array([",".join(sorted(flags)) or None for flags in parts], pa.string())
    places = pa.chunked_array([chunk.indices for chunk in encoded.chunks], pa.int32())
    return {"response_flags": lists.take(places), "flag_set": sets.take(places)}
