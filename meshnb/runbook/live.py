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
        prometheus: URL of a Prometheus; what the runbooks ask it is captured too, over `since`.
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
    also = prometheus_recorder(prometheus, since) if prometheus else None
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


def prometheus_recorder(url: str, since: str) -> Callable[[SnapshotWriter], None]:
    """What records along with a capture the answers of a Prometheus to what the runbooks ask.

    Args:
        url: what stands before `/api/v1`.
        since: the last `30m`, `1h` …; with `all` or `none` an hour.
    """
    from meshnb.model.window import Window
    from meshnb.runbook.prometheus import record_from

    def record(writer: SnapshotWriter) -> None:
        record_from(writer, url, Window.parse("1h" if since in ("all", "none") else since))

    return record


def _drop_with(snapshot: Snapshot, folder: Path) -> None:
    weakref.finalize(snapshot, shutil.rmtree, folder, ignore_errors=True)
