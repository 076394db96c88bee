"""Envoy's application log at debug level, as a table of records."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from meshnb.envoy.peer_metadata import hide_peer_metadata
from meshnb.loaders.access_log_lines import EXCERPT, LogFile, find_files, open_log
from meshnb.model.frame import returns
from meshnb.model.tables.logs import DEBUG_LOG, SKIPPED_LINES

if TYPE_CHECKING:
    import pandas as pd

# Istio's format: TIME<tab>LEVEL<tab>envoy COMPONENT [SOURCE:LINE]<tab>MESSAGE<tab>thread=N; older ones have no source
_ISTIO = re.compile(
    r"(?P<time>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+)Z\t(?P<level>\w+)\tenvoy (?P<component>\S+)"
    r"(?: (?P<source>\S+?):(?P<line>\d+))?\t(?P<message>.*)",
    re.DOTALL,
)
_ISTIO_END = re.compile(r"\tthread=(?P<thread>\d+)\s*$")
# plain Envoy: [TIME][THREAD][LEVEL][COMPONENT] [SOURCE:LINE] MESSAGE
_PLAIN = re.compile(
    r"\[(?P<time>\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+)\]\[(?P<thread>\d+)\]\[(?P<level>\w+)\]\[(?P<component>\w+)\] "
    r"(?:\[(?P<source>[^\]]+?):(?P<line>\d+)\] )?(?P<message>.*)",
    re.DOTALL,
)
_PREFIX = re.compile(r"(?:\[pod/(?P<pod>[^/]+)/[^\]]+\] )?(?:\d{4}-\d\d-\d\dT[0-9:.]+(?:Z|[+-]\d\d:\d\d) (?=[\[\d]))?")
_TAGS = re.compile(r"\[Tags: (?P<tags>[^\]]*)\] ?")
_MARKS = re.compile(r"\[C(?P<connection>\d+)\](?:\[S(?P<stream>\d+)\])? ?")
_ATTACHED = re.compile(r"[Aa]ttached upstream connection \[C(?P<up>\d+)\] to downstream connection \[C(?P<down>\d+)\]")
_HEADER = re.compile(r"'(?P<name>[^']*)', '(?P<value>.*)'\s*$")
_LEVELS = {"warn": "warning", "err": "error"}


@dataclass(slots=True)
class _Record:
    match: re.Match[str]
    line: int
    proxy: str
    thread: str = ""
    done: bool = False
    lines: list[str] = field(default_factory=list)


@returns(DEBUG_LOG)
def read_debug_log(paths: str | Path | LogFile | Iterable[str | Path | LogFile]) -> pd.DataFrame:
    """Read Envoy's debug log: Istio's format or plain Envoy's, old and new connection marks, records of many lines.

    Lines of something else (access log, pilot-agent) are counted in `.attrs["skipped"]`; `debug_log_skipped` lists
    them. Values of `x-envoy-peer-metadata` are replaced by the identity they hold.

    Args:
        paths: as for `read_access_log`.

    Raises:
        NotFound: no such file.

    Example:
        >>> import tempfile, pathlib
        >>> file = pathlib.Path(tempfile.mkdtemp()) / "debug.log"
        >>> _ = file.write_text("[2026-11-23 09:03:14.480][7][debug][http] [a.cc:5] [C63517][S42] new stream" + chr(10))
        >>> read_debug_log(file)[["connection", "stream", "message"]].values.tolist()
        [[63517, '42', 'new stream']]
    """
    columns: dict[str, list[object]] = {name: [] for name in DEBUG_LOG.column_names}
    skipped = 0
    for file in find_files(paths):
        for item in _records(file):
            if isinstance(item, _Record):
                for name, value in _row(item, file).items():
                    columns[name].append(value)
            else:
                skipped += 1
    df = DEBUG_LOG.build(columns)
    df.attrs["skipped"] = skipped
    return df


@returns(SKIPPED_LINES)
def debug_log_skipped(paths: str | Path | LogFile | Iterable[str | Path | LogFile]) -> pd.DataFrame:
    """Lines of debug logs that belong to no record of Envoy.

    Args:
        paths: as for `read_access_log`.
    """
    rows = []
    for file in find_files(paths):
        for item in _records(file):
            if not isinstance(item, _Record):
                line, text = item
                reason = "cut short or damaged" if line is None else "not a record of Envoy's application log"
                rows.append(
                    {"proxy": file.proxy or None, "file": file.name, "line": line, "reason": reason, "excerpt": text}
                )
    return SKIPPED_LINES.rows(rows)


def _records(file: LogFile) -> Iterator[_Record | tuple[int | None, str]]:
    """Records of a file, and the lines that belong to none."""
    current: _Record | None = None
    lines = _lines(file)
    for number, raw in lines:
        if number is None:
            yield number, raw
            continue
        prefix = _PREFIX.match(raw)
        text = raw[prefix.end() :] if prefix else raw
        match = _ISTIO.match(text) or _PLAIN.match(text)
        if match:
            if current:
                yield current
            pod = prefix["pod"] if prefix else ""
            current = _Record(match, number, file.proxy or pod or "", done=match.re is _PLAIN)
            _append(current, match["message"])
        elif current and _continues(current, text):
            _append(current, text)
        else:
            yield number, text[:EXCERPT]
    if current:
        yield current


def _lines(file: LogFile) -> Iterator[tuple[int | None, str]]:
    with open_log(file.path) as stream:
        rest, number = b"", 0
        while True:
            try:
                chunk = stream.read(1 << 20)
            except (EOFError, OSError, ValueError) as error:
                yield None, str(error)
                chunk = b""
            *whole, rest = (rest + chunk).split(b"\n")
            for line in whole:
                number += 1
                yield number, line.decode(errors="replace").rstrip("\r")
            if not chunk:
                break
        if rest:
            yield number + 1, rest.decode(errors="replace")


def _continues(record: _Record, text: str) -> bool:
    """Whether a line without a head of its own belongs to the record before it."""
    if record.match.re is _ISTIO:
        return not record.done
    return bool(_HEADER.match(text)) or not text.strip()


def _append(record: _Record, text: str) -> None:
    end = _ISTIO_END.search(text) if record.match.re is _ISTIO else None
    if end:
        record.thread, record.done = end["thread"], True
        text = text[: end.start()]
    record.lines.append(text)


def _row(record: _Record, file: LogFile) -> dict[str, object]:
    groups = record.match.groupdict()
    text, connection, stream = _marks(record.lines[0])
    headers = [(m["name"], m["value"]) for line in record.lines[1:] if (m := _HEADER.match(line))]
    others = [line for line in record.lines[1:] if line.strip() and not _HEADER.match(line)]
    attached = _ATTACHED.search(text)
    pairs = [(name, hide_peer_metadata(name, value)) for name, value in headers]
    source = groups["source"]
    return {
        "proxy": record.proxy or None,
        "time": _time(groups["time"]),
        "level": _LEVELS.get(groups["level"], groups["level"]),
        "component": groups["component"],
        "source": source.removeprefix("./").removeprefix("external/envoy/") if source else None,
        "source_line": int(groups["line"]) if groups["line"] else None,
        "connection": int(attached["down"]) if attached else connection,
        "stream": stream,
        "upstream_connection": int(attached["up"]) if attached else None,
        "message": "\n".join([text.rstrip(), *others]),
        "headers": json.dumps(pairs) if pairs else None,
        "request_id": next((value for name, value in headers if name.lower() == "x-request-id"), None),
        "thread": int(record.thread or groups.get("thread") or 0) or None,
        "file": file.name,
        "line": record.line,
    }


def _marks(text: str) -> tuple[str, int | None, str | None]:
    """The message without its marks, the connection and the stream."""
    tags = _TAGS.match(text)
    if tags:
        try:
            values = json.loads(f"{{{tags['tags']}}}")
        except ValueError:
            values = {}
        connection, stream = values.get("ConnectionId"), values.get("StreamId")
        return text[tags.end() :], int(connection) if connection else None, stream
    marks = _MARKS.match(text)
    if marks:
        stream = marks["stream"]
        return text[marks.end() :], int(marks["connection"]), None if stream in (None, "0") else stream
    return text, None, None


def _time(text: str) -> object:
    from datetime import UTC, datetime

    head, _, fraction = text.replace("T", " ").partition(".")
    return datetime.fromisoformat(f"{head}.{fraction[:6]:0<6}").replace(tzinfo=UTC)


def read_log_levels(text: str, *, proxy: str = "") -> list[dict[str, str | None]]:
    """Rows of `LOG_LEVELS` from what `POST /logging` or `istioctl proxy-config log` prints.

    Example:
        >>> read_log_levels(chr(10).join(["active loggers:", "  admin: warning", "  http: debug"]))[1]
        {'proxy': None, 'logger': 'http', 'level': 'debug'}
    """
    pairs: Sequence[tuple[str, str]] = re.findall(r"^\s+([\w.-]+): (\w+)\s*$", text, re.MULTILINE)
    return [{"proxy": proxy or None, "logger": logger, "level": level} for logger, level in pairs]
