"""Reading an access log: meshnb against pandas, polars, pyarrow, chdb, orjson and the bare DuckDB query.

    python benchmarks/access_log.py DIR [--lines 2000000] [--rounds 3] [--only all-json,group-json] [--engines meshnb]

DIR gets the logs if they are not there yet. Each run is a new process; engines take turns, so that a change of the
machine's load hits them alike; engines that take half a minute run once. Shown are medians of wall time and CPU time
and the highest peak of memory, and at the end what was aimed at. Engines that are not installed are named and left out.
"""

from __future__ import annotations

import argparse
import gzip
import importlib.util
import itertools
import json
import os
import shutil
import statistics
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

NUMBERS = ("response_code", "bytes_received", "bytes_sent", "duration", "upstream_service_time")
GROUP = ["upstream_cluster", "flag_set"]
Run = Callable[[str], Any]


def _spec() -> dict[str, str]:
    from meshnb.loaders.access_log_format import JSON_KEYS

    return {k: "BIGINT" if k in NUMBERS else "TIMESTAMP" if k == "start_time" else "VARCHAR" for k in JSON_KEYS}


def _meshnb_all(path: str) -> Any:
    import meshnb

    return meshnb.read_access_log(path)


def _meshnb_group(path: str) -> Any:
    import meshnb

    return meshnb.scan_access_log(path).group(*GROUP)


def _meshnb_assigned(path: str) -> Any:
    """A cause for each failed request."""
    import meshnb
    from meshnb.checks.causes_assign import failed_requests

    return failed_requests(meshnb.scan_access_log(path))


def _meshnb_causes(path: str) -> Any:
    """And the findings: subjects, evidence, where each cause is more frequent than elsewhere, fixes."""
    import meshnb
    from meshnb.checks.causes import causes

    return causes(access_log=meshnb.scan_access_log(path), routes=None, endpoints=None, pods=None)


def _duckdb_all_json(path: str) -> Any:
    """The floor: the engine alone, told the types, nothing checked and nothing added."""
    import duckdb

    columns = ", ".join(f"{key}: '{kind}'" for key, kind in _spec().items())
    return _frame(duckdb.sql(f"FROM read_json('{path}', format='newline_delimited', columns={{{columns}}})"))


def _duckdb_all_text(path: str) -> Any:
    import duckdb

    return _frame(duckdb.sql(f"FROM {_split_by_hand(path)}"))


def _frame(rows: Any) -> Any:
    import pandas as pd

    return rows.to_arrow_table().to_pandas(types_mapper=pd.ArrowDtype)


def _duckdb_group_json(path: str) -> Any:
    """The same summary written by hand: same columns, same meaning of failed."""
    import duckdb

    keys = ("upstream_cluster", "response_flags", "duration", "response_code", "response_code_details", "method")
    columns = ", ".join(f"{k}: '{_spec()[k]}'" for k in keys)
    return duckdb.sql(_by_hand(f"read_json('{path}', format='newline_delimited', columns={{{columns}}})"))


def _duckdb_group_text(path: str) -> Any:
    import duckdb

    return duckdb.sql(_by_hand(f"(SELECT *, request AS method FROM {_split_by_hand(path)})"))


def _split_by_hand(path: str) -> str:
    known = {1: "request", 2: "response_code", 3: "response_flags", 4: "response_code_details", 9: "duration"}
    known[16] = "upstream_cluster"
    names = [known.get(i, f"c{i}") for i in range(22)]
    columns = ", ".join(f"{n}: '{'BIGINT' if n in NUMBERS else 'VARCHAR'}'" for n in names)
    options = f"delim=' ', quote='\"', header=false, auto_detect=false, columns={{{columns}}}, nullstr='-'"
    return f"read_csv('{path}', {options})"


