"""What the lab's control plane says of its own CPU and memory, against what Python says of this process."""

from __future__ import annotations

import os
import resource
import time
from pathlib import Path

import pytest

from meshnb.lab import process_metrics
from meshnb.lab.process_metrics import process_text
from meshnb.lab.telemetry import parse


def values() -> dict[str, float]:
    return {name: next(iter(series.values())) for name, series in parse(process_text()).items()}


def test_the_numbers_are_those_of_this_process():
    found = values()
    assert found["process_cpu_seconds_total"] == pytest.approx(time.process_time(), abs=0.5)
    assert 1e6 < found["process_resident_memory_bytes"] <= resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1100
    assert found["process_open_fds"] == pytest.approx(len(list(Path("/proc/self/fd").iterdir())), abs=1)
    assert 0 < time.time() - found["process_start_time_seconds"] < 86_400
    end = time.process_time() + 0.2
    while time.process_time() < end:
        pass
    assert values()["process_cpu_seconds_total"] - found["process_cpu_seconds_total"] >= 0.15


def test_without_a_limit_the_machine_is_the_limit(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(process_metrics, "_groups", lambda controller: iter(()))
    found = values()
    assert found["container_spec_cpu_quota"] == len(os.sched_getaffinity(0)) * found["container_spec_cpu_period"]
    assert found["container_spec_memory_limit_bytes"] == os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert "container_cpu_cfs_periods_total" not in found


@pytest.mark.parametrize(
    "files",
    [
        {"cpu.max": "50000 100000", "memory.max": "1048576", "cpu.stat": "nr_periods 7\nnr_throttled 3"},
        {
            "cpu.cfs_quota_us": "50000",
            "cpu.cfs_period_us": "100000",
            "memory.limit_in_bytes": "1048576",
            "cpu.stat": "nr_periods 7\nnr_throttled 3\nthrottled_time 9",
        },
    ],
    ids=["version 2", "version 1"],
)
def test_the_limit_of_the_cgroup_counts(files: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The smallest from the process' own group to the root."""
    for name, text in files.items():
        (tmp_path / name).write_text(f"{text}\n")
    monkeypatch.setattr(process_metrics, "_groups", lambda controller: iter((tmp_path / "none", tmp_path)))
    found = values()
    assert found["container_spec_cpu_quota"] == 0.5 * found["container_spec_cpu_period"]
    assert found["container_spec_memory_limit_bytes"] == 1048576
    assert found["container_cpu_cfs_periods_total"] == 7
    assert found["container_cpu_cfs_throttled_periods_total"] == 3


def test_a_cgroup_without_a_limit_says_max(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for name, text in {"cpu.max": "max 100000", "memory.max": "max", "cpu.stat": "nr_periods 0"}.items():
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(process_metrics, "_groups", lambda controller: iter((tmp_path,)))
    found = values()
    assert found["container_spec_cpu_quota"] == len(os.sched_getaffinity(0)) * 100_000
    assert "container_cpu_cfs_throttled_periods_total" not in found
