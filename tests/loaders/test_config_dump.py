"""Envoy's config dump as tables, on documents of a real Envoy."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from camel import camel_case

import meshnb
from meshnb.errors import FormatError, NotFound, UsageError
from meshnb.model.tables import envoy as tables

DATA = Path(__file__).parents[1] / "data" / "envoy"
V1 = "outbound|80|version-v1|catalog.istioinaction.svc.cluster.local"
V2 = "outbound|80|version-v2|catalog.istioinaction.svc.cluster.local"
NAMES = ("listeners", "routes", "clusters", "endpoints", "secrets", "ecds", "bootstrap", "sizes")


@pytest.fixture(scope="module")
def gateway():
    return meshnb.read_config_dump(DATA / "gateway-config_dump.json")


@pytest.fixture(scope="module")
def sidecar():
    return meshnb.read_config_dump(DATA / "sidecar-v2b-config_dump.json")


def section(kind, **lists):
    return {"configs": [{"@type": f"type.googleapis.com/envoy.admin.v3.{kind}", **lists}]}


def test_the_proxy_comes_from_the_bootstrap(gateway):
    assert gateway.proxy == "istio-ingressgateway-7d9f8c6b5-lab01.istio-system"
    assert set(gateway.clusters().proxy) == {gateway.proxy}


@pytest.mark.parametrize("name", NAMES)
def test_tables_have_their_declared_columns(gateway, name):
    frame = getattr(tables, name.upper())
    made = getattr(gateway, name)()
    assert list(made.columns) == frame.column_names
    assert made.dtypes.astype(str).to_dict() == frame.empty().dtypes.astype(str).to_dict()


def test_s10_29_weighted_clusters_are_rows(gateway):
    routes = gateway.routes()
    weighted = routes[routes.action == "weighted_clusters"]
    assert weighted[["cluster", "weight", "total_weight"]].values.tolist() == [[V1, 20, 100], [V2, 80, 100]]
    assert set(weighted.position) == {1}
    assert set(weighted.virtual_service) == {"catalog-vs"}
    assert set(weighted.virtual_service_namespace) == {"istioinaction"}


def test_s10_28_route_columns(gateway):
    first = gateway.routes().iloc[0]
    assert first.route_config == "http.8080"
    assert first.virtual_host == "catalog.istioinaction.io:80"
    assert list(first.domains) == ["catalog.istioinaction.io"]
    assert first.match == "/*"
    assert json.loads(first.match_headers)[0]["name"] == "x-istio-cohort"
    assert (first.action, first.cluster) == ("cluster", V2)
    assert first.version_info == "2026-11-23T09:03:50Z/1"


def test_s10_31_cluster_columns(gateway):
    clusters = gateway.clusters().set_index("cluster")
    row = clusters.loc[V1]
    assert (row.direction, row.port, row.subset) == ("outbound", 80, "version-v1")
    assert row.fqdn == "catalog.istioinaction.svc.cluster.local"
    assert row.type == "EDS"
    assert row.destination_rule == "catalog"
    assert row.origin == "DestinationRule catalog.istioinaction"
    assert row.connect_timeout_ms == 10_000
    assert row.max_connections == 4294967295
    assert row.sni == f"outbound_.80_.version-v1_.{row.fqdn}"
    assert list(row.sans) == ["spiffe://cluster.local/ns/istioinaction/sa/catalog"]
    assert clusters.loc["prometheus_stats"].origin == "bootstrap"
    assert clusters.loc["prometheus_stats"].tls_mode == "DISABLE"


def test_s10_36_endpoints_join_clusters(gateway):
    endpoints = gateway.endpoints()
    v2 = endpoints[endpoints.cluster == V2]
    assert v2.endpoint.tolist() == ["127.0.0.42:3000", "127.0.0.43:3000"]
    assert set(v2.health_status) == {"HEALTHY"}
    assert set(v2.canonical_revision) == {"v2"}
    assert set(v2.locality) == {"lab/lab-a"}
    assert set(endpoints.cluster) <= set(gateway.clusters().cluster)


def test_s10_26_listener_columns(gateway, sidecar):
    row = gateway.listeners().iloc[0]
    assert (row.listener, row.address, row.port, row.match) == ("0.0.0.0_8080", "127.0.0.40", 8080, "ALL")
    assert (row.destination, row.route_config, row.route_source) == ("Route: http.8080", "http.8080", "rds")
    assert list(row.http_filters) == ["envoy.filters.http.router"]
    inbound = sidecar.listeners().iloc[0]
    assert (inbound.match, inbound.tls, inbound.cluster) == ("Trans: tls", "mTLS", "inbound|3000||")
    assert list(inbound.tls_secrets) == ["default", "ROOTCA"]


def test_a_rejected_listener_shows_the_reason():
    dump = meshnb.read_config_dump(DATA / "gateway-config_dump-listener-error_state.json")
    listeners = dump.listeners()
    refused = listeners[listeners.error_state.notna()]
    assert refused[["listener", "state"]].values.tolist() == [["0.0.0.0_8080", "active"], ["0.0.0.0_8080", "rejected"]]
    assert refused.error_state.str.startswith("Error: terminal filter named envoy.filters.http.router").all()
    assert list(refused.http_filters.iloc[1]) != list(refused.http_filters.iloc[0])


def test_certificates_of_a_dump(gateway):
    from datetime import UTC, datetime

    secrets = gateway.secrets(at=datetime(2026, 11, 23, 20, 29, 34, tzinfo=UTC))
    assert secrets[["secret", "position", "type"]].values.tolist() == [
        ["default", 0, "Cert Chain"],
        ["default", 1, "CA"],
        ["ROOTCA", 0, "CA"],
    ]
    assert secrets.spiffe_id[0].startswith("spiffe://cluster.local/ns/istio-system/sa/istio-ingressgateway")
    assert secrets.days_left[0] == 0.5
    assert secrets.valid.all()
    assert "PRIVATE" not in secrets.to_csv()


@pytest.mark.parametrize("name", sorted(p.name for p in DATA.glob("*config_dump*.json")))
def test_s10_23_sizes_add_up_to_the_file(name):
    path = DATA / name
    data = path.read_bytes()
    sizes = meshnb.read_config_dump(path).sizes()
    assert sizes.bytes.sum() == len(data)
    assert sizes.lines.sum() == data.count(b"\n")
    assert (sizes.bytes >= 0).all()


def test_s11_43_size_without_endpoints_is_that_of_the_dump_without_them(gateway):
    """S11-43, T16: exact bytes, and what `?include_eds` adds."""
    document = gateway.to_dict()
    gateway = meshnb.read_config_dump(document)
    assert gateway.bytes == len(json.dumps(document, indent=1, ensure_ascii=False).encode()) + 1
    document["configs"] = [c for c in document["configs"] if not c["@type"].endswith("EndpointsConfigDump")]
    without = json.dumps(document, indent=1, ensure_ascii=False).encode() + b"\n"
    assert gateway.bytes_without_endpoints == len(without)


def test_path_bytes_dict_and_gzip_give_the_same(tmp_path, gateway):
    path = DATA / "gateway-config_dump.json"
    packed = tmp_path / "dump.json.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    expected = gateway.clusters()
    for source in (str(path), path.read_bytes(), json.loads(path.read_bytes()), packed):
        assert meshnb.read_config_dump(source).clusters().equals(expected)


def test_camel_case_gives_the_same_tables(gateway):
    camel = meshnb.read_config_dump(camel_case(gateway.to_dict()))
    assert b'"dynamicActiveClusters"' in camel.data
    for name in ("listeners", "routes", "clusters", "endpoints", "secrets"):
        theirs, ours = getattr(camel, name)(), getattr(gateway, name)()
        same = [c.name for c in getattr(tables, name.upper()).columns if c.dtype != "json" and c.name != "bytes"]
        same = [column for column in same if column not in ("proxy", "days_left")]
        assert theirs[same].equals(ours[same]), name


@pytest.mark.parametrize(
    ("data", "says", "position"),
    [
        (b'{"configs": [{"@type": "type.goog', "cut short", "byte 33"),
        (b"", "an empty document", "byte 0"),
        (b"<!DOCTYPE html><html></html>", "an HTML", "byte 0"),
        (b"upstream connect error", "not JSON", "byte 0"),
        (b'{"cluster_statuses": []}', "a /clusters page (JSON)", "byte 0"),
        (b"outbound|80||a.b::default_priority::max_connections::1024\n", "a /clusters page (text)", "byte 0"),
        (b'{"listener_statuses": []}', "a /listeners page", "byte 0"),
        (b'{"kind": "List", "apiVersion": "v1"}', "a Kubernetes object", "byte 0"),
        (b'{"configs": []}\n{"configs": []}', "a second document begins here", "byte 16"),
        (b'{"response_flags": "-"}\n{"response_flags": "UT"}\n', "an access log", "byte 0"),
        (b'[2026-11-23T09:03:51.434Z] "GET / HTTP/1.1" 200', "an access log", "byte"),
        (b'{"something": 1}', "not a config dump", "byte 0"),
        (b"\x1f\x8b\x08\x00garbage", "broken gzip", ""),
        (b'{"configs": ' + b"[" * 100_000, "nested too deeply", ""),
        (b"[1, 2]", "", ""),
    ],
)
def test_other_documents_are_named(data, says, position):
    with pytest.raises(FormatError) as caught:
        meshnb.read_config_dump(data, name="some.json")
    assert says in str(caught.value)
    assert "some.json" in str(caught.value)
    assert position in str(caught.value)
    assert caught.value.hint


def test_a_broken_resource_is_named_with_its_byte():
    document = section("ClustersConfigDump", static_clusters=[{"cluster": {"name": "good"}}, {"cluster": {"name": 5}}])
    dump = meshnb.read_config_dump(document)
    with pytest.raises(FormatError, match="cluster") as caught:
        dump.clusters()
    assert caught.value.position.startswith("byte ")
    byte = int(caught.value.position.split()[1])
    assert dump.data[byte : byte + 1] == b"{"
    assert b'"name": 5' in dump.data[byte : byte + 60]


def test_numbers_out_of_range_are_an_error_of_ours():
    cluster = {"name": "a", "circuit_breakers": {"thresholds": [{"max_connections": 10**30}]}}
    dump = meshnb.read_config_dump(section("ClustersConfigDump", static_clusters=[{"cluster": cluster}]))
    with pytest.raises(FormatError, match="max_connections"):
        dump.clusters()


def test_no_file_and_wrong_argument():
    with pytest.raises(NotFound):
        meshnb.read_config_dump("nowhere.json")
    with pytest.raises(UsageError):
        meshnb.read_config_dump(5)
    with pytest.raises(UsageError, match="folder"):
        meshnb.read_config_dump(DATA)


def test_the_last_of_two_sections_counts_and_is_noted():
    one = section("ClustersConfigDump", static_clusters=[{"cluster": {"name": "first"}}])["configs"]
    two = section("ClustersConfigDump", static_clusters=[{"cluster": {"name": "second"}}])["configs"]
    dump = meshnb.read_config_dump({"configs": one + two})
    assert dump.clusters().cluster.tolist() == ["second"]
    assert dump.notes == ["section clusters occurs 2 times; the last one counts"]
    assert dump.sizes().bytes.sum() == dump.bytes


def test_ecds_sections_are_joined_and_unknown_sections_noted():
    first = section("EcdsConfigDump", ecds_filters=[{"ecds_filter": {"name": "a", "typed_config": {"@type": "x/y.A"}}}])
    second = section("EcdsConfigDump", ecds_filters=[{"ecds_filter": {"name": "b"}}])
    unknown = section("FutureConfigDump", things=[1, 2])
    dump = meshnb.read_config_dump({"configs": first["configs"] + second["configs"] + unknown["configs"]})
    assert dump.ecds()[["name", "type"]].fillna("-").values.tolist() == [["a", "y.A"], ["b", "-"]]
    assert "FutureConfigDump" in dump.notes[0]
    assert dump.sizes().bytes.sum() == dump.bytes
