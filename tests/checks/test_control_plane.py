"""Checks of the control plane: failing, passing, unknown."""

from __future__ import annotations

from pathlib import Path

import pytest

import meshnb
from meshnb.checks.control_plane import settings
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
