"""Envoy's tables over all proxies of a snapshot."""

from __future__ import annotations

from pathlib import Path

import pytest

import meshnb
from meshnb.errors import FormatError, NotFound
from meshnb.sources.snapshot import SnapshotWriter

DATA = Path(__file__).parents[1] / "data" / "envoy"
GATEWAY = "istio-ingressgateway-7d9f8c6b5-lab01.istio-system"


@pytest.fixture
def mesh(tmp_path):
    with SnapshotWriter(tmp_path / "snapshot", source="test", cluster="test") as writer:
        for proxy, name in ((GATEWAY, "gateway"), ("odd-0.shop", "odd")):
            for document in ("config_dump", "clusters"):
                data = (DATA / f"{name}-{document}.json").read_bytes()
                writer.add(f"envoy/{proxy}/{document}.json", document, data, proxy=proxy)
        data = (DATA / "odd-clusters.txt").read_bytes()
        writer.add("envoy/page-only.shop/clusters.txt", "clusters", data, proxy="page-only.shop")
        writer.add("envoy/cut.shop/config_dump.json", "config_dump", b'{"configs": [', proxy="cut.shop")
    return meshnb.open(tmp_path / "snapshot")


def test_s10_24_tables_of_all_proxies_join(mesh):
    clusters, endpoints, routes = mesh.clusters(), mesh.endpoints(), mesh.routes()
    assert set(clusters.proxy) == {GATEWAY, "odd-0.shop"}
    joined = routes.merge(clusters, on=["proxy", "cluster"]).merge(endpoints, on=["proxy", "cluster"])
    assert set(joined[joined.virtual_service == "catalog-vs"].endpoint) == {
        "127.0.0.41:3000",
        "127.0.0.42:3000",
        "127.0.0.43:3000",
    }


def test_s10_31_filters(mesh):
    assert mesh.clusters(fqdn="catalog", port=80, subset="version-v1").subset.tolist() == ["version-v1"]
    assert mesh.clusters(fqdn="catalog", subset="version-v3").empty
    assert mesh.clusters(direction="inbound").cluster.tolist() == ["inbound|8080||"]
    assert set(mesh.routes(route_config="http.8080").route_config) == {"http.8080"}
    assert len(mesh.listeners(proxy="odd-0.shop", type="TCP")) == 1
    assert mesh.endpoints(address="::1").endpoint.unique().tolist() == ["[::1]:9"]


def test_s10_36_endpoints_have_counters_and_metadata_at_once(mesh):
    endpoints = mesh.endpoints(proxy="odd-0.shop")
    assert len(endpoints) == 4
    assert set(endpoints.source) == {"clusters"}
    row = endpoints.set_index("endpoint").loc["127.0.0.1:9"]
    assert (row.workload, row.rq_total, row.active_health_failed) == ("odd-v1", 0, True)
    assert not mesh.endpoints(proxy=GATEWAY).duplicated(["cluster", "endpoint"]).any()


def test_a_proxy_with_only_a_clusters_page_has_endpoints(mesh):
    assert len(mesh.endpoints(proxy="page-only.shop")) == 4
    assert "page-only.shop" in set(mesh.endpoints().proxy)


def snapshot_of(folder, *documents):
    with SnapshotWriter(folder, source="test", cluster="test") as writer:
        for kind, data in documents:
            writer.add(f"envoy/odd-0.shop/{kind}.json", kind, data, proxy="odd-0.shop")
    return meshnb.open(folder)


def test_endpoints_of_clusters_pages_alone_are_not_absent(tmp_path):
    mesh = snapshot_of(tmp_path / "pages", ("clusters", (DATA / "odd-clusters.json").read_bytes()))
    assert mesh.absent("endpoints") == ""
    assert len(mesh.table("endpoints")) == 4
    assert len(mesh.endpoints(proxy="odd-0.shop")) == 4
    assert mesh.absent("clusters").endswith("holds no config_dump")
    assert mesh.check("MNB0317")[0].summary == "No /clusters page of a proxy shows its cluster xds-grpc."
    with pytest.raises(NotFound, match="nobody"):
        mesh.endpoints(proxy="nobody.shop")


def test_endpoints_are_absent_without_dumps_and_pages_or_if_none_can_be_read(tmp_path):
    none = snapshot_of(tmp_path / "none", ("server_info", b"{}"))
    assert none.absent("endpoints").endswith("holds no config_dump or clusters")
    cut = snapshot_of(tmp_path / "cut", ("config_dump", b"{"), ("clusters", b"{"))
    assert cut.endpoints().empty
    assert "cut short" in cut.absent("endpoints")
    page = (DATA / "odd-clusters.json").read_bytes()
    half = snapshot_of(tmp_path / "half", ("config_dump", b"{"), ("clusters", page))
    assert len(half.endpoints()) == 4
    assert half.absent("endpoints") == ""
    assert any("cut short" in gap for gap in half.gaps("endpoints"))


def test_a_cut_dump_is_a_gap_and_not_fatal(mesh):
    assert not mesh.clusters().empty
    assert any("cut short" in gap for gap in mesh.gaps("clusters"))
    with pytest.raises(FormatError, match="cut short"):
        mesh.config_dump("cut.shop")
    with pytest.raises(NotFound, match="nobody"):
        mesh.clusters(proxy="nobody.shop")


def test_s11_43_sizes_per_proxy(mesh):
    sizes = mesh.sizes().groupby("proxy").bytes.sum()
    assert sizes[GATEWAY] == len((DATA / "gateway-config_dump.json").read_bytes())
    assert mesh.config_dump(GATEWAY).bytes == sizes[GATEWAY]


def test_days_left_are_those_of_the_capture(mesh):
    from datetime import timedelta

    captured = mesh.secrets(proxy=GATEWAY)
    later = mesh.secrets(proxy=GATEWAY, at=mesh.snapshot.manifest.created + timedelta(days=1))
    assert ((captured.days_left - later.days_left).round(6) == 1).all()
    assert list(captured.columns) == list(later.columns)
    assert captured.dtypes.equals(later.dtypes)


def test_a_large_fleet_is_read_by_several_processes(tmp_path, monkeypatch):
    from meshnb.runbook import tables_envoy

    with SnapshotWriter(tmp_path / "fleet", source="test", cluster="test") as writer:
        for proxy, name in ((GATEWAY, "gateway"), ("odd-0.shop", "odd")):
            data = (DATA / f"{name}-config_dump.json").read_bytes()
            writer.add(f"envoy/{proxy}/config_dump.json", "config_dump", data, proxy=proxy)
        writer.add("envoy/cut.shop/config_dump.json", "config_dump", b'{"configs": [', proxy="cut.shop")
    one, several = meshnb.open(tmp_path / "fleet"), meshnb.open(tmp_path / "fleet")
    expected = {name: one.table(name) for name in ("clusters", "routes", "listeners", "endpoints")}
    monkeypatch.setattr(tables_envoy, "FLEET_BYTES", 0)
    made = {name: several.table(name) for name in expected}
    for name, frame in expected.items():
        assert made[name].equals(frame), name
        assert made[name].dtypes.equals(frame.dtypes), name
    assert several.gaps("clusters") == one.gaps("clusters")
    assert "cut short" in several.gaps("clusters")[0]
