"""Capturing a live cluster: real HTTP and websockets, pages recorded from real Envoys."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from replay.apiserver import Fault
from replay.pages import PageServer
from replay.recorded import recorded_cluster

from meshnb.errors import UsageError
from meshnb.runbook.mesh import Mesh
from meshnb.sources.capture import CaptureOptions, capture_cluster
from meshnb.sources.kubernetes import Cluster
from meshnb.sources.partial import PENDING, PartialSnapshot
from meshnb.sources.snapshot import Snapshot

V1 = "catalog-5d4f7c9b8-v1aaa"


@pytest.fixture(scope="module")
def demo():
    return Snapshot.open("demo")


def cluster_of(api):
    return Cluster(api.configuration(), name="replay", timeout_s=20, sleep=lambda _: None)


def test_a_captured_cluster_gives_the_tables_of_the_snapshot_it_replays(demo, tmp_path):
    steps = []
    with recorded_cluster(demo) as api:
        snapshot = capture_cluster(cluster_of(api), tmp_path / "s.tar.gz", progress=steps.append)
    live, recorded = Mesh(snapshot), Mesh(demo)
    for name in ("clusters", "routes", "listeners", "endpoints", "access_log", "services", "virtual_services"):
        frames = [mesh.table(name).drop(columns="file", errors="ignore").astype(str) for mesh in (live, recorded)]
        rows = [sorted(map(tuple, frame.values.tolist()), key=str) for frame in frames]
        assert rows[0] == rows[1], name
    assert live.proxy_status().istiod.unique().tolist() == ["istiod-1"]
    assert live.endpoint_truth("catalog").verdict.tolist() == ["agrees"] * 3
    assert live.controlz("scope").value.tolist() == ["info"]
    assert snapshot.manifest.versions["kubernetes"] == "v1.29.2"
    assert not (tmp_path / "s.tar.gz.partial").exists()
    assert any(step.startswith("1 istiods, 5 proxies") for step in steps)
    assert any("MB in all" in step for step in steps)


def test_sd_13_an_agent_that_is_not_ready_is_an_answer(demo, tmp_path):
    """SD-13: the readiness answer with its reason, though its status is 503."""
    with recorded_cluster(demo) as api:
        snapshot = capture_cluster(cluster_of(api), tmp_path / "s")
    (document,) = [d for d in snapshot.documents("agent") if d.path.startswith(f"agent/{V1}") and "ready" in d.path]
    assert snapshot.read(document) == b"not ready: x"


def test_sd_12_sd_17_probes_are_replayed_and_profiles_saved_when_asked(demo, tmp_path):
    """SD-12: rewritten probes asked as the kubelet does; SD-17: pprof into the bundle."""
    with recorded_cluster(demo) as api:
        pod = next(p for p in api.lists["pods"] if p["metadata"]["name"] == V1)
        probers = json.dumps({"/app-health/catalog/livez": {"httpGet": {"path": "/foo", "port": 8001}}})
        proxy = next(c for c in pod["spec"]["containers"] if c["name"] == "istio-proxy")
        proxy["env"] = [{"name": "ISTIO_KUBE_APP_PROBERS", "value": probers}]
        pages = {"/app-health/catalog/livez": (503, b"down"), "/debug/pprof/heap": b"\x1f\x8bheap"}
        with PageServer({"/healthz/ready": b"", **pages}) as agent:
            api.backends[(V1, "istioinaction", 15020)] = agent.address
            options = CaptureOptions(workloads=(V1,), since_s=0, pprof=True)
            snapshot = capture_cluster(cluster_of(api), tmp_path / "s", options)
    mesh = Mesh(snapshot)
    assert mesh.probe_replays()[["container", "probe", "status"]].values.tolist() == [["catalog", "liveness", 503]]
    assert mesh.agents().ready.tolist() == [True]
    (heap,) = [d for d in snapshot.documents("agent") if d.path.endswith("pprof.heap")]
    assert snapshot.read(heap) == b"\x1f\x8bheap"


def test_sd_15_nothing_that_changes_a_pod_is_ever_asked(demo, tmp_path):
    """SD-15: quitquitquit, logging with a level and adsz?push are not among the requests."""
    from meshnb.sources import capture_plan

    pods = json.loads(demo.read(next(d for d in demo.documents("kubernetes") if d.path.endswith("pods.json"))))["items"]
    plans = [capture_plan.proxy_plan(p, logs=True, previous=True, ports=True) for p in pods]
    plans += [capture_plan.istiod_plan(p, proxies=["a.b"]) for p in pods]
    asked = [(page.method, page.path) for plan in plans for page in plan.pages]
    assert not [
        path for _, path in asked if any(word in path for word in ("quit", "push=", "clear=", "level", "drain"))
    ]
    assert {path for method, path in asked if method != "GET"} == {"/logging"}


def test_a_dead_pod_costs_no_other(demo, tmp_path):
    with recorded_cluster(demo, dead=[V1]) as api:
        snapshot = capture_cluster(cluster_of(api), tmp_path / "s")
    failed = [d for d in snapshot.failed() if d.proxy.startswith(V1) and d.path.startswith("envoy/")]
    assert len(failed) == 8 and all("failed to connect" in d.error for d in failed)
    assert len({d.proxy for d in snapshot.documents("config_dump")}) == 4
    assert any(d.path == f"logs/{V1}.istioinaction/istio-proxy.log" for d in snapshot.documents())


def test_objects_that_may_not_be_listed_are_recorded_and_the_rest_is_there(demo, tmp_path):
    with recorded_cluster(demo) as api:
        api.faults = [Fault("/services?", status=403, message="services is forbidden")]
        snapshot = capture_cluster(cluster_of(api), tmp_path / "s")
    (failed,) = [d for d in snapshot.failed("kubernetes") if d.path == "kubernetes/services.json"]
    assert "services is forbidden" in failed.error
    assert len(Mesh(snapshot).pods()) == 7


def test_a_kind_that_is_not_installed_has_no_objects(demo, tmp_path):
    with recorded_cluster(demo) as api:
        snapshot = capture_cluster(cluster_of(api), tmp_path / "s")
    (note,) = [note for note in snapshot.manifest.notes if "does not know" in note]
    assert "wasmplugins" in note and "pods" not in note
    assert Mesh(snapshot).objects("WasmPlugin").empty


def test_without_port_forward_the_agent_answers_by_exec(demo, tmp_path):
    with recorded_cluster(demo, exec_only=True) as api:
        api.faults = [Fault("/portforward", status=403, message="forbidden")]
        snapshot = capture_cluster(cluster_of(api), tmp_path / "s")
    assert len(snapshot.documents("config_dump")) == 5
    assert any("asked by exec" in note for note in snapshot.manifest.notes)


def test_namespaces_and_workloads_bound_what_is_captured(demo, tmp_path):
    options = CaptureOptions(namespaces=("istioinaction",), workloads=("deploy/catalog",), since_s=0, expected=True)
    with recorded_cluster(demo) as api:
        snapshot = capture_cluster(cluster_of(api), tmp_path / "s", options)
    assert {d.proxy for d in snapshot.documents("config_dump")} == {f"{V1}.istioinaction"}
    assert not snapshot.documents("proxy_log")
    wanted = [d.path for d in (*snapshot.documents("istiod_debug"), *snapshot.failed("istiod_debug"))]
    assert f"istiod/istiod-1.istio-system/debug/edsz.{V1}.istioinaction.json" in wanted


def test_a_tail_bounds_every_log(demo, tmp_path):
    with recorded_cluster(demo) as api:
        snapshot = capture_cluster(cluster_of(api), tmp_path / "s", CaptureOptions(since_s=None, tail=2))
    logs = [d for d in snapshot.documents() if d.path.startswith("logs/")]
    whole = [d for d in demo.documents() if d.path.startswith("logs/")]
    assert max(len(demo.read(d).splitlines()) for d in whole) > 2
    assert logs and all(len(snapshot.read(d).splitlines()) <= 2 for d in logs)


def test_a_page_that_is_not_there_is_recorded_as_such(demo, tmp_path):
    with recorded_cluster(demo) as api:
        snapshot = capture_cluster(cluster_of(api), tmp_path / "s")
    errors = {d.path.rpartition("/")[2]: d.error for d in snapshot.failed("istiod_debug")}
    assert errors["controlz.metrics.json"].startswith("HTTP 404")


def istiod_pages(api):
    """What istiod answers on its monitoring port, and where that is."""
    return api.backends.pop(("istiod-1", "istio-system", 15014))


def test_sd_34_all_of_controlz_is_there_without_secrets(demo, tmp_path):
    """SD-34: scopes, memory, environment, process, version; a release without the topic metrics says so."""
    with recorded_cluster(demo) as api:
        snapshot = capture_cluster(cluster_of(api), tmp_path / "s")
    table = Mesh(snapshot).controlz()
    assert sorted(set(table.topic)) == ["env", "memory", "process", "scope", "version"]
    assert Mesh(snapshot).controlz("env").set_index("name").value.to_dict() == {
        "REVISION": "default",
        "DB_PASSWORD": "[redacted:env]",
    }
    assert not any(b"hunter2" in p.read_bytes() for p in (tmp_path / "s").rglob("*") if p.is_file())
    (metrics,) = [d for d in snapshot.failed("istiod_debug") if "controlz" in d.path]
    assert metrics.error.endswith("this release has no such topic")
    with pytest.raises(UsageError, match="no topic 'signals'"):
        Mesh(snapshot).controlz("signals")


def test_debug_pages_are_asked_of_8080_where_15014_is_closed(demo, tmp_path):
    with recorded_cluster(demo) as api:
        api.backends[("istiod-1", "istio-system", 8080)] = istiod_pages(api)
        snapshot = capture_cluster(cluster_of(api), tmp_path / "s")
    (syncz,) = [d for d in snapshot.documents("istiod_debug") if d.path.endswith("syncz.json")]
    assert syncz.obtained == "GET :8080/debug/syncz"
    assert not Mesh(snapshot).proxy_status().empty
    (metrics,) = snapshot.failed("istiod_metrics")
    assert "localhost:15014" in metrics.error and "pilot-discovery" in metrics.error


def test_t10_debug_pages_that_ask_for_proof_are_asked_from_inside_the_pod(demo, tmp_path):
    """T10: localhost is free, others need authentication."""
    syncz = next(demo.read(d) for d in demo.documents("istiod_debug") if d.path.endswith("syncz.json"))
    asked = []

    def run(command):
        asked.append(command)
        return syncz if command[-1] == "/debug/syncz" else b"{}"

    with recorded_cluster(demo) as api, PageServer({"*": (401, b"unauthenticated request")}) as closed:
        api.backends[("istiod-1", "istio-system", 15014)] = closed.address
        api.backends[("istiod-1", "istio-system", 8080)] = closed.address
        api.commands[("istiod-1", "istio-system", "pilot-discovery")] = run
        snapshot = capture_cluster(cluster_of(api), tmp_path / "s")
    (document,) = [d for d in snapshot.documents("istiod_debug") if d.path.endswith("syncz.json")]
    assert document.obtained == "exec pilot-discovery request GET /debug/syncz"
    assert not Mesh(snapshot).proxy_status().empty
    assert ["pilot-discovery", "request", "GET", "/debug/syncz"] in asked
    # a port that refuses is not asked for its other pages
    assert len(closed.asked) == 2


def test_sd_31_a_distribution_that_is_not_tracked_is_told_as_disabled(demo, tmp_path):
    """SD-31, T7: off unless PILOT_ENABLE_CONFIG_DISTRIBUTION_TRACKING; not asked of releases that have it no more."""
    said = b"Pilot Version tracking is disabled.  Please set the PILOT_ENABLE_CONFIG_DISTRIBUTION_TRACKING environment"
    options = CaptureOptions(workloads=("none",), since_s=0)
    with recorded_cluster(demo) as api:
        pages = {"/debug/config_distribution": (409, said), "/debug/syncz": b"[]"}
        with PageServer(pages) as istiod:
            api.backends[("istiod-1", "istio-system", 15014)] = istiod.address
            old = capture_cluster(cluster_of(api), tmp_path / "old", options)
            pod = next(p for p in api.lists["pods"] if p["metadata"]["name"] == "istiod-1")
            pod["spec"]["containers"][0]["image"] = "docker.io/istio/pilot:1.23.2"
            istiod.asked.clear()
            capture_cluster(cluster_of(api), tmp_path / "new", options)
            assert not [line for line in istiod.asked if "config_distribution" in line]
    row = Mesh(old).debug_endpoints().set_index("endpoint").loc["config_distribution"]
    assert (row.state, row.removed) == ("disabled", "1.23")
    assert "PILOT_ENABLE_CONFIG_DISTRIBUTION_TRACKING" in row.error and "istioctl x wait" in row.note


def test_every_way_that_failed_is_named(demo, tmp_path):
    with recorded_cluster(demo, dead=[V1, "istiod-1"]) as api:
        snapshot = capture_cluster(cluster_of(api), tmp_path / "s")
    error = {d.path: d.error for d in snapshot.failed()}["istiod/istiod-1.istio-system/debug/syncz.json"]
    assert all(word in error for word in ("localhost:15014", "localhost:8080", "pilot-discovery"))
    forwarded = [r for r in api.requests if "istiod-1/portforward" in r]
    assert len(forwarded) == 3, "15014, 8080 and 9876 are tried once each"


def test_sd_18_an_agent_asks_istiod_where_istiod_cannot_be_asked(demo, tmp_path):
    """SD-18: port 15004, in the shape of xDS; the gateway beside istiod is asked first."""
    identifier = json.dumps({"Component": "istiod", "ID": "istiod-7", "Info": {"version": "1.27.1"}})
    config = {"typeUrl": "type.googleapis.com/envoy.config.cluster.v3.Cluster", "configStatus": "SYNCED"}
    node = {"id": f"sidecar~10.0.0.1~{V1}.istioinaction~x", "metadata": {"CLUSTER_ID": "c"}}
    client = {"node": node, "genericXdsConfigs": [config]}
    body = json.dumps({"resources": [client], "controlPlane": {"identifier": identifier}}).encode()
    with recorded_cluster(demo, dead=["istiod-1"]) as api, PageServer({"/debug/syncz": body}) as agent:
        gateway = next(k for k in api.backends if k[1] == "istio-system" and k[2] == 15000)
        api.backends[(*gateway[:2], 15004)] = agent.address
        snapshot = capture_cluster(cluster_of(api), tmp_path / "s")
        assert sum("ports=15004" in r for r in api.requests) == 1
    status = Mesh(snapshot).proxy_status()
    assert status[["proxy", "istiod", "type", "status"]].values.tolist() == [
        [f"{V1}.istioinaction", "istiod-7", "CDS", "SYNCED"]
    ]
    (document,) = [d for d in snapshot.documents("istiod_debug") if d.path.endswith("syncz.json")]
    assert document.obtained == f"GET :15004/debug/syncz of {gateway[0]}.istio-system"
    assert any("could not be asked for its sync status" in note for note in snapshot.manifest.notes)


def test_agents_that_cannot_ask_either_are_named(demo, tmp_path):
    with recorded_cluster(demo, dead=["istiod-1"]) as api:
        snapshot = capture_cluster(cluster_of(api), tmp_path / "s")
    notes = [note for note in snapshot.manifest.notes if note.startswith("Port 15004")]
    assert len(notes) == 3 and all("failed to connect" in note for note in notes)


def test_sd_16_agents_tell_the_names_their_dns_answers(demo, tmp_path):
    """SD-16: from the agent's own page; one that answers no DNS has no names."""
    table = b'{"table": {"catalog.istioinaction.svc.cluster.local": {"ips": ["10.0.0.1"]}}}'
    with recorded_cluster(demo) as api, PageServer({"/debug/ndsz": table}) as agent:
        api.backends[(V1, "istioinaction", 15020)] = agent.address
        snapshot = capture_cluster(cluster_of(api), tmp_path / "s")
    names = Mesh(snapshot).dns_names()
    assert names[["proxy", "address"]].values.tolist() == [[f"{V1}.istioinaction", "10.0.0.1"]]
    assert not [d for d in snapshot.failed("agent") if d.path.endswith("ndsz.json") and V1 not in d.path]


