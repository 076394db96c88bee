"""Ten workloads more: what they cost every proxy."""

from __future__ import annotations

from pathlib import Path

import pytest

from meshnb.lab import lab as labs
from meshnb.lab.capture import capture
from meshnb.lab.plan import PODS, LabHome
from meshnb.runbook.mesh import Mesh

SIDECAR = PODS[1].proxy


@pytest.mark.lab
def test_s11_37_s11_39_ten_dummy_workloads_are_in_every_proxy(lab: LabHome, tmp_path: Path):
    """S11-37: proxy status, clusters and endpoints. S11-39: resources and bytes of a proxy by type."""
    before = Mesh(capture(tmp_path / "before", lab))
    labs.break_("fan-out", lab)
    after = Mesh(capture(tmp_path / "after", lab))
    status = after.proxy_status()
    assert set(status["proxy"]) == {pod.proxy for pod in PODS}
    assert set(status[status["sent"].notna()]["status"]) == {"SYNCED"}
    dummies = {f"outbound|80||sleep-{n}.istioinaction.svc.cluster.local" for n in range(1, 11)}
    for pod in PODS:
        assert dummies <= set(after.clusters(proxy=pod.proxy)["cluster"])
        endpoints = after.endpoints(proxy=pod.proxy)
        found = endpoints[endpoints["cluster"].isin(dummies)]
        assert set(found["address"]) == {f"10.244.9.{n}" for n in range(1, 11)}
    small, large = (
        mesh.sizes(proxy=SIDECAR).query("part == 'resource'").groupby("section")["bytes"].agg(["count", "sum"])
        for mesh in (before, after)
    )
    more = large - small
    assert (more["count"][["clusters", "endpoints"]] == 10).all()
    assert (more["sum"][["clusters", "endpoints", "routes"]] > 0).all()
