"""What a notebook shows: findings, tables, charts, facts, each as text, HTML and data in one mimebundle.

    views.table(df, title="Clusters")                          a frame: its first rows, the rest in `.df`
    views.bar(df, x="response_code")                           horizontal bars, stacked by `color`
    views.timeline(df, time="start_time", color="flag_set")       how many, over time
    views.lines(df, x="time", y="value", color="pod")          a measure over time
    views.durations(df, value="duration_ms", group="pod")      every request as a point, against limits
    views.facts({"Source": "demo"})                            a small table of names and values

Nothing shown needs a script or a network: where a front end can do more (plotly), it does.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from meshnb.views.charts import Chart as Chart
    from meshnb.views.charts import bar as bar
    from meshnb.views.charts import durations as durations
    from meshnb.views.charts import lines as lines
    from meshnb.views.charts import timeline as timeline
    from meshnb.views.findings import FindingList as FindingList
    from meshnb.views.tables import Facts as Facts
    from meshnb.views.tables import Table as Table
    from meshnb.views.tables import facts as facts
    from meshnb.views.tables import table as table

_PUBLIC = {
    "Chart": "charts",
    "Facts": "tables",
    "FindingList": "findings",
    "Table": "tables",
    "bar": "charts",
    "durations": "charts",
    "facts": "tables",
    "lines": "charts",
    "table": "tables",
    "timeline": "charts",
}

__all__ = sorted(_PUBLIC)


def __getattr__(name: str) -> object:
    """Import a view on first use."""
    if name not in _PUBLIC:
        raise AttributeError(f"module 'meshnb.views' has no attribute {name!r}; views: {', '.join(__all__)}")
    value = getattr(import_module(f"{__name__}.{_PUBLIC[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return list(__all__)
