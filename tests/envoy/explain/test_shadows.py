"""Unreachable routes and listeners in each other's way: what is proved, and what is not claimed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from meshnb.envoy.explain import listener_conflicts, unreachable_routes
from meshnb.envoy.explain.route import Route
from meshnb.envoy.explain.unreachable import shadows

SHARED = Path(__file__).parents[3] / "../shared/data/envoy-lab"
PRESENT = {"name": "x-a", "present_match": True}
EXACT = {"name": "x-a", "string_match": {"exact": "ab"}}
PREFIX = {"name": "x-a", "string_match": {"prefix": "a"}}

SHADOWED = [
    ({"prefix": "/"}, {"path": "/b"}),
    ({"prefix": "/a"}, {"prefix": "/ab"}),
    ({"prefix": "/A", "case_sensitive": False}, {"path": "/a/b"}),
    ({"path": "/a"}, {"path": "/a"}),
    ({"path_separated_prefix": "/a"}, {"prefix": "/a/"}),
    ({"path_separated_prefix": "/a"}, {"path": "/a"}),
    ({"safe_regex": {"regex": ".*"}}, {"prefix": "/a"}),
    ({"safe_regex": {"regex": "/a.*"}}, {"path": "/ab"}),
    ({"prefix": "/api/"}, {"safe_regex": {"regex": "/api/v[0-9]+/.*"}}),
    ({"prefix": "/", "headers": [PRESENT]}, {"prefix": "/", "headers": [EXACT]}),
    ({"prefix": "/", "headers": [PREFIX]}, {"prefix": "/b", "headers": [EXACT]}),
    ({"prefix": "/", "headers": [EXACT]}, {"prefix": "/", "headers": [EXACT, {"name": "x-b"}]}),
    ({"prefix": "/", "runtime_fraction": {"default_value": {"numerator": 100}}}, {"prefix": "/"}),
    ({"connect_matcher": {}}, {"connect_matcher": {}, "headers": [EXACT]}),
]
REACHABLE = [
    ({"path": "/b"}, {"prefix": "/"}),
    ({"prefix": "/"}, {"connect_matcher": {}}),
    ({"prefix": "/a"}, {"prefix": "/A", "case_sensitive": False}),
    ({"path_separated_prefix": "/a"}, {"prefix": "/a"}),
    ({"path": "/a"}, {"safe_regex": {"regex": "/a.?"}}),
    ({"prefix": "/api/v1"}, {"safe_regex": {"regex": "/api/v1?/x"}}),
    ({"prefix": "/api"}, {"safe_regex": {"regex": "/api|/b"}}),
    ({"prefix": "/", "headers": [EXACT]}, {"prefix": "/", "headers": [PRESENT]}),
    ({"prefix": "/", "headers": [{**PRESENT, "invert_match": True}]}, {"prefix": "/", "headers": [EXACT]}),
    ({"prefix": "/", "headers": [EXACT]}, {"prefix": "/"}),
    ({"prefix": "/", "grpc": {}}, {"prefix": "/"}),
    ({"prefix": "/", "runtime_fraction": {"default_value": {"numerator": 99}}}, {"prefix": "/"}),
    ({"prefix": "/", "runtime_fraction": {"default_value": {"numerator": 100}, "runtime_key": "k"}}, {"prefix": "/"}),
    ({"prefix": "/", "dynamic_metadata": [{"filter": "f"}]}, {"prefix": "/"}),
    ({"prefix": "/", "query_parameters": [{"name": "q"}]}, {"prefix": "/"}),
]


@pytest.mark.parametrize(("earlier", "later"), SHADOWED)
def test_a_route_is_shadowed(earlier, later):
    assert shadows(Route({"match": earlier}, 0), Route({"match": later}, 1))


@pytest.mark.parametrize(("earlier", "later"), REACHABLE)
def test_a_route_is_not_called_shadowed_without_proof(earlier, later):
    assert not shadows(Route({"match": earlier}, 0), Route({"match": later}, 1))


def test_both_virtual_services_are_named():
    """istio/istio#29343: two VirtualServices for one host, and the wrong one wins."""

    def of(name: str, match: dict) -> dict:
        return {"match": match, "metadata": {"filter_metadata": {"istio": {"config": f"/virtual-service/{name}"}}}}

    hosts = [
        {"name": "shop:80", "domains": ["shop"], "routes": [of("old", {"prefix": "/"}), of("new", {"path": "/x"})]}
    ]
    section = {
        "@type": "RoutesConfigDump",
        "dynamic_route_configs": [{"route_config": {"name": "80", "virtual_hosts": hosts}}],
    }
    (row,) = unreachable_routes({"configs": [section]}, proxy="p.n").to_dict("records")
    assert (row["source"], row["shadowed_by_source"]) == ("/virtual-service/new", "/virtual-service/old")
    assert (row["proxy"], row["because"]) == ("p.n", "prefix / takes every path")


