"""The mesh's Prometheus: found among Services, asked by port-forward with a real client."""

from __future__ import annotations

import json
import urllib.request

import pytest
from replay.apiserver import Fault, ReplayApiServer
from replay.pages import PageServer

from meshnb.errors import Forbidden, NotFound, SourceError
from meshnb.sources.kubernetes import Cluster
from meshnb.sources.mesh_prometheus import find_prometheus, mesh_prometheus
from meshnb.sources.port_forward import PortForward

NAME = "app.kubernetes.io/name"
SCRAPES = json.dumps(
    {"status": "success", "data": {"resultType": "vector", "result": [{"metric": {}, "value": [1, "2"]}]}}
).encode()
EMPTY = b'{"status": "success", "data": {"resultType": "vector", "result": []}}'


def service(name, namespace, *, labels=None, port=9090, target=9090, selector=True):
    meta = {"name": name, "namespace": namespace, "labels": labels or {}}
    spec = {"ports": [{"port": port, "targetPort": target}], "selector": {"run": name} if selector else {}}
    return {"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": spec}


def pod(name, namespace, *, ready=True, ports=()):
    meta = {"name": f"{name}-0", "namespace": namespace, "labels": {"run": name}}
    status = {"phase": "Running", "conditions": [{"type": "Ready", "status": str(ready)}]}
    container = {"name": "p", "ports": [{"name": name, "containerPort": number} for name, number in ports]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "status": status, "spec": {"containers": [container]}}


@pytest.fixture
def api():
    services = [
        service("prometheus-operator", "monitoring", labels={NAME: "prometheus-operator"}),
        service("metrics", "monitoring", labels={NAME: "prometheus"}, port=80, target="web"),
        service("prometheus", "istio-system", labels={"app": "prometheus"}),
        service("prometheus-sleeping", "istio-system"),
        service("prometheus-elsewhere", "istio-system", selector=False),
        service("catalog", "shop"),
    ]
    pods = [
        pod("metrics", "monitoring", ports=[("web", 9091)]),
        pod("prometheus", "istio-system"),
        pod("prometheus-sleeping", "istio-system", ready=False),
    ]
    with ReplayApiServer({"services": services, "pods": pods}) as server:
        yield server


@pytest.fixture
def cluster(api):
    return Cluster(api.configuration(), name="replay", timeout_s=10, sleep=lambda _: None)


def test_it_is_told_by_labels_or_name_and_that_of_istio_comes_first(cluster):
    assert [(s.name, s.namespace, s.pod, s.port) for s in find_prometheus(cluster)] == [
        ("prometheus", "istio-system", "prometheus-0", 9090),
        ("metrics", "monitoring", "metrics-0", 9091),
    ]


def test_services_of_istios_namespace_are_enough_where_others_are_closed(api, cluster):
    api.faults = [Fault("/api/v1/services", status=403, message="services is forbidden")]
    assert [s.name for s in find_prometheus(cluster)] == ["prometheus"]
    api.faults.append(Fault("istio-system/services", status=403))
    with pytest.raises(Forbidden, match="services is forbidden"):
        find_prometheus(cluster)


def test_none_says_how_to_name_one(api, cluster):
    api.lists["services"] = []
    with pytest.raises(NotFound, match="no Prometheus") as caught:
        find_prometheus(cluster)
    assert "--prometheus URL" in caught.value.hint


def test_the_one_that_scrapes_istiod_is_taken(api, cluster):
    said = []
    with PageServer({"*": EMPTY}) as other, PageServer({"*": SCRAPES}) as mesh:
        api.backends = {("prometheus-0", "istio-system", 9090): other.address,
                        ("metrics-0", "monitoring", 9091): mesh.address}  # fmt: skip
        with mesh_prometheus(cluster, progress=said.append) as url:
            assert urllib.request.urlopen(f"{url}/api/v1/query?query=up", timeout=10).read() == SCRAPES
        mesh.pages = {"*": EMPTY}
        with mesh_prometheus(cluster, progress=said.append) as url:
            assert urllib.request.urlopen(f"{url}/x", timeout=10).read() == EMPTY
    assert said == ["Prometheus metrics.monitoring", "Prometheus prometheus.istio-system, which does not scrape istiod"]


def test_what_does_not_answer_is_named(api, cluster):
    with (
        pytest.raises(NotFound, match=r"prometheus\.istio-system: .*9090.*metrics\.monitoring: .*9091"),
        mesh_prometheus(cluster),
    ):
        pass


def test_a_refused_port_forward_is_said(api, cluster):
    api.faults = [Fault("/portforward", status=403, message="no")]
    with pytest.raises(NotFound, match="portforward: HTTP 403"), mesh_prometheus(cluster):
        pass


def test_connections_are_kept_and_large_answers_come_whole(api, cluster):
    large = bytes(range(256)) * 4000
    with PageServer({"*": large}) as pages:
        api.backends = {("prometheus-0", "istio-system", 9090): pages.address}
        with PortForward(cluster, "prometheus-0", "istio-system", 9090) as forward:
            address = "http://{}:{}/".format(*forward.address)
            assert [urllib.request.urlopen(address, timeout=10).read() == large for _ in range(3)] == [True] * 3
        with pytest.raises(OSError, match="refused"):
            urllib.request.urlopen(address, timeout=10)


def test_a_pod_that_is_gone_closes_the_connection_and_is_kept_as_the_error(api, cluster):
    with PortForward(cluster, "gone", "istio-system", 1) as forward, pytest.raises(OSError, match=r"closed|reset"):
        urllib.request.urlopen("http://{}:{}/".format(*forward.address), timeout=10)
    assert isinstance(forward.error, SourceError) and "gone:1" in forward.error.message
