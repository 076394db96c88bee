"""mesh.describe: what concerns a pod or a service, before and after a fix."""

from __future__ import annotations

import pytest

import meshnb
from meshnb.errors import NotFound
from meshnb.loaders.objects import objects_table
from meshnb.runbook.describe_policy import authorization_policies, mutual_tls

V1 = "catalog-5d4f7c9b8-v1aaa"


def test_s10_19_a_pod_before_and_after_the_fix():
    """S10-19: services, routes, subsets, mTLS and policies of a pod; the fault is a warning, the fix ends it."""
    broken = meshnb.open("demo/missing-subset").describe(f"pod/{V1}")
    assert any("version-v1" in warning and "no DestinationRule defines" in warning for warning in broken.warnings)
    assert not broken.routes.leads_here.any()
    fixed = meshnb.open("demo").describe(f"pod/{V1}")
    assert not fixed.warnings
    assert dict(zip(fixed.routes.subset, fixed.routes.leads_here, strict=True)) == {
        "version-v1": True,
        "version-v2": False,
    }
    assert fixed.routes.weight.tolist() == [20, 80]
    assert fixed.services[["port", "protocol", "target_port"]].values.tolist() == [[80, "http", "3000"]]
    assert fixed.subsets.matches.tolist() == [True, True, False]
    assert fixed.ingress.served_by.tolist() == ["istio-ingressgateway-7d9f8c6b5-lab01"]
    assert fixed.facts["sync"] == "SYNCED"


def test_s10_19_a_service_with_all_its_pods():
    """S10-19: x describe service."""
    service = meshnb.open("demo").describe("service/catalog.istioinaction")
    assert (service.facts["pods"], service.facts["with a proxy"]) == (3, 3)
    assert service.routes.leads_here.all()
    text = str(service)
    assert text.startswith("Service istioinaction/catalog\n") and "subset version-v2, weight 80" in text
    shown = service._repr_html_()
    assert "<b>Routes</b>" in shown and '<div class="meshnb">' in shown and "&lt;NA&gt;" not in shown


@pytest.mark.parametrize(
    "wanted", ["app=catalog", "version=v2", "deploy/catalog", "catalog", V1, f"{V1}.istioinaction"]
)
def test_s10_20_pods_are_found_by_label_workload_or_name(wanted):
    """S10-20: instead of jsonpath on app=catalog."""
    found = meshnb.open("demo").find_pods(wanted)
    assert len(found) == {"app=catalog": 3, "version=v2": 2}.get(wanted, 1)


def test_a_mistyped_name_is_an_error_that_names_the_nearest():
    with pytest.raises(NotFound) as caught:
        meshnb.open("demo").describe("pod/catalogue")
    assert "did you mean catalog" in caught.value.hint


def policy(kind, name, namespace, spec, created="2026-01-01T00:00:00Z"):
    meta = {"name": name, "namespace": namespace, "creationTimestamp": created}
    return {"apiVersion": "security.istio.io/v1", "kind": kind, "metadata": meta, "spec": spec}


def modes(*policies, labels=None):
    return [(r["policy"], r["action"]) for r in mutual_tls(objects_table(list(policies)), "n", labels or {"app": "a"})]


def test_mutual_tls_in_force():
    mesh = policy("PeerAuthentication", "default", "istio-system", {"mtls": {"mode": "STRICT"}})
    space = policy("PeerAuthentication", "default", "n", {"mtls": {"mode": "DISABLE"}})
    later = policy("PeerAuthentication", "later", "n", {"mtls": {"mode": "STRICT"}}, "2026-02-01T00:00:00Z")
    unset = policy("PeerAuthentication", "unset", "n", {})
    own = {"selector": {"matchLabels": {"app": "a"}}, "portLevelMtls": {"9090": {"mode": "DISABLE"}, "80": {}}}
    workload = policy("PeerAuthentication", "own", "n", own)
    other = policy(
        "PeerAuthentication", "other", "n", {"selector": {"matchLabels": {"app": "b"}}, "mtls": {"mode": "DISABLE"}}
    )
    elsewhere = policy("PeerAuthentication", "default", "m", {"mtls": {"mode": "DISABLE"}})
    assert modes() == [("mutual TLS", "PERMISSIVE")]
    assert modes(mesh, elsewhere) == [("mutual TLS", "STRICT")]
    assert modes(mesh, space) == [("mutual TLS", "DISABLE")]
    assert modes(space, later) == [("mutual TLS", "DISABLE")]
    assert modes(mesh, unset) == [("mutual TLS", "STRICT")]
    assert modes(mesh, workload, other) == [
        ("mutual TLS", "STRICT"),
        ("mutual TLS on port 80", "STRICT"),
        ("mutual TLS on port 9090", "DISABLE"),
    ]


def test_authorization_policies_in_the_order_they_are_asked():
    policies = [
        policy("AuthorizationPolicy", "nothing", "n", {}),
        policy("AuthorizationPolicy", "deny", "istio-system", {"action": "DENY", "rules": [{}]}),
        policy("AuthorizationPolicy", "other", "n", {"selector": {"matchLabels": {"app": "b"}}}),
        policy("AuthorizationPolicy", "elsewhere", "m", {}),
    ]
    rows = list(authorization_policies(objects_table(policies), "n", {"app": "a"}))
    assert [(r["policy"], r["action"]) for r in rows] == [
        ("AuthorizationPolicy istio-system/deny", "DENY"),
        ("AuthorizationPolicy n/nothing", "ALLOW"),
    ]
    assert "denies everything" in rows[1]["why"]
