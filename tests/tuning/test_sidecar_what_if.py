"""What a Sidecar takes from a proxy: resources, size, what gets the rest, and calls (S11-46 … S11-53, T16)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pandas as pd
import pytest

from meshnb.envoy.sidecar_scope import Egress, Rules, Service, Sidecar
from meshnb.model.tables.envoy import CLUSTERS, ENDPOINTS, LISTENERS, ROUTES, SIZES
from meshnb.model.tables.sidecars import LOG_EXTENT, OBSERVED_CALLS, VIRTUAL_HOST_SIZES
from meshnb.model.tables.telemetry import REQUEST_RATES
from meshnb.tuning.sidecar_changes import Config
from meshnb.tuning.sidecar_proposals import proposals, selector_of
from meshnb.tuning.sidecar_what_if import Known, Observed, Predicted, Proxy, predict

from ..checks.tables import rows

WEB = "web-1.shop"
API, DB, FRONT = (f"{name}.svc.cluster.local" for name in ("api.shop", "db.data", "front.edge"))
EXTERNAL = "api.example.com"
PROXY = Proxy(WEB, "shop", "web", {"app": "web"})
GATEWAY = Proxy("gw-1.istio-system", "istio-system", "gw", {}, "router")
SERVICES = [
    Service(API, "shop", (80,)),
    Service(DB, "data", (5432,)),
    Service(FRONT, "edge", (8080,)),
    Service(EXTERNAL, "shop", (443,), kubernetes=False),
]
RULES = [Rules("edge", "api-rules", (API,), {API: frozenset({0})})]
SHOP = Sidecar("shop", "default", egress=(Egress(("./*",)),), policy="REGISTRY_ONLY")


def when(minute: int) -> datetime:
    return datetime(2026, 1, 1, 12, minute, tzinfo=UTC)


def config(*, endpoints: bool = True) -> Config:
    """The dump of a sidecar as istiod makes it: an HTTP port with two hosts, one with one, and a TCP service."""
    live = {"proxy": WEB, "state": "active", "dynamic": True}

    def cluster(port: int, subset: str, host: str, space: str | None) -> dict[str, Any]:
        name = f"outbound|{port}|{subset}|{host}"
        parts = {"direction": "outbound", "port": port, "subset": subset or None, "fqdn": host}
        return {**live, **parts, "cluster": name, "service_namespace": space, "bytes": 1000 + len(subset)}

    held = [
        cluster(80, "", API, "shop"), cluster(80, "v1", API, "shop"), cluster(5432, "", DB, None),
        cluster(8080, "", FRONT, "edge"), cluster(443, "", EXTERNAL, "shop"),
        {**live, "cluster": "inbound|8080||", "direction": "inbound", "port": 8080, "bytes": 700},
        {**live, "cluster": "BlackHoleCluster", "bytes": 100}, {**live, "cluster": "PassthroughCluster", "bytes": 100},
        {**live, "cluster": "xds-grpc", "dynamic": False, "bytes": 300},
    ]  # fmt: skip

    def listener(name: str, port: int, **chain: Any) -> dict[str, Any]:
        return {**live, "listener": name, "port": port, "direction": "OUTBOUND", "bytes": 500, **chain}

    listeners = [
        listener("0.0.0.0_80", 80, route_config="80"), listener("0.0.0.0_80", 80, cluster="PassthroughCluster"),
        listener("0.0.0.0_8080", 8080, route_config="8080"),
        listener("10.0.0.5_5432", 5432, cluster=held[2]["cluster"]),
        # one chain of several that leads nowhere ends no listener, and the one that takes everything never goes
        listener("0.0.0.0_80", 80, cluster=held[2]["cluster"]),
        listener("virtualOutbound", 15001, cluster=held[2]["cluster"]),
        {**live, "listener": "virtualInbound", "port": 15006, "direction": "INBOUND", "route_config": "inbound|8080||"},
    ]  # fmt: skip

    def route(port: str, name: str, cluster: str | None, domains: list[str], **more: Any) -> dict[str, Any]:
        return {**live, "route_config": port, "virtual_host": name, "cluster": cluster, "domains": domains, **more}

    from_rules = {"virtual_service": "api-rules", "virtual_service_namespace": "edge"}
    routes = [
        route("80", f"{API}:80", held[1]["cluster"], [API, "api", "front.edge"], **from_rules),
        route("80", f"{API}:80", held[0]["cluster"], [API, "api", "front.edge"]),
        route("80", "old.example.com:80", held[0]["cluster"], ["old.example.com", "*.old.example.com"],
              virtual_service="old", virtual_service_namespace="edge"),
        route("80", "allow_any", "PassthroughCluster", ["*"]),
        route("8080", f"{FRONT}:8080", held[3]["cluster"], [FRONT, "front.edge"]),
        route("8080", "allow_any", "PassthroughCluster", ["*"]),
        route("inbound|8080||", "inbound|http|80", "inbound|8080||", ["*"], dynamic=False),
    ]  # fmt: skip
    sizes = [
        *({"section": "clusters", "part": "resource", "resource": c["cluster"], "bytes": c["bytes"]} for c in held),
        {"section": "clusters", "part": "envelope", "bytes": 90},
        *({"section": "listeners", "part": "resource", "resource": name, "bytes": 500}
          for name in ("0.0.0.0_80", "0.0.0.0_8080", "10.0.0.5_5432", "virtualOutbound", "virtualInbound")),
        {"section": "listeners", "part": "envelope", "bytes": 50},
        {"section": "routes", "part": "resource", "resource": "80", "bytes": 800, "dynamic": True},
        {"section": "routes", "part": "resource", "resource": "8080", "bytes": 400, "dynamic": True},
        {"section": "routes", "part": "envelope", "bytes": 20},
        {"section": "document", "part": "envelope", "bytes": 7},
    ]  # fmt: skip
    eds = [
        *({"section": "endpoints", "part": "resource", "resource": c["cluster"], "bytes": 200} for c in held[:4]),
        {"section": "endpoints", "part": "envelope", "bytes": 40},
    ]
    hosts = [("80", f"{API}:80", 250), ("80", "old.example.com:80", 150), ("80", "allow_any", 60)]
    addresses = [(0, "10.1.0.1:80"), (0, "10.1.0.2:80"), (1, "10.1.0.1:80"), (2, "10.1.0.9:5432"), (3, "10.1.0.7:80")]
    return Config(
        clusters=rows(CLUSTERS, *held),
        routes=rows(ROUTES, *routes),
        listeners=rows(LISTENERS, *listeners),
        endpoints=rows(
            ENDPOINTS, *({**live, "cluster": held[i]["cluster"], "endpoint": at} for i, at in addresses if endpoints)
        ),
        sizes=rows(SIZES, *({"proxy": WEB, **one} for one in (*sizes, *(eds if endpoints else [])))),
        virtual_hosts=rows(
            VIRTUAL_HOST_SIZES,
            *({"proxy": WEB, "route_config": r, "virtual_host": name, "bytes": size} for r, name, size in hosts),
        ),
    )


def call(cluster: str | None, requests: int, minute: int, authority: str | None = None) -> dict[str, Any]:
    parts = (cluster or "").split("|")
    known = {"port": int(parts[1]), "host": parts[3]} if len(parts) == 4 else {}
    seen = {"first_seen": when(0), "last_seen": when(minute)}
    return {"proxy": WEB, "cluster": cluster, "requests": requests, "authority": authority, **known, **seen}


def logs(*calls: dict[str, Any], **more: Any) -> Observed:
    extent = {"proxy": WEB, "lines": 100, "told": 90, "outbound": len(calls), "first": when(0), "last": when(30)}
    return Observed(rows(OBSERVED_CALLS, *calls), rows(LOG_EXTENT, extent), **more)


def tried(
    *sidecars: Sidecar, observed: Observed | None = None, has: Config | None = None, dump: bool = True, **known: Any
) -> Predicted:
    mesh = {"sidecars": [], "services": SERVICES, "rules": RULES, "policy": "ALLOW_ANY", **known}
    found = (has or config()) if dump else None
    return predict(Known([GATEWAY, PROXY], **mesh), sidecars, lambda name: found, observed or logs())


def goes(found: Predicted, kind: str) -> set[str]:
    rows = found.changes
    return set(rows.name[(rows.type == kind) & (rows.change == "goes")])


def test_s11_52_exactly_what_is_of_other_namespaces_goes():
    """S11-52: routes, clusters, endpoints and listeners that would be lost, one by one."""
    found = tried(SHOP)
    assert goes(found, "cluster") == {f"outbound|5432||{DB}", f"outbound|8080||{FRONT}"}
    assert goes(found, "endpoints") == goes(found, "cluster")
    assert goes(found, "virtual_host") == {f"{FRONT}:8080", "old.example.com:80"}
    # the port that serves nothing more goes, the one that serves all stays, and so does what comes in
    assert goes(found, "listener") == {"0.0.0.0_8080", "10.0.0.5_5432"}
    (row,) = found.proxies.itertuples()
    assert (row.proxy, row.sidecar, row.sidecar_before) == (WEB, "shop/default", pd.NA)
    assert (row.clusters_before, row.clusters_after) == (9, 7)
    assert (row.endpoints_before, row.endpoints_after) == (5, 3)
    assert (row.virtual_hosts_before, row.virtual_hosts_after) == (3, 1)
    assert (row.listeners_before, row.listeners_after) == (5, 3)
    lost = found.changes[found.changes.type == "endpoints"].set_index("host").endpoints
    assert list(lost[DB]) == ["10.1.0.9:5432"]
    before, after = found.clusters[WEB]
    assert before - after == goes(found, "cluster")


def test_s11_46_ingress_listeners_take_the_place_of_the_ports_of_the_pod():
    """S11-46: without ingress inbound stays; with it only its ports have a cluster."""
    (row,) = tried(SHOP).proxies.itertuples()
    assert row.ingress_ports is pd.NA and "inbound|8080||" not in goes(tried(SHOP), "cluster")
    same = tried(Sidecar("shop", "default", ingress=(8080,)))
    assert same.changes.empty and list(same.proxies.ingress_ports[0]) == ["8080"]
    other = tried(Sidecar("shop", "default", ingress=(9090,)))
    assert other.changes[["change", "name"]].values.tolist() == [
        ["goes", "inbound|8080||"],
        ["comes", "inbound|9090||"],
    ]
    assert any("virtualInbound" in reason for reason in other.proxies.unknown[0])
    ended = tried(SHOP, sidecars=[Sidecar("shop", "default", ingress=(8080,), created=when(1))])
    assert any("ingress listeners of shop/default end" in reason for reason in ended.proxies.unknown[0])


def test_services_that_proxies_call_by_themselves_are_told():
    """istio/istio#53701: tracing, logs and authorization by a service that is not imported stop, without any call."""
    (row,) = tried(SHOP, providers={FRONT: "otel", API: "stays"}).proxies.itertuples()
    assert [reason for reason in row.unknown if "extensionProvider" in reason] == [
        f"extensionProvider otel: {FRONT} goes; tracing, logs or authorization by it would stop (istio/istio#53701)"
    ]
    mesh = Known([PROXY], [], SERVICES, [], "ALLOW_ANY", providers={FRONT: "otel", "not.there": "x"})
    (row,) = proposals(mesh, lambda name: config(), logs()).itertuples()
    assert list(row.hosts) == ["istio-system/*", f"edge/{FRONT}"] and "no call was seen" in list(row.caveats)


