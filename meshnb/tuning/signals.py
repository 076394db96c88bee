"""The golden signals of a control plane: latency, saturation, traffic in and out, errors, each with a verdict.

Three outcomes stand apart: a value is fine, a value is not, and there is no value. A counter of errors that istiod
exports only at the first error is `quiet` while istiod itself is seen; everything else that is missing is `unknown`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from meshnb.model.frame import returns
from meshnb.model.tables.control_plane import CONTROL_PLANE
from meshnb.tuning.catalogue import queries

if TYPE_CHECKING:
    import pandas as pd

OK, WARNING, CRITICAL, UNKNOWN, QUIET, SEEN = "ok", "warning", "critical", "unknown", "quiet", "seen"


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Where a signal turns from fine to trouble.

    Args:
        convergence_warning_s: p99 of the time from push queue to proxy; an edge of its buckets.
        convergence_critical_s: the notes' 2 s; lies inside a bucket, so it is an estimate.
        hold_s: how long it must last.
        slow_share: share of pushes slower than 3 s; measured, not estimated.
        total_delay_s: debounce and convergence together.
        queue_s: p99 of the wait in the push queue.
        push_s: p99 of the time to build and send one type to one proxy.
        cpu: share of the CPU limit.
        throttled: share of periods in which the CPU limit held istiod back.
        memory: share of the memory limit.
        updates: changes a second that keep one istiod busy.
        imbalance: proxies of the fullest istiod, to the mean.
        send_errors: share of pushes that could not be sent.
        config_size: bytes of one push; gRPC's default limit is 4 MB.
        apiserver_s: p99 of the API server's answers.
        event_queue_s: p99 of the wait of Kubernetes events inside istiod.
    """

    convergence_warning_s: float = 1.0
    convergence_critical_s: float = 2.0
    hold_s: float = 10.0
    slow_share: float = 0.01
    total_delay_s: float = 5.0
    queue_s: float = 1.0
    push_s: float = 0.5
    cpu: float = 0.8
    throttled: float = 0.1
    memory: float = 0.8
    updates: float = 10.0
    imbalance: float = 1.5
    send_errors: float = 0.05
    config_size: float = 4e6
    apiserver_s: float = 1.0
    event_queue_s: float = 1.0


@dataclass(frozen=True, slots=True)
class Measure:
    """One row of the golden signals.

    Args:
        name: query of the catalogue, or a name of `DERIVED`.
        signal: latency, saturation, traffic in, traffic out or errors.
        what: what it is, in a few words.
        warning: threshold by its name in `Thresholds`, or a number; empty for none.
        critical: the same for the worse verdict.
        at_first: exported only once there was something to count.
        total: take the sum of all series at each time, not the largest.
    """

    name: str
    signal: str
    what: str
    warning: str | float = ""
    critical: str | float = ""
    at_first: bool = False
    total: bool = False


