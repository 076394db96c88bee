"""The scenarios of the control plane, seen by the checks: real ACKs, NACKs and endpoints of real Envoys."""

from __future__ import annotations

from pathlib import Path

import pytest

from meshnb.lab import lab as labs
from meshnb.lab.capture import capture
from meshnb.lab.plan import LabHome
from meshnb.lab.traffic import traffic
from meshnb.model.finding import Status
from meshnb.runbook.mesh import Mesh

pytestmark = pytest.mark.lab
SYNC = ("MNB0310", "MNB0311", "MNB0312", "MNB0313", "MNB0314", "MNB0315", "MNB0317")
GATEWAY = "istio-ingressgateway-7d9f8c6b5-lab01.istio-system"


def broken(lab: LabHome, scenario: str, folder: Path) -> Mesh:
    labs.break_(scenario, lab)
    traffic(lab, requests=20, rate=100)
    return Mesh(capture(folder / scenario, lab))


def test_s10_11_a_rejected_configuration_is_told_in_envoys_words_with_its_object(lab: LabHome, tmp_path: Path):
    """S10-11, T1: ERROR, the NACK text, and the EnvoyFilter behind it."""
    failed = broken(lab, "rejected-config", tmp_path).check(*SYNC).status("fail")
    assert [(f.code, str(f.subject)) for f in failed] == [("MNB0311", "EnvoyFilter istio-system/gateway-rate-limit")]
    assert "token bucket fill timer must be >= 50ms" in failed[0].summary
    assert GATEWAY in failed[0].summary


def test_s11_01_a_frozen_endpoint_is_a_ghost_with_pod_proxy_and_where_the_truth_stopped(lab: LabHome, tmp_path: Path):
    """S11-01: syncz says SYNCED, and yet the gateway was never told."""
    mesh = broken(lab, "frozen-endpoints", tmp_path)
    assert not mesh.check("MNB0310", "MNB0311").status("fail")
    (finding,) = mesh.check("MNB0410").status("fail")
    assert "pod catalog-v2-6c8d9f7b6-bbbb2" in finding.summary
    assert GATEWAY in finding.summary and "The truth stopped at istiod" in finding.summary


def test_a_control_plane_that_is_down_is_told_by_the_envoys(lab: LabHome, tmp_path: Path):
    found = broken(lab, "istiod-down", tmp_path).check(*SYNC)
    assert [(f.code, str(f.subject)) for f in found.status("fail")] == [("MNB0317", "ControlPlane")]
    assert {f.code for f in found.status("unknown")} == set(SYNC) - {"MNB0317"}


def test_s10_21_after_the_fix_everything_is_clean(lab: LabHome, tmp_path: Path):
    """S10-21: apply, look, take back, look again."""
    before = broken(lab, "missing-subset", tmp_path).describe("deploy/catalog")
    assert any("which no DestinationRule defines" in warning for warning in before.warnings)
    labs.heal(lab)
    mesh = Mesh(capture(tmp_path / "healed", lab))
    assert not mesh.describe("deploy/catalog").warnings
    assert {f.status for f in mesh.check(*SYNC, "MNB0410", "MNB0411", "MNB0414")} == {Status.PASS}
