"""The debug pages of the lab's control plane, read as istiod's are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from meshnb.lab import lab as labs
from meshnb.lab.calls import call
from meshnb.lab.capture import capture
from meshnb.lab.plan import PODS, LabHome
from meshnb.lab.traffic import traffic
from meshnb.model.finding import Status
from meshnb.runbook.mesh import Mesh

pytestmark = pytest.mark.lab
GATEWAY, SLOW = PODS[0], PODS[3]
CATALOG = "catalog.istioinaction.svc.cluster.local"


def page(lab: LabHome, path: str) -> tuple[int, str]:
    status, body = call(lab.load_plan().control_plane, 15014, f"/debug{path}")
    return status, body.decode()


def read(lab: LabHome, path: str) -> Any:
    status, body = page(lab, path)
    assert status == 200
    return json.loads(body)


@pytest.fixture
def mesh(lab: LabHome, tmp_path: Path) -> Mesh:
    traffic(lab, requests=20, rate=100)
    return Mesh(capture(tmp_path / "snapshot", lab))


def test_the_index_lists_every_page_and_every_page_answers(lab: LabHome):
    status, index = page(lab, "")
    assert status == 200 and index.startswith("<!doctype html>")
    names = read(lab, "/list")
    assert all(f'href="/debug/{name}"' in index for name in names)
    assert set(names) > {"syncz", "adsz", "edsz", "config_dump", "configz", "endpointShardz", "registryz"}
    assert all(read(lab, f"/{name}?proxyID={GATEWAY.proxy}") is not None for name in names)


def test_wrong_questions_get_istiods_codes(lab: LabHome):
    assert page(lab, "/edsz")[0] == 400
    status, words = page(lab, "/config_dump?proxyID=nobody.nowhere")
    assert status == 404 and "nobody.nowhere is not connected" in words
    status, words = page(lab, "/mesh")
    assert status == 404 and "syncz" in words


def test_sd_32_a_healthy_lab_holds_sends_and_knows_what_it_should(mesh: Mesh):
    """SD-32: configz against Kubernetes, config_dump of istiod against Envoy's, no problem of the last push."""
    findings = mesh.check("MNB0316", "MNB0320", "MNB0321")
    assert [(f.code, f.status) for f in findings] == [(f"MNB0{n}", Status.PASS) for n in (316, 320, 321)]
    assert set(mesh.istiod_objects().kind) == {"DestinationRule", "Gateway", "PeerAuthentication", "VirtualService"}
    assert mesh.config_drift().empty


def test_a_healthy_lab_fails_no_check(mesh: Mesh):
    assert [str(finding) for finding in mesh.check().status("fail")] == []


def test_tables_of_the_control_plane_are_those_of_the_lab(mesh: Mesh):
    known = mesh.istiod_endpoints()
    of_catalog = known[known.host == CATALOG]
    assert sorted(of_catalog.workload) == ["catalog", "catalog-v2", "catalog-v2"]
    assert set(of_catalog.service_account) == {"spiffe://cluster.local/ns/istioinaction/sa/catalog"}
    services = mesh.istiod_services()
    assert sorted(services.service) == ["catalog", "istio-ingressgateway", "webapp"]
    assert services.addresses.map(len).tolist() == [1, 1, 1]
    clients = mesh.xds_clients()
    assert set(clients.proxy) == {pod.proxy for pod in PODS} and (clients.cluster == "lab").all()
    watches = mesh.xds_watches()
    routes = watches[(watches.proxy == GATEWAY.proxy) & (watches.type == "RDS")]
    assert routes.names.iloc[0] == ["http.8080"]


def test_edsz_is_what_each_envoy_has(mesh: Mesh):
    sent = mesh.endpoints_sent()
    has = mesh.endpoints()
    for pod in PODS:
        expected = set(sent[sent.proxy == pod.proxy][["cluster", "address", "port"]].itertuples(index=False, name=None))
        own = has[(has.proxy == pod.proxy) & has.cluster.str.startswith("outbound|")]
        assert set(own[["cluster", "address", "port"]].itertuples(index=False, name=None)) == expected
        assert expected


def test_a_service_without_endpoints_is_a_problem_of_the_push(lab: LabHome, tmp_path: Path):
    labs.break_("no-endpoints", lab)
    problems = Mesh(capture(tmp_path / "snapshot", lab)).push_status()
    assert set(problems.problem) == {"pilot_eds_no_instances"}
    assert f"outbound|80||{CATALOG}" in set(problems.subject)


def test_what_the_proxy_was_not_told_is_in_edsz_and_not_in_envoy(lab: LabHome):
    """S11-01: the control plane knows that the pod is gone; the gateway does not."""
    labs.break_("frozen-endpoints", lab)
    ghost = lab.load_plan().ip(SLOW)
    assert ghost not in page(lab, f"/edsz?proxyID={GATEWAY.proxy}")[1]
    assert ghost not in page(lab, "/endpointShardz")[1]
    _, body = call(lab.load_plan().gateway, 15000, "/clusters")
    assert f"{ghost}:3000" in body.decode()
