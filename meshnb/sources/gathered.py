"""Folders others gathered: must-gather and `kiali gather`, or plain YAML and JSON of objects, as snapshots.

What is looked for, at any depth:

    *.yaml *.yml *.json                                    objects of Kubernetes and Istio, alone or in Lists
    namespaces/NS/pods/POD/config_dump_proxy.json          what the proxy has (`config_dump.json` too)
    namespaces/NS/pods/POD/config_dump_istiod.json         what istiod would send it
    namespaces/NS/pods/POD/CONTAINER/…/logs/current.log    logs (`previous.log` too)
    namespaces/NS/[pods/]ISTIOD/debug-syncz.json           debug pages of istiod
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from meshnb.model.resources import RESOURCES
from meshnb.sources.snapshot import Snapshot, SnapshotWriter

_POD = re.compile(r"(?:^|/)namespaces/(?P<namespace>[^/]+)/(?:pods/)?(?P<pod>[^/]+)/(?P<rest>.+)$")
_LOG = re.compile(r"^(?P<container>[^/]+)/(?:[^/]+/)?logs/(?P<which>current|previous)\.log$")
_SUFFIXES = {".yaml", ".yml", ".json"}
_PLURALS = {resource.kind: resource.plural for resource in RESOURCES}
_MAX_FILES = 100_000


def is_gathered(folder: Path) -> bool:
    """Whether a folder holds objects or pages that can be read."""
    return any(path.suffix in _SUFFIXES for path in _files(folder)[0])


def _files(folder: Path) -> tuple[list[Path], list[str]]:
    """Files of a folder, and what of it is left out: links may lead anywhere, and a count has an end."""
    every = sorted(folder.rglob("*"))
    links = [path for path in every[:_MAX_FILES] if path.is_symlink()]
    left = [f"Links are not followed: {len(links)}, the first is {links[0].relative_to(folder)}."] if links else []
    if len(every) > _MAX_FILES:
        left.append(f"Not read: {len(every) - _MAX_FILES} files and folders after the first {_MAX_FILES}.")
    return [path for path in every[:_MAX_FILES] if path.is_file() and not path.is_symlink()], left


def open_gathered(folder: Path, target: Path, *, name: str) -> Snapshot:
    """Write what a folder holds as a snapshot.

    Args:
        folder: what was gathered.
        target: an empty folder for the snapshot.
        name: how the user named it.

    Raises:
        FormatError: nothing in it can be read.
    """
    writer = SnapshotWriter(target, source=name, command="gathered by another tool")
    found: dict[str, dict[tuple[str, str], Mapping[str, Any]]] = {}
    skipped: list[str] = []
    files, left = _files(folder)
    for path in files:
        relative = path.relative_to(folder).as_posix()
        if _page(writer, path, relative):
            continue
        if path.suffix not in _SUFFIXES:
            continue
        objects, problem = _objects(path)
        if problem:
            skipped.append(f"{relative}: {problem}")
        for item in objects:
            meta, plural = item.get("metadata") or {}, _PLURALS.get(str(item.get("kind", "")))
            if plural and isinstance(meta, Mapping) and meta.get("name"):
                found.setdefault(plural, {})[(str(meta.get("namespace", "")), str(meta["name"]))] = item
    for plural, items in sorted(found.items()):
        body = {"apiVersion": "v1", "kind": "List", "items": list(items.values())}
        data = json.dumps(body, default=str, separators=(",", ":")).encode() + b"\n"
        writer.add(f"kubernetes/{plural}.json", "kubernetes", data, obtained="files of the folder")
    writer.note("Made of a folder another tool gathered; it does not say when.")
    for text in left:
        writer.note(text)
    for text in skipped[:20]:
        writer.note(f"Not read: {text}")
    if len(skipped) > 20:
        writer.note(f"Not read: {len(skipped) - 20} more files.")
    writer.close()
    return Snapshot.open_written(target, name=name)


def _page(writer: SnapshotWriter, path: Path, relative: str) -> bool:
    """Copy a page or log of a pod, told by where it lies; false if it is none."""
    match = _POD.search(relative)
    if match is None:
        return False
    pod, rest = f"{match['pod']}.{match['namespace']}", match["rest"]
    log = _LOG.match(rest)
    if log:
        container = log["container"] + ("-previous" if log["which"] == "previous" else "")
        kind = "proxy_log" if log["container"] == "istio-proxy" else "container_log"
        writer.add(f"logs/{pod}/{container}.log", kind, path.read_bytes(), proxy=pod, obtained=relative)
    elif rest.rpartition("/")[2] in ("config_dump_proxy.json", "config_dump.json"):
        target = f"envoy/{pod}/config_dump.json"
        writer.add(target, "config_dump", path.read_bytes(), proxy=pod, obtained=relative)
    elif rest.rpartition("/")[2] == "config_dump_istiod.json":
        target = f"istiod/istiod.istio-system/debug/config_dump.{pod}.json"
        writer.add(target, "istiod_debug", path.read_bytes(), proxy=pod, obtained=relative)
    elif page := re.fullmatch(r"(?:[^/]+/)?debug-([\w]+)\.json", rest):
        writer.add(f"istiod/{pod}/debug/{page[1]}.json", "istiod_debug", path.read_bytes(), obtained=relative)
    else:
        return False
    return True


def _objects(path: Path) -> tuple[list[Mapping[str, Any]], str]:
    """Objects of a file, and why it could not be read."""
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        documents = list(yaml.load_all(path.read_bytes(), loader))
    except (yaml.YAMLError, ValueError) as error:
        return [], str(error).splitlines()[0]
    found = []
    for document in documents:
        if not isinstance(document, Mapping) or not isinstance(document.get("kind"), str):
            continue
        items, kind = document.get("items"), document["kind"]
        if not isinstance(items, list):
            found.append(document)
            continue
        default = (
            {"kind": kind.removesuffix("List"), "apiVersion": document.get("apiVersion", "")} if kind != "List" else {}
        )
        found += [{**default, **item} for item in items if isinstance(item, Mapping)]
    return found, ""
