"""Checks of the control plane: failing, passing, unknown."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pytest

import meshnb
from meshnb.checks.control_plane import late, settings
from meshnb.checks.control_plane_size import autoscaling, counts, size
from meshnb.loaders.istiod_settings import istiod_settings
from meshnb.model.finding import Severity, Status

SNAPSHOTS = Path(__file__).parents[1] / "data" / "control-plane"


@pytest.mark.parametrize(
    ("name", "code", "status", "words"),
    [
        ("healthy", "MNB0350", "pass", "in time"),
        ("throttled", "MNB0350", "fail", "wait in the push queue, p99: 2.94 s at its peak"),
        ("no-data", "MNB0350", "unknown", "no series of pilot_proxy_convergence_time"),
        ("healthy", "MNB0351", "pass", "CPU of the busiest istiod, of its limit: 15 %"),
        ("saturated", "MNB0351", "fail", "held back by the CPU limit: 62 %"),
        ("undecided", "MNB0351", "unknown", "container_spec_cpu_quota"),
        ("healthy", "MNB0352", "pass", "nothing was counted of: configuration refused"),
        ("rejects", "MNB0352", "fail", "configuration refused by proxies"),
        ("no-data", "MNB0352", "unknown", "absent is not zero"),
        ("healthy", "MNB0353", "pass", "evenly"),
        ("unbalanced", "MNB0353", "fail", "fullest istiod, to the mean: 2.88"),
        ("no-data", "MNB0353", "unknown", "absent is not zero"),
    ],
)
def test_each_check_fails_passes_and_is_unknown(name, code, status, words):
    """S11-05, S11-06, S11-18, S11-24, S11-29 … S11-32."""
    (finding,) = meshnb.open(SNAPSHOTS / name).check(code)
    assert finding.status == Status(status)
    assert words in finding.summary


def test_a_window_without_a_push_is_not_said_to_be_in_time():
    """Prometheus' quantile of nothing is NaN: nothing was late, and nothing was measured either."""
    signals = meshnb.open(SNAPSHOTS / "healthy").control_plane()
    measures = ["convergence_p99", "slow_pushes", "queue_p99", "total_delay"]
    signals.loc[signals["measure"].isin(measures), "verdict"] = "quiet"
    (finding,) = late(signals)
    assert finding.status is Status.PASS
    assert finding.summary.startswith("Nothing was pushed in the window, so nothing was late.")
    assert "in time" not in finding.summary


def test_without_prometheus_everything_is_unknown():
    found = meshnb.open("demo").check("MNB0350", "MNB0354")
    assert {finding.status for finding in found} == {Status.UNKNOWN}


def _deployment(
    replicas: int, image: str = "docker.io/istio/pilot:1.17.8", env: dict | None = None, **resources
) -> dict:
    container = {"name": "discovery", "image": image, "resources": resources}
    container["env"] = [{"name": n, "value": v} for n, v in (env or {}).items()]
    template = {"metadata": {"labels": {"app": "istiod"}}, "spec": {"containers": [container]}}
    spec = {"replicas": replicas, "template": template}
    return {"kind": "Deployment", "metadata": {"name": "istiod", "namespace": "istio-system"}, "spec": spec}


def _autoscaler(low: int) -> dict:
    spec = {"scaleTargetRef": {"name": "istiod"}, "minReplicas": low, "maxReplicas": 5}
    return {"kind": "HorizontalPodAutoscaler", "metadata": {"name": "istiod"}, "spec": spec}


@pytest.mark.parametrize(
    ("objects", "found"),
    [
        ([_deployment(2)], ["pass"]),
        ([_deployment(1)], ["fail"]),
        ([_deployment(1), _autoscaler(2)], ["pass"]),
        ([_deployment(2), _autoscaler(1)], ["fail"]),
        ([], ["unknown"]),
    ],
)
def test_s11_75_s11_78_at_least_two_istiods(objects, found):
    """T14: not fewer than two; autoscaling must not go down to one."""
    findings = list(settings(istiod_settings(objects)))
    assert [str(finding.status) for finding in findings] == found
    assert all(finding.severity is Severity.WARNING for finding in findings)


