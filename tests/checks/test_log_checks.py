"""Three named checks on access-log and metric frames: discovery, failing endpoints, degradation (S10-38)."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

import meshnb
from meshnb.checks.degradation import degradation
from meshnb.checks.failing_endpoints import failing_endpoints
from meshnb.checks.late_discovery import late_discovery
from meshnb.model.finding import Finding, Severity, Status
from meshnb.model.tables.control_plane import CONTROL_PLANE
from meshnb.model.tables.telemetry import REQUEST_PODS

from .tables import GATEWAY, HOST, log, pods, request, rows

NAMES = ("catalog-v1", "catalog-v2-a", "catalog-v2-b")


def at(second: float) -> pd.Timestamp:
    return pd.Timestamp("2026-11-23T09:00:00Z") + pd.Timedelta(seconds=second)


def sent(count: int, *, bad: int = 0, to: str = "catalog-v1", start: float = 0.0, every: float = 1.0, **more: Any):
    """So many requests, the bad ones spread evenly among them."""
    marks = [bad and (i + 1) * bad // count > i * bad // count for i in range(count)]
    return [
        request(503 if mark else 200, "UF" if mark else None, to=to, start_time=at(start + i * every), **more)
        for i, mark in enumerate(marks)
    ]


# endpoints


def endpoints(*given: list[dict], **thresholds: Any) -> list[Finding]:
    return failing_endpoints(
        access_log=log(*(row for part in given for row in part)), request_pods=None, pods=pods(*NAMES), **thresholds
    )


def test_an_endpoint_that_fails_more_often_than_the_others_is_named_with_its_pod():
    (found,) = endpoints(sent(40, bad=8), sent(40, to="catalog-v2-a"), sent(40, bad=1, to="catalog-v2-b"))
    assert str(found.subject) == "Pod istioinaction/catalog-v1" and found.status is Status.FAIL
    assert "failed 8 of 40 requests (20.0%); the others 1.2%" in found.summary
    assert found.share == pytest.approx(8 / 120)
    assert [row["failed"] for row in found.evidence[0].rows] == [8, 1, 0]


@pytest.mark.parametrize(
    ("count", "bad", "others_bad", "status"),
    [
        (20, 1, 0, Status.FAIL),  # 5 % of 20
        (19, 2, 0, Status.UNKNOWN),  # one request too few
        (100, 5, 0, Status.FAIL),  # 5 %
        (100, 4, 0, Status.PASS),  # below
        (100, 30, 10, Status.FAIL),  # three times as often
        (100, 29, 10, Status.PASS),  # not quite
    ],
)
def test_both_sides_of_each_threshold_of_endpoints(count, bad, others_bad, status):
    others = count if count == 19 else 100
    given = endpoints(sent(count, bad=bad), sent(others, bad=others_bad, to="catalog-v2-a"))
    assert [one.status for one in given] == [status]


def test_thresholds_of_endpoints_are_parameters():
    given = sent(100, bad=4), sent(100, to="catalog-v2-a")
    assert endpoints(*given, min_share=0.04)[0].status is Status.FAIL
    assert endpoints(*given, min_requests=101)[0].status is Status.UNKNOWN
    assert endpoints(sent(100, bad=30), sent(100, bad=20, to="catalog-v2-a"), min_factor=1.5)[0].status is Status.FAIL


def test_a_service_that_fails_as_a_whole_accuses_no_endpoint():
    (found,) = endpoints(sent(40, bad=20), sent(40, bad=20, to="catalog-v2-a"))
    assert found.status is Status.PASS


def test_metrics_do_where_there_is_no_log():
    def one(pod: str, code: str, rate: float, dc: float = 0.0) -> dict:
        service = {"destination_service": HOST, "version": "v2", "dc_share": 0.0}
        return {**service, "pod": pod, "response_code": code, "rate": rate, "dc_rate": dc}

    given = rows(REQUEST_PODS, one("a", "200", 9.0), one("b", "200", 5.0), one("b", "0", 5.0, dc=5.0))
    (found,) = failing_endpoints(access_log=None, request_pods=given, pods=None)
    assert str(found.subject) == "Pod istioinaction/b" and "5 of 10 requests a second (50.0%)" in found.summary
    (unknown,) = failing_endpoints(access_log=None, request_pods=None, pods=None)
    assert unknown.status is Status.UNKNOWN


# degradation


def worse(*given: list[dict], **thresholds: Any) -> list[Finding]:
    return degradation(access_log=log(*(row for part in given for row in part)), **thresholds)


def test_the_onset_of_errors_is_found_to_the_request():
    (found,) = worse(sent(100), sent(100, bad=50, start=100.0))
    assert found.status is Status.FAIL and str(found.subject) == "Service istioinaction/catalog"
    # every second request fails from 100 s on, the first of them at 101 s
    assert "From 2026-11-23 09:01:41 UTC on" in found.summary
    assert "before 0.0%" in found.summary
    assert [row["when"] for row in found.evidence[0].rows] == ["before", "after"]


def test_the_onset_of_slow_answers_and_the_endpoint_that_is_slow():
    slow = [row | {"duration_ms": 300} for row in sent(60, to="catalog-v2-b", start=120.5)]
    (found,) = worse(sent(60), sent(60, to="catalog-v2-b", start=0.5), sent(60, start=120.0), slow)
    assert "From 2026-11-23 09:02:00 UTC on" in found.summary
    assert "took at most 300 ms, before 5 ms" in found.summary
    assert found.evidence[1].rows[0]["upstream_host"] == "10.0.0.3:3000"


@pytest.mark.parametrize(
    ("before", "after", "failing", "status"),
    [
        (30, 30, 30, Status.FAIL),
        (29, 30, 30, Status.UNKNOWN),  # one request too few
        (1000, 1000, 50, Status.FAIL),  # 5 % more
        (1000, 1000, 40, Status.PASS),  # 4 % more
        (40, 40, 8, Status.PASS),  # 20 % more, but of few: chance can do that
    ],
)
def test_both_sides_of_each_threshold_of_errors(before, after, failing, status):
    given = worse(sent(before), sent(after, bad=failing, start=float(before)))
    assert [one.status for one in given] == [status]


@pytest.mark.parametrize(
    ("usual", "then", "status"),
    [(50, 100, Status.FAIL), (50, 99, Status.PASS), (40, 89, Status.PASS), (40, 90, Status.FAIL)],
)
def test_both_sides_of_each_threshold_of_durations(usual, then, status):
    """Twice as slow, and 50 ms slower: of 40 ms, 89 are twice as slow and not 50 ms slower."""
    first = [row | {"duration_ms": usual} for row in sent(100)]
    second = [row | {"duration_ms": then} for row in sent(100, start=100.0)]
    assert [one.status for one in worse(first, second)] == [status]


def test_thresholds_of_degradation_are_parameters():
    given = sent(1000), sent(1000, bad=40, start=1000.0)
    assert worse(*given, more_errors=0.04)[0].status is Status.FAIL
    assert worse(*given, more_errors=0.04, sure=50.0)[0].status is Status.PASS
    assert worse(*given, min_requests=1001)[0].status is Status.UNKNOWN
    first = [row | {"duration_ms": 50} for row in sent(100)]
    second = [row | {"duration_ms": 80} for row in sent(100, start=100.0)]
    assert worse(first, second, slower=1.5, slower_ms=30.0)[0].status is Status.FAIL


def test_what_got_better_and_what_was_always_bad_is_no_degradation():
    assert worse(sent(100, bad=50), sent(100, start=100.0))[0].status is Status.PASS
    assert worse(sent(200, bad=60))[0].status is Status.PASS


# discovery


def late(*given: dict, names: tuple[str, ...] | None = NAMES, signals: pd.DataFrame | None = None, **more: Any):
    known = None if names is None else pods(*names)
    return late_discovery(access_log=log(*given), pods=known, control_plane=signals, **more)


def lost(seconds: list[float], flag: str = "NC", **more: Any) -> list[dict]:
    gone = {"upstream_host": None, "upstream_cluster": None} if flag != "UF" else {}
    return [
        request(503, flag, start_time=at(s), method="GET", path="/items", **gone | more) for s in seconds
    ]  # fmt: skip


def served(second: float) -> dict:
    return request(200, start_time=at(second), method="GET", path="/items")


def convergence(verdict: str) -> pd.DataFrame:
    given = {"signal": "latency", "measure": "convergence_p99", "what": "push", "verdict": verdict, "peak": 3.0}
    return rows(CONTROL_PLANE, given)


@pytest.mark.parametrize("flag", ["NC", "NR", "UH"])
def test_a_gap_that_closes_by_itself(flag):
    (found,) = late(*lost([0.0, 0.5, 1.0], flag), served(1.5))
    assert found.status is Status.FAIL and found.severity is Severity.WARNING
    assert f"at {GATEWAY} ({flag}), from 09:00:00 for 1.0 s; then it was served" in found.summary


@pytest.mark.parametrize(
    ("seconds", "status"),
    [
        ([0.0, 0.5, 1.0], Status.FAIL),
        ([0.0, 0.5, 0.999], Status.PASS),  # not yet late
        ([0.0, 1.0], Status.PASS),  # too few
    ],
)
def test_both_sides_of_each_threshold_of_discovery(seconds, status):
    assert [one.status for one in late(*lost(seconds), served(2.0))] == [status]


def test_thresholds_of_discovery_are_parameters():
    assert late(*lost([0.0, 1.0]), served(2.0), min_failed=2)[0].status is Status.FAIL
    assert late(*lost([0.0, 0.5, 1.0]), served(2.0), late_s=1.5)[0].status is Status.PASS


def test_a_gap_that_never_closes_is_a_mistake_and_not_late():
    assert [one.status for one in late(served(0.0), *lost([1.0, 2.0, 3.0]))] == [Status.PASS]


def test_an_address_that_no_pod_has():
    ghost = lost([0.0, 1.0, 2.0], "UF", to="catalog-v2-b")
    (found,) = late(*ghost, served(3.0), names=NAMES[:2])
    assert str(found.subject) == "Service istioinaction/catalog"
    assert "went to 10.0.0.3:3000, an address that no pod has" in found.summary
    assert [one.status for one in late(*ghost, served(3.0))] == [Status.PASS], "a pod has it: another cause"
    assert late(*ghost, names=None)[0].status is Status.UNKNOWN
    outside = [row | {"upstream_cluster": "outbound|443||api.example.com"} for row in ghost]
    assert late(*outside, names=NAMES[:2])[0].status is Status.PASS


@pytest.mark.parametrize(
    ("verdict", "confidence", "words"),
    [("critical", 0.9, "pushes were late"), ("ok", 0.4, "pushes were in time"), ("unknown", 0.6, "No metrics")],
)
def test_metrics_of_the_control_plane_make_it_surer_or_less_sure(verdict, confidence, words):
    (found,) = late(*lost([0.0, 0.5, 1.0]), served(2.0), signals=convergence(verdict))
    assert found.confidence == confidence and words in found.cause


def test_the_demo_with_one_slow_replica_names_it_and_the_healthy_one_nobody():
    slow = meshnb.open("demo/slow-replica")
    (found,) = slow.check("MNB0258")
    assert found.subject.name == "catalog-v2-6c8d9f7b6-bbbb2"
    assert slow.check("MNB0257", "MNB0259").verdict is Status.PASS
    assert meshnb.open("demo").check("MNB0257", "MNB0258", "MNB0259").verdict is Status.PASS
