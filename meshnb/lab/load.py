"""The performance test of a control plane, on the lab: changes at a given pace, and what they cost."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from meshnb.errors import UsageError
from meshnb.lab.calls import call, call_json
from meshnb.lab.inventory import Object
from meshnb.lab.lab import mark, send
from meshnb.lab.plan import MONITOR_PORT, LabHome, Plan
from meshnb.lab.status import require_up
from meshnb.lab.telemetry import Labels, parse
from meshnb.lab.world import key_of

Metrics = Mapping[str, Mapping[Labels, float]]

_BY_TYPE = ("pilot_inbound_updates", "pilot_push_triggers", "pilot_xds_pushes")
_HISTOGRAMS = ("pilot_debounce_time", "pilot_proxy_queue_time", "pilot_proxy_convergence_time")


@dataclass(frozen=True, slots=True)
class LoadRun:
    """What a run of load cost the control plane.

    Args:
        steps: how often something was applied.
        times_s: when the changes of each step were taken, in seconds since the first.
        per_step: objects of each step.
        changed: objects that changed; fewer than applied if some were there already.
        before: metrics before the run, as `meshnb.lab.telemetry.parse` gives them.
        after: metrics when every proxy had answered.
        refused: `PROXY TYPE: text` of each refusal.
    """

    steps: int
    times_s: tuple[float, ...]
    per_step: int
    changed: int
    before: Metrics = field(repr=False)
    after: Metrics = field(repr=False)
    refused: tuple[str, ...] = ()

    def more(self, name: str) -> dict[str, float]:
        """How much a metric rose, by its label `type`; by an empty name if it has none."""
        then = self.before.get(name, {})
        rises = {
            dict(labels).get("type", ""): value - then.get(labels, 0.0)
            for labels, value in self.after.get(name, {}).items()
        }
        return {kind: rise for kind, rise in rises.items() if rise}

    @property
    def pushes(self) -> int:
        """Pushes of all types to one proxy: the rise of `pilot_xds_pushes{type="cds"}`."""
        return int(self.more("pilot_xds_pushes").get("cds", 0))

    def mean_s(self, name: str) -> float | None:
        """Mean of what a histogram got during the run; none if it got nothing."""
        count = sum(self.more(f"{name}_count").values())
        return sum(self.more(f"{name}_sum").values()) / count if count else None

    def quantile_s(self, name: str, share: float) -> float | None:
        """Quantile of what a histogram got during the run, as Prometheus' `histogram_quantile` gives it."""
        return quantile(self._buckets(name), share)

    def _buckets(self, name: str) -> dict[float, float]:
        then = self.before.get(f"{name}_bucket", {})
        found: dict[float, float] = {}
        for labels, value in self.after.get(f"{name}_bucket", {}).items():
            limit = float(dict(labels)["le"])
            found[limit] = found.get(limit, 0.0) + value - then.get(labels, 0.0)
        return found

    def __str__(self) -> str:
        lines = [f"{self.steps} steps, {self.changed} objects changed in {self.times_s[-1]:.1f} s"]
        lines.append(f"{'':32}{'before':>8}{'after':>8}{'more':>8}")
        for name in _BY_TYPE:
            for kind, rise in sorted(self.more(name).items()):
                labels: Labels = (("type", kind),)
                then, now = self.before.get(name, {}).get(labels, 0), self.after[name][labels]
                lines.append(f"{f'{name}{{{kind}}}':32}{then:8.0f}{now:8.0f}{rise:8.0f}")
        lines.append(f"pushes of everything to a proxy: {self.pushes}")
        for name in _HISTOGRAMS:
            if (mean := self.mean_s(name)) is not None:
                p99 = self.quantile_s(name, 0.99)
                lines.append(f"{name}: mean {mean:.3f} s, P99 {p99:.3f} s by its buckets")
        return "\n".join([*lines, *(f"refused: {text}" for text in self.refused)])


def quantile(buckets: Mapping[float, float], share: float) -> float | None:
    """Quantile of cumulative buckets, evenly spread within a bucket; the last limit if it lies in the open one.

    Example:
        >>> quantile({0.1: 50, 0.9: 100, float("inf"): 100}, 0.75)
        0.5
    """
    limits = sorted(buckets)
    total = buckets[limits[-1]] if limits else 0
    if not total:
        return None
    low, under = 0.0, 0.0
    for limit in limits:
        if buckets[limit] >= share * total:
            if limit == float("inf"):
                return low
            return low + (limit - low) * (share * total - under) / (buckets[limit] - under)
        low, under = limit, buckets[limit]
    return low


def load(
    objects: Sequence[Object],
    home: LabHome | None = None,
    *,
    per_step: int = 3,
    delay_s: float = 0.0,
    keep: bool = False,
) -> LoadRun:
    """Apply objects bit by bit and measure what the control plane makes of it.

    `meshnb.tuning.load_yaml` makes triples of Service, Gateway and VirtualService; `meshnb.lab.world.parse` reads them.

    Args:
        objects: what to apply.
        home: the lab.
        per_step: objects applied at once.
        delay_s: seconds between two steps.
        keep: leave the objects there; otherwise they are deleted after the run, which is not measured.

    Raises:
        UsageError: nothing to apply, or a negative delay.
        LabError: no lab runs, or an object that it does not translate.
    """
    if not objects or per_step < 1 or delay_s < 0:
        raise UsageError("nothing to apply, or a negative delay", hint="at least one object and a delay of 0 or more")
    home = home or LabHome.of()
    plan = require_up(home)
    mark(home, scenario=home.read(home.marks).get("scenario", "healthy"))
    before = _metrics(plan)
    times: list[float] = []
    changed = 0
    try:
        for begin in range(0, len(objects), per_step):
            if times and delay_s:
                time.sleep(delay_s)
            body = {"apply": list(objects[begin : begin + per_step]), "wait": False}
            answer = call_json(plan.control_plane, MONITOR_PORT, "/lab/apply", method="POST", body=body)
            times.append(time.monotonic())
            changed += len(answer["changed"])
        errors = send(plan, {}).errors
        after = _metrics(plan)
    finally:
        if not keep:
            send(plan, {"delete": [key_of(item) for item in objects]})
    since = tuple(at - times[0] for at in times)
    return LoadRun(len(times), since, per_step, changed, before, after, errors)


def _metrics(plan: Plan) -> Metrics:
    return parse(call(plan.control_plane, MONITOR_PORT, "/metrics")[1].decode())
