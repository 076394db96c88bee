"""Tables of a `Mesh` from recorded queries and from istiod's settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar

from meshnb.errors import FormatError, NotFound
from meshnb.loaders.prometheus_record import Recorded, read_recording
from meshnb.model.frame import returns
from meshnb.model.manifest import Document
from meshnb.model.tables import control_plane as tables
from meshnb.model.tables import telemetry as requests
from meshnb.model.window import Window
from meshnb.runbook.base import MeshBase, Needs
from meshnb.tuning import decision, levers, signals, telemetry
from meshnb.tuning.signals import Thresholds
from meshnb.tuning.stages import stages_measured

if TYPE_CHECKING:
    import pandas as pd

    from meshnb.tuning.simulator import Event

_TELEMETRY = Needs("prometheus", "prometheus/telemetry.")
_NO_METRICS = "capture `--with prometheus` or `--prometheus URL`, or `meshnb record URL`"
_SETTINGS = ("kubernetes/deployments.", "kubernetes/configmaps.", "kubernetes/horizontalpodautoscalers.")


class ControlPlaneTables(MeshBase):
    """What the control plane says of itself."""

    TABLES: ClassVar[Mapping[str, Needs]] = {
        "recorded_queries": Needs("prometheus"),
        "control_plane": Needs("prometheus"),
        "stages": Needs("prometheus"),
        "bottleneck": Needs("prometheus"),
        "recommendations": Needs("prometheus"),
        **{f"request_{name}": _TELEMETRY for name in ("rates", "success", "gap", "pods", "health")},
        "push_batches": Needs("container_log", "logs/", "discovery"),
        "istiod_settings": Needs("kubernetes", "kubernetes/deployments."),
        "changes": Needs("kubernetes", "kubernetes/"),
    }

    thresholds: Thresholds = Thresholds()
    """Where a signal turns from fine to trouble; assign others before asking."""

    @cached_property
    def _recordings(self) -> dict[str, Recorded]:
        """Recorded queries by name; unreadable documents are kept in `gaps`."""
        found: dict[str, Recorded] = {}
        for document in self.documents("recorded_queries"):
            try:
                for one in read_recording(self.snapshot.read(document), file=self.snapshot.source_of(document)):
                    found[one.name] = one
            except FormatError as error:
                self._unreadable[document.path] = error.message
        return found

    def absent(self, table: str) -> str:
        """Why a table cannot be made at all, empty if it can."""
        if self._needs(table).kind != "prometheus":
            return super().absent(table)
        _ = self._recordings  # reading them finds those that cannot be read
        why = super().absent(table)
        if not why or self.documents("recorded_queries"):
            return why
        return f"{why if self._failed(table) else f'{self.snapshot.name} holds no metrics'}; {_NO_METRICS}"

    @returns(tables.RECORDED_QUERIES)
    def recorded_queries(self) -> pd.DataFrame:
        """The queries of the snapshot, and what came back."""
        rows = []
        for name, one in self._recordings.items():
            samples, error = None, one.error
            if not error:
                try:
                    samples = len(one.frame())
                except FormatError as wrong:
                    error = wrong.message
            row = {"name": name, "query": one.query, "kind": one.kind, "samples": samples, "error": error or None}
            rows.append(row | {"start": one.start, "end": one.end, "step_s": one.step_s})
        return tables.RECORDED_QUERIES.rows(rows)

    def samples(self, name: str, *, window: str | Window = "") -> pd.DataFrame:
        """Samples of a recorded query: one column per label, `time`, `value`.

        Args:
            name: name of the query, as in `recorded_queries`.
            window: only samples of this time; default is the mesh's window.

        Raises:
            NotFound: the snapshot holds no such query.
        """
        if name not in self._recordings:
            hint = f"recorded: {', '.join(self._recordings)}" if self._recordings else "record with Prometheus.record"
            raise NotFound(f"no recorded query {name!r} in {self.snapshot.name}", hint=hint)
        return self._cut(self._recordings[name], window)

    def _cut(self, one: Recorded, window: str | Window) -> pd.DataFrame:
        frame = one.frame()
        span = self._span(one, window)
        if span is None or one.kind == "instant" or frame.empty:
            return frame
        cut = frame[(frame["time"] >= span.start) & (frame["time"] <= span.end)].reset_index(drop=True)
        cut.attrs = frame.attrs
        return cut

    def _span(self, one: Recorded, window: str | Window) -> Window | None:
        if isinstance(window, Window):
            return window
        return Window.parse(window, now=one.end) if window else self.window

    def _recorded(self, window: str | Window) -> signals.Recorded:
        frames: dict[str, pd.DataFrame] = {}
        errors: dict[str, str] = {}
        for name, one in self._recordings.items():
            try:
                frames[name] = self._cut(one, window)
            except FormatError as error:
                errors[name] = error.message
            if one.error:
                errors[name] = one.error
        version = signals.istio_version(frames) or str(self.snapshot.manifest.versions.get("istio", ""))
        return signals.Recorded(frames, errors, version)

    @returns(tables.CONTROL_PLANE)
    def control_plane(self, *, window: str | Window = "") -> pd.DataFrame:
        """The golden signals of the control plane, each with its verdict: latency, saturation, traffic, errors.

        Args:
            window: `10m` (before the end of the recording), `START/END`, or a `Window`; default is the mesh's.
        """
        key = ("control_plane", str(window or self.window), self.thresholds)
        if key not in self._made:
            self._made[key] = signals.control_plane(self._recorded(window), self.thresholds)
        return self._made[key].copy(deep=False)

    @returns(tables.STAGES_MEASURED)
    def stages(self, *, window: str | Window = "") -> pd.DataFrame:
        """The five stages of a change on its way to a proxy: what was measured of each, and the settings in effect.

        Args:
            window: as in `control_plane`.
        """
        return stages_measured(self.control_plane(window=window), self._facts().settings)

    @returns(tables.BOTTLENECK)
    def bottleneck(self, *, window: str | Window = "") -> pd.DataFrame:
        """The way through the decision tree: every question, its answer, what it rests on, the branches not taken.

        Args:
            window: as in `control_plane`.
        """
        return decision.bottleneck(self.control_plane(window=window), self.thresholds)

    @returns(tables.RECOMMENDATIONS)
    def recommendations(self, *, window: str | Window = "") -> pd.DataFrame:
        """What to change for the bottleneck, in the order to try it, with condition, guard, setting and verification.

        Args:
            window: as in `control_plane`.
        """
        return levers.recommendations(decision.conclusion(self.bottleneck(window=window)), self._facts())

    @returns(tables.SIMULATIONS)
    def what_if(
        self,
        *,
        debounce_after_s: float | None = None,
        debounce_max_s: float | None = None,
        push_throttle: int | None = None,
        istiods: int | None = None,
        window: str | Window = "",
        events: Sequence[Event] = (),
    ) -> pd.DataFrame:
        """The changes of the window through debounce and push queue, as set now and with other settings.

        The model is calibrated with what was measured: rate of changes, proxies, time to push one proxy. The row
        `measured` has what Prometheus counted, so one sees how far the model is off. Compare the means: quantiles of
        the row `measured` are estimates from buckets.

        Args:
            debounce_after_s: `PILOT_DEBOUNCE_AFTER` to try.
            debounce_max_s: `PILOT_DEBOUNCE_MAX` to try.
            push_throttle: `PILOT_PUSH_THROTTLE` to try.
            istiods: instances to try.
            window: as in `control_plane`.
            events: the changes one by one instead of their rate, as `meshnb.tuning.events_of_changes(mesh.changes())`.

        Returns:
            Rows `measured`, `now` and `changed`; empty where rate of changes, proxies or push time were not measured.
        """
        from meshnb.tuning.what_if import what_if

        changes: dict[str, float | None] = {
            "debounce_after_s": debounce_after_s,
            "debounce_max_s": debounce_max_s,
            "push_throttle": push_throttle,
            "istiods": istiods,
        }
        changes = {name: value for name, value in changes.items() if value is not None}
        return what_if(self._recorded(window).frames, self._facts(), changes, events=events)

    def _facts(self) -> levers.Facts:
        settings = (
            {} if self.absent("istiod_settings") else self.istiod_settings().set_index("setting")["value"].to_dict()
        )
        documents = self.snapshot.documents("kubernetes")
        sidecars = next((d for d in documents if d.path.startswith("kubernetes/sidecars.")), None)
        return levers.Facts(
            {name: str(value) for name, value in settings.items() if isinstance(value, str)},
            None if sidecars is None else len(self._decoded([sidecars.path])),
        )

    @returns(tables.ISTIOD_SETTINGS)
    def istiod_settings(self) -> pd.DataFrame:
        """Settings of istiod that shape its performance: the value in effect and the default of its release.

        It reads what all istiods share, from the Deployment, its autoscaler and MeshConfig, and tells it setting by
        setting. `mesh.istiods()` answers what each pod of istiod was started with.
        """
        from meshnb.loaders.istiod_settings import istiod_settings

        paths = [d.path for d in self.snapshot.documents("kubernetes") if d.path.startswith(_SETTINGS)]
        version = str(self.snapshot.manifest.versions.get("istio", ""))
        return istiod_settings(self._decoded(paths), version=version, file=self.snapshot.name)

    def _decoded(self, paths: list[str]) -> list[Mapping[str, object]]:
        from meshnb.loaders.objects import decode_objects

        found: list[Mapping[str, object]] = []
        for document in self.snapshot.documents("kubernetes"):
            if document.path in paths:
                try:
                    found += decode_objects(self.snapshot.read(document), file=self.snapshot.source_of(document))
                except FormatError as error:
                    self._unreadable[document.path] = error.message
        return found

    @returns(tables.PUSH_BATCHES)
    def push_batches(self) -> pd.DataFrame:
        """Batches of changes as istiod's own log has them: how many, since when, because of which object."""
        from meshnb.loaders.istiod_log import read_push_batches

        def read(document: Document, data: bytes) -> pd.DataFrame:
            istiod = document.proxy or document.path.split("/")[1]
            return read_push_batches(data, istiod=istiod, file=self.snapshot.source_of(document))

        return self.each_document("push_batches", tables.PUSH_BATCHES, read)

    @returns(tables.CHANGES)
    def changes(self, *, window: str | Window = "") -> pd.DataFrame:
        """When objects of Kubernetes and Istio changed, as they tell themselves, and what istiod pushes for it.

        Args:
            window: only changes of this time; default is the mesh's window.
        """
        from meshnb.loaders.kubernetes_changes import read_changes

        def read(document: Document, data: bytes) -> pd.DataFrame:
            return read_changes(data, file=self.snapshot.source_of(document))

        frame = self.each_document("changes", tables.CHANGES, read)
        now = self.snapshot.manifest.created
        span = window if isinstance(window, Window) else Window.parse(window, now=now) if window else self.window
        if span is not None:
            frame = frame[(frame["time"] >= span.start) & (frame["time"] <= span.end)]
        return frame.sort_values("time", kind="stable", ignore_index=True)

    @returns(requests.REQUEST_RATES)
    def request_rates(self) -> pd.DataFrame:
        """Requests a second over the window by reporter, source, destination, code and flags."""
        one = self._recordings.get("requests")
        if one is None:
            return requests.REQUEST_RATES.empty()
        try:
            frame = one.frame()
        except FormatError as error:
            path = next(d.path for d in self.documents("request_rates") if self.snapshot.source_of(d) == one.file)
            self._unreadable[path] = error.message
            return requests.REQUEST_RATES.empty()
        frame = frame.drop(columns="time").rename(columns={"value": "rate"})
        return requests.REQUEST_RATES.conform(frame[[n for n in frame if n in requests.REQUEST_RATES.column_names]])

    @returns(requests.REQUEST_SUCCESS)
    def request_success(self, service: str = "") -> pd.DataFrame:
        """Success rate by service and reporter, from Istio's metrics.

        Args:
            service: only this one; its name, or how it starts.
        """
        return telemetry.success(self.request_rates(), service)

    @returns(requests.REQUEST_GAP)
    def request_gap(self, service: str = "") -> pd.DataFrame:
        """How far callers and servers differ on the success of a service, and how much of it is DC."""
        return telemetry.gap(self.request_rates(), service)

    @returns(requests.REQUEST_PODS)
    def request_pods(self, service: str = "") -> pd.DataFrame:
        """Pods of a service by the requests whose caller went away; the guilty one first."""
        return telemetry.pods(self.request_rates(), service)

    @returns(requests.REQUEST_HEALTH)
    def request_health(self, *, tolerances: Sequence[telemetry.Tolerance] = telemetry.TOLERANCES) -> pd.DataFrame:
        """Health of each workload by Kiali's formula; its thresholds are parameters."""
        return telemetry.health(self.request_rates(), tolerances)
