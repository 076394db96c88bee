"""MNB0201: requests cut off by a route timeout, and the replica behind it (S10-39, S10-44)."""

from __future__ import annotations

from meshnb.checks.slow_upstream import by_upstream_host, slow_upstream
from meshnb.model.finding import Finding, Status

from .tables import HOST, log, pods, request, route, routes

PODS = ("catalog-v1", "catalog-v2-a", "catalog-v2-b")
V2 = f"outbound|80|version-v2|{HOST}"


def look(log, **more) -> list[Finding]:
    return slow_upstream(access_log=log, **({"routes": routes(route(V2)), "pods": pods(*PODS)} | more))


def served(pod, id, code=200, flags=None, ms=5):
    """The same request as the proxy of the pod logged it."""
    there = {"proxy": f"{pod}.istioinaction", "upstream_cluster": "inbound|3000||", "upstream_host": "127.0.0.1:3000"}
    return request(code, flags, to=pod, ms=ms, id=id) | there


def one_slow_replica():
    rows = []
    for i in range(20):
        for name in PODS:
            late = name == "catalog-v2-b" and i % 2 == 0
            client = (
                request(504, "UT", to=name, ms=501, id=f"{name}{i}") if late else request(200, to=name, id=f"{name}{i}")
            )
            server = served(name, f"{name}{i}", 0, "DC", 499) if late else served(name, f"{name}{i}")
            rows += [client, server]
    return log(*rows)


def test_the_slow_pod_is_named_with_version_share_and_durations():
    """S10-46: found by matching the upstream host to the pod's address."""
    (finding,) = look(one_slow_replica())
    assert str(finding.subject) == "Pod istioinaction/catalog-v2-b"
    for words in (
        "Version v2 at 10.0.0.3:3000",
        "10 of its 20 requests",
        "500 ms",
        "501 to 501 ms",
        "10 of 10 timeouts",
        "(17%)",
    ):
        assert words in finding.summary
    assert finding.evidence[0].rows[0]["pod"] == "catalog-v2-b"
    assert finding.share == 10 / 60


def test_success_at_the_server_is_explained_by_dc():
    """S10-61 and S10-62: 83 % at the client, 100 % at the server, because 0 DC is no 5xx."""
    (finding,) = look(one_slow_replica())
    for words in ("10 of the same requests as 0 DC", "83% success at the client and 100% at the server"):
        assert words in finding.cause
    assert all(row["flag_set"] == "DC" and row["response_code"] == 0 for row in finding.evidence[2].rows)


def test_all_replicas_slow_accuses_the_service_not_a_pod():
    rows = [request(504, "UT", to=name, ms=500, id=f"{name}{i}") for i in range(10) for name in PODS]
    (finding,) = look(log(*rows))
    assert str(finding.subject) == "Service istioinaction/catalog"
    assert "on all replicas alike" in finding.summary
    assert finding.confidence < 0.9


def test_too_few_requests_accuse_nobody():
    (finding,) = look(log(request(504, "UT", to="catalog-v2-b"), request(200)))
    assert finding.subject.kind == "Service"


def test_no_timeout_passes_and_says_how_fast_it_was():
    (finding,) = look(log(*(request(200, ms=7) for _ in range(10))))
    assert finding.status is Status.PASS
    assert "7 ms" in finding.summary


def test_no_requests_is_unknown():
    (finding,) = look(log())
    assert finding.status is Status.UNKNOWN
    (finding,) = look(log(served("catalog-v1", "a")))
    assert finding.status is Status.UNKNOWN


def test_the_timeout_is_the_one_the_durations_meet():
    """S10-42: expected timeout against observed duration."""
    two = routes(route(V2, timeout_ms=15000.0), route(V2, timeout_ms=500.0))
    (finding,) = look(one_slow_replica(), routes=two)
    assert "timeout of 500 ms" in finding.summary
    one = routes(route(V2, timeout_ms=15000.0), route(V2, timeout_ms=500.0, state="rejected"))
    (finding,) = look(one_slow_replica(), routes=one)
    assert "timeout of 500 ms" not in finding.summary


def test_routes_and_pods_may_be_absent():
    (finding,) = look(one_slow_replica(), routes=None, pods=None)
    assert finding.status is Status.FAIL
    assert "10.0.0.3:3000" in finding.summary


def test_by_upstream_host_puts_the_guilty_first():
    table = by_upstream_host(one_slow_replica().query("upstream_cluster != 'inbound|3000||'"), pods(*PODS))
    assert table.pod.tolist()[0] == "catalog-v2-b"
    assert table.requests.tolist() == [20, 20, 20]
    assert table.p99_ms[0] > 500 > table.p99_ms[1]
