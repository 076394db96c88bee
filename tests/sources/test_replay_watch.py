"""The replay API server is watched by the official client and by kubectl as a real one is."""

from __future__ import annotations

import os
import subprocess

import pytest
from replay.apiserver import ReplayApiServer

PODS = [
    {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "shop"}, "spec": {"containers": []}}
    for name in ("catalog-1", "orders-1")
]


def pod(name, *, namespace="shop", phase="Running"):
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"containers": [{"name": "app"}]},
        "status": {"phase": phase},
    }


@pytest.fixture
def api():
    with ReplayApiServer({"pods": list(PODS)}) as server:
        yield server


@pytest.fixture
def core(api):
    from kubernetes.client import ApiClient, CoreV1Api

    with ApiClient(api.configuration()) as client:
        yield CoreV1Api(client)


def test_changes_are_told_to_who_watches_from_the_version_of_its_list(api, core):
    from kubernetes.watch import Watch

    listed = core.list_namespaced_pod("shop")
    watch, seen = Watch(), []
    changes = [
        lambda: api.history.modify("pods", pod("catalog-2", phase="Failed")),
        lambda: api.history.add("pods", pod("other", namespace="elsewhere")),
        lambda: api.history.delete("pods", pod("catalog-2", phase="Failed")),
    ]
    api.history.add("pods", pod("catalog-2"))
    version = listed.metadata.resource_version
    for event in watch.stream(core.list_namespaced_pod, "shop", resource_version=version):
        seen.append((event["type"], event["object"].metadata.name, event["object"].status.phase))
        if event["type"] == "DELETED":
            watch.stop()
        # each change is made after the one before it was seen: they come while the answer is open
        elif changes:
            changes.pop(0)()
            if event["type"] == "MODIFIED":
                changes.pop(0)()
    assert seen == [
        ("ADDED", "catalog-2", "Running"),
        ("MODIFIED", "catalog-2", "Failed"),
        ("DELETED", "catalog-2", "Failed"),
    ]
    assert watch.resource_version == "1004"
    assert [p.metadata.name for p in core.list_namespaced_pod("shop").items] == ["catalog-1", "orders-1"]


def test_a_watch_without_a_version_begins_with_what_there_is(core):
    from kubernetes.watch import Watch

    watch, seen = Watch(), []
    for event in watch.stream(core.list_namespaced_pod, "shop"):
        seen.append((event["type"], event["object"].metadata.name))
        if len(seen) == 2:
            watch.stop()
    assert seen == [("ADDED", "catalog-1"), ("ADDED", "orders-1")]


def test_a_watch_from_a_version_that_is_forgotten_is_answered_410(api, core):
    from kubernetes.client import ApiException
    from kubernetes.watch import Watch

    version = core.list_namespaced_pod("shop").metadata.resource_version
    api.history.add("pods", pod("catalog-2"))
    api.history.compact()
    with pytest.raises(ApiException, match="too old resource version: 1000") as caught:
        list(Watch().stream(core.list_namespaced_pod, "shop", resource_version=version))
    assert caught.value.status == 410
    # a new list, and a watch from there, go on
    version = core.list_namespaced_pod("shop").metadata.resource_version
    api.history.delete("pods", pod("catalog-2"))
    watch = Watch()
    for event in watch.stream(core.list_namespaced_pod, "shop", resource_version=version):
        assert (event["type"], event["object"].metadata.name) == ("DELETED", "catalog-2")
        watch.stop()


def test_only_what_is_there_is_changed(api):
    with pytest.raises(ValueError, match="ADDED"):
        api.history.add("pods", pod("catalog-1"))
    with pytest.raises(ValueError, match="DELETED"):
        api.history.delete("pods", pod("catalog-9"))


def test_kubectl_watches_the_same_server(api, tmp_path):
    import shutil

    if shutil.which("kubectl") is None:
        assert "MESHNB_CI" not in os.environ, "CI installs kubectl"
        pytest.skip("kubectl, the second client, is not installed")
    config = api.kubeconfig(tmp_path / "config")
    command = ["kubectl", f"--kubeconfig={config}", f"--cache-dir={tmp_path}/cache", "get", "pods", "-n", "shop"]
    command += ["--watch", "--output-watch-events", "-o", 'jsonpath={.type} {.object.metadata.name}{"\\n"}']
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            seen = [process.stdout.readline().split() for _ in range(2)]
            api.history.delete("pods", pod("orders-1"))
            seen.append(process.stdout.readline().split())
        finally:
            process.kill()
    assert seen == [["ADDED", "catalog-1"], ["ADDED", "orders-1"], ["DELETED", "orders-1"]]
