"""What switches access logs on, or gives them the fields that the causes need: Telemetry and MeshConfig as YAML."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from meshnb.checks.access_log_needs import NEEDS
from meshnb.checks.access_log_wanted import BUILT_IN, MeshLogging
from meshnb.model.finding import Fix, Subject

if TYPE_CHECKING:
    import pandas as pd

_HELM = (
    "helm upgrade istiod istio/istiod -n {root} --reuse-values "
    "--set meshConfig.accessLogFile=/dev/stdout --set meshConfig.accessLogEncoding=JSON"
)


def logging_fix(
    subject: Subject, telemetries: pd.DataFrame | None, mesh: MeshLogging | None, *, root: str, proxy: str
) -> tuple[Fix, ...]:
    """What makes the proxies log.

    Args:
        subject: the object to blame.
        telemetries: table `telemetries`.
        mesh: what MeshConfig says.
        root: the root namespace.
        proxy: one of the proxies that do not log.
    """
    if subject.kind == "Pod":
        note = "STALE or ERROR: look there first. Otherwise list the EnvoyFilters that select it."
        return (Fix(f"istioctl proxy-status {proxy}", kind="command", note=note),)
    name, namespace, spec = "mesh-default", root, {}
    there = None if telemetries is None else _row(telemetries, subject, root)
    if there is not None:
        name, namespace, spec = there.telemetry, there.namespace, json.loads(there.spec)
    provider = _provider(mesh)
    spec = {**spec, "accessLogging": [{"providers": [{"name": provider}]}]}
    document = {
        "apiVersion": "telemetry.istio.io/v1",
        "kind": "Telemetry",
        "metadata": {"name": name, "namespace": namespace},
        "spec": spec,
    }
    note = "Takes effect at once, without restarts; Istio before 1.22 knows it as telemetry.istio.io/v1alpha1."
    fixes = [Fix(to_yaml(document), note=note)]
    if subject.kind != "Telemetry":
        note = "Or by MeshConfig, for the whole mesh; counts only while no Telemetry speaks of access logs."
        fixes.append(Fix(_HELM.format(root=root), kind="command", note=note))
    return tuple(fixes)


def _row(telemetries: pd.DataFrame, subject: Subject, root: str) -> Any:
    """The Telemetry to change: the one to blame, or the mesh's, of which only the oldest counts."""
    if subject.kind == "Telemetry":
        mine = telemetries[(telemetries.telemetry == subject.name) & (telemetries.namespace == subject.namespace)]
    else:
        mine = telemetries[
            (telemetries.namespace == root) & (telemetries.selector == "{}") & (telemetries.target_refs == "[]")
        ].sort_values(["created", "telemetry"], kind="stable")
    return next(mine.itertuples(), None)


def _provider(mesh: MeshLogging | None) -> str:
    """A provider that writes to the standard output: the default one if it does, else Istio's own."""
    for name in mesh.defaults if mesh is not None else ():
        settings = (mesh.providers.get(name.lower()) if mesh is not None else None) or {}
        if (settings.get("envoyFileAccessLog") or {}).get("path", "") in ("/dev/stdout", "/dev/stderr"):
            return name
    return BUILT_IN


def format_fix(
    provider: str, mesh: MeshLogging | None, *, keep: Any, encoding: str, lacking: Sequence[str]
) -> tuple[Fix, ...]:
    """MeshConfig that gives the log what it lacks.

    Args:
        provider: name of the provider that has the format; empty or `accessLogFile` for MeshConfig's own.
        mesh: what MeshConfig says.
        keep: the format in force.
        encoding: JSON or TEXT.
        lacking: columns it lacks.
    """
    own = (mesh.providers.get(provider.lower()) if mesh is not None else None) or {}
    labels = _labels(keep, lacking) if encoding == "JSON" and isinstance(keep, str) else {}
    if (own.get("envoyFileAccessLog") or {}).get("logFormat"):
        path = own["envoyFileAccessLog"].get("path") or "/dev/stdout"
        one = {"name": own["name"], "envoyFileAccessLog": {"path": path, "logFormat": {"labels": labels}}}
        settings: dict[str, Any] = {"extensionProviders": [one]}
        note = "Empty labels: Istio's own JSON format." if not labels else "Its own fields, and those it lacks."
        return (Fix(to_yaml({"meshConfig": settings}), note=f"Values of Helm. {note} Keep the other providers."),)
    settings = {"accessLogFile": "/dev/stdout", "accessLogEncoding": "JSON"}
    settings["accessLogFormat"] = json.dumps(labels) if labels else ""
    note = "Values of Helm (meshConfig); an empty accessLogFormat is Istio's own, which holds all that is needed."
    return (Fix(to_yaml({"meshConfig": settings}), note=note),)


def _labels(keep: str, lacking: Sequence[str]) -> dict[str, Any]:
    """The JSON format in force, with a field for each operator it lacks."""
    try:
        given = json.loads(keep)
    except ValueError:
        return {}
    return {**given, **{column.removesuffix("_ms"): NEEDS[column].operator for column in lacking}}


def to_yaml(document: dict[str, Any]) -> str:
    """A document as YAML, keys in the order given."""
    import yaml

    return str(yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=120))