def test_listeners_of_egress_ports_are_not_modelled_and_said_so():
    found = tried(Sidecar("shop", "default", egress=(Egress(("./*",), 80),)))
    assert any("an egress listener with a port" in reason for reason in found.proxies.unknown[0])


def test_rules_of_a_virtual_service_that_is_not_imported_are_told_apart():
    """The host stays, and loses the rules a namespace wrote that is not imported."""
    found = tried(SHOP).changes
    (row,) = found[found.change == "loses rules"].itertuples()
    assert (row.name, row.virtual_service) == (f"{API}:80", "edge/api-rules")
    assert "loses rules" not in set(tried(WITH_RULES).changes.change)
    assert any("virtual hosts lose rules" in reason for reason in tried(SHOP).proxies.unknown[0])


def test_s11_53_t16_size_in_bytes_with_and_without_endpoints():
    """S11-53, T16: exact bytes of the dump, as it is and as it would be."""
    (row,) = tried(SHOP).proxies.itertuples()
    clusters, listeners = 5 * 1000 + 2 + 700 + 100 + 100 + 300 + 90, 5 * 500 + 50
    whole = clusters + listeners + 800 + 400 + 20 + 7
    assert (row.bytes_before_without_eds, row.bytes_before) == (whole, whole + 4 * 200 + 40)
    # clusters and listeners with what surrounds each, the route configuration 8080, a virtual host and its comma
    less = 2 * (1000 + 90 / 9) + 2 * (500 + 50 / 5) + (400 + 20 / 2) + (150 + 1)
    assert row.bytes_after_without_eds == whole - less
    assert row.bytes_after == whole - less + 4 * 200 + 40 - 2 * (200 + 40 / 4)