def test_a_pod_whose_streams_break_in_the_middle_is_missing_and_no_half_document_is_kept(demo, tmp_path):
    with recorded_cluster(demo) as api:
        api.faults = [Fault(f"{V1}/portforward", after=300)]
        snapshot = capture_cluster(cluster_of(api), tmp_path / "s", CaptureOptions(since_s=0))
    failed = snapshot.failed("config_dump")
    assert [d.proxy for d in failed] == [f"{V1}.istioinaction"]
    assert "the connection ended before the answer did" in failed[0].error or "15000" in failed[0].error
    assert not list((tmp_path / "s" / "envoy").glob(f"{V1}*/config_dump*"))
    assert len(Mesh(snapshot).clusters().proxy.unique()) == 4


def test_a_stream_that_breaks_once_costs_one_page(demo, tmp_path):
    with recorded_cluster(demo) as api:
        api.faults = [Fault(f"{V1}/portforward", after=300, times=1)]
        snapshot = capture_cluster(cluster_of(api), tmp_path / "s", CaptureOptions(since_s=0))
    failed = [d.path.rpartition("/")[2] for d in snapshot.failed() if d.path.startswith(f"envoy/{V1}")]
    assert failed == ["config_dump.json"]


def test_what_exists_is_never_overwritten(demo, tmp_path):
    (tmp_path / "s.tar.gz").write_text("mine")
    with recorded_cluster(demo) as api, pytest.raises(UsageError, match="exists"):
        capture_cluster(cluster_of(api), tmp_path / "s.tar.gz")


