"""The queries and metrics meshnb knows, as data: `queries.toml`, `metrics.toml`, `wrong_names.toml`."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from meshnb.errors import UsageError
from meshnb.model.istiod import release
from meshnb.tuning.promql import parse

_PARTS = ("_bucket", "_count", "_sum")


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric of Istio, Envoy or the kubelet.

    Args:
        name: its name; of a histogram without `_bucket`, `_count`, `_sum`.
        process: who exports it.
        type: counter, gauge or histogram.
        meaning: what it counts.
        labels: its own labels, without those that scraping adds.
        first: first Istio release that has it, empty if before 1.17.
        last: last release that has it, empty if the newest has it.
        buckets: upper edges of a histogram, without infinity.
    """

    name: str
    process: str
    type: str
    meaning: str
    labels: tuple[str, ...] = ()
    first: str = ""
    last: str = ""
    buckets: tuple[float, ...] = ()

    def exists_in(self, version: str) -> bool:
        """Whether an Istio release exports it; true where the version is not known."""
        if not (asked := release(version)):
            return True
        return (not self.first or release(self.first) <= asked) and (not self.last or asked <= release(self.last))


@dataclass(frozen=True, slots=True)
class WrongName:
    """A name in circulation that no release exports: what became of it, and what to use instead."""

    name: str
    status: str
    use: str = ""


@dataclass(frozen=True, slots=True)
class Query:
    """A query with its meaning.

    Args:
        name: its name here.
        group: latency, saturation, traffic_in, traffic_out, errors, presence or telemetry.
        expr: PromQL with `$rate`, `$window`, `$service`.
        unit: unit of its values.
        meaning: what it measures.
        rows: rows of the acceptance list it serves.
        noted: how the study notes wrote it, where they are wrong.
        kind: `range` or `instant`.
        record: whether a capture keeps its answer.
    """

    name: str
    group: str
    expr: str
    unit: str
    meaning: str
    rows: tuple[str, ...] = ()
    noted: str = ""
    kind: str = "range"
    record: bool = False

    def text(self, *, rate: str = "1m", window: str = "30m", service: str = ".+") -> str:
        """The query to ask: as the notes have it with the defaults.

        Args:
            rate: span of `rate()`; at least four scrape intervals.
            window: the window looked at.
            service: regular expression of service names.

        Example:
            >>> queries()["inbound_updates"].text()
            'sum(rate(pilot_inbound_updates[1m])) by (type)'
        """
        escaped = service.replace("\\", "\\\\").replace('"', '\\"')
        return self.expr.replace("$rate", rate).replace("$window", window).replace("$service", escaped)

    def metrics(self) -> tuple[str, ...]:
        """Metrics it reads, as in the catalogue."""
        return tuple(dict.fromkeys(family(node.name) for node in parse(self.text()).selectors if node.name))

    def not_in(self, version: str) -> str:
        """Why a release cannot answer it, empty if it can; names what to use instead."""
        known = metrics()
        for name in self.metrics():
            metric = known.get(name)
            if metric and not metric.exists_in(version):
                since = f"since {metric.first}" if metric.first and not metric.last else f"up to {metric.last}"
                use = wrong_names().get(name)
                instead = f"; use {use.use}" if use and use.use else ""
                return f"Istio {version} does not export {name} ({since} only){instead}"
        return ""


@cache
def queries() -> Mapping[str, Query]:
    """All queries by name."""
    return {name: Query(name, **_tuples(entry)) for name, entry in _load("queries.toml").items()}


@cache
def metrics() -> Mapping[str, Metric]:
    """All metrics by name."""
    return {name: Metric(name, **_tuples(entry)) for name, entry in _load("metrics.toml").items()}


@cache
def wrong_names() -> Mapping[str, WrongName]:
    """Names in circulation that do not exist, or no longer."""
    return {name: WrongName(name, **entry) for name, entry in _load("wrong_names.toml").items()}


def query(name: str) -> Query:
    """The query of a name.

    Raises:
        UsageError: there is none; names the nearest.
    """
    if name in queries():
        return queries()[name]
    near = difflib.get_close_matches(name, queries(), n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"queries: {', '.join(queries())}"
    raise UsageError(f"no query {name!r}", hint=hint)


def family(name: str) -> str:
    """The metric a series belongs to: `x_bucket` is of the histogram `x`.

    Example:
        >>> family("pilot_xds_push_time_bucket"), family("pilot_xds")
        ('pilot_xds_push_time', 'pilot_xds')
    """
    for part in _PARTS:
        if name.endswith(part) and name.removesuffix(part) in metrics():
            return name.removesuffix(part)
    return name


def _load(name: str) -> dict[str, dict[str, Any]]:
    return tomllib.loads((files("meshnb.tuning") / name).read_text(encoding="utf-8"))


def _tuples(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in entry.items()}
