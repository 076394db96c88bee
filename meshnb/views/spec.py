"""What a chart shows, apart from how it is drawn: series of plain values, their colours and axes."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

from meshnb.errors import UsageError
from meshnb.views.style import ABSENT, is_missing, text_of

if TYPE_CHECKING:
    import pandas as pd

# Told apart by people who do not see red or green, and legible on white and on near black.
PALETTE = ("#3d7fc1", "#c9781c", "#2b8f83", "#8a67c2", "#cc4b57", "#97704f", "#7c8592", "#7b8a2e")
# HTTP status classes keep their colour in every chart; shades tell several of one class apart.
_STATUS = {
    "0": ("#8a67c2", "#6a4c9f"),
    "2": ("#2f9167", "#56a98a"),
    "3": ("#3d7fc1", "#6f9fd0"),
    "4": ("#c9781c", "#b39029"),
    "5": ("#cc4b57", "#9d3f78", "#e0767f", "#b5651d"),
}
_CODE = re.compile(r"([1-5]\d\d|0)\b")


@dataclass(frozen=True, slots=True)
class Series:
    """Values drawn in one colour: `x` and `y` of equal length."""

    name: str
    color: str
    x: tuple[Any, ...]
    y: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Spec:
    """One chart.

    Args:
        kind: how it is drawn.
        title: what it shows.
        unit: label of the axis of values.
        series: what is drawn; for `bars` x are numbers and y categories, for `durations` y are positions of rows.
        rows: labels of rows, top first, for `bars` and `durations`.
        labels: text at the end of each row.
        marks: lines drawn across at a value, with their label.
        step: width of a bin, for `timeline`.
        legend: whether the series need their names told.
        note: what a reader must know of how the values were chosen.
        alt: the chart in words.
    """

    kind: Literal["bars", "timeline", "lines", "durations"]
    title: str
    unit: str
    series: tuple[Series, ...]
    rows: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    marks: tuple[tuple[str, float], ...] = ()
    step: timedelta = timedelta()
    legend: bool = False
    note: str = ""
    alt: str = ""


def column(df: pd.DataFrame, name: str) -> list[Any]:
    """Values of a column as plain Python, missing ones as `None`.

    Raises:
        UsageError: no such column; names the nearest.
    """
    if name not in df.columns:
        names = [str(column) for column in df.columns]
        near = difflib.get_close_matches(name, names, n=1)
        raise UsageError(
            f"the frame has no column {name!r}",
            hint=f"did you mean {near[0]!r}?" if near else f"columns: {', '.join(names)}",
        )
    return [None if is_missing(value) else value for value in df[name].tolist()]


def numbers(df: pd.DataFrame, name: str) -> list[float | None]:
    """Values of a column of numbers.

    Raises:
        UsageError: no such column, or one of other values.
    """
    values = column(df, name)
    if any(isinstance(value, bool) or not isinstance(value, int | float) for value in values if value is not None):
        raise UsageError(f"column {name!r} holds other things than numbers")
    return [None if value is None or not math.isfinite(value) else float(value) for value in values]


def times(df: pd.DataFrame, name: str) -> list[datetime | None]:
    """Values of a column of times, in UTC; a time without a zone is taken as UTC.

    Raises:
        UsageError: no such column, or one of other values.
    """
    values = column(df, name)
    if any(not isinstance(value, datetime) for value in values if value is not None):
        raise UsageError(f"column {name!r} holds other things than times", hint="convert it with pd.to_datetime")
    return [None if value is None else _utc(value) for value in values]


def _utc(value: Any) -> datetime:
    plain: datetime = value.to_pydatetime(warn=False) if hasattr(value, "to_pydatetime") else value
    return plain.astimezone(UTC) if plain.tzinfo else plain.replace(tzinfo=UTC)


def names(df: pd.DataFrame, name: str) -> list[str]:
    """Values of a column as labels; without a column, one empty label for all rows."""
    return [text_of(value) for value in column(df, name)] if name else [""] * len(df)


def colors(series: Iterable[str]) -> dict[str, str]:
    """A colour for each series: HTTP status codes by class, others in turn.

    Example:
        >>> colors(["200", "503 NC", "other"])["200"]
        '#2f9167'
    """
    result: dict[str, str] = {}
    used: dict[str, int] = {}
    for name in series:
        match = _CODE.match(name)
        key, choice = (match[1][0], _STATUS.get(match[1][0], PALETTE)) if match else ("", PALETTE)
        if name == ABSENT:
            result[name] = "#7c8592"
            continue
        result[name] = choice[used.get(key, 0) % len(choice)]
        used[key] = used.get(key, 0) + 1
    return result


def ticks(low: float, high: float, *, count: int = 6) -> list[float]:
    """Round values that cover a span.

    Example:
        >>> ticks(0, 980)
        [0.0, 200.0, 400.0, 600.0, 800.0, 1000.0]
    """
    span = (high - low) or abs(high) or 1.0
    raw = span / max(count - 1, 1)
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= raw * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(i * step, 10) for i in range(first, max(last, first + 1) + 1)]


_STEPS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400]


def time_step(start: datetime, end: datetime, *, count: int) -> timedelta:
    """The shortest round step that cuts a span into at most `count` parts; below a second, decimal steps."""
    seconds = max((end - start).total_seconds(), 1e-3) / max(count, 1)
    if seconds < 1:
        return timedelta(seconds=next(s for s in (0.001, 0.01, 0.05, 0.1, 0.2, 0.5, 1) if s >= seconds))
    for step in _STEPS:
        if step >= seconds:
            return timedelta(seconds=step)
    return timedelta(days=math.ceil(seconds / 86400))


def floor_time(time: datetime, step: timedelta) -> datetime:
    """The last multiple of a step at or before a time, counted from midnight UTC of the epoch."""
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    return epoch + (time - epoch) // step * step


def time_label(time: datetime, step: timedelta) -> str:
    """A tick's label, as exact as the step between ticks."""
    if step >= timedelta(days=1):
        return f"{time:%Y-%m-%d}"
    if step >= timedelta(minutes=1):
        return f"{time:%H:%M}" if (time.hour, time.minute) != (0, 0) else f"{time:%b %d}"
    return f"{time:%H:%M:%S}" + (f".{time.microsecond // 1000:03}" if step < timedelta(seconds=1) else "")


def thin(values: Sequence[Any], limit: int) -> list[Any]:
    """At most `limit` of the values, evenly taken, the first and the last among them."""
    if len(values) <= limit:
        return list(values)
    last = len(values) - 1
    return [values[round(i * last / (limit - 1))] for i in range(limit)]


def amount(value: float) -> str:
    """A number as a label.

    Example:
        >>> amount(12345), amount(0.5), amount(501.26)
        ('12,345', '0.5', '501.3')
    """
    if value == int(value) or abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.4g}"
