"""Answers of Prometheus → frames: what a real server seldom sends on demand."""

from __future__ import annotations

import json
import math

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshnb.errors import FormatError
from meshnb.loaders import prometheus
from meshnb.loaders.prometheus import (
    read_alerts,
    read_histograms,
    read_metadata,
    read_rules,
    read_samples,
    read_series,
    read_targets,
)

NATIVE = {
    "metric": {"pod": "istiod-1"},
    "histograms": [
        [1700000000, {"count": "5", "sum": "2.5", "buckets": [[0, "0.5", "1", "3"], [3, "-0.001", "0.001", "2"]]}],
        [1700000015.5, {"count": "6", "sum": "3", "buckets": [[1, "-2", "-1", "6"]]}],
    ],
}


def answer(result: list, kind: str = "matrix", **more) -> bytes:
    return json.dumps({"status": "success", "data": {"resultType": kind, "result": result}, **more}).encode()


finite_or_not = st.floats(width=64)
names = st.text(st.characters(codec="utf-8"), min_size=1, max_size=8)


@given(
    st.lists(
        st.tuples(
            st.dictionaries(names | st.sampled_from(["time", "value", "label_time"]), st.text(max_size=8), max_size=3),
            st.lists(st.tuples(st.integers(0, 4_000_000_000_000), finite_or_not), max_size=4),
        ),
        max_size=4,
    ),
    st.booleans(),
)
def test_every_sample_and_every_label_comes_back(series, spaced):
    """Whatever the labels are called; as Prometheus writes numbers; compact or indented JSON."""
    text = {math.inf: "+Inf", -math.inf: "-Inf"}
    result = [
        {"metric": labels, "values": [[ms / 1000, "NaN" if v != v else text.get(v, repr(v))] for ms, v in samples]}
        for labels, samples in series
    ]
    data = {"status": "success", "data": {"resultType": "matrix", "result": result}}
    frame = read_samples(json.dumps(data, indent=1 if spaced else None).encode())
    expected = [(ms, v) for _, samples in series for ms, v in samples]
    assert [round(t.timestamp() * 1000) for t in frame["time"]] == [ms for ms, _ in expected]
    assert all(a == b or (a != a and b != b) for a, (_, b) in zip(frame["value"], expected, strict=True))
    wanted = {label for labels, _ in series for label in labels}
    renamed = frame.attrs["renamed"]
    columns = {label: renamed.get(label, label) for label in wanted}
    assert len(set(columns.values())) == len(wanted)
    assert set(frame.columns) == set(columns.values()) | {"time", "value"}
    flat = [labels for labels, samples in series for _ in samples]
    for label, column in columns.items():
        assert [None if pd.isna(x) else x for x in frame[column]] == [labels.get(label) for labels in flat]


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"[]",
        b'{"status":"success"}',
        b'{"data":{"resultType":"matrix","result":[{"metric":{},"values":[[1,"x"]]}]}}',
        b'{"data":{"resultType":"matrix","result":[{"metric":{},"values":[[1,"2"],[3]]}]}}',
        b'{"data":{"resultType":"matrix","result":[{"metric":{"a":1},"values":[]}]}}',
        b'{"data":{"resultType":"matrix","result":[{"metric":{},"values":[[1,"2"],[]]}]}}',
        b'{"data":{"resultType":"matrix","result":[{"metric":{},"values":["1","2","3"]}]}}',
        b'{"data":{"resultType":"streams","result":[]}}',
    ],
)
def test_what_is_no_answer_is_refused(raw):
    with pytest.raises(FormatError):
        read_samples(raw, file="prometheus/x.json")


def test_only_a_block_of_the_samples_is_taken_apart_at_a_time(monkeypatch):
    """What is needed beside the answer and the frame does not grow with them; the frame is the same."""
    series = [
        {"metric": {"pod": f"web-{n}"}, "values": [[1700000000 + i, f"{n}.{i}"] for i in range(n % 5)]}
        for n in range(40)
    ]
    whole = read_samples(answer(series))
    sizes = []
    parsed = prometheus._parsed

    def measured(text, count, **more):
        sizes.append(len(text))
        return parsed(text, count, **more)

    monkeypatch.setattr(prometheus, "_BLOCK", 200)
    monkeypatch.setattr(prometheus, "_parsed", measured)
    pd.testing.assert_frame_equal(read_samples(answer(series)), whole)
    assert len(whole) == sum(n % 5 for n in range(40))
    # a block, and the series that filled it
    assert len(sizes) > 5 and max(sizes) < 300


def test_native_histograms_are_rows_and_buckets():
    """A histogram has no value: the row is kept, with count and sum."""
    frame = read_samples(answer([NATIVE, {"metric": {"pod": "istiod-2"}, "values": [[1700000000, "1"]]}]))
    assert frame["histogram_count"].dropna().tolist() == [5.0, 6.0]
    assert frame["histogram_sum"].dropna().tolist() == [2.5, 3.0]
    assert frame["value"].dropna().tolist() == [1.0]
    assert list(frame.columns) == ["pod", "time", "value", "histogram_count", "histogram_sum"]
    buckets = read_histograms(answer([NATIVE]))
    assert buckets["closed"].tolist() == ["upper", "both", "lower"]
    assert buckets["count"].sum() == 11
    assert buckets["time"].nunique() == 2


def test_a_limit_is_kept():
    with pytest.raises(FormatError, match="holds 3 samples, more than 2"):
        read_samples(answer([{"metric": {}, "values": [[1, "1"], [2, "1"], [3, "1"]]}]), limit=2)


def test_labels_missing_in_one_series_are_missing():
    frame = read_samples(
        answer([{"metric": {"a": "1"}, "value": [1, "1"]}, {"metric": {}, "value": [1, "2"]}], "vector")
    )
    assert frame["a"].isna().tolist() == [False, True]


def test_parts_are_joined_and_their_warnings_kept_once():
    parts = [answer([{"metric": {"a": "1"}, "values": [[t, "1"]]}], warnings=["w"]) for t in (1, 2)]
    frame = read_samples(parts)
    assert len(frame) == 2
    assert frame.attrs["warnings"] == ["w"]
    assert frame["a"].dtype == "category"


def test_answers_of_other_endpoints():
    metadata = read_metadata(b'{"data":{"pilot_xds":[{"type":"gauge","help":"h","unit":""}]}}')
    assert metadata.iloc[0].tolist()[:2] == ["pilot_xds", "gauge"]
    assert pd.isna(metadata["unit"][0])
    assert read_series(b'{"data":[]}').empty
    targets = b'{"data":{"activeTargets":[{"labels":{"job":"j"},"health":"down","lastError":"refused","lastScrape":"2026-11-23T09:00:00.5Z"}]}}'  # noqa: E501
    assert read_targets(targets)["error"].tolist() == ["refused"]
    alerts = b'{"data":{"alerts":[{"labels":{"alertname":"A"},"state":"firing","activeAt":"2026-11-23T09:00:00Z","value":"1e+00"}]}}'  # noqa: E501
    assert read_alerts(alerts)["value"].tolist() == [1.0]
    rules = b'{"data":{"groups":[{"name":"g","rules":[{"name":"A","type":"alerting","query":"up","duration":60}]}]}}'
    assert read_rules(rules)["for_s"].tolist() == [60.0]
    with pytest.raises(FormatError, match="not the answer asked for"):
        read_rules(b'{"data":[]}')
