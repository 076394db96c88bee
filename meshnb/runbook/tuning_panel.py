"""Sliders for istiod's settings: what they do to pushes and to the age of configuration, as a model."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from meshnb.tuning.simulator import Event, Settings, Simulation, simulate
from meshnb.views.style import page

if TYPE_CHECKING:
    import pandas as pd

    from meshnb.views.charts import Chart


class TuningPanel:
    """A stream of events under settings that can be moved. Made by `tuning_panel`.

    Args:
        events: changes, or their times in seconds.
        settings: settings to begin with.
        proxies: proxies connected.
        push_cost: seconds to push one proxy.
        cpus: CPUs of one istiod, `None` for no bound.
    """

    def __init__(
        self, events: Sequence[Event | float], settings: Settings, proxies: int, push_cost: float, cpus: float | None
    ) -> None:
        self.events, self.settings, self.proxies = list(events), settings, proxies
        self.push_cost, self.cpus = push_cost, cpus

    def __repr__(self) -> str:
        row = self.simulation().summary().iloc[0]
        return f"<TuningPanel {len(self.events)} events: {row['batches']} batches, {row['pushes']} pushes>"

    def simulation(self, settings: Settings | None = None) -> Simulation:
        """The simulation with these settings, or with those of the panel."""
        return simulate(self.events, settings or self.settings, self.proxies, self.push_cost, cpus=self.cpus)

    def chart(self, settings: Settings | None = None) -> Chart:
        """How old each change was when it left each stage on its way to the last proxy."""
        from meshnb.views.charts import lines

        found = self.simulation(settings)
        stages = found.stages()
        stages = stages[stages["stage"].isin(["debounce", "queue", "push"])]
        at = stages["event"].map(found.events["at_s"])
        title = f"{len(found.batches)} batches, {len(found.pushes)} pushes"
        drawn = stages.assign(at=at, seconds=stages["end_s"] - at, part="left " + stages["stage"])
        return lines(drawn, x="at", y="seconds", color="part", title=title, unit="s")

    def table(self, settings: Settings | None = None) -> pd.DataFrame:
        """The settings the panel began with, and others, side by side."""
        import pandas as pd

        both = [self.simulation().summary("at the start")]
        if settings is not None and settings != self.settings:
            both.append(self.simulation(settings).summary("moved"))
        return pd.concat(both, ignore_index=True)

    def _html(self, settings: Settings | None = None) -> str:
        from meshnb.views.charts import as_html
        from meshnb.views.style import html_table

        frame = self.table(settings)
        rows = [[row[name] for name in frame] for row in frame.to_dict("records")]
        return page(as_html(self.chart(settings).spec) + html_table(list(frame), rows))

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, Any]:
        bundle: dict[str, Any] = {"text/plain": repr(self), "text/html": self._html()}
        if (widget := self._widget()) is not None:
            bundle.update(widget._repr_mimebundle_())
        return bundle

    def _widget(self) -> Any:
        """Sliders above the chart, where somebody can move them; else `None` and the chart stands alone."""
        from meshnb.runbook.form import _is_live

        try:
            import ipywidgets as w
            from IPython.core.getipython import get_ipython
        except ImportError:
            return None
        shell = get_ipython()
        if shell is None or not _is_live(shell):
            return None
        sliders = self.sliders(w)
        shown = w.HTML(self._html())

        def moved(_: object) -> None:
            try:
                shown.value = self._html(Settings(**{name: slider.value for name, slider in sliders.items()}))
            except ValueError as error:
                shown.value = f"<b>{escape(str(error))}</b>"

        for slider in sliders.values():
            slider.observe(moved, names="value")
        return w.VBox([*sliders.values(), shown])

    def sliders(self, w: Any) -> dict[str, Any]:
        """A slider or box for each setting, by its name in `Settings`."""
        now, wide = self.settings, {"description_width": "14em"}
        layout = w.Layout(width="36em")
        common = {"style": wide, "layout": layout, "continuous_update": False}
        return {
            "debounce_after_s": w.FloatSlider(
                value=now.debounce_after_s, min=0, max=5, step=0.05, description="PILOT_DEBOUNCE_AFTER, s", **common
            ),
            "debounce_max_s": w.FloatSlider(
                value=now.debounce_max_s, min=0.5, max=30, step=0.5, description="PILOT_DEBOUNCE_MAX, s", **common
            ),
            "push_throttle": w.IntSlider(
                value=now.push_throttle, min=1, max=300, description="PILOT_PUSH_THROTTLE", **common
            ),
            "istiods": w.IntSlider(value=now.istiods, min=1, max=10, description="istiods", **common),
            "eds_debounce": w.Checkbox(value=now.eds_debounce, description="PILOT_ENABLE_EDS_DEBOUNCE", style=wide),
        }


def tuning_panel(
    events: Sequence[Event | float],
    *,
    settings: Settings | None = None,
    proxies: int = 50,
    push_cost: float = 0.01,
    cpus: float | None = None,
) -> TuningPanel:
    """Sliders for istiod's settings over a stream of events; a picture where nobody can move them.

    It shows what the algorithm does, not what your machines do: see `mesh.what_if` for how far it is off.

    Args:
        events: changes, or their times in seconds.
        settings: settings to begin with.
        proxies: proxies connected.
        push_cost: seconds to push one proxy.
        cpus: CPUs of one istiod.

    Example:
        >>> tuning_panel([0, 2.5, 5.0], proxies=51)
        <TuningPanel 3 events: 3 batches, 153 pushes>
    """
    return TuningPanel(events, settings or Settings(), proxies, push_cost, cpus)
