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
    from meshnb.sources.snapshot import Snapshot


def connect(
    context: str = "",
    *,
    namespaces: Sequence[str] = (),
    workloads: Sequence[str] = (),
    since: str = "1h",
    out: str | Path = "",
    progress: Callable[[str], None] = print,
) -> Mesh:
    """Capture a live cluster, read-only, and open it.

    What comes back does not change any more: the same answers can be had from the file later. Give namespaces and
    workloads in a large mesh; the whole of it takes minutes.

    Args:
        context: context of the kubeconfig; empty for the current one, or for the cluster this runs in.
        namespaces: only these, and that of istiod.
        workloads: only proxies of these pods, Deployments or labels (`app=catalog`).
        since: logs of the last `30m`, `1h` …; `all` or `none`.
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
    options = CaptureOptions(namespaces=tuple(namespaces), workloads=tuple(workloads), since_s=seconds)
    cluster = Cluster.connect(context)
    if out:
        return Mesh(capture_cluster(cluster, out, options, progress=progress))
    folder = Path(tempfile.mkdtemp(prefix="meshnb-"))
    try:
        snapshot = capture_cluster(cluster, folder / (context or "live"), options, progress=progress)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    _drop_with(snapshot, folder)
    return Mesh(snapshot)


def _drop_with(snapshot: Snapshot, folder: Path) -> None:
    weakref.finalize(snapshot, shutil.rmtree, folder, ignore_errors=True)
