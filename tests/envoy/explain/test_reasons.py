"""What lost, and by which comparison: the sentences a reader gets at each step."""

from __future__ import annotations

from typing import Any

import pytest

from meshnb.envoy.explain import Config, Explanation, Request, explain
from meshnb.errors import FormatError, UsageError


def explained(
    hosts: list[dict], request: Request, *, listeners: list[dict] | None = None, **options: Any
) -> Explanation:
    manager = {"@type": "v3.HttpConnectionManager", "route_config": {"name": "t", "virtual_hosts": hosts}, **options}
    front = {"name": "front", "address": {"socket_address": {"address": "0.0.0.0", "port_value": 80}}}
    front["filter_chains"] = [{"filters": [{"name": "http", "typed_config": manager}]}]
    section = {
        "@type": "v3.ListenersConfigDump",
        "static_listeners": [{"listener": item} for item in [front, *(listeners or [])]],
    }
    return explain(Config({"configs": [section]}), request)


def host(name: str, *domains: str, routes: list[dict] | None = None) -> dict:
    return {"name": name, "domains": list(domains), "routes": routes or [route({"prefix": "/"})]}


def route(match: dict, name: str = "", **action: Any) -> dict:
    return {"name": name, "match": match, **(action or {"direct_response": {"status": 200}})}


def lost(found: Explanation, stage: str) -> dict[str, str]:
    return {entry.name: entry.because for entry in found.step(stage).lost}


def test_virtual_hosts_that_match_less_exactly_or_differ_in_the_port():
    hosts = [host("exact", "a.example"), host("wild", "*.example"), host("all", "*"), host("port", "a.example:8080")]
    found = explained(hosts, Request.to("http://a.example/"))
    assert found.step("virtual host").chosen == "exact"
    assert lost(found, "virtual host") == {
        "wild": 'domain "*.example" matches too, less exactly',
        "all": 'domain "*" matches too, less exactly',
        "port": 'domain "a.example:8080" differs from "a.example" in the port',
    }


def test_the_port_that_keeps_a_host_from_matching():
    """istio/istio#41715: the domain has :80, the client sent :8080."""
    found = explained([host("shop", "shop.example:80")], Request.to("http://shop.example:8080/", port=80))
    assert found.outcome.response_code_details == "route_not_found"
    assert lost(found, "virtual host") == {
        "shop": 'domain "shop.example:80" differs from "shop.example:8080" in the port'
    }


def test_longest_suffix_before_longest_prefix():
    hosts = [host("prefix", "www.a.*"), host("short", "*.example"), host("long", "*.a.example")]
    found = explained(hosts, Request.to("http://www.a.example/"))
    assert found.step("virtual host").chosen == "long"
    assert set(lost(found, "virtual host")) == {"prefix", "short"}


REASONS = [
    ({"path": "/a"}, 'path "/items" is not "/a"'),
    ({"prefix": "/itemsx"}, 'path "/items" does not start with "/itemsx"'),
    ({"path_separated_prefix": "/item"}, 'path "/items" goes on after "/item" without a slash'),
    ({"safe_regex": {"regex": "/item"}}, 'regex /item does not match all of "/items"'),
    ({"connect_matcher": {}}, "CONNECT requests only: the method is GET"),
    ({"prefix": "/", "grpc": {}}, "gRPC requests only: content-type is absent"),
    (
        {"prefix": "/", "headers": [{"name": "X-User", "string_match": {"exact": "b"}}]},
        'header x-user exact "b": the request has "jason"',
    ),
    (
        {"prefix": "/", "headers": [{"name": "x-no", "present_match": True}]},
        "header x-no present: the request has none",
    ),
    (
        {"prefix": "/", "headers": [{"name": "x-user", "string_match": {"prefix": "ja"}, "invert_match": True}]},
        'header x-user not prefix "ja": the request has "jason"',
    ),
    (
        {"prefix": "/", "headers": [{"name": "x-user", "range_match": {"start": 1, "end": 5}}]},
        'header x-user in [1, 5): the request has "jason"',
    ),
    (
        {"prefix": "/", "query_parameters": [{"name": "page", "string_match": {"exact": "3"}}]},
        'query page exact "3": the request has "2"',
    ),
    (
        {"prefix": "/", "runtime_fraction": {"default_value": {"numerator": 0}}},
        "its runtime fraction leaves no request to it",
    ),
]


