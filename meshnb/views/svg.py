"""A chart drawn as SVG by hand: what shows where plotly does not, in print, and without scripts.

Colours of text and lines come from the style sheet, so it follows light and dark. Lengths are in user units; the
picture scales to the width there is.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from html import escape
from typing import Any

from meshnb.views.spec import Spec, amount, floor_time, ticks, time_label, time_step

WIDTH = 860
_LETTER = 7.0  # width of a letter at 12 px, rather too much than too little


def svg(spec: Spec) -> str:
    """The chart as an SVG element."""
    across = spec.kind in ("bars", "durations")
    body, height = (_rows if across else _columns)(spec)
    return (
        f'<svg role="img" viewBox="0 0 {WIDTH} {height:.0f}" aria-label="{escape(spec.alt)}">'
        f"<title>{escape(spec.alt)}</title>{body}</svg>"
    )


def _text(x: float, y: float, text: str, *, anchor: str = "start", css: str = "") -> str:
    classes = f' class="{css}"' if css else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{classes}>{escape(text)}</text>'


def _rule(x1: float, y1: float, x2: float, y2: float, css: str) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{css}"/>'


def _rect(x: float, y: float, width: float, height: float, color: str, title: str) -> str:
    return (
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(width, 0):.1f}" height="{max(height, 0):.1f}" fill="{color}">'
        f"<title>{escape(title)}</title></rect>"
    )


def _legend(spec: Spec) -> tuple[str, float]:
    """Names of the series with their colours, and the room they take."""
    if not spec.legend:
        return "", 0.0
    parts, x, y = [], 0.0, 12.0
    for one in spec.series:
        width = 22 + len(one.name) * _LETTER + 14
        if x + width > WIDTH and x:
            x, y = 0.0, y + 18
        parts.append(f'<rect x="{x:.1f}" y="{y - 9:.1f}" width="10" height="10" rx="2" fill="{one.color}"/>')
        parts.append(_text(x + 16, y, one.name))
        x += width
    return "".join(parts), y + 12


def _rows(spec: Spec) -> tuple[str, float]:
    """Bars or points along rows, values to the right."""
    legend, top = _legend(spec)
    top += 18 if spec.marks else 4
    left = min(max((len(row) for row in spec.rows), default=0) * _LETTER + 14, 330)
    right = WIDTH - max((len(label) for label in spec.labels), default=0) * _LETTER - 12
    size = 30 if spec.kind == "bars" else 46
    bottom = top + size * max(len(spec.rows), 1)
    values = [sum(one.x[one.y.index(row)] for one in spec.series if row in one.y) for row in spec.rows]
    if spec.kind == "durations":
        values = [x for one in spec.series for x in one.x]
    steps = ticks(0, max([*values, *(value for _, value in spec.marks), 0.0]) or 1.0)
    scale: Callable[[float], float] = lambda value: left + (right - left) * value / steps[-1]  # noqa: E731
    parts = [legend]
    for step in steps:
        parts.append(_rule(scale(step), top, scale(step), bottom, "grid"))
        parts.append(_text(scale(step), bottom + 16, amount(step), anchor="middle", css="dim"))
    parts.append(_bars(spec, scale, top, size) if spec.kind == "bars" else _points(spec, scale, top, size))
    most = round((left - 14) / _LETTER)
    for place, (row, label) in enumerate(zip(spec.rows, spec.labels, strict=True)):
        middle = top + size * (place + 0.5) + 4
        shown = row if len(row) <= most else row[: most // 2 - 1] + "…" + row[-(most - most // 2) :]
        parts.append(_text(left - 10, middle, shown, anchor="end"))
        end = scale(values[place]) + 8 if spec.kind == "bars" else right + 10
        parts.append(_text(end, middle, label, css="" if spec.kind == "bars" else "dim"))
    for label, value in spec.marks:
        parts.append(_rule(scale(value), top - 4, scale(value), bottom, "mark"))
        anchor = "end" if scale(value) > WIDTH * 0.75 else "middle"
        parts.append(_text(scale(value), top - 8, f"{label} {amount(value)} {spec.unit}", anchor=anchor, css="marked"))
    if spec.unit:
        parts.append(_text((left + right) / 2, bottom + 34, spec.unit, anchor="middle", css="dim"))
    return "".join(parts), bottom + (40 if spec.unit else 22)


def _bars(spec: Spec, scale: Callable[[float], float], top: float, size: float) -> str:
    parts = []
    for place, row in enumerate(spec.rows):
        start = 0.0
        for one in spec.series:
            if row in one.y and (value := one.x[one.y.index(row)]):
                title = f"{row}, {one.name}: {amount(value)}" if one.name != row else f"{row}: {amount(value)}"
                x = scale(start)
                parts.append(
                    _rect(x, top + size * place + 6, scale(start + value) - x, size - 12, one.color, title.strip(", "))
                )
                start += value
    return "".join(parts)


def _points(spec: Spec, scale: Callable[[float], float], top: float, size: float) -> str:
    return "".join(
        f'<g fill="{one.color}" fill-opacity="0.65">'
        + "".join(
            f'<circle cx="{scale(x):.1f}" cy="{top + size * (y + 0.5):.1f}" r="3"/>'
            for x, y in zip(one.x, one.y, strict=True)
        )
        + "</g>"
        for one in spec.series
    )


def _columns(spec: Spec) -> tuple[str, float]:
    """Columns or lines over time or a number, values upwards."""
    legend, top = _legend(spec)
    top, left, right, tall = top + 26, 56.0, WIDTH - 16.0, 190.0
    bottom = top + tall
    if not any(one.x for one in spec.series):
        return legend + _text(WIDTH / 2, top + 30, "nothing to draw", anchor="middle", css="dim"), top + 60
    low, high = _extent(spec)
    if spec.kind == "timeline":
        heights = [sum(column) for column in zip(*(one.y for one in spec.series), strict=True)]
    else:
        heights = [y for one in spec.series for y in one.y if y is not None]
    steps = ticks(min([*heights, 0.0]), max([*heights, *(value for _, value in spec.marks), 0.0]) or 1.0, count=5)
    across: Callable[[Any], float] = lambda x: left + (right - left) * ((x - low) / (high - low))  # noqa: E731
    up: Callable[[float], float] = lambda y: bottom - tall * (y - steps[0]) / (steps[-1] - steps[0])  # noqa: E731
    parts = [legend]
    for step in steps:
        parts.append(_rule(left, up(step), right, up(step), "axis" if step == 0 else "grid"))
        parts.append(_text(left - 8, up(step) + 4, amount(step), anchor="end", css="dim"))
    for value, label in _x_ticks(low, high):
        parts.append(_text(across(value), bottom + 18, label, anchor="middle", css="dim"))
    parts.append(_stack(spec, across, up) if spec.kind == "timeline" else _paths(spec, across, up))
    for label, value in spec.marks:
        parts.append(_rule(left, up(value), right, up(value), "mark"))
        text = f"{label} {amount(value)} {spec.unit}"
        parts.append(_text(right, up(value) - 5, text, anchor="end", css="marked"))
    if spec.unit:
        parts.append(_text(0, top - 14, spec.unit, css="dim"))
    return "".join(parts), bottom + 26


def _extent(spec: Spec) -> tuple[Any, Any]:
    xs = [x for one in spec.series for x in one.x]
    low, high = min(xs), max(xs)
    if spec.kind == "timeline":
        return low, high + spec.step
    if low == high:
        room = timedelta(seconds=1) if isinstance(low, datetime) else 1.0
        return low - room, high + room
    return low, high


def _x_ticks(low: Any, high: Any) -> list[tuple[Any, str]]:
    if not isinstance(low, datetime):
        return [(value, amount(value)) for value in ticks(low, high, count=8) if low <= value <= high]
    step = time_step(low, high, count=8)
    first = floor_time(low, step)
    marks = [first + i * step for i in range((high - first) // step + 1)]
    return [(mark, time_label(mark, step)) for mark in marks if mark >= low]


def _stack(spec: Spec, across: Callable[[Any], float], up: Callable[[float], float]) -> str:
    parts, base = [], [0.0] * len(spec.series[0].x)
    for one in spec.series:
        for i, (start, value) in enumerate(zip(one.x, one.y, strict=True)):
            if value:
                x, wide = across(start), across(start + spec.step) - across(start)
                y = up(base[i] + value)
                title = f"{start:%H:%M:%S} {one.name}: {amount(value)}"
                parts.append(_rect(x + 0.5, y, wide - 1, up(base[i]) - y, one.color, title))
                base[i] += value
    return "".join(parts)


def _paths(spec: Spec, across: Callable[[Any], float], up: Callable[[float], float]) -> str:
    parts = []
    for one in spec.series:
        path, pen = [], "M"
        for x, y in zip(one.x, one.y, strict=True):
            if y is None:
                pen = "M"
                continue
            path.append(f"{pen}{across(x):.1f} {up(y):.1f}")
            pen = "L"
        parts.append(
            f'<path d="{" ".join(path)}" fill="none" stroke="{one.color}" stroke-width="2" '
            f'stroke-linejoin="round"><title>{escape(one.name)}</title></path>'
        )
    return "".join(parts)
