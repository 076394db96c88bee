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


def inspected(demo, write):
    """What `oc adm inspect` writes of a mesh: Lists of Kubernetes' kinds, a file for each object of Istio, logs."""
    for document in demo.documents("kubernetes"):
        plural = document.path.rpartition("/")[2].removesuffix(".json")
        by_space = {}
        for item in json.loads(demo.read(document))["items"]:
            by_space.setdefault(item["metadata"].get("namespace", ""), []).append(item)
        for space, items in by_space.items():
            group = items[0]["apiVersion"].rpartition("/")[0]
            place = f"namespaces/{space}/{group or 'core'}" if space else f"cluster-scoped-resources/{group or 'core'}"
            if group.endswith("istio.io"):
                for item in items:
                    write(f"{place}/{plural}/{item['metadata']['name']}.yaml", yaml.safe_dump(item).encode())
            else:
                body = {"apiVersion": items[0]["apiVersion"], "kind": items[0]["kind"] + "List", "items": items}
                write(f"{place}/{plural}.yaml", yaml.safe_dump(body, sort_keys=False).encode())
            if plural == "pods":
                for item in items:
                    name = item["metadata"]["name"]
                    write(f"namespaces/{space}/pods/{name}/{name}.yaml", yaml.safe_dump(item).encode())
    for document in demo.documents():
        parts = document.path.split("/")
        if parts[0] == "logs":
            pod, _, namespace = parts[1].rpartition(".")
            container = parts[-1].removesuffix(".log")
            write(f"namespaces/{namespace}/pods/{pod}/{container}/{container}/logs/current.log", demo.read(document))


ISTIOD = {
    "apiVersion": "v1",
    "kind": "PodList",
    "items": [
        {
            "metadata": {
                "name": f"istiod-{r}-1",
                "namespace": "istio-system",
                "labels": {"app": "istiod", "istio.io/rev": r},
            }
        }
        for r in ("default", "v1-27")
    ],
}
# what the scripts write, by the release of OpenShift Service Mesh: dump, expected, sync status
RELEASES = {
    3: ("config_dump_proxy.json", "config_dump_istiod.json", "v1-27/debug-syncz.json"),
    2: ("envoyConfiguration", "pilotConfiguration", "controlplane/synchronization"),
}


@pytest.fixture(params=RELEASES)
def gathered(request, demo, tmp_path):
    """A must-gather of each release: image folder, inspected objects and logs, and the script's own pages."""
    root = tmp_path / "must-gather.local.1" / "quay-io-istio-must-gather-sha256-0"
    dump, expected, sync = RELEASES[request.param]

    def write(name, data):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)

    inspected(demo, write)
    write("namespaces/istio-system/core/more.yaml", yaml.safe_dump(ISTIOD).encode())
    for document in demo.documents():
        parts = document.path.split("/")
        name, _, namespace = parts[1].rpartition(".")
        if parts[-1] == "config_dump.json":
            # 2>&1: a complaint of the command stands before the page
            complaint = b'Defaulted container "istio-proxy" out of: istio-proxy, app\n'
            write(f"namespaces/{namespace}/pods/{name}/{dump}", complaint + demo.read(document))
            write(f"namespaces/{namespace}/pods/{name}/{expected}", demo.read(document))
            write(f"namespaces/{namespace}/pods/{name}/proxy_stats", b"server.live: 1\n")
        elif parts[-1] == "syncz.json":
            write(f"namespaces/istio-system/{sync}", demo.read(document))
    secrets = b"kind: SecretList\nitems: [{metadata: {name: s}, data: {k: c2Vj}}]\n"
    write("namespaces/istio-system/core/secrets.yaml", secrets)
    write("namespaces/istio-system/core/broken.yaml", b"a: [")
    write("version", b"openshift-service-mesh/must-gather\n3.0.1\n")
    return request.param, root.parent


def test_a_must_gather_gives_the_tables_of_a_snapshot_of_the_same_state(demo, gathered):
    release, folder = gathered
    snapshot = Snapshot.open(folder)
    mesh, recorded = Mesh(snapshot), Mesh(demo)
    for name in ("clusters", "routes", "listeners", "access_log", "services", "virtual_services"):
        assert rows(mesh, name) == rows(recorded, name), name
    assert set(mesh.proxy_status().status) == set(recorded.proxy_status().status)
    # the first pod of the revision answered; before release 3 there is one control plane in a namespace
    assert set(mesh.proxy_status().istiod) == {"istiod-v1-27-1" if release == 3 else "istiod-default-1"}
    assert mesh.config_drift().empty and not mesh.absent("config_drift")
    assert mesh.endpoint_truth("catalog").verdict.tolist() == ["agrees"] * 3
    assert not any(b"c2Vj" in p.read_bytes() for p in snapshot.root.rglob("*") if p.is_file())
    assert any("broken.yaml" in note for note in snapshot.manifest.notes)
    assert any("proxy_stats" in note for note in snapshot.manifest.notes)


def test_a_page_that_holds_only_a_complaint_is_missing_with_it(demo, gathered):
    _, folder = gathered
    (path,) = list(folder.glob("*/namespaces/*/pods/webapp-*/config_dump_proxy.json")) or list(
        folder.glob("*/namespaces/*/pods/webapp-*/envoyConfiguration")
    )
    path.write_text('error: unable to upgrade connection: container not found ("istio-proxy")\n')
    snapshot = Snapshot.open(folder)
    (failed,) = snapshot.failed("config_dump")
    assert failed.proxy.startswith("webapp-") and "container not found" in failed.error
    assert len(snapshot.documents("config_dump")) == 4


def test_what_kiali_gather_leaves_tells_cluster_and_time_and_is_refused_alone(demo, tmp_path):
    manifest = {"cluster": "east", "prometheusBuildInfo": {"version": "3.1.0"}, "timestamp": "2026-11-20T09:00:00Z"}
    (tmp_path / "offline-manifest.json").write_text(json.dumps(manifest))
    (tmp_path / "prom-graph-gather.log").write_text('{"query": "up"}\n')
    with pytest.raises(
        FormatError, match=r"holds no document .*prom-graph-gather.log: answers of Prometheus"
    ) as caught:
        Snapshot.open(tmp_path)
    assert "kiali gather" in caught.value.hint
    (tmp_path / "a.yaml").write_text("apiVersion: v1\nkind: Service\nmetadata: {name: a, namespace: n}\n")
    snapshot = Snapshot.open(tmp_path)
    assert (snapshot.manifest.cluster, snapshot.manifest.created.isoformat()) == ("east", "2026-11-20T09:00:00+00:00")
    assert any("prom-graph-gather.log" in note for note in snapshot.manifest.notes)


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
