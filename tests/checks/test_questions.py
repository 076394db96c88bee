"""The SQL that is stored says what the expressions say; no question of the causes needs Ibis."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import meshnb
from meshnb.checks import questions
from meshnb.checks.causes import causes, shares
from meshnb.checks.causes_assign import assign
from meshnb.checks.observed_calls import log_extent, observed_calls
from meshnb.checks.questions import QUESTIONS, STORED, Question

SCENARIOS = json.loads((Path(__file__).parents[1] / "data/logs/by-scenario.json").read_text())
CLOSED = [name for name, pods in SCENARIOS.items() if "UC" in json.dumps(pods)]
OTHERS = [name for name in SCENARIOS if name not in CLOSED]
DRAINED, LATE, REUSED = "a proxy ends", "answers come late", "connections close on reuse"
HEALTHY, BEFORE = SCENARIOS["0-healthy"], "2020-01-01T00:00:00.000Z"


def changed(pods: dict[str, list[Any]], count: int, **values: Any) -> dict[str, list[Any]]:
    """The first rows of each proxy with other values."""
    return {pod: [{**record, **values} for record in records[:count]] for pod, records in pods.items()}


SCENARIOS[DRAINED] = changed(HEALTHY, 2, response_flags="DC", response_code_details="downstream_local_disconnect")
SCENARIOS[LATE] = changed(
    HEALTHY, 9, response_code=504, response_flags="UT", response_code_details="response_timeout"
)  # fmt: skip
GOOD = {"response_code": 200, "response_flags": "-", "response_code_details": "via_upstream"}
SCENARIOS[REUSED] = {
    pod: [
        record
        for r in records
        if r["response_flags"] == "UC"
        for record in (r, *({**r, **GOOD, "request_id": f"before {n}", "start_time": BEFORE} for n in range(6)))
    ]
    for pod, records in SCENARIOS[CLOSED[-1]].items()
}


def write(folder: Path, names: list[str], *, pods: str = "") -> Path:
    """The logs of some scenarios, of all proxies or of those whose name begins so."""
    for name in names:
        for pod, records in SCENARIOS[name].items():
            if pod.startswith(pods):
                path = folder / f"{name.replace('/', '-')}-{pod}.log"
                path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return folder


def answers(folder: Path) -> list[Any]:
    """All that the causes and the calls say of a log."""
    log = meshnb.scan_access_log(folder)
    found = assign(log)
    failed = found.rows()
    findings = causes(access_log=log, routes=None, endpoints=None, pods=None)
    frames = (failed, shares(failed), observed_calls(log), log_extent(log))
    plain = [frame.astype(object).where(frame.notna(), None).values.tolist() for frame in frames]
    return [*plain, found.sides, found.recovered, [finding.to_dict() for finding in findings]]


def test_the_stored_sql_says_what_the_expressions_say(tmp_path, monkeypatch):
    """Else: `python scripts/make_sql.py`. Every question is asked, with every combination of switches."""
    choices = [CLOSED, OTHERS, [*CLOSED, DRAINED], [*OTHERS[:3], DRAINED], [LATE, REUSED], list(SCENARIOS)]
    folders = [tmp_path / str(number) for number in range(len(choices) + 2)]
    for folder in folders:
        folder.mkdir()
    for folder, names in zip(folders, choices, strict=False):
        write(folder, names)
    write(folders[-2], CLOSED[:1], pods="istio-ingressgateway")
    write(folders[-1], OTHERS, pods="catalog")
    asked: set[str] = set()

    def as_stored(question: Question, on: frozenset[str]) -> str:
        asked.update(file for file, which in question.variants() if which == on)
        return stored(question, on)

    stored = questions.stored
    monkeypatch.setattr(questions, "stored", as_stored)
    as_they_are = [answers(folder) for folder in folders]
    monkeypatch.setattr(questions, "stored", Question.compiled)
    assert [answers(folder) for folder in folders] == as_they_are
    assert len(as_they_are[5][0]) > 50, "many requests failed"
    assert {path.name for path in STORED.glob("*.sql")} - asked == set(), "never asked here"


@pytest.mark.parametrize("name", QUESTIONS)
def test_nothing_is_left_to_fill_in(name):
    question = QUESTIONS[name]
    for _, on in question.variants():
        values = {**dict.fromkeys(question.numbers, 42.5), **{switch: switch in on for switch in question.switches}}
        sql = question.sql([f"table_{kind}" for kind in question.tables], **values)
        assert "_here" not in sql and "77700" not in sql


def test_the_causes_of_a_log_need_no_ibis(tmp_path):
    folder = write(tmp_path, list(SCENARIOS))
    code = f"""
import sys, meshnb
from meshnb.checks.causes import causes
found = causes(access_log=meshnb.scan_access_log({str(folder)!r}), routes=None, endpoints=None, pods=None)
print(len(found), "ibis" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    count, ibis = done.stdout.split()
    assert int(count) > 10 and ibis == "False"


def test_two_questions_of_one_name_are_refused():
    def signatures(log):
        return log

    with pytest.raises(ValueError, match="has a question signatures already"):
        questions.question("log")(signatures)
