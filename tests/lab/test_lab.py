"""The lab itself: what it starts, what it binds, how it ends, how it says that something is wrong."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from meshnb.cli import main
from meshnb.errors import LabError, MissingExtra, UsageError
from meshnb.lab import envoy
from meshnb.lab import lab as labs
from meshnb.lab.plan import PODS, LabHome, Plan
from meshnb.lab.process import is_running, listening_inodes, open_files, start_time
from meshnb.lab.status import is_up, require_up, status
from meshnb.lab.traffic import TrafficResult, traffic

from .conftest import own_subnet
from .logs import GATEWAY, every_record, outcomes, records

pytestmark = pytest.mark.lab

ROUTE = "type.googleapis.com/envoy.config.route.v3.RouteConfiguration"

DESTINATION_RULE = """\
apiVersion: networking.istio.io/v1alpha3
kind: DestinationRule
metadata:
  name: catalog
  namespace: istioinaction
spec:
  host: catalog.istioinaction.svc.cluster.local
  subsets:
  - name: version-v1
    labels: {version: v1}
  - name: version-v2
    labels: {version: v2}
"""

BAD_REGEX = """\
apiVersion: networking.istio.io/v1alpha3
kind: VirtualService
metadata:
  name: webapp
  namespace: istioinaction
spec:
  hosts: [webapp.istioinaction.io]
  gateways: [webapp-gateway]
  http:
  - match:
    - uri: {regex: "["}
    route:
    - destination: {host: webapp}
