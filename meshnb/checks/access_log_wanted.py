"""Which access logs Telemetry objects and MeshConfig ask for, by Istio's rules of precedence.

The levels are the mesh (root namespace, neither selector nor targetRefs), the namespace, and the workload. Of several
Telemetry objects for mesh or namespace the oldest counts; of those for a workload, of which there should be one, each
goes before the older ones. A lower level that names providers replaces those above; `disabled` switches off what it
names, or what the level above named. As soon as one level says anything of access logs, `accessLogFile` counts no more.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from meshnb.checks.access_log_workload import Bound, Workload, is_waypoint_class
from meshnb.model.finding import Subject

if TYPE_CHECKING:
    import pandas as pd

BUILT_IN = "envoy"
"""Istio's own provider: the standard output, in MeshConfig's encoding and format."""
ROOT_NAMESPACE = "istio-system"
MESH_CONFIG = Subject("ConfigMap", "istio", ROOT_NAMESPACE)


@dataclass(frozen=True, slots=True)
class MeshLogging:
    """What MeshConfig says of access logs.

    Args:
        file: `accessLogFile`; empty: none.
        defaults: `defaultProviders.accessLogging`.
        providers: names of the `extensionProviders`, and what each is (`envoyFileAccessLog` …) with its settings.
        root_namespace: `rootNamespace`.
    """

    file: str = ""
    defaults: tuple[str, ...] = ()
    providers: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    root_namespace: str = ROOT_NAMESPACE


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked of one provider.

    Args:
        provider: its name; `accessLogFile` for the old setting of MeshConfig.
        by: the object that decides.
        disabled: it is switched off.
        filter: CEL expression of what is logged; empty: all.
    """

    provider: str
    by: Subject
    disabled: bool = False
    filter: str = ""


def mesh_logging(mesh_config: pd.DataFrame | None, objects: pd.DataFrame | None) -> MeshLogging | None:
    """MeshConfig as istiod has it in force, or else as its ConfigMap asks for it; `None` if neither is known.

    Args:
        mesh_config: table `mesh_config`.
        objects: table `objects`.
    """
    if mesh_config is not None and len(mesh_config):
        first = mesh_config[mesh_config.source == mesh_config.source.iloc[0]]
        return _logging({row.setting: json.loads(row.value) for row in first.itertuples()})
    for document in _config_maps(objects):
        defaults = document.get("defaultProviders") or {}
        return _logging({**document, "defaultProviders.accessLogging": defaults.get("accessLogging")})
    return None


def _config_maps(objects: pd.DataFrame | None) -> Iterator[Mapping[str, Any]]:
    import yaml

    if objects is None:
        return
    for row in objects[(objects.kind == "ConfigMap") & (objects.name == "istio")].itertuples():
        try:
            document = yaml.safe_load((json.loads(row.object).get("data") or {}).get("mesh") or "")
        except yaml.YAMLError:
            continue
        if isinstance(document, Mapping):
            yield document


def _logging(settings: Mapping[str, Any]) -> MeshLogging:
    given = settings.get("extensionProviders")
    known: dict[str, Mapping[str, Any]] = {BUILT_IN: {"envoyFileAccessLog": {"path": "/dev/stdout"}}}
    for one in given if isinstance(given, list) else ():
        if isinstance(one, Mapping) and isinstance(one.get("name"), str):
            known[one["name"].lower()] = one
    defaults = settings.get("defaultProviders.accessLogging")
    return MeshLogging(
        file=str(settings.get("accessLogFile") or ""),
        defaults=tuple(map(str, defaults)) if isinstance(defaults, list) else (),
        providers=known,
        root_namespace=str(settings.get("rootNamespace") or ROOT_NAMESPACE),
    )


@dataclass(frozen=True, slots=True)
class Telemetry:
    """A Telemetry object.

    Args:
        subject: its name.
        selector: labels it selects; empty for none.
        refs: its targetRefs.
        entries: its rows of table `telemetries` that speak of access logs.
    """

    subject: Subject
    selector: Mapping[str, str]
    refs: Sequence[Mapping[str, Any]]
    entries: Sequence[Any]