MEASURES = (
    Measure(
        "convergence_p99", "latency", "push queue to proxy, p99", "convergence_warning_s", "convergence_critical_s"
    ),
    Measure("slow_pushes", "latency", "pushes slower than 3 s", "slow_share"),
    Measure("queue_p99", "latency", "wait in the push queue, p99", "queue_s"),
    Measure("push_p99", "latency", "building and sending one type, p99", "push_s"),
    Measure("debounce_p99", "latency", "gathering events, p99"),
    Measure("total_delay", "latency", "debounce, queue and push together, at most", "total_delay_s"),
    Measure("apiserver_p99", "latency", "answers of the API server, p99", "apiserver_s"),
    Measure("event_queue_p99", "latency", "Kubernetes events waiting in istiod, p99", "event_queue_s"),
    Measure("cpu_of_limit", "saturation", "CPU of the busiest istiod, of its limit", "cpu"),
    Measure("cpu_throttled", "saturation", "held back by the CPU limit", "throttled"),
    Measure("memory_of_limit", "saturation", "memory of the fullest istiod, of its limit", "memory", 0.9),
    Measure("cpu_container", "saturation", "CPU used"),
    Measure("cpu_process", "saturation", "CPU used, as istiod counts it"),
    Measure("updates_by_istiod", "traffic in", "changes received by one istiod", "updates"),
    Measure("inbound_updates", "traffic in", "changes received by all istiods", total=True),
    Measure("push_triggers", "traffic in", "causes of pushes", total=True),
    Measure("services", "traffic in", "services known"),
    Measure("virtual_services", "traffic in", "virtual services known"),
    Measure("pushes", "traffic out", "pushes", total=True),
    Measure("config_size_p99", "traffic out", "size of one push, p99", "config_size"),
    Measure("connections_by_istiod", "traffic out", "proxies connected", total=True),
    Measure("istiods", "traffic out", "istiods that report"),
    Measure("imbalance", "traffic out", "fullest istiod, to the mean", "imbalance"),
    Measure("xds_rx_max", "traffic out", "configuration received by the busiest proxy"),
    Measure("rejects", "errors", "configuration refused by proxies, in 5 min", 0.0, at_first=True, total=True),
    Measure("write_timeouts", "errors", "pushes not sent in time", 0.0, at_first=True, total=True),
    Measure("internal_errors", "errors", "errors inside istiod", "", 0.0, at_first=True, total=True),
    Measure("push_context_errors", "errors", "errors while building configuration", "", 0.0, at_first=True, total=True),
    Measure("send_errors", "errors", "pushes that could not be sent", "send_errors", at_first=True),
    Measure("expired_nonces", "errors", "acknowledgements that came too late", at_first=True, total=True),
    Measure("listener_conflicts", "errors", "listeners that clash", 0.0, at_first=True),
)

DERIVED = {"total_delay": ("debounce_p99", "convergence_p99")}
"""Measures that are the sum of two queries at each time."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """Answers to work on: a frame for each query asked, why others failed, and the release of istiod.

    Args:
        frames: samples by name of the query.
        errors: why a query failed, by name.
        version: Istio release, empty if not known.
    """

    frames: Mapping[str, pd.DataFrame]
    errors: Mapping[str, str]
    version: str = ""

    @property
    def sees_istiod(self) -> bool:
        """Whether any of istiod's own series is there."""
        names = self.frames.get("metric_names")
        return (
            names is not None
            and "__name__" in names
            and bool(names["__name__"].astype(str).str.startswith("pilot_").any())
        )


@returns(CONTROL_PLANE)
def control_plane(recorded: Recorded, thresholds: Thresholds | None = None) -> pd.DataFrame:
    """Every measure with its peak, how long it was above its threshold, and a verdict."""
    thresholds = thresholds or Thresholds()
    return CONTROL_PLANE.rows(_row(measure, recorded, thresholds) for measure in MEASURES)


def istio_version(frames: Mapping[str, pd.DataFrame]) -> str:
    """Release of istiod from its own metrics; the oldest if several run, empty if none is stated."""
    from meshnb.model.istiod import release

    found = []
    for name, label in (("istio_versions", "tag"), ("pilot_versions", "version")):
        frame = frames.get(name)
        if frame is not None and label in frame:
            found += [str(text) for text in frame[label].dropna() if release(str(text))]
    return min(found, key=release, default="")


