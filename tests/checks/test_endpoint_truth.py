"""Kubernetes, istiod and Envoy on who is behind a service: real Envoys, with what Kubernetes says changed."""

from __future__ import annotations

import json
import shutil

import pytest

from meshnb.checks.endpoint_join import join_endpoints
from meshnb.errors import NotFound
from meshnb.model.finding import Status
from meshnb.runbook.mesh import Mesh
from meshnb.sources.snapshot import Snapshot

V1, V1_IP = "catalog-5d4f7c9b8-v1aaa", "127.0.40.11"
HOST = "catalog.istioinaction.svc.cluster.local"


@pytest.fixture
def change(tmp_path):
    """The healthy demo, with its Kubernetes objects changed and pages of istiod in place of those recorded."""
    folder = tmp_path / "changed"
    shutil.copytree(Snapshot.open("demo").root, folder)

    def make(kubernetes=None, istiod=None):
        for plural, edit in (kubernetes or {}).items():
            path = folder / "kubernetes" / f"{plural}.json"
            document = json.loads(path.read_bytes())
            document["items"] = [item for item in map(edit, document["items"]) if item is not None]
            path.write_text(json.dumps(document))
        manifest = json.loads((folder / "manifest.json").read_text())
        for name, document in (istiod or {}).items():
            path = f"istiod/istiod-1.istio-system/debug/{name}.json"
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(json.dumps(document))
            others = [known for known in manifest["documents"] if not known["path"].endswith(f"/debug/{name}.json")]
            manifest["documents"] = [*others, {"path": path, "kind": "istiod_debug"}]
        (folder / "manifest.json").write_text(json.dumps(manifest))
        return Mesh(Snapshot.open(folder))

    return make


def without_pod(item):
    return None if item["metadata"]["name"] == V1 else item


def without_address(item):
    return {**item, "endpoints": [e for e in item["endpoints"] if V1_IP not in e["addresses"]]}


GONE = {"pods": without_pod, "endpointslices": without_address}


def shards(*addresses):
    endpoints = [{"Addresses": [a], "EndpointPort": 3000, "WorkloadName": "catalog"} for a in addresses]
    return {"endpointShardz": {HOST: {"istioinaction": {"Shards": {"Kubernetes/lab": endpoints}}}}}


def test_a_healthy_mesh_agrees():
    mesh = Mesh(Snapshot.open("demo"))
    truth = mesh.endpoint_truth("catalog")
    assert truth.verdict.tolist() == ["agrees"] * 3
    assert (truth.configured == truth.proxies).all() and (truth.healthy == 5).all()
    assert truth.requests.sum() == 120
    assert truth.pod.tolist() == [V1, "catalog-v2-6c8d9f7b6-aaaa1", "catalog-v2-6c8d9f7b6-bbbb2"]
    codes = ["MNB0410", "MNB0411", "MNB0412", "MNB0413", "MNB0414", "MNB0415", "MNB0416"]
    assert {f.status for f in mesh.check(*codes)} == {Status.PASS}


def test_s11_01_an_endpoint_that_is_gone_from_kubernetes_is_a_ghost(change):
    """S11-01: traffic to instances that are gone; pod, proxies and where the truth stopped."""
    mesh = change(GONE)
    row = mesh.endpoint_truth("catalog").iloc[0]
    assert (row.address, row.verdict, row.workload, row.was_pod) == (V1_IP, "ghost", "catalog", V1)
    assert row.configured == 5 and row.requests == 19
    # all proxies took what istiod sent them last, so istiod has not sent it
    assert row.stopped_at == "istiod"
    (finding,) = mesh.check("MNB0410")
    assert f"pod {V1} ({V1_IP}:3000)" in finding.summary
    assert "istio-ingressgateway-7d9f8c6b5-lab01.istio-system" in json.dumps(finding.to_dict())
    assert "The truth stopped at istiod" in finding.summary and "19 requests went there" in finding.summary


