"""`meshnb capture`, with the official client over real HTTP."""

from __future__ import annotations

import pytest
from replay.apiserver import Fault
from replay.pages import PageServer
from replay.recorded import recorded_cluster

from meshnb.cli import main
from meshnb.cli.capture import _since
from meshnb.errors import UsageError
from meshnb.runbook.live import connect
from meshnb.sources.snapshot import Snapshot


@pytest.fixture
def api(tmp_path, monkeypatch):
    with recorded_cluster(Snapshot.open("demo")) as server:
        config = server.kubeconfig(tmp_path / "config")
        from kubernetes.config import kube_config

        # the client reads the variable when it is imported: here it is already, in a kernel it is not yet
        monkeypatch.setattr(kube_config, "KUBE_CONFIG_DEFAULT_LOCATION", str(config))
        monkeypatch.setenv("KUBECONFIG", str(config))
        yield server


def test_a_capture_says_what_there_is_and_what_is_missing(api, tmp_path, capsys):
    api.faults = [Fault("/nodes?", status=403, message="nodes is forbidden")]
    code = main(["capture", "--out", str(tmp_path / "s.tar.gz"), "-n", "istioinaction", "--since", "10m"])
    out, err = capsys.readouterr()
    assert code == 0
    assert "documents" in out and "kubernetes/nodes.json: /api/v1/nodes: HTTP 403 nodes is forbidden" in out
    assert "1 istiods, 5 proxies" in err
    assert Snapshot.open(tmp_path / "s.tar.gz").manifest.command == "meshnb capture --out s.tar.gz"


