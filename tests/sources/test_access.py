"""Would a capture be allowed?"""

from __future__ import annotations

import copy
import json

import pytest
from replay.apiserver import Fault, ReplayApiServer
from replay.pages import PageServer
from replay.recorded import ISTIOD

from meshnb.cli import main
from meshnb.sources.access import review
from meshnb.sources.kubernetes import Cluster


@pytest.fixture
def api(tmp_path, monkeypatch):
    with ReplayApiServer({"pods": []}, denied={("create", "pods/portforward"), ("list", "nodes")}) as server:
        from kubernetes.config import kube_config

        config = str(server.kubeconfig(tmp_path / "config"))
        monkeypatch.setattr(kube_config, "KUBE_CONFIG_DEFAULT_LOCATION", config)
        yield server


def test_every_verb_a_capture_needs_is_asked_for(api):
    cluster = Cluster(api.configuration(), sleep=lambda _: None)
    answers = {access.what: access for access in review(cluster, namespaces=["a", "b"])}
    assert {what for what, access in answers.items() if access.refused} == {
        "create pods/portforward in istio-system",
        "list nodes",
        "create pods/portforward in a",
        "create pods/portforward in b",
    }
    assert "exec is used instead" in answers["create pods/portforward in a"].without
    assert {"list pods in a", "list virtualservices in b", "get pods/log in a", "list namespaces"} <= set(answers)


def test_a_review_that_fails_is_a_refusal(api):
    api.faults = [Fault("selfsubjectaccessreviews", status=403, message="no reviews for you")]
    answers = list(review(Cluster(api.configuration(), sleep=lambda _: None)))
    assert all("no reviews for you" in access.refused for access in answers)


def test_the_doctor_ends_each_line_with_what_to_do(api, capsys):
    main(["doctor", "--cluster", "-n", "shop"])
    lines = capsys.readouterr().out.splitlines()
    assert any("answers, Kubernetes v1.29.2" in line for line in lines)
    (refused,) = [line for line in lines if "list nodes" in line]
    assert refused.startswith("absent") and refused.endswith("grant it with docs/rbac.yaml")
    (allowed,) = [line for line in lines if "list pods in shop" in line]
    assert allowed.startswith("ok") and allowed.endswith("allowed → nothing to do")
    assert all(" → " in line for line in lines)


def _doctor(capsys, *arguments):
    code = main(["doctor", "-o", "json", *arguments])
    return code, {line["name"]: line for line in json.loads(capsys.readouterr().out)}


@pytest.fixture(autouse=True)
def no_kernel(monkeypatch):
    monkeypatch.setattr("meshnb.report.run.try_kernel", lambda: "")


def test_the_doctor_finds_istiod_its_state_and_release(api, capsys):
    _, lines = _doctor(capsys, "--cluster")
    assert lines["istiod"]["said"] == "no pod of istiod in istio-system"
    assert lines["istiod"]["todo"] == "say where it runs with --istio-namespace"
    api.history.add("pods", ISTIOD)
    _, lines = _doctor(capsys, "--cluster")
    assert (lines["istiod"]["state"], lines["istiod"]["said"]) == ("ok", "1 of 1 pods ready, Istio 1.17.8")
    waiting = copy.deepcopy(ISTIOD)
    waiting["status"]["conditions"][0]["status"] = "False"
    api.history.modify("pods", waiting)
    code, lines = _doctor(capsys, "--cluster")
    assert code == 69 and lines["istiod"]["state"] == "broken" and lines["istiod"]["todo"].startswith("kubectl -n")


@pytest.mark.parametrize(
    ("releases", "state", "said", "todo"),
    [
        (["1.17.8", "1.17.2"], "ok", "3 of them: 1.17.2 (2), 1.17.8 (1); istiod 1.17.8: they fit", ""),
        (["1.16.0", "1.17.8"], "ok", "they fit", ""),
        (["1.14.1", "1.17.8"], "broken", "1.14.1 are more than one minor release behind", "rollout restart"),
        (["1.18.0", "1.17.8"], "broken", "1.18.0 are ahead of istiod", "upgrade istiod first"),
        (["latest", "latest"], "absent", "unknown release (3)", "istioctl version"),
    ],
)
def test_sd_35_the_doctor_compares_the_releases_of_proxies_and_istiod(api, capsys, releases, state, said, todo):
    """SD-35: proxies may be one minor release behind istiod and never ahead."""
    api.history.add("pods", ISTIOD)
    for number, release in enumerate([*releases, releases[-1]]):
        proxy = {"name": "istio-proxy", "image": f"docker.io/istio/proxyv2:{release}"}
        meta = {"name": f"p{number}", "namespace": "shop"}
        item = {"metadata": meta, "spec": {"containers": [proxy]}, "status": {"phase": "Running"}}
        api.history.add("pods", {"apiVersion": "v1", "kind": "Pod", **item})
    _, lines = _doctor(capsys, "--cluster", "-n", "shop")
    assert lines["proxies"]["state"] == state
    assert said in lines["proxies"]["said"] and todo in lines["proxies"]["todo"]


def test_the_doctor_asks_prometheus_whether_it_scrapes_istiod(api, capsys):
    def answer(result):
        return json.dumps({"status": "success", "data": {"resultType": "vector", "result": result}}).encode()

    build = b'{"status": "success", "data": {"version": "2.53.1"}}'
    with PageServer({"/api/v1/status/buildinfo": build, "*": answer([{"metric": {}, "value": [1, "2"]}])}) as pages:
        _, lines = _doctor(capsys, "--prometheus", "http://{}:{}".format(*pages.address))
        assert lines["metrics"]["said"] == "Prometheus 2.53.1 answers and scrapes istiod"
        pages.pages["*"] = answer([])
        _, lines = _doctor(capsys, "--prometheus", "http://{}:{}".format(*pages.address))
        assert (lines["metrics"]["state"], lines["metrics"]["todo"]) == ("absent", "does it scrape istiod?")
    code, lines = _doctor(capsys, "--prometheus", "http://127.0.0.1:1")
    assert code == 69 and lines["metrics"]["state"] == "broken" and lines["metrics"]["todo"]
