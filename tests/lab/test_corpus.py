"""A labelled corpus: every request has a cause, and the logs agree with it."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from meshnb.errors import UsageError
from meshnb.lab import lab as labs
from meshnb.lab.corpus import NONE, _single, record_corpus
from meshnb.lab.plan import LabHome
from meshnb.lab.scenarios import HEALTHY, SCENARIOS
from meshnb.sources.snapshot import Snapshot

from .logs import GATEWAY

pytestmark = [pytest.mark.lab, pytest.mark.slow]


def gateway_log(folder: Path) -> dict[str, dict]:
    snapshot = Snapshot.open(folder)
    (document,) = snapshot.documents("proxy_log", proxy=GATEWAY)
    found = (json.loads(line) for line in snapshot.read(document).splitlines() if line.startswith(b"{"))
    return {record["request_id"]: record for record in found}


@pytest.fixture(scope="module")
def corpus(running: LabHome, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus") / "out"
    scenarios = ("missing-subset", "failing-replica", "plaintext-to-strict")
    cases = list(record_corpus(folder, running, seed=3, requests=30, scenarios=scenarios, mixtures=2))
    assert [case.name for case in cases] == [*scenarios, "mixture-1", "mixture-2"]
    return folder


def test_every_request_of_the_truth_is_in_the_gateways_log_and_no_other(corpus: Path):
    truth = [json.loads(line) for line in (corpus / "truth.jsonl").read_text().splitlines()]
    for case in {line["case"] for line in truth}:
        log = gateway_log(corpus / case)
        lines = [line for line in truth if line["case"] == case]
        assert set(log) == {line["request_id"] for line in lines}
        assert all(log[line["request_id"]]["response_code"] == line["status"] for line in lines if line["status"])


def test_the_log_of_each_failed_request_fits_its_cause(corpus: Path):
    truth = [json.loads(line) for line in (corpus / "truth.jsonl").read_text().splitlines()]
    logs = {case: gateway_log(corpus / case) for case in {line["case"] for line in truth}}
    failed = [line for line in truth if line["cause"] != NONE and line["host"].startswith("catalog")]
    assert len({line["cause"] for line in failed}) >= 5
    for line in failed:
        record = logs[line["case"]][line["request_id"]]
        code, flags = record["response_code"], record["response_flags"]
        assert f"{code} {flags}" in {" ".join(o.split()[:2]) for o in SCENARIOS[line["cause"]].gateway}, line


def test_the_summary_counts_the_truth(corpus: Path):
    summary = json.loads((corpus / "corpus.json").read_text())
    truth = [json.loads(line) for line in (corpus / "truth.jsonl").read_text().splitlines()]
    assert summary["seed"] == 3
    assert sum(case["requests"] for case in summary["cases"]) == len(truth)
    for case in summary["cases"]:
        causes = [line["cause"] for line in truth if line["case"] == case["name"]]
        assert case["causes"] == {cause: causes.count(cause) for cause in sorted(set(causes))}


def test_the_same_seed_asks_the_same(running: LabHome, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(labs, "break_", lambda name, home: None)
    labs.heal(running)
    asked = []
    for _ in range(2):
        result, cause_of = _single(HEALTHY, running, random.Random(5), 20)
        asked.append([answer.request for answer in result.answers])
        assert {cause_of(answer) for answer in result.answers} == {NONE}
    assert asked[0] == asked[1]


def test_a_folder_with_something_in_it_is_refused(running: LabHome, tmp_path: Path):
    (tmp_path / "x").touch()
    with pytest.raises(UsageError, match="not empty"):
        next(record_corpus(tmp_path, running))
