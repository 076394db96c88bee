import json
import re
import xml.etree.ElementTree as ET

import books
import pandas as pd
import pytest

from meshnb.errors import UsageError
from meshnb.views.charts import MAX_COLUMNS, MAX_POINTS, PLOTLY_MEDIA, bar, durations, lines, stacked, timeline
from meshnb.views.spec import ticks

CHARTS = {
    "bar": lambda df: bar(df, x="response", title="Requests", unit="requests"),
    "stacked": lambda df: bar(df, x="pod", color="response", title="Requests"),
    "sums": lambda df: stacked(df, time="start_time", value="duration_ms", color="pod", title="Time spent"),
    "timeline": lambda df: timeline(df, time="start_time", color="response", title="Requests"),
    "lines": lambda df: lines(df, x="start_time", y="duration_ms", color="pod", unit="ms", marks={"timeout": 500}),
    "durations": lambda df: durations(df, value="duration_ms", group="pod", color="response", marks={"timeout": 500}),
}


def svg(chart):
    return ET.fromstring(re.search(r"<svg.*</svg>", chart._repr_mimebundle_()["text/html"], re.DOTALL)[0])


@pytest.mark.parametrize("make", CHARTS.values(), ids=CHARTS)
def test_every_chart_is_words_svg_and_plotly(make):
    bundle = make(books.requests())._repr_mimebundle_()
    assert bundle["text/plain"].endswith(".")
    assert svg(make(books.requests())).get("aria-label") == bundle["text/plain"]
    figure = bundle[PLOTLY_MEDIA]
    assert figure["data"] and figure["layout"]["paper_bgcolor"] == "rgba(0,0,0,0)"
    assert "template" not in figure["layout"] and "<script" not in bundle["text/html"]


@pytest.mark.parametrize("make", CHARTS.values(), ids=CHARTS)
def test_empty_frames_give_empty_charts(make):
    bundle = make(books.requests().head(0))._repr_mimebundle_()
    assert re.search("no rows|none|no points|no values", bundle["text/plain"])
    assert "Nothing to draw: no value." in bundle["text/html"]
    assert "<svg" not in bundle["text/html"] and PLOTLY_MEDIA not in bundle


@pytest.mark.parametrize("make", CHARTS.values(), ids=CHARTS)
def test_stays_small_in_the_notebook(make):
    df = pd.concat([books.requests()] * 5000, ignore_index=True)
    assert len(json.dumps(make(df)._repr_mimebundle_())) < 250_000


@pytest.mark.parametrize("make", CHARTS.values(), ids=CHARTS)
def test_is_the_same_each_time(make):
    first, second = (json.dumps(make(books.requests())._repr_mimebundle_()) for _ in range(2))
    assert first == second


def test_bars_are_drawn_to_scale_longest_first():
    df = pd.DataFrame({"code": ["200"] * 3 + ["503 NC"] * 9})
    bars = list(svg(bar(df, x="code")).iter("rect"))
    widths = {rect[0].text: float(rect.get("width")) for rect in bars}
    assert list(widths) == ["503 NC: 9", "200: 3"]
    assert widths["503 NC: 9"] == pytest.approx(3 * widths["200: 3"], rel=0.01)


def test_what_does_not_fit_becomes_other_and_nothing_is_lost():
    df = pd.DataFrame({"host": [f"h{i:02}" for i in range(30)]})
    chart = bar(df, x="host", limit=5)
    assert chart.spec.rows[-1] == "other (26)" and sum(series.x[0] for series in chart.spec.series) == 30


def test_colours_tell_status_classes_apart():
    chart = bar(pd.DataFrame({"code": ["200", "503", "504", "404"]}), x="code")
    assert len({series.color for series in chart.spec.series}) == 4


def test_timeline_counts_every_row_once():
    chart = timeline(books.requests(), time="start_time", color="response", bins=5)
    assert sum(sum(series.y) for series in chart.spec.series) == 12
    assert "2026-11-23 09:00:00 to 2026-11-23 09:00:11 UTC" in chart.alt


