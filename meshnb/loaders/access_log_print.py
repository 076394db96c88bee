"""Rows of an access log printed back as the lines they were read from."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from meshnb.errors import UsageError
from meshnb.loaders.access_log_format import JSON_KEYS, TEXT_FORMATS, TextFormat
from meshnb.loaders.access_log_sql import NUMBERS
from meshnb.model.tables.logs import ACCESS_LOG

if TYPE_CHECKING:
    import pandas as pd

_JSON_NUMBERS = {"response_code", "bytes_received", "bytes_sent", "duration_ms"}


def to_log_lines(log: pd.DataFrame, *, format: str = "istio") -> list[str]:
    """Print rows as lines of an access log.

    Args:
        log: an access log.
        format: `json` (Istio's, keys in Envoy's order), a name of `TEXT_FORMATS`, or a format string of Envoy.

    Returns:
        One line per row, without the newline; the line that was read, if `format` is the one it was written in.

    Raises:
        UsageError: no such format.

    Example:
        >>> import pandas as pd
        >>> to_log_lines(pd.DataFrame({"duration_ms": [12], "flag_set": [None]}), format="%DURATION% ms")
        ['12 ms']
    """
    if format == "json":
        return [json.dumps(record, separators=(",", ":"), ensure_ascii=False) for record in _records(log)]
    text = TEXT_FORMATS.get(format, format)
    if "%" not in text:
        raise UsageError(f"no format {format!r}", hint=f"json, {', '.join(TEXT_FORMATS)}, or a format string of Envoy")
    tokens = TextFormat(format, text).tokens
    return [
        "".join(token if isinstance(token, str) else _text(row.get(token.column)) for token in tokens)
        for row in _rows(log)
    ]


def _rows(log: pd.DataFrame) -> Iterator[dict[str, Any]]:
    columns = {name: log[name].array for name in log.columns}
    for i in range(len(log)):
        yield {name: _plain(name, values[i]) for name, values in columns.items()}


def _plain(name: str, value: Any) -> Any:
    """A value as Envoy has it: text, a number, or None."""
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return None
    if name == "response_flags":
        return ",".join(value) or "-"
    if name == "start_time":
        text: str = value.strftime("%Y-%m-%dT%H:%M:%S.%f")
        return f"{text[:-3] if text.endswith('000') else text}Z"
    return int(value) if name in NUMBERS else value


def _text(value: Any) -> str:
    return "-" if value is None else str(value)


def _records(log: pd.DataFrame) -> Iterator[Mapping[str, Any]]:
    keys = {column: key for key, column in JSON_KEYS.items()}
    known = set(ACCESS_LOG.column_names)
    for row in _rows(log):
        named = {keys.get(c, c): (c, value) for c, value in row.items() if c in keys or c not in known}
        yield {
            key: value if value is None or column in _JSON_NUMBERS else str(value)
            for key, (column, value) in sorted(named.items())
        }