@pytest.mark.parametrize(
    ("snapshot", "objects", "status", "summary"),
    [
        (
            "saturated",
            [_deployment(2), _autoscaler(2)],
            "fail",
            "peaks were too short for that: .*held back by the CPU",
        ),
        ("healthy", [_deployment(2), _autoscaler(2)], "pass", "at no limit"),
        ("saturated", [_deployment(2), _autoscaler(5)], "pass", "not autoscaled"),
        ("saturated", [_deployment(2), _autoscaler(2) | {"spec": {}}], "pass", "not autoscaled"),
        ("saturated", [_deployment(2)], "unknown", "no autoscaler was captured"),
        ("no-data", [_deployment(2), _autoscaler(2)], "unknown", "neither CPU nor memory"),
    ],
)
def test_s11_75_autoscaling_is_for_growth_not_for_peaks(snapshot, objects, status, summary):
    signals = meshnb.open(SNAPSHOTS / snapshot).control_plane()
    (finding,) = autoscaling(signals, istiod_settings(objects))
    assert finding.status == status and re.search(summary, finding.summary)


def test_s11_75_a_load_that_lasts_is_what_autoscaling_is_for():
    signals = meshnb.open(SNAPSHOTS / "saturated").control_plane()
    signals["held_s"] = 1800.0
    (finding,) = autoscaling(signals, istiod_settings([_deployment(2), _autoscaler(2)]))
    assert finding.status is Status.PASS and "it lasted" in finding.summary


def _mesh_with(**counts: int):
    signals = meshnb.open(SNAPSHOTS / "healthy").control_plane()  # 42 services, 17 virtual services, 100 proxies
    rows = [{"kind": kind, "name": f"n{n}", "namespace": "shop"} for kind, many in counts.items() for n in range(many)]
    return signals, pd.DataFrame(rows, columns=["kind", "name", "namespace"])


@pytest.mark.parametrize(("services", "routes", "found"), [(42, 17, ["pass", "pass"]), (43, 10, ["fail", "pass"])])
def test_s11_21_s11_22_counts_of_istiod_and_kubernetes(services, routes, found):
    findings = list(counts(*_mesh_with(Service=services, VirtualService=routes)))
    assert [str(finding.status) for finding in findings] == found
    assert all(finding.severity is Severity.INFO for finding in findings)


def test_counts_that_istiod_does_not_report_are_unknown():
    signals = meshnb.open(SNAPSHOTS / "no-data").control_plane()
    findings = list(counts(signals, _mesh_with(Service=1)[1]))
    assert {finding.status for finding in findings} == {Status.UNKNOWN}


@pytest.mark.parametrize(
    ("requests", "status"),
    [
        ({"cpu": "500m", "memory": "2Gi"}, "pass"),
        ({"cpu": "10m", "memory": "100Mi"}, "fail"),
        ({"cpu": "500m", "memory": "10Mi"}, "fail"),
        ({}, "unknown"),
    ],
)
def test_s11_76_size_by_istio_s_reference(requests, status):
    """1,000 services, 2,000 proxies: 1 vCPU and 1.5 GB; 42 services and 50 proxies ask for 0.042 of it."""
    signals = meshnb.open(SNAPSHOTS / "healthy").control_plane()
    (finding,) = size(signals, istiod_settings([_deployment(2, requests=requests)]))
    assert str(finding.status) == status
    if status != "unknown":
        assert "42 services and 50 proxies" in finding.summary


def test_s11_04_the_four_factors_with_their_values():
    frame = meshnb.open(SNAPSHOTS / "healthy").four_factors().df
    assert frame["factor"].nunique() == 4
    assert frame["measured"].str.len().min() > 0
