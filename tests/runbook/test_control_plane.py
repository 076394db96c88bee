"""Tables and views of a mesh from recorded queries: whole, damaged, missing, cut to a window."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

import meshnb
from meshnb.errors import NotFound, UsageError
from meshnb.model.finding import Status
from meshnb.runbook.control_plane import _CHARTS
from meshnb.tuning.catalogue import queries

SNAPSHOTS = Path(__file__).parents[1] / "data" / "control-plane"
ALL = sorted(path.name for path in SNAPSHOTS.iterdir() if path.is_dir() and (path / "manifest.json").is_file())


@pytest.mark.parametrize("name", ALL)
def test_the_snapshots_hold_what_the_catalogue_records(name):
    """A query that was added or changed needs a new recording: python tests/data/control-plane/generate.py."""
    recorded = meshnb.open(SNAPSHOTS / name).recorded_queries().set_index("name")["query"].to_dict()
    wanted = {q.name: q.text(rate="60s", window="600s") for q in queries().values() if q.record}
    assert recorded == wanted


def test_the_demo_is_the_recording_of_incoming():
    demo, recorded = meshnb.open("demo/control-plane"), meshnb.open(SNAPSHOTS / "incoming")
    assert (
        demo.recorded_queries().drop(columns=["samples"]).equals(recorded.recorded_queries().drop(columns=["samples"]))
    )
    assert demo.bottleneck().equals(recorded.bottleneck())


@pytest.fixture
def damaged(tmp_path):
    folder = tmp_path / "damaged"
    shutil.copytree(SNAPSHOTS / "healthy", folder)
    return folder


def test_a_document_cut_short_is_a_gap_and_its_measures_are_unknown(damaged):
    file = damaged / "prometheus" / "latency.json"
    file.write_bytes(file.read_bytes()[:5000])
    mesh = meshnb.open(damaged)
    (finding, *more) = mesh.check("MNB0350")
    assert {f.status for f in (finding, *more)} == {Status.UNKNOWN}
    assert any("latency.json" in gap for gap in mesh.gaps("control_plane"))
    assert mesh.bottleneck()["node"].iloc[-1] == "not-measured"


def test_an_answer_that_is_damaged_is_unknown_the_others_are_not(damaged):
    file = damaged / "prometheus" / "latency.json"
    document = json.loads(file.read_text())
    entry = next(one for one in document["queries"] if one["name"] == "convergence_p99")
    entry["answers"][0]["data"]["result"][0]["values"][3] = ["now", "fast"]
    file.write_text(json.dumps(document))
    frame = meshnb.open(damaged).control_plane().set_index("measure")
    assert frame["verdict"]["convergence_p99"] == "unknown"
    assert "convergence_p99" in frame["statement"]["convergence_p99"]
    assert frame["verdict"]["queue_p99"] == "ok"
    listed = meshnb.open(damaged).recorded_queries().set_index("name")["error"].dropna()
    assert listed.index.tolist() == ["convergence_p99"]


def test_damaged_telemetry_is_unknown(damaged):
    file = damaged / "prometheus" / "telemetry.json"
    file.write_text(file.read_text().replace('"value":[', '"value":["x",'))
    mesh = meshnb.open(damaged)
    assert Status.UNKNOWN in {f.status for f in mesh.check("MNB0330", "MNB0331")}
    assert Status.PASS not in {f.status for f in mesh.check("MNB0330", "MNB0331")}
    assert any("telemetry.json" in gap for gap in mesh.gaps("request_rates"))


def test_all_documents_damaged_means_absent(damaged):
    for file in (damaged / "prometheus").iterdir():
        file.write_text("<html>")
    mesh = meshnb.open(damaged)
    assert "not recorded queries" in mesh.absent("control_plane")
    assert [f.status for f in mesh.check("MNB0354")] == [Status.UNKNOWN]


def test_a_recording_of_a_newer_format_is_refused(damaged):
    file = damaged / "prometheus" / "errors.json"
    file.write_text(file.read_text().replace('"format": 1', '"format": 2', 1))
    assert any("format 2" in gap for gap in _gaps(damaged))


def _gaps(folder: Path) -> list[str]:
    mesh = meshnb.open(folder)
    mesh.control_plane()
    return mesh.gaps("control_plane")


def test_a_window_without_data_is_unknown():
    mesh = meshnb.open(SNAPSHOTS / "throttled", window="2026-11-22T08:00/30m")
    assert mesh.bottleneck()["node"].iloc[-1] == "no-data"


def test_a_window_cuts_the_samples():
    mesh = meshnb.open(SNAPSHOTS / "healthy")
    assert len(mesh.samples("convergence_p99")) == 21
    assert len(mesh.samples("convergence_p99", window="5m")) == 11
    assert len(mesh.samples("metric_names", window="5m")) == len(mesh.samples("metric_names"))
    with pytest.raises(NotFound, match="no recorded query"):
        mesh.samples("convergence")


@pytest.mark.parametrize("name", _CHARTS)
def test_every_chart_is_drawn_or_says_it_has_nothing(name):
    for snapshot in ("saturated", "no-data"):
        shown = meshnb.open(SNAPSHOTS / snapshot).signal_chart(name)._repr_mimebundle_()
        assert shown["text/plain"]


def test_unknown_charts_and_signals_are_refused():
    mesh = meshnb.open(SNAPSHOTS / "healthy")
    with pytest.raises(UsageError, match="no chart"):
        mesh.signal_chart("heat")
    with pytest.raises(UsageError, match="no signal"):
        mesh.golden_signals("heat")


def test_the_worst_comes_first():
    frame = meshnb.open(SNAPSHOTS / "saturated").golden_signals().df
    order = ["critical", "warning", "unknown", "ok", "seen", "quiet"]
    assert frame["verdict"].map(order.index).is_monotonic_increasing


def test_missing_series_names_what_it_would_have_measured():
    frame = meshnb.open(SNAPSHOTS / "healthy").missing_series().df
    assert "apiserver_p99" in frame["name"].tolist()
    assert (frame["meaning"].str.len() > 0).all()


def test_without_metrics_it_is_unknown_and_says_how_to_give_them():
    """A capture without Prometheus is not healthy: nothing is known of the control plane."""
    mesh = meshnb.open("demo")
    for code in ("MNB0350", "MNB0351", "MNB0352", "MNB0353", "MNB0354"):
        (finding,) = mesh.check(code)
        assert finding.status is Status.UNKNOWN
        assert "holds no metrics; capture `--with prometheus` or `--prometheus URL`" in finding.summary


def test_the_title_of_a_signal_says_what_was_not_measured():
    """None above a threshold is good news only for what was measured."""
    assert meshnb.open("demo").golden_signals("saturation").title == "saturation: 0 above a threshold, 5 not measured"
    healthy = meshnb.open(SNAPSHOTS / "healthy").golden_signals("saturation")
    assert healthy.title == "saturation: 0 above a threshold"


def test_s11_19_s11_20_changes_and_triggers_by_type_stacked_with_the_one_on_top():
    """S11-19, S11-20: the recorded queries by type, a chart of columns that make a sum, and which makes most of it."""
    mesh = meshnb.open(SNAPSHOTS / "incoming")
    told = mesh.control_plane().set_index("measure").statement
    for name, chart, top in (("inbound_updates", "updates", "eds"), ("push_triggers", "triggers", "endpoint")):
        assert queries()[name].text(rate="60s") == f"sum(rate(pilot_{name}[60s])) by (type)"
        rates = mesh.samples(name).groupby("type", observed=True).value.sum()
        assert len(rates) == 3 and rates.idxmax() == top
        spec = mesh.signal_chart(chart).spec
        assert spec.kind == "timeline" and [one.name for one in spec.series] == sorted(rates.index)
        assert sum(sum(one.y) for one in spec.series) == pytest.approx(rates.sum())
        assert told[name].endswith(f", {100 * rates.max() / rates.sum():.0f} % of it {top}")
    assert "% of it" not in told["pushes"], "all types are pushed alike"