def _by_hand(source: str) -> str:
    return f"""
SELECT upstream_cluster, response_flags, count(*) AS requests, avg((response_code >= 500
    OR (response_flags IS NOT NULL AND response_flags NOT IN ('-', 'DI', 'RFCF'))
    OR (response_code >= 400 AND response_code_details <> 'via_upstream')
    OR (response_code = 0 AND method IS NOT NULL))::INTEGER) AS error_rate,
  quantile_cont(duration::DOUBLE, [0.5, 0.9, 0.99]) AS quantiles FROM {source} GROUP BY ALL ORDER BY requests DESC"""


def _pandas_default(path: str) -> Any:
    import pandas as pd

    return pd.read_json(path, lines=True)


def _pandas_pyarrow(path: str) -> Any:
    import pandas as pd

    return pd.read_json(path, lines=True, engine="pyarrow")


def _pandas_pyarrow_dtypes(path: str) -> Any:
    import pandas as pd

    return pd.read_json(path, lines=True, engine="pyarrow", dtype_backend="pyarrow")


def _pyarrow_json(path: str) -> Any:
    import pandas as pd
    import pyarrow.json

    return pyarrow.json.read_json(path).to_pandas(types_mapper=pd.ArrowDtype)


def _polars_all(path: str) -> Any:
    import polars as pl

    return pl.scan_ndjson(path).collect().to_pandas(use_pyarrow_extension_array=True)


def _polars_group(path: str) -> Any:
    import polars as pl

    return (
        pl.scan_ndjson(path)
        .group_by("upstream_cluster", "response_flags")
        .agg(
            pl.len(),
            (pl.col("response_code") >= 500).mean(),
            *(pl.col("duration").quantile(q).alias(f"q{q}") for q in (0.5, 0.9, 0.99)),
        )
        .collect()
    )


def _chdb_all(path: str) -> Any:
    import chdb
    import pandas as pd

    types = ", ".join(f"{k} Nullable({'Int64' if k in NUMBERS else 'String'})" for k in _spec())
    table = chdb.query(f"SELECT * FROM file('{path}', 'JSONEachRow', '{types}')", "ArrowTable")
    return table.to_pandas(types_mapper=pd.ArrowDtype)


def _orjson_lines(path: str) -> Any:
    import orjson
    import pandas as pd

    columns: dict[str, list[Any]] = {key: [] for key in _spec()}
    with Path(path).open("rb") as file:
        for line in file:
            record = orjson.loads(line)
            for key, values in columns.items():
                values.append(record.get(key))
    return pd.DataFrame(columns)


def _regex_lines(path: str) -> Any:
    import re

    import pandas as pd

    from meshnb.loaders.access_log_format import TEXT_FORMATS, TextFormat

    text_format = TextFormat("istio", TEXT_FORMATS["istio"])
    pattern = re.compile(text_format.regex)
    with gzip.open(path, "rt") if path.endswith(".gz") else Path(path).open() as file:
        rows = [match.groups() for line in file if (match := pattern.match(line))]
    return pd.DataFrame(rows, columns=text_format.columns)


def _polars_split(path: str) -> Any:
    import polars as pl

    line = pl.col("line")
    quoted = line.str.split('"')
    parts = {1: 3, 2: 6, 4: 6, 14: 8}  # segment -> pieces between its spaces
    fields = [quoted.list.get(i).alias(f"q{i}") for i in (0, 3, 5, 7, 9, 11, 13)]
    fields += [
        quoted.list.get(i).str.split(" ").list.get(k, null_on_oob=True).alias(f"s{i}_{k}")
        for i, count in parts.items()
        for k in range(count)
    ]
    lines = pl.scan_csv(path, has_header=False, new_columns=["line"], separator="\x1f", quote_char=None)
    return lines.select(fields).collect().to_pandas(use_pyarrow_extension_array=True)