def test_t16_a_dump_without_endpoints_has_no_size_with_them():
    """T16: what `/config_dump` leaves out is not counted as nothing."""
    (row,) = tried(SHOP, has=config(endpoints=False)).proxies.itertuples()
    assert row.bytes_before is pd.NA and row.endpoints_before is pd.NA and row.bytes_after_without_eds > 0
    assert any("include_eds" in reason for reason in row.unknown)


LOST = f"outbound|8080||{FRONT}"
WITH_RULES = Sidecar("shop", "default", egress=(Egress(("./*", f"edge/{API}")),), policy="REGISTRY_ONLY")
CALLS = {
    "still known": ((f"outbound|80||{API}", "api"), WITH_RULES, {}, "stays", "still known"),
    "known without its rules": (
        (f"outbound|80|v1|{API}", "api"), SHOP, {}, "loses rules", "without the rules of VirtualService edge/api-rules",
    ),
    "led elsewhere by rules that are lost": ((LOST, "api"), SHOP, {}, "loses rules", "api is reached without"),
    "a name that a wildcard takes": (
        (f"outbound|80||{API}", "a.old.example.com"), SHOP, {}, "breaks", "502 from block_all",
    ),
    "a route that leads to what goes": ((LOST, "api"), WITH_RULES, {}, "breaks", "503 NC"),
    "its port serves nothing more": ((LOST, "front.edge"), SHOP, {}, "breaks", "ends at BlackHoleCluster"),
    "a host of a port that stays": (
        (f"outbound|80||{API}", "old.example.com"), SHOP, {}, "breaks", "502 from block_all",
    ),
    "TCP": ((f"outbound|5432||{DB}", None), SHOP, {}, "breaks", "BlackHoleCluster"),
    "allowed": ((LOST, "front.edge"), Sidecar("shop", "x", egress=SHOP.egress), {}, "bypasses", "without mutual TLS"),
    "allowed, but mutual TLS is asked for": (
        (LOST, "front.edge"), Sidecar("shop", "x", egress=SHOP.egress), {"strict": frozenset({"edge"})},
        "breaks", "a PeerAuthentication of edge",
    ),
    "allowed, and nothing is known of mutual TLS": (
        (LOST, "front.edge"), Sidecar("shop", "x", egress=SHOP.egress), {"strict": None},
        "bypasses", "no PeerAuthentications were captured",
    ),
    "passed through now": (("PassthroughCluster", "www.example.org"), SHOP, {}, "breaks", "502 from block_all"),
    "passed through then": (("PassthroughCluster", "x.org"), Sidecar("shop", "x"), {}, "stays", "as now"),
    "refused now": (("BlackHoleCluster", None), SHOP, {}, "fails already", "now"),
}  # fmt: skip


