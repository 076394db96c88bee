"""The mesh at a glance: rate, success and latency per workload (S10-41)."""

from __future__ import annotations

import pytest

import meshnb
from meshnb.errors import NotFound, UsageError


def test_every_workload_as_its_callers_and_as_itself_report_it():
    """S10-41: the same requests, success at the client, success at the server."""
    mesh = meshnb.open("demo/slow-replica")
    df = mesh.workloads().set_index(["reporter", "workload"])
    log = mesh.requests()
    seen, own = df.loc[("source", "catalog-v2")], df.loc[("destination", "catalog-v2")]
    assert int(df.loc["source"].requests.sum()) == len(log)
    assert seen.requests == own.requests and seen.success < own.success == 1.0
    late = log[log["flag_set"] == "UT"]
    assert seen.success == pytest.approx(1 - len(late) / seen.requests)
    assert 490 <= seen.p99_ms <= 520 and seen.namespace == "istioinaction"


def test_what_reached_no_workload_is_counted_as_unknown():
    df = meshnb.open("demo/missing-subset").workloads()
    assert df.workload.tolist() == ["unknown"] and df.success.tolist() == [0.0]


def test_metrics_do_where_there_is_no_log():
    df = meshnb.open("demo/control-plane").workloads()
    assert len(df) and df.p99_ms.isna().all() and (df.rate > 0).all() and df.success.between(0, 1).all()


def test_charts_of_each_measure():
    mesh = meshnb.open("demo/slow-replica")
    assert "catalog-v2" in mesh.workloads_chart().alt
    assert "99th percentile" in mesh.workloads_chart("p99_ms", reporter="destination").alt
    for wrong in ({"measure": "rates"}, {"reporter": "server"}):
        with pytest.raises(UsageError, match="no "):
            mesh.workloads_chart(**wrong)


def test_without_logs_and_metrics_it_says_so(tmp_path):
    (tmp_path / "pods.yaml").write_text("{apiVersion: v1, kind: Pod, metadata: {name: a, namespace: b}}\n")
    with pytest.raises(NotFound, match="holds no"):
        meshnb.open(tmp_path).workloads()
