"""S10-12: the right page of Kiali, Grafana and Prometheus for the object of a finding."""

from __future__ import annotations

import json
from dataclasses import replace
from urllib.parse import parse_qs, urlsplit

import pytest

import meshnb
from meshnb.errors import UsageError
from meshnb.model.finding import Finding, Findings, Severity, Status, Subject
from meshnb.model.window import Window
from meshnb.runbook.links import Pages, pages_of
from meshnb.sources.snapshot import Snapshot, SnapshotWriter
from meshnb.views.findings import FindingList, as_html, as_text

BASES = {"kiali": "https://k.example/kiali/", "grafana": "https://g.example", "prometheus": "https://p.example"}
WINDOW = Window.parse("2026-11-23T09:00/2026-11-23T10:00")
HOST = "catalog.shop.svc.cluster.local"


def links(*subject, **more):
    pages = Pages(BASES, WINDOW, {"catalog-1.shop": "catalog"}, **more)
    return {link.name: link.url for link in pages.of(Subject(*subject))}


def promql(url):
    return parse_qs(urlsplit(url).query)["g0.expr"][0]


def test_s10_12_an_object_of_istio_has_its_page_in_kiali():
    """S10-12: in the form of Kiali 2, and of 1 where its image says so."""
    kiali = "https://k.example/kiali/console/namespaces/shop/istio/"
    assert links("VirtualService", "v", "shop") == {"Kiali": f"{kiali}networking.istio.io/v1/VirtualService/v"}
    assert links("AuthorizationPolicy", "a", "shop")["Kiali"].endswith("security.istio.io/v1/AuthorizationPolicy/a")
    old = links("DestinationRule", "d", "shop", kiali="quay.io/kiali/kiali:v1.63")
    assert old == {"Kiali": f"{kiali}destinationrules/d"}


@pytest.mark.parametrize(
    "subject",
    [
        ("Service", "catalog", "shop"),
        ("Service", HOST, "shop"),
        ("Host", HOST),
        ("Cluster", f"outbound|80|v1|{HOST}"),
        ("Endpoint", f"outbound|80||{HOST} 10.0.0.1:3000"),
        ("Endpoint", "catalog 10.0.0.1:3000", "shop"),
    ],
)
def test_s10_12_a_service_has_pages_in_all_three(subject):
    """S10-12: Service, host, cluster of Envoy."""
    found = links(*subject)
    assert found["Kiali"] == "https://k.example/kiali/console/namespaces/shop/services/catalog"
    grafana = urlsplit(found["Grafana"])
    assert grafana.path == "/d/LJ_uJAvmk/istio-service-dashboard"
    assert parse_qs(grafana.query) == {"var-service": [HOST], "from": ["1795424400000"], "to": ["1795428000000"]}
    assert f'destination_service="{HOST}"' in promql(found["Prometheus"])
    asked = parse_qs(urlsplit(found["Prometheus"]).query)
    assert asked["g0.range_input"] == ["3600s"] and asked["g0.end_input"] == ["2026-11-23 10:00:00"]


def test_s10_12_a_pod_has_the_pages_of_its_workload():
    """S10-12: pods and proxies by their workload, Deployments by their name."""
    found = links("Pod", "catalog-1", "shop")
    assert found == links("Proxy", "catalog-1", "shop") == links("Deployment", "catalog", "shop")
    assert found["Kiali"].endswith("/console/namespaces/shop/workloads/catalog")
    assert "UbsSZTDik" in found["Grafana"] and "var-workload=catalog" in found["Grafana"]
    assert 'destination_workload="catalog",destination_workload_namespace="shop"' in promql(found["Prometheus"])
    assert links("Pod", "unknown", "shop") == {}


def test_s10_12_the_control_plane_and_a_namespace_have_theirs():
    """S10-12."""
    found = links("ControlPlane")
    assert found["Kiali"].endswith("/console/mesh") and "3--MLVZZk" in found["Grafana"]
    assert promql(found["Prometheus"]) == "sum by (type) (rate(pilot_xds_pushes[5m]))"
    assert links("Namespace", "shop") == {"Kiali": "https://k.example/kiali/console/graph/namespaces?namespaces=shop"}
    assert links("Endpoint", "10.0.0.1:80") == links("Route", "http.8080") == {}


def test_failures_name_them_in_text_and_html_and_keep_them_in_json():
    mesh = meshnb.open("demo/missing-subset", links={"kiali": "https://k.example/kiali"})
    (finding,) = mesh.check("MNB0101").status("fail")
    (link,) = [link for link in finding.links if link.name == "Kiali"]
    assert link.url.startswith("https://k.example/kiali/console/namespaces/istioinaction/istio/")
    shown = FindingList([finding])
    assert f"see Kiali: {link.url}" in as_text(shown)
    assert f'<a href="{link.url}" rel="noreferrer">Kiali</a>' in as_html(shown)
    assert Findings.from_json(shown.to_json())[0].links == finding.links
    old = json.loads(shown.to_json())
    for one in old["findings"]:
        del one["links"]
    assert Findings.from_json(json.dumps(old))[0].links == ()


def test_a_link_that_is_no_url_is_not_followed():
    finding = Finding("MNB0000", Status.FAIL, Severity.ERROR, Subject("Mesh"), "x")
    page = Pages({"kiali": "javascript:alert(1)"}, WINDOW)
    html = as_html(FindingList(page.add([finding])))
    assert "javascript" not in html


def _mesh_with(tmp_path, services, **links):
    with SnapshotWriter(tmp_path / "s", source="test") as writer:
        writer.links |= links
        items = [{"metadata": {"name": n, "namespace": "istio-system"}, "spec": {"ports": []}} for n in services]
        body = {"kind": "ServiceList", "apiVersion": "v1", "items": items}
        writer.add("kubernetes/services.json", "kubernetes", json.dumps(body).encode())
    return meshnb.open(tmp_path / "s")


def test_bases_come_from_who_asks_then_the_snapshot_then_the_services(tmp_path):
    mesh = _mesh_with(tmp_path, ["kiali", "grafana"], grafana="https://g.example")
    pages = pages_of(mesh, {})
    assert pages.bases == {"kiali": "http://localhost:20001/kiali", "grafana": "https://g.example"}
    notes = {link.name: link.note for link in pages.of(Subject("ControlPlane"))}
    assert notes == {"Kiali": "after: istioctl dashboard kiali", "Grafana": ""}
    given = pages_of(mesh, {"kiali": "https://k.example"})
    assert given.bases["kiali"] == "https://k.example" and not given.notes
    manifest = Snapshot.open(tmp_path / "s").manifest
    assert replace(manifest, links={}).to_json() != manifest.to_json()


def test_pages_that_are_not_known_are_refused():
    with pytest.raises(UsageError, match="no pages of 'jaeger'"):
        meshnb.open("demo", links={"jaeger": "http://j"})
    with pytest.raises(UsageError, match="is not the URL"):
        meshnb.open("demo", links={"kiali": "kiali.example"})
