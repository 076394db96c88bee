"""The path of one request as a picture: what was chosen at each stage, how the traffic splits, and how it ends.

Laid out once, drawn twice: by plotly where a front end has it, as SVG in print and without scripts.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any

from meshnb.views.charts import PLOTLY_MEDIA
from meshnb.views.plot import GRID, INK
from meshnb.views.style import page

WIDTH, _COLUMN, _BOX, _HIGH, _ROW, _TOP = 980, 140, 126, 46, 62, 40
_STAGES = ("request", "listener", "filter chain", "virtual host", "route", "cluster", "end")
_TONES = {"ok": "#2f9167", "redirect": "#3d7fc1", "error": "#cc4b57", "unknown": "#c9781c", "": INK}
_MOST_ENDS = 5
_RIGHT = "middle right"


@dataclass(slots=True)
class Box:
    """Something on the path: `title` and `detail` are drawn, `full` is shown on hovering."""

    column: int
    title: str
    detail: str = ""
    full: str = ""
    tone: str = ""
    y: float = 0.0

    @property
    def x(self) -> float:
        """Its left edge."""
        return 4 + self.column * _COLUMN


@dataclass(slots=True)
class Drawing:
    """Boxes by key, and links between them with the share of the requests, `None` if that is not known."""

    boxes: dict[tuple[int, str], Box] = field(default_factory=dict)
    links: dict[tuple[tuple[int, str], tuple[int, str]], float | None] = field(default_factory=dict)
    height: float = 0.0

    def box(self, column: int, title: str, detail: str = "", *, full: str = "", tone: str = "") -> tuple[int, str]:
        """Add a box unless it is there; its key."""
        key = (column, full or title)
        self.boxes.setdefault(key, Box(column, title, detail, full or title, tone))
        return key

    def link(self, start: tuple[int, str], end: tuple[int, str], share: float | None) -> None:
        """Add a link, or the share to one that is there."""
        before = self.links.get((start, end), 0.0)
        self.links[start, end] = None if before is None or share is None else before + share

    def arrange(self) -> None:
        """Place the boxes: each column centred."""
        columns: dict[int, list[Box]] = {}
        for box in self.boxes.values():
            columns.setdefault(box.column, []).append(box)
        most = max((len(column) for column in columns.values()), default=1)
        self.height = _TOP + most * _ROW + 6
        for column in columns.values():
            start = _TOP + (most - len(column)) * _ROW / 2
            for number, box in enumerate(column):
                box.y = start + number * _ROW


class PathView:
    """The path of a request, as a notebook shows it: picture, steps and the same as text.

    Args:
        explanation: what `Explanation.to_dict()` gives.
        text: the same as plain text.
    """

    def __init__(self, explanation: Mapping[str, Any], *, text: str = "") -> None:
        self.explanation = explanation
        self.text = text
        self.drawing = drawing(explanation)

    def __repr__(self) -> str:
        return self.text or "<path of a request>"

    @property
    def figure(self) -> Any:
        """The picture as a `plotly.graph_objects.Figure`."""
        return _figure(self.drawing)

    @property
    def svg(self) -> str:
        """The picture as an SVG element."""
        return _svg(self.drawing, title=self.text.partition("\n")[0] or "Path of a request")

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, Any]:
        figure = json.loads(self.figure.to_json())
        figure["layout"].pop("template", None)
        bundle = {**figure, "config": {"responsive": True, "displaylogo": False}}
        html = page(f"<figure>{self.svg}</figure>{_steps(self.explanation)}")
        return {"text/plain": repr(self), "text/html": html, PLOTLY_MEDIA: bundle}


def path(explanation: Mapping[str, Any], *, text: str = "") -> PathView:
    """Draw the path of a request.

    Args:
        explanation: what `Explanation.to_dict()` gives.
        text: the same as plain text, for the plain view.

    Example:
        >>> path({"request": {}, "steps": [], "outcomes": []}).drawing.links
        {}
    """
    return PathView(explanation, text=text)


def drawing(explanation: Mapping[str, Any]) -> Drawing:
    """Boxes and links of an explanation, laid out."""
    found = Drawing()
    request = explanation.get("request", {})
    where = f"{request.get('authority', '')}{request.get('path', '')}"
    last = found.box(0, request.get("method", "connection"), where, full=f"{request.get('method', '')} {where}")
    first = {step["stage"]: step for step in reversed(explanation.get("steps", ()))}
    for column, stage in enumerate(_STAGES[1:4], 1):
        step = first.get(stage)
        if step is None:
            continue
        here = found.box(
            column,
            step["chosen"] or "none",
            step["because"],
            tone="unknown" if step["undecided"] else "" if step["chosen"] else "error",
        )
        found.link(last, here, 1.0)
        last = here
    routes = [step for step in explanation.get("steps", ()) if step["stage"] == "route"]
    for outcome in explanation.get("outcomes", ()):
        _outcome(found, last, outcome, routes)
    found.arrange()
    return found


def _outcome(found: Drawing, last: tuple[int, str], outcome: Mapping[str, Any], routes: list[Any]) -> None:
    share = outcome["probability"]
    if outcome["route_index"] >= 0:
        name = outcome["route"] or f"#{outcome['route_index']}"
        full = next((s["chosen"] for s in routes if s["chosen"].startswith(f"#{outcome['route_index']} ")), name)
        route = found.box(4, name, full, full=full)
        found.link(last, route, share)
        last = route
    if outcome["cluster"]:
        cluster = outcome["cluster"]
        parts = cluster.split("|")
        title, detail = (parts[2] or parts[0], parts[3] or parts[1]) if len(parts) == 4 else (cluster, "")
        here = found.box(5, title, detail, full=cluster, tone="error" if outcome["response_flags"] == "NC" else "")
        found.link(last, here, share)
        last = here
    _ends(found, last, outcome, share)


def _ends(found: Drawing, last: tuple[int, str], outcome: Mapping[str, Any], share: float | None) -> None:
    code, flags, details = outcome["response_code"], outcome["response_flags"], outcome["response_code_details"]
    endpoints = [endpoint for endpoint in outcome["endpoints"] if endpoint["eligible"]]
    if outcome["kind"] == "cluster" and code is None:
        for endpoint in endpoints[:_MOST_ENDS]:
            detail = endpoint["health"].lower() + (f" · {endpoint['share']:.0%}" if endpoint["share"] else "")
            here = found.box(6, endpoint["address"], detail, tone="ok")
            found.link(last, here, None if share is None else share * endpoint["share"])
        if len(endpoints) > _MOST_ENDS:
            rest = sum(endpoint["share"] for endpoint in endpoints[_MOST_ENDS:])
            here = found.box(6, f"{len(endpoints) - _MOST_ENDS} more", outcome["cluster"], tone="ok")
            found.link(last, here, None if share is None else share * rest)
        return
    if outcome["kind"] == "undecided":
        title, detail, tone = "undecided", outcome["condition"], "unknown"
    elif outcome["kind"] == "redirect":
        title, detail, tone = f"{code} redirect", outcome["location"], "redirect"
    elif outcome["kind"] == "closed":
        title, detail, tone = f"closed {flags}".rstrip(" -"), details or "; ".join(outcome["notes"]), "error"
    else:
        tone = "ok" if code is not None and code < 400 and flags == "-" else "error"
        title, detail = f"{code} {flags}".rstrip(" -"), details
    end = found.box(6, title, detail, tone=tone)
    found.link(last, end, share)


def short(text: str, letters: int) -> str:
    """Text that fits, its middle left out.

    Example:
        >>> short("catalog.istioinaction.svc.cluster.local", 16)
        'catalog.…r.local'
    """
    return (
        text if len(text) <= letters else f"{text[: letters // 2]}…{text[len(text) - (letters - letters // 2 - 1) :]}"
    )


def cut(text: str, letters: int) -> str:
    """Text that fits, its end left out.

    Example:
        >>> cut("the only one at port 8080", 16)
        'the only one at…'
    """
    return text if len(text) <= letters else text[: letters - 1].rstrip() + "…"


def _thickness(share: float | None) -> float:
    return 1.5 if share is None else 1.5 + 8 * share


def _svg(found: Drawing, *, title: str) -> str:
    about = escape(title)
    parts = [f"<title>{about}</title>"]
    used = {box.column for box in found.boxes.values()}
    for column in sorted(used):
        x = 4 + column * _COLUMN + _BOX / 2
        parts.append(
            f'<text class="dim" x="{x}" y="22" text-anchor="middle" style="font-size:11px">{_STAGES[column]}</text>'
        )
    for (start, end), share in found.links.items():
        a, b = found.boxes[start], found.boxes[end]
        ax, ay, bx, by = a.x + _BOX, a.y + _HIGH / 2, b.x, b.y + _HIGH / 2
        dash = ' stroke-dasharray="4 3"' if share is None else ""
        bend = (ax + bx) / 2
        parts.append(
            f'<path d="M{ax},{ay} C{bend},{ay} {bend},{by} {bx},{by}" fill="none" stroke="{INK}" stroke-opacity="0.45" '
            f'stroke-width="{_thickness(share):.1f}"{dash}/>'
        )
    for box in found.boxes.values():
        color = _TONES[box.tone]
        title, detail = escape(short(box.title, 16)), escape(cut(box.detail, 20))
        parts.append(
            f"<g><title>{escape(box.full)}</title>"
            f'<rect x="{box.x}" y="{box.y}" width="{_BOX}" height="{_HIGH}" rx="6" fill="{color}" fill-opacity="0.12" '
            f'stroke="{color}"/>'
            f'<text x="{box.x + 8}" y="{box.y + 19}">{title}</text>'
            f'<text class="dim" x="{box.x + 8}" y="{box.y + 35}" style="font-size:10px">{detail}</text></g>'
        )
    size = f"0 0 {WIDTH} {found.height:.0f}"
    return f'<svg role="img" viewBox="{size}" aria-label="{about}">{"".join(parts)}</svg>'


def _figure(found: Drawing) -> Any:
    """Everything as traces: text takes the colour of the page, boxes keep theirs."""
    import plotly.graph_objects as go

    boxes = list(found.boxes.values())
    traces = [_curve(found.boxes[start], found.boxes[end], share) for (start, end), share in found.links.items()]
    for tone in sorted({box.tone for box in boxes}):
        traces.append(_boxes([box for box in boxes if box.tone == tone], _TONES[tone]))
    columns = sorted({box.column for box in boxes})
    heads = [(4 + column * _COLUMN + _BOX / 2, 18, _STAGES[column]) for column in columns]
    traces.append(_words(heads, "middle center", 11))
    traces.append(_words([(b.x + 3, b.y + 16, escape(short(b.title, 16), quote=False)) for b in boxes], _RIGHT, 11))
    traces.append(_words([(b.x + 3, b.y + 33, escape(cut(b.detail, 21), quote=False)) for b in boxes], _RIGHT, 9))
    traces.append(_hover(boxes))
    hidden = {"visible": False, "fixedrange": True}
    layout = {
        "width": WIDTH, "height": max(found.height, 120), "margin": {"l": 0, "r": 0, "t": 0, "b": 0}, "dragmode": False,
        "paper_bgcolor": "rgba(0,0,0,0)", "plot_bgcolor": "rgba(0,0,0,0)", "font": {"color": INK},
        "hoverlabel": {"align": "left"}, "showlegend": False,
        "xaxis": {**hidden, "range": [-16, WIDTH]}, "yaxis": {**hidden, "range": [found.height, 0]},
    }  # fmt: skip
    return go.Figure(traces, layout)


def _boxes(boxes: list[Box], color: str) -> Any:
    import plotly.graph_objects as go

    xs: list[float | None] = []
    ys: list[float | None] = []
    for box in boxes:
        left, right, top, bottom = box.x, box.x + _BOX, box.y, box.y + _HIGH
        xs += [left, right, right, left, left, None]
        ys += [top, top, bottom, bottom, top, None]
    line = {"color": color, "width": 1.2}
    return go.Scatter(x=xs, y=ys, mode="lines", line=line, fill="toself", fillcolor=_pale(color), hoverinfo="skip")


def _words(words: Sequence[tuple[float, float, str]], position: str, size: int) -> Any:
    import plotly.graph_objects as go

    xs, ys, texts = zip(*words, strict=True) if words else ((), (), ())
    font = {"size": size}
    return go.Scatter(x=xs, y=ys, text=texts, mode="text", textposition=position, textfont=font, hoverinfo="skip")


def _hover(boxes: list[Box]) -> Any:
    import plotly.graph_objects as go

    return go.Scatter(
        x=[box.x + _BOX / 2 for box in boxes],
        y=[box.y + _HIGH / 2 for box in boxes],
        mode="markers",
        marker={"size": 44, "opacity": 0},
        text=[f"{_STAGES[box.column]}: {escape(box.full, quote=False)}<br>{escape(box.detail)}" for box in boxes],
        hoverinfo="text",
    )


def _curve(a: Box, b: Box, share: float | None) -> Any:
    import plotly.graph_objects as go

    ax, ay, bx, by = a.x + _BOX, a.y + _HIGH / 2, b.x, b.y + _HIGH / 2
    bend = (ax + bx) / 2
    line = {"color": GRID if share is None else INK, "width": _thickness(share), "shape": "spline"}
    if share is None:
        line["dash"] = "dot"
    # Five points of a cubic curve with horizontal ends.
    xs = [ax, (ax + bend) / 2, bend, (bend + bx) / 2, bx]
    ys = [ay + (by - ay) * part for part in (0, 0.16, 0.5, 0.84, 1)]
    what = "share not known" if share is None else f"{share:.1%} of the requests"
    return go.Scatter(x=xs, y=ys, mode="lines", line=line, opacity=0.45, hoverinfo="text", text=[what] * len(xs))


def _pale(color: str) -> str:
    red, green, blue = (int(color[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},0.12)"


def _steps(explanation: Mapping[str, Any]) -> str:
    rows = []
    for number, step in enumerate(explanation.get("steps", ()), 1):
        lost = "".join(
            f'<div class="dim">{escape(entry["name"])}: {escape(entry["because"])}</div>' for entry in step["lost"][:5]
        )
        more = step["more"] + max(len(step["lost"]) - 5, 0)
        lost += f'<div class="dim">and {more} more</div>' if more else ""
        open_question = f"<div><b>undecided</b>: {escape(step['undecided'])}</div>" if step["undecided"] else ""
        rows.append(
            f"<tr><td>{number}</td><td>{escape(step['stage'])}</td><td><b>{escape(step['chosen'] or 'none')}</b>"
            f"<div>{escape(step['because'])}</div>{open_question}</td><td>{lost}</td></tr>"
        )
    head = "".join(f'<th scope="col">{name}</th>' for name in ("step", "stage", "chosen", "lost"))
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>'