"""


def pids(home: LabHome) -> dict[str, tuple[int, str]]:
    state = home.read(home.state)
    found = {name: (p["pid"], p["start"]) for name, p in state["processes"].items()}
    return {**found, "supervisor": (state["supervisor"]["pid"], state["supervisor"]["start"])}


def wait_until_gone(processes: dict[str, tuple[int, str]], seconds: float = 10.0) -> list[str]:
    """Names of the processes still there when time is up."""
    deadline = time.monotonic() + seconds
    while (left := [n for n, p in processes.items() if is_running(*p)]) and time.monotonic() < deadline:
        time.sleep(0.02)
    return left


def test_every_part_is_ready_and_says_where(lab: LabHome):
    now = status(lab)
    assert now.running and now.scenario == "healthy"
    assert {part.state for part in now.parts} == {"ready"}
    assert len(now.parts) == 1 + 5 + 4
    assert "no Prometheus" in now.missing[0]


def test_up_twice_says_that_it_runs_already(lab: LabHome, capsys: pytest.CaptureFixture[str]):
    before = pids(lab)
    assert main(["lab", "up", "--home", str(lab.root)]) == 0
    assert "already runs" in capsys.readouterr().out
    assert pids(lab) == before


def test_only_loopback_is_bound(lab: LabHome):
    own = set().union(*(open_files(pid) for pid, _ in pids(lab).values()))
    bound = {(address, port) for inode, address, port in listening_inodes() if f"socket:[{inode}]" in own}
    assert bound == {(address, port) for address, port, _ in lab.load_plan().listening()}
    assert all(address.startswith("127.") for address, _ in bound)


def test_healthy_traffic_reaches_both_versions_by_mutual_tls(lab: LabHome):
    """S10-08: a bounded loop of requests with the count of each status."""
    result = traffic(lab, requests=60, rate=200)
    assert result.counts == {200: 60}
    found = records(lab, GATEWAY, result)
    assert {r["upstream_cluster"].split("|")[2] for r in found} == {"version-v1", "version-v2"}
    sidecar = [r for pod in PODS[1:4] for r in every_record(lab, pod.proxy)]
    names = {r["requested_server_name"] for r in sidecar if r["request_id"] in {r["request_id"] for r in found}}
    host = "catalog.istioinaction.svc.cluster.local"
    assert names <= {f"outbound_.80_.version-v1_.{host}", f"outbound_.80_.version-v2_.{host}"} and names


def test_webapp_calls_catalog_through_its_sidecar(lab: LabHome):
    """SD-02: two hops, one request id."""
    result = traffic(lab, requests=5, rate=100, host="webapp.istioinaction.io", path="/api/catalog")
    assert result.counts == {200: 5}
    webapp = records(lab, PODS[4].proxy, result)
    assert {r["upstream_cluster"] for r in webapp} == {
        "inbound|3000||",
        "outbound|80||catalog.istioinaction.svc.cluster.local",
    }


def test_missing_subset_then_a_destination_rule_turns_100_of_100_to_200(lab: LabHome, tmp_path: Path):
    """S10-02, S10-07: subsets that nothing defines give 503 NC; the DestinationRule heals them."""
    labs.break_("missing-subset", lab)
    broken = traffic(lab, requests=20, rate=200)
    assert broken.counts == {503: 20}
    assert outcomes(records(lab, GATEWAY, broken)) == {(503, "NC", "cluster_not_found")}
    fix = tmp_path / "fix.yaml"
    fix.write_text(DESTINATION_RULE)
    change = labs.apply(fix, lab)
    assert change.changed == ("DestinationRule istioinaction/catalog",)
    assert set(change.proxies) == {pod.proxy for pod in PODS}
    assert {answer for types in change.proxies.values() for answer in types.values()} == {"ACK"}
    assert traffic(lab, requests=100, rate=200).counts == {200: 100}


def test_slow_replica_is_504_ut_at_the_gateway_and_0_dc_at_its_sidecar(lab: LabHome):
    """S10-39, S10-42, S10-44, S10-62: the same request ids on both sides."""
    labs.break_("slow-replica", lab)
    result = traffic(lab, requests=60, rate=40)
    assert set(result.counts) == {200, 504}
    late = [r for r in records(lab, GATEWAY, result) if r["response_code"] == 504]
    assert outcomes(late) == {(504, "UT", "response_timeout")}
    slow = PODS[3].proxy
    assert {r["upstream_host"] for r in late} == {f"{lab.load_plan().ip(PODS[3])}:3000"}
    wanted = {r["request_id"] for r in late}
    innocent = records(lab, slow, TrafficResult(tuple(a for a in result.answers if a.request_id in wanted)))
    assert outcomes(innocent) == {(0, "DC", "downstream_remote_disconnect")}
    assert {r["request_id"] for r in innocent} == wanted


def test_a_refused_configuration_is_a_nack_with_envoys_text(lab: LabHome, tmp_path: Path):
    file = tmp_path / "bad.yaml"
    file.write_text(BAD_REGEX)
    change = labs.apply(file, lab)
    assert change.proxies[GATEWAY]["RDS"] == "NACK"
    assert change.proxies[GATEWAY]["CDS"] == "ACK"
    assert "missing ]" in change.errors[0]
    from meshnb.lab.calls import call_json

    rows = {r["proxy"]: r for r in call_json(lab.load_plan().control_plane, 15014, "/debug/syncz")}
    gateway = rows[GATEWAY]
    assert gateway["route_sent"] != gateway["route_acked"]
    assert "missing ]" in gateway["resources"][ROUTE]["lastError"]
    assert gateway["cluster_sent"] == gateway["cluster_acked"]
    # the routes from before go on serving
    assert traffic(lab, requests=5, rate=100).counts == {200: 5}
    labs.heal(lab)
    rows = {r["proxy"]: r for r in call_json(lab.load_plan().control_plane, 15014, "/debug/syncz")}
    assert rows[GATEWAY]["route_sent"] == rows[GATEWAY]["route_acked"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: [", "not YAML"),
        ("", "holds no object"),
        (
            DESTINATION_RULE.replace("kind: DestinationRule", "kind: DestinationRul"),
            "does not translate DestinationRul",
        ),
        (DESTINATION_RULE + "  exportTo: ['*']\n", "DestinationRule catalog: the lab does not translate spec.exportTo"),
        (DESTINATION_RULE.replace("spec:\n  host", "spec:\n  trafficPolicy: 3\n  host"), "trafficPolicy is no mapping"),
        (
            DESTINATION_RULE + "  trafficPolicy: {tls: {mode: MUTUAL}}\n",
            "does not translate spec.trafficPolicy.tls.mode: MUTUAL",
        ),
        (BAD_REGEX.replace("route:", "timeout: soon\n    route:"), "'soon' is no duration"),
    ],
)
def test_what_the_lab_cannot_translate_is_refused_and_nothing_changes(
    lab: LabHome, tmp_path: Path, text: str, words: str
):
    file = tmp_path / "objects.yaml"
    file.write_text(text)
    before = lab.objects.read_bytes()
    with pytest.raises(LabError) as caught:
        labs.apply(file, lab)
    assert words in str(caught.value)
    assert lab.objects.read_bytes() == before


def test_text_access_log(tmp_path: Path):
    """S10-43: the default text format."""
    home = LabHome.of(tmp_path / "home")
    labs.up(home, subnet=own_subnet(1), prometheus=False, log_format="text")
    try:
        result = traffic(home, requests=1)
        identity = result.answers[0].request_id
        log = home.log(f"envoy:{GATEWAY}")
        deadline = time.monotonic() + 10
        while identity not in log.read_text() and time.monotonic() < deadline:
            time.sleep(0.05)
        line = next(line for line in log.read_text().splitlines() if identity in line)
        assert '] "GET /items HTTP/1.1" 200 - via_upstream - "-" 0 ' in line
        assert f'"203.0.113.7" "meshnb-lab/1" "{identity}" "catalog.istioinaction.io"' in line
    finally:
        labs.down(home)


def test_kill_9_of_the_supervisor_leaves_no_orphan_and_the_lab_can_start_again(tmp_path: Path):
    home = LabHome.of(tmp_path / "home")
    subnet = own_subnet(2)
    labs.up(home, subnet=subnet, prometheus=False)
    try:
        processes = pids(home)
        assert len(processes) == 11
        os.kill(processes["supervisor"][0], signal.SIGKILL)
        assert wait_until_gone(processes) == []
        assert not is_up(home)
        with pytest.raises(LabError, match="no lab runs"):
            require_up(home)
        assert labs.up(home, subnet=subnet, prometheus=False)
        processes = pids(home)
        assert labs.down(home)
        assert wait_until_gone(processes, 0.0) == []
        assert not labs.down(home)
    finally:
        labs.down(home)


def test_down_does_not_touch_a_process_that_got_the_id_of_an_old_one(tmp_path: Path):
    home = LabHome.of(tmp_path)
    other = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        stale = {"pid": other.pid, "start": start_time(other.pid) + "0"}
        home.write(home.state, {"supervisor": stale, "processes": {"envoy:x": {**stale, "exit": None}}})
        assert not labs.down(home)
        assert other.poll() is None
    finally:
        other.communicate(b"\n")


def test_interrupted_start_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    home = LabHome.of(tmp_path / "home")
    seen: dict[str, tuple[int, str]] = {}

    def interrupt(home: LabHome, plan: Plan, supervisor: int) -> None:
        while len(home.read(home.state).get("processes", {})) < 5:
            time.sleep(0.01)
        seen.update(pids(home))
        raise KeyboardInterrupt

    monkeypatch.setattr(labs, "_wait_until_ready", interrupt)
    with pytest.raises(KeyboardInterrupt):
        labs.up(home, subnet=own_subnet(3), prometheus=False)
    assert len(seen) >= 5
    assert wait_until_gone(seen, 0.0) == []
    monkeypatch.undo()
    try:
        assert labs.up(home, subnet=own_subnet(3), prometheus=False)
    finally:
        labs.down(home)


def test_a_taken_port_is_named_with_its_process(tmp_path: Path):
    subnet = own_subnet(3)
    with socket.socket() as taken:
        taken.bind((f"{subnet}.10", 8080))
        taken.listen()
        with pytest.raises(LabError) as caught:
            labs.up(LabHome.of(tmp_path / "home"), subnet=subnet, prometheus=False)
    assert f"{subnet}.10:8080 is taken by" in str(caught.value)
    assert f"(pid {os.getpid()})" in str(caught.value)
    assert "--subnet" in caught.value.hint
    assert not is_up(LabHome.of(tmp_path / "home"))


def test_a_folder_with_other_things_is_not_wiped(tmp_path: Path):
    precious = tmp_path / "thesis.txt"
    precious.write_text("no")
    with pytest.raises(LabError, match="something else than a lab"):
        labs.up(LabHome.of(tmp_path), subnet=own_subnet(3), prometheus=False)
    assert precious.exists()


def test_no_envoy_for_this_platform(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("MESHNB_ENVOY", raising=False)
    monkeypatch.setattr(envoy, "_from_wheel", lambda: None)
    with pytest.raises(LabError, match="no Envoy wheel for this platform"):
        envoy.find_envoy()


def test_an_envoy_that_does_not_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    fake = tmp_path / "envoy"
    fake.write_text("#!/bin/sh\necho broken >&2\nexit 3\n")
    fake.chmod(0o755)
    monkeypatch.setenv("MESHNB_ENVOY", str(fake))
    with pytest.raises(LabError, match="does not run: broken"):
        envoy.find_envoy()


def test_the_extra_is_not_installed(monkeypatch: pytest.MonkeyPatch):
    def absent(name: str) -> None:
        raise envoy.PackageNotFoundError(name)

    monkeypatch.delenv("MESHNB_ENVOY", raising=False)
    monkeypatch.setattr(envoy, "distribution", absent)
    with pytest.raises(MissingExtra, match="meshnb\\[lab\\]"):
        envoy.find_envoy()


@pytest.mark.parametrize("subnet", ["10.0.0", "127.0", "127.0.300", "127.0.0.1", "::1"])
def test_only_loopback_subnets(subnet: str):
    with pytest.raises(UsageError, match="no loopback subnet"):
        Plan(subnet)


def test_unknown_scenario_exits_64_with_the_nearest(lab: LabHome, capsys: pytest.CaptureFixture[str]):
    assert main(["lab", "break", "missing-subnet", "--home", str(lab.root)]) == 64
    assert "missing-subset" in capsys.readouterr().err


def test_without_a_lab_every_command_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    home = ["--home", str(tmp_path / "none")]
    for command in (["traffic"], ["break", "slow-replica"], ["heal"], ["capture", str(tmp_path / "out")]):
        assert main(["lab", command[0], *home, *command[1:]]) == 69
        assert "meshnb lab up" in capsys.readouterr().err
    assert main(["lab", "down", *home]) == 0
    assert main(["lab", "status", *home]) == 0


def test_metrics_of_the_control_plane_are_labelled_as_the_labs(lab: LabHome):
    from meshnb.lab.calls import call

    _, body = call(lab.load_plan().control_plane, 15014, "/metrics")
    samples = [line for line in body.decode().splitlines() if not line.startswith("#")]
    assert samples and all('istiod="lab"' in line for line in samples)
    assert 'pilot_xds{istiod="lab",version="lab"} 5' in samples


def test_istio_requests_total_by_envoy_itself(lab: LabHome):
    from meshnb.lab.calls import call

    traffic(lab, requests=5, rate=100)
    _, body = call(lab.load_plan().gateway, 15090, "/stats/prometheus?usedonly")
    lines = [line for line in body.decode().splitlines() if line.startswith("envoy_istio_requests_total{")]
    assert any('destination_workload="catalog-v2"' in line and 'response_code="200"' in line for line in lines)
    # as in a mesh with default settings, there are no request counters per cluster
    counters = [line for line in body.decode().splitlines() if line.startswith("envoy_cluster_upstream_rq")]
    assert all('cluster_name="xds-grpc"' in line for line in counters)


def test_syncz_has_the_shape_of_istiod(lab: LabHome):
    """SD-33: flat nonces per proxy, and since Istio 1.23 the resources of all types."""
    from meshnb.lab.calls import call_json

    rows = call_json(lab.load_plan().control_plane, 15014, "/debug/syncz")
    assert {row["proxy"] for row in rows} == {pod.proxy for pod in PODS}
    for row in rows:
        assert row["proxy_type"] in ("router", "sidecar") and row["istio_version"] == "lab"
        for kind in ("cluster", "listener", "route", "endpoint"):
            assert row[f"{kind}_sent"] == row[f"{kind}_acked"]
    assert json.dumps(rows)