def _row(measure: Measure, recorded: Recorded, thresholds: Thresholds) -> dict[str, Any]:
    names = DERIVED.get(measure.name, (measure.name,))
    known = [queries()[name] for name in names]
    row: dict[str, Any] = {
        "signal": measure.signal,
        "measure": measure.name,
        "what": measure.what,
        "unit": known[0].unit or None,
        "query": " + ".join(query.text() for query in known),
        "warning": _limit(measure.warning, thresholds),
        "critical": _limit(measure.critical, thresholds),
    }
    if missing := _missing(measure, names, recorded):
        verdict, statement = missing
        return row | {"verdict": verdict, "statement": statement}
    series = _over_time(measure, names, recorded)
    values = series.dropna()
    if values.empty:
        return row | {"verdict": QUIET, "statement": "nothing was counted in the window, so there is no value"}
    peak = float(values.max())
    row |= {"peak": peak, "mean": float(values.mean()), "last": float(values.iloc[-1]), "at": values.idxmax()}
    limits = [(row["critical"], CRITICAL), (row["warning"], WARNING)]
    for limit, verdict in limits:
        if limit is None:
            continue
        held = _held(series, limit)
        if held and held >= (thresholds.hold_s if measure.signal == "latency" else 0):
            text = f"{_number(peak, row['unit'])} at its peak, above {_number(limit, row['unit'])} for {held:g} s"
            return row | {"verdict": verdict, "held_s": held, "statement": text}
    text = f"{_number(peak, row['unit'])} at its peak"
    limit = row["warning"] if row["warning"] is not None else row["critical"]
    if limit is None:
        return row | {"verdict": SEEN, "statement": f"{text}{_most(measure, names, recorded)}"}
    return row | {"verdict": OK, "held_s": 0.0, "statement": f"{text}, not above {_number(limit, row['unit'])}"}


def _most(measure: Measure, names: tuple[str, ...], recorded: Recorded) -> str:
    """The type that makes most of a sum; empty for what has no types, or where several make as much."""
    frame = recorded.frames[names[0]]
    if not measure.total or "type" not in frame:
        return ""
    by_type = frame.groupby("type", observed=True)["value"].sum().sort_values(ascending=False)
    if len(by_type) < 2 or not by_type.iloc[0] > by_type.iloc[1]:
        return ""
    return f", {100 * by_type.iloc[0] / by_type.sum():.0f} % of it {by_type.index[0]}"


def _missing(measure: Measure, names: tuple[str, ...], recorded: Recorded) -> tuple[str, str] | None:
    """Verdict and reason where there is nothing to judge, `None` where there is."""
    for name in names:
        if name in recorded.errors:
            return UNKNOWN, f"the query failed: {recorded.errors[name]}"
        if name not in recorded.frames:
            return UNKNOWN, f"{name} was not recorded"
        if recorded.version and (reason := queries()[name].not_in(recorded.version)):
            return UNKNOWN, reason
        if len(recorded.frames[name]):
            continue
        if measure.at_first and recorded.sees_istiod:
            return QUIET, "no series: istiod exports it once there is something to count"
        whose = ", ".join(queries()[name].metrics())
        return UNKNOWN, f"no series of {whose} in the window; absent is not zero"
    return None


def _over_time(measure: Measure, names: tuple[str, ...], recorded: Recorded) -> pd.Series:
    """One value for each time; NaN where Prometheus gives none."""
    parts = []
    for name in names:
        frame = recorded.frames[name]
        grouped = frame.groupby("time", observed=True)["value"]
        parts.append(grouped.sum(min_count=1) if measure.total else grouped.max())
    result = parts[0]
    for part in parts[1:]:
        result = result.add(part)
    return result.astype("float64")


def _held(series: pd.Series, limit: float) -> float:
    """Longest stretch above a limit in seconds; a point stands for its step, all for no more than the window."""
    times = list(series.index)
    step = min((b - a for a, b in pairwise(times)), default=timedelta(seconds=1)).total_seconds()
    longest = run = 0
    for value in series:
        run = run + 1 if value > limit and not math.isnan(value) else 0
        longest = max(longest, run)
    span: float = (times[-1] - times[0]).total_seconds()
    return float(min(longest * step, max(span, step)))


def _limit(name: str | float, thresholds: Thresholds) -> float | None:
    if isinstance(name, str):
        return float(getattr(thresholds, name)) if name else None
    return name


def _number(value: float, unit: str | None) -> str:
    """A value with its unit, as one would say it."""
    if unit == "share":
        return f"{value * 100:.3g} %"
    if unit in ("bytes", "bytes/s"):
        for prefix, size in (("MB", 1e6), ("kB", 1e3)):
            if abs(value) >= size:
                return f"{value / size:.3g} {prefix}{unit.removeprefix('bytes')}"
    text = f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    if unit in ("1/s", "ratio"):
        return f"{text}/s" if unit == "1/s" else text
    return f"{text} {unit or ''}".strip()
