"""Answers of the agent."""

from __future__ import annotations

import json

import pytest

from meshnb.errors import FormatError
from meshnb.loaders.agent import read_agent_metrics, read_agent_ready, read_probe_replay


def test_sd_13_readiness_with_its_reason():
    """SD-13: curl localhost:15020/healthz/ready."""
    assert read_agent_ready(b"", proxy="a.n")[["ready", "config_received"]].values.tolist() == [[True, True]]
    words = (
        "Envoy proxy is NOT ready: config received from XDS server, but was rejected: cds updates: 57 successful, "
        "0 rejected; lds updates: 0 successful, 57 rejected"
    )
    row = read_agent_ready(words, proxy="a.n").iloc[0]
    assert (row.ready, row.reason, row.config_received) == (False, words, False)


MERGED = """\
# TYPE istio_agent_startup_duration_seconds gauge
istio_agent_startup_duration_seconds 1.5
go_goroutines 42
# TYPE envoy_cluster_upstream_cx_total counter
envoy_cluster_upstream_cx_total{cluster_name="outbound|80||catalog.n.svc.cluster.local"} 7
istio_requests_total{reporter="source",path="a\\"b"} 3 1700000000000
catalog_items_total 12
"""


def test_sd_14_merged_metrics_tell_who_emitted_them():
    """SD-14: istio_agent_*, envoy_* and the app's own."""
    table = read_agent_metrics(MERGED, proxy="a.n").set_index("metric")
    assert table.emitter.to_dict() == {
        "istio_agent_startup_duration_seconds": "agent",
        "go_goroutines": "agent",
        "envoy_cluster_upstream_cx_total": "envoy",
        "istio_requests_total": "envoy",
        "catalog_items_total": "app",
    }
    assert json.loads(table.labels["istio_requests_total"])["reporter"] == "source"
    assert table.value["catalog_items_total"] == 12
    with pytest.raises(FormatError, match="line 1"):
        read_agent_metrics("<html>", file="stats.prom")


def test_sd_12_a_replayed_probe():
    """SD-12: status and body of a rewritten probe."""
    row = read_probe_replay("HTTP 503\nno database\n", name="liveness-http.livez", proxy="a.n").iloc[0]
    assert (row.container, row.probe, row.status, row.passes, row.body) == (
        "liveness-http",
        "liveness",
        503,
        False,
        "no database",
    )
    with pytest.raises(FormatError):
        read_probe_replay("ok", name="a.livez")
