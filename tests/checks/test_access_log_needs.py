"""What the causes need of an access log: found by leaving columns out of recorded failures (S10-45)."""

from __future__ import annotations

from collections import Counter
from functools import cache
from pathlib import Path

import pandas as pd
import pytest

from meshnb.checks.access_log_needs import NEEDS
from meshnb.checks.causes import causes
from meshnb.checks.causes_assign import failed_requests

from .test_causes import SCENARIOS, scenario

IN_RECORDING = ("response_code", "response_flags", "response_code_details", "authority")
"""Columns that failures of the recording need; what needs the others is in the lab's corpus alone."""


@cache
def recorded() -> pd.DataFrame:
    """The access logs of all scenarios as one."""
    return pd.concat([scenario(name) for name in SCENARIOS], ignore_index=True)


def lacking_column(log: pd.DataFrame, column: str) -> pd.DataFrame:
    names = ["response_flags", "flag_set"] if column == "response_flags" else [column]
    names += ["response_code_details"] if NEEDS[column].instead else []
    return log.assign(**{name: pd.array([None] * len(log), log[name].dtype) for name in names})


def found_in(log: pd.DataFrame) -> dict[str, tuple[str, float]]:
    failed = failed_requests(log)
    return dict(zip(failed.request_id, zip(failed.cause, failed.confidence, strict=True), strict=True))


@cache
def found_whole() -> dict[str, tuple[str, float]]:
    return found_in(recorded())


@pytest.mark.parametrize("column", NEEDS)
def test_what_a_column_is_needed_for_is_what_recorded_failures_lose_without_it(column):
    """Half of the requests of a cause without their cause, or without its confidence: the column is needed for it.

    Whatever a log lacks, it is read, and what cannot be told is unknown.
    """
    had: Counter[str] = Counter()
    lost: Counter[str] = Counter()
    without = found_in(lacking_column(recorded(), column))
    assert without
    for key, (cause, confidence) in found_whole().items():
        now, sure = without.get(key, ("", 0.0))
        had[cause] += 1
        lost[cause] += now != cause or sure < 0.8 <= confidence
    if column in IN_RECORDING:
        needed = {cause for cause in had if lost[cause] >= had[cause] / 2} - {"unknown"}
        assert needed and needed <= set(NEEDS[column].causes)


def test_without_request_ids_a_gateway_that_passes_an_error_on_looks_guilty():
    log = scenario("3d-app-down")
    had, lost = (failed_requests(one).cause.value_counts() for one in (log, lacking_column(log, "request_id")))
    assert "application_error" not in had and lost["application_error"] == 2


@pytest.mark.parametrize("column", ["start_time", "duration_ms"])
def test_findings_are_worded_without_times_and_durations(column):
    bare = lacking_column(scenario("2-slow"), column)
    assert causes(access_log=bare, routes=None, endpoints=None, pods=None)


def test_the_documentation_has_the_same_table():
    text = (Path(__file__).parents[2] / "docs/causes.md").read_text(encoding="utf-8")
    for need in NEEDS.values():
        assert f"| `{need.operator}` | {', '.join(need.causes)} |" in text
