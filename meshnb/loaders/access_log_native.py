"""The fast way for clean files: DuckDB's own JSON and CSV readers, strict, so anything odd is an error and no row.

A file is clean if every line is of one format. That is guessed from its beginning, and its end if it is not compressed;
if the guess is wrong the reader fails, and the file is read the careful way (`access_log_sql`), which takes any line.
"""

# ruff: noqa: S608 - every value put into the SQL goes through quote() or name(), or is a name declared in a Frame

from __future__ import annotations

import json
import os
import re
import threading
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from meshnb.errors import MeshnbError
from meshnb.loaders.access_log_format import JSON_KEYS, TextFormat
from meshnb.loaders.access_log_lines import LogFile, open_log
from meshnb.loaders.access_log_sql import NUMBERS, Plan, name, quote

_COMPRESSED = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}
_HEAD, _TAIL = 128 << 10, 32 << 10
_NOT_CLEAN = (b"\xff\xfe", b"\xfe\xff", b"\xef\xbb\xbf")
_MAX_FILES = 64
_MAX_CLEAN = 1 << 20  # of a line: the engine sizes its buffers by it
TYPES = {**dict.fromkeys(NUMBERS, "BIGINT"), "start_time": "TIMESTAMP"}


@dataclass(frozen=True, slots=True)
class Clean:
    """A clean file.

    Args:
        file: where it lies.
        text_format: its format, `None` for JSON.
        compression: `none`, `gzip` or `zstd`.
    """

    file: LogFile
    text_format: TextFormat | None
    compression: str = "none"


@dataclass(frozen=True, slots=True)
class Source:
    """How the engine reads a clean file.

    Args:
        values: column -> expression over the rows.
        flags: expression of the flags as written, empty if there are none.
        rows: what stands behind FROM.
    """

    values: dict[str, str]
    flags: str
    rows: str


def clean_files(files: Sequence[LogFile], plan: Plan) -> list[Clean]:
    """All files with their format if all are clean, else nothing."""
    found = []
    for file in files if len(files) <= _MAX_FILES else ():
        clean = _clean(file, plan)
        if clean is None:
            return []
        found.append(clean)
    return found


def _clean(file: LogFile, plan: Plan) -> Clean | None:
    try:
        compression, lines = _ends(file)
    except (OSError, EOFError, ValueError, zlib.error, MeshnbError):
        return None
    if not lines or not all(lines) or lines[0].startswith(_NOT_CLEAN) or any(b"\r" in x or b"\0" in x for x in lines):
        return None
    if all(line.startswith(b"{") for line in lines):
        return Clean(file, None, compression) if _is_json(lines, plan) else None
    try:
        texts = [line.decode() for line in lines]
    except UnicodeDecodeError:
        return None
    for text_format in plan.formats:
        pattern = re.compile(text_format.regex)
        if _csv_columns(text_format) and all(pattern.match(text) for text in texts):
            return Clean(file, text_format, compression)
    return None


def _ends(file: LogFile) -> tuple[str, list[bytes]]:
    """How a file is compressed, and its first lines; if it is not, its last ones too."""
    compression = compression_of(file.path)
    if compression != "none":
        with open_log(file.path) as stream:
            head = stream.read(_HEAD)
            whole = len(head) <= _HEAD and not stream.read(1)
            return compression, _split(head[:_HEAD], whole=whole)
    with file.path.open("rb") as raw:
        head = raw.read(_HEAD)
        size = raw.seek(0, os.SEEK_END)
        if size <= _HEAD:
            return compression, _split(head, whole=True)
        raw.seek(-_TAIL, os.SEEK_END)
        return compression, [*_split(head, whole=False), *_split(raw.read(), whole=True)[1:]]


def _split(text: bytes, *, whole: bool) -> list[bytes]:
    """Lines of a text, without the last one if it may be cut."""
    lines = text.split(b"\n")
    return lines if whole and lines[-1] else lines[:-1]


def _is_json(lines: list[bytes], plan: Plan) -> bool:
    """Whether each line holds one object of the keys known; `-` for a missing number is old Envoy's way."""
    numbers = [key for key, column in plan.keys.items() if column in NUMBERS]
    for line in lines:
        try:
            record = json.loads(line)
        except ValueError:
            return False
        if not isinstance(record, dict) or not record.keys() <= plan.keys.keys():
            return False
        if any(record.get(key) == "-" for key in numbers) or all(record.get(key) is None for key in plan.keys):
            return False
    return True


def native_query(files: Sequence[Clean], plan: Plan, sql: str) -> str:
    """All rows of clean files, with the columns of `access_log_sql.query`, those that an SQL text names filled.

    Args:
        files: the files.
        plan: which columns there are.
        sql: what is asked of the rows.
    """
    named = set(re.findall(r"\w+", sql.lower())) | {"response_flags"}
    return " UNION ALL ".join(
        f"SELECT * FROM ({_select(i, plan, source_of(f, plan, named))})" for i, f in enumerate(files)
    )


def source_of(clean: Clean, plan: Plan, named: set[str]) -> Source:
    """How a clean file is read, with the columns named.

    Args:
        clean: the file.
        plan: which columns there are.
        named: those wanted.
    """
    return _json(clean, plan, named) if clean.text_format is None else _text(clean, clean.text_format)


