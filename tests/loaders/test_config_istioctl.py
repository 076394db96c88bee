"""istioctl's text, byte for byte."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml

from meshnb.errors import FormatError, NotFound, UsageError
from meshnb.loaders.istioctl import Options, istioctl_text
from meshnb.loaders.istioctl_text import aligned, cluster_key, domains_text, insertion_sorted, numeric_less, object_text

DATA = Path(__file__).parents[1] / "data" / "envoy"
SHARED = Path(__file__).parents[2] / ".." / "shared" / "data" / "istio"
# the documents' certificates are judged at a time when the expected tables held
AT = datetime(2026, 8, 22, tzinfo=UTC)
TABLES = {
    "eds": "endpoints",
    "endpoint": "endpoints",
    "route": "routes",
    "secret": "secrets",
    "cluster": "clusters",
    "listener": "listeners",
}


def shared_pairs():
    path = SHARED / "pairs.json"
    if not path.is_file():
        return []
    pairs = json.loads(path.read_text())["pairs"]
    return [pair for pair in pairs if pair["command"].startswith(("proxy-config", "ztunnel-config"))]


def show(pair):
    return f"{pair['command']} {Path(pair['expected']).name} {pair.get('filter') or ''}"


@pytest.mark.skipif(not shared_pairs(), reason="istioctl's own test documents are not beside the repository")
@pytest.mark.parametrize("pair", shared_pairs(), ids=show)
def test_s10_24_istioctls_own_expected_tables(pair):
    words = pair["command"].split()
    table = TABLES.get(words[1], words[1])
    output = words[words.index("-o") + 1] if "-o" in words else "short"
    options = Options(
        pair.get("filter") or {},
        style="istioctl-1.6" if "release 1.6" in pair["command"] else "istioctl",
        output=output,
        with_headers="--with-headers" in words,
        at=AT,
    )
    table = f"ztunnel_{table}" if words[0] == "ztunnel-config" else table
    text = istioctl_text(table, SHARED / pair["input"], options)
    expected = (SHARED / pair["expected"]).read_text()
    if output == "short":
        assert text.rstrip("\n") == expected.rstrip("\n")
    else:
        parse = {"json": json.loads, "yaml": yaml.safe_load}[output]
        assert parse(text) == parse(expected)
        if "bootstrap" not in pair["command"]:  # there, spaces differ from build to build of istioctl
            assert text.rstrip("\n") == expected.rstrip("\n")


def authz_pairs():
    path = SHARED / "pairs.json"
    pairs = json.loads(path.read_text())["pairs"] if path.is_file() else []
    return [pair for pair in pairs if pair["command"].startswith("x authz check")]


@pytest.mark.skipif(not authz_pairs(), reason="istioctl's own test documents are not beside the repository")
@pytest.mark.parametrize("pair", authz_pairs(), ids=lambda pair: pair["input"])
def test_s10_24_authz_check(pair):
    header, *lines = istioctl_text("authz", SHARED / pair["input"], Options({})).splitlines()
    assert header == "ACTION   AuthorizationPolicy         RULES"
    starts = [header.index(word) for word in header.split()]
    cells = [
        [line[start:end].strip() for start, end in zip(starts, [*starts[1:], None], strict=True)] for line in lines
    ]
    assert cells == [[str(cell) for cell in row] for row in pair["expected_rows"]]


def odd(table, **options):
    filters = options.pop("filters", {})
    return istioctl_text(table, DATA / "odd-config_dump.json", Options(filters, at=AT, **options))


def test_clusters_and_their_filters():
    assert odd("clusters") == (
        "SERVICE FQDN                   PORT     SUBSET     DIRECTION     TYPE             DESTINATION RULE\n"
        "                               8080     -          inbound       ORIGINAL_DST     \n"
        "BlackHoleCluster               -        -          -             STATIC           \n"
        "PassthroughCluster             -        -          -             ORIGINAL_DST     \n"
        "api.example.com                443      -          outbound      STATIC           \n"
        "dynamic_forward_proxy          -        -          -             STATIC           \n"
        "encap                          -        -          -             STATIC           \n"
        "odd.shop.svc.cluster.local     80       v1         outbound      STATIC           odd.shop\n"
    )
    for filters in ({"fqdn": "odd.shop"}, {"port": 80}, {"subset": "v1"}, {"fqdn": "odd", "direction": "outbound"}):
        assert odd("clusters", filters=filters).splitlines()[1:] == [
            "odd.shop.svc.cluster.local     80       v1         outbound      STATIC     odd.shop"
        ]
    assert odd("clusters", filters={"port": 8}).splitlines()[1:] == []


def test_listeners_and_their_filters():
    assert odd("listeners") == (
        "ADDRESSES PORT MATCH                                              DESTINATION\n"
        "          0    ALL                                                Cluster: encap\n"
        "127.0.0.1 0    Addr: 10.0.0.0/8,192.168.1.1/32:8443               PassthroughCluster\n"
        "127.0.0.1 0    Addr: *:15001                                      Non-HTTP/Non-TCP\n"
        "127.0.0.1 0    ALL                                                Inline Route: "
        "odd.shop.svc.cluster.local/odd/odd.shop/odd.shop.svc/odd:80/10.0.0.9 regex .*, PathPrefix:/svc, /old, /no, /*;"
        " nothing.example \n"
        "127.0.0.1 0    App: HTTP                                          Cluster: inbound|8080||\n"
        "127.0.0.1 0    SNI: a.example,b.example; Trans: tls; App: TCP TLS Cluster: \n"
    )
    assert odd("listeners", verbose=False) == ("ADDRESSES PORT TYPE\n          0    TCP\n127.0.0.1 0    HTTP+TCP\n")
    assert len(odd("listeners", filters={"type": "tcp"}).splitlines()) == 2
    assert len(odd("listeners", filters={"address": "127.0.0.1"}).splitlines()) == 6
    assert len(odd("listeners", filters={"port": 80}).splitlines()) == 1


def test_routes_leave_out_passthrough_and_show_empty_hosts():
    text = odd("routes", filters={"name": "rules"})
    column = text.index("VIRTUAL SERVICE")
    assert [line[column:] for line in text.splitlines()] == ["VIRTUAL SERVICE", "", "odd.shop", "", "", "404"]
    assert "PassthroughCluster" not in text
    assert odd("routes", verbose=False) == "NAME       VIRTUAL HOSTS\ninline     1\nrules      2\n"


def test_endpoints_of_a_dump_and_of_a_page():
    dump = odd("endpoints")
    assert dump.splitlines()[1:3] == [
        "envoy://inside/10.0.0.7:80     HEALTHY                          encap",
        "127.0.0.1:9                    UNHEALTHY     eu/eu-1/rack-1     outbound|80|v1|odd.shop.svc.cluster.local",
    ]
    assert "/run/odd.sock" in dump
    assert "unix://" not in dump
    page = istioctl_text("endpoints", DATA / "odd-clusters.json", Options({"status": "healthy", "port": 9}))
    assert page == (
        "ENDPOINT        STATUS      OUTLIER CHECK     CLUSTER\n"
        "127.0.0.1:9     HEALTHY     OK                outbound|80|v1|odd.shop.svc.cluster.local\n"
        "::1:9           HEALTHY     OK                outbound|80|v1|odd.shop.svc.cluster.local\n"
    )
    whole = istioctl_text("endpoints", DATA / "odd-clusters.json", Options({"port": 9}, output="json"))
    assert [cluster["name"] for cluster in json.loads(whole)] == ["outbound|80|v1|odd.shop.svc.cluster.local"]
    assert len(json.loads(whole)[0]["hostStatuses"]) == 3


def test_all_is_the_tables_one_after_the_other():
    gateway = DATA / "gateway-config_dump.json"
    text = istioctl_text("all", gateway, Options({}, with_headers=True, at=AT))
    headings = [line for line in text.splitlines() if line.startswith("------")]
    assert headings == [
        f"------ {name} INFO ------" for name in ("BOOTSTRAP", "CLUSTER", "LISTENER", "ROUTE", "SECRET", "ENDPOINTS")
    ]
    assert "cluster/prometheus_stats" in text
    assert "endpoint/127.0.0.42:3000" in text


def test_yaml_and_json_hold_the_same():
    for table in ("clusters", "listeners", "routes", "endpoints", "secrets", "bootstrap"):
        as_json = json.loads(odd(table, output="json"))
        assert yaml.safe_load(odd(table, output="yaml")) == as_json
        assert as_json


def test_names_of_extensions_and_struct_keys_stay():
    clusters = {one["name"]: one for one in json.loads(odd("clusters", output="json"))}
    options = clusters["outbound|443||api.example.com"]["typedExtensionProtocolOptions"]
    assert list(options) == ["envoy.extensions.upstreams.http.v3.HttpProtocolOptions"]
    assert "explicitHttpConfig" in next(iter(options.values()))
    metadata = json.loads(odd("bootstrap", output="json"))["bootstrap"]["node"]["metadata"]
    assert "ISTIO_VERSION" in metadata


@pytest.mark.parametrize(
    ("table", "options", "error"),
    [
        ("nothing", {}, UsageError),
        ("clusters", {"filters": {"workload": "a"}}, UsageError),
        ("ztunnel_workload", {"filters": {"fqdn": "a"}}, UsageError),
        ("ztunnel_workload", {}, FormatError),
        ("all", {"output": "json"}, UsageError),
        ("authz", {"output": "json"}, UsageError),
        ("authz", {"filters": {"port": 80}}, UsageError),
        ("secrets", {"style": "istioctl-1.6"}, UsageError),
    ],
)
def test_what_istioctl_does_not_have(table, options, error):
    with pytest.raises(error):
        odd(table, **options)


def test_a_dump_without_the_section():
    page = DATA / "gateway-config_dump-listener-error_state.json"
    with pytest.raises(NotFound, match="no clusters found"):
        istioctl_text("clusters", page, Options({}))
    assert istioctl_text("secrets", page, Options({})) == "No active or warming secrets found.\n"
    assert istioctl_text("endpoints", page, Options({})) == "NAME     STATUS     LOCALITY     CLUSTER\n"


@pytest.mark.parametrize(
    ("domains", "text"),
    [
        ([], ""),
        (["a:80"], "a:80"),
        (["a", "a:80"], "a"),
        (["a.b.svc.cluster.local", "a.b"], "a.b"),
        (["a.b.svc.cluster.local", "a.b.svc"], "a.b.svc.cluster.local, a.b.svc"),
        (["x", "x.svc", "x.svc.cluster.local", "y"], "x, y"),
        (["2001:db8::1", "[2001:db8::1]", "[2001:db8::1]:80"], "[2001:db8::1]"),
        (["a", "b", "c", "d"], "a, b + 2 more..."),
    ],
)
def test_domains(domains, text):
    assert domains_text(domains) == text


@pytest.mark.parametrize(
    ("path", "text"),
    [
        (None, ""),
        ("/apis/networking.istio.io/v1/namespaces/shop/virtual-service/odd", "odd.shop"),
        ("/apis/networking.istio.io/v1/namespaces/shop", ""),
        ("/apis/gateway.networking.k8s.io/v1/namespaces/shop/httproute/odd", "<unknown>"),
    ],
)
def test_objects(path, text):
    assert object_text(path) == text


def test_order_and_columns():
    assert aligned(["A", "B"], [["aa", ""], ["", "b"]]) == "A      B\naa     \n       b\n"
    assert cluster_key("outbound|x|v|a|b") == ("", "v", 0, "outbound")
    assert insertion_sorted(["80", "9", "http.80", "443", "a"], numeric_less) == ["9", "80", "http.80", "443", "a"]
