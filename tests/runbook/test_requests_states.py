"""Routes and clusters that Envoy holds and does not use are shown as such and counted nowhere."""

from __future__ import annotations

import json
import shutil

import pytest

import meshnb
from meshnb.runbook.mesh import Mesh
from meshnb.sources.snapshot import Snapshot

HOST = "catalog.istioinaction.io"
V2 = "outbound|80|version-v2|catalog.istioinaction.svc.cluster.local"


@pytest.fixture
def mesh(tmp_path):
    """The demo whose gateway warms one subset anew and another for the first time."""
    shutil.copytree(Snapshot.open("demo").root, tmp_path / "s")
    (path,) = (tmp_path / "s" / "envoy").glob("istio-ingressgateway*/config_dump.json")
    dump = json.loads(path.read_text())
    clusters = next(c for c in dump["configs"] if c["@type"].endswith("ClustersConfigDump"))
    active = clusters["dynamic_active_clusters"]
    again = next(c for c in active if "version-v1" in c["cluster"]["name"])
    first = next(c for c in active if c["cluster"]["name"] == V2)
    clusters["dynamic_warming_clusters"] = [again, first]
    active.remove(first)
    path.write_text(json.dumps(dump))
    return Mesh(Snapshot.open(tmp_path / "s"))


def test_a_route_to_a_cluster_that_only_warms_leads_nowhere(mesh):
    whole = meshnb.open("demo").destinations(HOST).df
    assert whole.exists.all() and set(whole.state) == {"active"}
    found = mesh.destinations(HOST).df
    gateway = found[found.proxy.str.startswith("istio-ingressgateway")].set_index("cluster").exists
    assert not gateway[V2] and gateway[V2.replace("v2", "v1")]


def test_clusters_in_use_come_first_and_others_have_no_endpoints(mesh):
    found = mesh.host_clusters(HOST).df
    gateway = found[found.proxy.str.startswith("istio-ingressgateway")]
    rows = gateway[["subset", "state", "endpoints"]].dropna(subset="subset").values.tolist()
    assert rows[0] == ["version-v1", "active", 1]
    assert sorted(row[:2] for row in rows[1:]) == [["version-v1", "warming"], ["version-v2", "warming"]]
    assert gateway.endpoints[gateway.state == "warming"].isna().all()
    assert "2 not in use" in repr(mesh.host_clusters(HOST))
    before = meshnb.open("demo").host_clusters(HOST).df
    assert before.endpoints.notna().all() and set(before.state) == {"active"}


def test_endpoints_of_clusters_in_use_alone_are_listed(mesh):
    found = mesh.host_endpoints(HOST).df
    gateway = found[found.proxy.str.startswith("istio-ingressgateway")]
    assert V2 not in set(gateway.cluster) and V2.replace("v2", "v1") in set(gateway.cluster)


def test_a_listener_that_drains_keeps_its_routes_out_of_weights(mesh):
    used = mesh.destinations(HOST).df
    rejected = mesh.routes().assign(state="rejected")
    mesh._made[("routes", "")] = rejected
    found = mesh.destinations(HOST).df
    assert len(found) == len(used) and found.exists.isna().all() and set(found.state) == {"rejected"}
    assert f"{len(found)} not in use" in repr(mesh.destinations(HOST))