def test_a_partial_folder_of_another_cluster_is_refused(tmp_path):
    partial = PartialSnapshot(tmp_path / "t", source="one")
    partial.plan([])
    with pytest.raises(UsageError, match="another capture"):
        PartialSnapshot(tmp_path / "t", source="two")


def test_a_list_that_is_begun_anew_holds_each_object_once_and_no_list_is_held(demo, tmp_path):
    with recorded_cluster(demo) as api:
        service = api.lists["services"][0]
        more = [{**service, "metadata": {**service["metadata"], "name": f"s{i}"}} for i in range(1200)]
        api.lists["services"] += more
        api.expire_tokens = 1
        options = CaptureOptions(workloads=("none",), since_s=0)
        snapshot = capture_cluster(cluster_of(api), tmp_path / "s", options)
    (document,) = [d for d in snapshot.documents("kubernetes") if d.path.endswith("/services.json")]
    listed = json.loads(snapshot.read(document))
    names = [item["metadata"]["name"] for item in listed["items"]]
    assert len(names) == len(set(names)) and names[-1] == "s1199"
    assert (listed["kind"], listed["apiVersion"]) == ("ServiceList", "v1")
    assert document.bytes == len(snapshot.read(document))


def test_a_list_that_breaks_in_the_middle_leaves_no_half_of_itself(demo, tmp_path):
    with recorded_cluster(demo) as api:
        service = api.lists["services"][0]
        api.lists["services"] += [{**service, "metadata": {**service["metadata"], "name": f"s{i}"}} for i in range(600)]
        api.faults = [Fault("/services?limit=500&continue", status=500, message="etcd is gone")]
        snapshot = capture_cluster(cluster_of(api), tmp_path / "s", CaptureOptions(workloads=("none",), since_s=0))
    (failed,) = [d for d in snapshot.failed("kubernetes") if d.path == "kubernetes/services.json"]
    assert "etcd is gone" in failed.error
    assert not list((tmp_path / "s").rglob("services*"))


