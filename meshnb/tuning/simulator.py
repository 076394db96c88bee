"""What istiod's debounce and push queue do to a stream of events.

A model of the algorithm, not of a machine: events are gathered until none came for `debounce_after_s`, or until
`debounce_max_s` have passed; then every proxy gets a place in a queue, where a second update of a waiting proxy is
merged with the first; so many proxies are served at once as `push_throttle` allows. What one push costs is given. With
`cpus`, pushes that run at once share them.

It leaves out: the network, proxies that acknowledge slowly, types of configuration that a change does not touch, and
garbage collection.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from meshnb.errors import UsageError
from meshnb.model.tables.control_plane import (
    SIMULATED_BATCHES,
    SIMULATED_EVENTS,
    SIMULATED_PUSHES,
    SIMULATED_STAGES,
    SIMULATIONS,
)
from meshnb.tuning.stages import stage_names

if TYPE_CHECKING:
    import pandas as pd

MAX_PUSHES = 2_000_000
"""Most pushes of one simulation: a few seconds of computing."""


@dataclass(frozen=True, slots=True)
class Settings:
    """istiod's settings that shape pushes; defaults are those of Istio up to 1.20.

    Args:
        debounce_after_s: `PILOT_DEBOUNCE_AFTER`: quiet time before a push.
        debounce_max_s: `PILOT_DEBOUNCE_MAX`: longest wait.
        eds_debounce: `PILOT_ENABLE_EDS_DEBOUNCE`: whether changes of endpoints wait too.
        push_throttle: `PILOT_PUSH_THROTTLE`: proxies served at once by one istiod.
        istiods: instances; each serves its share of the proxies.
    """

    debounce_after_s: float = 0.1
    debounce_max_s: float = 10.0
    eds_debounce: bool = True
    push_throttle: int = 100
    istiods: int = 1

    def __post_init__(self) -> None:
        if self.debounce_after_s < 0 or self.debounce_max_s < 0:
            raise UsageError("a debounce time is negative")
        if self.push_throttle < 1 or self.istiods < 1:
            raise UsageError("push_throttle and istiods are at least 1", hint="0 in istiod means: by the CPUs")


@dataclass(frozen=True, slots=True)
class Event:
    """A change istiod hears of: when, and whether more than endpoints changed."""

    at_s: float
    full: bool = True


@dataclass(frozen=True, slots=True)
class Simulation:
    """What happened: batches, pushes and the delay of each event.

    Args:
        settings: the settings simulated.
        proxies: proxies connected at the start.
        batches: one row per batch of events.
        events: one row per event.
        pushes: one row per push to one proxy.
    """

    settings: Settings
    proxies: int
    batches: pd.DataFrame = field(repr=False)
    events: pd.DataFrame = field(repr=False)
    pushes: pd.DataFrame = field(repr=False)

    def stages(self) -> pd.DataFrame:
        """When each event was where on its way to the last proxy: the stages of `meshnb.tuning.stages`.

        What istiod does before it hears of an event, and the wire, are not simulated: they take no time here.

        Example:
            >>> found = simulate([0.0], Settings(push_throttle=1), proxies=2, push_cost=0.5).stages()
            >>> dict(zip(found["stage"], found["end_s"]))
            {'event': 0.0, 'debounce': 0.1, 'queue': 0.6, 'push': 1.1, 'proxy': 1.1}
        """
        last = self.pushes[~self.pushes["first_connect"]].set_index("finished_s")["started_s"]
        begun = last.groupby(level=0).max().to_dict()
        rows = []
        for number, event in enumerate(self.events.to_dict("records")):
            batch = self.batches.iloc[int(event["batch"])]
            at, closed, delivered = event["at_s"], batch["closed_s"], batch["delivered_s"]
            ends = (at, closed, begun.get(delivered, delivered), delivered, delivered)
            begin = at
            for stage, end in zip(stage_names(), ends, strict=True):
                rows.append({"event": number, "stage": stage, "begin_s": begin, "end_s": max(begin, end)})
                begin = max(begin, end)
        return SIMULATED_STAGES.rows(rows)

    def summary(self, name: str = "") -> pd.DataFrame:
        """The simulation in one row, to set beside others."""
        delay = self.events["delay_s"].quantile([0.5, 0.99]).tolist() if len(self.events) else [None, None]
        queued = self.pushes[~self.pushes["first_connect"]]
        convergence = (queued["finished_s"] - queued["enqueued_s"]).astype("float64")
        wait = (queued["started_s"] - queued["enqueued_s"]).astype("float64")
        return SIMULATIONS.rows(
            [
                {
                    "name": name,
                    "events": len(self.events),
                    "batches": len(self.batches),
                    "pushes": len(self.pushes),
                    "merged": int(self.pushes["batches"].sum() - len(queued)),
                    "queue_mean_s": _mean(wait),
                    "convergence_mean_s": _mean(convergence),
                    "debounce_p99_s": _p99(self.events["debounce_s"]),
                    "queue_p99_s": _p99(wait),
                    "convergence_p99_s": _p99(convergence),
                    "delay_p50_s": delay[0],
                    "delay_p99_s": delay[1],
                }
            ]
        )


def simulate(
    events: Iterable[Event | float],
    settings: Settings | None = None,
    proxies: int = 50,
    push_cost: float = 0.01,
    *,
    context_cost: float = 0.0,
    cpus: float | None = None,
    connects: Sequence[float] = (),
) -> Simulation:
    """Run a stream of events through debounce and push queue.

    Args:
        events: changes, or just their times in seconds (each then a full change).
        settings: istiod's settings.
        proxies: proxies connected.
        push_cost: seconds of CPU to build and send the configuration of one proxy.
        context_cost: seconds to prepare a full push; the next batch waits for it.
        cpus: CPUs of one istiod; without it a push takes `push_cost` however many run at once.
        connects: times at which new proxies connect: they get their configuration at once, without debounce or queue.

    Raises:
        UsageError: a negative number, or more than two million pushes.

    Example:
        >>> burst = simulate([0, 0.01, 0.02], proxies=51)
        >>> spaced = simulate([0, 2.5, 5], proxies=51)
        >>> len(burst.pushes), len(spaced.pushes)
        (51, 153)
    """
    settings = settings or Settings()
    stream = sorted((e if isinstance(e, Event) else Event(float(e)) for e in events), key=lambda e: e.at_s)
    if proxies < 0 or push_cost < 0 or context_cost < 0 or (cpus is not None and cpus <= 0):
        raise UsageError("proxies, push_cost and cpus cannot be negative")
    batches = _debounce(stream, settings, context_cost)
    if len(batches) * proxies > MAX_PUSHES:
        raise UsageError(
            f"{len(batches):,} batches for {proxies:,} proxies: up to {len(batches) * proxies:,} pushes",
            hint="simulate a shorter stretch, or fewer proxies",
        )
    pushes: list[dict[str, Any]] = []
    for istiod in range(settings.istiods):
        own = range(istiod, proxies, settings.istiods)
        joining = sorted(connects)[istiod :: settings.istiods]
        queue = _Queue(settings.push_throttle, push_cost, cpus, batches)
        pushes += [{"istiod": istiod, **push} for push in queue.run(own, joining, first_new=proxies)]
    return _frames(settings, proxies, stream, batches, pushes)


@dataclass(frozen=True, slots=True)
class _Batch:
    events: tuple[int, ...]
    opened: float
    closed: float
    enqueued: float
    full: bool
    reason: str


def _debounce(stream: Sequence[Event], settings: Settings, context_cost: float) -> list[_Batch]:
    """Gather events into batches, as istiod's loop does.

    The longest wait is only looked at when the timer fires or a push has been prepared, so it can be overshot by
    the quiet time.
    """
    batches: list[_Batch] = []
    waiting: list[int] = []
    opened = last = 0.0
    timer: float | None = None
    busy_until: float | None = None  # a push context is being prepared

    def worker(now: float) -> None:
        nonlocal waiting, timer, busy_until
        if now - opened >= settings.debounce_max_s or now - last >= settings.debounce_after_s - 1e-12:
            if waiting:
                full = any(stream[number].full for number in waiting)
                reason = "quiet" if now - last >= settings.debounce_after_s - 1e-12 else "max"
                ready = now + (context_cost if full else 0.0)
                batches.append(_Batch(tuple(waiting), opened, now, ready, full, reason))
                waiting, busy_until = [], ready
        else:
            timer = last + settings.debounce_after_s

    arrivals = deque(enumerate(stream))
    while arrivals or timer is not None or busy_until is not None:
        nexts = [t for t in (timer, busy_until) if t is not None]
        if arrivals and (not nexts or arrivals[0][1].at_s <= min(nexts)):
            number, event = arrivals.popleft()
            if not settings.eds_debounce and not event.full:
                batches.append(_Batch((number,), event.at_s, event.at_s, event.at_s, False, "endpoints at once"))
                continue
            last = event.at_s
            if not waiting:
                timer, opened = last + settings.debounce_after_s, last
            waiting.append(number)
            continue
        now = min(nexts)
        if busy_until is not None and busy_until <= now:
            busy_until = None
            worker(now)
        else:
            timer = None
            if busy_until is None:
                worker(now)
    return sorted(batches, key=lambda batch: batch.enqueued)


@dataclass
class _Queue:
    """The push queue of one istiod. Pushes cost the same, so those that share the CPUs finish in the order begun."""

    throttle: int
    cost: float
    cpus: float | None
    batches: Sequence[_Batch]
    now: float = 0.0
    work: float = 0.0  # work every running push has been given since the start

    def run(self, proxies: Sequence[int], connects: Sequence[float], *, first_new: int) -> list[dict[str, Any]]:
        pending: dict[int, list[int]] = {}
        waiting: deque[int] = deque()
        processing: dict[int, list[int]] = {}
        running: deque[tuple[float, int, float, float, list[int], bool]] = deque()
        joins, arrivals = deque(connects), deque(range(len(self.batches)))
        done: list[dict[str, Any]] = []
        connected = list(proxies)
        slots = self.throttle
        while joins or arrivals or running or waiting:
            while waiting and slots:
                proxy = waiting.popleft()
                merged = pending.pop(proxy)
                processing[proxy] = []
                slots -= 1
                enqueued = self.batches[merged[0]].enqueued
                running.append((self.work + self.cost, proxy, enqueued, self.now, merged, False))
            finish = self._finish(running)
            batch_at = self.batches[arrivals[0]].enqueued if arrivals else float("inf")
            join_at = joins[0] if joins else float("inf")
            if finish <= min(batch_at, join_at):
                self._advance(finish, len(running))
                _, proxy, enqueued, started, merged, first = running.popleft()
                done.append(_push(proxy, enqueued, started, self.now, merged, first))
                if not first:
                    slots += 1
                    if again := processing.pop(proxy):
                        pending[proxy] = again
                        waiting.append(proxy)
            elif batch_at <= join_at:
                self._advance(batch_at, len(running))
                number = arrivals.popleft()
                for proxy in connected:
                    if proxy in pending:
                        pending[proxy].append(number)
                    elif proxy in processing:
                        processing[proxy].append(number)
                    else:
                        pending[proxy] = [number]
                        waiting.append(proxy)
            else:
                self._advance(join_at, len(running))
                joins.popleft()
                proxy = first_new + len(connected)
                connected.append(proxy)
                running.append((self.work + self.cost, proxy, self.now, self.now, [], True))
        return done

    def _rate(self, running: int) -> float:
        return 1.0 if self.cpus is None or running <= self.cpus else self.cpus / running

    def _finish(self, running: deque[tuple[float, int, float, float, list[int], bool]]) -> float:
        return self.now + (running[0][0] - self.work) / self._rate(len(running)) if running else float("inf")

    def _advance(self, to: float, running: int) -> None:
        self.work += (to - self.now) * self._rate(running)
        self.now = to


def _push(
    proxy: int, enqueued: float, started: float, finished: float, merged: list[int], first: bool
) -> dict[str, Any]:
    return {
        "proxy": proxy,
        "enqueued_s": enqueued,
        "started_s": started,
        "finished_s": finished,
        "batches": len(merged),
        "first_connect": first,
        "_merged": merged,
    }


def _frames(
    settings: Settings, proxies: int, stream: Sequence[Event], batches: Sequence[_Batch], pushes: list[dict[str, Any]]
) -> Simulation:
    """Tables of what happened; an event is delivered when the last proxy has it."""
    delivered = [batch.enqueued for batch in batches]
    for push in pushes:
        for number in push.pop("_merged"):
            delivered[number] = max(delivered[number], push["finished_s"])
    pushes.sort(key=lambda push: (push["finished_s"], push["proxy"]))
    of_batches = SIMULATED_BATCHES.rows(
        {
            "batch": number,
            "opened_s": batch.opened,
            "closed_s": batch.closed,
            "events": len(batch.events),
            "full": batch.full,
            "reason": batch.reason,
            "delivered_s": delivered[number],
        }
        for number, batch in enumerate(batches)
    )
    rows = {n: (number, batch) for number, batch in enumerate(batches) for n in batch.events}
    of_events = SIMULATED_EVENTS.rows(
        {
            "at_s": event.at_s,
            "full": event.full,
            "batch": rows[n][0],
            "debounce_s": rows[n][1].closed - event.at_s,
            "delay_s": delivered[rows[n][0]] - event.at_s,
        }
        for n, event in enumerate(stream)
    )
    of_pushes = SIMULATED_PUSHES.build(
        {name: [push[name] for push in pushes] for name in SIMULATED_PUSHES.column_names}
    )
    return Simulation(settings, proxies, of_batches, of_events, of_pushes)


def _mean(values: pd.Series) -> float | None:
    return float(values.mean()) if len(values) else None


def _p99(values: pd.Series) -> float | None:
    return float(values.quantile(0.99)) if len(values) else None


def compare(
    events: Iterable[Event | float], settings: dict[str, Settings], proxies: int, push_cost: float, **options: Any
) -> pd.DataFrame:
    """The same events under several settings, one row each.

    Example:
        >>> events = [0, 2.4, 4.8]
        >>> from dataclasses import replace
        >>> both = {"now": Settings(), "longer": replace(Settings(), debounce_after_s=2.5)}
        >>> compare(events, both, 51, 0.01)["pushes"].tolist()
        [153, 51]
    """
    import pandas as pd

    stream = list(events)
    return pd.concat(
        [simulate(stream, one, proxies, push_cost, **options).summary(name) for name, one in settings.items()],
        ignore_index=True,
    )
