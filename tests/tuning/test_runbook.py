"""The runbooks `control-plane` and `mesh-health`, run as a user runs them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from meshnb.cli import main

SNAPSHOTS = Path(__file__).parents[1] / "data" / "control-plane"

RUNS = {
    "healthy": ("healthy", "pass", 0),
    "incoming": ("incoming", "fail", 79),
    "outgoing": ("outgoing", "fail", 79),
    "saturated": ("saturated-only", "fail", 79),
    "throttled": ("throttled", "fail", 79),
    "rejects": ("rejects", "fail", 79),
    "unbalanced": ("unbalanced", "fail", 79),
    "no-data": ("no-data", "unknown", 0),
    "api-server": ("api-server", "fail", 79),
}


def _run(name: str, out: Path, *parameters: str) -> tuple[int, dict[str, dict]]:
    given = [word for parameter in parameters for word in ("-p", parameter)]
    code = main(["run", name, *given, "--out", str(out)])
    found = json.loads((out / "findings.json").read_text())["findings"]
    return code, {finding["code"]: finding for finding in found}


@pytest.mark.slow
@pytest.mark.parametrize("name", RUNS)
def test_each_snapshot_gives_its_branch_and_exit_code(name, tmp_path):
    """Nothing but recorded answers: the right end of the tree, and 79 or 0; no data is unknown, not healthy."""
    end, status, code = RUNS[name]
    found_code, findings = _run("control-plane", tmp_path, f"source={SNAPSHOTS / name}")
    assert (found_code, findings["MNB0354"]["status"]) == (code, status)
    if status == "fail":
        assert f"({end})" in findings["MNB0354"]["summary"]
    if name == "no-data":
        assert {finding["status"] for finding in findings.values()} == {"unknown"}


@pytest.mark.slow
def test_the_demo_needs_nothing_but_meshnb(tmp_path):
    code, findings = _run("control-plane", tmp_path)
    assert code == 79
    assert "(incoming)" in findings["MNB0354"]["summary"]
    assert findings["MNB0354"]["fix"]


@pytest.mark.slow
def test_the_morning_report_says_what_was_not_captured(tmp_path):
    code, findings = _run("mesh-health", tmp_path)
    assert code == 0
    assert findings["MNB0310"]["status"] == "pass"
    assert findings["MNB0350"]["status"] == "unknown"
