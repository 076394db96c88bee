"""A time window in UTC."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from meshnb.errors import UsageError

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?[smhd])+")
_PART = re.compile(r"(\d+(?:\.\d+)?)([smhd])")


def parse_duration(text: str) -> timedelta:
    """A duration such as `30m`, `1h30m`, `90s` or `2d`.

    Raises:
        UsageError: not a duration.

    Example:
        >>> parse_duration("1h30m")
        datetime.timedelta(seconds=5400)
    """
    if not _DURATION.fullmatch(text.strip()):
        raise UsageError(f"{text!r} is not a duration", hint="write it like 30m, 1h30m or 2d")
    return sum((timedelta(**{_UNITS[unit]: float(n)}) for n, unit in _PART.findall(text)), timedelta())


@dataclass(frozen=True, slots=True)
class Window:
    """A half-open span of time, `start <= t < end`, in UTC.

    Example:
        >>> Window.parse("2026-11-23T09:00/2026-11-23T10:00").duration
        datetime.timedelta(seconds=3600)
    """

    start: datetime
    end: datetime

    def __post_init__(self) -> None:
        if self.start.tzinfo is None or self.end.tzinfo is None:
            raise UsageError("a window needs times with a time zone", hint="use datetime.now(UTC)")
        if self.end <= self.start:
            raise UsageError(f"the window ends ({self.end}) before it starts ({self.start})")

    @classmethod
    def parse(cls, text: str, *, now: datetime | None = None) -> Window:
        """A window from text: a duration that ends `now`, or `START/END` in ISO 8601 (UTC if no zone is given).

        Args:
            text: `30m`, `2026-11-23T09:00/2026-11-23T10:00`, `START/30m` or `30m/END`.
            now: end of a window given by its duration alone; default the present, for a snapshot its capture time.

        Raises:
            UsageError: not a window.
        """
        first, slash, second = text.strip().partition("/")
        if not slash:
            end = now or datetime.now(UTC)
            return cls(end - parse_duration(first), end)
        if _DURATION.fullmatch(first.strip()):
            end = _time(second)
            return cls(end - parse_duration(first), end)
        start = _time(first)
        return cls(start, start + parse_duration(second) if _DURATION.fullmatch(second.strip()) else _time(second))

    @property
    def duration(self) -> timedelta:
        """Length of the window."""
        return self.end - self.start

    def __repr__(self) -> str:
        return f"<Window {self}>"

    def __str__(self) -> str:
        return f"{self.start:%Y-%m-%dT%H:%M:%SZ}/{self.end:%Y-%m-%dT%H:%M:%SZ}"


def _time(text: str) -> datetime:
    try:
        time = datetime.fromisoformat(text.strip())
    except ValueError as error:
        raise UsageError(f"{text!r} is not a time", hint="write it like 2026-11-23T09:00") from error
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
