"""Explanations against a real Envoy, at length: 100,000 requests over 240 random route configurations, and more.

    python benchmarks/explain_differential.py [--configurations 240] [--requests 430] [--seed 1]

Prints the disagreements (there must be none) and the share of undecided explanations (there must be none either: every
kind of match the generator makes is one meshnb decides). Exits 1 otherwise. `docs/explain.md` has the result of a run.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests/envoy/explain"))

import explain_chains as chains
import explain_differential as routes
import explain_upstreams as upstreams

_AT_ONCE = 40


def in_batches(compare: Callable[[int, int], routes.Result], total: int, seed: int) -> routes.Result:
    """Run a comparison with a bounded number of configurations in one Envoy."""
    result = routes.Result()
    for number, start in enumerate(range(0, total, _AT_ONCE)):
        result += compare(seed * 1000 + number, min(_AT_ONCE, total - start))
    return result


def report(what: str, result: routes.Result, seconds: float) -> bool:
    """Print one comparison; whether it is clean."""
    share = result.undecided / max(result.requests, 1)
    kinds = ", ".join(f"{kind} {count:,}" for kind, count in result.kinds.most_common())
    print(f"{what}: {result.requests:,} over {result.configurations:,} configurations in {seconds:.0f} s")
    print(f"  mismatches {len(result.mismatches)}, undecided {result.undecided} ({share:.2%})")
    print(f"  {kinds}")
    for mismatch in result.mismatches[:10]:
        print(f"  {json.dumps(mismatch, default=str)[:600]}")
    return not result.mismatches and not result.undecided


def main() -> int:
    """Compare everything."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--configurations", type=int, default=240)
    parser.add_argument("--requests", type=int, default=430, help="for each configuration")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()

    def of_routes(seed: int, count: int) -> routes.Result:
        return routes.compare_routes(seed, configurations=count, requests=given.requests)

    def of_chains(seed: int, count: int) -> routes.Result:
        return chains.compare_chains(seed, listeners=count, connections=given.requests // 2)

    def of_clusters(seed: int, count: int) -> routes.Result:
        return upstreams.compare_clusters(seed, clusters=count)

    clean = True
    for what, compare in (("requests", of_routes), ("connections", of_chains), ("clusters", of_clusters)):
        started = time.perf_counter()
        result = in_batches(compare, given.configurations, given.seed)
        clean &= report(what, result, time.perf_counter() - started)
    return 0 if clean else 1


if __name__ == "__main__":
    sys.exit(main())
