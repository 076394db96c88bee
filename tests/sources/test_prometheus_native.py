"""Native histograms of a real Prometheus, and which Prometheus that is."""

from __future__ import annotations

import json
import os
import time
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from realprom import RealPrometheus
from remotewrite import write_histogram

from meshnb.runbook.prometheus import Prometheus

NAME = "pilot_proxy_convergence_time"


def version(url: str) -> str:
    with urllib.request.urlopen(f"{url}/api/v1/status/buildinfo", timeout=30) as answer:
        return str(json.load(answer)["data"]["version"])


@pytest.fixture(scope="module")
def server() -> Iterator[RealPrometheus]:
    flags = ("--web.enable-remote-write-receiver", "--enable-feature=native-histograms")
    with RealPrometheus(options=flags) as real:
        yield real


@pytest.fixture(scope="module")
def now(server: RealPrometheus) -> int:
    """Milliseconds: two histograms, a minute and now; in the second (1, 2], (2, 4] and (4, 8] hold 3, 2 and 4."""
    now = int(time.time()) * 1000
    labels = {"__name__": NAME, "pod": "istiod-1"}
    samples = [(now - 60_000, (1, 0, 0), 1, 1.5), (now, (3, 2, 4), 1, 38.25)]
    write_histogram(server.url, labels, samples, schema=0, offset=1)
    return now


def test_it_is_the_prometheus_that_was_asked_for(server: RealPrometheus):
    """`scripts/prometheus-3` runs these tests with Prometheus 3; without it they take the one on PATH."""
    wanted = os.environ.get("MESHNB_PROMETHEUS_MAJOR", "")
    assert version(server.url).startswith(f"{wanted}." if wanted else ("2.", "3."))


def test_a_histogram_is_a_row_with_count_and_sum(server: RealPrometheus, now: int):
    end = datetime.fromtimestamp(now / 1000, UTC)
    frame = Prometheus(server.url).query_range(NAME, end - timedelta(seconds=60), end, 1)
    last = frame.iloc[-1]
    assert (last["pod"], last["histogram_count"], last["histogram_sum"]) == ("istiod-1", 10.0, 38.25)
    assert frame["value"].isna().all()


def test_its_buckets_are_those_that_were_observed(server: RealPrometheus, now: int):
    buckets = Prometheus(server.url).histograms(NAME, datetime.fromtimestamp(now / 1000, UTC))
    positive = buckets[buckets["lower"] > 0]
    assert positive[["lower", "upper", "count"]].values.tolist() == [[1, 2, 3], [2, 4, 2], [4, 8, 4]]
    (zero,) = buckets[buckets["lower"] <= 0].to_dict("records")
    assert zero["count"] == 1 and zero["upper"] == pytest.approx(1e-9)
    assert buckets["count"].sum() == 10


def test_what_is_computed_from_it_is_a_number(server: RealPrometheus, now: int):
    end = datetime.fromtimestamp(now / 1000, UTC)
    prometheus = Prometheus(server.url)
    (median,) = prometheus.query(f"histogram_quantile(0.5, {NAME})", end)["value"]
    assert 2 <= median <= 4
    # a rate of histograms is a histogram; next to floats, both kinds of rows are in one frame
    both = prometheus.query(f"increase({NAME}[2m]) or vector(7)", end)
    assert both["value"].dropna().tolist() == [7.0]
    assert both["histogram_count"].dropna().iloc[0] > 0
