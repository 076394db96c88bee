"""Discovery, failing endpoints and degradation on logs of real Envoys (S10-38)."""

from __future__ import annotations

from pathlib import Path

import pytest

from meshnb import Mesh
from meshnb.checks.degradation import degradation
from meshnb.lab import lab as labs
from meshnb.lab.capture import capture
from meshnb.lab.inventory import manifest
from meshnb.lab.plan import LabHome
from meshnb.lab.scenarios import V2B
from meshnb.lab.traffic import traffic
from meshnb.model.finding import Status

from .logs import GATEWAY, records

pytestmark = [pytest.mark.lab, pytest.mark.slow]


def test_an_endpoint_that_fails_is_named_and_nobody_while_all_is_well(lab: LabHome, tmp_path: Path):
    records(lab, GATEWAY, traffic(lab, requests=150, rate=150))
    assert Mesh(capture(tmp_path / "well", lab)).check("MNB0258").verdict is Status.PASS
    labs.break_("failing-replica", lab)
    records(lab, GATEWAY, traffic(lab, requests=150, rate=150))
    (found,) = Mesh(capture(tmp_path / "failing", lab)).check("MNB0258")
    assert str(found.subject) == f"Pod istioinaction/{V2B.partition('.')[0]}" and found.status is Status.FAIL


def test_the_moment_a_service_got_slow(lab: LabHome, tmp_path: Path):
    plan = lab.load_plan()
    good = traffic(lab, requests=60, rate=100)
    for pod in ("catalog-5d4f7c9b8-v1aaa", "catalog-v2-6c8d9f7b6-aaaa1", "catalog-v2-6c8d9f7b6-bbbb2"):
        labs.blowup(plan, pod, {"active": True, "type": "latency", "seconds": 0.2})
    bad = traffic(lab, requests=60, rate=100)
    logged = records(lab, GATEWAY, good), records(lab, GATEWAY, bad)
    onset = min(record["start_time"] for record in logged[1])
    mesh = Mesh(capture(tmp_path / "slow", lab))
    (found,) = mesh.check("MNB0259")
    assert found.status is Status.FAIL
    assert f"From {onset[:10]} {onset[11:19]} UTC on" in found.summary
    # on the other side of the threshold: 0.2 s are less than a thousand times what was usual
    (fine,) = degradation(access_log=mesh.requests("catalog.istioinaction.io"), slower=1000.0)
    assert fine.status is Status.PASS


def test_requests_lost_until_a_proxy_got_its_cluster(lab: LabHome, tmp_path: Path):
    rule = next(item for item in manifest("healthy") if item["kind"] == "DestinationRule")
    labs.apply_objects([], lab, delete=[("DestinationRule", "istioinaction", "catalog")])
    lost = traffic(lab, requests=15, rate=10)
    labs.apply_objects([rule], lab)
    served = traffic(lab, requests=10, rate=100)
    assert lost.counts == {503: 15} and served.counts == {200: 10}
    records(lab, GATEWAY, served)
    mesh = Mesh(capture(tmp_path / "late", lab, whole_log=True))
    (found,) = [one for one in mesh.check("MNB0257") if "(NC)" in one.summary]
    assert found.status is Status.FAIL and "then it was served" in found.summary


def test_requests_sent_to_a_pod_that_is_gone(lab: LabHome, tmp_path: Path):
    labs.break_("frozen-endpoints", lab)
    result = traffic(lab, requests=60, rate=30)
    records(lab, GATEWAY, result)
    (found,) = Mesh(capture(tmp_path / "frozen", lab)).check("MNB0257")
    assert found.status is Status.FAIL and "an address that no pod has" in found.summary