def test_columns_are_as_high_as_the_sum_of_their_parts():
    at = pd.to_datetime(["2026-11-23T09:00:00Z", "2026-11-23T09:00:30Z"] * 2)
    df = pd.DataFrame({"at": at, "rate": [3.0, 1.0, 1.0, None], "type": ["eds", "eds", "cds", "cds"]})
    chart = stacked(df, time="at", value="rate", color="type", title="Changes", unit="1/s")
    assert chart.alt == "Changes: eds 80 %, cds 20 %."
    assert {one.name: one.y for one in chart.spec.series} == {"cds": (1.0, 0.0), "eds": (3.0, 1.0)}
    high = {rect[0].text: float(rect.get("height")) for rect in svg(chart).iter("rect") if len(rect)}
    assert high["09:00:00 eds: 3"] == pytest.approx(3 * high["09:00:00 cds: 1"], rel=0.01)
    assert chart._repr_mimebundle_()[PLOTLY_MEDIA]["layout"]["barmode"] == "stack"


def test_of_many_points_a_column_is_the_mean():
    at = pd.date_range("2026-11-23T09:00:00Z", periods=10 * MAX_COLUMNS, freq="15s")
    df = pd.DataFrame({"at": at, "rate": [1.0, 3.0] * (5 * MAX_COLUMNS), "type": "eds"})
    spec = stacked(df, time="at", value="rate", color="type").spec
    assert set(spec.series[0].y) == {2.0} and len(spec.series[0].x) == MAX_COLUMNS
    assert spec.step.total_seconds() == 150 and spec.note == "A column is the mean of 10 points."


def test_slowest_group_comes_first_with_the_limit_drawn():
    chart = durations(books.requests(), value="duration_ms", group="pod", marks={"timeout": 500})
    assert chart.spec.rows[0] == "catalog-v2-slow"
    assert chart.alt.startswith("Durations: catalog-v2-slow median 506.5 ms, highest 511 ms, 4 values;")
    assert any(text.text == "timeout 500 ms" for text in svg(chart).iter("text"))
    assert chart._repr_mimebundle_()[PLOTLY_MEDIA]["layout"]["shapes"][0]["x0"] == 500


def test_thinned_out_points_keep_the_extremes_and_are_told():
    df = pd.DataFrame({"pod": "a", "ms": range(10 * MAX_POINTS)})
    chart = durations(df, value="ms", group="pod")
    drawn = chart.spec.series[0].x
    assert len(drawn) == MAX_POINTS and min(drawn) == 0 and max(drawn) == 10 * MAX_POINTS - 1
    assert "1,500 of 15,000 points are drawn." in chart.spec.note
    assert "1,500 of 15,000 points are drawn." in chart._repr_mimebundle_()["text/html"]


def test_rows_without_a_value_are_counted():
    df = pd.DataFrame({"pod": ["a", "a"], "ms": [1.0, None]})
    assert durations(df, value="ms", group="pod").spec.note.startswith("1 row without a value")


def test_a_gap_interrupts_the_line():
    df = pd.DataFrame({"t": [0, 1, 2, 3], "v": [1.0, None, 2.0, 3.0]})
    path = next(svg(lines(df, x="t", y="v")).iter("path")).get("d")
    assert path.count("M") == 2 and path.count("L") == 1


def test_arrow_frames_are_drawn():
    df = books.requests().convert_dtypes(dtype_backend="pyarrow")
    for make in CHARTS.values():
        assert make(df).spec.series


def test_errors_name_the_column_and_the_nearest():
    with pytest.raises(UsageError, match="no column 'respons'") as caught:
        bar(books.requests(), x="respons")
    assert caught.value.hint == "did you mean 'response'?"
    with pytest.raises(UsageError, match="'pod' holds other things than numbers"):
        durations(books.requests(), value="pod", group="pod")
    with pytest.raises(UsageError, match="'pod' holds other things than times"):
        timeline(books.requests(), time="pod")
    with pytest.raises(UsageError, match="mark 'timeout' is '500'"):
        durations(books.requests(), value="duration_ms", group="pod", marks={"timeout": "500"})


@pytest.mark.parametrize(("low", "high"), [(0, 0), (0, 1), (0, 0.003), (0, 98765), (-3, 3), (5, 5)])
def test_ticks_cover_the_span(low, high):
    marks = ticks(low, high)
    assert marks[0] <= low and marks[-1] >= high and 2 <= len(marks) <= 12


def test_a_figure_has_both_sizes_so_that_nothing_takes_its_height_away():
    df = books.requests()
    for chart in (
        bar(df, x="response"),
        timeline(df, time="start_time"),
        durations(df, value="duration_ms", group="pod"),
    ):
        layout = chart._repr_mimebundle_()[PLOTLY_MEDIA]["layout"]
        assert layout["width"] > 0 and layout["height"] > 0
