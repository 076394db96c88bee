"""Capture a live mesh into one snapshot: read-only, bounded, and what fails for one pod costs no other."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from meshnb.errors import Forbidden, MeshnbError, NotFound, UsageError
from meshnb.model.manifest import Document
from meshnb.model.resources import Resource
from meshnb.sources import capture_plan
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
    capture = CaptureRun(cluster, partial, options, progress)
    pods = capture.objects()
    capture.pods(capture.plans(pods))
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


class _Items(msgspec.Struct):
    apiVersion: str = ""  # noqa: N815 - Kubernetes' name
    items: list[msgspec.Raw] | None = None


class CaptureRun:
    """One capture under way."""

    def __init__(self, cluster: Cluster, partial: PartialSnapshot, options: CaptureOptions, progress: Progress) -> None:
        self.cluster, self.partial, self.options, self.progress = cluster, partial, options, progress
        self._lock = threading.Lock()
        self._done = self._failed = self._bytes = 0
        self.reader = PodReader(cluster, partial, since_s=options.since_s, tail=options.tail)

    def objects(self) -> list[Mapping[str, Any]]:
        """List every kind; the pods come back for planning."""
        kinds = capture_plan.resources()
        self.partial.plan(Document(r.document, "kubernetes", obtained=f"list {r.plural}") for r in kinds)
        pods: list[Mapping[str, Any]] = []
        for number, kind in enumerate(kinds, 1):
            self.progress(f"objects {number} of {len(kinds)}: {kind.plural}")
            document = Document(kind.document, "kubernetes", obtained=f"list {kind.plural}")
            try:
                body = self.list_all(kind)
            except NotFound as error:
                # a kind that is not installed has no objects: that is an answer
                self.partial.note(error.message)
                body = json.dumps({"apiVersion": "v1", "kind": "List", "items": []}).encode()
            except MeshnbError as error:
                self.partial.fail(document, error.message)
                continue
            self.partial.add(document, body)
            if kind.kind == "Pod":
                pods = json.loads(body)["items"]
        self._mesh_config()
        return pods

    def spaces(self, kind: Resource) -> Sequence[str]:
        """Namespaces a kind is listed in; one empty name if it is listed in all at once."""
        if kind.namespaced and self.options.namespaces:
            return sorted({*self.options.namespaces, self.options.istio_namespace})
        return [""]

    def list_all(self, kind: Resource) -> bytes:
        """One List of all objects of a kind, from as many pages and namespaces as there are."""
        items: list[bytes] = []
        version, reasons = "", []
        for space in self.spaces(kind):
            try:
                for page in self.cluster.pages(kind, namespace=space):
                    version, raw = _split(page)
                    items += raw
            except Forbidden as error:
                # one namespace that is closed costs no other
                reasons.append(error.message)
        if reasons and not items:
            raise Forbidden(reasons[0])
        for reason in reasons:
            self.partial.note(f"{kind.plural}: {reason}")
        head = json.dumps({"apiVersion": version or "v1", "kind": f"{kind.kind}List"})[:-1].encode()
        return head + b', "items": [\n' + b",\n".join(items) + b"\n]}\n"

    def _mesh_config(self) -> None:
        """ConfigMaps of Istio by name: others may hold anything."""
        space = self.options.istio_namespace
        names = ["istio", *(f"istio-{r}" for r in self._revisions())]
        document = Document("kubernetes/configmaps.json", "kubernetes", obtained=f"get configmaps {', '.join(names)}")
        found, reason = [], ""
        for name in names:
            try:
                found.append(self.cluster.get(f"/api/v1/namespaces/{space}/configmaps/{name}"))
            except MeshnbError as error:
                reason = error.message
        if found:
            self.partial.add(document, b'{"apiVersion": "v1", "kind": "List", "items": [' + b",".join(found) + b"]}\n")
        else:
            self.partial.fail(document, reason)

    def _revisions(self) -> list[str]:
        path = self.partial.folder / "kubernetes" / "mutatingwebhookconfigurations.json"
        if not path.exists():
            return []
        items = json.loads(path.read_bytes()).get("items") or []
        found = {((i.get("metadata") or {}).get("labels") or {}).get("istio.io/rev", "") for i in items}
        return sorted(found - {"", "default"})

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
        self.progress(f"{len(istiods)} istiods, {len(proxies)} proxies, {sum(len(p.pages) for p in plans)} documents")
        return plans

    def pods(self, plans: Sequence[PodPlan]) -> None:
        """Ask every pod, some at a time."""
        with ThreadPoolExecutor(max_workers=max(self.options.concurrency, 1)) as pool:
            for _ in pool.map(lambda plan: self._pod(plan, len(plans)), plans):
                pass
        if not self.reader.synced:
            istiods = [plan for plan in plans if plan.container == "discovery"]
            proxies = [plan for plan in plans if plan.container != "discovery"]
            ask_by_agents(self.reader, proxies, istiods, system=self.options.istio_namespace)

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


def _split(page: bytes) -> tuple[str, list[bytes]]:
    """API version and the raw items of a List."""
    decoded = msgspec.json.decode(page, type=_Items)
    return decoded.apiVersion, [bytes(item) for item in decoded.items or ()]
