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


def test_one_fault_of_many_agents_is_one_finding():
    """A mesh whose agents all wait for the same has one fault, not a thousand."""
    words = "Envoy proxy is NOT ready: cds updates: {} successful, 0 rejected; lds updates: 0 successful, 0 rejected"
    waiting = [read_agent_ready(words.format(n), proxy=f"p{n}.shop") for n in range(3)]
    other = read_agent_ready("connection refused", proxy="q.other")
    found = run("MNB0406", agents=pd.concat([*waiting, other], ignore_index=True))
    assert sorted(str(f.subject) for f in found) == ["Proxies shop/not ready", "Proxy other/q"]
    (many,) = [f for f in found if f.subject.kind == "Proxies"]
    assert many.summary.startswith("3 agents are not ready") and many.evidence[0].total == 3
    plain = [read_agent_metrics("istio_agent_x 1\n", proxy=f"p{n}.n{n}") for n in range(2)]
    whole = read_agent_metrics("istio_agent_x 1\nenvoy_y 2\n", proxy="whole.n")
    (found,) = run("MNB0407", agent_metrics=pd.concat([*plain, whole], ignore_index=True))
    assert str(found.subject) == "Proxies without metrics of envoy" and "of 2 agents" in found.summary
    assert {row["proxy"] for row in found.evidence[0].rows} == {"p0.n0", "p1.n1"}


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
