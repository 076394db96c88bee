"""Differences in meaning: the same dump in another order is the same, every known change is found."""

from __future__ import annotations

import copy
import json
import random
from pathlib import Path

import pytest
from camel import camel_case
from hypothesis import given, settings
from hypothesis import strategies as st

import meshnb
from meshnb.errors import FormatError, UsageError
from meshnb.loaders.diff import diff

DATA = Path(__file__).parents[1] / "data" / "envoy"
COMPARE = Path(__file__).parents[2] / ".." / "shared/data/istio/istioctl/pkg/writer/compare/testdata"
NAMES = ("gateway", "sidecar-v2b", "odd")
DUMPS = {name: json.loads((DATA / f"{name}-config_dump.json").read_bytes()) for name in NAMES}
V1 = "outbound|80|version-v1|catalog.istioinaction.svc.cluster.local"


def section(dump, kind):
    return next(one for one in dump["configs"] if one["@type"].endswith(f".{kind}ConfigDump"))


ORDERED = ("routes", "filters", "http_filters", "listener_filters")


def shuffled(value, chance, *, field=""):
    """The same with every list in another order but those of routes and filters."""
    if isinstance(value, dict):
        return {key: shuffled(one, chance, field=key) for key, one in value.items()}
    if isinstance(value, list):
        elements = [shuffled(one, chance) for one in value]
        if field not in ORDERED:
            chance.shuffle(elements)
        return elements
    return value


@pytest.mark.parametrize("name", NAMES)
def test_a_dump_does_not_differ_from_itself(name):
    df = diff(DUMPS[name], DATA / f"{name}-config_dump.json")
    assert df.empty
    assert list(df.columns)[:6] == ["kind", "resource", "path", "change", "before", "after"]


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(NAMES), st.integers(0, 2**32))
def test_another_order_is_no_difference(name, seed):
    assert diff(DUMPS[name], shuffled(DUMPS[name], random.Random(seed))).empty


def test_versions_and_times_are_no_difference():
    text = (DATA / "gateway-config_dump.json").read_text()
    other = text.replace("2026-11-23T09:03:50Z/1", "2027-01-01T00:00:00Z/9").replace("09:03:51", "11:11:11")
    assert other != text
    assert diff(text.encode(), other.encode()).empty


def test_the_other_key_style_is_no_difference():
    for name in NAMES:
        assert diff(DUMPS[name], camel_case(DUMPS[name])).empty


def changed(name, change):
    other = copy.deepcopy(DUMPS[name])
    change(other)
    return diff(DUMPS[name], other)


def routes_of(dump):
    return section(dump, "Routes")["dynamic_route_configs"][0]["route_config"]["virtual_hosts"][0]["routes"]


def one(df):
    assert len(df) == 1
    return df.iloc[0]


def test_a_weight_is_found_with_its_virtual_service():
    def change(dump):
        routes_of(dump)[1]["route"]["weighted_clusters"]["clusters"][0]["weight"] = 30

    row = one(changed("gateway", change))
    assert (row.kind, row.resource, row.change) == ("routes", "http.8080", "changed")
    assert (row.before, row.after) == ("20", "30")
    assert row.path.endswith(f"/routes[1]/route/weightedClusters/clusters[{V1}]/weight")
    assert (row.object, row.object_name) == ("VirtualService catalog-vs.istioinaction", "catalog-vs")


def test_routes_in_another_order_have_moved():
    row = one(changed("gateway", lambda dump: routes_of(dump).reverse()))
    assert row.change == "moved"
    assert row.object_kind == "VirtualService"


def test_a_route_put_in_between_is_one_addition():
    def change(dump):
        routes_of(dump).insert(1, {"match": {"path": "/new"}, "direct_response": {"status": 200}})

    row = one(changed("gateway", change))
    assert (row.change, json.loads(row.after)["match"]) == ("added", {"path": "/new"})
    assert row.path.endswith("/routes[1]")


def test_a_domain_more_is_a_change_of_the_same_virtual_host():
    def change(dump):
        section(dump, "Routes")["dynamic_route_configs"][0]["route_config"]["virtual_hosts"][0]["domains"].append("b.c")

    row = one(changed("gateway", change))
    assert (row.change, row.after) == ("added", '"b.c"')
    assert row.path.endswith("/domains[b.c]")