def listener(name: str, address: str, port: int, chains: list[dict], **more: object) -> dict:
    socket = {"socket_address": {"address": address, "port_value": port}}
    return {"name": name, "address": socket, "filter_chains": chains, **more}


def conflicts(*listeners: dict, clusters: tuple[str, ...] = ()) -> list[tuple]:
    sections = [
        {"@type": "ListenersConfigDump", "static_listeners": [{"listener": item} for item in listeners]},
        {"@type": "ClustersConfigDump", "static_clusters": [{"cluster": {"name": name}} for name in clusters]},
    ]
    found = listener_conflicts({"configs": sections})
    return [(row["kind"], row["item"]) for row in found.to_dict("records")]


def test_listeners_of_one_address():
    assert conflicts(listener("a", "0.0.0.0", 80, []), listener("b", "0.0.0.0", 80, [])) == [("same_address", "b")]
    assert not conflicts(listener("a", "0.0.0.0", 80, []), listener("b", "0.0.0.0", 80, [], bind_to_port=False))


def test_chains_that_match_the_same():
    match = {"filter_chain_match": {"server_names": ["a"], "transport_protocol": "tls"}}
    inspector = [{"name": "envoy.filters.listener.tls_inspector"}]
    chains = [{"name": "x", **match}, {"name": "y", **match}]
    assert conflicts(listener("a", "0.0.0.0", 443, chains, listener_filters=inspector)) == [("same_chain_match", "y")]


def test_chains_nobody_reaches():
    chains = [
        {"name": "tls", "filter_chain_match": {"transport_protocol": "tls"}},
        {"name": "port", "filter_chain_match": {"destination_port": 81}},
        {"name": "rest"},
    ]
    assert conflicts(listener("a", "0.0.0.0", 80, chains)) == [
        ("unreachable_chain", "tls"),
        ("unreachable_chain", "port"),
    ]
    assert conflicts(listener("a", "0.0.0.0", 80, chains[1:], use_original_dst=True)) == []


def test_an_http_listener_takes_the_port_of_a_tcp_service():
    """istio/istio#22367: an HTTP-named port takes 0.0.0.0:PORT, and other services of the port die."""
    routes = [{"match": {"prefix": "/"}, "route": {"cluster": "outbound|9000||web.ns"}}]
    manager = {"@type": "HttpConnectionManager", "route_config": {"virtual_hosts": [
        {"name": "web", "domains": ["web"], "routes": routes}]}}  # fmt: skip
    http = listener("0.0.0.0_9000", "0.0.0.0", 9000, [{"filters": [{"name": "http", "typed_config": manager}]}])
    own = {"@type": "TcpProxy", "cluster": "outbound|9000||db.ns"}
    tcp = listener("10.0.0.1_9000", "10.0.0.1", 9000, [{"filters": [{"name": "tcp", "typed_config": own}]}])
    clusters = ("outbound|9000||web.ns", "outbound|9000||db.ns", "outbound|9000||lost.ns", "outbound|80||other.ns")
    assert conflicts(http, tcp, clusters=clusters) == [("wildcard_takes_rest", "outbound|9000||lost.ns")]


@pytest.mark.skipif(not SHARED.exists(), reason="the recordings of the first lab are not here")
def test_a_rejected_listener_is_told_with_envoys_words():
    dump = json.loads((SHARED / "admin/gateway-config_dump-listener-error_state.json").read_text())
    kinds = listener_conflicts(dump)
    rejected = kinds[kinds.kind == "rejected"]
    assert len(rejected)
    assert rejected.because.str.len().min() > 10
