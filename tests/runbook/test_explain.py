"""`mesh.explain`: URLs, log rows and requests; which proxy; what it shows."""

from __future__ import annotations

import pytest

import meshnb
from meshnb.envoy.explain import Request
from meshnb.errors import NotFound, UsageError

URL = "http://catalog.istioinaction.io/items"


@pytest.fixture(scope="module")
def mesh():
    return meshnb.open("demo")


def test_the_path_from_listener_to_endpoints(mesh):
    """S10-25: Listener, route, cluster, subset, endpoint, and the weights of the split."""
    found = mesh.explain(URL, proxy="istio-ingressgateway")
    stages = [step.stage for step in found.steps]
    assert [s for s in stages if s in ("listener", "virtual host", "route")] == ["listener", "virtual host", "route"]
    host = "catalog.istioinaction.svc.cluster.local"
    assert found.clusters == {f"outbound|80|version-v1|{host}": 0.2, f"outbound|80|version-v2|{host}": 0.8}
    assert [len(outcome.endpoints) for outcome in found.outcomes] == [2, 1]
    assert not found.undecided


def test_a_log_row_names_its_proxy(mesh):
    log = mesh.access_log()
    row = log[log.authority == "catalog.istioinaction.io"].iloc[0]
    assert row.upstream_cluster in mesh.explain(row).clusters


def test_a_request_object_is_taken_as_it_is(mesh):
    request = Request.to(URL, headers={"Host": "other.example"})
    assert mesh.explain(request, proxy="istio-ingressgateway").outcome.response_flags == "NR"


def test_the_steps_are_a_table(mesh):
    frame = mesh.explain(URL, proxy="istio-ingressgateway").frame
    assert frame[frame.result == "chosen"].step.is_monotonic_increasing
    assert frame[frame.result == "lost"].because.notna().all()


def test_every_proxy_is_looked_at_for_what_no_request_reaches(mesh):
    assert list(mesh.unreachable_routes().columns)[:2] == ["proxy", "route_config"]
    assert list(mesh.listener_conflicts().columns)[:2] == ["proxy", "kind"]
    assert len(mesh.listener_conflicts(proxy="istio-ingressgateway-7d9f8c6b5-lab01.istio-system")) == 0


def test_which_proxy_must_be_clear(mesh):
    with pytest.raises(UsageError, match="which proxy"):
        mesh.explain(URL)
    with pytest.raises(UsageError, match="2 fit 'catalog-v2'"):
        mesh.explain(URL, proxy="catalog-v2")
    with pytest.raises(NotFound, match="no config dump of proxy 'x'"):
        mesh.explain(URL, proxy="x")


def test_an_unknown_field_is_refused(mesh):
    with pytest.raises(UsageError, match="a request has no prot"):
        mesh.explain(URL, proxy="istio-ingressgateway", prot=80)