CAUSES: dict[str, Run] = {
    "meshnb": _meshnb_assigned,
    "meshnb, with findings": _meshnb_causes,
    "the summary": _meshnb_group,
}
ENGINES: dict[str, dict[str, Run]] = {
    "all-json": {
        "meshnb": _meshnb_all,
        "polars": _polars_all,
        "pyarrow": _pyarrow_json,
        "chdb": _chdb_all,
        "duckdb by hand": _duckdb_all_json,
        "pandas pyarrow": _pandas_pyarrow,
        "pandas pyarrow, Arrow dtypes": _pandas_pyarrow_dtypes,
        "orjson per line": _orjson_lines,
        "pandas": _pandas_default,
    },
    "all-text": {
        "meshnb": _meshnb_all,
        "polars split": _polars_split,
        "duckdb by hand": _duckdb_all_text,
        "re per line": _regex_lines,
    },
    "group-json": {
        "meshnb": _meshnb_group,
        "duckdb by hand": lambda path: _duckdb_group_json(path).to_arrow_table(),
        "duckdb by hand to pandas": lambda path: _frame(_duckdb_group_json(path)),
        "polars": _polars_group,
    },
    "group-text": {
        "meshnb": _meshnb_group,
        "duckdb by hand": lambda path: _duckdb_group_text(path).to_arrow_table(),
        "duckdb by hand to pandas": lambda path: _frame(_duckdb_group_text(path)),
    },
    "causes-json": CAUSES,
    "causes-text": CAUSES,
    "all-json-gz": {"meshnb": _meshnb_all, "chdb": _chdb_all, "polars": _polars_all, "pandas pyarrow": _pandas_pyarrow},
    "all-json-zst": {"meshnb": _meshnb_all, "chdb": _chdb_all, "polars": _polars_all},
    "all-text-gz": {"meshnb": _meshnb_all, "re per line": _regex_lines},
    "all-text-zst": {"meshnb": _meshnb_all},
    "group-json-10gb": {"meshnb": _meshnb_group},
    "group-text-10gb": {"meshnb": _meshnb_group},
}
FILES = {"json": "access.jsonl", "text": "access.log"}
SLOW = ("pandas", "orjson per line", "re per line")
# job, against which engine, how many times as fast by the wall clock
AIMS = [
    ("all-json", "pandas", 25.0),
    ("all-json", "pandas pyarrow", 3.0),
    ("all-json", "pandas pyarrow, Arrow dtypes", 3.0),
    ("all-json", "polars", 1.8),
    ("all-json", "pyarrow", 1.8),
    ("all-json", "chdb", 1.8),
    ("all-text", "re per line", 8.0),
    ("all-text", "polars split", 1.5),
    *((f"group-{kind}", f"duckdb by hand{how}", 1 / 1.15) for kind in ("json", "text") for how in ("", " to pandas")),
]
_CHILD = """
import json, os, resource, runpy, sys, time
begin, work = time.perf_counter(), runpy.run_path({script!r})
result = work["ENGINES"][{job!r}][{engine!r}]({path!r})
usage = resource.getrusage(resource.RUSAGE_SELF)
print(json.dumps([time.perf_counter() - begin, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, len(result)]))
sys.stdout.flush()
os._exit(0)
"""


def measure(job: str, engine: str, path: Path) -> tuple[list[float] | None, str]:
    """Wall seconds, CPU seconds, peak MB and rows of one run in a new process; else why there is none."""
    code = _CHILD.format(script=__file__, job=job, engine=engine, path=str(path))
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, env={**os.environ}, check=False
    )
    if done.returncode:
        return None, (done.stderr.strip().splitlines() or ["no message"])[-1]
    return json.loads(done.stdout.splitlines()[-1]), ""


def log_of(folder: Path, job: str, *, lines: int) -> Path:
    """The log of a job such as `all-json-gz`, made if it is not there."""
    _, encoding, *kind = job.split("-")
    plain = folder / FILES[encoding]
    if not plain.exists():
        spec = importlib.util.spec_from_file_location("generator", Path(__file__).with_name("access_log_generator.py"))
        generator = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(generator)
        generator.write(folder, lines=lines, seed=1)
    if not kind:
        return plain
    path = folder / f"{plain.name}.{kind[0]}" if kind[0] != "10gb" else folder / f"10gb-{plain.name}"
    if not path.exists():
        with _packed(path) as out:
            for _ in range(1 if kind[0] != "10gb" else round(10e9 / plain.stat().st_size)):
                with plain.open("rb") as source:
                    shutil.copyfileobj(source, out, 1 << 20)
    return path


