"""The lab's Prometheus: which one is taken, and what a real one has from Envoy."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from meshnb.errors import LabError
from meshnb.lab import lab as labs
from meshnb.lab import prometheus
from meshnb.lab.calls import call
from meshnb.lab.plan import LabHome
from meshnb.lab.status import status
from meshnb.lab.traffic import traffic

from .conftest import own_subnet


@pytest.fixture
def scraped(tmp_path: Path) -> Iterator[LabHome]:
    home = LabHome.of(tmp_path / "home")
    labs.up(home, subnet=own_subnet(3))
    yield home
    labs.down(home)


@pytest.mark.lab
def test_istio_requests_total_of_both_reporters_is_in_prometheus(scraped: LabHome):
    """Needs Prometheus on PATH, as Debian's package puts it."""
    assert status(scraped).missing == ()
    traffic(scraped, requests=20, rate=100)
    query = 'sum by (reporter) (istio_requests_total{destination_service_name="catalog",response_code="200"})'
    found: dict[str, float] = {}
    deadline = time.monotonic() + 20
    while found != {"source": 20.0, "destination": 20.0} and time.monotonic() < deadline:
        _, body = call(scraped.load_plan().prometheus_address, 9090, f"/api/v1/query?query={quote(query)}")
        found = {r["metric"]["reporter"]: float(r["value"][1]) for r in json.loads(body)["data"]["result"]}
        time.sleep(0.1)
    assert found == {"source": 20.0, "destination": 20.0}


@pytest.mark.lab
def test_the_metrics_of_the_control_plane_are_scraped(scraped: LabHome):
    """S11-23, S11-24: pushes by type and connections, by the queries one uses on a mesh."""
    labs.break_("missing-subset", scraped)
    queries = {
        'sum(pilot_xds{istiod="lab"})': 5.0,
        'sum(pilot_proxy_convergence_time_bucket{le="+Inf"}) >= bool 5': 1.0,
        'count(count by (type) (pilot_xds_pushes{istiod="lab"}))': 4.0,
    }
    found: dict[str, float] = {}
    deadline = time.monotonic() + 20
    while found != queries and time.monotonic() < deadline:
        for query in queries:
            _, body = call(scraped.load_plan().prometheus_address, 9090, f"/api/v1/query?query={quote(query)}")
            for row in json.loads(body)["data"]["result"]:
                found[query] = float(row["value"][1])
        time.sleep(0.1)
    assert found == queries


def test_the_one_that_is_named_is_taken_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("MESHNB_PROMETHEUS", raising=False)
    assert prometheus.find_prometheus() == ""
    unpacked = prometheus.unpacked()
    unpacked.parent.mkdir(parents=True)
    unpacked.write_text("#!/bin/sh\n")
    assert prometheus.find_prometheus() == ""
    unpacked.chmod(0o755)
    assert prometheus.find_prometheus() == str(unpacked)
    named = tmp_path / "mine"
    named.write_text("#!/bin/sh\n")
    named.chmod(0o755)
    monkeypatch.setenv("MESHNB_PROMETHEUS", str(named))
    assert prometheus.find_prometheus() == str(named)


def test_without_apt_it_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", "")
    with pytest.raises(LabError, match="no apt-get here") as caught:
        prometheus.fetch_prometheus()
    assert "MESHNB_PROMETHEUS" in caught.value.hint
