"""Record the snapshots of this folder: made-up series, loaded into a real Prometheus, asked by `Prometheus.record`.

    python tests/data/control-plane/generate.py

The series have the names, labels and bucket edges of istiod 1.24; the numbers are chosen so that every branch of the
decision tree and both sides of every threshold are reached. The answers are Prometheus' own. Every snapshot says so in
its notes. Times are fixed, so a new recording differs only where Prometheus or meshnb does.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

FOLDER = Path(__file__).parent
sys.path.insert(0, str(FOLDER.parents[1]))

from realprom import RealPrometheus  # noqa: E402

END = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
SPAN, LEAD, SCRAPE = timedelta(minutes=10), timedelta(minutes=6), 15
NOTE = "Made-up series with the names of istiod 1.24, recorded through a real Prometheus; not a real mesh."

SECONDS = (0.1, 0.5, 1, 3, 5, 10, 20, 30)
SHORT = (0.01, 0.1, 1, 3, 5, 10, 20, 30)
BYTES = (1, 10000, 1e6, 4e6, 1e7, 4e7)
QUEUE = (0.01, 0.1, 0.2, 0.5, 1, 3, 5)

FAST = (0.95, 0.05)
"""Shares of the observations by bucket: 95 % in the first, 5 % in the second."""


@dataclass(frozen=True)
class Scenario:
    """Numbers of a control plane; shares are by bucket, rates a second."""

    convergence: Sequence[float] = FAST
    queue: Sequence[float] = FAST
    push: Sequence[float] = (0.9, 0.1)
    debounce: Sequence[float] = (0.0, 0.3, 0.7)
    config_size: Sequence[float] = (0.0, 0.4, 0.6)
    event_queue: Sequence[float] = FAST
    apiserver: Sequence[float] | None = None
    istiods: Mapping[str, int] = field(default_factory=lambda: {"istiod-7d9c-a": 52, "istiod-7d9c-b": 48})
    updates: Mapping[str, float] = field(default_factory=lambda: {"config": 0.1, "eds": 1.2, "svc": 0.05})
    batches: float = 0.2
    cpu: float = 0.15
    cpus: float | None = 1.0
    throttled: float = 0.0
    memory: float = 0.3
    rejects: Mapping[str, float] = field(default_factory=dict)
    write_timeouts: float = 0.0
    version: str = "1.24.1"
    istiod: bool = True
    requests: Sequence[tuple[str, str, str, str, str, float]] = (
        ("source", "catalog-v1", "200", "-", "", 8.0),
        ("destination", "catalog-v1", "200", "-", "catalog-v1-5f9", 8.0),
    )


HEALTHY = Scenario()
SCENARIOS = {
    "healthy": HEALTHY,
    "incoming": replace(
        HEALTHY,
        updates={"config": 6.0, "eds": 38.0, "svc": 2.0},
        batches=2.5,
        convergence=(0.2, 0.3, 0.2, 0.29, 0.01),
        queue=(0.4, 0.4, 0.15, 0.05),
        debounce=(0.0, 0.2, 0.8),
        cpu=0.55,
    ),
    "outgoing": replace(
        HEALTHY,
        convergence=(0.0, 0.2, 0.4, 0.35, 0.05),
        push=(0.05, 0.25, 0.45, 0.25),
        config_size=(0.0, 0.0, 0.2, 0.5, 0.3),
        cpu=0.5,
    ),
    "saturated": replace(
        HEALTHY,
        convergence=(0.1, 0.2, 0.3, 0.3, 0.1),
        queue=(0.3, 0.3, 0.2, 0.2),
        cpu=0.97,
        cpus=0.5,
        throttled=0.62,
        memory=0.71,
    ),
    "saturated-incoming": replace(
        HEALTHY, convergence=(0.1, 0.2, 0.3, 0.3, 0.1), cpu=0.95, throttled=0.4, updates={"config": 12.0, "eds": 60.0}
    ),
    "saturated-outgoing": replace(
        HEALTHY,
        convergence=(0.0, 0.1, 0.3, 0.4, 0.2),
        push=(0.0, 0.2, 0.4, 0.4),
        config_size=(0.0, 0.0, 0.1, 0.5, 0.4),
        cpu=0.93,
        throttled=0.5,
    ),
    "throttled": replace(HEALTHY, convergence=(0.1, 0.2, 0.3, 0.4), queue=(0.15, 0.2, 0.3, 0.35), cpu=0.35),
    "rejects": replace(HEALTHY, rejects={"lds": 0.05}, write_timeouts=0.01),
    "unbalanced": replace(
        HEALTHY,
        istiods={"istiod-7d9c-a": 96, "istiod-7d9c-b": 3, "istiod-7d9c-c": 1},
        convergence=(0.2, 0.3, 0.2, 0.3),
        queue=(0.5, 0.3, 0.15, 0.05),
    ),
    "api-server": replace(
        HEALTHY,
        convergence=(0.1, 0.3, 0.3, 0.3),
        apiserver=(0, 0, 0.1, 0.2, 0.4, 0.3),
        event_queue=(0, 0, 0.1, 0.2, 0.3, 0.4),
    ),
    "debounce": replace(HEALTHY, debounce=(0.0, 0.0, 0.1, 0.1, 0.1, 0.7), updates={"config": 0.4, "eds": 6.0}),
    "undecided": replace(HEALTHY, convergence=(0.1, 0.3, 0.3, 0.3), queue=(0.98, 0.02), cpus=None),
    "no-data": replace(HEALTHY, istiod=False),
    "reporters": replace(
        HEALTHY,
        requests=(
            ("source", "catalog-v1", "200", "-", "", 7.9),
            ("source", "catalog-v2", "504", "UT", "", 2.1),
            ("destination", "catalog-v1", "200", "-", "catalog-v1-5f9", 7.9),
            ("destination", "catalog-v2", "0", "DC", "catalog-v2-6c8", 2.1),
        ),
    ),
}


class Series:
    """Series in OpenMetrics, every 15 s from before the window to its end."""

    def __init__(self) -> None:
        self.start = END - SPAN - LEAD
        self.count = int((SPAN + LEAD).total_seconds()) // SCRAPE + 1
        self.lines: list[str] = []

    def add(self, name: str, labels: Mapping[str, str], values: Sequence[float]) -> None:
        text = ",".join(f'{key}="{value}"' for key, value in labels.items())
        for number, value in enumerate(values):
            at = self.start.timestamp() + SCRAPE * number
            self.lines.append(f"{name}{{{text}}} {value:.6g} {at:.0f}")

    def gauge(self, name: str, value: float, **labels: str) -> None:
        self.add(name, labels, [value] * self.count)

    def counter(self, name: str, rate: float, **labels: str) -> None:
        """Grows faster in the middle of the window, as at a deployment."""
        total, values = 0.0, []
        for number in range(self.count):
            values.append(total)
            total += rate * SCRAPE * (1.2 if 35 <= number < 47 else 1.0)
        self.add(name, labels, values)

    def histogram(self, name: str, rate: float, edges: Sequence[float], shares: Sequence[float], **labels: str) -> None:
        up_to = 0.0
        for number, edge in enumerate((*edges, None)):
            up_to = 1.0 if edge is None else min(up_to + (shares[number] if number < len(shares) else 0.0), 1.0)
            self.counter(f"{name}_bucket", rate * up_to, **labels, le="+Inf" if edge is None else f"{edge:g}")
        self.counter(f"{name}_count", rate, **labels)
        # as if all lay in the middle of their bucket
        middles = [(low + high) / 2 for low, high in pairwise((0.0, *edges))]
        self.counter(
            f"{name}_sum", rate * sum(share * at for share, at in zip(shares, middles, strict=False)), **labels
        )


def series(scenario: Scenario) -> str:
    """The metrics of a mesh as a scrape of every part would give them."""
    out = Series()
    mesh = {"namespace": "istio-system"}
    if scenario.istiod:
        for pod, proxies in scenario.istiods.items():
            _istiod(out, scenario, pod, proxies)
    for number in range(8):
        for way, rate in (("rx", 4e4 + 1e3 * number), ("tx", 90.0 + number)):
            name = f"envoy_cluster_upstream_cx_{way}_bytes_total"
            out.counter(name, rate, cluster_name="xds-grpc", pod=f"web-{number}")
    if scenario.apiserver:
        for verb in ("GET", "WATCH"):
            shares = scenario.apiserver if verb == "GET" else (0,)
            out.histogram("apiserver_request_duration_seconds", 20.0, QUEUE, shares, verb=verb, **mesh)
    for reporter, workload, code, flags, pod, rate in scenario.requests:
        labels = {"reporter": reporter, "source_workload": "istio-ingressgateway", "destination_workload": workload}
        labels |= {"destination_service": "catalog.istioinaction.svc.cluster.local", "request_protocol": "http"}
        labels |= {"destination_workload_namespace": "istioinaction", "response_code": code, "response_flags": flags}
        labels |= {"pod": pod, "version": workload[-2:]} if pod else {}
        out.counter("istio_requests_total", rate, **labels)
    out.lines.sort(key=lambda line: line.partition("{")[0])
    return "\n".join([*out.lines, "# EOF", ""])


def _istiod(out: Series, s: Scenario, pod: str, proxies: int) -> None:
    own = {"app": "istiod", "namespace": "istio-system", "pod": pod}
    out.gauge("pilot_info", 1, version=s.version, **own)
    out.gauge("istio_build", 1, component="pilot", tag=s.version, **own)
    out.gauge("pilot_xds", proxies, version=s.version, **own)
    out.gauge("pilot_services", 42, **own)
    out.gauge("pilot_virt_services", 17, **own)
    out.gauge("pilot_conflict_inbound_listener", 0, **own)
    pushes = s.batches * proxies
    out.histogram("pilot_proxy_convergence_time", pushes, SECONDS, s.convergence, **own)
    out.histogram("pilot_proxy_queue_time", pushes, SECONDS, s.queue, **own)
    for kind in ("cds", "eds", "lds", "rds"):
        out.histogram("pilot_xds_push_time", pushes, SHORT, s.push, type=kind, **own)
        out.counter("pilot_xds_pushes", pushes, type=kind, **own)
    out.histogram("pilot_debounce_time", s.batches, SHORT, s.debounce, **own)
    out.histogram("pilot_xds_config_size_bytes", pushes, BYTES, s.config_size, type="cds", **own)
    out.histogram("pilot_worker_queue_latency", 2.0, QUEUE, s.event_queue, queueID="1", **own)
    for kind, rate in s.updates.items():
        out.counter("pilot_inbound_updates", rate, type=kind, **own)
        trigger = {"eds": "endpoint", "svc": "service"}.get(kind, kind)
        out.counter("pilot_push_triggers", rate / 2, type=trigger, **own)
    for kind, rate in s.rejects.items():
        out.counter("pilot_total_xds_rejects", rate, type=kind, **own)
        out.gauge(f"pilot_xds_{kind}_reject", 1, node="web-1.shop", err="Internal", **own)
    if s.write_timeouts:
        out.counter("pilot_xds_write_timeout", s.write_timeouts, **own)
    out.counter("process_cpu_seconds_total", s.cpu * (s.cpus or 1.0), **own)
    box = {"container": "discovery", "namespace": "istio-system", "pod": pod}
    out.counter("container_cpu_usage_seconds_total", s.cpu * (s.cpus or 1.0) / 1.2, **box)
    out.gauge("container_memory_working_set_bytes", s.memory * 1e9, **box)
    out.gauge("container_spec_memory_limit_bytes", 1e9, **box)
    if s.cpus:
        out.gauge("container_spec_cpu_quota", s.cpus * 1e5, **box)
        out.gauge("container_spec_cpu_period", 1e5, **box)
        out.counter("container_cpu_cfs_periods_total", 10.0, **box)
        out.counter("container_cpu_cfs_throttled_periods_total", 10.0 * s.throttled, **box)


def record(name: str, folder: Path) -> None:
    """Load a scenario into Prometheus and keep what it answers."""
    from meshnb.model.manifest import Manifest
    from meshnb.model.window import Window
    from meshnb.runbook.prometheus import Prometheus

    shutil.rmtree(folder, ignore_errors=True)
    with RealPrometheus(series(SCENARIOS[name])) as server:
        Prometheus(server.url).record(folder, window=Window(END - SPAN, END), step=30)
        url = server.url.encode()
    for path in folder.rglob("*.json"):
        path.write_bytes(path.read_bytes().replace(url, b"http://prometheus.istio-system:9090"))
    file = folder / "manifest.json"
    manifest = Manifest.from_json(file.read_bytes())
    sizes = {document.path: (folder / document.path).stat().st_size for document in manifest.documents}
    documents = tuple(replace(document, bytes=sizes[document.path]) for document in manifest.documents)
    source, command = "http://prometheus.istio-system:9090", "tests/data/control-plane/generate.py"
    manifest = replace(manifest, created=END, source=source, command=command, notes=(NOTE,), documents=documents)
    file.write_text(manifest.to_json(), encoding="utf-8")


if __name__ == "__main__":
    for one in sys.argv[1:] or SCENARIOS:
        record(one, FOLDER / one)
        print(one)
    if not sys.argv[1:]:
        record("incoming", FOLDER.parents[2] / "meshnb" / "demo" / "control-plane")
