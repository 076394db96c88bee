"""A Sidecar predicted and applied: what real Envoys lose is what was said (S11-52, S11-53)."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from meshnb import Mesh
from meshnb.lab import lab as labs
from meshnb.lab.capture import capture
from meshnb.lab.plan import LabHome
from meshnb.lab.traffic import traffic

from .logs import every_record

pytestmark = pytest.mark.lab
WEBAPP = "webapp-8dc87795f-web01.istioinaction"
CATALOG = "catalog.istioinaction.svc.cluster.local"


def sidecar(name: str, namespace: str, *hosts: str, **spec: object) -> dict:
    meta = {"name": name, "namespace": namespace}
    return {
        "apiVersion": "networking.istio.io/v1beta1",
        "kind": "Sidecar",
        "metadata": meta,
        "spec": {"egress": [{"hosts": list(hosts)}], **spec},
    }


ONLY_WEBAPP = {"workloadSelector": {"labels": {"app": "webapp"}}}
REFUSE = {"outboundTrafficPolicy": {"mode": "REGISTRY_ONLY"}}


def calls(lab: LabHome, requests: int = 5) -> dict[int, int]:
    """Calls to the webapp, which asks the catalog through its own sidecar."""
    return dict(traffic(lab, requests=requests, rate=100, host="webapp.istioinaction.io", path="/api/catalog").counts)


def logged(lab: LabHome, count: int) -> list[dict]:
    """Records of the webapp's own calls, once there are as many."""
    end = time.monotonic() + 10
    while True:
        found = [r for r in every_record(lab, WEBAPP) if r["authority"] == "catalog.istioinaction"]
        if len(found) >= count or time.monotonic() > end:
            return found
        time.sleep(0.1)


def test_s11_52_53_what_a_sidecar_takes_away_is_what_was_predicted(lab: LabHome, tmp_path: Path):
    """S11-52, S11-53: clusters, routes and endpoints vanish, the call fails, and the size is the one predicted."""
    seen = len([r for r in every_record(lab, WEBAPP) if r["authority"] == "catalog.istioinaction"])
    assert calls(lab) == {200: 5}
    assert len(logged(lab, seen + 5)) == seen + 5
    before = Mesh(capture(tmp_path / "before", lab))
    tried = sidecar("webapp", "istioinaction", "istio-system/*", **ONLY_WEBAPP, **REFUSE)
    found = before.sidecar_what_if(tried)
    (row,) = found.proxies.itertuples()
    assert (row.proxy, row.catch_all, row.calls) == (WEBAPP, "BlackHoleCluster", "access log")
    held = before.access_log(proxy=WEBAPP)  # from the last change of the lab on, which other tests make too
    assert row.requests_lost == row.requests == (held.authority == "catalog.istioinaction").sum() >= 5
    (call,) = found.calls.itertuples()
    assert (call.host, call.verdict) == (CATALOG, "breaks") and call.expects.startswith("502 from block_all")
    goes = found.changes[found.changes.type == "cluster"]
    assert set(goes.host) == {CATALOG, "webapp.istioinaction.svc.cluster.local"}

    labs.apply_objects([tried], lab)
    assert calls(lab) == {500: 5}  # the webapp answers 500 for a catalog it cannot ask
    refused = logged(lab, seen + 10)[-5:]
    assert {(r["response_code"], r["route_name"], r["response_code_details"]) for r in refused} == {
        (502, "block_all", "direct_response")
    }
    after = Mesh(capture(tmp_path / "after", lab))
    (result,) = found.measured(after).itertuples()
    assert (list(result.stayed), list(result.gone)) == ([], [])
    assert result.clusters_predicted == result.clusters_measured == result.clusters_before - len(goes)
    assert result.bytes_measured < 0.8 * result.bytes_before
    assert abs(result.error) < 0.01, result
    left = after.routes(proxy=WEBAPP)
    assert not left.virtual_host.str.startswith("catalog.").any()
    # the others keep what they had
    other = next(name for name in after.proxies if name.startswith("catalog-v2"))
    assert len(after.clusters(proxy=other)) == len(before.clusters(proxy=other))


def test_s11_45_two_implementations_agree_for_whom_a_sidecar_holds(lab: LabHome, tmp_path: Path):
    """S11-45: the lab's control plane, written apart, answers `sidecarz` as the resolver says."""
    labs.apply_objects(
        [
            sidecar("default", "istio-system", "istio-system/*"),
            sidecar("webapp", "istioinaction", "./catalog.istioinaction.svc.cluster.local", **ONLY_WEBAPP),
        ],
        lab,
    )
    mesh = Mesh(capture(tmp_path / "levels", lab))
    rows = mesh.sidecar_proxies().set_index("proxy")
    limited = rows[rows.level != "gateway"]
    assert set(limited.istiod) == {"agrees"}
    assert rows.level[WEBAPP] == "workload" and rows.services[WEBAPP] == 1
    assert set(limited.level) == {"workload", "mesh"}
    (gateway,) = rows[rows.level == "gateway"].index
    assert len(mesh.clusters(proxy=gateway, direction="outbound")) > 3
    held = mesh.sidecars().set_index("sidecar").proxies
    assert (held["webapp"], held["default"]) == (1, 3)
    assert mesh.check("MNB0110", "MNB0111", "MNB0112", "MNB0113", "MNB0114").verdict == "pass"


def test_allow_any_sends_what_is_not_known_past_the_mesh(lab: LabHome, tmp_path: Path):
    """S11-48: without REGISTRY_ONLY the rest goes to PassthroughCluster."""
    labs.apply_objects([sidecar("webapp", "istioinaction", "istio-system/*", **ONLY_WEBAPP)], lab)
    mesh = Mesh(capture(tmp_path / "open", lab))
    assert "allow_any" in set(mesh.routes(proxy=WEBAPP).virtual_host)
    assert not mesh.clusters(proxy=WEBAPP, fqdn="catalog").shape[0]
    proposed = mesh.sidecar_proposals().set_index("workload")
    assert proposed.selector["webapp"] == '{"app": "webapp"}'
