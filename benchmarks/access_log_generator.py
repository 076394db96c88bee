"""Write an access log of any size, in Istio's JSON and TEXT formats, the same requests in both.

    python benchmarks/access_log_generator.py OUT --lines 2000000 [--seed 1] [--failing 0.1]

Rows are drawn from records of real Envoys in many scenarios (`tests/data/logs/by-scenario.json`), mostly successful
ones, with new ids, times, durations, paths and clients. OUT gets `access.jsonl` and `access.log`.
"""

from __future__ import annotations

import argparse
import json
import random
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

DATA = Path(__file__).parents[1] / "tests/data/logs/by-scenario.json"
TEXT = (
    '[{start_time}] "{method} {path} {protocol}" {response_code} {response_flags} {response_code_details} '
    '{connection_termination_details} "{upstream_transport_failure_reason}" {bytes_received} {bytes_sent} {duration} '
    '{upstream_service_time} "{x_forwarded_for}" "{user_agent}" "{request_id}" "{authority}" "{upstream_host}" '
    "{upstream_cluster} {upstream_local_address} {downstream_local_address} {downstream_remote_address} "
    "{requested_server_name} {route_name}\n"
)


def records() -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Recorded rows: those that went well, and those that did not."""
    scenarios = json.loads(DATA.read_text())
    rows = [r for pods in scenarios.values() for rows in pods.values() for r in rows if r["method"]]
    good = [r for r in rows if r["response_code"] == 200]
    return good, [r for r in rows if r["response_code"] != 200]


def write(out: Path, *, lines: int, seed: int, failing: float = 0.1) -> None:
    """Write both files; a share of the requests fails."""
    dice = random.Random(seed)
    good, bad = records()
    time = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)
    out.mkdir(parents=True, exist_ok=True)
    with (out / "access.jsonl").open("w") as as_json, (out / "access.log").open("w") as as_text:
        for _ in range(lines):
            time += timedelta(milliseconds=dice.randrange(4))
            record = dict(dice.choice(bad) if dice.random() < failing else dice.choice(good))
            record["start_time"] = time.strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
            record["request_id"] = f"{dice.getrandbits(32):08x}-dc50-4927-8770-{dice.getrandbits(48):012x}"
            if record["response_code"] == 200:
                record["duration"] = int(dice.lognormvariate(2.5, 1.2))
            record["path"] = f"/items/{dice.randrange(5000)}"
            record["user_agent"] = dice.choice(("Mozilla/5.0 (X11; Linux x86_64)", "curl/8.1", "shop-mobile/4.2"))
            as_json.write(json.dumps(record, separators=(",", ":")) + "\n")
            as_text.write(TEXT.format(**{k: "-" if v is None else v for k, v in record.items()}))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--lines", type=int, default=2_000_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--failing", type=float, default=0.1)
    arguments = parser.parse_args()
    write(arguments.out, lines=arguments.lines, seed=arguments.seed, failing=arguments.failing)
