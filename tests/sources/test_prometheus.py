"""`meshnb.Prometheus` against a real Prometheus; answers compared with `promtool query`."""

from __future__ import annotations

import json
import math
import subprocess
from datetime import UTC, datetime, timedelta

import pandas as pd
import pytest
from realprom import RealPrometheus

from meshnb.errors import FormatError, NotFound, UsageError
from meshnb.model.window import Window
from meshnb.runbook.prometheus import Prometheus

T0 = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
RULES = """
groups:
- name: g
  rules:
  - {record: pushes:sum, expr: sum(pilot_xds_pushes)}
  - {alert: Always, expr: vector(1) > 0, for: 0s, labels: {severity: warning}, annotations: {summary: it fires}}
"""


def _series() -> str:
    """Two counters of 15 s over 40 min, one reset; a gauge with NaN and Inf; a label named time; a histogram."""
    lines = ["# TYPE pilot_xds_pushes gauge"]
    at = [T0.timestamp() + 15 * i for i in range(161)]
    for kind, slope in (("cds", 3), ("eds", 7)):
        lines += [f'pilot_xds_pushes{{type="{kind}"}} {slope * i % 700} {t:.3f}' for i, t in enumerate(at)]
    lines += ["# TYPE odd gauge"]
    lines += [f'odd{{time="noon",value="x\\"y",label_time="z"}} {v} {at[i]:.3f}'
              for i, v in enumerate(("1", "NaN", "+Inf", "-Inf", "5e-324"))]  # fmt: skip
    return "\n".join([*lines, "# EOF", ""])


@pytest.fixture(scope="module")
def server():
    with RealPrometheus(_series(), rules=RULES) as real:
        yield real


@pytest.fixture
def prometheus(server):
    return Prometheus(server.url)


def test_instant_query_is_tidy(prometheus):
    frame = prometheus.query("pilot_xds_pushes", T0 + timedelta(minutes=1))
    assert list(frame.columns) == ["__name__", "type", "time", "value"]
    assert frame["type"].tolist() == ["cds", "eds"]
    assert frame["value"].tolist() == [12.0, 28.0]
    assert frame["value"].dtype == "float64"
    assert frame["time"].tolist() == [pd.Timestamp(T0 + timedelta(minutes=1))] * 2
    assert frame.attrs["query"] == "pilot_xds_pushes"


