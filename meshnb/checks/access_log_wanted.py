"""Which access logs Telemetry objects and MeshConfig ask for, by Istio's rules of precedence.

One Telemetry counts per level: the mesh's (root namespace, without selector), the namespace's, the workload's; of
several the oldest. A lower level that names providers replaces those above; `disabled` switches off what it names, or
what the level above named. As soon as one level says anything of access logs, `accessLogFile` counts no more.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

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


def levels(telemetries: pd.DataFrame, *, namespace: str, labels: Mapping[str, str], root: str) -> list[pd.DataFrame]:
    """The entries of the Telemetry that counts at each level, from the mesh's down to the workload's.

    Args:
        telemetries: table `telemetries`.
        namespace: of the workload.
        labels: of its pod.
        root: the root namespace.
    """
    found = []
    for space in dict.fromkeys((root, namespace)):
        found += _oldest(telemetries, space, lambda selector: not selector)
    found += _oldest(telemetries, namespace, lambda selector: bool(selector) and selector.items() <= labels.items())
    return [entries for one in found if len(entries := one[one.entry_index.notna()])]


def _oldest(telemetries: pd.DataFrame, namespace: str, fits: Any) -> list[pd.DataFrame]:
    # what is bound to a Gateway or Service by targetRefs is not looked at: it holds for waypoints
    here = telemetries[(telemetries.namespace == namespace) & (telemetries.target_refs == "[]")]
    here = here[[bool(fits(json.loads(text))) for text in here.selector]]
    if here.empty:
        return []
    first = here.sort_values(["created", "telemetry"], kind="stable").iloc[0].telemetry
    return [here[here.telemetry == first].sort_values("entry_index")]


def wanted(found: Sequence[pd.DataFrame], mesh: MeshLogging, *, mode: str) -> list[Asked]:
    """What is asked for at one side of a workload; empty if nothing asks for access logs.

    Args:
        found: as from `levels`.
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
        for entry in level.itertuples():
            above = tuple(entry.providers) or above
            if entry.mode in (mode, "CLIENT_AND_SERVER"):
                by, off = Subject("Telemetry", entry.telemetry, entry.namespace), bool(entry.disabled)
                asked |= {name: Asked(name, by, off, filters.get(name, "")) for name in above if name in in_scope}
    if not asked:
        last = found[-1].iloc[-1]
        return [Asked("", Subject("Telemetry", last.telemetry, last.namespace), disabled=True)]
    return list(asked.values())


def _entries(level: pd.DataFrame, mode: str) -> Iterator[Any]:
    return (entry for entry in level.itertuples() if entry.mode in (mode, "CLIENT_AND_SERVER"))