@pytest.mark.parametrize(("made", "sidecar", "known", "verdict", "expects"), CALLS.values(), ids=CALLS)
def test_s11_48_52_what_becomes_of_a_call(made, sidecar, known, verdict, expects):
    """S11-48, S11-52: calls that were seen, and what the caller would see."""
    found = tried(sidecar, observed=logs(call(made[0], 3, 20, made[1])), **known)
    (row,) = found.calls.itertuples()
    assert row.verdict == verdict and expects in row.expects
    assert (row.requests, row.last_seen, row.source) == (3, when(20), "access log")
    (proxy,) = found.proxies.itertuples()
    assert (proxy.requests, proxy.requests_lost) == (3, 3 if verdict == "breaks" else 0)
    assert proxy.last_lost is pd.NA if verdict != "breaks" else proxy.last_lost == when(20)


def test_without_meshconfig_the_rest_is_unknown_or_read_from_what_the_proxies_do():
    plain = Sidecar("shop", "x", egress=SHOP.egress)
    made = logs(call(LOST, 3, 20, "front.edge"))
    found = tried(plain, policy="", observed=made)
    assert set(found.proxies.outbound_policy) == {"ALLOW_ANY"} and set(found.calls.verdict) == {"bypasses"}
    unclear = config()
    unclear.routes["virtual_host"] = unclear.routes.virtual_host.replace({"allow_any": "other"})
    found = tried(plain, policy="", observed=made, has=unclear)
    assert found.proxies.catch_all[0] is pd.NA and set(found.calls.verdict) == {"unknown"}
    assert any("MeshConfig" in reason for reason in found.proxies.unknown[0])