def test_range_equals_promtool(prometheus, server):
    expr = "sum by (type) (rate(pilot_xds_pushes[2m]))"
    ours = prometheus.query_range(expr, T0, T0 + timedelta(minutes=40), "15s")
    done = subprocess.run(
        ["promtool", "query", "range", "-o", "json", f"--start={T0.timestamp():.0f}",
         f"--end={T0.timestamp() + 2400:.0f}", "--step=15s", server.url, expr],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    theirs = [(s["metric"]["type"], t, float(v)) for s in json.loads(done.stdout) for t, v in s["values"]]
    assert [(r.type, r.time.timestamp(), r.value) for r in ours.itertuples()] == theirs
    assert len(theirs) > 300


def test_a_split_range_joins_without_seams(server):
    whole = Prometheus(server.url).query_range("pilot_xds_pushes", T0, T0 + timedelta(minutes=40), 1)
    seen = []
    split = Prometheus(server.url, max_points=100)
    parts = split.query_range(
        "pilot_xds_pushes", T0, T0 + timedelta(minutes=40), 1, progress=lambda done, total: seen.append((done, total))
    )
    pd.testing.assert_frame_equal(parts, whole)
    assert parts.attrs["answers"] == 25
    assert seen[-1] == (2401, 2401)
    assert seen == sorted(seen)


def test_more_than_11000_points_are_asked_for_in_parts(prometheus):
    frame = prometheus.query_range("vector(1)", T0, T0 + timedelta(seconds=11_001), 1)
    assert (len(frame), frame.attrs["answers"]) == (11_002, 2)


def test_start_and_end_are_aligned_to_the_step(prometheus):
    frame = prometheus.query_range("vector(1)", T0 + timedelta(seconds=7.3), T0 + timedelta(minutes=5), 60)
    assert {t.second for t in frame["time"]} == {0}
    assert len(frame) == 6


def test_too_many_samples_for_the_server_halves_the_range():
    with RealPrometheus(_series(), options=("--query.max-samples=500",)) as small:
        frame = Prometheus(small.url).query_range("pilot_xds_pushes", T0, T0 + timedelta(minutes=20), 1)
        assert frame.attrs["answers"] > 4
        assert len(frame) == 2 * 1201
        assert not frame.duplicated(["type", "time"]).any()


def test_step_fits_the_window(prometheus):
    frame = prometheus.query_range("vector(1)", Window(T0, T0 + timedelta(hours=1)))
    assert frame.attrs["step_s"] == 15.0
    assert len(frame) == 241


def test_empty_is_an_empty_frame_with_columns(prometheus):
    frame = prometheus.query("no_such_metric")
    assert list(frame.columns) == ["time", "value"]
    assert len(frame) == 0
    assert len(prometheus.query_range("no_such_metric", "30m")) == 0


def test_nan_inf_and_labels_named_like_our_columns(prometheus):
    frame = prometheus.query_range("odd", T0, T0 + timedelta(minutes=1), 15)
    assert frame["value"].tolist()[0] == 1.0
    assert math.isnan(frame["value"][1])
    assert frame["value"].tolist()[2:] == [math.inf, -math.inf, 5e-324]
    assert frame.attrs["renamed"] == {"time": "label_label_time", "value": "label_value"}
    row = frame.iloc[0]
    assert (row["label_label_time"], row["label_time"], row["label_value"]) == ("noon", "z", 'x"y')


def test_a_counter_reset_is_promql_s_business(prometheus):
    """The counter of eds wraps at 700: increase() adds over the reset, the raw series falls."""
    raw = prometheus.query_range('pilot_xds_pushes{type="eds"}', T0, T0 + timedelta(minutes=40), 15)
    assert raw["value"].diff().min() < 0
    increase = prometheus.query('increase(pilot_xds_pushes{type="eds"}[40m])', T0 + timedelta(minutes=40))
    assert 1080 < increase["value"][0] < 1130


def test_scalar_and_string(prometheus):
    assert prometheus.query("1 + 1", T0)["value"].tolist() == [2.0]
    with pytest.raises(FormatError, match="string"):
        prometheus.query('"text"')


def test_a_refused_query_shows_the_position(prometheus):
    with pytest.raises(UsageError) as caught:
        prometheus.query("sum by (type (pilot_xds)")
    assert "line 1, column 14" in caught.value.message
    shown, caret = caught.value.hint.splitlines()
    assert shown[caret.index("^") - 4] == "("
    with pytest.raises(UsageError, match="many-to-many"):
        prometheus.query("pilot_xds_pushes * on(__name__) pilot_xds_pushes", T0)


def test_more_samples_than_meant_asks_for_a_limit(prometheus):
    with pytest.raises(UsageError, match=r"about 4,802 samples, more than 4,000.*\n.*limit="):
        prometheus.query_range("pilot_xds_pushes", T0, T0 + timedelta(minutes=40), 1, limit=4000)


def test_more_samples_are_noticed_after_the_first_part(server):
    """20 parts would follow; the first is enough to tell."""
    asked = []
    prometheus = Prometheus(server.url, max_points=120)
    inner = prometheus.api.ask
    prometheus.api.ask = lambda path, params=None: asked.append(path) or inner(path, params)
    with pytest.raises(UsageError, match="limit="):
        prometheus.query_range("pilot_xds_pushes", T0, T0 + timedelta(minutes=40), 1, limit=1000)
    assert asked == ["query_range"]


def test_series_labels_metadata_targets(prometheus):
    end = T0 + timedelta(minutes=40)
    series = prometheus.series("pilot_xds_pushes", T0, end)
    assert sorted(series["type"]) == ["cds", "eds"]
    assert "type" in prometheus.labels()["label"].tolist()
    assert prometheus.labels("type")["value"].tolist() == ["cds", "eds"]
    assert prometheus.metadata().empty
    assert list(prometheus.targets().columns)[:2] == ["job", "instance"]


def test_rules_and_alerts(prometheus):
    rules = prometheus.rules()
    assert rules["name"].tolist() == ["pushes:sum", "Always"]
    assert rules["type"].tolist() == ["recording", "alerting"]
    alerts = prometheus.alerts()
    assert set(alerts["alert"]) <= {"Always"}  # it fires once the first evaluation has passed


def test_a_wrong_path_is_not_found(server):
    with pytest.raises(NotFound, match="nothing at"):
        Prometheus(server.url + "/prometheus").query("up")


def test_api_v1_at_the_end_of_the_url_is_taken_off(server):
    assert Prometheus(server.url + "/api/v1/").query("vector(1)")["value"].tolist() == [1.0]


def test_a_long_query_is_sent_as_a_form(prometheus):
    expr = " + ".join(["vector(1)"] * 4000)
    assert prometheus.query(expr)["value"].tolist() == [4000.0]


def test_a_range_that_ends_before_it_starts(prometheus):
    with pytest.raises(UsageError, match="ends before"):
        prometheus.query_range("up", T0, T0 - timedelta(minutes=1))
    with pytest.raises(UsageError, match="needs its end"):
        prometheus.query_range("up", T0)
