"""Folders others gathered as snapshots: must-gather of OpenShift Service Mesh, `kiali gather`, plain YAML and JSON.

What is looked for, at any depth (the first three are what `oc adm inspect` writes):

    *.yaml *.yml *.json                                    objects of Kubernetes and Istio, alone or in Lists
    namespaces/NS/pods/POD/CONTAINER/…/logs/current.log    logs (`previous.log`, `previous.insecure.log` too)
    namespaces/NS/pods/POD/POD.yaml                        the pod
    namespaces/NS/pods/POD/config_dump_proxy.json          what the proxy has; before release 3 `envoyConfiguration`
    namespaces/NS/pods/POD/config_dump_istiod.json         what istiod would send it; before `pilotConfiguration`
    namespaces/NS/REVISION/debug-syncz.json                sync status told by the first istiod of the revision; before
                                                           `namespaces/NS/controlplane/synchronization`
    offline-manifest.json                                  of `kiali gather`: cluster and time; its recorded queries
                                                           (`prom-graph-gather.log`) are Kiali's own and not read
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from meshnb.errors import FormatError
from meshnb.model.resources import RESOURCES
from meshnb.sources.snapshot import Snapshot, SnapshotWriter

_POD = re.compile(r"(?:^|/)namespaces/(?P<namespace>[^/]+)/pods/(?P<pod>[^/]+)/(?P<rest>.+)$")
_LOG = re.compile(r"^(?P<container>[^/]+)/(?:[^/]+/)?logs/(?P<which>current|previous(?:\.insecure)?)\.log$")
_SYNC = re.compile(
    r"(?:^|/)namespaces/(?P<namespace>[^/]+)/(?P<revision>[^/]+)/(?:debug-(?P<page>\w+)\.json|(?P<old>synchronization))$"
)
_DUMPS = ("config_dump_proxy.json", "config_dump.json", "envoyConfiguration")
_EXPECTED = ("config_dump_istiod.json", "pilotConfiguration")
_KIALI = "offline-manifest.json"
_OF_NO_USE = {
    "proxy_stats": "Envoy's statistics in its own words, without labels",
    "prom-graph-gather.log": "answers of Prometheus to Kiali's own queries",
}
_SUFFIXES = {".yaml", ".yml", ".json"}
_PLURALS = {resource.kind: resource.plural for resource in RESOURCES}
_MAX_FILES = 100_000


def is_gathered(folder: Path) -> bool:
    """Whether a folder holds objects or pages that can be read."""
    return any(path.suffix in _SUFFIXES or path.name in (*_DUMPS, *_EXPECTED) for path in _files(folder)[0])


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
    pages: list[tuple[Path, str]] = []
    files, left = _files(folder)
    for path in files:
        relative = path.relative_to(folder).as_posix()
        if _pod_page(writer, path, relative):
            continue
        if (_POD.search(relative) and path.name in _EXPECTED) or _SYNC.search(relative):
            pages.append((path, relative))
            continue
        if path.name in _OF_NO_USE:
            skipped.append(f"{relative}: {_OF_NO_USE[path.name]}")
        if path.suffix not in _SUFFIXES or path.name == _KIALI:
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
    istiods = _Istiods(list(found.get("pods", {}).values()))
    for path, relative in pages:
        _istiod_page(writer, path, relative, istiods)
    for text in [*left, *(f"Not read: {text}" for text in skipped[:20])]:
        writer.note(text)
    if len(skipped) > 20:
        writer.note(f"Not read: {len(skipped) - 20} more files.")
    _told_by_kiali(writer, files)
    snapshot = writer.close()
    if not snapshot.documents():
        why = f": {skipped[0]}" if skipped else ""
        hint = "give the folder of a must-gather, or YAML of objects; `kiali gather` leaves no state of a mesh"
        raise FormatError(f"the folder holds no document that can be read{why}", file=name, hint=hint)
    return Snapshot.open_written(target, name=name)


def _told_by_kiali(writer: SnapshotWriter, files: list[Path]) -> None:
    """Cluster and time, which nothing else in the folder tells."""
    manifest = next((path for path in files if path.name == _KIALI), None)
    try:
        told = json.loads(manifest.read_bytes()) if manifest else {}
        created = datetime.fromisoformat(told["timestamp"]).astimezone(UTC)
    except (ValueError, KeyError, TypeError):
        writer.note("Made of a folder another tool gathered; it does not say when.")
        return
    writer.created(created, cluster=str(told.get("cluster") or ""))
    writer.note("Made of a folder another tool gathered.")


class _Istiods:
    """Which pod of istiod a page of a revision, or about a pod, is of: as the script that gathers, the first."""

    def __init__(self, pods: list[Mapping[str, Any]]) -> None:
        meta = [pod["metadata"] for pod in pods]
        self._revisions = {
            (m.get("namespace", ""), m["name"]): (m.get("annotations") or {}).get("istio.io/rev", "") for m in meta
        }
        named = [m for m in meta if (m.get("labels") or {}).get("app") in ("istiod", "pilot")]
        self._istiods = sorted(
            ((m.get("labels") or {}).get("istio.io/rev", ""), m["name"], m.get("namespace", "")) for m in named
        )

    def of(self, revision: str, namespace: str = "") -> str:
        """`POD.NAMESPACE` of the first istiod of a revision; of the first of all where none is labelled with it."""
        spaces = [i for i in self._istiods if namespace in ("", i[2])] or self._istiods
        for _, name, space in [*(i for i in spaces if i[0] == revision), *spaces]:
            return f"{name}.{space}"
        return f"istiod.{namespace or 'istio-system'}"

    def revision(self, namespace: str, pod: str) -> str:
        """The revision that injected a pod."""
        return str(self._revisions.get((namespace, pod), ""))


def _pod_page(writer: SnapshotWriter, path: Path, relative: str) -> bool:
    """Copy a log or dump of a pod, told by where it lies; false if it is none."""
    match = _POD.search(relative)
    if match is None:
        return False
    pod, rest = f"{match['pod']}.{match['namespace']}", match["rest"]
    log = _LOG.match(rest)
    if log:
        container = log["container"] + ("" if log["which"] == "current" else "-previous")
        kind = "proxy_log" if log["container"] == "istio-proxy" else "container_log"
        writer.add(f"logs/{pod}/{container}.log", kind, path.read_bytes(), proxy=pod, obtained=relative)
        return True
    if rest not in _DUMPS:
        return False
    _add_json(writer, path, (f"envoy/{pod}/config_dump.json", "config_dump", pod), relative)
    return True


def _istiod_page(writer: SnapshotWriter, path: Path, relative: str, istiods: _Istiods) -> None:
    """Copy a page of istiod to the folder of the pod it is of."""
    if match := _POD.search(relative):
        pod, space = match["pod"], match["namespace"]
        name = istiods.of(istiods.revision(space, pod))
        target = f"istiod/{name}/debug/config_dump.{pod}.{space}.json"
        _add_json(writer, path, (target, "istiod_debug", f"{pod}.{space}"), relative)
    elif match := _SYNC.search(relative):
        name = istiods.of(match["revision"], match["namespace"])
        _add_json(writer, path, (f"istiod/{name}/debug/{match['page'] or 'syncz'}.json", "istiod_debug", ""), relative)


def _add_json(writer: SnapshotWriter, path: Path, document: tuple[str, str, str], relative: str) -> None:
    """Copy a page; scripts write what a command complains of into the same file, before the page or instead of it."""
    (target, kind, proxy), data = document, path.read_bytes()
    start = re.search(rb"^[\[{]", data, re.MULTILINE)
    if start is None:
        said = data[:200].decode("utf-8", "replace").strip() or "the file is empty"
        writer.fail(target, kind, said, proxy=proxy, obtained=relative)
    else:
        writer.add(target, kind, data[start.start() :], proxy=proxy, obtained=relative)


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
