"""How long config dumps take to become tables, against json.loads and pandas.json_normalize.

    python benchmarks/config_dump.py                     # 100 MB, 5 rounds, then 10 to 500 MB, then 1,000 dumps of 2 MB
    python benchmarks/config_dump.py --megabytes 5 --rounds 1 --scale 2 4 --fleet 10

Every measurement is a process of its own, with the file in the page cache; rounds are interleaved, medians are shown.
Time is the wall clock from bytes on disk to finished tables, after imports; memory is the peak of the process. The dump
is that of `config_dump_generator.py`: 23 kB a service, 4,300 services with subsets make the 100 MB.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from config_dump_generator import services_for, write

TABLES = ("listeners", "routes", "clusters", "endpoints")
ALL = (*TABLES, "secrets", "ecds", "bootstrap", "sizes")


def json_loads(file: str) -> int:
    """The document decoded by the standard library, nothing else."""
    return len(json.loads(Path(file).read_bytes())["configs"])


def meshnb_tables(file: str, tables: tuple[str, ...] = TABLES) -> int:
    """Tables of meshnb."""
    import meshnb

    dump = meshnb.read_config_dump(file)
    return sum(len(getattr(dump, name)()) for name in tables)


def meshnb_all(file: str) -> int:
    """Every table of meshnb, sizes of every resource included."""
    return meshnb_tables(file, ALL)


def normalize(file: str) -> int:
    """The usual notebook: json.loads, then pandas.json_normalize to one row per cluster, route and endpoint."""
    import pandas as pd

    sections = {one["@type"].rsplit(".", 1)[1]: one for one in json.loads(Path(file).read_bytes())["configs"]}
    clusters = pd.json_normalize(sections["ClustersConfigDump"]["dynamic_active_clusters"])
    listeners = pd.json_normalize(
        sections["ListenersConfigDump"]["dynamic_listeners"], ["active_state", "listener", "filter_chains"], "name"
    )
    routes = pd.json_normalize(
        sections["RoutesConfigDump"]["dynamic_route_configs"],
        ["route_config", "virtual_hosts", "routes"],
        [["route_config", "name"], ["version_info"]],
        errors="ignore",
    )
    endpoints = pd.json_normalize(
        sections["EndpointsConfigDump"]["dynamic_endpoint_configs"],
        ["endpoint_config", "endpoints", "lb_endpoints"],
        [["endpoint_config", "cluster_name"]],
    )
    return sum(map(len, (clusters, listeners, routes, endpoints)))


def warm() -> None:
    """Import what would be imported once in a notebook."""
    import pandas as pd
    import pyarrow as pa

    import meshnb

    assert pd and pa
    empty = meshnb.read_config_dump({"configs": []})
    for name in ALL:
        getattr(empty, name)()


ENGINES: dict[str, Callable[[str], int]] = {
    "json.loads": json_loads,
    "meshnb, four tables": meshnb_tables,
    "meshnb, all eight tables": meshnb_all,
    "json.loads + json_normalize": normalize,
}


def measure(engine: str, file: str) -> None:
    """Run one engine in this process and print what it took."""
    if engine != "json.loads":
        warm()
    Path(file).read_bytes()
    before = resource.getrusage(resource.RUSAGE_SELF)
    begin = time.perf_counter()
    rows = ENGINES[engine](file)
    seconds = time.perf_counter() - begin
    after = resource.getrusage(resource.RUSAGE_SELF)
    # not ru_maxrss, which counts what the parent had at the fork
    peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(json.dumps({"seconds": seconds, "cpu": cpu, "rss": int(peak.split()[1]) * 1024, "rows": rows}))


def in_process(engine: str, file: Path) -> dict[str, Any]:
    """The same in a process of its own."""
    command = [sys.executable, __file__, "--engine", engine, "--file", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def table(header: list[str], rows: list[list[str]]) -> None:
    """Print a Markdown table."""
    print("| " + " | ".join(header) + " |\n|" + "---|" * len(header))
    for row in rows:
        print("| " + " | ".join(row) + " |")
    print(flush=True)


def compare(folder: Path, megabytes: float, rounds: int) -> None:
    """The engines on one dump."""
    file = folder / "dump.json"
    size = write(file, services_for(megabytes))
    found: dict[str, list[dict[str, Any]]] = {engine: [] for engine in ENGINES}
    for number in range(rounds):
        for engine in ENGINES:
            if engine != "json.loads + json_normalize" or number < 2:
                found[engine].append(in_process(engine, file))
    base = statistics.median(one["cpu"] for one in found["json.loads"])
    base_wall = statistics.median(one["seconds"] for one in found["json.loads"])
    rows = []
    for engine, results in found.items():
        wall, cpu = (statistics.median(one[key] for one in results) for key in ("seconds", "cpu"))
        rss = max(one["rss"] for one in results)
        rows.append(
            [
                engine,
                f"{wall:.2f}",
                f"{wall / base_wall:.2f}",
                f"{cpu:.2f}",
                f"{cpu / base:.2f}",
                f"{rss / 1e6:,.0f}",
                f"{rss / size:.1f}",
                f"{results[0]['rows']:,}" if engine != "json.loads" else "",
            ]
        )
    print(f"### One dump of {size / 1e6:.0f} MB, {services_for(megabytes):,} services\n")
    header = ["engine", "wall, s", "x json.loads", "CPU, s", "x json.loads (CPU)", "peak RSS, MB", "x file", "rows"]
    table(header, rows)
    file.unlink()


def scale(folder: Path, sizes: list[float]) -> None:
    """Tables of meshnb from dumps of several sizes."""
    rows = []
    for megabytes in sizes:
        file = folder / "dump.json"
        size = write(file, services_for(megabytes))
        results = [in_process("meshnb, four tables", file) for _ in range(3)]
        wall, cpu = (statistics.median(one[key] for one in results) for key in ("seconds", "cpu"))
        rss = max(one["rss"] for one in results)
        cells = [f"{size / 1e6:.0f}", f"{wall:.2f}", f"{cpu:.2f}", f"{cpu / size * 1e9:.1f}", f"{rss / 1e6:,.0f}"]
        rows.append([*cells, f"{rss / size:.1f}"])
        file.unlink()
    print("### Four tables by size\n")
    table(["dump, MB", "wall, s", "CPU, s", "CPU, ms per MB", "peak RSS, MB", "x file"], rows)


def cpu_seconds() -> float:
    """CPU time of this process and its children so far."""
    both = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(one.ru_utime + one.ru_stime for one in both)


def fleet(folder: Path, count: int) -> None:
    """Many dumps of 2 MB to tables over all of them, with one process and with all cores."""
    from meshnb.loaders.fleet import read_config_dumps

    warm()
    file = folder / "first.json"
    size = write(file, services_for(2))
    paths: dict[str, str | Path] = {}
    for number in range(count):
        path = folder / f"web-{number}.json"
        # the same file by another name: a fleet's dumps are alike, and the disk is not what is measured
        os.link(file, path)
        paths[f"web-{number}.team-0"] = path
    rows = []
    for workers in (1, os.cpu_count() or 1):
        begin, used = time.perf_counter(), cpu_seconds()
        dumps = read_config_dumps(paths, workers=workers)
        seconds, cpu = time.perf_counter() - begin, cpu_seconds() - used
        total = sum(map(len, dumps.tables.values()))
        speed = f"{count * size / 1e6 / seconds:.0f}"
        rows.append([str(workers), f"{seconds:.1f}", f"{cpu:.1f}", speed, f"{total:,}"])
    print(f"### {count:,} dumps of {size / 1e6:.1f} MB to tables over all proxies\n")
    table(["processes", "wall, s", "CPU, s", "MB per s", "rows"], rows)


def main() -> None:
    """Run everything, or one engine."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=float, default=100)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--scale", type=float, nargs="*", default=[10, 50, 100, 250, 500])
    parser.add_argument("--fleet", type=int, default=1000)
    parser.add_argument("--engine", choices=list(ENGINES), help=argparse.SUPPRESS)
    parser.add_argument("--file", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.engine:
        measure(arguments.engine, arguments.file)
        return
    import msgspec
    import pandas as pd
    import pyarrow as pa

    python = platform.python_version()
    print(f"{os.cpu_count()} cores, Python {python}, msgspec {msgspec.__version__}, pandas {pd.__version__}, ", end="")
    print(f"pyarrow {pa.__version__}\n")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if arguments.rounds:
            compare(folder, arguments.megabytes, arguments.rounds)
        if arguments.scale:
            scale(folder, arguments.scale)
        if arguments.fleet:
            fleet(folder, arguments.fleet)


if __name__ == "__main__":
    main()
