"""How large a capture would be: counts from the API server, sizes from a few pods. Nothing is kept."""

from __future__ import annotations

import json
import tempfile
import zlib
from dataclasses import dataclass, replace
from pathlib import Path

from meshnb.errors import MeshnbError, NotFound, SourceError
from meshnb.model.resources import Resource
from meshnb.sources import capture_plan, capture_sizes
from meshnb.sources.capture import CaptureOptions, CaptureRun, Progress
from meshnb.sources.kubernetes import Cluster
from meshnb.sources.partial import PartialSnapshot

_OBJECTS = 20
_PACKED = 4 << 20  # bytes of the pods that tell how well objects can be packed


@dataclass(frozen=True, slots=True)
class Estimate:
    """The size of a capture that has not been made.

    Args:
        istiods: pods of istiod.
        proxies: pods with a proxy.
        documents: documents asked of them.
        objects: objects of Kubernetes and Istio.
        bytes: bytes of all documents, about.
        packed: bytes of the archive, about.
        sampled: pods the sizes are judged by.
        unknown: what could not be judged, and why.
    """

    istiods: int
    proxies: int
    documents: int
    objects: int
    bytes: int
    packed: int
    sampled: tuple[str, ...]
    unknown: tuple[str, ...] = ()


def estimate_capture(
    cluster: Cluster, options: CaptureOptions | None = None, *, progress: Progress = lambda _: None
) -> Estimate:
    """Judge the size of a capture by one istiod, three proxies and some objects of each kind.

    All pods are listed; of the other kinds the first 20 objects. What istiod would send (`expected`) is not asked for:
    it is taken to be as large as the config dumps of the proxies.

    Args:
        cluster: the cluster.
        options: what would be captured.
        progress: told of each step, in a line.

    Returns:
        The estimate; what could not be judged is named in it, and not in its sums.

    Raises:
        Unreachable: the API server cannot be reached at all.
        Forbidden: pods may not be listed.
    """
    options = options or CaptureOptions()
    with tempfile.TemporaryDirectory(prefix="meshnb-") as folder:
        partial = PartialSnapshot(Path(folder), source=cluster.name)
        run = CaptureRun(cluster, partial, replace(options, expected=False), progress)
        pods, listed = run.objects.list_pods()
        count, size, unknown = _objects(run)
        plans = run.plans(pods)
        sampled = capture_sizes.sample(plans)
        run.pods(sampled, total=len(sampled))
        judged = capture_sizes.judge(partial, plans, sampled, expected=options.expected)
        body = (partial.folder / listed.path).read_bytes()
    istiods, proxies = capture_sizes.groups(plans)
    documents = sum(len(plan.pages) for plan in plans)
    if options.expected:
        documents += len(istiods) * len(proxies) * len(capture_plan.PER_PROXY_PAGES)
    head = body[:_PACKED]
    packed = len(zlib.compress(head)) / len(head) * (len(body) + size)
    return Estimate(
        len(istiods),
        len(proxies),
        documents,
        len(pods) + count,
        int(len(body) + size + judged.bytes),
        int(packed + judged.packed),
        judged.sampled,
        (*unknown, *judged.unknown),
    )


def _objects(run: CaptureRun) -> tuple[int, float, list[str]]:
    """Number and bytes of all objects but pods, and what is unknown of them."""
    count, size, unknown = 0, 0.0, list[str]()
    for kind in capture_plan.resources():
        for space in run.objects.spaces(kind) if kind.kind != "Pod" else ():
            try:
                found, length = _judge(run.cluster, kind, space)
            except NotFound:
                continue
            except MeshnbError as error:
                unknown.append(f"{kind.plural}: {error.message}")
                continue
            count, size = count + found, size + length
    return count, size, unknown


def _judge(cluster: Cluster, kind: Resource, space: str) -> tuple[int, float]:
    """Number and bytes of the objects of a kind."""
    body, more = cluster.first_page(kind, namespace=space, limit=_OBJECTS)
    shown = len(json.loads(body).get("items") or ())
    if more is None:
        raise SourceError(f"more than {shown} objects, and the server does not say how many")
    return shown + more, len(body) * (1 + more / max(shown, 1))
