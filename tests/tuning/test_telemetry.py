"""Success by reporter, the gap and its cause, the guilty pod, Kiali's health."""

from __future__ import annotations

import sys
from datetime import timedelta
from pathlib import Path

import pandas as pd
import pytest
from realprom import RealPrometheus

import meshnb
from meshnb.checks.telemetry import disagreement
from meshnb.checks.telemetry import health as health_check
from meshnb.model.finding import Status
from meshnb.model.tables.telemetry import REQUEST_RATES
from meshnb.runbook.prometheus import Prometheus
from meshnb.tuning.catalogue import query
from meshnb.tuning.telemetry import TOLERANCES, Tolerance, gap, health, pods, success

SNAPSHOTS = Path(__file__).parents[1] / "data" / "control-plane"
CATALOG = "catalog.istioinaction.svc.cluster.local"


def rates(*rows: tuple) -> pd.DataFrame:
    """Rows of reporter, workload, code, flags, rate, and more columns."""
    return REQUEST_RATES.rows(
        {
            "reporter": reporter,
            "destination_service": CATALOG,
            "destination_workload": workload,
            "destination_workload_namespace": "istioinaction",
            "request_protocol": "http",
            "response_code": code,
            "response_flags": flags,
            "rate": rate,
            **(more[0] if more else {}),
        }
        for reporter, workload, code, flags, rate, *more in rows
    )


def test_s10_60_s10_61_s10_62_79_percent_and_100_percent_explained_by_dc():
    """79 % at the caller (21 % are 504), 100 % at the server, and DC accounts for all of it."""
    mesh = meshnb.open(SNAPSHOTS / "reporters")
    by_side = mesh.request_success("catalog").set_index("reporter")["success"]
    assert by_side.round(2).to_dict() == {"source": 0.79, "destination": 1.0}
    row = mesh.request_gap().iloc[0]
    assert (round(row["gap"], 2), round(row["explained"], 2)) == (0.21, 1.0)
    (finding,) = mesh.check("MNB0330")
    assert finding.status is Status.FAIL
    assert "79.0 % succeed, the service itself 100.0 %" in finding.summary
    assert "catalog-v2-6c8, version v2" in finding.summary
    assert "hang up" in finding.cause


def test_s10_63_s10_65_the_notes_query_names_the_same_pod():
    """Executed by Prometheus on the same series: the guilty pod and version, and the baseline without filter."""
    sys.path.insert(0, str(SNAPSHOTS))
    from generate import END, SCENARIOS, series

    with RealPrometheus(series(SCENARIOS["reporters"])) as server:
        prometheus = Prometheus(server.url)
        at = END - timedelta(minutes=1)
        guilty = prometheus.query(query("dc_by_pod").text(service="catalog.*"), at)
        baseline = prometheus.query(query("requests_by_pod").text(service="catalog.*"), at)
        sides = prometheus.query(query("success_by_reporter").text(service="catalog.*"), at)
    assert guilty[["response_code", "pod", "version"]].values.tolist() == [["0", "catalog-v2-6c8", "v2"]]
    assert baseline["pod"].tolist() == ["catalog-v1-5f9", "catalog-v2-6c8"]
    assert sides.set_index("reporter")["value"].round(2).to_dict() == {"destination": 1.0, "source": 0.79}
    mine = meshnb.open(SNAPSHOTS / "reporters").request_pods()
    assert mine["pod"].tolist()[0] == guilty["pod"][0]
    assert mine["dc_share"].tolist() == [1.0, 0.0]


def test_the_two_conventions_for_code_0_are_both_given():
    """The dashboards count no response as success, Kiali as an error."""
    row = success(rates(("destination", "v1", "0", "DC", 1.0), ("destination", "v1", "200", "-", 3.0))).iloc[0]
    assert (row["success"], row["success_strict"]) == (1.0, 0.75)


