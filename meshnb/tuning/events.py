"""Events for the simulator, from what a mesh reports: rates over time, istiod's log, or changes of objects."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from meshnb.tuning.simulator import Event

if TYPE_CHECKING:
    import pandas as pd


def events_of_rates(times_s: Sequence[float], rates: Sequence[float], *, full: bool = True) -> list[Event]:
    """Events from a rate over time, such as that of `pilot_push_triggers`: evenly spread between two points.

    Counters say how many events there were, not when within a step; bursts shorter than the step are lost.

    Args:
        times_s: times of the points, seconds.
        rates: events per second at each.
        full: whether more than endpoints changed.

    Example:
        >>> [event.at_s for event in events_of_rates([0, 10, 20], [0.2, 0.1, 0])]
        [5.0, 10.0, 20.0]
    """
    found: list[Event] = []
    owed = 0.0
    for begin, end, rate in zip(times_s, times_s[1:], rates, strict=False):
        if not rate > 0:
            continue
        total = owed + rate * (end - begin)
        for number in range(1, int(total + 1e-9) + 1):
            found.append(Event(begin + (number - owed) / rate, full))
        owed = total - int(total + 1e-9)
    return found


def events_of_batches(batches: pd.DataFrame) -> list[Event]:
    """Events from istiod's log: the first and the last of each batch are known, those between are spread evenly.

    Args:
        batches: as `read_push_batches` gives them; batches without the time of their first change are left out.

    Returns:
        Events with times in seconds since the first.
    """
    found: list[tuple[float, bool]] = []
    for row in batches.dropna(subset=["opened"]).to_dict("records"):
        first, last = row["opened"].timestamp(), row["time"].timestamp() - row["quiet_s"]
        full = row["full"] is True or str(row["full"]) == "<NA>"
        steps = max(int(row["events"]) - 1, 1)
        found += [(first + (last - first) * n / steps, full) for n in range(int(row["events"]))]
    found.sort()
    return [Event(at - found[0][0], full) for at, full in found]


def events_of_changes(changes: pd.DataFrame) -> list[Event]:
    """Events from changes of Kubernetes and Istio objects; repeated ones are spread evenly.

    Args:
        changes: as `mesh.changes` and `read_changes` give them; those for which istiod pushes nothing, and those
            without a time, are left out.

    Returns:
        Events with times in seconds since the first.

    Example:
        >>> import meshnb
        >>> events = events_of_changes(meshnb.open("demo").changes())
        >>> events[0].at_s, {event.full for event in events}
        (0.0, {False, True})
    """
    found: list[tuple[float, bool]] = []
    for row in changes.dropna(subset=["push", "time"]).to_dict("records"):
        last = row["time"].timestamp()
        first = min(row["since"].timestamp(), last) if row["since"] == row["since"] else last
        steps = max(int(row["count"]) - 1, 1)
        found += [(last - (last - first) * n / steps, row["push"] == "full") for n in range(int(row["count"]))]
    found.sort()
    return [Event(at - found[0][0], full) for at, full in found]
