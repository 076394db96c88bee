"""A live capture of the lab's own processes: objects over HTTP, ports and commands over websockets."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path

import pytest
from replay.apiserver import Fault, ReplayApiServer
from replay.recorded import ISTIOD

from meshnb.lab import lab as labs
from meshnb.lab.calls import call
from meshnb.lab.lab import require_up
from meshnb.lab.plan import ADMIN_PORT, MONITOR_PORT, PODS, LabHome
from meshnb.lab.world import World
from meshnb.runbook.mesh import Mesh
from meshnb.sources.capture import CaptureOptions, capture_cluster
from meshnb.sources.kubernetes import Cluster


@contextmanager
def api_of(lab: LabHome):
    """An API server before the running lab: its ports are those of the lab's Envoys and control plane."""
    plan = require_up(lab)
    lists = World.restore(lab.read(lab.objects)["objects"]).lists()
    lists["pods"] = [*lists["pods"], ISTIOD]
    backends = {(pod.name, pod.namespace, ADMIN_PORT): (plan.ip(pod), ADMIN_PORT) for pod in PODS}
    backends["istiod-1", "istio-system", MONITOR_PORT] = (plan.control_plane, MONITOR_PORT)

    def request(address: str):
        # pilot-agent request METHOD PATH
        return lambda command: call(address, ADMIN_PORT, f"/{command[3]}", method=command[2])[1]

    commands = {(pod.name, pod.namespace, "pilot-agent"): request(plan.ip(pod)) for pod in PODS}
    with ReplayApiServer(lists, backends=backends, commands=commands) as api:
        yield api


def capture(api: ReplayApiServer, target: Path) -> Mesh:
    cluster = Cluster(api.configuration(), name="replay", sleep=lambda _: None)
    return Mesh(capture_cluster(cluster, target, CaptureOptions(since_s=0, expected=True)))


@pytest.mark.lab
def test_port_forward_reaches_the_envoys_and_the_control_plane(lab: LabHome, tmp_path: Path):
    with api_of(lab) as api:
        mesh = capture(api, tmp_path / "healthy")
        labs.break_("frozen-endpoints", lab)
        broken = capture(api, tmp_path / "broken")
    assert set(mesh.proxies) == {pod.proxy for pod in PODS}
    assert mesh.endpoint_truth("catalog").verdict.unique().tolist() == ["agrees"]
    assert set(mesh.proxy_status().proxy) == {pod.proxy for pod in PODS}
    assert mesh.expected_config(PODS[1].proxy)
    assert broken.endpoint_truth("catalog").verdict.unique().tolist() != ["agrees"]


@pytest.mark.lab
def test_exec_reaches_them_where_port_forward_is_refused(lab: LabHome, tmp_path: Path):
    with api_of(lab) as api:
        api.faults = [Fault("/portforward", status=403, message="forbidden")]
        mesh = capture(api, tmp_path / "s")
    assert {d.proxy for d in mesh.snapshot.documents("config_dump")} == {pod.proxy for pod in PODS}
    assert not mesh.clusters().empty