@pytest.mark.parametrize(("match", "because"), REASONS)
def test_why_a_route_lost(match, because):
    hosts = [host("v", "*", routes=[route(match, "first"), route({"prefix": "/"}, "rest")])]
    found = explained(hosts, Request.to("http://a/items?page=2", headers={"X-User": "jason"}))
    assert list(lost(found, "route").values()) == [because]
    assert found.outcome.route == "rest"


def test_a_fraction_splits_the_outcomes():
    match = {"prefix": "/", "runtime_fraction": {"default_value": {"numerator": 30}}}
    hosts = [host("v", "*", routes=[route(match, "some"), route({"prefix": "/"}, "rest")])]
    found = explained(hosts, Request.to("http://a/"))
    assert {outcome.route: outcome.probability for outcome in found.outcomes} == {"rest": 0.7, "some": 0.3}
    known = explained(hosts, Request.to("http://a/", random=129))
    assert [(outcome.route, outcome.probability) for outcome in known.outcomes] == [("some", 1.0)]


def test_listeners_that_lost():
    found = explained(
        [host("v", "*")],
        Request.to("http://10.0.0.1/"),
        listeners=[bound("10.0.0.2_80", "10.0.0.2", 80), bound("::_80", "::", 80)],
    )
    assert found.step("listener").chosen == "front"
    assert lost(found, "listener") == {
        "10.0.0.2_80": "bound to 10.0.0.2:80, not 10.0.0.1:80",
        "::_80": "bound to [::]:80, not 10.0.0.1:80",
    }


def test_several_listeners_at_a_port_need_an_address():
    found = explained(
        [host("v", "*")], Request.to("http://a:81/"), listeners=[bound("a", "10.0.0.1", 81), bound("b", "10.0.0.2", 81)]
    )
    assert "the destination IP decides among 10.0.0.1:81, 10.0.0.2:81; give address" in found.undecided[0]
    assert found.outcome.probability is None


def bound(name: str, address: str, port: int, **more: Any) -> dict:
    proxy = {"name": "tcp", "typed_config": {"@type": "v3.TcpProxy", "cluster": name}}
    socket = {"socket_address": {"address": address, "port_value": port}}
    return {"name": name, "address": socket, "filter_chains": [{"filters": [proxy]}], **more}


def test_redirected_traffic_of_a_sidecar():
    """virtualOutbound hands over to the listener of the destination, and keeps what has none."""
    listeners = [
        bound("virtualOutbound", "0.0.0.0", 15001, use_original_dst=True, traffic_direction="OUTBOUND"),
        bound("virtualInbound", "0.0.0.0", 15006, use_original_dst=True, traffic_direction="INBOUND"),
        bound("10.0.0.9_5432", "10.0.0.9", 5432, bind_to_port=False),
        bound("0.0.0.0_9080", "0.0.0.0", 9080, bind_to_port=False),
    ]

    def chosen(url: str, **known: Any) -> str:
        return explained([host("v", "*")], Request.to(url, **known), listeners=listeners).step("listener").chosen

    assert chosen("tcp://10.0.0.9:5432") == "10.0.0.9_5432"
    assert chosen("tcp://10.0.0.8:5432") == "virtualOutbound"
    assert chosen("http://reviews:9080/") == "0.0.0.0_9080"
    assert chosen("tcp://10.0.0.8:9080") == "0.0.0.0_9080"
    assert chosen("http://elsewhere:81/") == "virtualOutbound"
    assert chosen("tcp://10.0.0.1:8080", listener="virtualInbound") == "virtualInbound"


def test_a_lab_binds_the_listener_of_a_port_elsewhere():
    found = explained(
        [host("v", "*")], Request.to("http://shop:81/"), listeners=[bound("0.0.0.0_81", "127.0.0.1", 15001)]
    )
    assert found.step("listener").because == "named for port 81; bound to 127.0.0.1:15001"


def test_nothing_listens():
    found = explained([host("v", "*")], Request.to("http://a:99/"))
    assert found.outcome.kind == "closed"
    assert "nothing listens on *:99; listeners: 0.0.0.0:80" in found.step("listener").because


