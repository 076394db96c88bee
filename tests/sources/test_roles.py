"""The roles that are shipped: enough for a whole capture, and nothing that it does not use."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from replay.pages import PageServer
from replay.recorded import recorded_cluster
from replay.roles import Roles

from meshnb.cli import main
from meshnb.model.resources import RESOURCES
from meshnb.runbook.live import mesh_prometheus_recorder
from meshnb.sources.access import review
from meshnb.sources.capture import CaptureOptions, capture_cluster
from meshnb.sources.kubernetes import Cluster
from meshnb.sources.snapshot import Snapshot

RBAC = (Path(__file__).parents[2] / "docs" / "rbac.yaml").read_text(encoding="utf-8")
SCRAPES = {"status": "success", "data": {"resultType": "vector", "result": [{"metric": {}, "value": [1, "2"]}]}}


@pytest.fixture
def api():
    with recorded_cluster(Snapshot.open("demo")) as server, PageServer({"*": json.dumps(SCRAPES).encode()}) as pages:
        server.roles = Roles(RBAC)
        meta = {"namespace": "istio-system", "labels": {"app": "prometheus"}}
        spec = {"selector": {"app": "prometheus"}, "ports": [{"port": 9090}]}
        ready = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
        pod = {"metadata": {**meta, "name": "prometheus-0"}, "spec": {"containers": [{"name": "p"}]}, "status": ready}
        server.history.add("services", {"metadata": {**meta, "name": "prometheus"}, "spec": spec})
        server.history.add("pods", pod)
        server.backends[("prometheus-0", "istio-system", 9090)] = pages.address
        config = {"metadata": {"name": "istio", "namespace": "istio-system"}, "data": {"mesh": "{}"}}
        for kind in RESOURCES:
            server.lists.setdefault(kind.plural, [])
        server.lists["configmaps"] = [config]
        for pod in server.lists["pods"]:
            key = (pod["metadata"]["name"], pod["metadata"]["namespace"], "ss")
            server.commands[key] = lambda command: b"State Recv-Q Send-Q Local Peer Process\n"
        yield server


@pytest.fixture
def cluster(api):
    return Cluster(api.configuration(), name="replay", timeout_s=20, sleep=lambda _: None)


def test_they_are_enough_for_a_capture_of_everything_and_all_of_them_is_used(api, cluster, tmp_path):
    options = CaptureOptions(ports=True, expected=True, pprof=True, previous=True, since_s=None)
    recorder = mesh_prometheus_recorder(cluster, "10m")
    snapshot = capture_cluster(cluster, tmp_path / "s", options, also=recorder)
    assert not [d.path for d in snapshot.failed() if "403" in d.error or "forbidden" in d.error]
    assert not [note for note in snapshot.manifest.notes if "403" in note or "forbidden" in note]
    assert not snapshot.failed("kubernetes") and len(snapshot.documents("config_dump")) == 5
    assert snapshot.documents("prometheus")
    granted = {grant[:3] for grant in api.roles.grants}
    spare = granted - api.roles.used
    # the same connections by SPDY, or by websockets from Kubernetes 1.35 on
    assert spare == {("", "pods/portforward", "create"), ("", "pods/exec", "create")}


def test_they_allow_no_secret_and_nothing_that_writes(api, cluster):
    assert not [g for g in api.roles.grants if g[1] in ("secrets", "*") or g[0] == "*"]
    assert {g[2] for g in api.roles.grants} == {"get", "list", "create"}
    assert {g[1] for g in api.roles.grants if g[2] == "create"} == {"pods/portforward", "pods/exec"}
    assert cluster.request("/api/v1/namespaces/istio-system/secrets").status == 403
    assert cluster.request("/api/v1/namespaces/istio-system/configmaps/other").status == 403


def test_a_review_of_them_allows_all(api, cluster):
    assert not [access.what for access in review(cluster) if access.refused]
    assert not [access.what for access in review(cluster, namespaces=["shop"]) if access.refused]
    api.roles.grants = [grant for grant in api.roles.grants if grant[1] != "configmaps"]
    assert [access.what for access in review(cluster) if access.refused] == ["get configmaps/istio in istio-system"]


def test_the_doctor_tells_them_verb_by_verb(api, tmp_path, monkeypatch, capsys):
    from kubernetes.config import kube_config

    monkeypatch.setattr("meshnb.report.run.try_kernel", lambda: "")
    config = str(api.kubeconfig(tmp_path / "config"))
    monkeypatch.setattr(kube_config, "KUBE_CONFIG_DEFAULT_LOCATION", config)
    api.roles.grants = [grant for grant in api.roles.grants if grant[:3] != ("", "pods/exec", "get")]
    assert main(["doctor", "--cluster", "-o", "json"]) == 0
    lines = {line["name"]: line for line in json.loads(capsys.readouterr().out)}
    assert lines["get pods/portforward"]["state"] == "ok" and lines["get pods/exec"]["state"] == "absent"
    assert lines["metrics"]["said"] == "Prometheus prometheus.istio-system answers and scrapes istiod"
