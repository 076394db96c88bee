"""Measured changes, proxies and push times through the simulator: as set now, and with other settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from meshnb.model.frame import returns
from meshnb.model.tables.control_plane import SIMULATIONS
from meshnb.tuning.events import events_of_rates
from meshnb.tuning.levers import Facts
from meshnb.tuning.simulator import Event, Settings, simulate

if TYPE_CHECKING:
    import pandas as pd

_TYPES = 4
"""Types of configuration a full push sends to a proxy: clusters, endpoints, listeners, routes."""


@returns(SIMULATIONS)
def what_if(
    frames: Mapping[str, pd.DataFrame], facts: Facts, changes: Mapping[str, Any], *, events: Sequence[Event] = ()
) -> pd.DataFrame:
    """Simulate the window as it was set, and with changes.

    Counters do not say when within a step changes came. Each batch istiod made is taken for one event, evenly spread:
    that gives back the batches of now, and shows which of them a longer debounce would have merged. `events` that are
    known better stand in for them.

    What one push costs is the mean that istiod counted, from sums and not from buckets: nearly every push of a small
    mesh lies in the first bucket, where a quantile is an estimate.

    Args:
        frames: recorded samples by query.
        facts: what is known of istiod's settings; what is not known is the default up to Istio 1.20.
        changes: fields of `Settings` to change.
        events: the changes of the window, if they are known one by one.
    """
    import pandas as pd

    found = inputs(frames)
    if not found.measured:
        return SIMULATIONS.empty()
    if events:
        found = replace(found, events=list(events))
    now = settings_now(frames, facts)
    changed = replace(now, **changes)
    rows = [_measured(frames, len(found.events))]
    for name, settings in (("now", now), ("changed", changed)):
        rows.append(simulate(found.events, settings, found.proxies, found.push_cost).summary(name))
    return pd.concat(rows, ignore_index=True)


@dataclass(frozen=True, slots=True)
class Inputs:
    """What a simulation needs of a mesh, as measured; without it, no events and defaults."""

    events: list[Event]
    proxies: int
    push_cost: float
    measured: bool


def inputs(frames: Mapping[str, pd.DataFrame]) -> Inputs:
    """Events, proxies and cost of a push from recorded samples."""
    bursts, proxies, push = (_values(frames, name) for name in ("batches", "connections_by_istiod", "push_p50"))
    bursts = bursts if bursts is not None else _values(frames, "updates_by_istiod")
    mean = _per_push(frames, "push_seconds")
    if bursts is None or proxies is None or (push is None and mean is None):
        return Inputs([], 0, 0.0, False)
    start = bursts.index[0]
    times = [(at - start).total_seconds() for at in bursts.index]
    events = events_of_rates(times, (bursts * _to_count(frames, times, bursts)).tolist())
    cost = mean if mean is not None or push is None else float(push.median()) * _TYPES
    return Inputs(events, round(float(proxies.max())), cost or 0.0, True)


def settings_now(frames: Mapping[str, pd.DataFrame], facts: Facts) -> Settings:
    """Istiod's settings as far as they are known, else the defaults up to Istio 1.20."""
    istiods = _values(frames, "istiods")
    return Settings(
        debounce_after_s=facts.seconds("PILOT_DEBOUNCE_AFTER", 0.1),
        debounce_max_s=facts.seconds("PILOT_DEBOUNCE_MAX", 10.0),
        eds_debounce=facts.settings.get("PILOT_ENABLE_EDS_DEBOUNCE", "true") == "true",
        push_throttle=facts.number("PILOT_PUSH_THROTTLE", 100),
        istiods=int(istiods.max()) if istiods is not None else 1,
    )


def _measured(frames: Mapping[str, pd.DataFrame], events: int) -> pd.DataFrame:
    """What Prometheus counted, in the columns of a simulation."""
    count = _values(frames, "push_count")
    counted = _values(frames, "batch_count")
    batches = events if _values(frames, "batches") is not None else 0
    batches = batches if counted is None else round(float(counted.iloc[-1]))
    row: dict[str, object] = {"name": "measured", "events": events, "batches": batches, "merged": 0}
    whole = _values(frames, "convergence_count")
    if whole is not None:
        row["pushes"] = round(float(whole.iloc[-1]))
    else:
        row["pushes"] = round(float(count.iloc[-1]) / _TYPES) if count is not None else 0
    row["queue_mean_s"] = _per_push(frames, "queue_seconds")
    row["convergence_mean_s"] = _per_push(frames, "convergence_seconds")
    for column, name in (
        ("debounce_p99_s", "debounce_p99"),
        ("queue_p99_s", "queue_p99"),
        ("convergence_p99_s", "convergence_p99"),
    ):
        values = _values(frames, name)
        row[column] = float(values.median()) if values is not None else None
    return SIMULATIONS.rows([row])


def _to_count(frames: Mapping[str, pd.DataFrame], times: Sequence[float], rates: pd.Series) -> float:
    """Factor that makes the rates add up to the batches counted: a rate lags behind at both ends of the window."""
    counted = _values(frames, "batch_count")
    if counted is None or _values(frames, "batches") is None:
        return 1.0
    total = sum(rate * (end - begin) for begin, end, rate in zip(times, times[1:], rates, strict=False))
    return float(counted.iloc[-1]) / total if total > 0 else 1.0


def _per_push(frames: Mapping[str, pd.DataFrame], name: str) -> float | None:
    """The mean of one push: a sum of the window by the count of pushes; `None` if either was not recorded."""
    total, count = _values(frames, name), _values(frames, "convergence_count")
    if total is None or count is None or not count.iloc[-1] > 0:
        return None
    return float(total.iloc[-1] / count.iloc[-1])


def _values(frames: Mapping[str, pd.DataFrame], name: str) -> pd.Series | None:
    """Sum of all series at each time, `None` without a value."""
    frame = frames.get(name)
    if frame is None or frame.empty:
        return None
    values = frame.groupby("time", observed=True)["value"].sum(min_count=1).dropna()
    return values if len(values) else None
