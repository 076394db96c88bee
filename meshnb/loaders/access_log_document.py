"""Access logs that are one JSON document: an export, or records printed over many lines. They are read as lines."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from meshnb.loaders.access_log_format import JSON_KEYS
from meshnb.loaders.access_log_lines import LogFile, spooled

MAX_DOCUMENT = 64 << 20
"""A larger document is not held in memory to be taken apart."""
_BEGINNINGS = (b"{", b"[", b"[{")
_TELLING = {"response_code", "response_flags", "start_time"}


def as_lines(file: LogFile) -> LogFile:
    """The records of a JSON document as lines, each the number of its record; any other file as it is.

    Args:
        file: a log file.

    Example:
        >>> import pathlib, tempfile
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "export.json"
        >>> _ = path.write_text('[' + chr(10) + '{"response_code": 503, "response_flags": "UF"}' + chr(10) + ']')
        >>> lines = as_lines(LogFile(path, "export.json"))
        >>> lines.path.read_text().splitlines()
        ['{"response_code": 503, "response_flags": "UF"}']
    """
    try:
        with file.path.open("rb") as raw:
            first = raw.readline(1 << 16).strip()
        if not first.startswith(_BEGINNINGS[2]) and first not in _BEGINNINGS:
            return file
        if file.path.stat().st_size > MAX_DOCUMENT:
            return file
        items = list(_items(json.loads(file.path.read_bytes())))
    except (OSError, ValueError, RecursionError):
        return file  # what it is, is told when its lines are read
    if not any(_is_record(item) for item in items):
        return file
    lines = spooled("".join(f"{json.dumps(item)}\n" for item in items).encode())
    return LogFile(lines.path, file.name, file.proxy, lines.spool)


def _items(value: Any) -> Iterator[Any]:
    """Records wherever they stand in a document, and what stands beside them in a list: that is told as skipped."""
    if _is_record(value):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from list(_items(item)) or [item]
    elif isinstance(value, dict):
        for item in value.values():
            yield from _items(item)


def _is_record(value: Any) -> bool:
    """Whether it is an object with keys of an access log, one of which tells what became of the request."""
    return isinstance(value, dict) and bool(value.keys() & _TELLING) and len(value.keys() & JSON_KEYS.keys()) > 1
