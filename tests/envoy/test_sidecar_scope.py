"""Which Sidecar holds and what it imports: istiod's rules, case by case."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from meshnb.envoy.sidecar_objects import rules_of, services_of, sidecar_of
from meshnb.envoy.sidecar_scope import Egress, Rules, Service, Sidecar, choose, covers, scope


def made(day: int) -> datetime:
    return datetime(2026, 1, day, tzinfo=UTC)


def host(name: str, namespace: str) -> str:
    return f"{name}.{namespace}.svc.cluster.local"


WEB = {"app": "web", "version": "v1"}
MESH = Sidecar("istio-system", "default", created=made(1))
SPACE = Sidecar("shop", "default", created=made(2))
OWN = Sidecar("shop", "web", {"app": "web"}, created=made(3))
OLDER = Sidecar("shop", "older", {"version": "v1"}, created=made(2))

CHOICES = {
    "none at all": ([], None, "none"),
    "the root namespace's for a namespace without one": ([MESH], MESH, "mesh"),
    "the namespace's before the mesh's": ([MESH, SPACE], SPACE, "namespace"),
    "the workload's before both, though it is the youngest": ([MESH, SPACE, OWN], OWN, "workload"),
    "a selector of another workload": ([MESH, Sidecar("shop", "api", {"app": "api"})], MESH, "mesh"),
    "one label of two does not fit": ([Sidecar("shop", "web", {"app": "web", "version": "v2"})], None, "none"),
    "an empty selector fits all and counts as one": ([SPACE, Sidecar("shop", "any", {})], ("shop", "any"), "workload"),
    "another namespace's": ([Sidecar("other", "default")], None, "none"),
    "a selector in the root namespace is for it": ([Sidecar("istio-system", "web", {"app": "web"})], None, "none"),
    "of two without selector the oldest": ([SPACE, Sidecar("shop", "a", created=made(9))], SPACE, "namespace"),
    "of two selectors the oldest": ([OWN, OLDER], ("shop", "older"), "workload"),
    "of the same age the first by name": ([SPACE, Sidecar("shop", "a", created=made(2))], ("shop", "a"), "namespace"),
    "one not applied yet is the youngest": ([SPACE, Sidecar("shop", "a")], SPACE, "namespace"),
}  # fmt: skip


@pytest.mark.parametrize(("sidecars", "expected", "level"), CHOICES.values(), ids=CHOICES)
def test_s11_45_the_most_specific_sidecar_holds(sidecars, expected, level):
    """S11-45: workloadSelector, namespace, root namespace, in this order; the oldest of several."""
    found = choose(reversed(sidecars), namespace="shop", labels=WEB)
    wanted = expected.key if isinstance(expected, Sidecar) else expected
    assert (found.sidecar.key if found.sidecar else None, found.level) == (wanted, level)
    assert found.why


def test_s11_45_gateways_are_not_limited_and_losers_are_named():
    """S11-45: no Sidecar holds for a gateway; what loses is told."""
    assert choose([MESH], namespace="istio-system", labels={}, kind="router").level == "gateway"
    second = Sidecar("shop", "late", {"version": "v1"}, created=made(8))
    found = choose([OWN, second], namespace="shop", labels=WEB)
    assert found.others == (second,) and "oldest of 2" in found.why


def test_another_root_namespace():
    mesh = Sidecar("istio-config", "default")
    assert choose([mesh], namespace="shop", labels={}, root="istio-config").sidecar == mesh
    assert choose([mesh], namespace="shop", labels={}).sidecar is None


SERVICES = [
    Service(host("web", "shop"), "shop", (80, 443)),
    Service(host("api", "shop"), "shop", (80,)),
    Service(host("db", "data"), "data", (5432,)),
    Service(host("secret", "data"), "data", (80,), (".",)),
    Service(host("hidden", "shop"), "shop", (80,), ("~",)),
    Service("api.example.com", "shop", (443,), kubernetes=False),
]
ALL = {"web", "api", "db", "api.example.com"}

EGRESS = {
    "nothing given": ((), ALL),
    "everything": ((Egress(("*/*",)),), ALL),
    "own namespace": ((Egress(("./*",)),), {"web", "api", "api.example.com"}),
    "named namespace": ((Egress(("data/*",)),), {"db"}),
    "one host": ((Egress((f"shop/{host('api', 'shop')}",)),), {"api"}),
    "one host of any namespace": ((Egress((f"*/{host('db', 'data')}",)),), {"db"}),
    "names of a suffix": ((Egress(("*/*.data.svc.cluster.local",)),), {"db"}),
    "none": ((Egress(("~/*",)),), set()),
    "the namespace of a host is its object's": ((Egress(("data/api.example.com",)),), set()),
    "a host without slash is ignored": ((Egress(("web", "data/*")),), {"db"}),
    "a host named beside */* hides nothing": ((Egress((f"shop/{host('api', 'shop')}", "*/*")),), ALL),
    "two listeners add up": ((Egress(("data/*",), 5432), Egress(("./api.example.com",))), {"db", "api.example.com"}),
    "a listener's port leaves out services without it": ((Egress(("*/*",), 443),), {"web", "api.example.com"}),
    "a forward proxy serves every port": ((Egress(("*/*",), 3128, "HTTP_PROXY"),), ALL),
}


@pytest.mark.parametrize(("egress", "expected"), EGRESS.values(), ids=EGRESS)
def test_s11_47_what_egress_imports(egress, expected):
    """S11-47: hosts of egress listeners; without egress everything that is exported to the namespace."""
    found = scope(Sidecar("shop", "x", egress=egress), namespace="shop", services=SERVICES)
    assert {name.partition(".svc")[0].split(".")[0] if "svc" in name else name for name in found.services} == expected


def test_ports_of_listeners():
    found = scope(Sidecar("shop", "x", egress=(Egress(("*/*",), 443),)), namespace="shop", services=SERVICES)
    web = host("web", "shop")
    assert found.knows(web, 443) and not found.knows(web, 80)
    both = Sidecar("shop", "x", egress=(Egress(("*/*",), 443), Egress(("shop/*",), 80)))
    assert scope(both, namespace="shop", services=SERVICES).knows(web, 80)


def test_private_services_are_seen_at_home_only():
    everything = scope(None, namespace="data", services=SERVICES)
    assert everything.knows(host("secret", "data"), 80)
    assert not scope(None, namespace="shop", services=SERVICES).knows(host("secret", "data"), 80)
    assert not everything.knows(host("hidden", "shop"), 80)


def test_destinations_of_imported_virtual_services_come_along():
    """What a VirtualService in scope leads to is known though no host names it, on the ports it names."""
    front = Rules("edge", "front", ("front.example.com",), {host("web", "shop"): frozenset({443})})
    plain = Rules("edge", "plain", ("plain.example.com",), {host("db", "data"): frozenset({0})})
    named = Sidecar("shop", "x", egress=(Egress(("edge/front.example.com",)),))
    found = scope(named, namespace="shop", services=SERVICES, rules=[front, plain])
    assert set(found.services) == {host("web", "shop")} and found.routes("front.example.com")
    assert found.knows(host("web", "shop"), 443) and not found.knows(host("web", "shop"), 80)
    assert found.services[host("web", "shop")].by == "VirtualService edge/front"
    whole = Sidecar("shop", "x", egress=(Egress(("edge/*",)),))
    assert scope(whole, namespace="shop", services=SERVICES, rules=[front, plain]).knows(host("db", "data"), 5432)


def test_rules_of_a_namespace_that_is_not_imported_are_lost_though_their_host_is_known():
    rules = Rules("edge", "api", (host("api", "shop"),), {host("db", "data"): frozenset({0})})
    found = scope(Sidecar("shop", "x", egress=(Egress(("./*",)),)), namespace="shop", services=SERVICES, rules=[rules])
    assert found.knows(host("api", "shop"), 80) and not found.rules and not found.knows(host("db", "data"), 5432)


def test_a_port_no_service_has_brings_nothing():
    rules = Rules("shop", "api", (host("api", "shop"),), {host("db", "data"): frozenset({9})})
    own = Sidecar("shop", "x", egress=(Egress(("./*",)),))
    assert not scope(own, namespace="shop", services=SERVICES, rules=[rules]).knows(host("db", "data"), 5432)


def test_one_name_in_two_namespaces_is_the_proxys_own():
    twice = [Service("api.example.com", "data", kubernetes=False), Service("api.example.com", "shop", kubernetes=False)]
    assert scope(None, namespace="shop", services=twice).services["api.example.com"].service.namespace == "shop"
    assert scope(None, namespace="other", services=twice).services["api.example.com"].service.namespace == "data"


@pytest.mark.parametrize(
    ("policy", "mesh", "expected"),
    [
        ("", "ALLOW_ANY", "PassthroughCluster"),
        ("", "REGISTRY_ONLY", "BlackHoleCluster"),
        ("REGISTRY_ONLY", "ALLOW_ANY", "BlackHoleCluster"),
        ("ALLOW_ANY", "REGISTRY_ONLY", "PassthroughCluster"),
    ],
)
def test_s11_48_what_gets_the_rest(policy, mesh, expected):
    """S11-48: the Sidecar's outboundTrafficPolicy, else MeshConfig's, decides which cluster gets what is not known."""
    assert scope(Sidecar("shop", "x", policy=policy), namespace="shop", services=[], policy=mesh).catch_all == expected


def test_objects_are_read_as_istio_reads_them():
    """S11-46: ingress that is left out is no port of its own; a policy without mode is REGISTRY_ONLY."""
    spec = {
        "workloadSelector": {"labels": {"app": "web"}},
        "ingress": [{"port": {"number": 9080, "protocol": "HTTP"}, "defaultEndpoint": "127.0.0.1:8080"}],
        "egress": [{"port": {"number": 443, "protocol": "TLS"}, "bind": "127.0.0.9", "hosts": ["./*"]}],
        "outboundTrafficPolicy": {},
    }
    meta = {"name": "web", "namespace": "shop", "creationTimestamp": "2026-01-03T00:00:00Z"}
    found = sidecar_of({"metadata": meta, "spec": spec})
    assert found.egress == (Egress(("./*",), 443, "TLS", "127.0.0.9"),)
    assert (found.selector, found.ingress, found.policy, found.created) == (
        {"app": "web"},
        (9080,),
        "REGISTRY_ONLY",
        made(3),
    )
    bare = sidecar_of({"metadata": {"name": "x"}, "spec": {"workloadSelector": {}}})
    assert (bare.selector, bare.ingress, bare.policy) == ({}, (), "")


def test_services_and_virtual_services_from_objects():
    old, new = ({"creationTimestamp": f"2026-01-0{day}T00:00:00Z"} for day in (1, 2))
    service = {
        "kind": "Service",
        "metadata": {**new, "name": "web", "namespace": "shop"},
        "spec": {"ports": [{"port": 80}]},
    }
    hidden = {
        **service,
        "metadata": {
            **old,
            "name": "b",
            "namespace": "shop",
            "annotations": {"networking.istio.io/exportTo": "., data"},
        },
    }
    found = services_of([service, hidden], default_export=("*",))
    assert [(one.host, one.ports, one.export_to) for one in found] == [
        (host("b", "shop"), (80,), (".", "data")), (host("web", "shop"), (80,), ("*",)),
    ]  # fmt: skip
    delegate = {"kind": "VirtualService", "metadata": {"name": "part", "namespace": "edge"},
                "spec": {"http": [{"route": [{"destination": {"host": "db.data.svc.cluster.local"}}]}]}}  # fmt: skip
    root = {"kind": "VirtualService", "metadata": {"name": "root", "namespace": "shop"},
            "spec": {"hosts": ["web"], "http": [{"delegate": {"name": "part", "namespace": "edge"}},
                                                {"mirror": {"host": "api"}, "route": []}]}}  # fmt: skip
    gateway = {
        "kind": "VirtualService",
        "metadata": {"name": "g", "namespace": "shop"},
        "spec": {"hosts": ["x.io"], "gateways": ["gw"]},
    }
    (rules,) = rules_of([delegate, root, gateway])
    assert rules.hosts == (host("web", "shop"),)
    assert rules.destinations == {host("db", "data"): frozenset({0}), host("api", "shop"): frozenset({0})}


@pytest.mark.parametrize(
    ("pattern", "name", "expected"),
    [
        ("*", "a.com", True),
        ("*.com", "a.com", True),
        ("*.a.com", "*.com", False),
        ("*.com", "*.a.com", True),
        ("a.com", "a.com", True),
        ("*.com", "com", False),
    ],
)
def test_wildcards(pattern, name, expected):
    assert covers(pattern, name) is expected
