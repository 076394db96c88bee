"""Causes against the lab's own truth: what broke the mesh is what the logs are found to say."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

import meshnb
from meshnb.lab.corpus import record_corpus
from meshnb.lab.plan import LabHome
from meshnb.lab.scenarios import SCENARIOS

pytestmark = [pytest.mark.slow, pytest.mark.lab]

SCRIPT = Path(__file__).parents[2] / "benchmarks/causes_corpus.py"
CHOSEN = ("missing-subset", "slow-replica", "app-down", "keepalive-race", "plaintext-to-strict", "rbac-denied")


def score():
    """The benchmark's own rules of judging."""
    spec = importlib.util.spec_from_file_location("causes_corpus", SCRIPT)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_causes_are_those_that_broke_the_lab(lab: LabHome, tmp_path: Path):
    """The first cause of each scenario is the true one; on the mixture the shares are within one percentage point."""
    cases = list(record_corpus(tmp_path, lab, seed=5, requests=60, scenarios=CHOSEN, mixtures=1))
    rows = score().judged(tmp_path)
    wrong = [row for row in rows if row[1] != row[2]]
    assert len(wrong) <= 0.02 * len(rows), wrong
    for case in cases:
        mesh = meshnb.open(tmp_path / case.name)
        first = mesh.cause_shares().cause[0]
        if case.name in CHOSEN:
            assert first == score().CAUSES[case.name][0]
            continue
        shares = dict(zip(mesh.cause_shares().cause, mesh.cause_shares().share, strict=True))
        truth: dict[str, int] = {}
        for line in (tmp_path / "truth.jsonl").read_text().splitlines():
            record = json.loads(line)
            if record["case"] == case.name and record["cause"] in SCENARIOS:
                cause = score().CAUSES[record["cause"]][0]
                truth[cause] = truth.get(cause, 0) + 1
        for cause, count in truth.items():
            assert shares.get(cause, 0.0) == pytest.approx(count / case.requests, abs=0.01)
