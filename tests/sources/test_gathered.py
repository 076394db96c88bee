"""Folders of other tools: must-gather layout, and plain YAML."""

from __future__ import annotations

import json

import pytest
import yaml

from meshnb.errors import FormatError
from meshnb.runbook.mesh import Mesh
from meshnb.sources.snapshot import Snapshot


@pytest.fixture(scope="module")
def demo():
    return Snapshot.open("demo")


def rows(mesh, name):
    frame = mesh.table(name).drop(columns=["file"], errors="ignore").astype(str)
    return sorted(map(tuple, frame.values.tolist()))


def test_a_must_gather_gives_the_tables_of_a_snapshot_of_the_same_state(demo, tmp_path):
    root = tmp_path / "must-gather" / "quay-io-sail-dev-istio-must-gather-sha256-0"

    def write(name, data):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)

    for document in demo.documents():
        parts = document.path.split("/")
        if parts[0] == "kubernetes":
            by_space = {}
            for item in json.loads(demo.read(document))["items"]:
                by_space.setdefault(item["metadata"].get("namespace", ""), []).append(item)
            plural = parts[1].removesuffix(".json")
            for space, items in by_space.items():
                body = {"apiVersion": items[0]["apiVersion"], "kind": items[0]["kind"] + "List", "items": items}
                place = f"namespaces/{space}/core" if space else "cluster-scoped-resources/core"
                write(f"{place}/{plural}.yaml", yaml.safe_dump(body, sort_keys=False).encode())
            continue
        pod, _, namespace = parts[1].rpartition(".")
        if parts[-1] == "config_dump.json":
            write(f"namespaces/{namespace}/pods/{pod}/config_dump_proxy.json", demo.read(document))
        elif parts[0] == "logs":
            container = parts[-1].removesuffix(".log")
            write(f"namespaces/{namespace}/pods/{pod}/{container}/{container}/logs/current.log", demo.read(document))
        elif parts[-1] == "syncz.json":
            write(f"namespaces/{namespace}/{pod}/debug-syncz.json", demo.read(document))
    write(
        "namespaces/istio-system/core/secrets.yaml",
        b"kind: SecretList\nitems: [{metadata: {name: s}, data: {k: c2Vj}}]\n",
    )
    write("namespaces/istio-system/core/broken.yaml", b"a: [")
    snapshot = Snapshot.open(tmp_path / "must-gather")
    gathered, recorded = Mesh(snapshot), Mesh(demo)
    for name in ("clusters", "routes", "listeners", "access_log", "services", "pods", "virtual_services"):
        assert rows(gathered, name) == rows(recorded, name), name
    assert set(gathered.proxy_status().status) == set(recorded.proxy_status().status)
    assert gathered.endpoint_truth("catalog").verdict.tolist() == ["agrees"] * 3
    assert not any(b"c2Vj" in p.read_bytes() for p in snapshot.root.rglob("*") if p.is_file())
    assert any("broken.yaml" in note for note in snapshot.manifest.notes)


def test_s10_17_yaml_that_is_not_applied_yet_is_read_like_a_mesh(tmp_path):
    """S10-17: a folder of YAML, before applying it."""
    (tmp_path / "catalog.yaml").write_text(
        "apiVersion: networking.istio.io/v1beta1\nkind: VirtualService\nmetadata: {name: catalog, namespace: n}\n"
        "spec: {hosts: [a], http: [{route: [{destination: {host: catalog, subset: v1}}]}]}\n---\n"
        "apiVersion: v1\nkind: Service\nmetadata: {name: catalog, namespace: n}\nspec: {ports: [{port: 80}]}\n"
    )
    mesh = Mesh(Snapshot.open(tmp_path))
    assert mesh.virtual_services().destination_host.tolist() == ["catalog.n.svc.cluster.local"]
    assert mesh.services().service.tolist() == ["catalog"]


def test_a_folder_of_something_else_is_refused(tmp_path):
    (tmp_path / "readme.txt").write_text("hello")
    with pytest.raises(FormatError, match="not a snapshot"):
        Snapshot.open(tmp_path)
    (tmp_path / "data.json").write_text('{"a": 1}')
    with pytest.raises(FormatError, match="holds no document"):
        Snapshot.open(tmp_path)


def test_what_is_left_out_of_a_folder_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr("meshnb.sources.gathered._MAX_FILES", 3)
    root = tmp_path / "gathered"
    root.mkdir()
    body = "apiVersion: v1\nkind: Service\nmetadata: {name: %s, namespace: shop}\n"
    for name in ("a", "b", "x", "y"):
        (root / f"{name}.yaml").write_text(body % name)
    (root / "b.yaml").unlink()
    (root / "b.yaml").symlink_to(root / "a.yaml")
    snapshot = Snapshot.open(root)
    assert Mesh(snapshot).objects("Service").name.tolist() == ["a", "x"]
    assert "Links are not followed: 1, the first is b.yaml." in snapshot.manifest.notes
    assert "Not read: 1 files and folders after the first 3." in snapshot.manifest.notes
