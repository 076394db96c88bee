"""istioctl bug-report archives: built by the documented layout from a recorded mesh, whole and half-finished."""

from __future__ import annotations

import io
import json
import tarfile

import pytest
import yaml

from meshnb.errors import FormatError
from meshnb.model.finding import Status
from meshnb.runbook.mesh import Mesh
from meshnb.sources.snapshot import Snapshot

_PAGES = {
    "config_dump.json": "config_dump?include_eds",
    "certs.json": "certs",
    "server_info.json": "server_info",
    "stats.prom": "stats/prometheus",
}
_CLUSTER_WIDE = {"Namespace", "Node"}


def text_of_clusters(data):
    """`/clusters` as the report has it: the text form of the recorded JSON."""
    lines = []
    for cluster in json.loads(data)["cluster_statuses"]:
        name = cluster["name"]
        lines.append(f"{name}::added_via_api::{str(cluster.get('added_via_api', False)).lower()}")
        for host in cluster.get("host_statuses", []):
            socket = host["address"].get("socket_address")
            if socket is None:
                continue
            where = f"{name}::{socket['address']}:{socket['port_value']}"
            stats = [(s["name"], s.get("value", "0")) for s in host.get("stats", [])]
            for key, value in (
                *stats,
                ("hostname", host.get("hostname", "")),
                ("health_flags", "healthy"),
                ("weight", host.get("weight", 1)),
                ("priority", 0),
            ):
                lines.append(f"{where}::{key}::{value}")
    return "\n".join(lines).encode() + b"\n"


def layout(snapshot, top="bug-report/"):
    """Path → bytes of a bug report of the mesh a snapshot shows."""
    time = f"{snapshot.manifest.created:%Y-%m-%dT%H:%M:%S.%fZ}"
    files = {f"{top}bug-report.log": f"2026-11-20T00:00:00Z\tinfo\tbegun\n{time}\tinfo\tdone\n".encode()}
    files[f"{top}versions"] = b"client version: 1.17.8\ncontrol plane version: 1.17.8\n"
    namespaced, cluster, custom = [], [], []
    for document in snapshot.documents("kubernetes"):
        for item in json.loads(snapshot.read(document))["items"]:
            custom_one = item["apiVersion"].split("/")[0].endswith("istio.io")
            (custom if custom_one else cluster if item["kind"] in _CLUSTER_WIDE else namespaced).append(item)
    for name, items in (("k8s-resources", namespaced), ("k8s-cluster-resources", cluster), ("crs", custom)):
        body = {"apiVersion": "v1", "kind": "List", "items": items}
        files[f"{top}cluster/{name}"] = yaml.safe_dump(body, sort_keys=False).encode()
    files[f"{top}cluster/secrets"] = b"NAMESPACE   NAME   TYPE   DATA   AGE\n"
    for document in snapshot.documents():
        parts = document.path.split("/")
        pod, _, namespace = parts[1].rpartition(".") if len(parts) > 2 else ("", "", "")
        if parts[0] == "envoy" and parts[2] in _PAGES:
            files[f"{top}proxies/{namespace}/{pod}/{_PAGES[parts[2]]}"] = snapshot.read(document)
        elif parts[0] == "envoy" and parts[2] == "clusters.json":
            files[f"{top}proxies/{namespace}/{pod}/clusters"] = text_of_clusters(snapshot.read(document))
        elif parts[0] == "logs" and parts[2] == "istio-proxy.log":
            files[f"{top}proxies/{namespace}/{pod}/istio-proxy.log"] = snapshot.read(document)
        elif parts[0] == "istiod" and parts[2] == "debug":
            files[f"{top}istio/{namespace}/{pod}/debug/{parts[3].removesuffix('.json')}"] = snapshot.read(document)
        elif parts[0] == "istiod":
            files[f"{top}istio/{namespace}/{pod}/metrics"] = snapshot.read(document)
    return files


def archive(path, files):
    with tarfile.open(path, "w:gz") as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return path


