"""`meshnb.Prometheus`: ask a Prometheus, get tidy frames."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from meshnb.errors import UsageError
from meshnb.loaders import prometheus as loaders
from meshnb.model.frame import returns
from meshnb.model.tables.control_plane import PUSH_RUNS
from meshnb.model.window import Window, parse_duration
from meshnb.sources.prometheus import PrometheusApi, nice_step
from meshnb.sources.prometheus_record import Ask, Progress, Recorder
from meshnb.sources.snapshot import Snapshot, SnapshotWriter
from meshnb.tuning import catalogue

if TYPE_CHECKING:
    import pandas as pd

MAX_SAMPLES = 5_000_000
"""Most samples of one query without an explicit `limit`: about 100 MB of answer, 100 MB of frame."""

_SKEW_S = 30.0
_NOTED = 5


class Prometheus:
    """A Prometheus, or anything that answers its API (Thanos, Mimir, Cortex, VictoriaMetrics).

    Every sample frame has one column per label, `time` in UTC and `value` as float64. An empty result is an empty frame
    with `time` and `value`. `frame.attrs` holds the query and the server's warnings and infos.

    Args:
        url: what stands before `/api/v1`.
        options: credentials, TLS, headers, timeout: see `meshnb.sources.prometheus.PrometheusApi`.

    Example:
        >>> Prometheus("http://localhost:9090", token_file="token", timeout=10)
        <Prometheus http://localhost:9090>
    """

    def __init__(self, url: str, **options: Any) -> None:
        self.api = PrometheusApi(url, **options)

    def __repr__(self) -> str:
        return f"<Prometheus {self.api.url}>"

    def query(self, expr: str, time: datetime | str | None = None, *, limit: int = MAX_SAMPLES) -> pd.DataFrame:
        """An instant query.

        Args:
            expr: PromQL.
            time: at which time; default is the server's now.
            limit: most samples to make a frame of.

        Returns:
            One row per series: its labels, `time`, `value`.

        Raises:
            UsageError: the query is refused; shows the position.
            Unreachable, SourceTimeout, Forbidden, NotFound, FormatError: see `PrometheusApi.ask`.
        """
        raw = self.api.query(expr, at=None if time is None else _time(time))
        return self._noted(loaders.read_samples(raw, query=expr, limit=limit))

    def query_range(
        self,
        expr: str,
        start: datetime | str | Window,
        end: datetime | str | None = None,
        step: float | str | None = None,
        *,
        limit: int = MAX_SAMPLES,
        progress: Callable[[int, int], None] | None = None,
    ) -> pd.DataFrame:
        """A range query; long ranges are asked for in parts and joined without seams.

        Args:
            expr: PromQL.
            start: first time, or a window (`Window`, or text such as `30m`) that gives both ends.
            end: last time.
            step: seconds, or text such as `30s`; default fits the window and the scrape interval.
            limit: most samples to make a frame of.
            progress: called with the points done and in all.

        Raises:
            UsageError: the query is refused, or would return more than `limit` samples.
            Unreachable, SourceTimeout, Forbidden, NotFound, FormatError: see `PrometheusApi.ask`.
        """
        window = _window(start, end)
        step_s = self._step(window, step)
        points = int(window.duration.total_seconds() / step_s) + 1
        raw: list[bytes] = []
        frame = loaders.empty_samples()
        for answer in self.api.query_range(expr, window.start, window.end, step_s, progress=progress):
            raw.append(answer)
            if len(raw) == 1:
                frame = loaders.read_samples(raw, query=expr)
                share = min(self.api.max_points, points) / points
                self._refuse_too_many(len(frame) / share if share else 0, expr, limit)
        if len(raw) > 1:
            frame = loaders.read_samples(raw, query=expr)
            self._refuse_too_many(len(frame), expr, limit)
            frame = _by_series(frame)
        frame.attrs |= {"step_s": step_s, "answers": len(raw)}
        return self._noted(frame)

    def histograms(self, expr: str, time: datetime | str | None = None) -> pd.DataFrame:
        """Buckets of native histograms at one time, one row each."""
        return loaders.read_histograms(self.api.query(expr, at=None if time is None else _time(time)))

    def series(
        self,
        match: str | Sequence[str],
        start: datetime | str | Window | None = None,
        end: datetime | str | None = None,
    ) -> pd.DataFrame:
        """Series that match selectors, one column per label."""
        params: dict[str, Any] = {"match[]": [match] if isinstance(match, str) else list(match)}
        return loaders.read_series(self.api.ask("series", params | _ends(start, end)))

    def labels(self, name: str = "", *, match: str = "") -> pd.DataFrame:
        """Names of all labels, or the values of the label `name`."""
        params = {"match[]": match} if match else {}
        raw = self.api.ask(f"label/{name}/values" if name else "labels", params)
        return loaders.read_labels(raw, label=name)

    def metadata(self, metric: str = "") -> pd.DataFrame:
        """Type, unit and help of metrics."""
        return loaders.read_metadata(self.api.ask("metadata", {"metric": metric} if metric else {}))

    def rules(self) -> pd.DataFrame:
        """Alerting and recording rules with their state."""
        return loaders.read_rules(self.api.ask("rules"))

    def alerts(self) -> pd.DataFrame:
        """Alerts that are pending or firing."""
        return loaders.read_alerts(self.api.ask("alerts"))

    def targets(self) -> pd.DataFrame:
        """What is scraped, and how that goes."""
        return loaders.read_targets(self.api.ask("targets"))

    def ladder(self, expr: str, time: datetime | str | None = None) -> pd.DataFrame:
        """Each step of a composed query with the rows it gives: to learn from, and to see where a result is lost."""
        from meshnb.tuning.ladder import ladder

        return ladder(expr, lambda step: self.query(step, time))

    def lint(self, expr: str, *, version: str = "") -> pd.DataFrame:
        """Mistakes in a query: dead metrics, `rate()` of gauges, labels that this Prometheus does not have."""
        from meshnb.tuning.linter import lint

        return lint(expr, version=version, labels=set(self.labels()["label"]))

    def record(
        self,
        folder: str | Path,
        *,
        window: str | Window = "30m",
        step: float | str | None = None,
        queries: Mapping[str, str] | None = None,
        progress: Progress = lambda _: None,
    ) -> Snapshot:
        """Make a snapshot of what the runbooks ask, so they run without this Prometheus.

        Args:
            folder: a new folder.
            window: the time to look at.
            step: between two points; default fits the window.
            queries: further PromQL by name, asked over the window.
            progress: told of each query, in a line.

        Raises:
            SourceTimeout, Unreachable, Forbidden, NotFound, FormatError: no Prometheus answers. Once one has, what it
                does not answer is recorded as failed; after three queries in a row no more are asked.
        """
        window = _window(window, None)
        self.api.probe()  # before there is a folder
        with SnapshotWriter(Path(folder), source=self.api.url, command="Prometheus.record") as writer:
            step_s = None if step is None else self._step(window, step)
            record_queries(writer, self.api, window=window, step_s=step_s, queries=queries, progress=progress)
        return Snapshot.open(folder)

    @returns(PUSH_RUNS)
    def push_run(self, name: str, start: datetime | str | Window, end: datetime | str | None = None) -> pd.DataFrame:
        """One run of the performance test, measured: pushes to proxies, P99 of convergence, objects at the end.

        Args:
            name: what was run.
            start: start of the run, or a window.
            end: its end.
        """
        window = _window(start, end)
        span = f"{max(window.duration.total_seconds(), 1):.0f}s"
        bucket = f"increase(pilot_proxy_convergence_time_bucket[{span}])"

        def value(expr: str) -> float | None:
            frame = self.query(expr, window.end)
            return float(frame["value"].iloc[0]) if len(frame) and frame["value"].notna().iloc[0] else None

        pushes = value(f"sum(increase(pilot_proxy_convergence_time_count[{span}]))")
        services, virtual = value("max(pilot_services)"), value("max(pilot_virt_services)")
        return PUSH_RUNS.rows(
            [
                {
                    "name": name,
                    "pushes": round(pushes or 0),
                    "p99_s": value(f"histogram_quantile(0.99, sum({bucket}) by (le))"),
                    "services": None if services is None else round(services),
                    "virtual_services": None if virtual is None else round(virtual),
                    "start": window.start,
                    "end": window.end,
                }
            ]
        )

    def _step(self, window: Window, step: float | str | None) -> float:
        if step is None:
            interval = self.api.scrape_interval_s()
            return nice_step(window.duration.total_seconds(), scrape_interval_s=interval)
        return parse_duration(step).total_seconds() if isinstance(step, str) else float(step)

    def _refuse_too_many(self, samples: float, expr: str, limit: int) -> None:
        if samples > limit:
            raise UsageError(
                f"{expr} returns about {samples:,.0f} samples, more than {limit:,}",
                hint="aggregate in the query, lengthen step=, or give limit= if you mean it",
            )

    def _noted(self, frame: pd.DataFrame) -> pd.DataFrame:
        if abs(self.api.skew_s) > _SKEW_S:
            text = f"the server's clock is {self.api.skew_s:+.0f} s off this machine's; windows ending now are off too"
            frame.attrs["warnings"] = [*frame.attrs["warnings"], text]
        return frame


def record_queries(
    writer: SnapshotWriter,
    api: PrometheusApi,
    *,
    window: Window,
    step_s: float | None = None,
    queries: Mapping[str, str] | None = None,
    progress: Progress = lambda _: None,
) -> list[str]:
    """Record the catalogue's queries into a snapshot being written: what a capture calls.

    Args:
        writer: the snapshot.
        api: whom to ask.
        window: the time to look at.
        step_s: seconds between two points; default fits the window and the scrape interval.
        queries: further PromQL by name.
        progress: told of each query, in a line.

    Returns:
        Queries that failed, as `NAME: reason`.

    Raises:
        SourceTimeout, Unreachable, Forbidden, NotFound, FormatError: no Prometheus answers; recorded as failed.
    """
    recorder = Recorder(writer, api, window=window, progress=progress)
    interval = api.scrape_interval_s()
    recorder.step_s = step_s or nice_step(window.duration.total_seconds(), scrape_interval_s=interval)
    spans = {"rate": f"{max(4 * interval, 60):.0f}s", "window": f"{window.duration.total_seconds():.0f}s"}
    groups: dict[str, dict[str, Ask]] = {}
    for name, query in catalogue.queries().items():
        if query.record:
            groups.setdefault(query.group, {})[name] = Ask(query.text(**spans), query.kind)
    if queries:
        groups["own"] = {name: Ask(expr) for name, expr in queries.items()}
    recorder.total = sum(map(len, groups.values()))
    for group, asks in groups.items():
        recorder.record(asks, group)
    return recorder.failed


def record_from(writer: SnapshotWriter, url: str, window: Window, *, progress: Progress = lambda _: None) -> None:
    """Record the catalogue's queries from the Prometheus of a URL; queries that fail are noted.

    Args:
        writer: the snapshot being written.
        url: what stands before `/api/v1`.
        window: the time to look at.
        progress: told of each query, in a line.

    Raises:
        SourceTimeout, Unreachable, Forbidden, NotFound, FormatError: no Prometheus answers; recorded as failed.
        MissingExtra: meshnb is installed without the extra `live`.
    """
    failed = record_queries(writer, PrometheusApi(url), window=window, progress=progress)
    for text in failed[:_NOTED]:
        writer.note(f"Prometheus: {text}")
    if len(failed) > _NOTED:
        writer.note(f"Prometheus: {len(failed) - _NOTED} further queries failed; mesh.missing_series() lists them")


def _by_series(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows of each series together, in order of time, as an unsplit answer has them."""
    labels = [name for name in frame if name not in ("time", "value", "histogram_count", "histogram_sum")]
    attrs = frame.attrs
    frame = frame.sort_values([*labels, "time"], kind="stable", ignore_index=True)
    frame.attrs = attrs
    return frame


def _time(time: datetime | str) -> datetime:
    if isinstance(time, datetime):
        return time
    return Window.parse(f"1s/{time}").end


def _window(start: datetime | str | Window, end: datetime | str | None) -> Window:
    if isinstance(start, Window):
        return start
    if end is None:
        if isinstance(start, datetime):
            raise UsageError("a range needs its end", hint="give end=, or a window such as '30m'")
        return Window.parse(start, now=datetime.now(UTC))
    first, last = _time(start), _time(end)
    return Window(first, last if last > first else first + timedelta(milliseconds=1)) if last >= first else _bad(first)


def _bad(first: datetime) -> Window:
    raise UsageError(f"the range ends before it starts ({first})", hint="swap start and end")


def _ends(start: datetime | str | Window | None, end: datetime | str | None) -> dict[str, str]:
    if start is None:
        return {}
    window = _window(start, end)
    return {"start": str(window.start.timestamp()), "end": str(window.end.timestamp())}