def test_a_cluster_that_is_gone_is_named_with_its_destination_rule():
    def change(dump):
        clusters = section(dump, "Clusters")["dynamic_active_clusters"]
        clusters[:] = [entry for entry in clusters if entry["cluster"]["name"] != V1]

    row = one(changed("gateway", change))
    assert (row.kind, row.resource, row.path, row.change) == ("clusters", V1, "", "removed")
    assert row.object == "DestinationRule catalog.istioinaction"
    assert row.config.endswith("/destination-rule/catalog")


def test_an_endpoint_is_named_by_its_address_and_owner():
    def change(dump):
        for entry in section(dump, "Endpoints")["dynamic_endpoint_configs"]:
            if entry["endpoint_config"]["cluster_name"] == V1:
                entry["endpoint_config"]["endpoints"][0]["lb_endpoints"][0]["health_status"] = "UNHEALTHY"

    row = one(changed("gateway", change))
    assert (row.kind, row.resource, row.before, row.after) == ("endpoints", V1, '"HEALTHY"', '"UNHEALTHY"')
    assert "127.0.0.41" in row.path
    assert row.object == "DestinationRule catalog.istioinaction"


def test_a_filter_chain_is_known_by_its_match():
    def change(dump):
        listeners = section(dump, "Listeners")["static_listeners"]
        chains = next(one for one in listeners if one["listener"]["name"] == "weighted")["listener"]["filter_chains"]
        chains[1]["filter_chain_match"]["destination_port"] = 9443
        chains.reverse()

    df = changed("odd", change)
    assert sorted(df.change) == ["added", "removed"]
    assert "9443" in df.set_index("change").loc["added", "path"]


def http_filters_of(dump):
    listener = section(dump, "Listeners")["dynamic_listeners"][0]["active_state"]["listener"]
    return listener["filter_chains"][0]["filters"][0]["typed_config"]["http_filters"]


def with_filters(*filters):
    def change(dump):
        http_filters_of(dump)[:0] = copy.deepcopy(filters)

    other = copy.deepcopy(DUMPS["gateway"])
    change(other)
    return other


A, B, C = ({"name": name, "typed_config": {"value": 1}} for name in ("a", "b", "c"))
B2 = {"name": "b", "typed_config": {"value": 2}}


def test_http_filters_in_another_order_have_moved():
    before, after = with_filters(A, B, C), with_filters(C, A, B)
    row = one(diff(before, after))
    assert (row.kind, row.change, row.before, row.after) == ("listeners", "moved", "2", "0")
    assert row.path.endswith("/httpFilters[c]")
    assert diff(before, after, ordered=("routes",)).empty


def test_network_and_listener_filters_in_another_order_have_moved():
    def document(**lists):
        kind = "type.googleapis.com/envoy.admin.v3.ListenersConfigDump"
        listener = {
            "name": "l",
            "filter_chains": [{"filters": lists["network"]}],
            "listener_filters": lists["listener"],
        }
        return {"configs": [{"@type": kind, "static_listeners": [{"listener": listener}]}]}

    df = diff(document(network=[A, B], listener=[B, C]), document(network=[B, A], listener=[C, B]))
    assert df.change.tolist() == ["moved", "moved"]
    assert [path.rpartition("/")[2].partition("[")[0] for path in df.path] == ["filters", "listenerFilters"]


@pytest.mark.parametrize(
    ("before", "after", "changes"),
    [
        ((A, B, C), (A, B2, C), [("changed", "b")]),
        ((A, B, C), (B2, A, C), [("changed", "b"), ("moved", "b")]),
        ((A, B, C), (A, C), [("removed", "b")]),
        ((A, C), (A, B, C), [("added", "b")]),
        ((A, B), (A, C), [("removed", "b"), ("added", "c")]),
        ((B, B2, A), (B2, B, A), [("moved", "b")]),
        ((), (A,), [("added", "a")]),
    ],
)
def test_what_became_of_a_filter(before, after, changes):
    df = diff(with_filters(*before), with_filters(*after))
    where = df.path.str.extract(r"httpFilters\[(?P<name>\w+)\]")["name"]
    assert list(zip(df.change, where, strict=True)) == changes
    assert len(diff(with_filters(*after), with_filters(*before))) == len(df)


def test_the_order_of_conditions_of_an_access_logger_is_none():
    def document(*conditions):
        log = {"name": "file", "filter": {"and_filter": {"filters": list(conditions)}}}
        kind = "type.googleapis.com/envoy.admin.v3.ListenersConfigDump"
        return {"configs": [{"@type": kind, "static_listeners": [{"listener": {"name": "l", "access_log": [log]}}]}]}

    first, second = {"not_health_check_filter": {}}, {"traceable_filter": {}}
    assert diff(document(first, second), document(second, first)).empty
    assert len(diff(document(first, second), document(second))) == 1


