"""Broken dumps and odd requests: an explanation or one of meshnb's own errors, nothing else."""

from __future__ import annotations

import copy
import json
import random
from pathlib import Path
from typing import Any

import explain_generator
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import meshnb
from meshnb.envoy.explain import Config, Explanation, Request, explain, listener_conflicts, unreachable_routes
from meshnb.errors import FormatError, MeshnbError

DUMP = json.loads(
    (
        Path(meshnb.__file__).parent
        / "demo/healthy/envoy/istio-ingressgateway-7d9f8c6b5-lab01.istio-system/config_dump.json"
    ).read_text()
)
URL = "http://catalog.istioinaction.io/items"
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**30), 10**30) | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


def faults(dump: Any, request: Request) -> list[str]:
    """What is wrong with the answers: nothing if each can be shown, or is an error of meshnb's own with a text."""
    found = []
    for call in (lambda: explain(dump, request), lambda: unreachable_routes(dump), lambda: listener_conflicts(dump)):
        try:
            answer = call()
        except MeshnbError as error:
            found += [] if str(error) else [f"{type(error).__name__} without a word"]
        else:
            if isinstance(answer, Explanation):
                json.dumps(answer.to_dict())
                found += [] if answer.outcomes else ["no outcome"]
                found += [] if str(answer) else ["no text"]
                found += [] if len(answer.frame) >= len(answer.steps) else ["steps that the frame lacks"]
    return found


@given(JSON)
@settings(max_examples=100, deadline=None)
def test_any_json_is_explained_or_refused(dump):
    assert not faults(dump, Request.to(URL))
    assert not faults({"configs": [dump]}, Request.to(URL))


def places(node: Any, path: tuple = ()) -> list[tuple]:
    found = [path]
    if isinstance(node, dict):
        for key, value in node.items():
            found += places(value, (*path, key))
    elif isinstance(node, list):
        for index, value in enumerate(node):
            found += places(value, (*path, index))
    return found


def small(dump: dict) -> dict:
    """The dump without what explaining never reads: the bootstrap and the access logs."""
    kept = [section for section in dump["configs"] if "Bootstrap" not in section["@type"]]

    def prune(node: Any) -> Any:
        if isinstance(node, dict):
            return {key: prune(value) for key, value in node.items() if key != "access_log"}
        return [prune(item) for item in node] if isinstance(node, list) else node

    return {"configs": prune(kept)}


SMALL = small(DUMP)
PLACES = [place for place in places(SMALL) if place]


@given(st.sampled_from(PLACES), JSON)
@settings(max_examples=400, deadline=None)
def test_a_field_of_any_other_kind_is_explained_or_refused(place, value):
    dump = copy.deepcopy(SMALL)
    node = dump
    for step in place[:-1]:
        node = node[step]
    node[place[-1]] = value
    assert not faults(dump, Request.to(URL))


@given(st.integers(0, 10**6))
@settings(max_examples=60, deadline=None)
def test_a_field_of_a_route_of_any_kind_is_explained_or_refused(seed):
    generator = explain_generator.Generator(seed, clusters=["a", "b"])
    table = generator.route_config()
    request = generator.request(table, 80)
    manager = {"@type": "HttpConnectionManager", "route_config": table, **generator.manager_options()}
    listener = {
        "name": "l",
        "address": {"socket_address": {"address": "0.0.0.0", "port_value": 80}},
        "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}],
    }
    dump = {"configs": [{"@type": "ListenersConfigDump", "static_listeners": [{"listener": listener}]}]}
    assert not faults(dump, request)
    pick = random.Random(seed)
    spots = [place for place in places(table) if place]
    place = pick.choice(spots)
    node: Any = table
    for step in place[:-1]:
        node = node[step]
    node[place[-1]] = pick.choice([None, 1, -1, 1e308, 10**40, "", "x", True, [], {}, [1], {"a": 1}, [None], ["x"]])
    assert not faults(dump, request)


@given(st.text(max_size=30))
@settings(max_examples=200, deadline=None)
def test_any_url_is_a_request_or_refused(text):
    for url in (text, f"http://{text}", f"http://a/{text}", f"https://a:{text}/"):
        try:
            request = Request.to(url)
        except MeshnbError:
            continue
        assert not faults(SMALL, request)


def test_both_key_styles_give_the_same_explanation():
    def camel(node: Any) -> Any:
        if isinstance(node, dict):
            # Names of Istio objects and filters are keys too, but have no underscore here.
            return {_camel(key): camel(value) for key, value in node.items()}
        return [camel(item) for item in node] if isinstance(node, list) else node

    def _camel(key: str) -> str:
        head, *rest = key.split("_")
        return head + "".join(part.capitalize() for part in rest)

    expected = explain(SMALL, Request.to(URL))
    assert explain(camel(SMALL), Request.to(URL)) == expected
    assert len(expected.outcomes) == 2


@pytest.mark.parametrize(
    ("dump", "says"),
    [
        (None, "not a config dump"),
        ([], "not a config dump"),
        ({}, "it has no configs"),
        ({"cluster_statuses": []}, "/clusters page"),
        ({"configs": 5}, "configs is a number"),
        ({"configs": [5]}, "configs holds a number"),
    ],
)
def test_what_is_no_dump_is_named(dump, says):
    with pytest.raises(FormatError, match=says):
        explain(dump, Request.to(URL))


def test_ten_thousand_unknown_extensions_are_undecided_not_fatal():
    filters = [
        {"name": f"ext-{n}", "typed_config": {"@type": f"type/x.y.Ext{n}", "value": "0x"}} for n in range(10_000)
    ]
    filters.append({"name": "router", "typed_config": {"@type": "v3.Router"}})
    route = {"match": {"prefix": "/"}, "direct_response": {"status": 200}}
    table = {"virtual_hosts": [{"name": "v", "domains": ["*"], "routes": [route]}]}
    manager = {"@type": "HttpConnectionManager", "route_config": table, "http_filters": filters}
    chain = {"filters": [{"name": "http", "typed_config": manager}]}
    listener = {"address": {"socket_address": {"address": "0.0.0.0", "port_value": 80}}, "filter_chains": [chain]}
    found = explain(
        {"configs": [{"@type": "ListenersConfigDump", "static_listeners": [{"listener": listener}]}]}, Request.to(URL)
    )
    assert len(found.undecided) == 10_000
    assert found.outcome.response_code == 200


def test_rules_nested_too_deeply_are_refused():
    rule: dict[str, Any] = {"any": True}
    for _ in range(20_000):
        rule = {"not_rule": rule}
    rules = {"rules": {"policies": {"p": {"permissions": [rule], "principals": [{"any": True}]}}}}
    table = {"virtual_hosts": [{"name": "v", "domains": ["*"], "routes": [{"match": {"prefix": "/"}}]}]}
    rbac = {"name": "rbac", "typed_config": {"@type": "a.RBAC", **rules}}
    manager = {"@type": "HttpConnectionManager", "route_config": table, "http_filters": [rbac]}
    chain = {"filters": [{"name": "http", "typed_config": manager}]}
    listener = {"address": {"socket_address": {"address": "0.0.0.0", "port_value": 80}}, "filter_chains": [chain]}
    dump = {"configs": [{"@type": "ListenersConfigDump", "static_listeners": [{"listener": listener}]}]}
    with pytest.raises(FormatError, match="nested too deeply"):
        explain(Config(dump), Request.to(URL))
