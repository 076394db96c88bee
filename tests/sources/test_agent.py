"""The agent's client: each page, and none that ends it."""

from __future__ import annotations

import inspect
import json

import pytest
from replay.apiserver import ReplayApiServer
from replay.pages import PageServer

from meshnb.errors import SourceError, UsageError
from meshnb.loaders.agent import read_agent_metrics
from meshnb.loaders.istiod_debug_services import read_ndsz
from meshnb.loaders.syncz import read_syncz
from meshnb.sources import agent as module
from meshnb.sources.agent import PROFILES, Agent
from meshnb.sources.kubernetes import Cluster


class Pilot(PageServer):
    """pilot-agent's port 15020 as its handlers are: quitquitquit is for POST alone, and counted."""

    def __init__(self):
        super().__init__({
            "/healthz/ready": (503, b"Envoy proxy is NOT ready"),
            "/stats/prometheus": b"istio_agent_go_info 1\nenvoy_server_live 1\nshop_sales_total 3\n",
            "/app-health/web/livez": (500, b"down"),
            "/debug/ndsz": b'{"table": {"a.b.svc.cluster.local": {"ips": ["10.0.0.1"]}}}',
            "/debug/pprof/heap": b"\x1f\x8bheap",
        })  # fmt: skip


@pytest.fixture
def mesh():
    config = {"typeUrl": "t/envoy.config.cluster.v3.Cluster", "configStatus": "STALE"}
    client = {"node": {"id": "sidecar~10.0.0.1~a.n~x"}, "genericXdsConfigs": [config]}
    syncz = {"/debug/syncz": json.dumps({"resources": [client]}).encode()}
    with Pilot() as agent, PageServer(syncz) as debug, ReplayApiServer() as api:
        api.backends = {("a", "n", 15020): agent.address, ("a", "n", 15004): debug.address}
        yield Agent(Cluster(api.configuration(), timeout_s=10, sleep=lambda _: None), "a.n"), agent, debug


def test_sd_08_each_page_of_the_agent_is_read(mesh):
    """SD-08: readiness, merged metrics, probes, DNS names, profiles; SD-18: istiod by way of port 15004."""
    agent, pages, debug = mesh
    assert agent.ready() == (False, "Envoy proxy is NOT ready")
    assert read_agent_metrics(agent.metrics()).emitter.tolist() == ["agent", "envoy", "app"]
    assert agent.probe("/app-health/web/livez") == (500, b"down")
    assert read_ndsz(agent.dns_names()).address.tolist() == ["10.0.0.1"]
    assert agent.profile() == b"\x1f\x8bheap"
    assert read_syncz(agent.istiod_debug("syncz")).status.tolist() == ["STALE"]
    assert {line.split()[0] for line in pages.asked + debug.asked} == {"GET"}


def test_an_agent_that_answers_no_dns_has_no_names_and_other_refusals_are_errors(mesh):
    agent, pages, debug = mesh
    pages.pages["/debug/ndsz"] = (404, b"{}")
    assert read_ndsz(agent.dns_names()).empty
    pages.pages["/debug/ndsz"] = (403, b"Only requests from localhost are allowed")
    with pytest.raises(SourceError, match="Only requests from localhost"):
        agent.dns_names()
    debug.pages = {"*": (503, b"proxy not connected to Istiod")}
    with pytest.raises(SourceError, match="not connected to Istiod"):
        agent.istiod_debug("config_dump", resource="a.n")
    assert debug.asked[-1] == "GET /debug/config_dump?resourceName=a.n"


@pytest.mark.parametrize(
    "ask",
    [
        lambda a: a.probe("/quitquitquit"),
        lambda a: a.probe("/app-health/../quitquitquit"),
        lambda a: a.profile("../../quitquitquit"),
        lambda a: a.profile("profile?seconds=600"),
        lambda a: a.istiod_debug("force_disconnect"),
        lambda a: a.istiod_debug("../quitquitquit"),
        lambda a: a.istiod_debug("adsz?push=true"),
    ],
)
def test_t9_nothing_reaches_quitquitquit_or_a_page_that_changes_something(mesh, ask):
    """T9: it answers to POST from localhost, which is where a port-forward arrives; so it is never asked."""
    agent, pages, debug = mesh
    with pytest.raises(UsageError):
        ask(agent)
    assert pages.asked == debug.asked == []


def test_t9_no_method_of_the_client_sends_anything_but_get():
    """T9: quitquitquit takes POST only (405 otherwise)."""
    assert "method=" not in inspect.getsource(module)
    assert "profile" not in PROFILES and "trace" not in PROFILES


def test_a_name_that_is_no_proxy_is_refused(mesh):
    with pytest.raises(UsageError, match=r"POD\.NAMESPACE"):
        Agent(mesh[0].cluster, "catalog")
