"""A cluster made of a recorded snapshot: its objects from the API server, its pages from the pods' ports."""

from __future__ import annotations

import copy
import json
from contextlib import ExitStack, contextmanager

from replay.apiserver import ReplayApiServer
from replay.pages import PageServer

ISTIOD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "istiod-1", "namespace": "istio-system", "labels": {"app": "istiod", "istio": "pilot"}},
    "spec": {"containers": [{"name": "discovery", "image": "docker.io/istio/pilot:1.17.8", "args": ["discovery"]}]},
    "status": {"phase": "Running", "podIP": "127.0.40.9", "conditions": [{"type": "Ready", "status": "True"}]},
}
CONTROLZ = {
    "/scopej/": b'[{"name": "ads", "output_level": "info"}]',
    "/memj/": b'{"Alloc": 1024}',
    "/envj/": b'[{"name": "REVISION", "value": "default"}, {"name": "DB_PASSWORD", "value": "hunter2"}]',
    "/procj/": b'{"pid": 1}',
    "/versionj/": b'{"version": "1.17.8"}',
}
_ENVOY = {
    "config_dump.json": "/config_dump",
    "clusters.json": "/clusters",
    "listeners.json": "/listeners",
    "server_info.json": "/server_info",
    "certs.json": "/certs",
    "stats.prom": "/stats/prometheus",
    "logging.txt": "/logging",
    "ready.txt": "/ready",
}


@contextmanager
def recorded_cluster(snapshot, *, dead=(), exec_only=False):
    """The API server of a cluster that is in the state of a snapshot.

    Args:
        snapshot: a snapshot with objects, pages of Envoy, logs and istiod's syncz.
        dead: names of pods whose ports nobody answers.
        exec_only: pods answer commands and no port-forward.
    """
    lists, backends, commands, logs = {}, {}, {}, {}
    for document in snapshot.documents("kubernetes"):
        plural = document.path.rpartition("/")[2].removesuffix(".json")
        lists[plural] = json.loads(snapshot.read(document))["items"]
    lists["pods"] = [*lists["pods"], copy.deepcopy(ISTIOD)]  # a test may change it
    with ExitStack() as stack:
        by_pod = {}
        for document in snapshot.documents():
            parts = document.path.split("/")
            if parts[0] == "envoy":
                by_pod.setdefault((parts[1], 15000), {})[_ENVOY[parts[2]]] = snapshot.read(document)
            elif parts[0] == "logs":
                pod, _, namespace = parts[1].rpartition(".")
                logs[(pod, namespace, parts[2].removesuffix(".log"))] = snapshot.read(document).decode()
            elif parts[0] == "istiod" and "debug" in parts:
                page = f"/debug/{parts[-1].removesuffix('.json')}"
                by_pod.setdefault(("istiod-1.istio-system", 15014), {})[page] = snapshot.read(document)
        by_pod[("istiod-1.istio-system", 9876)] = CONTROLZ
        for proxy in [key[0] for key in by_pod if key[1] == 15000]:
            agent = {
                "/healthz/ready": (503, b"not ready: x"),
                "/stats/prometheus": b"istio_agent_go_info 1\n",
                "/debug/ndsz": (404, b"{}"),
            }
            by_pod[(proxy, 15020)] = agent
        for (proxy, port), pages in by_pod.items():
            pod, _, namespace = proxy.rpartition(".")
            if pod in dead:
                continue
            server = stack.enter_context(PageServer(pages))
            if exec_only:
                for word in ("pilot-agent", "pilot-discovery"):
                    commands.setdefault((pod, namespace, word), _request(pages))
            else:
                backends[(pod, namespace, port)] = server.address
        logs[("istiod-1", "istio-system", "discovery")] = "2026-11-23T09:00:00Z\tinfo\tads\tready\n"
        yield stack.enter_context(ReplayApiServer(lists, backends=backends, commands=commands, logs=logs))


def _request(pages):
    def run(command):
        page = pages["/" + command[-1].lstrip("/").partition("?")[0]]
        return page[1] if isinstance(page, tuple) else page

    return run
