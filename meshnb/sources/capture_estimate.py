"""How large a capture would be: counts from the API server, sizes from a few pods. Nothing is kept."""

from __future__ import annotations

import json
import tempfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from meshnb.errors import MeshnbError, NotFound, SourceError
from meshnb.model.resources import Resource, find
from meshnb.sources import capture_plan
from meshnb.sources.capture import CaptureOptions, CaptureRun, Progress
from meshnb.sources.capture_plan import PodPlan
from meshnb.sources.kubernetes import Cluster
from meshnb.sources.partial import PartialSnapshot

_OBJECTS, _PROXIES = 20, 3


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
        body = run.list_all(find("pods"))
        pods: list[Mapping[str, Any]] = json.loads(body)["items"]
        count, size, unknown = _objects(run)
        plans = run.plans(pods)
        istiods = [p for p in plans if p.container == "discovery"]
        proxies = [p for p in plans if p.container != "discovery"]
        step = max(len(proxies) // _PROXIES, 1)
        sample = [*istiods[:1], *proxies[::step][:_PROXIES]]
        run.pods(sample)
        judged = {id(plan): sizes for plan in sample if (sizes := _sizes(partial, plan))}
        documents = sum(len(plan.pages) for plan in plans)
        unpacked, packed = len(body) + size, len(zlib.compress(body)) * (1 + size / len(body))
        for group in (istiods, proxies):
            known = [judged[id(p)] for p in group if id(p) in judged]
            if group and not known:
                unknown.append(f"{len(group)} pods like {group[0].name}: none of those asked answered")
            for plain, small, dump in known:
                unpacked += plain * len(group) / len(known)
                packed += small * len(group) / len(known)
                if options.expected and group is proxies:
                    times = len(istiods) * len(group) / len(known)
                    unpacked, packed = unpacked + dump * times, packed + small * dump / plain * times
        if options.expected:
            documents += len(istiods) * len(proxies) * len(capture_plan.PER_PROXY_PAGES)
    names = tuple(f"{p.name}.{p.namespace}" for p in sample if id(p) in judged)
    return Estimate(
        len(istiods), len(proxies), documents, len(pods) + count, int(unpacked), int(packed), names, tuple(unknown)
    )


def _objects(run: CaptureRun) -> tuple[int, float, list[str]]:
    """Number and bytes of all objects but pods, and what is unknown of them."""
    count, size, unknown = 0, 0.0, list[str]()
    for kind in capture_plan.resources():
        for space in run.spaces(kind) if kind.kind != "Pod" else ():
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


def _sizes(partial: PartialSnapshot, plan: PodPlan) -> tuple[int, int, int] | None:
    """Bytes of a pod's documents, of the same packed, and of its config dump; nothing if the pod did not answer."""
    plain, small, dump = 0, 0, 0
    for path in (page.document.path for page in plan.pages if partial.has(page.document.path)):
        data = (partial.folder / PurePosixPath(path)).read_bytes()
        plain, small = plain + len(data), small + len(zlib.compress(data))
        dump += len(data) if path.endswith("/config_dump.json") else 0
    # the log of a proxy that is dead says nothing of the size of those that live
    answered = plain if plan.container == "discovery" else dump
    return (plain, small, dump) if answered else None
