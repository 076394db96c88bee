"""Questions about a mesh's components, on a snapshot."""

from __future__ import annotations

import json

import pytest

from meshnb.model.finding import Status
from meshnb.runbook.mesh import Mesh
from meshnb.sources.snapshot import SnapshotWriter

WORDS = "Error adding/updating cluster(s) outbound|80|v1|catalog.n.svc.cluster.local: no"


def pod(name, labels=None, containers=("app", "istio-proxy")):
    return {
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "n", "labels": labels or {}},
        "spec": {"containers": [{"name": c} for c in containers]},
        "status": {"phase": "Running"},
    }


@pytest.fixture
def mesh(tmp_path):
    writer = SnapshotWriter(tmp_path / "snapshot", source="test", cluster="test")

    def objects(plural, *items):
        document = {"kind": "List", "apiVersion": "v1", "items": list(items)}
        writer.add(f"kubernetes/{plural}.json", "kubernetes", json.dumps(document).encode())

    objects("pods", pod("a"), pod("b"), pod("c"), pod("istiod-1", {"app": "istiod"}, ("discovery",)))
    objects(
        "destinationrules",
        {
            "apiVersion": "networking.istio.io/v1",
            "kind": "DestinationRule",
            "metadata": {"name": "catalog", "namespace": "n"},
            "spec": {"host": "catalog", "subsets": [{"name": "v1"}]},
        },
    )
    syncz = [
        {
            "proxy": "a.n",
            "cluster_sent": "1",
            "cluster_acked": "0",
            "listener_sent": "1",
            "listener_acked": "1",
            "resources": {
                "type.googleapis.com/envoy.config.cluster.v3.Cluster": {"sent": "1", "acked": "0", "lastError": WORDS}
            },
        },
        {"proxy": "b.n", "cluster_sent": "1", "cluster_acked": "1", "listener_sent": "1", "listener_acked": "1"},
    ]
    writer.add("istiod/istiod-1.n/debug/syncz.json", "istiod_debug", json.dumps(syncz).encode())
    writer.add("istiod/istiod-1.n/debug/edsz.a.n.json", "istiod_debug", b"[]")
    writer.fail("istiod/istiod-1.n/debug/config_distribution.json", "istiod_debug", "404 Not Found")
    return Mesh(writer.close())


def test_proxies_in_trouble_are_shown_first_with_a_column_per_type(mesh):
    matrix = mesh.sync_matrix().df
    assert matrix.proxy.tolist() == ["a.n", "b.n"]
    assert matrix.CDS.tolist() == ["ERROR", "SYNCED"]
    assert matrix.istiod.tolist() == ["istiod-1", "istiod-1"]
    assert "1 not up to date" in repr(mesh.sync_matrix())


def test_a_rejection_names_words_and_object(mesh):
    assert mesh.rejections().df[["type", "error", "proxies"]].values.tolist() == [["CDS", WORDS, 1]]
    (finding,) = mesh.check("MNB0311")
    assert str(finding.subject) == "DestinationRule n/catalog"
    assert WORDS in finding.summary


def test_a_pod_no_istiod_lists_is_shown_and_found(mesh):
    assert mesh.members().df.pod.tolist()[0] == "c"
    (finding,) = mesh.check("MNB0312")
    assert (finding.status, finding.subject.name) == (Status.FAIL, "c")


def test_the_load_of_each_istiod_is_counted(mesh):
    assert mesh.istiod_load().df[["istiod", "proxies", "stale", "rejected"]].values.tolist() == [["istiod-1", 2, 0, 1]]


def test_sd_25_t7_what_each_istiod_was_asked_and_which_endpoints_are_gone(mesh):
    """SD-25, T7: the index of what answered; what a release removed is named as removed."""
    table = mesh.debug_endpoints().set_index("endpoint")
    assert table.bytes.notna().to_dict() == {"config_distribution": False, "edsz": True, "syncz": True}
    assert table.loc["edsz", "proxy"] == "a.n"
    assert table.loc["config_distribution", "removed"] == "1.23"
    assert table.loc["config_distribution", "error"] == "404 Not Found"
    assert table.state.to_dict() == {"config_distribution": "removed", "edsz": "answered", "syncz": "answered"}


def test_s10_09_the_sync_runbooks_checks_are_unknown_without_an_istiod(tmp_path):
    """S10-09: what could not be looked at is never a pass."""
    writer = SnapshotWriter(tmp_path / "snapshot", source="test", cluster="test")
    writer.add("kubernetes/pods.json", "kubernetes", b'{"kind": "List", "items": []}')
    found = Mesh(writer.close()).check("MNB0310", "MNB0311", "MNB0312", "MNB0313", "MNB0314", "MNB0315")
    assert {f.status for f in found} == {Status.UNKNOWN}


def test_sd_32_what_istiod_would_send_can_be_compared_with_what_envoy_has(tmp_path):
    """SD-32: expected against actual, by name in a table and in full by meshnb.diff."""
    import shutil

    import meshnb
    from meshnb.errors import NotFound
    from meshnb.sources.snapshot import Snapshot

    proxy = "webapp-8dc87795f-web01.istioinaction"
    folder = tmp_path / "s"
    shutil.copytree(Snapshot.open("demo").root, folder)
    dump = json.loads((folder / "envoy" / proxy / "config_dump.json").read_text())
    clusters = next(c for c in dump["configs"] if c["@type"].endswith("ClustersConfigDump"))
    left_out = clusters["dynamic_active_clusters"].pop()["cluster"]["name"]
    path = f"istiod/istiod-1.istio-system/debug/config_dump.{proxy}.json"
    (folder / path).parent.mkdir(parents=True, exist_ok=True)
    (folder / path).write_text(json.dumps(dump))
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["documents"].append({"path": path, "kind": "istiod_debug", "proxy": proxy})
    (folder / "manifest.json").write_text(json.dumps(manifest))
    mesh = Mesh(Snapshot.open(folder))
    assert mesh.config_drift()[["proxy", "type", "name", "only_in"]].values.tolist() == [
        [proxy, "CDS", left_out, "envoy"]
    ]
    (finding,) = mesh.check("MNB0316").status("fail")
    assert finding.subject.name == "webapp-8dc87795f-web01"
    assert left_out in str(meshnb.diff(mesh.expected_config(proxy), mesh.config_dump(proxy)).to_dict())
    with pytest.raises(NotFound, match="not asked"):
        mesh.expected_config("other.n")