@settings(max_examples=40, deadline=None)
@given(st.permutations(["a", "b", "c", "d", "e"]))
def test_any_other_order_of_filters_is_found_and_nothing_but_moves(names):
    before, after = (with_filters(*({"name": name} for name in each)) for each in ("abcde", names))
    df = diff(before, after)
    assert df.empty == (list(names) == list("abcde"))
    assert set(df.change) <= {"moved"}


def test_a_resource_that_warms_is_a_change_of_state():
    def change(dump):
        clusters = section(dump, "Clusters")
        clusters["dynamic_warming_clusters"] = [clusters["dynamic_active_clusters"].pop()]

    row = one(changed("gateway", change))
    assert (row.path, row.before, row.after) == ("(state)", '"active"', '"warming"')


def test_private_keys_are_never_shown():
    def change(dump):
        secrets = section(dump, "Secrets")["dynamic_active_secrets"]
        for entry in secrets:
            if "tls_certificate" in entry["secret"]:
                entry["secret"]["tls_certificate"]["private_key"] = {"inline_string": "SECRET-1"}
        secrets.append(
            {"name": "n", "secret": {"name": "n", "generic_secret": {"secret": {"inline_string": "SECRET-2"}}}}
        )

    df = changed("gateway", change)
    assert len(df) == 2
    assert "SECRET" not in df.to_csv()


def leaves(value, path=()):
    if isinstance(value, dict):
        for key, child in value.items():
            if key not in ("@type", "version_info", "last_updated", "name", "cluster_name"):
                yield from leaves(child, (*path, key))
    elif isinstance(value, list):
        for index, child in enumerate(value):
            yield from leaves(child, (*path, index))
    else:
        yield path


LEAVES = {
    name: [
        (number, *path)
        for number, one_section in enumerate(dump["configs"])
        if not one_section["@type"].endswith(("BootstrapConfigDump", "ScopedRoutesConfigDump"))
        for path in leaves(one_section)
    ]
    for name, dump in DUMPS.items()
}


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(NAMES), st.data())
def test_every_changed_value_is_found(name, data):
    path = data.draw(st.sampled_from(LEAVES[name]))
    other = copy.deepcopy(DUMPS[name])
    target = other["configs"]
    for step in path[:-1]:
        target = target[step]
    value = target[path[-1]]
    target[path[-1]] = value + 1 if type(value) is int else not value if type(value) is bool else f"{value}x"
    df = diff(DUMPS[name], other)
    assert not df.empty
    assert len(diff(other, DUMPS[name])) == len(df)


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(NAMES), st.data())
def test_every_removed_resource_is_found(name, data):
    other = copy.deepcopy(DUMPS[name])
    lists = [
        value
        for one_section in other["configs"]
        for key, value in one_section.items()
        if isinstance(value, list) and value
    ]
    entries = data.draw(st.sampled_from(lists))
    entries.pop(data.draw(st.integers(0, len(entries) - 1)))
    df = diff(DUMPS[name], other)
    assert df.change.tolist() == ["removed"]
    assert diff(other, DUMPS[name]).change.tolist() == ["added"]


@pytest.mark.skipif(not COMPARE.is_dir(), reason="istioctl's own test documents are not beside the repository")
def test_istioctls_verdicts():
    same, other = COMPARE / "configdump.json", COMPARE / "configdump_diff.json"
    assert diff(same, same).empty
    assert set(diff(same, other).kind) == {"clusters", "listeners", "routes"}


def test_the_demo_broken_by_a_missing_destination_rule():
    def gateway(name):
        mesh = meshnb.open(name)
        return mesh.config_dump(next(proxy for proxy in mesh.proxies if proxy.startswith("istio-ingressgateway")))

    df = meshnb.diff(gateway("demo"), gateway("demo/missing-subset"), kinds=("clusters",))
    gone = df[df.change == "removed"]
    assert {"version-v1", "version-v2"} <= {name.split("|")[2] for name in gone[gone.path == ""].resource}
    assert set(df.object) == {"DestinationRule catalog.istioinaction"}


def test_wrong_arguments():
    with pytest.raises(UsageError, match="sections"):
        diff(DUMPS["odd"], DUMPS["odd"], kinds=("cluster",))
    with pytest.raises(FormatError):
        diff(DUMPS["odd"], b"{}")
