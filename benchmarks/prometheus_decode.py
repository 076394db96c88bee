"""Decode a `query_range` answer to a tidy frame, beside the ways people use today; each in a process of its own.

    python benchmarks/prometheus_decode.py [--mb 50] [--rounds 5] [--peers PYTHON]

Prints seconds (median), ratio to meshnb, and peak resident memory above that of the imports. meshnb does not use
prometheus-pandas: `--peers` names the Python of an environment that has it, with requests, pyarrow and the same pandas.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

WAYS = {
    "meshnb": """
from meshnb.loaders.prometheus import read_samples
def run(raw): return read_samples(raw)
""",
    "prometheus-api-client MetricRangeDataFrame": """
import json, warnings
warnings.simplefilter("ignore")
from prometheus_api_client import MetricRangeDataFrame
def run(raw): return MetricRangeDataFrame(json.loads(raw)["data"]["result"])
""",
    "json and pandas, the usual loop": """
import json, pandas as pd
def run(raw):
    parts = []
    for series in json.loads(raw)["data"]["result"]:
        part = pd.DataFrame(series["values"], columns=["time", "value"])
        part["time"] = pd.to_datetime(part["time"], unit="s", utc=True)
        part["value"] = part["value"].astype(float)
        parts.append(part.assign(**series["metric"]))
    return pd.concat(parts, ignore_index=True)
""",
}

# one column per series, named after all its labels, and no time zone: less than a tidy frame
PEER = {
    "prometheus-pandas to_pandas": """
import json
from prometheus_pandas.query import to_pandas
def run(raw): return to_pandas(json.loads(raw)["data"])
""",
}

RUN = """
import resource, sys, time
import numpy, pandas, pyarrow
exec(sys.argv[1])
raw = open(sys.argv[2], "rb").read()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
start = time.perf_counter()
frame = run(raw)
seconds = time.perf_counter() - start
memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
print(seconds, memory, frame["value"].size if "value" in frame else frame.size)
"""


def answer(mb: int) -> str:
    """A range answer of about so many megabytes: series of 1,000 points with labels as istiod's are."""
    rng = random.Random(1)
    series, size, number = [], 0, 0
    while size < mb << 20:
        metric = {
            "__name__": "istio_requests_total",
            "destination_service": f"svc-{number % 400}.shop.svc.cluster.local",
            "pod": f"web-{number}",
            "response_code": rng.choice(["200", "404", "503", "504"]),
            "reporter": rng.choice(["source", "destination"]),
        }
        value, values = 0.0, []
        for i in range(1000):
            value += rng.random() * 9
            values.append([1_700_000_000 + 15 * i, f"{value:.6f}"])
        text = json.dumps({"metric": metric, "values": values}, separators=(",", ":"))
        series.append(text)
        size += len(text)
        number += 1
    return '{"status":"success","data":{"resultType":"matrix","result":[' + ",".join(series) + "]}}"


def main() -> None:
    """Run every way in turn, so that a busy machine hits all alike."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mb", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--peers", metavar="PYTHON", help="Python of an environment with prometheus-pandas")
    arguments = parser.parse_args()
    ways = {name: (sys.executable, code) for name, code in WAYS.items()}
    if arguments.peers:
        ways |= {name: (arguments.peers, code) for name, code in PEER.items()}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "answer.json"
        file.write_text(answer(arguments.mb))
        taken: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
        rows = set()
        for _ in range(arguments.rounds):
            for name, (python, code) in ways.items():
                done = subprocess.run([python, "-c", RUN, code, str(file)], check=True, capture_output=True, text=True)
                seconds, memory, samples = map(float, done.stdout.split())
                rows.add(samples)
                taken[name].append((seconds, memory / 1024))
        if len(rows) > 1:
            sys.exit(f"the ways do not agree on the number of samples: {sorted(rows)}")
        print(f"{file.stat().st_size / 1e6:.0f} MB, {rows.pop():,.0f} samples, {arguments.rounds} rounds, medians")
        medians = {name: [statistics.median(column) for column in zip(*of, strict=True)] for name, of in taken.items()}
        own = medians["meshnb"]
        for name, (seconds, memory) in medians.items():
            print(
                f"{name:<45} {seconds:6.2f} s  {seconds / own[0]:5.1f} x   {memory:6.0f} MB  {memory / own[1]:5.1f} x"
            )


if __name__ == "__main__":
    main()
