"""Objects that repair a cause: whole, with the one thing changed that is at fault."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from meshnb.checks.causes_fix import Failure, repairs
from meshnb.loaders.objects import objects_table
from meshnb.model.finding import Subject

HOST = "catalog.shop.svc.cluster.local"
SUBSETS = [{"name": "v1", "labels": {"version": "v1"}}]
SERVICE = Subject("Service", "catalog", "shop")


def thing(kind: str, name: str = "catalog", **spec: Any) -> dict[str, Any]:
    group = {"Service": "v1", "Pod": "v1"}.get(kind, "networking.istio.io/v1")
    meta = {
        "name": name,
        "namespace": "shop",
        "resourceVersion": "7",
        "managedFields": [{}],
        "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}"},
        "labels": spec.pop("labels", {}),
    }
    return {"apiVersion": group, "kind": kind, "metadata": meta, "spec": spec, "status": {"x": 1}}


def fix(cause: str, *objects: dict[str, Any], subject: Subject = SERVICE, authority: str = "shop.example") -> Any:
    """The one object that repairs it, `None` if there is none."""
    made = repairs(Failure(cause, subject, HOST, authority, "/"), objects_table(list(objects)))
    assert len(made) <= 1
    return yaml.safe_load(made[0].text) if made else None


def rule(**policy: Any) -> dict[str, Any]:
    return thing("DestinationRule", host="catalog", trafficPolicy=policy, subsets=SUBSETS)


def virtual(*http: dict[str, Any], hosts: tuple[str, ...] = ("shop.example",)) -> dict[str, Any]:
    return thing("VirtualService", hosts=list(hosts), http=list(http))


ROUTE = {"route": [{"destination": {"host": "catalog", "port": {"number": 8080}}}]}


def test_a_fix_is_the_whole_object_without_what_the_api_server_added():
    found = fix("keepalive_race", rule(tls={"mode": "ISTIO_MUTUAL"}))
    assert found["spec"]["subsets"] == SUBSETS and found["spec"]["trafficPolicy"]["tls"] == {"mode": "ISTIO_MUTUAL"}
    assert found["spec"]["trafficPolicy"]["connectionPool"]["http"] == {"idleTimeout": "4s"}
    assert found["metadata"] == {"name": "catalog", "namespace": "shop"} and "status" not in found


def test_limits_are_raised_where_they_are_set():
    pool = {"tcp": {"maxConnections": 2}, "http": {"http1MaxPendingRequests": 0}}
    found = fix("circuit_breaker", rule(connectionPool=pool))
    assert found["spec"]["trafficPolicy"]["connectionPool"] == {
        "tcp": {"maxConnections": 20},
        "http": {"http1MaxPendingRequests": 10},
    }


@pytest.mark.parametrize(
    ("cause", "tls", "left"),
    [
        ("plaintext_to_strict", {"mode": "DISABLE"}, {}),
        ("mtls_to_plaintext", {"mode": "ISTIO_MUTUAL"}, {}),
        (
            "certificate_wrong_name",
            {"mode": "ISTIO_MUTUAL", "subjectAltNames": ["x"]},
            {"tls": {"mode": "ISTIO_MUTUAL"}},
        ),
    ],
)
def test_tls_settings_at_fault_are_taken_out(cause, tls, left):
    assert fix(cause, rule(tls=tls))["spec"]["trafficPolicy"] == left


def test_faults_are_removed_and_timeouts_are_longer():
    found = fix("fault_abort", virtual({**ROUTE, "fault": {"abort": {"httpStatus": 503}}}, ROUTE))
    assert found["spec"]["http"] == [ROUTE, ROUTE]
    slow = {**ROUTE, "timeout": "500ms", "retries": {"attempts": 2, "perTryTimeout": "0.2s"}}
    found = fix("slow_upstream", virtual(slow))["spec"]["http"][0]
    assert (found["timeout"], found["retries"]["perTryTimeout"]) == ("1.5s", "0.6s")


def test_a_port_a_service_with_one_port_does_not_have():
    service = thing("Service", ports=[{"port": 80}])
    found = fix("missing_cluster", virtual(ROUTE), service)
    assert found["spec"]["http"][0]["route"][0]["destination"]["port"] == {"number": 80}
    two = thing("Service", ports=[{"port": 80}, {"port": 81}])
    assert fix("missing_cluster", virtual(ROUTE), two) is None, "which one is meant nobody knows"


def test_a_host_one_letter_away_and_a_route_for_the_rest():
    assert fix("unknown_host", virtual(hosts=("shoppe.example",)))["spec"]["hosts"] == ["shop.example"]
    assert fix("unknown_host", virtual(hosts=("other.example",))) is None
    only = {**ROUTE, "match": [{"uri": {"prefix": "/api"}}]}
    assert fix("no_route", virtual(only))["spec"]["http"] == [only, ROUTE]


def test_a_selector_one_letter_away_from_the_labels_of_pods():
    pod = thing("Pod", "catalog-1", labels={"app": "catalog", "tier": "a"})
    assert fix("no_healthy_upstream", thing("Service", selector={"app": "catalogue"}), pod)["spec"]["selector"] == {
        "app": "catalog"
    }
    assert fix("no_healthy_upstream", thing("Service", selector={"app": "catalog"}), pod) is None, "they are not ready"
    assert fix("no_healthy_upstream", thing("Service", selector={"app": "web"}), pod) is None


def test_a_denial_is_lifted_and_an_allowance_is_not_widened():
    policy = Subject("AuthorizationPolicy", "deny", "shop")
    deny = thing("AuthorizationPolicy", "deny", action="DENY", rules=[{}], selector={"matchLabels": {"app": "a"}})
    assert fix("rbac_denied", deny, subject=policy)["spec"] == {
        "action": "DENY",
        "selector": {"matchLabels": {"app": "a"}},
    }
    allow = thing("AuthorizationPolicy", "deny", action="ALLOW", rules=[{}])
    assert fix("rbac_denied", allow, subject=policy) is None


def test_a_bucket_is_enlarged():
    limit = {"name": "envoy.filters.http.local_ratelimit", "typed_config": {"token_bucket": {"max_tokens": 5}}}
    found = fix("rate_limited", thing("EnvoyFilter", configPatches=[{"patch": {"value": limit}}]))
    assert found["spec"]["configPatches"][0]["patch"]["value"]["typed_config"]["token_bucket"] == {"max_tokens": 50}


@pytest.mark.parametrize(
    ("cause", "objects"),
    [
        ("circuit_breaker", [rule(loadBalancer={"simple": "RANDOM"})]),
        ("circuit_breaker", [thing("DestinationRule", host="other", trafficPolicy={}, subsets=[])]),
        ("plaintext_to_strict", [rule(tls={"mode": "ISTIO_MUTUAL"})]),
        ("fault_delay", [virtual(ROUTE)]),
        ("slow_upstream", [virtual({**ROUTE, "timeout": "soon"})]),
        ("no_route", [virtual(ROUTE)]),
        ("rate_limited", [thing("EnvoyFilter", configPatches=[])]),
        ("application_error", [rule()]),
        ("rbac_denied", []),
    ],
)
def test_where_nothing_can_be_told_to_be_at_fault_there_is_no_object(cause, objects):
    assert fix(cause, *objects) is None


def test_without_objects_there_is_no_object():
    assert repairs(Failure("fault_abort", SERVICE), None) == ()