def test_t21_dc_may_have_a_code_and_miss_its_destination():
    """DC is found by the flag, not by code 0; a series without destination is kept under no service."""
    found = success(rates(("destination", "v1", "200", "DC", 1.0), ("destination", "v1", "200", "-", 1.0)))
    assert found["dc"][0] == 0.5
    lost = rates(
        ("source", None, "0", "DC", 1.0, {"destination_service": None, "destination_workload_namespace": None})
    )
    assert success(lost)["rate"].tolist() == [1.0]
    assert gap(lost).empty
    assert health(lost).empty


def test_flags_are_a_set():
    assert success(rates(("destination", "v1", "0", "DC,URX", 1.0)))["dc"][0] == 1.0
    assert success(rates(("destination", "v1", "0", "DCX", 1.0)))["dc"][0] == 0.0


def test_t20_without_the_label_pod_the_workload_stands_in():
    found = pods(rates(("destination", "catalog-v2", "0", "DC", 1.0)))
    assert found["pod"].tolist() == ["catalog-v2"]
    assert found["version"].isna().all()


@pytest.mark.parametrize(
    ("errors", "status"), [(0.0, "healthy"), (0.01, "degraded"), (0.999, "degraded"), (1.0, "failure")]
)
def test_kiali_5xx_from_0_and_10_percent(errors, status):
    found = health(rates(("source", "v1", "200", "-", 10 - errors), ("source", "v1", "503", "UF", errors)))
    assert found[found["errors"] == "5.."]["status"].tolist() == [status]


@pytest.mark.parametrize(("errors", "status"), [(0.99, "healthy"), (1.0, "degraded"), (2.0, "failure")])
def test_kiali_4xx_from_10_and_20_percent(errors, status):
    found = health(rates(("source", "v1", "200", "-", 10 - errors), ("source", "v1", "404", "NR", errors)))
    assert found[found["errors"] == "4.."]["status"].tolist() == [status]


def test_kiali_takes_the_larger_of_both_reporters_inbound_and_the_source_outbound():
    both = rates(
        ("source", "v1", "200", "-", 4.0, {"source_workload": "web", "source_workload_namespace": "shop"}),
        ("destination", "v1", "200", "-", 6.0, {"source_workload": "web", "source_workload_namespace": "shop"}),
    )
    found = health(both).drop_duplicates(["workload", "direction"]).set_index(["workload", "direction"])["rate"]
    assert found.to_dict() == {("v1", "inbound"): 6.0, ("web", "outbound"): 4.0}


def test_kiali_grpc_by_status():
    grpc = {"request_protocol": "grpc", "grpc_response_status": "14"}
    fine = {"request_protocol": "grpc", "grpc_response_status": "0"}
    found = health(rates(("source", "v1", "200", "-", 1.0, grpc), ("source", "v1", "200", "-", 9.0, fine)))
    assert found["protocol"].unique().tolist() == ["grpc"]
    assert found["status"].tolist() == ["failure", "healthy"]


def test_tolerances_are_parameters():
    one = rates(("source", "v1", "200", "-", 9.0), ("source", "v1", "500", "-", 1.0))
    assert health(one, [Tolerance("5..", "http", 20, 30)])["status"].tolist() == ["healthy"]
    assert len(TOLERANCES) == 5


def test_nothing_counted_is_unknown():
    """No telemetry: unknown. Only one side counted: unknown too."""
    empty = REQUEST_RATES.empty()
    assert [f.status for f in disagreement(empty, gap(empty), pods(empty))] == [Status.UNKNOWN]
    assert [f.status for f in health_check(health(empty))] == [Status.UNKNOWN]
    one = rates(("source", "v1", "200", "-", 9.0))
    assert [f.status for f in disagreement(one, gap(one), None)] == [Status.UNKNOWN]


def test_sides_that_agree_pass():
    mesh = meshnb.open(SNAPSHOTS / "healthy")
    assert [f.status for f in mesh.check("MNB0330", "MNB0331")] == [Status.PASS] * 2
