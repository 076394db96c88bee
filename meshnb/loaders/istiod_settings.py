"""Deployment, MeshConfig, autoscaler and release of istiod → the settings in effect."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from meshnb.errors import FormatError
from meshnb.loaders.objects import Object
from meshnb.model.frame import returns
from meshnb.model.istiod import ENVIRONMENT, release
from meshnb.model.tables.control_plane import ISTIOD_SETTINGS

if TYPE_CHECKING:
    import pandas as pd

_TAG = re.compile(r":v?(\d+\.\d+[\w.-]*)(?:@|$)")


@returns(ISTIOD_SETTINGS)
def istiod_settings(objects: Sequence[Object], *, version: str = "", file: str = "") -> pd.DataFrame:
    """The settings of istiod that shape its performance, each with the default of its release.

    Args:
        objects: Deployments, ConfigMaps and HorizontalPodAutoscalers; others are left out.
        version: Istio release; default is that of istiod's image.
        file: how to name the document in an error.

    Raises:
        FormatError: the MeshConfig cannot be read.
    """
    deployment = next((o for o in objects if o.get("kind") == "Deployment" and _is_istiod(o)), None)
    if deployment is None:
        return ISTIOD_SETTINGS.empty()
    rows = list(_of_deployment(deployment, version, file))
    name = str(deployment["metadata"].get("name", "istiod"))
    rows += _of_autoscaler(objects, name)
    rows += _of_mesh_config(objects, file)
    return ISTIOD_SETTINGS.rows(rows)


def _is_istiod(deployment: Object) -> bool:
    labels = {**(deployment.get("metadata", {}).get("labels") or {})}
    labels |= deployment.get("spec", {}).get("template", {}).get("metadata", {}).get("labels") or {}
    return labels.get("app") == "istiod" or labels.get("istio") in ("pilot", "istiod")


def _of_deployment(deployment: Object, version: str, file: str) -> Iterator[dict[str, Any]]:
    spec = deployment.get("spec") or {}
    containers = spec.get("template", {}).get("spec", {}).get("containers") or []
    container = next((c for c in containers if c.get("name") == "discovery"), None)
    if container is None:
        raise FormatError("the Deployment of istiod has no container discovery", file=file)
    tag = _TAG.search(container.get("image") or "")
    version = version or (tag[1] if tag else "")
    yield _row("version", version or None, None, f"image {container.get('image')}", "Release of istiod.")
    limits = container.get("resources", {}).get("limits") or {}
    requests = container.get("resources", {}).get("requests") or {}
    env = {one["name"]: one.get("value") for one in container.get("env") or [] if "name" in one}
    cpus = _cpus(limits.get("cpu"))
    for variable in ENVIRONMENT:
        default, note = variable.default_of(release(version), cpus)
        given = env.get(variable.name)
        value = variable.effective(given, default)
        source = f"Deployment env {variable.name}={given}" if given else f"default of {version or 'an unknown release'}"
        yield _row(variable.name, value, default, source, variable.meaning, note, given=bool(given))
    replicas = str(spec.get("replicas", 1))
    note = "one istiod: none is left while it restarts" if replicas in ("0", "1") else None
    yield _row("replicas", replicas, "1", "Deployment spec.replicas", "Instances of istiod.", note, given=True)
    for what, of in (("requests", requests), ("limits", limits)):
        for resource in ("cpu", "memory"):
            value = of.get(resource)
            note = "at its request only; istiod needs most at a push" if what == "requests" and not value else None
            path = f"Deployment resources.{what}.{resource}"
            meaning = f"{'Guaranteed' if what == 'requests' else 'Most'} {resource} of one istiod."
            yield _row(f"{what}.{resource}", value, None, path if value else "not set", meaning, note)


def _of_autoscaler(objects: Sequence[Object], name: str) -> Iterator[dict[str, Any]]:
    for one in objects:
        spec = one.get("spec") or {}
        if one.get("kind") != "HorizontalPodAutoscaler" or spec.get("scaleTargetRef", {}).get("name") != name:
            continue
        low, high = spec.get("minReplicas", 1), spec.get("maxReplicas")
        note = "autoscaling suits load that grows over days; a burst of pushes is over before a new istiod serves"
        yield _row("autoscaling", f"{low} to {high}", None, "HorizontalPodAutoscaler", "Range of instances.", note)
        return
    if any(one.get("kind") == "HorizontalPodAutoscaler" for one in objects):
        yield _row("autoscaling", "none", None, "no HorizontalPodAutoscaler of istiod", "Range of instances.")


def _of_mesh_config(objects: Sequence[Object], file: str) -> Iterator[dict[str, Any]]:
    import yaml

    for one in objects:
        meta, data = one.get("metadata") or {}, one.get("data") or {}
        if one.get("kind") != "ConfigMap" or meta.get("name") != "istio" or "mesh" not in data:
            continue
        try:
            mesh = yaml.safe_load(data["mesh"]) or {}
        except yaml.YAMLError as error:
            raise FormatError(f"the MeshConfig is not YAML: {error}", file=file) from error
        if not isinstance(mesh, Mapping):
            raise FormatError("the MeshConfig is no mapping", file=file)
        selectors = mesh.get("discoverySelectors") or []
        value = json.dumps(selectors) if selectors else ""
        meaning = "Namespaces istiod looks at; none means all."
        yield _row("discoverySelectors", value, "", "MeshConfig", meaning, given=bool(selectors))
        sampling = (mesh.get("defaultConfig") or {}).get("tracing", {}).get("sampling")
        note = "every request is traced" if sampling is not None and float(sampling) >= 100 else None
        shown = None if sampling is None else f"{float(sampling):g}"
        yield _row(
            "tracing.sampling",
            shown or "1",
            "1",
            "MeshConfig",
            "Percent of requests traced.",
            note,
            given=shown is not None,
        )


def _row(
    setting: str,
    value: str | None,
    default: str | None,
    source: str,
    meaning: str,
    note: str | None = None,
    *,
    given: bool = False,
) -> dict[str, Any]:
    return {
        "setting": setting,
        "value": value,
        "default": default,
        "changed": None if default is None else given and value != default,
        "source": source,
        "meaning": meaning,
        "note": note,
    }


def _cpus(text: str | None) -> float | None:
    """A CPU quantity of Kubernetes as a number: `1500m` is 1.5."""
    if not text:
        return None
    return float(text[:-1]) / 1000 if text.endswith("m") else float(text)
