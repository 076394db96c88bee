"""What the lab's control plane counts: names, labels and buckets of istiod's metrics, each labelled `istiod="lab"`."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from meshnb.lab.plan import CLUSTER_ID

_TIMES = (0.1, 0.5, 1.0, 3.0, 5.0, 10.0, 20.0, 30.0)
_SHORT_TIMES = (0.01, 0.1, 1.0, 3.0, 5.0, 10.0, 20.0, 30.0)
HISTOGRAMS = {
    "pilot_debounce_time": (
        "From the first change of a batch until it is in the push queue, seconds.",
        _SHORT_TIMES,
    ),
    "pilot_proxy_queue_time": ("How long a proxy waits in the push queue, seconds.", _TIMES),
    "pilot_proxy_convergence_time": ("From the push queue until a proxy was sent all of it, seconds.", _TIMES),
    "pilot_xds_push_time": ("How long one response takes to make and send, seconds.", _SHORT_TIMES),
}
"""Histogram -> what it measures and its buckets, which are istiod's."""

COUNTERS = {
    "pilot_inbound_updates": "Changes the control plane heard of.",
    "pilot_push_triggers": "Why pushes to proxies were made: one for each reason, proxy and push.",
    "pilot_xds_pushes": "Responses sent, by type.",
    "pilot_total_xds_rejects": "Responses that proxies refused, by type.",
}
GAUGES = {
    "pilot_xds": "Connected proxies.",
    "pilot_services": "Services known.",
    "pilot_virt_services": "VirtualServices known.",
    "pilot_xds_cds_reject": "Refused CDS responses by node; a gauge that only grows, as in istiod.",
    "pilot_xds_eds_reject": "Refused EDS responses by node; a gauge that only grows, as in istiod.",
    "pilot_xds_lds_reject": "Refused LDS responses by node; a gauge that only grows, as in istiod.",
    "pilot_xds_rds_reject": "Refused RDS responses by node; a gauge that only grows, as in istiod.",
}

Labels = tuple[tuple[str, str], ...]


@dataclass(slots=True)
class _Histogram:
    limits: tuple[float, ...]
    counts: list[int] = field(default_factory=list)
    total: float = 0.0

    def observe(self, value: float) -> None:
        if not self.counts:
            self.counts = [0] * (len(self.limits) + 1)
        place = next((n for n, limit in enumerate(self.limits) if value <= limit), len(self.limits))
        self.counts[place] += 1
        self.total += value


class Telemetry:
    """Counters, gauges and histograms, safe to use from all threads.

    Example:
        >>> telemetry = Telemetry()
        >>> telemetry.count("pilot_xds_pushes", type="cds")
        >>> telemetry.observe("pilot_proxy_queue_time", 0.3)
        >>> [line for line in telemetry.text().splitlines() if "pushes{" in line or 'le="0.5"' in line]
        ['pilot_xds_pushes{istiod="lab",type="cds"} 1', 'pilot_proxy_queue_time_bucket{istiod="lab",le="0.5"} 1']
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._values: dict[str, dict[Labels, float]] = {}
        self._histograms: dict[str, dict[Labels, _Histogram]] = {}

    def count(self, name: str, by: float = 1, **labels: str) -> None:
        """Raise a counter, or a gauge that is used like one."""
        with self._lock:
            series = self._values.setdefault(name, {})
            key = tuple(sorted(labels.items()))
            series[key] = series.get(key, 0) + by

    def set(self, name: str, value: float, **labels: str) -> None:
        """Set a gauge."""
        with self._lock:
            self._values.setdefault(name, {})[tuple(sorted(labels.items()))] = value

    def observe(self, name: str, value: float, **labels: str) -> None:
        """Put a value into a histogram."""
        with self._lock:
            series = self._histograms.setdefault(name, {})
            histogram = series.setdefault(tuple(sorted(labels.items())), _Histogram(HISTOGRAMS[name][1]))
            histogram.observe(value)

    def text(self) -> str:
        """All of it in Prometheus' text format; what was never counted has no series, as in istiod."""
        with self._lock:
            return "".join(f"{line}\n" for line in self._lines())

    def _lines(self) -> Iterator[str]:
        for kind, names in (("counter", COUNTERS), ("gauge", GAUGES)):
            for name, meaning in names.items():
                series = self._values.get(name)
                if series:
                    yield from (f"# HELP {name} {meaning}", f"# TYPE {name} {kind}")
                    yield from (f"{name}{_labels(labels)} {value:g}" for labels, value in sorted(series.items()))
        for name, (meaning, _) in HISTOGRAMS.items():
            histograms = self._histograms.get(name)
            if histograms:
                yield from (f"# HELP {name} {meaning}", f"# TYPE {name} histogram")
                for labels, histogram in sorted(histograms.items()):
                    yield from _histogram_lines(name, labels, histogram)


def _histogram_lines(name: str, labels: Labels, histogram: _Histogram) -> Iterator[str]:
    so_far = 0
    for limit, count in zip((*histogram.limits, float("inf")), histogram.counts, strict=True):
        so_far += count
        le = "+Inf" if limit == float("inf") else f"{limit:g}"
        yield f"{name}_bucket{_labels((*labels, ('le', le)))} {so_far}"
    yield f"{name}_sum{_labels(labels)} {histogram.total:.6f}"
    yield f"{name}_count{_labels(labels)} {so_far}"


def _labels(labels: Labels) -> str:
    named: Mapping[str, str] = {"istiod": CLUSTER_ID, **dict(labels)}
    return "{" + ",".join(f'{name}="{_escape(value)}"' for name, value in named.items()) + "}"


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


_SAMPLE = re.compile(r"^(\w+)(?:\{(.*)\})? (\S+)$")
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


def parse(text: str) -> dict[str, dict[Labels, float]]:
    """Metric -> labels without `istiod` -> value, of what `Telemetry.text` wrote.

    Example:
        >>> parse('pilot_xds_pushes{istiod="lab",type="cds"} 5')
        {'pilot_xds_pushes': {(('type', 'cds'),): 5.0}}
    """
    found: dict[str, dict[Labels, float]] = {}
    for line in text.splitlines():
        if match := _SAMPLE.match(line):
            labels = tuple((name, value) for name, value in _LABEL.findall(match[2] or "") if name != "istiod")
            found.setdefault(match[1], {})[labels] = float(match[3])
    return found
