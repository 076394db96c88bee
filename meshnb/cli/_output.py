"""A table as text for a terminal or another program."""

from __future__ import annotations

import csv
import io
import json
import sys
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from meshnb.errors import UsageError

if TYPE_CHECKING:
    import pandas as pd

FORMATS = ("text", "csv", "json", "md", "parquet")


def write(df: pd.DataFrame, output: str, file: str = "") -> None:
    """Write a table in one of `FORMATS` to a file, or to standard output if `file` is empty.

    Raises:
        UsageError: parquet to a terminal.
    """
    if output == "parquet":
        _parquet(df, file)
    else:
        put({"text": as_text, "csv": as_csv, "json": as_json, "md": as_markdown}[output](df), file)


def put(text: str, file: str = "") -> None:
    """Write text to a file, or to standard output if `file` is empty."""
    if file:
        Path(file).write_text(text, encoding="utf-8")
    else:
        sys.stdout.write(text)


def _parquet(df: pd.DataFrame, file: str) -> None:
    if not file and sys.stdout.isatty():
        raise UsageError("parquet is not for a terminal", hint="give a file: --to FILE.parquet")
    import pyarrow as pa
    import pyarrow.parquet as pq

    buffer = io.BytesIO()
    # without the pandas metadata: pandas cannot read back what it writes there for lists
    pq.write_table(pa.Table.from_pandas(df, preserve_index=False).replace_schema_metadata(None), buffer)
    if file:
        Path(file).write_bytes(buffer.getvalue())
    else:
        sys.stdout.buffer.write(buffer.getvalue())


def plain(value: Any) -> Any:
    """A cell as JSON has it: `None` for missing, lists as lists, times as ISO 8601."""
    import numpy as np
    import pandas as pd

    if isinstance(value, list | np.ndarray):
        return [plain(one) for one in value]
    if pd.isna(value):
        return None
    if isinstance(value, datetime):
        return value.isoformat()
    return value.item() if isinstance(value, np.generic) else value


def _rows(df: pd.DataFrame) -> list[list[Any]]:
    columns = [[plain(value) for value in df[name].tolist()] for name in df.columns]
    return [list(row) for row in zip(*columns, strict=True)]


def _cell(value: Any, *, between: str = ", ") -> str:
    if value is None:
        return ""
    if isinstance(value, list):
        return between.join(_cell(one) for one in value)
    return str(value)


def as_text(df: pd.DataFrame) -> str:
    """Aligned columns, without those that hold nothing."""
    shown = df.dropna(axis="columns", how="all") if len(df) else df
    lines = [list(map(str, shown.columns)), *([_cell(value) or "-" for value in row] for row in _rows(shown))]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() + "\n" for line in lines
    )


def as_csv(df: pd.DataFrame) -> str:
    """CSV with a header; lists as JSON, missing as nothing."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(df.columns)
    for row in _rows(df):
        writer.writerow([json.dumps(one, ensure_ascii=False) if isinstance(one, list) else _cell(one) for one in row])
    return buffer.getvalue()


def as_json(df: pd.DataFrame) -> str:
    """A list of objects, one a row."""
    records = [dict(zip(df.columns, row, strict=True)) for row in _rows(df)]
    return json.dumps(records, indent=1, ensure_ascii=False) + "\n"


def as_markdown(df: pd.DataFrame) -> str:
    """A Markdown table."""
    lines = [list(map(str, df.columns)), ["---"] * len(df.columns)]
    lines += [[_cell(one).replace("|", "\\|").replace("\n", " ") for one in row] for row in _rows(df)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