def by_age(telemetries: pd.DataFrame) -> list[Telemetry]:
    """The Telemetry objects, the oldest first.

    Args:
        telemetries: table `telemetries`.
    """
    by = ["created", "telemetry", "namespace"]
    ordered = telemetries.sort_values([*by, "entry_index"], kind="stable")
    found: dict[tuple[str, str], list[Any]] = {}
    for row in ordered.itertuples():
        found.setdefault((row.namespace, row.telemetry), []).append(row)
    return [
        Telemetry(
            Subject("Telemetry", name, namespace),
            json.loads(rows[0].selector),
            json.loads(rows[0].target_refs),
            [row for row in rows if isinstance(row.entry_index, int)],
        )
        for (namespace, name), rows in found.items()
    ]


@dataclass(frozen=True, slots=True)
class Levels:
    """What Telemetry objects say to a workload.

    Args:
        entries: the entries of the Telemetry that counts at each level, from the mesh's down to the workload's.
        undecided: the Telemetry of which it cannot be told whether it holds for this workload; then nothing else can be
            told either.
        doubt: why it cannot be told.
    """

    entries: Sequence[Sequence[Any]]
    undecided: Subject | None = None
    doubt: str = ""


def levels(given: Sequence[Telemetry], workload: Workload, *, root: str) -> Levels:
    """What counts for a workload at each level.

    Args:
        given: as from `by_age`.
        workload: the workload.
        root: the root namespace.
    """
    found = []
    for space in dict.fromkeys((root, workload.namespace)):
        found += [one for one in given if one.subject.namespace == space and not (one.selector or one.refs)][:1]
    for one in given:
        if not (one.selector or one.refs) or not one.entries:
            continue
        if one.subject.namespace == workload.namespace:
            bound = workload.bound_by(one.selector, one.refs, root=root)
        elif (
            one.subject.namespace == root
            and workload.is_waypoint is not False
            and any(map(is_waypoint_class, one.refs))
        ):
            bound = Bound(doubt="whether istiod looks for those of a GatewayClass in the root namespace is not known")
        else:
            continue
        if bound.doubt:
            return Levels((), one.subject, bound.doubt)
        found += [one] if bound.holds else []
    return Levels([one.entries for one in found if one.entries])


def wanted(found: Sequence[Sequence[Any]], mesh: MeshLogging, *, mode: str) -> list[Asked]:
    """What is asked for at one side of a workload; empty if nothing asks for access logs.

    Args:
        found: the entries of `levels`.
        mesh: what MeshConfig says.
        mode: `CLIENT` for outbound listeners and gateways, `SERVER` for inbound ones.

    Example:
        >>> wanted([], MeshLogging(file="/dev/stdout"), mode="CLIENT")[0].provider
        'accessLogFile'
    """
    if not found:
        if mesh.defaults:
            return [Asked(name, MESH_CONFIG) for name in mesh.defaults]
        return [Asked("accessLogFile", MESH_CONFIG)] if mesh.file else []
    in_scope, filters = mesh.defaults, {}
    for level in found:
        named: dict[str, None] = {}
        for entry in _entries(level, mode):
            for name in entry.providers:
                named[name] = None
                filters[name] = entry.filter if isinstance(entry.filter, str) else ""
        in_scope = tuple(named) or in_scope
    asked: dict[str, Asked] = {}
    above = mesh.defaults
    for level in found:
        for entry in level:
            above = tuple(entry.providers) or above
            if entry.mode in (mode, "CLIENT_AND_SERVER"):
                by, off = Subject("Telemetry", entry.telemetry, entry.namespace), bool(entry.disabled)
                asked |= {name: Asked(name, by, off, filters.get(name, "")) for name in above if name in in_scope}
    if not asked:
        last = found[-1][-1]
        return [Asked("", Subject("Telemetry", last.telemetry, last.namespace), disabled=True)]
    return list(asked.values())


def _entries(level: Sequence[Any], mode: str) -> Iterator[Any]:
    return (entry for entry in level if entry.mode in (mode, "CLIENT_AND_SERVER"))
