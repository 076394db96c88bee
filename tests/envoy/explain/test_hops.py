"""Internal listeners are followed, and circles of them end."""

from __future__ import annotations

from typing import Any

from meshnb.envoy.explain import Config, Request, explain


def internal(name: str, cluster: str) -> dict[str, Any]:
    proxy = {"@type": "v3.TcpProxy", "cluster": cluster}
    return {
        "name": name,
        "internal_listener": {},
        "filter_chains": [{"filters": [{"name": "t", "typed_config": proxy}]}],
    }


def to_listener(cluster: str, listener: str) -> dict[str, Any]:
    address = {"envoy_internal_address": {"server_listener_name": listener, "endpoint_id": "x"}}
    return assigned(cluster, address)


def assigned(cluster: str, address: dict[str, Any]) -> dict[str, Any]:
    hosts = {"cluster_name": cluster, "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}]}
    return {"name": cluster, "type": "STATIC", "load_assignment": hosts}


def explained(clusters: list[dict], listeners: list[dict]):
    route = {"match": {"prefix": "/"}, "route": {"cluster": "first"}}
    table = {"virtual_hosts": [{"name": "v", "domains": ["*"], "routes": [route]}]}
    manager = {"@type": "v3.HttpConnectionManager", "route_config": table}
    front = {"name": "front", "address": {"socket_address": {"address": "0.0.0.0", "port_value": 80}}}
    front["filter_chains"] = [{"filters": [{"name": "http", "typed_config": manager}]}]
    sections = [
        {"@type": "v3.ListenersConfigDump", "static_listeners": [{"listener": item} for item in [front, *listeners]]},
        {"@type": "v3.ClustersConfigDump", "static_clusters": [{"cluster": cluster} for cluster in clusters]},
    ]
    return explain(Config({"configs": sections}), Request.to("http://a/"))


REAL = {"socket_address": {"address": "10.0.0.1", "port_value": 8080}}


def test_a_request_is_followed_to_the_last_cluster():
    clusters = [to_listener("first", "one"), to_listener("second", "two"), assigned("third", REAL)]
    found = explained(clusters, [internal("one", "second"), internal("two", "third")])
    assert [endpoint.address for endpoint in found.outcome.endpoints] == ["10.0.0.1:8080"]
    assert found.outcome.cluster == "first"
    assert "internal listener one, internal listener two" in found.outcome.notes[-1]
    assert not found.undecided


def test_a_circle_ends_and_is_named():
    clusters = [to_listener("first", "one"), to_listener("second", "two"), to_listener("third", "one")]
    found = explained(clusters, [internal("one", "second"), internal("two", "third")])
    assert "one → two → one" in found.undecided[0]
    assert found.outcome.kind == "undecided"


def test_a_listener_that_leads_to_itself():
    found = explained([to_listener("first", "one")], [internal("one", "first")])
    assert "one → one" in found.undecided[0]


def test_a_listener_that_is_not_there():
    found = explained([to_listener("first", "gone")], [])
    assert "no such internal listener" in found.undecided[0]


def test_a_missing_cluster_behind_a_listener():
    found = explained([to_listener("first", "one")], [internal("one", "second")])
    assert found.outcome.notes[-1] == "internal listener one ends with NC"
