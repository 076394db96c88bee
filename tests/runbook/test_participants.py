"""S10-01: a verdict per participant, each with what it rests on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import meshnb
from meshnb.envoy.flags import count_flags
from meshnb.loaders.access_log import scan_access_log
from meshnb.model.finding import Findings
from meshnb.runbook.participants import participants
from tests.checks.tables import log, request

SERVER = {"upstream_cluster": "inbound|3000||", "upstream_host": "127.0.0.1:3000", "proxy": "catalog-v1.istioinaction"}


def verdicts(frame):
    return dict(zip(frame.participant, frame.verdict, strict=True))


@pytest.mark.parametrize(
    ("demo", "guilty"),
    [("healthy", []), ("missing-subset", ["gateway or calling proxy"]), ("slow-replica", ["application"])],
)
def test_the_lab_accuses_the_one_who_was_broken(demo, guilty):
    frame = meshnb.open(f"demo/{demo}").participants().df
    assert [name for name, verdict in verdicts(frame).items() if verdict == "fail"] == guilty
    assert frame.evidence.str.len().min() > 0


def test_without_a_log_nobody_is_acquitted():
    assert set(verdicts(participants(None, Findings())).values()) == {"unknown"}
    assert set(verdicts(participants(log(), Findings())).values()) == {"unknown"}


@pytest.mark.parametrize(
    ("row", "guilty"),
    [
        (request(503, "UH"), "gateway or calling proxy"),
        (request(503, "URX,UF"), "proxy of the service"),
        (request(403, "UAEX") | SERVER, "proxy of the service"),
        (request(503, "UC") | SERVER, "application"),
        (request(500) | SERVER, "application"),
    ],
)
def test_each_failure_is_laid_at_one_door(row, guilty):
    rows = log(row, request(200), request(200) | SERVER)
    assert [n for n, v in verdicts(participants(rows, Findings())).items() if v == "fail"] == [guilty]


def test_a_caller_that_hangs_up_accuses_nobody():
    rows = log(request(0, "DC"), request(0, "DC") | SERVER)
    assert "fail" not in verdicts(participants(rows, Findings())).values()


# asked, not loaded

DATA = Path(__file__).parents[1] / "data/logs"
SCENARIOS = json.loads((DATA / "by-scenario.json").read_text())
LOGS = sorted(path for path in DATA.iterdir() if path.suffix in (".log", ".jsonl"))


@pytest.mark.parametrize("demo", ["healthy", "missing-subset", "slow-replica", "slow-request"])
def test_flags_participants_and_skipped_lines_are_the_same_as_from_the_rows(demo):
    asked, loaded = meshnb.open(f"demo/{demo}"), meshnb.open(f"demo/{demo}")
    rows = loaded.access_log()
    assert asked.participants().df.equals(loaded.participants().df)
    for proxy in ("", *rows.proxy.dropna().unique()):
        assert asked.response_flags(proxy).equals(count_flags(loaded.access_log(proxy)["flag_set"]))
        assert asked.response_flags(proxy).equals(loaded.response_flags(proxy))
        assert asked.skipped_lines(proxy).equals(loaded.skipped_lines(proxy))
    assert not [key for key in asked._made if isinstance(key, tuple) and key[0] == "access_log"]


@pytest.mark.parametrize("path", LOGS, ids=lambda path: path.name)
def test_a_log_is_judged_the_same_asked_or_loaded(path):
    rows = meshnb.read_access_log(path)
    assert participants(scan_access_log(path), Findings()).equals(participants(rows, Findings()))


@pytest.mark.parametrize("name", SCENARIOS)
def test_scenarios_are_judged_the_same_asked_or_loaded(name, tmp_path):
    for pod, records in SCENARIOS[name].items():
        path = tmp_path / "logs" / f"{pod}.shop" / "istio-proxy.log"
        path.parent.mkdir(parents=True)
        path.write_text("".join(json.dumps(record) + "\n" for record in records))
    asked, rows = scan_access_log(tmp_path), meshnb.read_access_log(tmp_path)
    assert participants(asked, Findings()).equals(participants(rows, Findings()))


def test_the_window_holds_for_what_is_asked_too():
    rows = meshnb.open("demo/slow-replica").access_log()
    window = f"{rows.start_time.min().isoformat()}/3s"
    asked, loaded = (meshnb.open("demo/slow-replica", window=window) for _ in range(2))
    some = loaded.access_log()
    assert 0 < len(some) < len(rows)
    proxy = some.proxy.iloc[0]
    assert asked.response_flags(proxy).equals(loaded.response_flags(proxy))
    assert asked.participants().df.equals(loaded.participants().df)
