"""Precision and recall per cause on a labelled corpus of the lab.

    meshnb lab up && meshnb lab corpus --out DIR --seed N
    python benchmarks/causes_corpus.py DIR [DIR …]

Prints a Markdown table. A request that was answered and took a second or more has the cause `slow_answer`. Confident
wrong answers (confidence of 0.8 and more) are counted by themselves: those are what must not happen.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import meshnb

# scenario of the lab -> causes it shows in the logs; several where Envoy logs several
CAUSES: dict[str, tuple[str, ...]] = {
    "missing-subset": ("missing_cluster",),
    "port-mismatch": ("missing_cluster",),
    "unknown-host": ("unknown_host",),
    "no-route": ("no_route",),
    "direct-response": ("direct_response",),
    "fault-abort": ("fault_abort",),
    "fault-delay": ("fault_delay",),
    "slow-replica": ("slow_replica",),
    "slow-service": ("slow_upstream",),
    "per-try-timeout": ("slow_upstream",),
    "client-gives-up": ("client_gave_up",),
    "failing-replica": ("application_error",),
    # where the caller's route does not retry, the application's own error is all there is
    "retries-exhausted": ("retries_exhausted", "application_error"),
    "outlier-ejection": ("application_error",),
    "all-ejected": ("outlier_ejection", "application_error"),
    "no-endpoints": ("no_healthy_upstream",),
    "app-down": ("connection_refused",),
    "dead-endpoint": ("connection_refused",),
    "frozen-endpoints": ("connection_refused",),
    "connect-timeout": ("connection_timed_out",),
    "connection-closed": ("connection_closed",),
    "connection-reset": ("connection_closed",),
    "keepalive-race": ("keepalive_race",),
    "restarting-sidecar": ("drain",),
    "protocol-error": ("protocol_error",),
    "circuit-breaker": ("circuit_breaker",),
    "plaintext-to-strict": ("plaintext_to_strict",),
    "mtls-to-plaintext": ("mtls_to_plaintext",),
    "san-mismatch": ("certificate_wrong_name",),
    "expired-certificate": ("certificate_expired",),
    "foreign-certificate": ("certificate_unknown_authority",),
    "rbac-denied": ("rbac_denied",),
    "rate-limited": ("rate_limited",),
}
CONFIDENT = 0.8
NONE = "none"


def judged(corpus: Path) -> list[tuple[str, str, str, float]]:
    """Case, true cause, cause found, confidence: one per request that has or is given a cause."""
    truth: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for line in (corpus / "truth.jsonl").read_text().splitlines():
        record = json.loads(line)
        truth[record["case"]].append(record)
    rows = []
    for case, records in truth.items():
        failed = meshnb.open(corpus / case).failed_requests()
        found = {i: (c, p) for i, c, p in zip(failed.request_id, failed.cause, failed.confidence, strict=True)}
        for record in records:
            cause, confidence = found.get(record["request_id"], (NONE, 1.0))
            late = record["cause"] == NONE and record["seconds"] >= 1.0
            wanted = ("slow_answer",) if late else CAUSES.get(record["cause"], (record["cause"],))
            true = cause if cause in wanted else wanted[0]
            if (true, cause) != (NONE, NONE):
                rows.append((case, true, cause, float(confidence)))
    return rows


def table(rows: list[tuple[str, str, str, float]]) -> str:
    """Precision and recall per cause as Markdown."""
    hits = Counter(true for _, true, found, _ in rows if true == found)
    wanted = Counter(true for _, true, _, _ in rows)
    given = Counter(found for _, _, found, _ in rows)
    sure = Counter(found for _, true, found, p in rows if true != found and p >= CONFIDENT and found != "unknown")
    lines = ["| cause | requests | precision | recall | confident and wrong |", "|---|---|---|---|---|"]
    for cause in sorted((set(wanted) | set(given)) - {NONE}):
        precision = f"{hits[cause] / given[cause]:.3f}" if given[cause] else "-"
        recall = f"{hits[cause] / wanted[cause]:.3f}" if wanted[cause] else "-"
        lines.append(f"| {cause} | {wanted[cause]} | {precision} | {recall} | {sure[cause]} |")
    total = sum(count for cause, count in hits.items())
    lines.append(f"| **all** | {len(rows)} | | {total / len(rows):.3f} | {sum(sure.values())} |")
    return "\n".join(lines)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("corpus", type=Path, nargs="+")
    everything = [row for corpus in parser.parse_args().corpus for row in judged(corpus)]
    for case, true, found, confidence in everything:
        if true != found:
            print(f"{case}: {true} taken for {found} ({confidence:.2f})", file=sys.stderr)
    print(table(everything))
