"""How large the documents of many pods will be, judged by a few of them that were asked."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from meshnb.sources.capture_plan import LOG, PodPlan
from meshnb.sources.partial import PartialSnapshot

_PROXIES = 3


@dataclass(frozen=True, slots=True)
class Judged:
    """Bytes of the documents of all pods.

    Args:
        bytes: unpacked, about.
        packed: in an archive, about.
        sampled: pods it is judged by.
        unknown: what could not be judged, and why.
    """

    bytes: float
    packed: float
    sampled: tuple[str, ...]
    unknown: tuple[str, ...]


def sample(plans: Sequence[PodPlan]) -> list[PodPlan]:
    """One istiod and three proxies, far from each other in the list."""
    istiods, proxies = groups(plans)
    step = max(len(proxies) // _PROXIES, 1)
    return [*istiods[:1], *proxies[::step][:_PROXIES]]


def groups(plans: Sequence[PodPlan]) -> tuple[list[PodPlan], list[PodPlan]]:
    """Pods of istiod, and pods with a proxy."""
    return [p for p in plans if p.container == "discovery"], [p for p in plans if p.container != "discovery"]


def describe(plans: Sequence[PodPlan], *, since_s: int | None) -> str:
    """What will be asked of the pods, in a line.

    Example:
        >>> describe([PodPlan("a", "n", "istio-proxy")], since_s=60)
        '0 istiods, 1 proxies, 0 documents, no logs'
    """
    istiods, proxies = groups(plans)
    pages = [page for plan in plans for page in plan.pages]
    logs = sum(page.port == LOG for page in pages)
    span = "whole" if since_s is None else f"of the last {_span(since_s)}"
    told = f"{logs} of them logs, {span}" if logs else "no logs"
    return f"{len(istiods)} istiods, {len(proxies)} proxies, {len(pages)} documents, {told}"


def _span(seconds: int) -> str:
    for size, name in ((3600, "h"), (60, "min")):
        if seconds % size == 0:
            return f"{seconds // size} {name}"
    return f"{seconds} s"


def judge(
    partial: PartialSnapshot, plans: Sequence[PodPlan], sampled: Sequence[PodPlan], *, expected: bool = False
) -> Judged:
    """The size of all, from those that are there.

    Args:
        partial: holds what the sampled pods answered.
        plans: all pods.
        sampled: those that were asked.
        expected: istiod will also be asked what it would send each proxy, which is taken to be as large as its dump.
    """
    judged = {id(plan): sizes for plan in sampled if (sizes := _sizes(partial, plan))}
    istiods, proxies = groups(plans)
    unpacked = packed = 0.0
    unknown = []
    for group in (istiods, proxies):
        known = [judged[id(p)] for p in group if id(p) in judged]
        if group and not known:
            unknown.append(f"{len(group)} pods like {group[0].name}: none of those asked answered")
        for plain, small, dump in known:
            unpacked += plain * len(group) / len(known)
            packed += small * len(group) / len(known)
            if expected and group is proxies:
                times = len(istiods) * len(group) / len(known)
                unpacked, packed = unpacked + dump * times, packed + small * dump / plain * times
    names = tuple(f"{p.name}.{p.namespace}" for p in sampled if id(p) in judged)
    return Judged(unpacked, packed, names, tuple(unknown))


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
