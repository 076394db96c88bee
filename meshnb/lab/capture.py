"""The running lab as a snapshot."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from meshnb.errors import LabError, MeshnbError
from meshnb.lab.calls import call
from meshnb.lab.plan import (
    ADMIN_PORT,
    CLUSTER_ID,
    CONTROL_PLANE_POD,
    MONITOR_PORT,
    PODS,
    PROMETHEUS_PORT,
    LabHome,
    Plan,
    Pod,
)
from meshnb.lab.status import require_up
from meshnb.lab.world import World
from meshnb.model.window import Window
from meshnb.sources.snapshot import Snapshot, SnapshotWriter

Recorder = Callable[[SnapshotWriter, str, Window], object]
"""Writes what the Prometheus of a URL knows of a window; the lab itself knows no queries."""

# file, kind, request
_ADMIN = (
    ("config_dump.json", "config_dump", "GET /config_dump?include_eds"),
    ("clusters.json", "clusters", "GET /clusters?format=json"),
    ("listeners.json", "listeners", "GET /listeners?format=json"),
    ("server_info.json", "server_info", "GET /server_info"),
    ("certs.json", "certs", "GET /certs"),
    ("stats.prom", "stats", "GET /stats/prometheus?usedonly"),
    ("logging.txt", "logging", "POST /logging"),
    ("ready.txt", "ready", "GET /ready"),
)
# as a capture of a cluster names them; `mesh`, `ndsz` and ControlZ are not in the lab
_DEBUG = ("syncz", "adsz", "endpointShardz", "registryz", "configz", "authorizationz", "push_status", "list")
_DEBUG_OF_PROXY = (("edsz", ""), ("sidecarz", ""), ("config_dump", "&include_eds=true"))
_START = re.compile(rb'"start_time":"([^"]+)"|\A\[([^\]]+)\]')
# proxies write their logs every 0.1 s
_QUIET_S, _SETTLE_S = 0.3, 3.0
_LONGEST = timedelta(minutes=10)
_READY_S = 3.0


def capture(
    folder: str | Path,
    home: LabHome | None = None,
    *,
    whole_log: bool = False,
    recorder: Recorder | None = None,
) -> Snapshot:
    """Write a snapshot of the running lab.

    Args:
        folder: where to; made if missing, must be empty.
        home: the lab.
        whole_log: take all of the logs, not only what came since the last `break`, `heal` or `apply`.
        recorder: records the lab's Prometheus, if it has one; what it cannot is noted.

    Raises:
        LabError: no lab runs.
        UsageError: the folder is not empty.
    """
    home = home or LabHome.of()
    plan = require_up(home)
    with SnapshotWriter(
        Path(folder), source="lab", cluster=CLUSTER_ID, command=f"meshnb lab capture {Path(folder).name}"
    ) as writer:
        writer.versions |= {"envoy": plan.envoy_version, "istio": "lab"}
        if plan.prometheus:
            writer.links["prometheus"] = f"http://{plan.prometheus_address}:{PROMETHEUS_PORT}"
        world = World.restore(home.read(home.objects).get("objects", []))
        there = {item["metadata"]["name"] for item in world.lists().get("pods", ())}
        pods = [pod for pod in PODS if pod.name in there or _answers(writer, plan, pod)]
        for pod in pods:
            _proxy(writer, plan, pod)
        writer.note(
            "node.extensions was left out of config_dump and server_info: a list of what is built into Envoy, 100 kB."
        )
        _control_plane(writer, plan, pods)
        writer.note("Documents under istiod/ are the lab's own control plane's; Istio's istiod is not in the lab.")
        _objects(writer, world)
        _logs(writer, home, whole=whole_log)
        if recorder is not None and plan.prometheus:
            _metrics(writer, home, plan, recorder)
    return Snapshot.open(folder)


def describe(home: LabHome | None = None) -> str:
    """What a capture of the running lab will hold, in a line.

    Raises:
        LabError: no lab runs.
    """
    home = home or LabHome.of()
    plan = require_up(home)
    marks = home.read(home.marks).get("sizes", {})
    logs = sum(max(size - marks.get(name, 0), 0) for name, size in _sizes(home).items())
    pages = len(_DEBUG) + len(PODS) * len(_DEBUG_OF_PROXY) + 1
    prometheus = ", answers of its Prometheus" if plan.prometheus else ""
    return (
        f"lab: {len(PODS)} proxies of {len(_ADMIN)} pages, {pages} pages of its control plane, objects, "
        f"logs of {logs / 1e6:.1f} MB{prometheus}"
    )


def capture_running(home: LabHome | None = None, *, recorder: Recorder | None = None) -> Snapshot:
    """Capture the running lab into its own folder, where `meshnb.open("lab")` looks.

    Args:
        home: the lab.
        recorder: as in `capture`.

    Raises:
        LabError: no lab runs.
    """
    home = home or LabHome.of()
    require_up(home)
    return capture(home.root / "captures" / f"{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}", home, recorder=recorder)


def _answers(writer: SnapshotWriter, plan: Plan, pod: Pod) -> bool:
    """Whether the Envoy of a pod that Kubernetes does not have any more still runs; if not, that is noted of it."""
    try:
        call(plan.ip(pod), ADMIN_PORT, "/ready")
    except LabError:
        why = "the pod is gone from Kubernetes, and its Envoy has ended"
        writer.fail(f"envoy/{pod.proxy}/ready.txt", "ready", why, proxy=pod.proxy, obtained="GET /ready")
        return False
    return True


def _proxy(writer: SnapshotWriter, plan: Plan, pod: Pod) -> None:
    for name, kind, request in _ADMIN:
        _fetch(
            writer,
            f"envoy/{pod.proxy}/{name}",
            kind,
            request,
            place=(plan.ip(pod), ADMIN_PORT),
            proxy=pod.proxy,
            change=_without_extensions if kind in ("config_dump", "server_info") else None,
        )


def _control_plane(writer: SnapshotWriter, plan: Plan, pods: Sequence[Pod]) -> None:
    folder = f"istiod/{CONTROL_PLANE_POD}.istio-system"
    place = (plan.control_plane, MONITOR_PORT)
    for page in _DEBUG:
        _fetch(writer, f"{folder}/debug/{page}.json", "istiod_debug", f"GET /debug/{page}", place=place)
    for pod in pods:
        for page, more in _DEBUG_OF_PROXY:
            path = f"{folder}/debug/{page}.{pod.proxy}.json"
            request = f"GET /debug/{page}?proxyID={pod.proxy}{more}"
            _fetch(writer, path, "istiod_debug", request, place=place, proxy=pod.proxy)
    _fetch(writer, f"{folder}/metrics.prom", "istiod_metrics", "GET /metrics", place=place)


def _fetch(
    writer: SnapshotWriter,
    path: str,
    kind: str,
    request: str,
    *,
    place: tuple[str, int],
    proxy: str = "",
    change: Callable[[bytes], bytes] | None = None,
) -> None:
    """One request; what does not answer is recorded as missing."""
    method, _, target = request.partition(" ")
    try:
        status, body = call(*place, target, method=method)
    except LabError as error:
        writer.fail(path, kind, error.message, proxy=proxy, obtained=request)
        return
    if status != 200 and kind != "ready":
        writer.fail(path, kind, f"HTTP {status}: {body[:200].decode(errors='replace')}", proxy=proxy, obtained=request)
        return
    writer.add(path, kind, change(body) if change else body, proxy=proxy, obtained=request)


def _without_extensions(body: bytes) -> bytes:
    document: dict[str, Any] = json.loads(body)
    for node in (document.get("node"), *(c.get("bootstrap", {}).get("node") for c in document.get("configs", []))):
        if node:
            node.pop("extensions", None)
    return json.dumps(document, separators=(",", ":")).encode() + b"\n"


def _objects(writer: SnapshotWriter, world: World) -> None:
    # from the store, not from the control plane: a cluster's API server answers when istiod does not
    for plural, items in world.lists().items():
        body = {"apiVersion": "v1", "kind": "List", "items": items}
        data = json.dumps(body, indent=1).encode() + b"\n"
        writer.add(f"kubernetes/{plural}.json", "kubernetes", data, obtained=f"{plural} of the lab")


def _logs(writer: SnapshotWriter, home: LabHome, *, whole: bool) -> None:
    _settle(home)
    marks = {} if whole else home.read(home.marks)
    since = marks.get("time", "")
    logs = [("controlplane", f"{CONTROL_PLANE_POD}.istio-system", "discovery", "container_log")]
    for pod in PODS:
        containers = [] if pod.is_gateway else [("app", pod.app, "container_log")]
        logs += [
            (f"{process}:{pod.proxy}", pod.proxy, container, kind)
            for process, container, kind in [*containers, ("envoy", "istio-proxy", "proxy_log")]
        ]
    for process, name, container, kind in logs:
        path = home.log(process)
        begin = marks.get("sizes", {}).get(path.name, 0)
        data = path.read_bytes()[begin:] if path.exists() else b""
        writer.add(
            f"logs/{name}/{container}.log",
            kind,
            b"".join(line for line in data.splitlines(keepends=True) if _is_since(line, since)),
            proxy="" if process == "controlplane" else name,
            obtained=f"log of container {container}" + (f" since {since}" if since else ""),
        )
    writer.note(f"Logs begin at the last change of the lab, {since}." if since else "Logs are whole.")


def _metrics(writer: SnapshotWriter, home: LabHome, plan: Plan, recorder: Recorder) -> None:
    """The last ten minutes of the lab's Prometheus, or since the lab was started, when its plan was written."""
    now = datetime.now(UTC)
    started = datetime.fromtimestamp(home.plan.stat().st_mtime, UTC)
    url = f"http://{plan.prometheus_address}:{PROMETHEUS_PORT}"
    try:
        # one that hangs or still starts would let every query wait for its whole time
        status, body = call(plan.prometheus_address, PROMETHEUS_PORT, "/-/ready", timeout=_READY_S)
        missing = "" if status == 200 else f"HTTP {status}: {body[:200].decode(errors='replace').strip()}"
    except LabError as error:
        missing = error.message
    if missing:
        writer.fail("prometheus/answers.json", "prometheus", missing, obtained=f"{url}/-/ready")
        return
    try:
        recorder(writer, url, Window(max(started, now - _LONGEST), now))
    except MeshnbError as error:
        writer.note(f"Not captured: {error.message}")
    writer.note('Metrics named pilot_ are those of the lab: its own control plane has them, labelled istiod="lab".')


def _is_since(line: bytes, since: str) -> bool:
    """Whether a request began after the mark; a line may be written a little later than what it tells of."""
    found = _START.search(line) if since else None
    return found is None or (found[1] or found[2]).decode() >= since


def _settle(home: LabHome) -> None:
    """Wait until no log has grown for a while: proxies write what they hold every 0.1 s."""
    deadline = time.monotonic() + _SETTLE_S
    sizes, since = _sizes(home), time.monotonic()
    while time.monotonic() < deadline and time.monotonic() - since < _QUIET_S:
        time.sleep(0.05)
        if (now := _sizes(home)) != sizes:
            sizes, since = now, time.monotonic()


def _sizes(home: LabHome) -> dict[str, int]:
    return {path.name: path.stat().st_size for path in home.logs.glob("*.log")}
