"""Every scenario shows in the real logs what it says it shows, and nothing else fails."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from meshnb.lab import lab as labs
from meshnb.lab.calls import call, call_json
from meshnb.lab.plan import PODS, LabHome, find_pod
from meshnb.lab.scenarios import SCENARIOS, V1, V2A, V2B, Scenario
from meshnb.lab.status import status
from meshnb.lab.traffic import TrafficResult, traffic

from .logs import GATEWAY, every_record, outcomes, records

pytestmark = pytest.mark.lab


def text(outcome: tuple[int, str, str]) -> str:
    return f"{outcome[0]} {outcome[1]} {outcome[2]}"


def send(home: LabHome, scenario: Scenario) -> TrafficResult:
    return traffic(home, **{"requests": 30, "rate": 60.0, **scenario.traffic})


def at_sidecars(home: LabHome, since: str, wanted: tuple[str, ...], seconds: float = 10.0) -> set[str]:
    """Outcomes at the sidecars of the catalog since a moment, once all wanted are there or time is up."""
    deadline = time.monotonic() + seconds
    while True:
        found = [r for pod in (V1, V2A, V2B) for r in every_record(home, pod) if r["start_time"] >= since]
        seen = {text(outcome) for outcome in outcomes(found)}
        if set(wanted) <= seen or time.monotonic() > deadline:
            return seen
        time.sleep(0.05)


def admin(home: LabHome, pod: str, path: str) -> Any:
    return json.loads(call(home.load_plan().ip(find_pod(pod)), 15000, path)[1])


@pytest.mark.slow
@pytest.mark.parametrize("name", SCENARIOS)
def test_the_log_shows_what_the_scenario_says(running: LabHome, name: str):
    scenario = SCENARIOS[name]
    labs.break_(name, running)
    assert status(running).scenario == name
    since = running.read(running.marks)["time"]
    result = send(running, scenario)
    seen = {text(outcome) for outcome in outcomes(records(running, GATEWAY, result))} - {"200 - via_upstream"}
    if scenario.flap:
        # which of its outcomes a request meets is a matter of milliseconds
        assert seen and seen <= set(scenario.gateway)
        return
    assert seen == set(scenario.gateway)
    sidecar = at_sidecars(running, since, scenario.sidecar)
    assert sidecar - {"200 - via_upstream"} == set(scenario.sidecar)


@pytest.mark.slow
def test_after_any_scenario_the_lab_can_be_healed(running: LabHome):
    for name in ("istiod-down", "dead-endpoint", "connect-timeout", "frozen-endpoints", "expired-certificate"):
        labs.break_(name, running)
        labs.heal(running)
        assert traffic(running, requests=20, rate=200).counts == {200: 20}, name


def test_an_ejected_host_is_marked_in_clusters(lab: LabHome):
    labs.break_("outlier-ejection", lab)
    result = traffic(lab, requests=40, rate=100)
    assert result.counts[500] >= 1 and result.counts[200] >= 30
    hosts = {
        host["address"]["socket_address"]["address"]: host["health_status"]
        for cluster in admin(lab, GATEWAY, "/clusters?format=json")["cluster_statuses"]
        if cluster["name"] == "outbound|80|version-v2|catalog.istioinaction.svc.cluster.local"
        for host in cluster["host_statuses"]
    }
    assert hosts[lab.load_plan().ip(find_pod(V2B))].get("failed_outlier_check") is True
    assert "failed_outlier_check" not in hosts[lab.load_plan().ip(find_pod(V2A))]


def test_a_refused_listener_keeps_its_reason_and_its_old_state(lab: LabHome):
    change = labs.break_("rejected-config", lab)
    assert change.proxies[GATEWAY]["LDS"] == "NACK"
    listener = admin(lab, GATEWAY, "/config_dump?resource=dynamic_listeners&name_regex=0.0.0.0_8080")["configs"][0]
    assert "fill timer must be >= 50ms" in listener["error_state"]["details"]
    assert "active_state" in listener
    assert traffic(lab, requests=5, rate=100).counts == {200: 5}


def test_frozen_endpoints_leave_a_ghost_though_syncz_says_synced(lab: LabHome):
    labs.break_("frozen-endpoints", lab)
    plan = lab.load_plan()
    ghost = plan.ip(find_pod(V2B))
    pods = [o["status"]["podIP"] for o in lab.read(lab.objects)["objects"] if o["kind"] == "Pod"]
    assert ghost not in pods

    def endpoints(pod: str) -> str:
        return json.dumps(admin(lab, pod, "/config_dump?include_eds&resource=dynamic_endpoint_configs"))

    assert f'"{ghost}"' in endpoints(GATEWAY)
    assert f'"{ghost}"' not in endpoints(V1)
    row = next(r for r in call_json(plan.control_plane, 15014, "/debug/syncz") if r["proxy"] == GATEWAY)
    assert row["endpoint_sent"] == row["endpoint_acked"]


def test_istiod_down_serves_on(lab: LabHome):
    labs.break_("istiod-down", lab)
    assert traffic(lab, requests=10, rate=100).counts == {200: 10}
    _, body = call(lab.load_plan().gateway, 15000, "/server_info")
    assert b'"LIVE"' in body
    assert {p.name: p.state for p in status(lab).parts}["controlplane"] == "stopped"
    from meshnb.errors import LabError

    with pytest.raises(LabError, match="no answer from"):
        labs.apply_objects([], lab)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("mtls-to-plaintext", "WRONG_VERSION_NUMBER"),
        ("san-mismatch", "CERTIFICATE_VERIFY_FAILED"),
        ("expired-certificate", "CERTIFICATE_VERIFY_FAILED"),
        ("foreign-certificate", "CERTIFICATE_VERIFY_FAILED"),
    ],
)
def test_tls_failures_say_why(lab: LabHome, name: str, words: str):
    labs.break_(name, lab)
    result = traffic(lab, requests=3, rate=100)
    reasons = {r["upstream_transport_failure_reason"] for r in records(lab, GATEWAY, result)}
    assert reasons and all(words in reason for reason in reasons)


def test_a_paused_proxy_is_shown_as_paused(lab: LabHome):
    labs.break_("connect-timeout", lab)
    assert {p.name: p.state for p in status(lab).parts}[f"envoy:{V2B}"] == "paused"


def test_scenarios_have_names_and_known_pods():
    pods = {pod.proxy for pod in PODS}
    for name, scenario in SCENARIOS.items():
        assert name == scenario.name and scenario.broken
        assert set(scenario.apps) <= pods and set(scenario.hold) <= pods
        assert {process.partition(":")[2] for process in (*scenario.stop, *scenario.pause, *scenario.flap)} - {
            ""
        } <= pods


def test_the_documentation_lists_every_scenario():
    text = (Path(__file__).parents[2] / "docs" / "lab.md").read_text(encoding="utf-8")
    for scenario in SCENARIOS.values():
        (row,) = [line for line in text.splitlines() if line.startswith(f"| `{scenario.name}` |")]
        assert scenario.broken in row
        assert all(f"`{outcome}`" in row for outcome in (*scenario.gateway, *scenario.sidecar))
