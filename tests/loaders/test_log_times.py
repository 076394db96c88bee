"""Cutting component logs by time, compared with istioctl's own results."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

import meshnb
from meshnb.errors import NotFound
from meshnb.loaders.log_times import line_time, lines_between
from meshnb.sources.snapshot import SnapshotWriter

ISTIO = Path(__file__).parents[2] / "../shared/data/istio"
LOG = (
    "before any time\n"
    "2026-11-23T10:00:00.000001Z\tinfo\tads\tpush\n"
    "2026-11-23T10:00:01Z\terror\tpanic\n"
    "goroutine 1 [running]:\n"
    '{"level":"info","time":"2026-11-23T10:00:02.5Z","msg":"json"}\n'
    "2026-11-23T11:00:03+01:00\tinfo\tother zone"
)


def at(second: float) -> datetime:
    return datetime(2026, 11, 23, 10, 0, int(second), int(second % 1 * 1e6), tzinfo=UTC)


def test_both_bounds_are_included_and_lines_without_a_time_follow():
    cut = lines_between(LOG, start=at(1), end=at(2.5)).splitlines()
    assert [line.partition("\t")[0][:20] for line in cut] == [
        "2026-11-23T10:00:01Z",
        "goroutine 1 [running",
        '{"level":"info","tim',
    ]


def test_without_bounds_nothing_is_cut():
    assert lines_between(LOG) == LOG


def test_other_zones_are_read_and_impossible_times_are_none():
    assert line_time("2026-11-23T11:00:03+01:00\tinfo") == at(3)
    assert line_time("2026-13-23T11:00:03Z\tinfo") is None


@pytest.mark.skipif(not ISTIO.is_dir(), reason="istioctl's own documents are not part of this repository")
def test_istioctls_own_logs_are_cut_alike():
    pairs = [
        p for p in json.loads((ISTIO / "pairs.json").read_text())["pairs"] if p["command"].startswith("bug-report")
    ]
    assert pairs
    for pair in pairs:
        bounds = {name: datetime.fromisoformat(time) for name, time in pair["filter"].items()}
        cut = lines_between((ISTIO / pair["input"]).read_text(), **bounds)
        assert cut.rstrip("\n") == (ISTIO / pair["expected"]).read_text().rstrip("\n")


def test_a_mesh_gives_the_log_of_a_container_within_its_window(tmp_path):
    with SnapshotWriter(tmp_path / "snap", source="test") as writer:
        writer.add("logs/istiod-0.istio-system/discovery.log", "container_log", LOG.encode())
    window = "2026-11-23T10:00:01/2026-11-23T10:00:02"
    text = meshnb.open(tmp_path / "snap", window=window).container_log("istiod-0.istio-system", "discovery")
    assert text.splitlines()[0].endswith("panic")
    assert "json" not in text
    assert meshnb.open(tmp_path / "snap").container_log("istiod-0.istio-system", "discovery") == LOG
    with pytest.raises(NotFound, match=r"discovery\.log"):
        meshnb.open(tmp_path / "snap").container_log("istiod-1.istio-system", "discovery")