@pytest.fixture(scope="module")
def demo():
    return Snapshot.open("demo")


def rows(mesh, name, drop=("file",)):
    frame = mesh.table(name).drop(columns=list(drop), errors="ignore").astype(str)
    return sorted(map(tuple, frame.values.tolist()))


@pytest.mark.parametrize("top", ["bug-report/", ""])
def test_a_report_gives_the_tables_of_a_snapshot_of_the_same_state(demo, tmp_path, top):
    report = Mesh(Snapshot.open(archive(tmp_path / "bug-report.tar.gz", layout(demo, top))))
    recorded = Mesh(demo)
    for name in ("clusters", "routes", "listeners", "secrets", "access_log", "services", "virtual_services", "pods"):
        assert rows(report, name) == rows(recorded, name), name
    ages = ("age_s", "istiod_version")
    assert rows(report, "proxy_status", ages) == rows(recorded, "proxy_status", ages)
    keys = ["proxy", "cluster", "address", "port", "health_status"]
    live = recorded.endpoints()
    live = live[live.cluster.str.startswith("outbound")]
    told = report.endpoints()
    told = told[told.cluster.str.startswith("outbound")]
    assert sorted(told[keys].values.tolist()) == sorted(live[keys].values.tolist())
    assert report.endpoint_truth("catalog").verdict.tolist() == ["agrees"] * 3
    assert report.snapshot.manifest.versions["istio"] == "1.17.8"
    assert report.snapshot.manifest.created == demo.manifest.created


def test_an_unpacked_report_is_read_and_not_written_to(demo, tmp_path):
    for name, data in layout(demo).items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(data)
    before = sorted(p for p in tmp_path.rglob("*"))
    assert len(Mesh(Snapshot.open(tmp_path)).proxies) == 5
    assert sorted(p for p in tmp_path.rglob("*")) == before


def test_a_half_finished_report_says_what_it_lacks(demo, tmp_path):
    files = {
        name: data
        for name, data in layout(demo).items()
        if "/webapp-" not in name and "/debug/" not in name and not name.endswith("crs")
    }
    files["bug-report/cluster/k8s-resources"] += b"- apiVersion: v1\n  kind: [cut"  # as if the disk was full
    snapshot = Snapshot.open(archive(tmp_path / "bug-report.tar.gz", files))
    missing = {d.path: d.error for d in snapshot.failed()}
    lacking = missing["envoy/webapp-8dc87795f-web01.istioinaction/config_dump.json"]
    assert lacking == "the report has no pages of this proxy"
    assert any("k8s-resources is damaged" in note for note in snapshot.manifest.notes)
    assert len(Mesh(snapshot).pods()) == 6
    assert any("no cluster/crs" in note for note in snapshot.manifest.notes)
    mesh = Mesh(snapshot)
    assert {f.status for f in mesh.check("MNB0310")} == {Status.UNKNOWN}
    assert len(mesh.clusters().proxy.unique()) == 4


def test_secrets_of_a_full_report_are_not_read(demo, tmp_path):
    files = layout(demo)
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "s", "namespace": "n"},
        "data": {"k": "c2VjcmV0"},
    }
    body = yaml.safe_load(files["bug-report/cluster/k8s-resources"])
    body["items"].append(secret)
    files["bug-report/cluster/k8s-resources"] = yaml.safe_dump(body).encode()
    snapshot = Snapshot.open(archive(tmp_path / "r.tar.gz", files))
    assert not any(b"c2VjcmV0" in p.read_bytes() for p in snapshot.root.rglob("*") if p.is_file())
    assert any("Secret 1" in note for note in snapshot.manifest.notes)


def test_an_archive_of_something_else_is_still_refused(tmp_path):
    with pytest.raises(FormatError, match="not a snapshot"):
        Snapshot.open(archive(tmp_path / "x.tar.gz", {"readme.txt": b"hello", "other.txt": b"x"}))
