"""A capture of the lab, and the demo snapshots that were made with it."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest

from meshnb.errors import UsageError
from meshnb.lab import lab as labs
from meshnb.lab.capture import capture, capture_running
from meshnb.lab.plan import PODS, LabHome
from meshnb.lab.traffic import traffic
from meshnb.sources.snapshot import DEMOS, Snapshot

from .logs import GATEWAY


def lines(snapshot: Snapshot, proxy: str) -> list[dict]:
    document = next(d for d in snapshot.documents("proxy_log", proxy=proxy))
    return [json.loads(line) for line in snapshot.read(document).splitlines() if line.startswith(b"{")]


@pytest.mark.lab
def test_a_capture_holds_every_document_and_only_what_came_since_the_change(lab: LabHome, tmp_path: Path):
    traffic(lab, requests=5, rate=100)
    labs.break_("missing-subset", lab)
    result = traffic(lab, requests=10, rate=100)
    snapshot = capture(tmp_path / "snapshot", lab)
    assert not snapshot.failed()
    assert snapshot.manifest.cluster == "lab"
    assert snapshot.manifest.versions["envoy"].count(".") == 2
    kinds = {d.kind for d in snapshot.documents()}
    assert kinds >= {"config_dump", "clusters", "listeners", "server_info", "certs", "stats", "logging", "ready"}
    assert kinds >= {"proxy_log", "container_log", "kubernetes", "istiod_debug", "istiod_metrics"}
    assert {d.proxy for d in snapshot.documents("config_dump")} == {pod.proxy for pod in PODS}
    assert [r["request_id"] for r in lines(snapshot, GATEWAY)] == [a.request_id for a in result.answers]
    whole = capture(tmp_path / "whole", lab, whole_log=True)
    assert len(lines(whole, GATEWAY)) >= 15
    with pytest.raises(UsageError, match="not empty"):
        capture(tmp_path / "whole", lab)


@pytest.mark.lab
def test_kubernetes_lists_are_named_by_resource(lab: LabHome, tmp_path: Path):
    labs.break_("missing-subset", lab)
    snapshot = capture(tmp_path / "snapshot", lab)

    def items(plural: str) -> list[dict]:
        document = next(d for d in snapshot.documents("kubernetes") if d.path == f"kubernetes/{plural}.json")
        body = json.loads(snapshot.read(document))
        assert body["kind"] == "List"
        return body["items"]

    pods = {item["metadata"]["name"]: item for item in items("pods")}
    assert {pod.name for pod in PODS} < set(pods)
    slow = pods["catalog-v2-6c8d9f7b6-bbbb2"]
    assert slow["status"]["podIP"].endswith(".13") and slow["metadata"]["labels"]["version"] == "v2"
    assert items("destinationrules") == []
    assert [item["metadata"]["name"] for item in items("virtualservices")] == ["catalog-v1-v2", "webapp"]
    ready = [e["addresses"][0] for s in items("endpointslices") for e in s["endpoints"]]
    assert len(ready) == len(PODS)


@pytest.mark.lab
def test_no_key_and_no_address_of_this_machine_is_captured(lab: LabHome):
    traffic(lab, requests=3, rate=100)
    snapshot = capture_running(lab)
    everything = b"".join(snapshot.read(d) for d in snapshot.documents())
    assert b"PRIVATE KEY" not in everything
    assert str(lab.root).encode() not in everything
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        # connecting a datagram socket sends nothing; it only chooses the address of the network card
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return
        own = probe.getsockname()[0]
    assert own.encode() not in everything


@pytest.mark.parametrize("name", DEMOS[:3])
def test_demo_snapshots_are_complete(name: str):
    snapshot = Snapshot.open(f"demo/{name}")
    assert not snapshot.failed()
    assert len({d.proxy for d in snapshot.documents("config_dump")}) == 5
    assert len(lines(snapshot, GATEWAY)) == 120


def test_demo_healthy_has_no_failed_request():
    assert {r["response_code"] for r in lines(Snapshot.open("demo"), GATEWAY)} == {200}


def test_demo_missing_subset_is_nc():
    """S10-02 to S10-07."""
    found = lines(Snapshot.open("demo/missing-subset"), GATEWAY)
    assert {(r["response_code"], r["response_flags"]) for r in found} == {(503, "NC")}


def test_demo_slow_replica_pairs_ut_with_dc():
    """S10-44, S10-61, S10-62: about a fifth fails at the client, nothing fails with 5xx at the server."""
    snapshot = Snapshot.open("demo/slow-replica")
    late = {r["request_id"] for r in lines(snapshot, GATEWAY) if r["response_flags"] == "UT"}
    gone = {r["request_id"] for r in lines(snapshot, PODS[3].proxy) if r["response_flags"] == "DC"}
    assert late == gone
    assert 0.1 < len(late) / 120 < 0.3
    servers = [r for pod in PODS[1:4] for r in lines(snapshot, pod.proxy)]
    assert not [r for r in servers if r["response_code"] >= 500]
