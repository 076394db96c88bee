"""Would a capture be allowed?"""

from __future__ import annotations

import pytest
from replay.apiserver import Fault, ReplayApiServer

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
