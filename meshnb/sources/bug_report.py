"""Archives of `istioctl bug-report`, whole or half-finished, as snapshots."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from meshnb.model.manifest import Document, Manifest
from meshnb.model.resources import RESOURCES
from meshnb.sources.snapshot import Snapshot, SnapshotWriter

_TOP = "bug-report"
_OBJECTS = ("k8s-resources", "k8s-cluster-resources", "crs", "nodes", "pods")
_ENVOY = {
    "config_dump?include_eds": ("config_dump.json", "config_dump"),
    # some tools that unpack cannot write a question mark
    "config_dump_include_eds": ("config_dump.json", "config_dump"),
    "config_dump": ("config_dump.json", "config_dump"),
    "clusters": ("clusters.json", "clusters"),
    "listeners": ("listeners.json", "listeners"),
    "server_info": ("server_info.json", "server_info"),
    "certs": ("certs.json", "certs"),
    "stats/prometheus": ("stats.prom", "stats"),
}
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z")
_PLURALS = {resource.kind: resource.plural for resource in RESOURCES}


def find_bug_report(folder: Path) -> Path | None:
    """The folder of a bug report: this one, or `bug-report` in it; `None` if it is none.

    Archives written with `--dir` lack the folder `bug-report`, half-finished ones any of the folders below it.
    """
    for root in (folder, folder / _TOP):
        named = (root / "bug-report.log").is_file() or (root / "cluster").is_dir()
        if named and any((root / name).exists() for name in ("proxies", "istio", "cluster", "versions")):
            return root
    return None


def open_bug_report(root: Path, target: Path, *, name: str) -> Snapshot:
    """Write the contents of a bug report as a snapshot.

    What the report lacks is recorded as missing: pages of a proxy come all or not at all, so a proxy without a folder
    is one whose port did not answer.

    Args:
        root: folder that `find_bug_report` found.
        target: an empty folder for the snapshot.
        name: how the user named the report.
    """
    writer = SnapshotWriter(target, source=name, command="istioctl bug-report")
    writer.note("Made of an istioctl bug-report.")
    pods = _objects(root, writer)
    _proxies(root, writer, pods)
    _istiods(root, writer)
    left = sorted({p.relative_to(root).parts[0] for p in root.iterdir()} - {"cluster", "proxies", "istio"})
    if left:
        writer.note(f"Not looked at: {', '.join(left)}.")
    snapshot = writer.close()
    created = _created(root)
    if created is None:
        manifest = replace(
            snapshot.manifest, notes=(*snapshot.manifest.notes, "The report tells no time of its making.")
        )
    else:
        manifest = replace(snapshot.manifest, created=created)
    manifest = replace(manifest, versions={**manifest.versions, **_versions(root)})
    return _with_manifest(snapshot, manifest, name)


def _with_manifest(snapshot: Snapshot, manifest: Manifest, name: str) -> Snapshot:
    (snapshot.root / "manifest.json").write_text(manifest.to_json(), encoding="utf-8")
    return Snapshot(snapshot.root, manifest, name=name)


def _objects(root: Path, writer: SnapshotWriter) -> list[Mapping[str, Any]]:
    """Objects of all files, each once, in a List per kind; the pods come back."""
    found: dict[str, dict[tuple[str, str], Mapping[str, Any]]] = {}
    others: dict[str, int] = {}
    for file in _OBJECTS:
        path = root / "cluster" / file
        if not path.is_file():
            writer.note(f"The report has no cluster/{file}.")
            continue
        items, problem = _yaml_items(path)
        if problem:
            writer.note(f"cluster/{file} is damaged: {problem}; {len(items)} objects could be read.")
        for item in items:
            kind, meta = str(item.get("kind", "")), item.get("metadata") or {}
            if kind not in _PLURALS:
                others[kind] = others.get(kind, 0) + 1
            elif isinstance(meta, Mapping) and meta.get("name"):
                found.setdefault(_PLURALS[kind], {})[(str(meta.get("namespace", "")), str(meta["name"]))] = item
    for plural, named in sorted(found.items()):
        body = {"apiVersion": "v1", "kind": "List", "items": list(named.values())}
        data = json.dumps(body, default=str, separators=(",", ":")).encode() + b"\n"
        writer.add(f"kubernetes/{plural}.json", "kubernetes", data, obtained="cluster/ of the report")
    if others:
        listed = ", ".join(f"{kind or 'no kind'} {count}" for kind, count in sorted(others.items()))
        writer.note(f"Objects of kinds meshnb does not read: {listed}.")
    return list(found.get("pods", {}).values())


def _yaml_items(path: Path) -> tuple[list[Mapping[str, Any]], str]:
    """Items of a YAML List, and what is wrong with the file; of a damaged one the items that are whole."""
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    text = path.read_bytes()
    try:
        return _objects_in(yaml.load(text, loader)), ""  # noqa: S506 - a safe loader
    except yaml.YAMLError as error:
        problem = str(error).splitlines()[0]
    found: list[Mapping[str, Any]] = []
    for part in re.split(rb"^(?=- )", text, flags=re.MULTILINE)[1:]:
        try:
            found += _objects_in({"items": yaml.load(part, loader)})  # noqa: S506 - a safe loader
        except yaml.YAMLError:
            continue
    return found, problem


def _objects_in(document: Any) -> list[Mapping[str, Any]]:
    items = document.get("items", [document]) if isinstance(document, Mapping) else []
    return [item for item in items or () if isinstance(item, Mapping)]


def _proxies(root: Path, writer: SnapshotWriter, pods: list[Mapping[str, Any]]) -> None:
    seen = set()
    for folder in sorted((root / "proxies").glob("*/*")):
        namespace, pod = folder.parent.name, folder.name
        proxy = f"{pod}.{namespace}"
        files = {str(p.relative_to(folder)): p for p in sorted(folder.rglob("*")) if p.is_file()}
        for name, (target, kind) in _ENVOY.items():
            if name in files and f"envoy/{proxy}/{target}" not in seen:
                seen.add(f"envoy/{proxy}/{target}")
                _copy(writer, files[name], f"envoy/{proxy}/{target}", kind, proxy)
        for name, path in files.items():
            if name.endswith(".log"):
                kind = "proxy_log" if name == "istio-proxy.log" else "container_log"
                _copy(writer, path, f"logs/{proxy}/{name}", kind, proxy)
            elif name == "netstat":
                _copy(writer, path, f"agent/{proxy}/ports.txt", "agent", proxy)
    meshed = {f"{p['metadata']['name']}.{p['metadata'].get('namespace', 'default')}" for p in pods if _has_proxy(p)}
    known = {path.parent.name for path in (root / "proxies").glob("*/*")} if (root / "proxies").is_dir() else set()
    every = meshed | {f"{p.name}.{p.parent.name}" for p in (root / "proxies").glob("*/*")}
    for proxy in sorted(every):
        for target, kind in (("config_dump.json", "config_dump"), ("clusters.json", "clusters")):
            if f"envoy/{proxy}/{target}" not in seen:
                space = proxy.rpartition(".")[2]
                why = (
                    "the report has no pages of this proxy" if space in known else "its namespace is not in the report"
                )
                writer.fail(f"envoy/{proxy}/{target}", kind, why, proxy=proxy)


def _has_proxy(pod: Mapping[str, Any]) -> bool:
    spec, status = pod.get("spec") or {}, pod.get("status") or {}
    containers = [*(spec.get("containers") or ()), *(spec.get("initContainers") or ())]
    return status.get("phase") == "Running" and any(c.get("name") == "istio-proxy" for c in containers)


def _istiods(root: Path, writer: SnapshotWriter) -> None:
    for folder in sorted((root / "istio").glob("*/*")):
        name = f"{folder.name}.{folder.parent.name}"
        pages = sorted((folder / "debug").glob("*")) if (folder / "debug").is_dir() else []
        for page in pages:
            _copy(writer, page, f"istiod/{name}/debug/{page.name}.json", "istiod_debug", "")
        if not pages:
            why = "the report has no debug pages of this istiod"
            writer.fail(f"istiod/{name}/debug/syncz.json", "istiod_debug", why)
        for file, target, kind in (
            ("metrics", f"istiod/{name}/metrics.prom", "istiod_metrics"),
            ("discovery.log", f"logs/{name}/discovery.log", "container_log"),
        ):
            if (folder / file).is_file():
                _copy(writer, folder / file, target, kind, "")


def _copy(writer: SnapshotWriter, path: Path, target: str, kind: str, proxy: str) -> None:
    document = Document(target, kind, proxy=proxy, obtained=f"{path.parent.name}/{path.name} of the report")
    writer.add(document.path, kind, path.read_bytes(), proxy=proxy, obtained=document.obtained)


def _created(root: Path) -> datetime | None:
    """When the report was made: the last time its own log tells, else the newest one of a log of istiod."""
    candidates = [root / "bug-report.log", *sorted((root / "istio").glob("*/*/discovery.log"))]
    for path in candidates:
        times = _TIME.findall(path.read_text("utf-8", "replace")) if path.is_file() else []
        if times:
            return datetime.fromisoformat(max(times)).astimezone(UTC)
    return None


def _versions(root: Path) -> dict[str, str]:
    path = root / "versions"
    text = path.read_text("utf-8", "replace") if path.is_file() else ""
    match = re.search(r"(?i)control[ -]?plane[^\d]{0,200}?(\d+\.\d+\.\d+[\w.-]*)", text)
    return {"istio": match[1]} if match else {}