def test_regular_expressions_without_re2_are_undecided(monkeypatch):
    from meshnb.envoy.explain import regex

    regex._compile.cache_clear()
    monkeypatch.setattr(regex, "_engine", lambda: None)
    try:
        hosts = [
            host("v", "*", routes=[route({"safe_regex": {"regex": "/i.*"}}, "re"), route({"prefix": "/"}, "rest")])
        ]
        found = explained(hosts, Request.to("http://a/items"))
    finally:
        regex._compile.cache_clear()
    assert "pip install 'meshnb[explain]'" in found.undecided[0]
    assert [(outcome.route, outcome.probability) for outcome in found.outcomes] == [("re", None), ("rest", None)]


def test_a_broken_regular_expression_is_refused():
    hosts = [host("v", "*", routes=[route({"safe_regex": {"regex": "("}})])]
    with pytest.raises(FormatError, match="not a regular expression of RE2"):
        explained(hosts, Request.to("http://a/"))


def test_extensions_are_undecided_and_the_request_goes_on():
    filters = [
        {"name": "lua", "typed_config": {"@type": "v3.Lua"}},
        {"name": "router", "typed_config": {"@type": "v3.Router"}},
    ]
    found = explained([host("v", "*")], Request.to("http://a/"), http_filters=filters)
    assert found.undecided == ["http filter lua: a Lua script may answer, or change headers and the route"]
    assert found.outcome.response_code == 200


def test_cluster_specifier_plugins_and_matchers_are_undecided():
    plugin = route({"prefix": "/"}, route={"cluster_specifier_plugin": "p"})
    assert (
        "cluster specifier plugin p"
        in explained([host("v", "*", routes=[plugin])], Request.to("http://a/")).undecided[0]
    )
    tree = {**host("v", "*"), "matcher": {"matcher_list": {}}}
    assert "matcher tree" in explained([tree], Request.to("http://a/")).undecided[0]


def test_metadata_decides_where_it_is_given():
    matcher = {"filter": "jwt", "path": [{"key": "group"}], "value": {"string_match": {"exact": "admin"}}}
    hosts = [
        host("v", "*", routes=[route({"prefix": "/", "dynamic_metadata": [matcher]}, "admin"), route({"prefix": "/"})])
    ]
    assert explained(hosts, Request.to("http://a/")).undecided
    known = explained(hosts, Request.to("http://a/", metadata={"jwt": {"group": "admin"}}))
    assert known.outcome.route == "admin"
    assert not known.undecided
    assert explained(hosts, Request.to("http://a/", metadata={})).outcome.route == ""


@pytest.mark.parametrize("url", ["", "a", "http://", "tcp://10.0.0.1", "ftp://a/", "http://a:99999/"])
def test_what_is_no_url_is_refused(url):
    with pytest.raises(UsageError, match="not a URL"):
        Request.to(url)


def test_urls_become_requests():
    request = Request.to("https://user@shop.example/a?b#c", headers=[("Host", "other"), ("X-A", " 1 ")])
    assert (request.authority, request.path, request.sni) == ("other", "/a?b#c", "shop.example")
    assert (request.headers, request.port, request.tls) == ((("x-a", "1"),), 443, True)
    assert Request.to("tcp://10.0.0.1:5432").tcp
    assert Request.to("https://10.0.0.1/").sni == ""


def test_the_table_and_the_dictionary_hold_everything():
    found = explained([host("v", "*"), host("w", "w")], Request.to("http://a/"))
    assert found.frame.result.tolist().count("lost") == sum(len(step.lost) for step in found.steps)
    assert [step["stage"] for step in found.to_dict()["steps"]] == [step.stage for step in found.steps]
    assert repr(found) == "<Explanation of GET http://a/ (port 80): 200 answered by Envoy>"
    assert "=> 200 answered by Envoy" in str(found)


def test_istios_own_filters_let_requests_pass():
    plugin = {
        "@type": "type.googleapis.com/udpa.type.v1.TypedStruct",
        "type_url": "type.googleapis.com/stats.PluginConfig",
    }
    filters = [
        {"name": "istio.metadata_exchange", "typed_config": {"@type": "v3.Wasm"}},
        {"name": "istio.stats", "typed_config": plugin},
        {"name": "router", "typed_config": {"@type": "v3.Router"}},
    ]
    found = explained([host("v", "*")], Request.to("http://a/"), http_filters=filters)
    assert not found.undecided
