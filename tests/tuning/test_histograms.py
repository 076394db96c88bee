"""Cumulative buckets → what can be said."""

from __future__ import annotations

import math

import pytest

from meshnb.errors import UsageError
from meshnb.tuning.histograms import buckets, quantiles


def test_s11_08_the_notes_buckets():
    """le=0.1 → 10, le=1 → 20, le=+Inf → 41."""
    frame = buckets({"0.1": 10, "1": 20, "+Inf": 41})
    assert frame["count"].tolist() == [10, 10, 21]
    assert frame["lower"].tolist() == [0, 0.1, 1]
    assert frame["share"].round(3).tolist() == [0.244, 0.244, 0.512]
    half = quantiles(frame, [0.25, 0.5])
    assert half["estimate"][0] == pytest.approx(0.1 + 0.9 * 0.025)
    assert (half["lower"][0], half["upper"][0]) == (0.1, 1.0)
    assert math.isinf(half["upper"][1])
    assert "how far cannot be told" in half["statement"][1]


def test_2_s_lies_between_the_edges_1_and_3():
    """A p99 of 2 s is a straight line through a bucket: all that is certain is between 1 and 3 s."""
    found = quantiles(buckets({1: 98, 3: 100, "+Inf": 100}), [0.99]).iloc[0]
    assert found["estimate"] == pytest.approx(2.0)
    assert found["statement"] == "between 1 and 3 s; 2 s if evenly spread"


def test_no_observation():
    assert quantiles(buckets({1: 0, "+Inf": 0}))["statement"].unique().tolist() == ["no observation"]
    assert quantiles(buckets({}))["statement"].unique().tolist() == ["no observation"]


def test_what_is_no_histogram():
    with pytest.raises(UsageError, match=r"\+Inf"):
        buckets({1: 5})
    with pytest.raises(UsageError, match="not cumulative"):
        buckets({1: 5, "+Inf": 3})
    with pytest.raises(UsageError, match="not a quantile"):
        quantiles(buckets({"+Inf": 1}), [99])