def rates(*hosts: str, workload: str = "web") -> pd.DataFrame:
    own = {"reporter": "source", "source_workload": workload, "source_workload_namespace": "shop"}
    return rows(REQUEST_RATES, *({**own, "destination_service": host, "rate": 0.5} for host in hosts))


UNSEEN = {
    "no log at all": (Observed(), "no access log"),
    "a log without lines": (Observed(extent=LOG_EXTENT.empty(), logs=frozenset({WEB})), "has no line"),
    "a log whose format has no cluster": (
        Observed(OBSERVED_CALLS.empty(), rows(LOG_EXTENT, {"proxy": WEB, "lines": 9, "told": 0, "outbound": 0})),
        "names no cluster",
    ),
    "listeners that do not log": (logs(silent=frozenset({WEB})), "do not log"),
    "metrics of another workload": (
        Observed(rates=rates(FRONT, workload="x")),
        "istio_requests_total has nothing",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("observed", "why"), UNSEEN.values(), ids=UNSEEN)
def test_s11_52_calls_that_could_not_be_looked_at_are_unknown(observed, why):
    """S11-52: never that nothing breaks."""
    (row,) = tried(SHOP, observed=observed).proxies.itertuples()
    assert row.calls == "unknown" and row.requests_lost is pd.NA and row.hosts_lost is pd.NA
    assert any(why in reason for reason in row.unknown)


def test_metrics_stand_in_for_a_log_and_give_rates():
    found = tried(SHOP, observed=Observed(rates=rates(FRONT, API)))
    assert found.calls.set_index("host").verdict.to_dict() == {FRONT: "breaks", API: "stays"}
    assert set(found.calls.rate) == {0.5} and found.calls.requests.isna().all()
    (row,) = found.proxies.itertuples()
    assert (row.calls, row.hosts_lost, row.requests_lost) == ("metrics", 1, pd.NA)


@pytest.mark.parametrize(("policy", "verdict"), [("ALLOW_ANY", "stays"), ("REGISTRY_ONLY", "breaks")])
def test_metrics_of_what_no_service_is_known_for(policy, verdict):
    """What is passed through already goes on so; a metric that names no service proves nothing."""
    sidecar = Sidecar("shop", "default", egress=SHOP.egress, policy=policy)
    found = tried(sidecar, observed=Observed(rates=rates("www.example.org", "unknown")))
    assert found.calls.set_index("host").verdict.to_dict() == {"www.example.org": verdict, "unknown": "unknown"}
    mesh = Known([PROXY], [], SERVICES, [], "ALLOW_ANY")
    (row,) = proposals(mesh, lambda name: config(), Observed(rates=rates("www.example.org", "unknown"))).itertuples()
    assert list(row.hosts) == ["istio-system/*"]
    assert any("www.example.org went through PassthroughCluster" in caveat for caveat in row.caveats)


def test_without_a_dump_what_goes_is_unknown_and_the_calls_are_judged():
    found = tried(SHOP, dump=False, observed=logs(call(LOST, 2, 9, "front.edge")))
    (row,) = found.proxies.itertuples()
    assert row.clusters_before is pd.NA and row.bytes_after is pd.NA and found.changes.empty
    assert (row.requests_lost, row.sidecar) == (2, "shop/default")
    assert any("no config dump" in reason for reason in row.unknown)


def test_gateways_and_other_namespaces_are_left_out():
    assert tried(Sidecar("istio-system", "default", egress=SHOP.egress)).proxies.proxy.tolist() == [WEB]
    assert tried(Sidecar("other", "default", egress=SHOP.egress)).proxies.empty


def test_a_sidecar_takes_the_place_of_the_one_with_its_name_and_what_comes_is_told():
    narrow = Sidecar("shop", "default", egress=(Egress((f"./{API}",)),), policy="REGISTRY_ONLY", created=when(1))
    small = config()
    hidden = (small.clusters.fqdn == DB).fillna(False)
    small = Config(small.clusters[~hidden], *(getattr(small, n) for n in
                   ("routes", "listeners", "endpoints", "sizes", "virtual_hosts")))  # fmt: skip
    wide = Sidecar("shop", "default", egress=(Egress(("./*", "data/*")),), policy="REGISTRY_ONLY")
    found = tried(wide, has=small, sidecars=[narrow, Sidecar("shop", "late", created=when(2))])
    comes = found.changes[found.changes.change == "comes"]
    assert comes.name.tolist() == [f"outbound|5432||{DB}"]
    (row,) = found.proxies.itertuples()
    assert (row.sidecar_before, row.sidecar) == ("shop/default", "shop/default")
    assert row.bytes_after is pd.NA and any("clusters come" in reason for reason in row.unknown)


def test_what_was_not_captured_is_said():
    (row,) = tried(SHOP, sidecars=None, services=None, rules=None).proxies.itertuples()
    assert row.clusters_after == 7  # namespaces come from the clusters themselves, or their names
    for what in ("no Sidecar objects", "no Services", "VirtualServices were not captured"):
        assert any(what in reason for reason in row.unknown)


def test_proposals_name_what_was_called_with_its_rules():
    """The hosts called, the VirtualServices that lead there, and what REGISTRY_ONLY needs a ServiceEntry for."""
    seen = logs(
        call(f"outbound|80|v1|{API}", 8, 5, "api"),
        call(f"outbound|5432||{DB}", 1, 6),
        call("PassthroughCluster", 2, 7, "www.example.org"),
    )
    mesh = Known([GATEWAY, PROXY], [], SERVICES, RULES, "ALLOW_ANY")
    (row,) = proposals(mesh, lambda name: config(), seen).itertuples()
    assert list(row.hosts) == ["istio-system/*", f"shop/{API}", f"edge/{API}", "edge/old.example.com", f"data/{DB}"]
    assert (row.requests, row.selector) == (11, '{"app": "web"}')
    text = " | ".join(row.caveats)
    assert "12:00:00 to 2026-01-01 12:30:00" in text and "www.example.org (2 times)" in text and "ServiceEntry" in text
    # what was proposed breaks nothing that was seen
    import yaml

    from meshnb.envoy.sidecar_objects import sidecar_of

    found = tried(sidecar_of(yaml.safe_load(row.yaml)), observed=seen)
    assert set(found.calls.verdict) == {"stays"}


def test_an_older_sidecar_wins_over_the_one_proposed_and_is_named():
    old = Sidecar("shop", "legacy", {"app": "web"}, created=when(1))
    mesh = Known([PROXY], [old], SERVICES, RULES, "ALLOW_ANY")
    (row,) = proposals(mesh, lambda name: config(), logs(call(LOST, 1, 2))).itertuples()
    assert any("shop/legacy holds for it now" in caveat for caveat in row.caveats)


def test_proposals_without_calls_are_none():
    mesh = Known([PROXY], [], SERVICES, RULES, "ALLOW_ANY")
    (row,) = proposals(mesh, lambda name: config(), Observed()).itertuples()
    assert row.hosts is pd.NA and row.yaml is pd.NA and "nothing is proposed" in row.caveats[0]
    (row,) = proposals(mesh, lambda name: config(), Observed(rates=rates(FRONT))).itertuples()
    assert f"edge/{FRONT}" in list(row.hosts) and "rates" in row.caveats[0]


def test_selectors_pick_the_workload_and_no_other():
    v1, v2 = (
        Proxy(f"c-{v}.shop", "shop", f"c-{v}", {"app": "c", "version": v, "pod-template-hash": v}) for v in ("v1", "v2")
    )
    assert selector_of([v1], [v1, v2]) == {"app": "c", "version": "v1"}
    twin = Proxy("d.shop", "shop", "d", v1.labels)
    assert selector_of([v1], [v1, twin]) == {}
