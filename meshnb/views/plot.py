"""A chart drawn by plotly: transparent, so it suits any theme, and small, as it is stored in the notebook."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from meshnb.views.spec import Spec

if TYPE_CHECKING:
    import plotly.graph_objects as go

# Grey that reads on white and on near black; a report replaces it by the colour of its text.
INK, GRID, MARK = "#7d8590", "rgba(128,136,148,0.25)", "#cc4b57"


WIDTH = 820
"""Width of a figure. With a height alone, plotly takes both from the page at each change of its size, and JupyterLab's
cells have no height of their own: the chart would shrink to a line. A report lets the width go."""

TITLE_ROOM = 28
"""Height of the title; a report has the title above the picture and takes this away."""


def _top(spec: Spec) -> int:
    return (TITLE_ROOM if spec.title else 0) + (34 if spec.legend else 20 if spec.marks else 8)


def height(spec: Spec) -> int:
    """Height of the plotly figure in pixels."""
    if spec.kind == "bars":
        return _top(spec) + 46 + 32 * max(len(spec.rows), 1)
    if spec.kind == "durations":
        return _top(spec) + 46 + 48 * max(len(spec.rows), 1)
    return _top(spec) + 250


def figure(spec: Spec) -> go.Figure:
    """The chart as a plotly figure."""
    import plotly.graph_objects as go

    return go.Figure(_traces(spec), _layout(spec))


def _traces(spec: Spec) -> list[Any]:
    import plotly.graph_objects as go

    traces: list[Any] = []
    for one in spec.series:
        if spec.kind == "bars":
            # rows by position: a category named 200 would be taken for a number
            traces.append(
                go.Bar(x=one.x, y=[spec.rows.index(row) for row in one.y], name=one.name, orientation="h",
                       marker_color=one.color, width=0.62, customdata=one.y,
                       hovertemplate=f"%{{customdata}}: %{{x:,}} {spec.unit}<extra>{one.name}</extra>")
            )  # fmt: skip
        elif spec.kind == "timeline":
            traces.append(
                go.Bar(x=one.x, y=one.y, name=one.name, marker_color=one.color, offset=0,
                       width=spec.step.total_seconds() * 1000,
                       hovertemplate=f"%{{x|%H:%M:%S}}: %{{y:,}}<extra>{one.name}</extra>")
            )  # fmt: skip
        elif spec.kind == "lines":
            traces.append(
                go.Scatter(x=one.x, y=one.y, name=one.name, mode="lines+markers" if len(one.x) < 60 else "lines",
                           line={"color": one.color, "width": 2}, marker={"size": 5})
            )  # fmt: skip
        else:
            # numbers to four digits: positions are only a spread, and the notebook stays small
            traces.append(
                go.Scatter(x=one.x, y=[round(y, 2) for y in one.y], name=one.name, mode="markers",
                           marker={"color": one.color, "size": 6, "opacity": 0.65},
                           hovertemplate=f"%{{x:,}} {spec.unit}<extra>{one.name}</extra>")
            )  # fmt: skip
    return traces


def _layout(spec: Spec) -> dict[str, Any]:
    axis = {"gridcolor": GRID, "zeroline": False, "linecolor": INK, "automargin": True}
    across = spec.kind in ("bars", "durations")
    x, y = dict(axis), dict(axis)
    (x if across else y).update(
        title={"text": spec.unit, "standoff": 8, "font": {"size": 12}}, rangemode="tozero", tickformat=",~g"
    )
    y.update(ticklabelstandoff=6)
    if across:
        y.update(
            gridcolor="rgba(0,0,0,0)", tickmode="array", tickvals=list(range(len(spec.rows))), ticktext=list(spec.rows),
            range=[max(len(spec.rows), 1) - 0.5, -0.5],
        )  # fmt: skip
    else:
        x.update(gridcolor="rgba(0,0,0,0)")
    return {
        "title": {
            "text": spec.title,
            "x": 0,
            "xanchor": "left",
            "font": {"size": 15},
            "subtitle": {"text": spec.note, "font": {"size": 12}},
        },
        "width": WIDTH,
        "height": height(spec),
        "barmode": "stack",
        "bargap": 0.3 if across else 0,
        "showlegend": spec.legend,
        "legend": {
            "orientation": "h",
            "yanchor": "bottom",
            "y": 1.0,
            "xanchor": "left",
            "x": 0,
            "traceorder": "normal",
        },
        "margin": {"l": 8 if across else 64, "r": 24, "t": _top(spec), "b": 46},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"color": INK, "size": 12, "family": "system-ui, sans-serif"},
        "hovermode": "closest",
        "xaxis": x,
        "yaxis": y,
        "shapes": [_line(value, across) for _, value in spec.marks],
        "annotations": _annotations(spec, across),
    }


def _line(value: float, across: bool) -> dict[str, Any]:
    ends = (
        {"x0": value, "x1": value, "y0": 0, "y1": 1, "yref": "paper"}
        if across
        else {"y0": value, "y1": value, "x0": 0, "x1": 1, "xref": "paper"}
    )
    return {"type": "line", "line": {"color": MARK, "width": 1.5, "dash": "dash"}, **ends}


def _annotations(spec: Spec, across: bool) -> list[dict[str, Any]]:
    from meshnb.views.spec import amount

    notes: list[dict[str, Any]] = []
    for label, value in spec.marks:
        place = (
            {"x": value, "y": 1, "yref": "paper", "yanchor": "bottom"}
            if across
            else {"x": 1, "xref": "paper", "y": value, "xanchor": "right", "yanchor": "bottom"}
        )
        notes.append(
            {"text": f"{label} {amount(value)} {spec.unit}", "showarrow": False, "font": {"color": MARK}, **place}
        )
    if spec.kind == "bars":
        ends = [sum(one.x[one.y.index(row)] for one in spec.series if row in one.y) for row in spec.rows]
        notes += [
            {"x": end, "y": place, "text": label, "xanchor": "left", "showarrow": False, "xshift": 6}
            for place, (end, label) in enumerate(zip(ends, spec.labels, strict=True))
        ]
    return notes
