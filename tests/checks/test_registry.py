"""Running a check: absent tables make it `unknown`, gaps are said, codes are unique."""

from __future__ import annotations

import pandas as pd
import pytest

from meshnb.checks import registry
from meshnb.checks.registry import Check
from meshnb.errors import UsageError
from meshnb.model.finding import Finding, Severity, Status, Subject


class Tables:
    def __init__(self, frames, *, absent=None, gaps=None):
        self.frames, self._absent, self._gaps = frames, absent or {}, gaps or {}

    def table(self, name):
        return self.frames[name]

    def absent(self, name):
        return self._absent.get(name, "")

    def gaps(self, name):
        return self._gaps.get(name, [])


def look(*, routes, pods):
    status = Status.FAIL if len(routes) else Status.PASS
    return [Finding("MNB9999", status, Severity.ERROR, Subject("Mesh"), f"pods known: {pods is not None}")]


CHECK = Check("MNB9999", "Is all well?", ("routes",), ("pods",), Severity.ERROR, look)
EMPTY = pd.DataFrame()


def test_a_required_table_that_is_absent_makes_the_check_unknown():
    (finding,) = registry.run(CHECK, Tables({"pods": EMPTY}, absent={"routes": "no config_dump"}))
    assert finding.status is Status.UNKNOWN
    assert "no config_dump" in finding.summary


def test_a_used_table_that_is_absent_comes_as_none():
    (finding,) = registry.run(CHECK, Tables({"routes": EMPTY}, absent={"pods": "not captured"}))
    assert finding.summary == "pods known: False"


def test_gaps_are_said_beside_what_was_found():
    found = registry.run(CHECK, Tables({"routes": EMPTY, "pods": EMPTY}, gaps={"routes": ["a was not captured"]}))
    assert [f.status for f in found] == [Status.PASS, Status.UNKNOWN]
    assert "a was not captured" in found[1].summary


def test_every_registered_check_asks_a_question_and_is_found_by_its_code():
    for code, check in registry.registered().items():
        assert code == check.code
        assert check.question.endswith("?")
        assert check.requires or check.uses
        assert registry.find(code) is check


def test_an_unknown_code_suggests_the_nearest():
    with pytest.raises(UsageError, match="no check"):
        registry.find("MNB010")


def test_a_code_is_never_used_twice():
    code = next(iter(registry.registered()), None)
    assert code
    with pytest.raises(UsageError, match="registered twice"):
        registry.check(code, "Again?", requires=("routes",))(look)


def test_a_table_that_turns_out_unreadable_when_made_is_absent_too():
    class Unreadable(Tables):
        made = False

        def table(self, name):
            self.made = True
            return EMPTY

        def absent(self, name):
            return "cut short" if self.made and name == "routes" else ""

    (finding,) = registry.run(CHECK, Unreadable({}))
    assert finding.status is Status.UNKNOWN
    assert "cut short" in finding.summary
