"""The mesh of the notes as a recorded snapshot: what every notebook runs on, with no cluster."""

from __future__ import annotations

import json
import tarfile

import pytest
import yaml

import meshnb

HOST = "catalog.istioinaction.io"


def of_kind(mesh, kind):
    """The objects of a kind, by namespace and name."""
    return {(row.namespace, row.name): json.loads(row.object) for row in mesh.objects(kind).itertuples()}


def test_the_sample_app_is_recorded():
    """S10-03: Deployments of catalog v1 and v2, their Service and pods in istioinaction, labelled app and version."""
    mesh = meshnb.open("demo")
    deployments = of_kind(mesh, "Deployment")
    for name, version in (("catalog", "v1"), ("catalog-v2", "v2")):
        labels = deployments["istioinaction", name]["spec"]["template"]["metadata"]["labels"]
        assert (labels["app"], labels["version"]) == ("catalog", version)
    assert of_kind(mesh, "Service")["istioinaction", "catalog"]["spec"]["selector"] == {"app": "catalog"}
    pods = mesh.pods()
    assert sorted(pods[pods.app == "catalog"].version) == ["v1", "v2", "v2"]
    assert set(pods[pods.app == "catalog"].namespace) == {"istioinaction"}


def test_a_virtual_service_is_a_row_per_destination_and_its_weights_are_charted_against_the_shares_observed():
    """S10-05: 20 to version-v1, 80 to version-v2, on port 80 of one host by one gateway."""
    mesh = meshnb.open("demo")
    rows = mesh.virtual_services()
    rows = rows[rows.virtual_service == "catalog-v1-v2"]
    assert rows[["subset", "weight", "port"]].values.tolist() == [["version-v1", 20, 80], ["version-v2", 80, 80]]
    assert [list(hosts) for hosts in rows.hosts] == [[HOST]] * 2
    assert [list(gateways) for gateways in rows.gateways] == [["istioinaction/catalog-gateway"]] * 2
    series = mesh.weights_chart(HOST).spec.series
    shown = {row: value for one in series for value, row in zip(one.x, one.y, strict=True)}
    assert (shown["version-v1 configured"], shown["version-v2 configured"]) == (20, 80)
    got = mesh.requests(HOST).upstream_cluster.str.contains("version-v1").mean()
    assert shown["version-v1 observed"] == pytest.approx(100 * got, abs=0.01)
    assert shown["version-v1 observed"] + shown["version-v2 observed"] == pytest.approx(100, abs=0.01)


def test_objects_are_listed_alike_from_a_capture_from_yaml_and_from_a_bundle(tmp_path):
    """S10-06: what kubectl get deploy,svc and kubectl get gw,vs list."""
    captured = meshnb.open("demo")
    (tmp_path / "yaml").mkdir()
    kinds = ("Deployment", "Service", "Gateway", "VirtualService")
    for kind in kinds:
        text = yaml.safe_dump_all(of_kind(captured, kind).values())
        (tmp_path / "yaml" / f"{kind.lower()}.yaml").write_text(text)
    with tarfile.open(tmp_path / "demo.tar.gz", "w:gz") as bundle:
        bundle.add(captured.snapshot.root, arcname="demo")
    written, bundled = meshnb.open(tmp_path / "yaml"), meshnb.open(tmp_path / "demo.tar.gz")
    for kind in kinds:
        assert len(of_kind(captured, kind)) >= 2
        assert of_kind(captured, kind) == of_kind(written, kind) == of_kind(bundled, kind), kind
