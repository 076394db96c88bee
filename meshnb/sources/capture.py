"""Capture a live mesh into one snapshot: read-only, bounded, and what fails for one pod costs no other."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from meshnb.errors import MeshnbError, UsageError
from meshnb.sources import capture_plan, capture_sizes
from meshnb.sources.capture_objects import ObjectLister
from meshnb.sources.capture_plan import PodPlan
from meshnb.sources.capture_pods import PodReader, ask_by_agents
from meshnb.sources.kubernetes import Cluster
from meshnb.sources.partial import PartialSnapshot, PartialWriter
from meshnb.sources.snapshot import Snapshot, SnapshotWriter, pack

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class CaptureOptions:
    """What to capture, and how hard to work for it.

    Args:
        namespaces: only these, and that of istiod; empty for all.
        workloads: proxies of these workloads only; see `capture_plan.selects`.
        istio_namespace: where istiod runs.
        since_s: logs of the last seconds; `None` for whole logs, 0 for none.
        tail: only the last lines of each log; `None` for all of them.
        previous: also logs of containers before their restart.
        ports: also what pods listen on (needs exec).
        expected: also what istiod would send each proxy; costs istiod work.
        pprof: also profiles of memory and threads of agents and istiod.
        links: where `kiali`, `grafana` and `prometheus` of the mesh are, to be kept in the manifest.
        concurrency: pods asked at the same time.
    """

    namespaces: tuple[str, ...] = ()
    workloads: tuple[str, ...] = ()
    istio_namespace: str = "istio-system"
    since_s: int | None = 3600
    tail: int | None = None
    previous: bool = False
    ports: bool = False
    expected: bool = False
    pprof: bool = False
    links: Mapping[str, str] = field(default_factory=dict)
    concurrency: int = 8


def capture_cluster(
    cluster: Cluster,
    out: str | Path,
    options: CaptureOptions | None = None,
    *,
    progress: Progress = lambda _: None,
    also: Callable[[SnapshotWriter], object] | None = None,
) -> Snapshot:
    """Capture a cluster.

    The work is done in `OUT.partial`, which can be opened as it is; a capture that was ended takes it up again. `out`
    appears when all is done.

    Args:
        cluster: the cluster.
        out: a `.tar.gz`, or a folder that is not there yet.
        options: what to capture.
        progress: told of each step, in a line.
        also: writes further documents, such as Prometheus' answers; what it cannot is noted.

    Returns:
        The snapshot.

    Raises:
        Unreachable: the API server cannot be reached at all.
        UsageError: `out` exists, or its partial folder is of another capture.
    """
    target, options = Path(out), options or CaptureOptions()
    folder = target.with_name(target.name + ".partial")
    _refuse_existing(target)
    partial = PartialSnapshot(
        folder, source=cluster.name, cluster=cluster.name, command=f"meshnb capture --out {target.name}"
    )
    partial.versions["kubernetes"] = cluster.version()
    partial.links |= options.links
    capture = CaptureRun(cluster, partial, options, progress)
    capture.all_pods(capture.plans(capture.objects.list_all(progress)))
    if also is not None:
        progress("further sources")
        try:
            also(PartialWriter(partial))
        except MeshnbError as error:
            partial.note(f"Not captured: {error.message}")
    partial.finish()
    if target.name.endswith((".tar.gz", ".tgz")):
        progress(f"packing {target}")
        pack(folder, target)
        shutil.rmtree(folder)
        return Snapshot.open(target)
    folder.rename(target)
    return Snapshot.open(target)


def _refuse_existing(target: Path) -> None:
    if target.exists():
        raise UsageError(f"{target} exists", hint="give a new file: a snapshot is never changed")


class CaptureRun:
    """One capture under way."""

    def __init__(self, cluster: Cluster, partial: PartialSnapshot, options: CaptureOptions, progress: Progress) -> None:
        self.cluster, self.partial, self.options, self.progress = cluster, partial, options, progress
        self._lock = threading.Lock()
        self._done = self._failed = self._bytes = 0
        self.reader = PodReader(cluster, partial, since_s=options.since_s, tail=options.tail)
        self.objects = ObjectLister(
            cluster, partial, namespaces=options.namespaces, istio_namespace=options.istio_namespace
        )

    def plans(self, pods: Sequence[Mapping[str, Any]]) -> list[PodPlan]:
        """What to ask of which pod."""
        logs = self.options.since_s != 0
        proxies = [p for p in pods if capture_plan.has_proxy(p) and capture_plan.selects(p, self.options.workloads)]
        istiods = [p for p in pods if capture_plan.is_istiod(p)]
        names = [f"{p['metadata']['name']}.{p['metadata'].get('namespace', 'default')}" for p in proxies]
        more = {"logs": logs, "pprof": self.options.pprof}
        asked = names if self.options.expected else ()
        plans = [capture_plan.istiod_plan(p, proxies=asked, **more) for p in istiods]
        plans += [
            capture_plan.proxy_plan(p, previous=self.options.previous, ports=self.options.ports, **more)
            for p in proxies
        ]
        self.partial.plan(page.document for plan in plans for page in plan.pages)
        self.progress(capture_sizes.describe(plans, since_s=self.options.since_s))
        return plans

    def all_pods(self, plans: Sequence[PodPlan]) -> None:
        """Ask a few pods, say how large the whole will be, then ask the others."""
        first = capture_sizes.sample(plans)
        self.pods(first, total=len(plans))
        if len(plans) > len(first):
            size = capture_sizes.judge(self.partial, plans, first)
            judged = f"judged by {', '.join(size.sampled)}" if size.sampled else "no pod asked so far answers"
            self.progress(
                f"pods: about {size.bytes / 1e6:.1f} MB, {size.packed / 1e6:.1f} MB packed; {judged}; "
                "Ctrl-C to end, --workload or --since to ask for less"
            )
            asked = {id(plan) for plan in first}
            self.pods([plan for plan in plans if id(plan) not in asked], total=len(plans))
        if not self.reader.synced:
            istiods, proxies = capture_sizes.groups(plans)
            ask_by_agents(self.reader, proxies, istiods, system=self.options.istio_namespace)

    def pods(self, plans: Sequence[PodPlan], *, total: int) -> None:
        """Ask pods, some at a time."""
        with ThreadPoolExecutor(max_workers=max(self.options.concurrency, 1)) as pool:
            for _ in pool.map(lambda plan: self._pod(plan, total), plans):
                pass

    def _pod(self, plan: PodPlan, total: int) -> None:
        """Ask one pod, and tell of it."""
        size, failed = self.reader.read(plan)
        with self._lock:
            self._bytes += size
            self._done, self._failed = self._done + 1, self._failed + bool(failed)
            so_far = f"{self._bytes / 1e6:.1f} MB, about {self._bytes / self._done * total / 1e6:.0f} MB in all"
            self.progress(
                f"pod {self._done} of {total}: {plan.name}.{plan.namespace}; {so_far}; {self._failed} incomplete"
            )