KILLED = """
import sys
from pathlib import Path
from meshnb.sources.capture import CaptureOptions, capture_cluster
from meshnb.sources.kubernetes import Cluster
from kubernetes.client import Configuration
configuration = Configuration()
configuration.host = sys.argv[1]
options, cluster = CaptureOptions(concurrency=1), Cluster(configuration, name="replay")
capture_cluster(cluster, Path(sys.argv[2]), options, progress=lambda s: print(s, flush=True))
"""


def test_a_capture_that_is_killed_leaves_a_readable_part_and_is_taken_up_again(demo, tmp_path):
    target = tmp_path / "s.tar.gz"
    stop = threading.Event()
    with recorded_cluster(demo) as api:
        api.faults = [Fault("webapp-8dc87795f-web01/portforward", hang=stop)]
        command = [sys.executable, "-c", KILLED, api.url, str(target)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ})
        for line in process.stdout:
            if line.startswith("pod 3 of"):
                break
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        stop.set()
        assert not target.exists()
        partial = Snapshot.open(Path(f"{target}.partial"))
        assert partial.documents("kubernetes")
        assert PENDING in {d.error for d in partial.failed()}
        assert not Mesh(partial).pods().empty
        written = {p.name for p in Path(f"{target}.partial/envoy").iterdir() if len(list(p.iterdir())) == 8}
        done = {name.rpartition(".")[0] for name in written}
        api.faults, before = [], len(api.requests)
        snapshot = capture_cluster(cluster_of(api), target)
        again = [r for r in api.requests[before:] if "portforward" in r]
    assert len(snapshot.documents("config_dump")) == 5
    assert any(note.startswith("Taken up again") for note in snapshot.manifest.notes)
    # three of six pods were done: they are not asked again
    assert len(done) >= 2
    assert again and not [r for r in again if r.split("/pods/")[1].split("/")[0] in done]
