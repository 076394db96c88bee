"""Authorization rules in the RBAC filters of a config dump."""

from __future__ import annotations

import contextlib
import copy
import json

import pytest
from camel import camel_case

import meshnb
from meshnb.errors import FormatError, MeshnbError
from meshnb.loaders.istioctl import Options, istioctl_text
from meshnb.model.tables.authz import AUTHZ
from meshnb.sources.snapshot import SnapshotWriter

GET = {"permissions": [{"header": {"name": ":method", "exact_match": "GET"}}], "principals": [{"any": True}]}


def rbac(name="envoy.filters.http.rbac", **config):
    return {"name": name, "typed_config": config}


def rules(*keys, **more):
    return {**more, "policies": dict.fromkeys(keys, GET)}


def chain(*http, tcp=(), **more):
    manager = {"name": "envoy.filters.network.http_connection_manager", "typed_config": {"http_filters": list(http)}}
    return {"filters": [*tcp, manager], **more}


def listener(name, *chains, **more):
    address = {"socket_address": {"address": "0.0.0.0", "port_value": 15006}}
    return {"name": name, "address": address, "filter_chains": list(chains), "traffic_direction": "INBOUND", **more}


def dump(*dynamic, static=()):
    return {
        "configs": [
            {
                "@type": "type.googleapis.com/envoy.admin.v3.ListenersConfigDump",
                "dynamic_listeners": [{"name": one["name"], "active_state": {"listener": one}} for one in dynamic],
                "static_listeners": [{"listener": one} for one in static],
            }
        ]
    }


DENY = rbac(rules=rules("ns[shop]-policy[no-admin]-rule[1]", "ns[shop]-policy[no-admin]-rule[0]", action="DENY"))
ALLOW = rbac(rules=rules("ns[shop]-policy[readers]-rule[0]"))
EXTERNAL = rbac(shadow_rules=rules("istio-ext-authz-ns[shop]-policy[opa]-rule[0]", action="DENY"))
DRY_RUN = rbac(shadow_rules=rules("ns[shop]-policy[trial]-rule[0]", action="DENY"))
INBOUND = listener(
    "virtualInbound",
    chain(EXTERNAL, DENY, ALLOW, name="http", filter_chain_match={"destination_port": 8080}),
    chain(tcp=[rbac("envoy.filters.network.rbac", rules={}, stat_prefix="tcp.")]),
    default_filter_chain=chain(DRY_RUN),
)


def authz(document):
    return meshnb.read_config_dump(document).authz()


def test_one_row_per_rule_in_the_order_of_filters():
    df = authz(dump(INBOUND))
    assert list(df.columns) == AUTHZ.column_names
    shown = df[["position", "layer", "mode", "action", "policy", "rule"]].astype(object).where(df.notna(), None)
    assert shown.values.tolist() == [
        [0, "HTTP", "external", "CUSTOM", "opa", 0],
        [0, "HTTP", "enforced", "DENY", "no-admin", 0],
        [0, "HTTP", "enforced", "DENY", "no-admin", 1],
        [0, "HTTP", "enforced", "ALLOW", "readers", 0],
        [1, "TCP", "enforced", "ALLOW", None, None],
        [2, "HTTP", "dry_run", "DENY", "trial", 0],
    ]
    assert df.default_chain.tolist() == [False] * 5 + [True]
    first = df.iloc[0]
    assert (first.chain, first.match, first.port, first.direction) == ("http", "Addr: *:8080", 15006, "INBOUND")
    assert first.policy_key == "istio-ext-authz-ns[shop]-policy[opa]-rule[0]"
    assert json.loads(first.permissions) == GET["permissions"]
    assert json.loads(first.principals) == [{"any": True}]


def test_the_other_key_style_is_the_same():
    assert (
        authz(camel_case(dump(INBOUND)))
        .drop(columns="permissions")
        .equals(authz(dump(INBOUND)).drop(columns="permissions"))
    )


def test_rules_that_istio_did_not_name_matchers_and_filters_that_do_nothing():
    mine = {"action": 1, "policies": {"mine": {"permissions": [{"any": True}], "condition": {"const_expr": {}}}}}
    document = dump(listener("a", chain(rbac(rules=mine), rbac(matcher={"on_no_match": {}}, rules={}), rbac())))
    df = authz(document)
    own, matcher = df.itertuples(index=False)
    assert (own.action, own.policy_key, own.condition) == ("DENY", "mine", '{"const_expr":{}}')
    assert df[["policy", "namespace", "rule"]].isna().all(axis=None)
    assert (matcher.mode, matcher.matcher) == ("enforced", '{"on_no_match":{}}')
    assert authz(dump(listener("a", chain()))).empty


def test_a_filter_that_is_none_is_named():
    with pytest.raises(FormatError, match="listener bad") as caught:
        authz(dump(listener("good", chain(ALLOW)), listener("bad", chain(rbac(rules={"policies": 7})))))
    assert "byte" in str(caught.value)


def places(value, path=()):
    """Where every value of a document stands."""
    for key, child in value.items() if isinstance(value, dict) else enumerate(value):
        yield (*path, key)
        if isinstance(child, (dict, list)):
            yield from places(child, (*path, key))


@pytest.mark.parametrize("junk", [None, 7, "x", [], [None], {"a": 1}, 1e400], ids=str)
def test_whatever_stands_in_a_filter_only_our_errors_come_out(junk):
    whole = dump(INBOUND)
    for path in places(whole["configs"][0], ("configs", 0)):
        other = copy.deepcopy(whole)
        target = other
        for step in path[:-1]:
            target = target[step]
        target[path[-1]] = junk
        for read in (authz, lambda document: istioctl_text("authz", document, Options({}))):
            with contextlib.suppress(MeshnbError):
                read(other)


def test_istioctl_counts_rules_by_name_and_leaves_the_default_chain_out():
    static = listener("static", chain(rbac(rules=rules("ns[shop]-policy[unseen]-rule[0]"))))
    odd = rbac(rules=rules("ns[shop]-policy[readers]-rule[7]", action="LOG"))
    text = istioctl_text("authz", dump(INBOUND, listener("b", chain(odd)), static=[static]), Options({}))
    assert text == (
        "ACTION   AuthorizationPolicy         RULES\n"
        "DENY     no-admin.shop               2\n"
        "ALLOW    _anonymous_match_nothing_   1\n"
        "ALLOW    readers.shop                2\n"
        "LOG      readers.shop                2\n"
        "CUSTOM   opa.shop                    1\n"
    )
    assert istioctl_text("authz", dump(listener("a", chain())), Options({})) == (
        "ACTION   AuthorizationPolicy   RULES\n"
    )
    assert istioctl_text("authz", dump(static=[static]), Options({})) == ""


def test_rules_of_all_proxies_of_a_snapshot(tmp_path):
    with SnapshotWriter(tmp_path / "snapshot", source="test", cluster="test") as writer:
        for proxy in ("a-0.shop", "b-0.shop"):
            data = json.dumps(dump(INBOUND)).encode()
            writer.add(f"envoy/{proxy}/config_dump.json", "config_dump", data, proxy=proxy)
    mesh = meshnb.open(tmp_path / "snapshot")
    assert mesh.authz(action="DENY").groupby("proxy").size().to_dict() == {"a-0.shop": 3, "b-0.shop": 3}
    assert set(mesh.authz(policy="opa").action) == {"CUSTOM"}
    assert len(mesh.table("authz")) == 12
