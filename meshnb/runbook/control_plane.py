"""The questions of the control-plane runbooks, each one call: tables to read, charts and the path through the tree."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from meshnb.errors import UsageError
from meshnb.model.frame import returns
from meshnb.model.tables import control_plane as tables
from meshnb.model.window import Window
from meshnb.runbook.tables_control_plane import ControlPlaneTables
from meshnb.tuning import decision, histograms

if TYPE_CHECKING:
    import pandas as pd

    from meshnb.runbook.tuning_panel import TuningPanel
    from meshnb.tuning.simulator import Event
    from meshnb.views.charts import Chart
    from meshnb.views.decision import Decision
    from meshnb.views.tables import Table

_SIGNALS = ("latency", "saturation", "traffic in", "traffic out", "errors")
_FACTORS = {
    "rate of changes": ("updates_by_istiod", "pushes"),
    "resources": ("cpu_of_limit", "cpu_throttled", "memory_of_limit", "istiods"),
    "number of proxies": ("connections_by_istiod", "imbalance"),
    "size of configuration": ("config_size_p99", "services", "xds_rx_max"),
}
_CHARTS = {
    "latency": (("convergence_p50", "convergence_p90", "convergence_p99", "convergence_p999"), "Push queue to proxy"),
    "queue": (("queue_p50", "queue_p90", "queue_p99", "queue_p999"), "Wait in the push queue"),
    "push": (("push_p50", "push_p90", "push_p99", "push_p999"), "Building and sending one type of configuration"),
    "delay": (("debounce_p99", "queue_p99", "push_p99"), "Where the time goes, p99"),
    "saturation": (("cpu_of_limit", "cpu_throttled", "memory_of_limit"), "istiod, of its limits"),
    "cpu": (("cpu_container", "cpu_process"), "CPU istiod uses"),
    "updates": (("inbound_updates",), "Changes istiod receives"),
    "triggers": (("push_triggers",), "Causes of pushes"),
    "pushes": (("pushes",), "Pushes by type"),
    "connections": (("connections_by_istiod",), "Proxies by istiod"),
    "bytes": (("xds_rx_max", "xds_rx_median", "xds_tx_max", "xds_tx_median"), "Configuration on the wire"),
    "rejects": (("rejects",), "Configuration refused by proxies, in five minutes"),
}
_STACKED = ("updates", "triggers", "pushes")
"""Charts of parts that make a sum."""
_COMPARED = {
    "events": "changes",
    "batches": "batches pushed together",
    "pushes": "pushes to one proxy each",
    "merged": "pushes saved by merging in the queue",
    "debounce_p99_s": "debounce p99, s",
    "queue_mean_s": "wait in the queue, mean, s",
    "convergence_mean_s": "queue to proxy, mean, s",
    "delay_p50_s": "change to last proxy, median, s",
    "delay_p99_s": "change to last proxy, p99, s",
}
"""Column of `what_if` -> how its row is called when settings are compared."""
_TRUSTED = (0.5, 2.0)
_MARKS = {"latency": "convergence_warning_s", "queue": "queue_s", "push": "push_s", "saturation": "cpu"}
"""Threshold that a chart draws a line at."""


class ControlPlaneViews(ControlPlaneTables):
    """Whether configuration is late, why, and what would help."""

    def golden_signals(self, signal: str = "", *, window: str | Window = "") -> Table:
        """The golden signals, worst first.

        Args:
            signal: latency, saturation, traffic in, traffic out or errors; empty for all.
            window: as in `control_plane`.

        Raises:
            UsageError: no such signal.
        """
        from meshnb.views.tables import table

        if signal and signal not in _SIGNALS:
            raise UsageError(f"no signal {signal!r}", hint=", ".join(_SIGNALS))
        frame = self.control_plane(window=window)
        frame = frame[frame["signal"] == signal] if signal else frame
        order = {word: n for n, word in enumerate(("critical", "warning", "unknown", "ok", "seen", "quiet"))}
        frame = frame.sort_values("verdict", key=lambda column: column.map(order), kind="stable", ignore_index=True)
        bad = int(frame["verdict"].isin(["critical", "warning"]).sum())
        missing = int((frame["verdict"] == "unknown").sum())
        shown = frame[["signal", "what", "verdict", "peak", "unit", "statement"]]
        title = f"{signal or 'Golden signals'}: {bad} above a threshold{f', {missing} not measured' * bool(missing)}"
        return table(shown, title=title, limit=40)

    def four_factors(self, *, window: str | Window = "") -> Table:
        """What decides how fast a control plane is: changes, resources, proxies, size of configuration, as measured.

        Returns:
            A table; `.df` has factor, measure and measured.
        """
        import pandas as pd

        from meshnb.views.tables import table

        frame = self.control_plane(window=window).set_index("measure")
        rows = [
            {"factor": factor, "measure": frame["what"][name], "measured": frame["statement"][name]}
            for factor, names in _FACTORS.items()
            for name in names
        ]
        return table(pd.DataFrame(rows), title="The four factors of control-plane performance")

    def missing_series(self) -> Table:
        """Recorded queries that brought nothing back, with what they would have measured.

        Returns:
            A table; `.df` has name, meaning and why (the error, or that no such series was there).
        """
        from meshnb.tuning.catalogue import queries
        from meshnb.views.tables import table

        frame = self.recorded_queries()
        empty = frame[(frame["samples"].fillna(0) == 0)].reset_index(drop=True)
        known = queries()
        meaning = [known[name].meaning if name in known else "" for name in empty["name"]]
        shown = empty.assign(meaning=meaning, why=empty["error"].fillna("no such series in the window"))
        title = f"{len(frame)} queries recorded, {len(empty)} of them without a sample"
        return table(shown[["name", "meaning", "why"]], title=title, limit=60)

    def signal_chart(self, name: str, *, window: str | Window = "") -> Chart:
        """A signal over time.

        Args:
            name: latency, queue, push, delay, saturation, cpu, updates, triggers, pushes, connections, bytes,
                rejects.
            window: as in `control_plane`.

        Raises:
            UsageError: no such chart.
        """
        import pandas as pd

        from meshnb.tuning.catalogue import query
        from meshnb.views.charts import lines, stacked

        if name not in _CHARTS:
            raise UsageError(f"no chart {name!r}", hint=", ".join(_CHARTS))
        names, title = _CHARTS[name]
        parts = [self._drawn(one, window) for one in names if one in self._recordings]
        frame = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame({"time": [], "value": [], "series": []})
        unit = query(names[0]).unit
        if name in _STACKED:
            return stacked(frame, time="time", value="value", color="series", title=title, unit=unit)
        limit = _MARKS.get(name)
        marks = {limit.removesuffix("_s").replace("_", " "): getattr(self.thresholds, limit)} if limit else None
        return lines(frame, x="time", y="value", color="series", title=title, unit=unit, marks=marks)

    def _drawn(self, name: str, window: str | Window) -> pd.DataFrame:
        import pandas as pd

        from meshnb.views.style import ABSENT

        frame = self.samples(name, window=window)
        labels = [column for column in frame if column not in ("time", "value")]
        parts = [frame[label].astype("string[pyarrow]").fillna(ABSENT) for label in labels]
        texts = parts[0].str.cat(parts[1:], sep=" ") if parts else name
        return pd.DataFrame({"time": frame["time"], "value": frame["value"], "series": texts}).dropna(subset=["value"])

    def decision_path(self, *, window: str | Window = "") -> Decision:
        """The picture of the way through the decision tree."""
        from meshnb.views.decision import decision as show

        steps = self.bottleneck(window=window)
        end = decision.conclusion(steps)
        return show(steps, title=f"{end.name}: {end.text}")

    def levers(self, *, window: str | Window = "") -> Table:
        """What to change, in the order to try it.

        Returns:
            A table; `.df` has order, lever, what, condition, guard and done. `mesh.recommendations()` has the settings
            and the queries that verify them too, and check MNB0354 shows them as fixes.
        """
        from meshnb.views.tables import table

        frame = self.recommendations(window=window)
        shown = frame[["order", "lever", "what", "condition", "guard", "done"]]
        return table(shown, title=f"Levers: {len(frame)}")

    def settings_compared(self, *, window: str | Window = "", events: Sequence[Event] = (), **settings: Any) -> Table:
        """What was measured, what the model makes of it, and what other settings would have done, side by side.

        Args:
            window: as in `control_plane`.
            events: as in `what_if`.
            settings: settings to try, as in `what_if`.

        Returns:
            A table with a column for each row of `what_if`; its title says how far the model is off.
        """
        import pandas as pd

        from meshnb.views.tables import table

        frame = self.what_if(window=window, events=events, **settings)
        if frame.empty:
            title = "No what-if: the rate of changes, the proxies or the time of a push were not measured"
            return table(pd.DataFrame({"what": [], "measured": [], "now": [], "changed": []}), title=title)
        rows = frame.set_index("name")
        shown = [
            {"what": what} | {name: _short(rows[column][name]) for name in rows.index}
            for column, what in _COMPARED.items()
        ]
        return table(pd.DataFrame(shown), title=_calibration(rows))

    @returns(tables.BUCKETS)
    def convergence_buckets(self) -> pd.DataFrame:
        """Pushes of the window by how long they took, bucket by bucket."""
        frame = self.samples("convergence_buckets") if "convergence_buckets" in self._recordings else None
        if frame is None or frame.empty or "le" not in frame:
            return tables.BUCKETS.empty()
        return histograms.buckets(frame)

    @returns(tables.QUANTILES)
    def convergence_quantiles(self) -> pd.DataFrame:
        """Quantiles of the convergence time, each with the bucket it lies in: what is sure, what is estimated."""
        return histograms.quantiles(self.convergence_buckets())

    def tuning_panel(self, *, window: str | Window = "", events: Sequence[Event] = ()) -> TuningPanel:
        """Sliders over the batches of this mesh, with the settings in effect to begin with.

        The batches are those of istiod's log if it was captured, else the measured rate of batches, evenly spread.

        Args:
            window: as in `control_plane`.
            events: changes to take instead, as `meshnb.tuning.events_of_changes(mesh.changes())`.
        """
        from meshnb.runbook.tuning_panel import tuning_panel
        from meshnb.tuning.events import events_of_batches
        from meshnb.tuning.what_if import inputs, settings_now

        frames = self._recorded(window).frames
        found = inputs(frames)
        events = events or found.events
        if events is found.events and not self.absent("push_batches") and len(batches := self.push_batches()):
            events = events_of_batches(batches)
        settings = settings_now(frames, self._facts())
        return tuning_panel(events, settings=settings, proxies=found.proxies, push_cost=found.push_cost)


def _short(value: Any) -> str:
    """A number as one reads it; empty if there is none."""
    import pandas as pd

    if pd.isna(value):
        return ""
    return f"{value:,.0f}" if abs(value) >= 100 or value == int(value) else f"{value:.3g}"


def _calibration(rows: pd.DataFrame) -> str:
    """How far the model with the settings in effect is from what was measured."""
    measured, now = (rows["convergence_mean_s"][name] for name in ("measured", "now"))
    if not _short(measured) or not measured > 0 or not _short(now):
        return "Measured and modelled: convergence was not measured, so how far the model is off is not known"
    share = float(now / measured)
    low, high = _TRUSTED
    trust = "" if low <= share <= high else ", so do not trust its delays"
    return f"Measured and modelled: the convergence of the model is {share * 100:.0f} % of the measured{trust}"
