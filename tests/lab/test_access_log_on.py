"""Access logs switched off, filtered and switched on again in real Envoys by Telemetry objects (S10-45)."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from meshnb import Mesh
from meshnb.lab import lab as labs
from meshnb.lab.capture import capture
from meshnb.lab.plan import LabHome
from meshnb.lab.scenarios import V1
from meshnb.lab.traffic import traffic
from meshnb.model.finding import Findings, Status

from .logs import GATEWAY, every_record, records

pytestmark = pytest.mark.lab


def telemetry(name: str, namespace: str, *entries: dict, **spec: object) -> dict:
    meta = {"name": name, "namespace": namespace}
    spec = {**spec, "accessLogging": list(entries)}
    return {"apiVersion": "telemetry.istio.io/v1", "kind": "Telemetry", "metadata": meta, "spec": spec}


def checked(lab: LabHome, folder: Path, code: str = "MNB0255") -> Findings:
    return Mesh(capture(folder, lab)).check(code)


def test_a_telemetry_that_switches_logs_off_is_found_and_its_fix_switches_them_on(lab: LabHome, tmp_path: Path):
    labs.apply_objects([telemetry("quiet", "istio-system", {"disabled": True})], lab)
    before = len(every_record(lab, GATEWAY))
    assert traffic(lab, requests=5, rate=100).counts == {200: 5}
    (found,) = checked(lab, tmp_path / "off")
    assert found.status is Status.FAIL and str(found.subject) == "Telemetry istio-system/quiet"
    assert "5 of 5 proxies log no request" in found.summary
    assert len(every_record(lab, GATEWAY)) == before
    labs.apply_objects([yaml.safe_load(found.fix[0].text)], lab)
    result = traffic(lab, requests=5, rate=100)
    assert len(records(lab, GATEWAY, result)) == 5
    assert checked(lab, tmp_path / "on").verdict is Status.PASS


def test_the_nearest_telemetry_decides_and_servers_alone_can_be_silent(lab: LabHome, tmp_path: Path):
    server = {"match": {"mode": "SERVER"}, "disabled": True, "providers": [{"name": "envoy"}]}
    labs.apply_objects(
        [
            telemetry("quiet", "istio-system", {"disabled": True, "providers": [{"name": "envoy"}]}),
            telemetry("loud", "istioinaction", {"providers": [{"name": "envoy"}]}),
            telemetry("own", "istioinaction", server, selector={"matchLabels": {"app": "catalog", "version": "v1"}}),
        ],
        lab,
    )
    found = {str(one.subject): one for one in checked(lab, tmp_path / "levels")}
    assert set(found) == {"Telemetry istio-system/quiet", "Telemetry istioinaction/own"}
    assert GATEWAY in found["Telemetry istio-system/quiet"].summary
    assert "some listeners only" in found["Telemetry istioinaction/own"].summary
    assert V1 in found["Telemetry istioinaction/own"].summary


def test_a_filter_leaves_out_what_went_well(lab: LabHome, tmp_path: Path):
    only = {"providers": [{"name": "envoy"}], "filter": {"expression": "response.code >= 500"}}
    labs.apply_objects([telemetry("errors", "istio-system", only)], lab)
    assert traffic(lab, requests=3, rate=100).counts == {200: 3}
    labs.blowup(lab.load_plan(), V1.partition(".")[0], {"active": True, "type": "error", "status": 500})
    result = traffic(lab, requests=40, rate=100)
    assert {r["response_code"] for r in records(lab, GATEWAY, result, seconds=1.0)} == {500}
    (found,) = checked(lab, tmp_path / "filtered")
    assert str(found.subject) == "Telemetry istio-system/errors" and "response.code >= 500" in found.summary
