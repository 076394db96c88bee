import json

import books
import pytest

from meshnb.errors import FormatError
from meshnb.report.record import findings_of, load, record_of
from meshnb.views import FindingList
from meshnb.views.findings import FINDINGS_MEDIA


def test_last_verdict_wins_over_lists_and_earlier_verdicts():
    first = books.shown(FindingList([books.broken()], title="Verdict"))
    notebook = books.notebook(
        books.code("a", first),
        books.code("b", books.shown(FindingList([books.unknown()]))),
        books.code("c", books.shown(FindingList([books.passed()], title="Verdict"))),
    )
    assert [f.code for f in findings_of(notebook)] == ["MNB0102"]


def test_without_a_verdict_all_lists_count_once():
    lists = [[books.broken()], [books.broken(), books.unknown()]]
    notebook = books.notebook(*[books.code("x", books.shown(FindingList(found))) for found in lists])
    assert [f.code for f in findings_of(notebook)] == ["MNB0101", "MNB0301"]
    assert findings_of(notebook).title == "Verdict"


def test_findings_of_a_newer_meshnb_are_refused():
    output = books.shown({FINDINGS_MEDIA: {"version": 99, "findings": []}, "text/plain": "x"})
    with pytest.raises(FormatError, match="version 99"):
        findings_of(books.notebook(books.code("x", output)))


def test_parameters_of_a_notebook_run_by_papermill_itself():
    notebook = books.notebook(
        books.code('source: str = "demo"\nhours: int = 1\nnames: list[str] = ["a", "b"]\ntoken: str = ""',
                   tags=("parameters",)),
        books.code('# Parameters\nsource = "lab"\ntoken = "hunter22"\n', tags=("injected-parameters",)),
    )  # fmt: skip
    record = record_of(notebook, name="x")
    assert record.parameters == {"source": "lab", "hours": "1", "names": "a,b", "token": "[masked]"}


def test_a_notebook_of_someone_else_has_a_record_too():
    record = record_of(books.notebook(books.code("x = 1"), books.markdown("text")), name="other")
    assert (record.name, record.title, record.parameters, len(record.findings)) == ("other", "other", {}, 0)


def test_expected_errors_are_no_crash():
    cell = books.code("1/0", books.failed("ZeroDivisionError", "x"), tags=("raises-exception",))
    assert record_of(books.notebook(cell), name="x").crash is None


@pytest.mark.parametrize("text", ["", "{", "[]", '{"a": 1}', json.dumps({"cells": 3, "nbformat": 4})])
def test_what_is_no_notebook_is_refused_by_name(tmp_path, text):
    path = tmp_path / "a.ipynb"
    path.write_text(text)
    with pytest.raises(FormatError, match=r"a\.ipynb: not a notebook"):
        record_of(load(path), name="a")
    with pytest.raises(FormatError, match=r"absent\.ipynb: cannot be read"):
        load(tmp_path / "absent.ipynb")
