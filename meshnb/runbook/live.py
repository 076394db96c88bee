"""A live cluster as a `Mesh`: captured first, looked at then."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from meshnb.errors import UsageError

if TYPE_CHECKING:
    from meshnb.runbook.mesh import Mesh
    from meshnb.sources.kubernetes import Cluster
    from meshnb.sources.snapshot import Snapshot, SnapshotWriter


def connect(
    context: str | None = None,
    *,
    namespaces: Sequence[str] | None = None,
    workloads: Sequence[str] = (),
    since: str = "1h",
    prometheus: str | None = None,
    out: str | Path = "",
    progress: Callable[[str], None] = print,
) -> Mesh:
    """Capture a live cluster, read-only, and open it.

    What comes back does not change any more: the same answers can be had from the file later. Give namespaces and
    workloads in a large mesh; the whole of it takes minutes.

    Args:
        context: context of the kubeconfig; none for the current one, or for the cluster this runs in.
        namespaces: only these, and that of istiod; none for all.
        workloads: only proxies of these pods, Deployments or labels (`app=catalog`).
        since: logs of the last `30m`, `1h` …; `all` or `none`.
        prometheus: URL of a Prometheus, or `find` for the mesh's own, asked by port-forward; what the runbooks ask it
            is captured too, over `since`.
        out: keep the snapshot in this file or folder; empty to drop it at the end.
        progress: told of each step; `lambda step: None` for silence.

    Raises:
        MissingExtra: meshnb is installed without the extra `live`.
        NotFound: no kubeconfig, or no such context.
        Unreachable: the cluster does not answer.
    """
    from meshnb.model.window import parse_duration
    from meshnb.runbook.mesh import Mesh
    from meshnb.sources.capture import CaptureOptions, capture_cluster
    from meshnb.sources.kubernetes import Cluster

    if isinstance(namespaces, str) or isinstance(workloads, str):
        raise UsageError("namespaces and workloads are lists", hint="namespaces=['istioinaction']")
    seconds = None if since == "all" else 0
    if since not in ("all", "none"):
        seconds = max(int(parse_duration(since).total_seconds()), 1)
    options = CaptureOptions(namespaces=tuple(namespaces or ()), workloads=tuple(workloads), since_s=seconds)
    cluster = Cluster.connect(context or "")
    also = prometheus_recorder(prometheus, since, progress=progress) if prometheus else None
    if prometheus == "find":
        also = mesh_prometheus_recorder(cluster, since, progress=progress)
    if out:
        return Mesh(capture_cluster(cluster, out, options, progress=progress, also=also))
    folder = Path(tempfile.mkdtemp(prefix="meshnb-"))
    try:
        snapshot = capture_cluster(cluster, folder / (context or "live"), options, progress=progress, also=also)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    _drop_with(snapshot, folder)
    return Mesh(snapshot)


def prometheus_recorder(
    url: str, since: str, *, progress: Callable[[str], None] = lambda _: None
) -> Callable[[SnapshotWriter], None]:
    """What records along with a capture the answers of a Prometheus to what the runbooks ask.

    Args:
        url: what stands before `/api/v1`.
        since: the last `30m`, `1h` …; with `all` or `none` an hour.
        progress: told of each query, in a line.
    """
    from meshnb.model.window import Window
    from meshnb.runbook.prometheus import record_from

    def record(writer: SnapshotWriter) -> None:
        window = Window.parse("1h" if since in ("all", "none") else since)
        record_from(writer, url, window, progress=progress)

    return record


def mesh_prometheus_recorder(
    cluster: Cluster,
    since: str,
    *,
    istio_namespace: str = "istio-system",
    progress: Callable[[str], None] = lambda _: None,
) -> Callable[[SnapshotWriter], None]:
    """What records along with a capture the answers of the mesh's own Prometheus, found and asked by port-forward.

    Args:
        cluster: the cluster.
        since: the last `30m`, `1h` …; with `all` or `none` an hour.
        istio_namespace: namespace of istiod.
        progress: told which Prometheus was taken.
    """
    from meshnb.sources.mesh_prometheus import mesh_prometheus

    def record(writer: SnapshotWriter) -> None:
        def say(which: str) -> None:
            progress(which)
            writer.note(f"{which} was asked by port-forward.")

        with mesh_prometheus(cluster, istio_namespace=istio_namespace, progress=say) as url:
            prometheus_recorder(url, since)(writer)

    return record


def _drop_with(snapshot: Snapshot, folder: Path) -> None:
    weakref.finalize(snapshot, shutil.rmtree, folder, ignore_errors=True)