def test_a_dry_run_says_how_large_the_capture_would_be_and_leaves_nothing(api, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = set(tmp_path.iterdir())
    api.faults = [Fault("/nodes?", status=403, message="nodes is forbidden")]
    assert main(["capture", "--dry-run", "-q", "--since", "all"]) == 0
    out = capsys.readouterr().out
    assert "5 proxies, 1 istiods" in out and "MB unpacked" in out and "judged by istiod-1.istio-system, " in out
    assert "not counted: nodes: /api/v1/nodes: HTTP 403 nodes is forbidden" in out
    assert set(tmp_path.iterdir()) == before


def test_a_capture_needs_a_file(api, capsys):
    assert main(["capture"]) == 64
    assert "no --out FILE" in capsys.readouterr().err
    assert main(["capture", "--lab", "--dry-run"]) == 64


def test_what_exists_is_refused(api, tmp_path, capsys):
    (tmp_path / "s.tar.gz").touch()
    assert main(["capture", "--out", str(tmp_path / "s.tar.gz"), "-q"]) == 64
    assert "exists" in capsys.readouterr().err


def test_an_unknown_context_is_said(api, tmp_path, capsys):
    assert main(["capture", "--out", str(tmp_path / "s.tar.gz"), "--context", "other"]) == 69
    assert "no context 'other'" in capsys.readouterr().err


@pytest.mark.parametrize(("text", "seconds"), [("all", None), ("none", 0), ("90s", 90), ("1h30m", 5400)])
def test_since(text, seconds):
    assert _since(text) == seconds


def test_connect_gives_a_mesh_and_leaves_nothing_behind(api, tmp_path, monkeypatch):
    import gc
    import tempfile

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    steps = []
    mesh = connect(namespaces=["istioinaction"], workloads=["app=catalog"], since="none", progress=steps.append)
    assert len(mesh.proxies) == 3
    assert mesh.endpoint_truth("catalog").verdict.unique().tolist() == ["agrees"]
    del mesh
    gc.collect()
    assert not list(tmp_path.glob("meshnb-*"))
    with pytest.raises(UsageError, match="are lists"):
        connect(namespaces="istioinaction")


def test_a_runbook_runs_on_a_live_cluster(api, tmp_path, capsys):
    out = tmp_path / "out"
    parameters = ["-p", "source=live:replay", "-p", "namespace=istioinaction"]
    code = main(["run", "endpoint-truth", *parameters, "--out", str(out)])
    assert code == 0
    assert (out / "findings.json").exists()
    assert "endpoint-truth" in capsys.readouterr().out


def test_live_is_a_source_like_any_other(api, tmp_path):
    import meshnb

    mesh = meshnb.open("live", namespace="istioinaction", window="1h")
    assert mesh.namespace == "istioinaction" and mesh.window is not None
    assert mesh.endpoint_truth("catalog").verdict.unique().tolist() == ["agrees"]


def test_prometheus_is_asked_too_and_may_be_gone(api, tmp_path, capsys):
    empty = b'{"status": "success", "data": {"resultType": "matrix", "result": []}}'
    command = ["capture", "--since", "10m", "-q", "-n", "istioinaction", "--workload", "app=catalog"]
    with PageServer({"*": empty}) as prometheus:
        url = "http://{}:{}".format(*prometheus.address)
        assert main([*command, "--prometheus", url, "--out", str(tmp_path / "with.tar.gz")]) == 0
        mesh = connect(
            None, namespaces=["istioinaction"], workloads=["app=catalog"], since="10m", prometheus=url,
            progress=lambda _: None,
        )  # fmt: skip
    assert mesh.snapshot.documents("prometheus")
    assert Snapshot.open(tmp_path / "with.tar.gz").documents("prometheus")
    assert main([*command, "--prometheus", "http://127.0.0.1:1", "--out", str(tmp_path / "gone.tar.gz")]) == 0
    snapshot = Snapshot.open(tmp_path / "gone.tar.gz")
    assert not snapshot.documents("prometheus") and len(snapshot.documents("config_dump")) == 3
    assert snapshot.failed("prometheus") or any("Not captured" in note for note in snapshot.manifest.notes)


def test_with_prometheus_finds_the_one_of_the_mesh_and_records_its_answers(api, tmp_path, capsys):
    empty = b'{"status": "success", "data": {"resultType": "matrix", "result": []}}'
    meta = {"name": "prometheus", "namespace": "istio-system", "labels": {"app": "prometheus"}}
    spec = {"selector": {"app": "prometheus"}, "ports": [{"name": "http", "port": 9090, "targetPort": 9090}]}
    api.history.add("services", {"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": spec})
    status = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
    pod = {"metadata": {**meta, "name": "prometheus-0"}, "spec": {"containers": [{"name": "p"}]}, "status": status}
    api.history.add("pods", {"apiVersion": "v1", "kind": "Pod", **pod})
    command = ["capture", "--with", "prometheus", "--since", "10m", "-n", "istioinaction", "--workload", "app=catalog"]
    with PageServer({"*": empty}) as prometheus:
        api.backends[("prometheus-0", "istio-system", 9090)] = prometheus.address
        assert main([*command, "--out", str(tmp_path / "with.tar.gz")]) == 0
        options = {"namespaces": ["istioinaction"], "workloads": ["app=catalog"], "since": "10m"}
        live = connect(prometheus="find", progress=lambda _: None, **options)
    out, err = capsys.readouterr()
    assert "Prometheus prometheus.istio-system, which does not scrape istiod" in err
    assert "which does not scrape istiod was asked by port-forward" in out
    assert Snapshot.open(tmp_path / "with.tar.gz").documents("prometheus") and live.snapshot.documents("prometheus")
    assert main([*command, "-q", "--out", str(tmp_path / "gone.tar.gz")]) == 0
    assert "note: Not captured: no Prometheus of the cluster answers" in capsys.readouterr().out


def test_the_size_is_shown_before_the_capture_goes_on(api, tmp_path, capsys):
    assert main(["capture", "--out", str(tmp_path / "s"), "--since", "90s"]) == 0
    steps = capsys.readouterr().err.splitlines()
    plan = next(i for i, step in enumerate(steps) if step.startswith("1 istiods, 5 proxies, "))
    assert "logs, of the last 90 s" in steps[plan]
    size = next(i for i, step in enumerate(steps) if step.startswith("pods: about "))
    assert "MB packed; judged by istiod-1.istio-system, " in steps[size]
    assert sum(step.startswith("pod ") for step in steps[plan:size]) == 4
    assert sum(step.startswith("pod ") for step in steps[size:]) == 2


def test_links_of_a_capture_are_kept_in_its_manifest(api, tmp_path, capsys):
    command = ["capture", "-q", "--since", "none", "--workload", "none", "--out", str(tmp_path / "s")]
    assert main([*command, "--link", "kiali=https://k.example/kiali"]) == 0
    assert Snapshot.open(tmp_path / "s").manifest.links == {"kiali": "https://k.example/kiali"}
    assert main([*command, "--link", "kiali"]) == 64
    assert "write it like kiali=https://" in capsys.readouterr().err


def test_a_live_source_looks_for_the_meshs_prometheus_and_is_unknown_without_one(api):
    import meshnb

    mesh = meshnb.open("live", namespace="istioinaction")
    assert any("no Prometheus" in note for note in mesh.snapshot.manifest.notes)
    (finding,) = mesh.check("MNB0354")
    assert finding.status == "unknown" and "holds no metrics" in finding.summary
