"""Settings of the mesh: what istiod has in force, what ConfigMaps and IstioOperators ask for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from meshnb.errors import FormatError
from meshnb.loaders.istiod_debug import decode
from meshnb.loaders.objects import Object, metadata, to_json
from meshnb.loaders.shape import shaped
from meshnb.model.frame import returns
from meshnb.model.tables.istiod import MESH_CONFIG

if TYPE_CHECKING:
    import pandas as pd


@returns(MESH_CONFIG)
@shaped("a MeshConfig")
def read_mesh_config(data: bytes | str, *, istiod: str = "", file: str = "") -> pd.DataFrame:
    """MeshConfig in force, from `/debug/mesh`.

    Raises:
        FormatError: not a MeshConfig.

    Example:
        >>> read_mesh_config('{"defaultConfig": {"concurrency": 2}}', istiod="istiod-1").values.tolist()
        [['istiod istiod-1', 'defaultConfig.concurrency', '2']]
    """
    document = decode(data, file=file, what="a MeshConfig")
    if not isinstance(document, Mapping):
        raise FormatError("not a MeshConfig: an object expected", file=file)
    return MESH_CONFIG.rows(_settings(document, f"istiod {istiod}".strip()))


@returns(MESH_CONFIG)
@shaped("objects")
def mesh_config_table(objects: Sequence[Object], *, file: str = "") -> pd.DataFrame:
    """MeshConfig asked for: ConfigMaps `istio…` that hold one, and IstioOperators; other objects are left out.

    Raises:
        FormatError: a ConfigMap whose `mesh` is no YAML.
    """
    rows: list[dict[str, str]] = []
    for thing in objects:
        if thing.get("kind") == "IstioOperator":
            spec = thing.get("spec") or {}
            source = f"IstioOperator {metadata(thing, file=file)['name']}"
            rows += _settings(spec.get("meshConfig") or {}, source)
            rows += [
                {"source": source, "setting": key, "value": to_json(spec[key])}
                for key in ("profile", "revision", "values", "components")
                if key in spec
            ]
        elif thing.get("kind") == "ConfigMap" and "mesh" in (thing.get("data") or {}):
            name = metadata(thing, file=file)["name"]
            if name == "istio" or name.startswith("istio-"):
                rows += _settings(_yaml(thing["data"]["mesh"], name, file), f"ConfigMap {name}")
    return MESH_CONFIG.rows(rows)


def _yaml(text: str, name: str, file: str) -> Mapping[str, Any]:
    import yaml

    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise FormatError(f"mesh is no YAML: {error}", file=file, position=f"ConfigMap {name}") from error
    return document if isinstance(document, Mapping) else {}


def _settings(document: Mapping[str, Any], source: str, path: str = "") -> list[dict[str, str]]:
    rows: list[dict[str, str]] = []
    for key, value in document.items():
        name = f"{path}.{key}" if path else str(key)
        if isinstance(value, Mapping) and value:
            rows += _settings(value, source, name)
        else:
            rows.append({"source": source, "setting": name, "value": to_json(value)})
    return rows