@pytest.mark.parametrize(
    ("known", "status", "stopped"),
    [
        ((V1_IP,), "SYNCED", "istiod"),
        ((V1_IP,), "STALE", "istiod"),
        # it knows, and the proxies took all it sent: it has not sent this
        (("127.0.40.12",), "SYNCED", "istiod"),
        (("127.0.40.12",), "STALE", "Envoy"),
    ],
)
def test_where_the_truth_stopped_is_told_by_what_istiod_knows_and_sent(change, known, status, stopped):
    mesh = change(GONE, shards(*known))
    truth = join_endpoints(
        services=mesh.services(),
        endpoint_slices=mesh.endpoint_slices(),
        pods=mesh.pods(),
        clusters=mesh.clusters(),
        endpoints=mesh.endpoints(),
        istiod_endpoints=mesh.istiod_endpoints(),
        proxy_status=mesh.proxy_status().assign(status=status),
    )
    row = truth[truth.host == HOST].iloc[0]
    assert (row.verdict, row.stopped_at) == ("ghost", stopped)


def test_an_address_that_belongs_to_another_pod_now_is_said(change):
    def reuse(item):
        if item["metadata"]["name"] != V1:
            return item
        return {**item, "metadata": {**item["metadata"], "name": "other-1", "labels": {"app": "other"}}}

    (finding,) = change({"pods": reuse, "endpointslices": without_address}).check("MNB0410")
    assert "belongs to pod other-1 now" in finding.summary


def test_a_ready_endpoint_no_proxy_has_is_missing(change):
    def add(item):
        if item["metadata"]["labels"]["kubernetes.io/service-name"] != "catalog":
            return item
        return {
            **item,
            "endpoints": [*item["endpoints"], {"addresses": ["127.0.40.99"], "conditions": {"ready": True}}],
        }

    mesh = change({"endpointslices": add}, shards(V1_IP, "127.0.40.12", "127.0.40.13", "127.0.40.99"))
    row = mesh.endpoint_truth("catalog").iloc[0]
    assert (row.verdict, row.stopped_at, row.configured, len(row.not_in_proxies)) == ("missing", "istiod", 0, 5)
    (finding,) = mesh.check("MNB0411")
    assert "5 proxies" in finding.summary


def test_an_endpoint_that_is_not_ready_and_still_used_is_a_warning(change):
    def unready(item):
        return {
            **item,
            "endpoints": [
                {**e, "conditions": {"ready": False}} if V1_IP in e["addresses"] else e for e in item["endpoints"]
            ],
        }

    (finding,) = change({"endpointslices": unready}).check("MNB0412")
    assert V1 in finding.summary and "5 proxies would send" in finding.summary


def test_a_ready_pod_that_no_slice_lists_is_found(change):
    (finding,) = change({"endpointslices": without_address}).check("MNB0414")
    assert V1 in finding.summary and str(finding.subject) == "Service istioinaction/catalog"


def test_a_slice_that_lists_a_pod_that_is_gone_is_found(change):
    (finding,) = change({"pods": without_pod}).check("MNB0414")
    assert "of pods that are gone" in finding.summary


def test_a_subset_whose_labels_drifted_is_found(change):
    def relabel(item):
        labels = item["metadata"].get("labels", {})
        if labels.get("version") == "v2":
            item["metadata"]["labels"] = {**labels, "version": "v3"}
        return item

    (finding,) = change({"pods": relabel}).check("MNB0415")
    assert "version=v3" in finding.summary and finding.subject.name.endswith("version-v2")


def test_a_service_account_the_proxies_do_not_accept_is_found(change):
    def other(item):
        if item["metadata"]["name"] == V1:
            item["spec"]["serviceAccountName"] = "other"
        return item

    (finding,) = change({"pods": other}).check("MNB0416")
    assert "service account other" in finding.summary


def test_the_service_is_found_however_it_is_written():
    mesh = Mesh(Snapshot.open("demo"))
    for name in ("catalog", "catalog.istioinaction", HOST):
        assert len(mesh.endpoint_truth(name)) == 3
    with pytest.raises(NotFound, match="no service 'catalogue'"):
        mesh.endpoint_truth("catalogue")


def test_without_envoys_the_truth_is_unknown(change, tmp_path):
    folder = change().snapshot.root
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["documents"] = [d for d in manifest["documents"] if d["kind"] == "kubernetes"]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    (finding,) = Mesh(Snapshot.open(folder)).check("MNB0410")
    assert finding.status is Status.UNKNOWN
