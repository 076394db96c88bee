"""Findings: order, merging, JSON form; `unknown` is never a pass."""

from __future__ import annotations

import json

import pandas as pd
import pytest

from meshnb.errors import FormatError, UsageError
from meshnb.model.finding import Evidence, FailOn, Finding, Findings, Fix, Severity, Status, Subject

VS = Subject("VirtualService", "catalog-v1-v2", "istioinaction")


def finding(status=Status.FAIL, severity=Severity.ERROR, code="MNB0101", subject=VS, **more):
    return Finding(code, status, severity, subject, "summary", **more)


def test_worst_first_then_unknown_then_pass():
    found = Findings(
        [
            finding(Status.PASS, code="MNB0001"),
            finding(Status.UNKNOWN, code="MNB0002"),
            finding(severity=Severity.WARNING, code="MNB0003"),
            finding(code="MNB0004"),
        ]
    )
    assert [f.code for f in found] == ["MNB0004", "MNB0003", "MNB0002", "MNB0001"]


def test_verdict_without_failures_but_with_an_unknown_is_unknown():
    assert Findings([finding(Status.PASS)]).verdict is Status.PASS
    assert Findings([finding(Status.PASS), finding(Status.UNKNOWN, code="MNB0002")]).verdict is Status.UNKNOWN
    assert Findings([]).verdict is Status.UNKNOWN


def test_threshold_counts_failures_only():
    found = Findings([finding(severity=Severity.WARNING), finding(Status.UNKNOWN, code="MNB0002")])
    assert found.failed(Severity.WARNING)
    assert not found.failed(Severity.ERROR)


@pytest.mark.parametrize(
    ("level", "counts"),
    [("error", "E"), ("warning", "EW"), ("unknown", "EWU"), ("info", "EWUI"), (Severity.ERROR, "E"), ("Warning", "EW")],
    ids=str,
)
def test_each_level_counts_what_those_before_it_count(level, counts):
    one_of = {
        "E": finding(),
        "W": finding(severity=Severity.WARNING),
        "I": finding(severity=Severity.INFO),
        "U": finding(Status.UNKNOWN),
        "P": finding(Status.PASS),
    }
    assert {name for name, one in one_of.items() if Findings([one]).failed(level)} == set(counts)


def test_nothing_checked_is_unknown_and_no_pass():
    assert not Findings([]).failed() and Findings([]).failed(FailOn.UNKNOWN)
    with pytest.raises(UsageError, match="'eror' is no level to fail on"):
        Findings([]).failed("eror")


def test_the_same_fault_from_two_sources_is_one_finding_with_both_evidences():
    one = finding(evidence=(Evidence("in the dump"),), refs=("KIA1107",))
    two = finding(evidence=(Evidence("in the log"),), refs=("IST0101",))
    (merged,) = Findings([one, two])
    assert [e.statement for e in merged.evidence] == ["in the dump", "in the log"]
    assert set(merged.refs) == {"KIA1107", "IST0101"}


def test_json_form_comes_back_equal_and_is_versioned():
    found = Findings(
        [
            finding(
                evidence=(Evidence.of("rows", pd.DataFrame({"a": [1]}), source="mesh.routes()"),),
                fix=(Fix("kind: DestinationRule"),),
                share=0.25,
            )
        ]
    )
    assert json.loads(found.to_json())["version"] == 1
    assert Findings.from_json(found.to_json()) == found


def test_newer_findings_and_rubbish_are_refused():
    with pytest.raises(FormatError, match="upgrade meshnb"):
        Findings.from_json('{"version": 99, "findings": []}')
    for text in ("", "[]", "{}", '{"version": 1, "findings": [{}]}'):
        with pytest.raises(FormatError):
            Findings.from_json(text)


def test_frame_has_one_row_per_finding():
    frame = Findings([finding(), finding(Status.PASS, code="MNB0002")]).frame
    assert frame.status.tolist() == ["fail", "pass"]
    assert frame.namespace.tolist() == ["istioinaction", "istioinaction"]


def test_evidence_keeps_the_first_rows_and_says_how_many_there_were():
    evidence = Evidence.of("rows", pd.DataFrame({"a": range(50)}), limit=3)
    assert (len(evidence.rows), evidence.total) == (3, 50)


def test_unknown_severity_is_named():
    with pytest.raises(UsageError, match="fatal"):
        Severity.parse("fatal")


def test_a_finding_that_names_another_of_the_same_subject_is_folded_into_it():
    config = finding(code="MNB0101", evidence=(Evidence("in the dump"),), fix=(Fix("kind: DestinationRule"),))
    log = finding(code="MNB0211", evidence=(Evidence("in the log"),), refs=("MNB0101",), share=1.0)
    for order in ([config, log], [log, config]):
        (folded,) = Findings(order)
        assert folded.code == "MNB0101"
        assert [e.statement for e in folded.evidence] == ["in the dump", "in the log"]
        assert folded.refs == ("MNB0211",)
    other = finding(code="MNB0101", subject=Subject("VirtualService", "other"))
    passing = finding(Status.PASS, code="MNB0101")
    assert len(Findings([other, log])) == 2
    assert len(Findings([passing, log])) == 2


def test_one_finding_in_a_notebook_is_a_few_lines_with_the_fix():
    class Printer:
        def text(self, words):
            self.words = words

    printer = Printer()
    one = finding(cause="why so", evidence=(Evidence("2 rows"),), fix=(Fix("kind: A\nspec: {}"),), verify="look")
    one._repr_pretty_(printer, False)
    assert printer.words.splitlines() == [
        str(one), "  why     why so", "  shown   2 rows", "  fix     kind: A", "          spec: {}", "  verify  look"
    ]  # fmt: skip
