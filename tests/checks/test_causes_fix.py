"""Objects that repair a cause: whole, with the one thing changed that is at fault."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from meshnb.checks.causes_fix import repairs
from meshnb.checks.causes_objects import Failure
from meshnb.loaders.objects import objects_table
from meshnb.model.finding import Subject

HOST = "catalog.shop.svc.cluster.local"
SUBSETS = [{"name": "v1", "labels": {"version": "v1"}}]
SERVICE = Subject("Service", "catalog", "shop")


def thing(kind: str, name: str = "catalog", **spec: Any) -> dict[str, Any]:
    group = {"Service": "v1", "Pod": "v1"}.get(kind, "networking.istio.io/v1")
    if kind == "Deployment":
        group = "apps/v1"
    meta = {
        "name": name,
        "namespace": "shop",
        "resourceVersion": "7",
        "managedFields": [{}],
        "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}"},
        "labels": spec.pop("labels", {}),
        **spec.pop("meta", {}),
    }
    status = spec.pop("status", {"x": 1})
    return {"apiVersion": group, "kind": kind, "metadata": meta, "spec": spec, "status": status}


def fixes(cause: str, *objects: dict[str, Any], **failure: Any) -> list[Any]:
    """The objects that repair it."""
    given = {"subject": SERVICE, "host": HOST, "authority": "shop.example", "path": "/", **failure}
    return [yaml.safe_load(made.text) for made in repairs(Failure(cause, **given), objects_table(list(objects)))]


def fix(cause: str, *objects: dict[str, Any], **failure: Any) -> Any:
    """The one object that repairs it, `None` if there is none."""
    made = fixes(cause, *objects, **failure)
    assert len(made) <= 1
    return made[0] if made else None


def rule(**policy: Any) -> dict[str, Any]:
    return thing("DestinationRule", host="catalog", trafficPolicy=policy, subsets=SUBSETS)


def virtual(*http: dict[str, Any], hosts: tuple[str, ...] = ("shop.example",)) -> dict[str, Any]:
    return thing("VirtualService", hosts=list(hosts), http=list(http))


def service(**spec: Any) -> dict[str, Any]:
    return thing("Service", **{"selector": {"app": "catalog"}, "ports": [{"port": 80}], **spec})


def pod(name: str, *, version: str = "v1", **spec: Any) -> dict[str, Any]:
    """A pod of the catalog with a proxy, ready."""
    containers = [{"name": "app"}, {"name": "istio-proxy"}]
    ready = {"conditions": [{"type": "Ready", "status": "True"}]}
    labels = {"app": "catalog", "version": version}
    return thing("Pod", name, **{"containers": containers, "status": ready, "labels": labels, **spec})


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
        # certificates of somebody else's authority, to pods that have Istio's
        ("certificate_unknown_authority", {"mode": "SIMPLE", "caCertificates": "/etc/ca.pem"}, {}),
        ("certificate_rejected", {"mode": "MUTUAL", "credentialName": "client"}, {}),
    ],
)
def test_tls_settings_at_fault_are_taken_out(cause, tls, left):
    assert fix(cause, rule(tls=tls), service(), pod("a"))["spec"]["trafficPolicy"] == left


def test_tls_to_servers_that_are_not_the_meshs_stays_as_it_is():
    given = rule(tls={"mode": "SIMPLE", "caCertificates": "/etc/ca.pem", "subjectAltNames": ["shop.example"]})
    bare = pod("a", containers=[{"name": "app"}])
    for cause in ("certificate_unknown_authority", "certificate_rejected", "certificate_wrong_name"):
        assert fix(cause, given, service(), bare) is None, cause
        assert fix(cause, given) is None, cause


# a replica that fails, and others that are well


def retried(cause: str, route: dict[str, Any], *pods: dict[str, Any], failing: str = "a", **more: Any) -> Any:
    """The route of a VirtualService afterwards; the DestinationRule is there as well, and tested by itself."""
    subjects = frozenset(Subject("Pod", name, "shop") for name in failing)
    given = fixes(cause, virtual(route), service(), *(pods or (pod("a"), pod("b"))), failing=subjects, **more)
    assert {one["kind"] for one in given} <= {"VirtualService"}
    return given[0]["spec"]["http"][0]["retries"] if given else None


@pytest.mark.parametrize(
    ("cause", "before", "after"),
    [
        ("application_error", None, (3, "connect-failure,refused-stream,unavailable,cancelled,5xx")),
        ("application_error", {"attempts": 0}, (3, "connect-failure,refused-stream,unavailable,cancelled,5xx")),
        ("retries_exhausted", {"attempts": 1, "retryOn": "5xx"}, (3, "5xx")),
        (
            "connection_closed",
            {"attempts": 4, "retryOn": "503"},
            (4, "503,connect-failure,refused-stream,reset,gateway-error"),
        ),
        ("drain", {"attempts": 3, "retryOn": "reset"}, (3, "reset,connect-failure,refused-stream")),
        ("protocol_error", {"attempts": 3, "retryOn": "5xx"}, None),
        ("drain", {"attempts": 3, "retryOn": "connect-failure,refused-stream,reset"}, None),
    ],
)
def test_another_replica_answers_where_one_fails(cause, before, after):
    route = {**ROUTE, "retries": {**before, "perTryTimeout": "2s"}} if before else ROUTE
    found = retried(cause, route)
    assert (found and (found["attempts"], found["retryOn"])) == after
    assert found is None or before is None or found["perTryTimeout"] == "2s", "what else is set stays"


def test_retries_grow_with_the_replicas_that_fail_as_far_as_that_is_bearable():
    pods = [pod(name) for name in "abcdef"]
    assert retried("application_error", ROUTE, *pods, failing="ab")["attempts"] == 6
    assert retried("application_error", ROUTE, *pods, failing="abc") is None


def test_without_a_replica_that_is_well_nothing_bears_it():
    assert retried("application_error", ROUTE, failing="ab") is None
    unready = pod("b", status={"conditions": [{"type": "Ready", "status": "False"}]})
    assert retried("application_error", ROUTE, pod("a"), unready) is None
    assert retried("application_error", ROUTE, failing="") is None, "which one fails is not known"
    assert retried("application_error", ROUTE, failing="x") is None, "what fails is none of them"


def test_replicas_are_those_of_the_subset():
    subsets = [{"name": "v1", "labels": {"version": "v1"}}, {"name": "v2", "labels": {"version": "v2"}}]
    both = thing("DestinationRule", host="catalog", subsets=subsets)
    pods = [pod(name, version=version) for name, version in (("a", "v1"), ("b", "v2"), ("c", "v2"))]

    def kinds(failing: str, *of: str) -> list[str]:
        pod = frozenset({Subject("Pod", failing, "shop")})
        found = fixes("application_error", virtual(ROUTE), service(), both, *pods, failing=pod, subsets=of)
        return [one["kind"] for one in found]

    assert kinds("a", "v1") == [], "the only one of its subset"
    assert kinds("b", "v2") == ["VirtualService", "DestinationRule"]
    assert kinds("b", "v2", "v1") == [], "it is none of v1"
    assert kinds("b", "v3") == [], "no such subset"


def test_a_failing_replica_is_taken_out_unless_somebody_decided_otherwise():
    pods, failing = [pod(name) for name in "abc"], frozenset({Subject("Pod", "a", "shop")})
    (found,) = fixes("application_error", rule(), service(), *pods, failing=failing)
    assert found["spec"]["trafficPolicy"]["outlierDetection"]["maxEjectionPercent"] == 34
    assert found["spec"]["subsets"] == SUBSETS
    decided = rule(outlierDetection={"consecutive5xxErrors": 0})
    assert fixes("application_error", decided, service(), *pods, failing=failing) == []


def test_callers_that_stick_to_a_replica_are_not_helped_by_retries():
    sticky = rule(loadBalancer={"consistentHash": {"useSourceIp": True}})
    failing = frozenset({Subject("Pod", "a", "shop")})
    found = fixes("application_error", virtual(ROUTE), sticky, service(), pod("a"), pod("b"), failing=failing)
    assert [one["kind"] for one in found] == ["DestinationRule"]


def test_every_stopgap_says_so():
    failing = frozenset({Subject("Pod", "a", "shop")})
    objects = objects_table([virtual(ROUTE), rule(), service(), pod("a"), pod("b")])
    for cause in ("application_error", "connection_refused", "drain", "retries_exhausted"):
        made = repairs(Failure(cause, SERVICE, HOST, "shop.example", "/", failing=failing), objects)
        assert len(made) >= 1 and all(one.note.startswith("A stopgap:") for one in made), cause


# proxies that end

GONE = Subject("Pod", "catalog-v1-6c8d9f7b6-aaaaa", "shop")


def deployment(**annotations: str) -> dict[str, Any]:
    template = {"metadata": {"labels": {"app": "catalog"}, "annotations": annotations}, "spec": {}}
    return thing("Deployment", "catalog-v1", template=template)


def told(*objects: dict[str, Any]) -> dict[str, str] | None:
    """The annotations that its Deployment gives its pods afterwards."""
    found = fix("drain", *objects, pod("another"), subject=GONE)
    return None if found is None else found["spec"]["template"]["metadata"]["annotations"]


def test_a_proxy_that_was_to_end_waits_for_its_connections():
    expected = {"proxyMetadata": {"EXIT_ON_ZERO_ACTIVE_CONNECTIONS": "true"}}
    given = told(deployment())
    assert given is not None and yaml.safe_load(given["proxy.istio.io/config"]) == expected
    going = pod(GONE.name, meta={"deletionTimestamp": "2026-01-01T00:00:00Z"})
    kept = told(deployment(**{"proxy.istio.io/config": "concurrency: 4"}), going)
    assert kept is not None and yaml.safe_load(kept["proxy.istio.io/config"]) == {"concurrency": 4, **expected}
    assert told(deployment(**{"proxy.istio.io/config": yaml.safe_dump(expected)})) is None, "it waits already"
    assert told(deployment(**{"proxy.istio.io/config": "{"})) is None
    assert fix("drain", deployment(), subject=GONE) is None, "no pods were captured: whether it is gone is not known"


def test_a_proxy_that_was_killed_for_its_memory_gets_more():
    def killed(limit: str, reason: str) -> dict[str, Any]:
        resources = {"limits": {"memory": limit, "cpu": "2"}, "requests": {"cpu": "100m", "memory": "128Mi"}}
        proxy = {"name": "istio-proxy", "resources": resources}
        status = [{"name": "istio-proxy", "restartCount": 3, "lastState": {"terminated": {"reason": reason}}}]
        return pod(GONE.name, containers=[proxy], status={"containerStatuses": status})

    # one annotation alone would drop what the mesh gives its proxies otherwise
    assert told(deployment(), killed("512Mi", "OOMKilled")) == {
        "sidecar.istio.io/proxyCPU": "100m",
        "sidecar.istio.io/proxyMemory": "128Mi",
        "sidecar.istio.io/proxyCPULimit": "2",
        "sidecar.istio.io/proxyMemoryLimit": "1024Mi",
    }
    assert told(deployment(), killed("512Mi", "Error")) is None
    assert told(deployment(), killed("1.5e9", "OOMKilled")) is None
    assert told(deployment(), pod(GONE.name)) is None, "it is there, and nothing says why its proxy ended"


# routes that answer by themselves

ANSWER = {"directResponse": {"status": 503, "body": {"string": "closed"}}}


def test_a_route_that_answers_by_itself_is_taken_out_or_leads_to_the_service_the_host_is_named_after():
    assert fix("direct_response", virtual(ANSWER, ROUTE), code=503)["spec"]["http"] == [ROUTE]
    only = {**ANSWER, "match": [{"uri": {"prefix": "/api"}}]}
    named = {"authority": "catalog.example:8080", "code": 503}
    here = virtual(only, hosts=("catalog.example",))
    (route,) = fix("direct_response", here, thing("Service", ports=[{"port": 80}]), **named)["spec"]["http"]
    assert route == {"match": only["match"], "route": [{"destination": {"host": HOST, "port": {"number": 80}}}]}
    assert fix("direct_response", here, thing("Service", ports=[{"port": 80}, {"port": 81}]), **named) is None
    assert fix("direct_response", here, **named) is None, "no such Service"
    assert fix("direct_response", virtual(ANSWER, ROUTE), code=404) is None, "another route's answer"
    assert fix("direct_response", virtual(ANSWER, ANSWER, ROUTE), code=503) is None, "which one is not known"


def test_faults_are_removed_and_timeouts_are_longer():
    found = fix("fault_abort", virtual({**ROUTE, "fault": {"abort": {"httpStatus": 503}}}, ROUTE))
    assert found["spec"]["http"] == [ROUTE, ROUTE]
    slow = {**ROUTE, "timeout": "500ms", "retries": {"attempts": 2, "perTryTimeout": "0.2s"}}
    found = fix("slow_upstream", virtual(slow))["spec"]["http"][0]
    assert (found["timeout"], found["retries"]["perTryTimeout"]) == ("1.5s", "0.6s")


def test_an_attempt_that_takes_too_long_may_take_as_long_as_the_request():
    slow = {**ROUTE, "timeout": "2s", "retries": {"attempts": 2, "perTryTimeout": "0.2s"}}
    found = fix("slow_upstream", virtual(slow), details="upstream_per_try_timeout")["spec"]["http"]
    assert found == [{**ROUTE, "timeout": "2s", "retries": {"attempts": 2}}]
    assert fix("slow_upstream", virtual(ROUTE), details="upstream_per_try_timeout") is None


def test_a_port_a_service_with_one_port_does_not_have():
    one = thing("Service", ports=[{"port": 80}])
    found = fix("missing_cluster", virtual(ROUTE), one)
    assert found["spec"]["http"][0]["route"][0]["destination"]["port"] == {"number": 80}
    two = thing("Service", ports=[{"port": 80}, {"port": 81}])
    assert fix("missing_cluster", virtual(ROUTE), two) is None, "which one is meant nobody knows"


def test_a_host_one_letter_away_and_a_route_for_the_rest():
    assert fix("unknown_host", virtual(hosts=("shoppe.example",)))["spec"]["hosts"] == ["shop.example"]
    assert fix("unknown_host", virtual(hosts=("other.example",))) is None
    only = {**ROUTE, "match": [{"uri": {"prefix": "/api"}}]}
    assert fix("no_route", virtual(only))["spec"]["http"] == [only, ROUTE]


def test_a_selector_one_letter_away_from_the_labels_of_pods():
    one = thing("Pod", "catalog-1", labels={"app": "catalog", "tier": "a"})
    assert fix("no_healthy_upstream", thing("Service", selector={"app": "catalogue"}), one)["spec"]["selector"] == {
        "app": "catalog"
    }
    assert fix("no_healthy_upstream", thing("Service", selector={"app": "catalog"}), one) is None, "they are not ready"
    assert fix("no_healthy_upstream", thing("Service", selector={"app": "web"}), one) is None


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
