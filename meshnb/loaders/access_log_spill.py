"""Access logs written out column by column, to be asked many questions without a second look at the lines."""

# ruff: noqa: S608 - every value put into the SQL goes through quote() or name(), or is a name declared in a Frame

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from meshnb.loaders.access_log_count import LineCount
from meshnb.loaders.access_log_engine import query_rows, run
from meshnb.loaders.access_log_native import clean_files, native_query
from meshnb.loaders.access_log_sql import name, quote

if TYPE_CHECKING:
    from meshnb.loaders.access_log import AccessLog

_GROUP = 20_480
"""Rows of a group in a Parquet file: small ones take less memory and stay in the processor's cache."""


def copy_to(path: Path, columns: Sequence[str]) -> str:
    """The SQL that writes columns of `log` to a Parquet file."""
    return (
        f"COPY (SELECT {', '.join(map(name, columns))} FROM log) TO {quote(str(path))} "
        f"(FORMAT parquet, ROW_GROUP_SIZE {_GROUP}, COMPRESSION lz4_raw)"
    )


def spill(log: AccessLog, folder: Path, columns: Sequence[str]) -> str:
    """Write the rows to Parquet files in a folder.

    Args:
        log: what is read.
        folder: an empty folder.
        columns: those that are written.

    Returns:
        The SQL of DuckDB that reads them back.
    """
    parts = _parts(log, folder, columns) if "line" in columns else []
    if parts:
        files = ", ".join(quote(str(part)) for part in parts)
        return (
            f"SELECT {', '.join(map(name, columns))} FROM (SELECT *, file_row_number + 1 AS line "
            f"FROM read_parquet([{files}], file_row_number = true)) WHERE {log._where}"
        )
    path = folder / "log.parquet"
    log.to_parquet(path, columns=columns)
    return f"FROM read_parquet({quote(str(path))})"


def _parts(log: AccessLog, folder: Path, columns: Sequence[str]) -> list[Path]:
    """A Parquet file for each clean file, whose rows are numbered by their place; nothing if there are others.

    To number the lines while they are read, the engine has to read them on one processor.
    """
    import duckdb

    if log._conditions:
        run(log._files, log._plan, "SELECT 1 FROM log LIMIT 0", where=log._where)  # says what is wrong with them
    asked = [column for column in log.columns if column in columns or column in log._where]
    parts = []
    for i, clean in enumerate(clean_files(log._files, log._plan)):
        parts.append(folder / f"part-{i}.parquet")
        count = LineCount([clean.file.path])
        sql = copy_to(parts[-1], [column for column in asked if column != "line"])
        try:
            written = query_rows([clean.file], native_query([clean], log._plan, sql), sql, "true")
        except (duckdb.Error, OSError):
            return []
        if count.lines() != written[0][0].as_py():
            return []
    return parts
