"""What the lab's control plane uses of this machine, as the series that istiod and the kubelet export.

The process has no container, so `container_*` is what a kubelet would say of it: its limit is that of its cgroup, and
without one all CPUs and the whole memory of the machine.
"""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from pathlib import Path

from meshnb.lab.plan import CLUSTER_ID, CONTAINER_LABELS

_PERIOD_US = 100_000
_HELP = {
    "process_cpu_seconds_total": ("counter", "CPU used, user and system, seconds."),
    "process_resident_memory_bytes": ("gauge", "Memory in use."),
    "process_virtual_memory_bytes": ("gauge", "Memory mapped."),
    "process_open_fds": ("gauge", "Open files."),
    "process_max_fds": ("gauge", "Most files that may be open."),
    "process_start_time_seconds": ("gauge", "Start, since the epoch."),
    "container_cpu_usage_seconds_total": ("counter", "As process_cpu_seconds_total."),
    "container_memory_working_set_bytes": ("gauge", "As process_resident_memory_bytes."),
    "container_spec_memory_limit_bytes": ("gauge", "Limit of the cgroup; without one the machine's memory."),
    "container_spec_cpu_period": ("gauge", "Microseconds that the quota is for."),
    "container_spec_cpu_quota": ("gauge", "CPU time of a period by the cgroup; without one that of all CPUs."),
    "container_cpu_cfs_periods_total": ("counter", "Periods the cgroup had."),
    "container_cpu_cfs_throttled_periods_total": ("counter", "Periods in which it was held back."),
}


def process_text() -> str:
    """The series in Prometheus' text format; empty where there is no `/proc`.

    Example:
        >>> [line for line in process_text().splitlines() if line.startswith("container_spec_cpu_period")]
        ['container_spec_cpu_period{istiod="lab",container="discovery",...,pod="istiod-lab"} 100000']
    """
    return "".join(f"{line}\n" for line in _lines())


def _lines() -> Iterator[str]:
    container = "".join(f',{name}="{value}"' for name, value in CONTAINER_LABELS.items())
    for name, value in _values().items():
        kind, meaning = _HELP[name]
        labels = f'istiod="{CLUSTER_ID}"' + (container if name.startswith("container_") else "")
        yield from (f"# HELP {name} {meaning}", f"# TYPE {name} {kind}", f"{name}{{{labels}}} {value:.12g}")


def _values() -> dict[str, float]:
    try:
        # what follows the name of the command, which may hold anything
        stat = Path("/proc/self/stat").read_text().rpartition(") ")[2].split()
        boot = next(line for line in Path("/proc/stat").read_text().splitlines() if line.startswith("btime "))
    except (OSError, StopIteration):
        return {}
    ticks = os.sysconf("SC_CLK_TCK")
    cpu = (int(stat[11]) + int(stat[12])) / ticks
    memory = int(stat[21]) * os.sysconf("SC_PAGE_SIZE")
    return {
        "process_cpu_seconds_total": cpu,
        "process_resident_memory_bytes": memory,
        "process_virtual_memory_bytes": int(stat[20]),
        "process_open_fds": len(list(Path("/proc/self/fd").iterdir())),
        "process_max_fds": resource.getrlimit(resource.RLIMIT_NOFILE)[0],
        "process_start_time_seconds": int(boot.split()[1]) + int(stat[19]) / ticks,
        "container_cpu_usage_seconds_total": cpu,
        "container_memory_working_set_bytes": memory,
        "container_spec_memory_limit_bytes": _memory_limit(),
        "container_spec_cpu_period": _PERIOD_US,
        "container_spec_cpu_quota": _cpus() * _PERIOD_US,
        **_throttling(),
    }


def _groups(controller: str) -> Iterator[Path]:
    """Folders of this process' cgroup, from its own to the root: version 1 by controller, or version 2."""
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        root = Path("/sys/fs/cgroup") / controllers
        for folder in (Path(path), *Path(path).parents):
            yield root / folder.relative_to("/")


def _read(controller: str, name: str) -> Iterator[str]:
    for folder in _groups(controller):
        try:
            yield (folder / name).read_text().strip()
        except OSError:
            continue


def _cpus() -> float:
    """CPUs the process may use."""
    limits = [float(len(os.sched_getaffinity(0)))]
    for text in _read("cpu", "cpu.max"):
        quota, _, period = text.partition(" ")
        limits += [int(quota) / int(period)] if quota != "max" else []
    for quota, period in zip(_read("cpu", "cpu.cfs_quota_us"), _read("cpu", "cpu.cfs_period_us"), strict=False):
        limits += [int(quota) / int(period)] if int(quota) > 0 else []
    return min(limits)


def _memory_limit() -> int:
    """Bytes the process may use."""
    limits = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    for name in ("memory.max", "memory.limit_in_bytes"):
        limits += [int(text) for text in _read("memory", name) if text != "max"]
    return min(limits)


def _throttling() -> dict[str, float]:
    """Periods of the cgroup; none are counted where it has no limit."""
    for text in _read("cpu", "cpu.stat"):
        counts = dict(line.split(" ", 1) for line in text.splitlines())
        if int(counts.get("nr_periods", 0)):
            return {
                "container_cpu_cfs_periods_total": int(counts["nr_periods"]),
                "container_cpu_cfs_throttled_periods_total": int(counts["nr_throttled"]),
            }
    return {}
