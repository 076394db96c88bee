"""A log is asked, not loaded, by the runbook what-is-failing: the same answers, without its rows in memory."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import meshnb
from meshnb.envoy.flags import count_flags
from meshnb.loaders.access_log import scan_access_log
from meshnb.model.finding import Findings
from meshnb.runbook.participants import participants

DATA = Path(__file__).parents[1] / "data/logs"
SCENARIOS = json.loads((DATA / "by-scenario.json").read_text())
LOGS = sorted(path for path in DATA.iterdir() if path.suffix in (".log", ".jsonl"))


DEMOS = ["healthy", "missing-subset", "slow-replica", "slow-request"]


def holds_rows(mesh):
    """Whether the rows of any log were read into memory."""
    return any(isinstance(key, tuple) and key[0] == "access_log" for key in mesh._made)


@pytest.mark.parametrize("demo", DEMOS)
def test_flags_participants_and_skipped_lines_are_the_same_as_from_the_rows(demo):
    asked, loaded = meshnb.open(f"demo/{demo}"), meshnb.open(f"demo/{demo}")
    rows = loaded.access_log()
    assert asked.participants().df.equals(loaded.participants().df)
    for proxy in ("", *rows.proxy.dropna().unique()):
        assert asked.response_flags(proxy).equals(count_flags(loaded.access_log(proxy)["flag_set"]))
        assert asked.response_flags(proxy).equals(loaded.response_flags(proxy))
        assert asked.skipped_lines(proxy).equals(loaded.skipped_lines(proxy))
    assert holds_rows(loaded) and not holds_rows(asked)


@pytest.mark.parametrize("demo", DEMOS)
def test_what_the_runbook_what_is_failing_asks_is_the_same_as_from_the_rows(demo):
    asked, loaded = meshnb.open(f"demo/{demo}"), meshnb.open(f"demo/{demo}")
    loaded.access_log()
    for code in ("MNB0210", "MNB0257", "MNB0258", "MNB0259"):
        assert asked.check(code).frame.equals(loaded.check(code).frame)
    assert asked.cause_shares().equals(loaded.cause_shares())
    assert asked.baselines().df.equals(loaded.baselines().df)
    assert asked.reporter_gap() == loaded.reporter_gap()
    for host in ("", "catalog.istioinaction.io", "nobody.example"):
        assert asked.success_by_reporter(host).df.equals(loaded.success_by_reporter(host).df)
        for failed in (True, False):
            assert asked.both_sides(host, failed=failed).df.equals(loaded.both_sides(host, failed=failed).df)
    assert holds_rows(loaded) and not holds_rows(asked)


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
