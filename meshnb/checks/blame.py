"""Which object makes Envoy reject a push: read from the words of the rejection."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from meshnb.model.finding import Subject

if TYPE_CHECKING:
    import pandas as pd

_CLUSTER = re.compile(r"(?:outbound|inbound)[|_]\.?(\d+)_?\.?[|_]\.?([\w.-]*?)[|_]\.?_?\.?([\w*.-]+)")
_LISTENER = re.compile(r"listener\(?s?\)? (?:[\d.]+|\[?[0-9a-f:]+\]?)_(\d+)")
_QUOTED = re.compile(r"'([^'\n]{2,200})'|\"([^\"\n]{2,200})\"|`([^`\n]{2,200})`")
_WORD = re.compile(r"[\w./*:@-]{3,}")
_MADE_BY = {
    "EnvoyFilter",
    "VirtualService",
    "DestinationRule",
    "Gateway",
    "ServiceEntry",
    "Sidecar",
    "AuthorizationPolicy",
    "RequestAuthentication",
    "PeerAuthentication",
    "Telemetry",
    "WasmPlugin",
}
_IDLE = {"must_be", "error_adding", "adding_updating", "updating_listener", "updating_cluster", "type_url"}
_COMMON = {"error", "adding", "updating", "listener", "listeners", "cluster", "clusters", "route", "invalid", "envoy"}


@dataclass(frozen=True, slots=True)
class Suspect:
    """An object a rejection points at, why, and how surely."""

    subject: Subject
    why: str
    confidence: float


def blame(error: str, *, namespace: str, objects: pd.DataFrame | None) -> list[Suspect]:
    """Objects a rejection points at, surest first; none if nothing does.

    The cluster the words name leads to the DestinationRule of its host, the listener to Gateways of its port. Values
    the words quote are looked for in the objects, the rarer the surer, and terms of Envoy in those that may use them.

    Args:
        error: Envoy's words.
        namespace: of the proxy; its own objects come before those of other namespaces.
        objects: table `objects`.

    Example:
        >>> blame("cluster(s) outbound|80||catalog.n.svc.cluster.local: no", namespace="n", objects=None)
        []
    """
    if objects is None or objects.empty:
        return []
    mine = objects[objects.kind.isin(_MADE_BY)]
    best: dict[Subject, Suspect] = {}
    found = (
        *_by_cluster(error, mine),
        *_by_listener(error, mine),
        *_by_value(error, mine),
        *_by_term(error, mine),
    )
    for suspect in found:
        known = best.get(suspect.subject)
        if known is None or suspect.confidence > known.confidence:
            best[suspect.subject] = suspect
    order = {"EnvoyFilter": 0}
    return sorted(
        best.values(),
        key=lambda s: (-s.confidence, s.subject.namespace != namespace, order.get(s.subject.kind, 1), str(s.subject)),
    )[:5]


def _by_cluster(error: str, objects: pd.DataFrame) -> list[Suspect]:
    found = []
    rules = objects[objects.kind == "DestinationRule"]
    for _, subset, host in _CLUSTER.findall(error):
        for row in rules.itertuples():
            spec = json.loads(row.object).get("spec") or {}
            written = str(spec.get("host", ""))
            if host not in (written, f"{written}.{row.namespace}.svc.cluster.local"):
                continue
            subsets = [s.get("name") for s in spec.get("subsets") or ()]
            if subset and subset not in subsets:
                continue
            why = f"the rejected cluster is of its host {host}" + (f", subset {subset}" if subset else "")
            found.append(Suspect(_subject(row), why, 0.9))
    return found


def _by_listener(error: str, objects: pd.DataFrame) -> list[Suspect]:
    found = []
    ports = {int(port) for port in _LISTENER.findall(error)}
    for row in objects[objects.kind == "Gateway"].itertuples() if ports else ():
        servers = (json.loads(row.object).get("spec") or {}).get("servers") or []
        mine = ports & {int((s.get("port") or {}).get("number") or 0) for s in servers}
        found += [Suspect(_subject(row), f"it opens the rejected listener's port {port}", 0.5) for port in mine]
    return found


def _by_value(error: str, objects: pd.DataFrame) -> list[Suspect]:
    """Objects whose spec holds a value the words quote; a value of many objects says little."""
    quoted = {part for groups in _QUOTED.findall(error) for part in groups if part}
    words = {w.strip(".:") for w in _WORD.findall(error)} - _COMMON
    values = quoted | {
        w for w in words if len(w) >= 4 and not w.isdigit() and (re.search(r"[\W\d_]", w) or len(w) > 12)
    }
    holders: dict[str, list[Any]] = {value: [] for value in values}
    for row in objects.itertuples():
        leaves = set(_leaves(json.loads(row.object).get("spec")))
        for value in values:
            if any(value == leaf or (value in quoted and value in leaf) for leaf in leaves):
                holders[value].append(row)
    counts = Counter({value: len(rows) for value, rows in holders.items()})
    return [
        Suspect(_subject(row), f"its spec holds {value!r}, which the words name", 0.85 if counts[value] == 1 else 0.5)
        for value, rows in sorted(holders.items())
        if len(rows) <= 3
        for row in rows
    ]


def _by_term(error: str, objects: pd.DataFrame) -> list[Suspect]:
    """Objects that write Envoy's configuration themselves and use its terms: `token bucket` is field `token_bucket`.

    Only EnvoyFilters and WasmPlugins can hold such fields, so a shared term of two words or more is telling.
    """
    words = re.findall(r"[a-z]+", error.lower())
    terms = {"_".join(words[i : i + n]) for n in (2, 3, 4) for i in range(len(words) - n + 1)} - _IDLE
    found = []
    for row in objects[objects.kind.isin(["EnvoyFilter", "WasmPlugin"])].itertuples():
        leaves = " ".join(_leaves(json.loads(row.object).get("spec"))).lower()
        fields = set(re.findall(r"[a-z]+(?:_[a-z]+)+", leaves))
        # `local rate limit` is written local_ratelimit or local_rate_limit
        packed = {field.replace("_", "") for field in fields}
        shared = sorted(t for t in terms if t in fields or t.replace("_", "") in packed)
        if shared:
            why = f"it sets {', '.join(shared)}, which the words name"
            found.append(Suspect(_subject(row), why, 0.9 if len(shared) > 1 else 0.8))
    return found


def _leaves(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [leaf for key, part in value.items() for leaf in (str(key), *_leaves(part))]
    if isinstance(value, list):
        return [leaf for part in value for leaf in _leaves(part)]
    return [str(value)]


def _subject(row: Any) -> Subject:
    return Subject(row.kind, row.name, row.namespace if isinstance(row.namespace, str) else "")
