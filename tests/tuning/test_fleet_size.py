"""A fleet from sampled dumps (S11-44)."""

from __future__ import annotations

import random

import pandas as pd
import pytest

import meshnb
from meshnb.errors import UsageError
from meshnb.tuning.fleet_size import fleet_size


def test_s11_44_two_megabytes_times_two_hundred():
    """S11-44: about 2 MB each for 200 workloads are 400 MB."""
    (row,) = fleet_size({"all": [1_900_000, 2_000_000, 2_100_000]}, proxies=200).itertuples()
    assert row.total_bytes == 400_000_000 and (row.smallest, row.largest) == (1_900_000, 2_100_000)
    assert row.error_bytes == pytest.approx(49_402_000, rel=1e-4)
    (most,) = fleet_size({"all": [1_900_000, 2_000_000, 2_100_000]}, proxies=4).itertuples()
    assert most.error_bytes == pytest.approx(573_300, rel=1e-3), "of a fleet that was measured nearly whole"


def test_s11_44_the_error_is_what_samples_show():
    """S11-44: the interval holds the true total about 19 times of 20."""
    draw = random.Random(7)
    fleet = [draw.randint(400_000, 2_400_000) for _ in range(100)]
    held = 0
    for _ in range(400):
        (row,) = fleet_size({"all": draw.sample(fleet, 12)}, proxies=100).itertuples()
        held += abs(row.total_bytes - sum(fleet)) <= row.error_bytes
    assert 0.91 < held / 400 < 0.98


def test_nothing_is_guessed_of_one_and_nothing_is_left_of_all():
    (one,) = fleet_size({"all": [5]}, proxies=9).itertuples()
    assert one.total_bytes == 45 and one.error_bytes is pd.NA
    (whole,) = fleet_size({"all": [4, 6]}, proxies=2).itertuples()
    assert (whole.total_bytes, whole.error_bytes) == (10, 0)
    (none,) = fleet_size({"all": []}, proxies=2).itertuples()
    assert none.total_bytes is pd.NA
    with pytest.raises(UsageError, match="3 proxies were measured, more than 2"):
        fleet_size({"all": [1, 2, 3]}, proxies=2)


def test_the_demo_as_a_fleet():
    mesh = meshnb.open("demo")
    rows = mesh.fleet_size().set_index("what")
    sidecars = mesh.sizes()
    sidecars = sidecars[~sidecars.proxy.str.startswith("istio-ingressgateway")]
    assert rows.total_bytes["with endpoints"] == sidecars.bytes.sum()
    less = sidecars.bytes[sidecars.section == "endpoints"].sum()
    assert rows.total_bytes["without endpoints"] == sidecars.bytes.sum() - less
