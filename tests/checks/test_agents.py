"""Roles of the agent, one check each."""

from __future__ import annotations

import pandas as pd

from meshnb.checks import registry
from meshnb.loaders.agent import read_agent_metrics, read_agent_ready, read_probe_replay
from meshnb.loaders.istiod_debug_services import read_ndsz
from meshnb.model.finding import Severity, Status


def run(code, **tables):
    return list(registry.find(code).function(**tables))


def test_sd_01_health():
    """SD-01, SD-13: config received, identity issued."""
    (finding,) = run("MNB0406", agents=read_agent_ready(b"", proxy="a.n"))
    assert finding.status is Status.PASS
    words = "Envoy proxy is NOT ready: cds updates: 0 successful, 0 rejected; lds updates: 0 successful, 0 rejected"
    (finding,) = run("MNB0406", agents=read_agent_ready(words, proxy="a.n"))
    assert (finding.severity, str(finding.subject)) == (Severity.ERROR, "Proxy n/a")
    assert words in finding.summary and "no clusters" in finding.cause


def test_sd_01_metrics_merging():
    """SD-01, SD-14."""
    both = read_agent_metrics("istio_agent_x 1\nenvoy_y 2\n", proxy="a.n")
    (finding,) = run("MNB0407", agent_metrics=both)
    assert finding.status is Status.PASS
    (finding,) = run("MNB0407", agent_metrics=read_agent_metrics("app_x 1\nistio_agent_x 1\n", proxy="a.n"))
    assert "none of envoy" in finding.summary


def test_sd_16_names_without_a_cluster():
    """SD-01, SD-16: name against cluster."""
    names = read_ndsz(
        '{"table": {"a.n.svc.cluster.local": {"ips": ["1.1.1.1"]}, "b.n": {"ips": ["2.2.2.2"]}}}', proxy="p.n"
    )
    clusters = pd.DataFrame({"proxy": "p.n", "fqdn": ["a.n.svc.cluster.local", "b.n"], "state": ["active", "rejected"]})
    (finding,) = run("MNB0408", dns_names=names, clusters=clusters)
    assert "1 names" in finding.summary
    (finding,) = run("MNB0408", dns_names=names[names.name != "b.n"], clusters=clusters)
    assert finding.status is Status.PASS


def test_sd_12_probes_asked_as_the_kubelet_does():
    """SD-12."""
    (finding,) = run("MNB0409", probe_replays=read_probe_replay("HTTP 503\nno database", name="app.livez", proxy="a.n"))
    assert "HTTP 503" in finding.summary and "no database" in finding.cause
    (finding,) = run("MNB0409", probe_replays=read_probe_replay("HTTP 200\n", name="app.livez", proxy="a.n"))
    assert finding.status is Status.PASS