def _packed(path: Path) -> Any:
    if path.suffix == ".gz":
        return gzip.open(path, "wb", compresslevel=6)
    if path.suffix == ".zst":
        import zstandard

        return zstandard.open(path, "wb")
    return path.open("wb")


def main() -> None:
    """Measure and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="where the logs lie, or are to lie")
    parser.add_argument("--lines", type=int, default=2_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default=",".join(ENGINES))
    parser.add_argument("--engines", default="")
    arguments = parser.parse_args()
    wanted = set(filter(None, arguments.engines.split(",")))
    medians: dict[tuple[str, str], list[float]] = {}
    for job in arguments.only.split(","):
        path = log_of(arguments.folder, job, lines=arguments.lines)
        engines = [engine for engine in ENGINES[job] if not wanted or engine in wanted]
        print(f"\n### {job}: {path.name}, {path.stat().st_size / 1e6:.0f} MB\n")
        print("| engine | wall, s | CPU, s | peak, MB | x wall | x CPU |\n|---|---|---|---|---|---|", flush=True)
        for engine, values, why in run_job(job, engines, path, rounds=arguments.rounds):
            if not values:
                print(f"| {engine} | not run: {why[:80]} | | | | |")
                continue
            wall, cpu, _, _ = medians[job, engine] = [statistics.median(column) for column in zip(*values, strict=True)]
            base = medians.get((job, "meshnb"))
            ratio = f"{wall / base[0]:.2f} | {cpu / base[1]:.2f}" if base else "|"
            print(f"| {engine} | {wall:.2f} | {cpu:.2f} | {max(v[2] for v in values):.0f} | {ratio} |", flush=True)
    print_aims(medians)


def run_job(job: str, engines: list[str], path: Path, *, rounds: int) -> list[tuple[str, list[list[float]], str]]:
    """All engines in turns: name, measurements, and why there are none."""
    runs: dict[str, list[list[float]]] = {engine: [] for engine in engines}
    missing: dict[str, str] = {}
    for number in range(rounds):
        first = number % len(engines)  # each begins a round once: what ran before leaves the memory in another state
        for engine in engines[first:] + engines[:first]:
            if engine in missing or (runs[engine] and engine in SLOW):
                continue
            values, why = measure(job, engine, path)
            if values is None:
                missing[engine] = why
            else:
                runs[engine].append(values)
    return [(engine, runs[engine], missing.get(engine, "")) for engine in engines]


def print_aims(medians: dict[tuple[str, str], list[float]]) -> None:
    """What was aimed at against what was measured, by the wall clock."""
    print("\n### Against what was aimed at\n\n| aim | measured | met |\n|---|---|---|")
    for job, engine, aim in AIMS:
        if (job, engine) in medians and (job, "meshnb") in medians:
            found = medians[job, engine][0] / medians[job, "meshnb"][0]
            aimed = f"at least {aim:g} x" if aim > 1 else f"at most {1 / aim:g} x the time of"
            shown = f"{found:.1f} x" if aim > 1 else f"{1 / found:.2f} x"
            print(f"| {job}: {aimed} {engine} | {shown} | {'yes' if found >= aim else 'no'} |")
    for encoding, engine in itertools.product(FILES, ("meshnb", "meshnb, with findings")):
        job = f"causes-{encoding}"
        if (job, engine) in medians and (job, "the summary") in medians:
            found = medians[job, engine][0] / medians[job, "the summary"][0]
            what = f"{job}{engine.removeprefix('meshnb')}"
            print(f"| {what}: below 4 x the summary | {found:.1f} x | {'yes' if found < 4 else 'no'} |")


if __name__ == "__main__":
    main()