def _json(clean: Clean, plan: Plan, named: set[str]) -> Source:
    keys = {k: c for k, c in plan.keys.items() if c in named or c not in JSON_KEYS.values()}
    # one that is decoded anyway tells as well as all do; times are dear
    telling = [c for c in plan.telling if c in keys.values() and c != "start_time"] or list(plan.telling)
    keys |= {k: c for k, c in plan.keys.items() if c in telling}
    spec = ", ".join(f"{quote(key)}: '{TYPES.get(column, 'VARCHAR')}'" for key, column in keys.items())
    values = {column: name(key) for key, column in keys.items()}
    values = {c: v if c in TYPES else f"nullif({v}, '-')" for c, v in values.items()}
    flags = name(next((k for k, c in keys.items() if c == "response_flags"), "")) if "response_flags" in values else ""
    told = " OR ".join(f"{name(k)} IS NOT NULL" for k, c in keys.items() if c in telling)
    source = (
        f"read_json({quote(str(clean.file.path))}, format='newline_delimited', columns={{{spec}}}, "
        f"maximum_object_size={_MAX_CLEAN}, compression='{clean.compression}')"
    )
    return Source(values, flags, f"{source} WHERE {told} OR error('foreign line') IS NULL")


def _text(clean: Clean, text_format: TextFormat) -> Source:
    columns = _csv_columns(text_format)
    values: dict[str, str] = {}
    types = []
    for i, parts in enumerate(columns):
        alone = len(parts) == 1 and not parts[0][1] and not parts[0][2]
        types.append(f"'c{i}': '{'BIGINT' if alone and parts[0][0] in NUMBERS else 'VARCHAR'}'")
        for k, (column, before, after) in enumerate(parts):
            piece = f"c{i}" if len(parts) == 1 else f"string_split(c{i}, ' ')[{k + 1}]"
            if before or after:
                piece = f"{piece}[{before + 1}:-{after + 1}]"
            piece = piece if alone else f"nullif({piece}, '-')"
            values.setdefault(column, f"CAST({piece} AS {TYPES[column]})" if column in TYPES else piece)
    flags = values.get("response_flags", "")
    source = (
        f"read_csv({quote(str(clean.file.path))}, delim=' ', quote='\"', escape='', header=false, auto_detect=false, "
        f"columns={{{', '.join(types)}}}, nullstr='-', max_line_size={_MAX_CLEAN}, strict_mode=true, "
        f"null_padding=false, compression='{clean.compression}', new_line='\\n')"
    )
    return Source(values, f"coalesce({flags}, '-')" if flags else "", source)


def _select(number: int, plan: Plan, source: Source) -> str:
    columns = []
    for column in [*JSON_KEYS.values(), *plan.extra]:
        if column != "response_flags":
            missing = f"NULL::{TYPES.get(column, 'VARCHAR')}"
            columns.append(f"{source.values.get(column, missing)} AS {name(column)}")
    flags = source.flags or "NULL::VARCHAR"
    return f"""
SELECT {number}::INTEGER AS file_id, row_number() OVER () AS no, '' AS prefix, {", ".join(columns)},
  CASE WHEN {flags} = '-' THEN []::VARCHAR[] ELSE string_split({flags}, ',') END AS response_flags,
  CASE WHEN {flags} = '-' THEN NULL
       WHEN contains({flags}, ',') THEN array_to_string(list_sort(string_split({flags}, ',')), ',')
       ELSE {flags} END AS flag_set, NULL::VARCHAR AS reason, NULL::VARCHAR AS excerpt
FROM {source.rows}"""


def _csv_columns(text_format: TextFormat) -> list[list[tuple[str, int, int]]]:
    """What each column of the line as CSV holds: (column, characters before, characters after) per piece.

    Empty if the format is no CSV: literal text between spaces, two fields with one name, long flags, odd times.
    """
    found: list[list[tuple[str, int, int]]] = []
    for i, segment in enumerate(text_format.segments):
        quoted = i % 2 == 1
        pieces = []
        for part in segment.parts:
            before, after = part.before.lstrip(" "), part.after.rstrip(" ")
            if part.operator is None:
                if before.strip():
                    return []
                continue
            pieces.append((part.operator.column, len(before), len(after)))
        if quoted:
            found.append(pieces)
        else:
            found += [[piece] for piece in pieces]
    names = [column for pieces in found for column, _, _ in pieces]
    odd = text_format.time_format or "RESPONSE_FLAGS_LONG" in text_format.text or not all(found)
    return [] if odd or len(names) != len(set(names)) else found


def import_meanwhile(*modules: str) -> None:
    """Import modules, which takes a quarter of a second and more, on a thread of its own while an engine reads."""
    threading.Thread(target=lambda: [import_module(module) for module in modules]).start()


def compression_of(path: Path) -> str:
    """`gzip`, `zstd` or `none`, told by a file's first bytes."""
    with path.open("rb") as raw:
        magic = raw.read(4)
    return next((how for start, how in _COMPRESSED.items() if magic.startswith(start)), "none")
