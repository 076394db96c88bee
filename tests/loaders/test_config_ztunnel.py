"""ztunnel's config dump, in the shapes of its releases."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

import meshnb
from meshnb.errors import FormatError
from meshnb.loaders.istioctl import Options, istioctl_text
from meshnb.loaders.ztunnel import read_ztunnel_dump

SHARED = Path(__file__).parents[2] / ".." / "shared" / "data" / "istio" / "istioctl" / "pkg" / "writer" / "ztunnel"
DUMP = SHARED / "configdump" / "testdata" / "dump.json"
AT = datetime(2026, 8, 22, tzinfo=UTC)

NEW = {
    "workloads": [
        {
            "workloadIps": ["10.0.0.1", "fd00::1"],
            "waypoint": {
                "destination": {"namespace": "shop", "hostname": "waypoint.shop.svc.cluster.local"},
                "hboneMtlsPort": 15008,
            },
            "protocol": "HBONE",
            "uid": "c//Pod/shop/a",
            "name": "a",
            "namespace": "shop",
            "node": "n1",
            "status": "Healthy",
        },
        {
            "hostname": "db.example.com",
            "protocol": "TCP",
            "uid": "c//WE/shop/db",
            "name": "db",
            "namespace": "shop",
            "status": "Unhealthy",
            "waypoint": {"destination": "net/10.9.9.9"},
        },
    ],
    "services": [
        {
            "name": "waypoint",
            "namespace": "shop",
            "hostname": "waypoint.shop.svc.cluster.local",
            "vips": ["net/10.1.0.1"],
            "endpoints": [{"workloadUid": "c//Pod/shop/a"}, {"workloadUid": "c//WE/shop/db"}, {"workloadUid": "gone"}],
        },
    ],
    "policies": [{"name": "deny", "namespace": "shop", "action": "Deny", "scope": "Namespace", "rules": [[[]]]}],
    "certificates": [
        {
            "identity": "spiffe://t/ns/shop/sa/a",
            "state": "Available",
            "certChain": [
                {"serialNumber": "255", "validFrom": "2026-08-01T00:00:00Z", "expirationTime": "2026-08-23T00:00:00Z"},
                {"serialNumber": "1", "validFrom": "2020-01-01T00:00:00Z", "expirationTime": "2030-01-01T00:00:00Z"},
            ],
            "rootCerts": [
                {"serialNumber": "2", "validFrom": "2020-01-01T00:00:00Z", "expirationTime": "2021-01-01T00:00:00Z"}
            ],
        },
        {"identity": "spiffe://t/ns/shop/sa/b", "state": {"Unavailable": "no CA"}, "certChain": []},
    ],
    "workloadState": {
        "x": {
            "info": {"name": "a", "namespace": "shop"},
            "connections": {
                "inbound": [{"src": "10.0.0.9:4", "actualDst": "10.0.0.1:80", "originalDst": None}],
                "outbound": [
                    {
                        "src": "10.0.0.1:5",
                        "actualDst": "10.1.0.1:15008",
                        "originalDst": "10.1.0.1:80",
                        "protocol": "HBONE",
                    }
                ],
            },
        },
    },
}


@pytest.fixture(scope="module")
def dump():
    return read_ztunnel_dump(NEW, proxy="ztunnel-x.istio-system")


def test_workloads(dump):
    df = dump.workloads()
    assert df[["name", "waypoint", "protocol"]].fillna("-").values.tolist() == [
        ["a", "waypoint", "HBONE"],
        ["db", "-", "TCP"],
    ]
    assert list(df.addresses[0]) == ["10.0.0.1", "fd00::1"]
    assert df.waypoint_destination.tolist() == ["shop/waypoint.shop.svc.cluster.local", "net/10.9.9.9"]
    assert set(df.proxy) == {"ztunnel-x.istio-system"}


def test_services_count_healthy_endpoints(dump):
    row = dump.services().iloc[0]
    assert (row.service, row.endpoints_healthy, row.endpoints, list(row.vips)) == ("waypoint", 1, 3, ["10.1.0.1"])


def test_policies(dump):
    assert dump.policies()[["policy", "action", "rules"]].values.tolist() == [["deny", "Deny", "[[[]]]"]]


def test_certificates_at_a_time(dump):
    df = dump.certificates(at=AT)
    assert df.type.fillna("-").tolist() == ["Leaf", "Intermediate", "Root", "-"]
    assert df.valid.tolist() == [True, True, False, False]
    assert df.serial.fillna("-").tolist() == ["ff", "1", "2", "-"]
    assert df.days_left[0] == 1
    assert df.state[3] == "Unavailable"
    assert "no CA" in df.state_text[3]


def test_connections_know_the_names_of_addresses(dump):
    df = dump.connections()
    assert df.direction.tolist() == ["Inbound", "Outbound"]
    assert df.destination_name.tolist() == ["a.shop", "waypoint.shop.svc.cluster.local"]
    text = istioctl_text("ztunnel_connections", NEW, Options({"direction": "outbound"}))
    assert text.splitlines()[1].split() == [
        "a.shop", "Outbound", "a.shop:5", "waypoint.shop.svc.cluster.local:15008", "waypoint.shop.svc.cluster.local:80",
        "HBONE",
    ]  # fmt: skip
    raw = istioctl_text("ztunnel_connections", NEW, Options({"direction": "outbound", "raw": True}))
    assert raw.splitlines()[1].split()[2:5] == ["10.0.0.1:5", "10.1.0.1:15008", "10.1.0.1:80"]


def test_istioctls_text(dump):
    assert istioctl_text("ztunnel_workload", NEW, Options({})) == (
        "NAMESPACE POD NAME ADDRESS          NODE WAYPOINT PROTOCOL\n"
        "shop      a        10.0.0.1,fd00::1 n1   waypoint HBONE\n"
        "shop      db       db.example.com        NA       TCP\n"
    )
    assert istioctl_text("ztunnel_workload", NEW, Options({"address": "10.0.0.1"}, verbose=False)) == (
        "NAMESPACE POD NAME ADDRESS          NODE\nshop      a        10.0.0.1,fd00::1 n1\n"
    )
    assert istioctl_text("ztunnel_service", NEW, Options({"service_namespace": "other"})).count("\n") == 1


def test_the_maps_of_older_releases_give_the_same(dump):
    old = {
        "Workloads": {str(i): one for i, one in enumerate(NEW["workloads"])},
        "services": {
            "/10.1.0.1": {**NEW["services"][0], "endpoints": dict(enumerate(NEW["services"][0]["endpoints"]))}
        },
        "policies": {"shop/deny": NEW["policies"][0]},
    }
    again = read_ztunnel_dump(old, proxy="ztunnel-x.istio-system")
    assert again.workloads().equals(dump.workloads())
    assert again.services().equals(dump.services())
    assert again.policies().equals(dump.policies())


@pytest.mark.skipif(not DUMP.is_file(), reason="ztunnel's dump of Istio's tests is not beside the repository")
def test_a_dump_of_a_real_ztunnel():
    dump = meshnb.read_ztunnel_dump(DUMP)
    assert (len(dump.workloads()), len(dump.services()), len(dump.policies())) == (27, 19, 2)
    assert dump.services().endpoints_healthy.sum() == 23
    assert dump.connections().workload.nunique() == 5


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b'{"configs": []}', "a config dump of Envoy"),
        (b"<html>", "HTML"),
        (b'{"workloads": [', "cut short"),
        (b"[]", "not a ztunnel"),
        (b"{}", "not a ztunnel"),
    ],
)
def test_other_documents_are_named(data, says):
    with pytest.raises(FormatError, match=says):
        read_ztunnel_dump(data)


def test_wrong_types_are_missing_values():
    dump = read_ztunnel_dump({"workloads": [5, {"name": 7, "workloadIps": "x", "waypoint": 1}], "services": 3})
    assert dump.workloads().name.isna().all()
    assert dump.services().empty


def test_a_ztunnel_in_a_snapshot_is_no_gap_among_the_envoys(tmp_path):
    from meshnb.sources.snapshot import SnapshotWriter

    envoy = (Path(__file__).parents[1] / "data" / "envoy" / "odd-config_dump.json").read_bytes()
    with SnapshotWriter(tmp_path / "ambient", source="test", cluster="test") as writer:
        for proxy, data in (("ztunnel-x.istio-system", json.dumps(NEW).encode()), ("odd-0.shop", envoy)):
            writer.add(f"envoy/{proxy}/config_dump.json", "config_dump", data, proxy=proxy)
    mesh = meshnb.open(tmp_path / "ambient")
    assert set(mesh.clusters().proxy) == {"odd-0.shop"}
    assert mesh.gaps("clusters") == []
    assert mesh.ztunnel_workload().proxy.unique().tolist() == ["ztunnel-x.istio-system"]
    for table, rows in {"service": 1, "policy": 1, "certificate": 4, "connections": 2}.items():
        assert len(mesh.table(f"ztunnel_{table}")) == rows
