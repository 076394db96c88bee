"""istiod's log → the batches of changes it pushed: its lines `Push debounce stable`."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from meshnb.errors import FormatError
from meshnb.model.frame import returns
from meshnb.model.tables.control_plane import PUSH_BATCHES

if TYPE_CHECKING:
    import pandas as pd

_MARK = b"Push debounce stable["
_TEXT = re.compile(
    r"^(?P<time>\S+Z)\s+\w+\s+\w+\s+Push debounce stable\[(?P<number>\d+)\] (?P<events>\d+)"
    r"(?: for (?:config (?P<config>.+?)|(?P<count>\d+) configs|reason (?P<reason>.+?)))?"
    r": (?P<quiet>\S+) since last change(?:, (?P<waited>\S+) since last push)?(?:, full=(?P<full>true|false))?"
)
_PART = re.compile(r"(\d+(?:\.\d+)?)(h|ms|m|s|µs|us|ns)")
_SECONDS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "µs": 1e-6, "us": 1e-6, "ns": 1e-9}
_MORE = re.compile(r" and (\d+) more configs$")


@returns(PUSH_BATCHES)
def read_push_batches(data: bytes | str, *, istiod: str = "", file: str = "") -> pd.DataFrame:
    """Batches of changes from a log of istiod, as text or JSON lines; other lines are not looked at.

    Args:
        data: the log.
        istiod: whose it is.
        file: how to name it in an error.

    Raises:
        FormatError: a line of this kind that cannot be read.

    Example:
        >>> said = "Push debounce stable[7] 3: 100ms since last change, 250ms since last push, full=true"
        >>> frame = read_push_batches("2026-11-23T09:00:00.5Z info ads " + said)
        >>> int(frame["events"][0]), float(frame["quiet_s"][0]), float(frame["waited_s"][0])
        (3, 0.1, 0.25)
    """
    raw = data.encode() if isinstance(data, str) else data
    rows = []
    for number, line in enumerate(raw.splitlines(), 1):
        if _MARK not in line:
            continue
        found = _TEXT.match(_plain(line))
        if not found:
            raise FormatError("a line of istiod's debounce that cannot be read", file=file, position=f"line {number}")
        rows.append(_row(found) | {"istiod": istiod or None})
    return PUSH_BATCHES.rows(rows)


def _plain(line: bytes) -> str:
    """The line as text; a JSON line as istiod would have written it as text."""
    text = line.decode(errors="replace")
    if not text.lstrip().startswith("{"):
        return text
    import json

    try:
        entry = json.loads(text)
        return f"{entry['time']}\t{entry['level']}\t{entry.get('scope', 'ads')}\t{entry['msg']}"
    except (ValueError, KeyError, TypeError):
        return text


def _row(found: re.Match[str]) -> dict[str, Any]:
    config = found["config"]
    more = _MORE.search(config) if config else None
    closed = datetime.fromisoformat(found["time"])
    waited = _duration(found["waited"]) if found["waited"] else None
    return {
        "time": closed,
        "number": int(found["number"]),
        "events": int(found["events"]),
        "config": (config[: more.start()] if more else config) if config else None,
        "more_configs": int(more[1]) if more else int(found["count"]) if found["count"] else None,
        "reason": found["reason"],
        "quiet_s": _duration(found["quiet"]),
        "waited_s": waited,
        "opened": closed - timedelta(seconds=waited) if waited is not None else None,
        "full": found["full"] == "true" if found["full"] else None,
    }


def _duration(text: str) -> float:
    """A duration as Go writes it.

    Example:
        >>> _duration("1m2.5s"), _duration("100.98ms"), _duration("950µs")
        (62.5, 0.10098, 0.00095)
    """
    return round(sum(float(number) * _SECONDS[unit] for number, unit in _PART.findall(text)), 9)
