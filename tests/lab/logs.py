"""Reading the lab's logs in tests."""

from __future__ import annotations

import json
import re
import time
from typing import Any

from meshnb.lab.plan import PODS, LabHome
from meshnb.lab.traffic import TrafficResult

GATEWAY = PODS[0].proxy


def records(home: LabHome, proxy: str, answers: TrafficResult, *, seconds: float = 10.0) -> list[dict[str, Any]]:
    """What a proxy logged of these requests, once it has logged all of them or time is up."""
    wanted = {answer.request_id for answer in answers.answers}
    deadline = time.monotonic() + seconds
    while True:
        found = [record for record in every_record(home, proxy) if record["request_id"] in wanted]
        if {record["request_id"] for record in found} == wanted or time.monotonic() > deadline:
            return found
        time.sleep(0.05)


def every_record(home: LabHome, proxy: str) -> list[dict[str, Any]]:
    """All access records of a proxy."""
    lines = home.log(f"envoy:{proxy}").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines if line.startswith("{")]


def outcomes(found: list[dict[str, Any]]) -> set[tuple[int, str, str]]:
    """Codes, flags and details; of the details only what stands before the first `{` or `(`."""
    return {
        (r["response_code"], r["response_flags"], re.split("[{(]", r["response_code_details"] or "")[0]) for r in found
    }
