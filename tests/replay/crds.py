"""Istio's own definitions of its kinds, where this machine has them: no copy of them is in this repository.

They lie in the Go module istio.io/api; `go mod download istio.io/api@v1.24.2` fetches it.
"""

from __future__ import annotations

import os
import subprocess
from functools import cache
from pathlib import Path

import jsonschema
import yaml

RELEASE = "v1.24.2"
_FILE = "kubernetes/customresourcedefinitions.gen.yaml"


@cache
def definitions_file() -> Path | None:
    """The file of definitions: named by MESHNB_ISTIO_CRDS, or in Go's cache of modules."""
    if named := os.environ.get("MESHNB_ISTIO_CRDS"):
        return Path(named)
    try:
        done = subprocess.run(["go", "env", "GOMODCACHE"], capture_output=True, text=True, check=True, timeout=30)
    except (OSError, subprocess.SubprocessError):
        return None
    path = Path(done.stdout.strip()) / "istio.io" / f"api@{RELEASE}" / _FILE
    return path if path.is_file() else None


@cache
def definitions(path: Path) -> dict[tuple[str, str], dict]:
    """(apiVersion, kind) → JSON Schema that refuses fields it does not know, as `kubectl apply --validate=strict`."""
    found = {}
    for document in yaml.load_all(path.read_bytes(), getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
        if not document:
            continue
        spec = document["spec"]
        for version in spec["versions"]:
            schema = _strict(version["schema"]["openAPIV3Schema"])
            schema["properties"] |= {"apiVersion": {}, "kind": {}, "metadata": {"type": "object"}}
            found[(f"{spec['group']}/{version['name']}", spec["names"]["kind"])] = schema
    return found


def _strict(schema):
    if isinstance(schema, list):
        return [_strict(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: _strict(part) for key, part in schema.items() if not key.startswith("x-") and key != "description"}
    if isinstance(schema.get("properties"), dict):
        made["properties"] = {name: _strict(part) for name, part in schema["properties"].items()}
        # parts of oneOf and anyOf name single fields of the object around them
        if schema.get("type") == "object" and not schema.get("x-kubernetes-preserve-unknown-fields"):
            made.setdefault("additionalProperties", False)
    if schema.get("x-kubernetes-int-or-string"):
        made = {"type": ["integer", "string"]}
    return made


def check(item) -> None:
    """Raise what Istio's definition has against an object.

    Raises:
        jsonschema.ValidationError: it does not fit.
        KeyError: the release has no such kind in that version.
    """
    path = definitions_file()
    assert path is not None
    jsonschema.validate(item, definitions(path)[(item["apiVersion"], item["kind"])])
