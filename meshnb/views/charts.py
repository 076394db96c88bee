"""Charts of frames: bars, a timeline, lines, durations. Live with plotly where a front end has it, else as SVG."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from html import escape
from itertools import pairwise
from statistics import fmean, median
from typing import TYPE_CHECKING, Any

from meshnb.errors import UsageError
from meshnb.views import spec as s
from meshnb.views.spec import Series, Spec
from meshnb.views.style import ABSENT, page

if TYPE_CHECKING:
    import pandas as pd

PLOTLY_MEDIA = "application/vnd.plotly.v1+json"
"""Media type of a plotly figure."""

MAX_POINTS = 1500
"""Points drawn in one chart; more are thinned out evenly, and the chart says so."""
MAX_COLUMNS = 120
"""Columns drawn side by side; of more points each column is the mean of several, and the chart says so."""


class Chart:
    """A chart as a notebook shows it: plotly JSON, a static SVG, and the same in words.

    Made by `bar`, `timeline`, `stacked`, `lines` or `durations`.

    Args:
        spec: what is drawn.
    """

    def __init__(self, spec: Spec) -> None:
        self.spec = spec

    def __repr__(self) -> str:
        return f"<Chart {self.spec.title or self.spec.kind}>"

    @property
    def alt(self) -> str:
        """The chart in words."""
        return self.spec.alt

    @property
    def figure(self) -> Any:
        """The chart as a `plotly.graph_objects.Figure`, to change it."""
        from meshnb.views.plot import figure

        return figure(self.spec)

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, Any]:
        bundle: dict[str, Any] = {"text/plain": self.alt, "text/html": page(as_html(self.spec))}
        return bundle | ({} if _is_empty(self.spec) else {PLOTLY_MEDIA: self._plotly()})

    def _plotly(self) -> dict[str, Any]:
        import json

        figure = json.loads(self.figure.to_json())
        figure["layout"].pop("template", None)  # plotly's default theme: 7 kB a chart, and none of it is used
        return {**figure, "config": {"responsive": True, "displaylogo": False}}


def as_html(spec: Spec) -> str:
    """The chart as a figure with an inline SVG, without the style sheet."""
    from meshnb.views.svg import svg

    title = f"<figcaption>{escape(spec.title)}</figcaption>" if spec.title else ""
    if _is_empty(spec):
        # empty axes look like a chart that is broken
        return f'<figure>{title}<p class="dim">{escape(f"{spec.note} Nothing to draw: no value.".strip())}</p></figure>'
    note = f'<p class="dim">{escape(spec.note)}</p>' if spec.note else ""
    return f"<figure>{title}{note}{svg(spec)}</figure>"


def _is_empty(spec: Spec) -> bool:
    return not any(value is not None for series in spec.series for value in series.y)


def bar(
    df: pd.DataFrame, *, x: str, y: str = "", color: str = "", title: str = "", unit: str = "", limit: int = 12
) -> Chart:
    """Horizontal bars, longest first, stacked by `color`.

    Args:
        df: one row per thing, or one per group with its number in `y`.
        x: column of the groups, one bar each.
        y: column to add up; empty counts the rows.
        color: column that splits a bar.
        title: what the chart shows.
        unit: what the numbers are: `requests`, `ms`.
        limit: number of bars; what is left becomes the bar `other`.

    Raises:
        UsageError: no such column, or `y` holds no numbers.

    Example:
        >>> import pandas as pd
        >>> bar(pd.DataFrame({"code": [200, 503, 503]}), x="code", title="Requests by status").alt
        'Requests by status: 503 2 (67 %), 200 1 (33 %).'
    """
    groups, parts = s.names(df, x), s.names(df, color)
    values = s.numbers(df, y) if y else [1.0] * len(df)
    totals: dict[str, float] = {}
    for group, value in zip(groups, values, strict=True):
        totals[group] = totals.get(group, 0.0) + (value or 0.0)
    ranked = sorted(totals, key=lambda name: (-totals[name], name))
    rest = set(ranked[limit - 1 :]) if len(ranked) > limit else set()
    rows = [name for name in ranked if name not in rest] + ([f"other ({len(rest)})"] if rest else [])
    cells: dict[str, dict[str, float]] = {}
    for group, part, value in zip(groups, parts, values, strict=True):
        row = rows[-1] if group in rest else group
        sums = cells.setdefault(part, {})
        sums[row] = sums.get(row, 0.0) + (value or 0.0)
    series = _stacked(rows, cells) if color else _single(rows, cells.get("", {}))
    sums_by_row = [sum(cells[part].get(row, 0.0) for part in cells) for row in rows]
    whole = sum(sums_by_row)
    labels = [
        f"{s.amount(value)} ({value / whole:.0%})".replace("%", " %") if not y and whole else s.amount(value)
        for value in sums_by_row
    ]
    words = ", ".join(f"{row} {label}" for row, label in zip(rows, labels, strict=True)) or "no rows"
    return Chart(
        Spec(
            "bars", title, unit, tuple(series), tuple(rows), tuple(labels), legend=bool(color),
            note=_missing(sum(value is None for value in values)),
            alt=f"{title or 'Bars'}: {words}{' ' + unit if unit and words != 'no rows' else ''}.",
        )
    )  # fmt: skip


def _stacked(rows: list[str], cells: dict[str, dict[str, float]]) -> list[Series]:
    shades = s.colors(sorted(cells))
    return [
        Series(part, shades[part], tuple(sums.get(row, 0.0) for row in rows), tuple(rows))
        for part, sums in sorted(cells.items())
    ]


def _single(rows: list[str], sums: dict[str, float]) -> list[Series]:
    """Each bar for itself: status codes keep their colours, anything else has one colour."""
    shades = s.colors(rows)
    coded = any(s.colors([row])[row] != s.PALETTE[0] for row in rows)
    return [Series(row, shades[row] if coded else s.PALETTE[0], (sums[row],), (row,)) for row in rows]


def timeline(
    df: pd.DataFrame, *, time: str, color: str = "", title: str = "", unit: str = "requests", bins: int = 60
) -> Chart:
    """How many rows there are over time, as columns stacked by `color`.

    Args:
        df: one row per thing that happened.
        time: column of times.
        color: column that splits a column of the chart.
        title: what the chart shows.
        unit: what is counted.
        bins: number of columns, at most.

    Raises:
        UsageError: no such column, or `time` holds no times.

    Example:
        >>> import pandas as pd
        >>> df = pd.DataFrame({"at": pd.to_datetime(["2026-11-23T09:00:00Z", "2026-11-23T09:00:30Z"])})
        >>> timeline(df, time="at", title="Requests").alt
        'Requests: 2 requests from 2026-11-23 09:00:00 to 2026-11-23 09:00:30 UTC.'
    """
    moments, parts = s.times(df, time), s.names(df, color)
    seen = [moment for moment in moments if moment is not None]
    if not seen:
        return Chart(
            Spec("timeline", title, unit, (), note=_missing(len(moments)), alt=f"{title or 'Timeline'}: none.")
        )
    first, last = min(seen), max(seen)
    step = s.time_step(first, last, count=bins)
    start = s.floor_time(first, step)
    edges = [start + i * step for i in range((last - start) // step + 1)]
    counts: dict[str, list[int]] = {}
    for moment, part in zip(moments, parts, strict=True):
        if moment is not None:
            counts.setdefault(part, [0] * len(edges))[(moment - start) // step] += 1
    shades = s.colors(sorted(counts))
    series = tuple(
        Series(part or unit, shades[part], tuple(edges), tuple(heights)) for part, heights in sorted(counts.items())
    )
    split = f" ({', '.join(f'{one.name} {sum(one.y)}' for one in series)})" if color else ""
    words = f"{len(seen)} {unit}{split} from {first:%Y-%m-%d %H:%M:%S} to {last:%Y-%m-%d %H:%M:%S} UTC"
    return Chart(
        Spec(
            "timeline", title, f"{unit} per {_span(step.total_seconds())}", series, step=step, legend=bool(color),
            note=_missing(len(moments) - len(seen)), alt=f"{title or 'Timeline'}: {words}.",
        )
    )  # fmt: skip


def stacked(df: pd.DataFrame, *, time: str, value: str, color: str, title: str = "", unit: str = "") -> Chart:
    """A measure over time whose parts make a sum, as columns stacked by `color`.

    Args:
        df: one row per point and part; a missing value is no part of the sum.
        time: column of times, the same ones for all parts.
        value: column of numbers, none below zero.
        color: column that says which part a point belongs to.
        title: what the chart shows.
        unit: unit of the values.

    Raises:
        UsageError: no such column, or one of other values.

    Example:
        >>> import pandas as pd
        >>> at = pd.to_datetime(["2026-11-23T09:00:00Z"] * 2)
        >>> df = pd.DataFrame({"at": at, "rate": [1.5, 0.5], "type": ["eds", "cds"]})
        >>> stacked(df, time="at", value="rate", color="type", title="Changes", unit="1/s").alt
        'Changes: eds 75 %, cds 25 %.'
    """
    parts: dict[str, dict[Any, float]] = {}
    for part, moment, height in zip(s.names(df, color), s.times(df, time), s.numbers(df, value), strict=True):
        if moment is not None and height is not None:
            parts.setdefault(part, {})[moment] = height
    moments = sorted({moment for points in parts.values() for moment in points})
    many = -(-len(moments) // MAX_COLUMNS) or 1
    columns = [moments[i : i + many] for i in range(0, len(moments), many)]
    step = min((b[0] - a[0] for a, b in pairwise(columns)), default=timedelta(minutes=1))
    sums = {part: sum(points.values()) for part, points in parts.items()}
    shades, total = s.colors(sorted(parts)), sum(sums.values())
    starts = tuple(column[0] for column in columns)
    series = tuple(
        Series(part, shades[part], starts, tuple(fmean(points.get(at, 0.0) for at in column) for column in columns))
        for part, points in sorted(parts.items())
    )
    note = f"A column is the mean of {many} points." if many > 1 else ""
    largest = sorted(sums, key=lambda part: (-sums[part], part))
    said = ", ".join(f"{part} {100 * sums[part] / total:.0f} %" for part in largest) if total else "none"
    alt = f"{title or 'Columns'}: {said}."
    return Chart(Spec("timeline", title, unit, series if total else (), step=step, legend=True, note=note, alt=alt))


def lines(
    df: pd.DataFrame,
    *,
    x: str,
    y: str,
    color: str = "",
    title: str = "",
    unit: str = "",
    marks: Mapping[str, float] | None = None,
) -> Chart:
    """A measure over time, or over a number, one line per value of `color`.

    Args:
        df: one row per point; a missing `y` interrupts the line.
        x: column of times or of numbers.
        y: column of numbers.
        color: column that says which line a point belongs to.
        title: what the chart shows.
        unit: unit of `y`.
        marks: values to draw a line across at, by their label.

    Raises:
        UsageError: no such column, or one of other values.

    Example:
        >>> import pandas as pd
        >>> lines(pd.DataFrame({"t": [0, 1], "p99": [0.1, 0.45]}), x="t", y="p99", unit="s").alt
        'Lines: p99 0.1 to 0.45 s.'
    """
    xs: list[Any] = s.times(df, x) if _is_time(df, x) else s.numbers(df, x)
    groups: dict[str, list[tuple[Any, float | None]]] = {}
    for part, at, value in zip(s.names(df, color), xs, s.numbers(df, y), strict=True):
        if at is not None:
            groups.setdefault(part or y, []).append((at, value))
    shades, series, words, thinned = s.colors(sorted(groups)), [], [], False
    for name, points in sorted(groups.items()):
        points.sort(key=lambda point: point[0])
        shown = s.thin(points, max(MAX_POINTS // len(groups), 2))
        thinned = thinned or len(shown) < len(points)
        series.append(Series(name, shades[name], tuple(p[0] for p in shown), tuple(p[1] for p in shown)))
        known = [value for _, value in points if value is not None]
        words += [f"{name} {s.amount(min(known))} to {s.amount(max(known))}"] if known else []
    note = "Not every point is drawn." if thinned else ""
    said = f"{'; '.join(words)} {unit}".strip() if words else "no points"
    return Chart(
        Spec(
            "lines", title, unit, tuple(series), marks=_marks(marks), legend=bool(color), note=note,
            alt=f"{title or 'Lines'}: {said}.",
        )
    )  # fmt: skip


def durations(
    df: pd.DataFrame,
    *,
    value: str,
    group: str,
    color: str = "",
    title: str = "",
    unit: str = "ms",
    marks: Mapping[str, float] | None = None,
    limit: int = 12,
) -> Chart:
    """Every request as a point, a row per group, the slowest group first, against limits such as a timeout.

    Args:
        df: one row per request.
        value: column of durations.
        group: column of the groups: a pod, an upstream host.
        color: column that colours the points: response code or flags.
        title: what the chart shows.
        unit: unit of the durations.
        marks: limits to draw, by their label: `{"timeout": 500}`.
        limit: number of groups shown, slowest first.

    Raises:
        UsageError: no such column, or `value` holds no numbers.

    Example:
        >>> import pandas as pd
        >>> df = pd.DataFrame({"pod": ["a", "b", "b"], "ms": [5, 501, 499]})
        >>> durations(df, value="ms", group="pod", marks={"timeout": 500}).alt
        'Durations: b median 500 ms, highest 501 ms, 2 values; a median 5 ms, highest 5 ms, 1 value. timeout 500 ms.'
    """
    rows: dict[str, list[tuple[float, str]]] = {}
    missing = 0
    for row, part, number in zip(s.names(df, group), s.names(df, color), s.numbers(df, value), strict=True):
        if number is None:
            missing += 1
        else:
            rows.setdefault(row, []).append((number, part))
    medians = {row: median(number for number, _ in points) for row, points in rows.items()}
    order = sorted(rows, key=lambda row: (-medians[row], row))
    shown = order[:limit]
    series = _points([rows[row] for row in shown], unit)
    words = "; ".join(_told(row, [number for number, _ in rows[row]], unit) for row in shown)
    limits = "".join(f" {label} {s.amount(number)} {unit}." for label, number in _marks(marks))
    notes = [f"The {limit} slowest of {len(order)} are shown."] if len(order) > limit else []
    drawn, all_points = sum(len(one.x) for one in series), sum(len(rows[row]) for row in shown)
    notes += [f"{drawn:,} of {all_points:,} points are drawn."] if drawn < all_points else []
    return Chart(
        Spec(
            "durations", title, unit, series, tuple(shown),
            tuple(f"median {s.amount(medians[row])} {unit}" for row in shown), _marks(marks), legend=bool(color),
            note=" ".join([*notes, _missing(missing)]).strip(),
            alt=f"{title or 'Durations'}: {words or 'no values'}.{limits}",
        )
    )  # fmt: skip


def _told(row: str, values: list[float], unit: str) -> str:
    count = f"{len(values):,} value{'s' if len(values) != 1 else ''}"
    return f"{row} median {s.amount(median(values))} {unit}, highest {s.amount(max(values))} {unit}, {count}"


def _points(rows: list[list[tuple[float, str]]], unit: str) -> tuple[Series, ...]:
    """A point for each value, spread over its row's height, in the colour of its part; thinned where too many."""
    points: dict[str, list[tuple[float, float]]] = {}
    for place, values in enumerate(rows):
        for i, (number, part) in enumerate(s.thin(sorted(values), max(MAX_POINTS // len(rows), 2))):
            # spread by the golden ratio: even, and the same each time
            points.setdefault(part, []).append((number, place + (i * 0.618034 % 1 - 0.5) * 0.56))
    shades = s.colors(sorted(points))
    return tuple(
        Series(part or unit, shades[part], tuple(p[0] for p in dots), tuple(p[1] for p in dots))
        for part, dots in sorted(points.items())
    )


def _is_time(df: pd.DataFrame, name: str) -> bool:
    from datetime import datetime

    return any(isinstance(value, datetime) for value in s.column(df, name))


def _marks(marks: Mapping[str, float] | None) -> tuple[tuple[str, float], ...]:
    for label, value in (marks or {}).items():
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise UsageError(f"mark {label!r} is {value!r}, not a number", hint=f"marks={{{label!r}: 500}}")
    return tuple((label, float(value)) for label, value in (marks or {}).items())


def _missing(count: int) -> str:
    return f"{count:,} row{'s' if count != 1 else ''} without a value ({ABSENT}) not drawn." if count else ""


def _span(seconds: float) -> str:
    for size, unit in ((86400, "day"), (3600, "h"), (60, "min")):
        if seconds >= size and seconds % size == 0:
            return unit if seconds == size else f"{seconds / size:g} {unit}"
    return "s" if seconds == 1 else f"{seconds:g} s"
