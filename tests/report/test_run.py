"""Runs with a real kernel: what is written, what comes back, what is never written."""

from __future__ import annotations

import json
import subprocess
import sys

import books
import nbformat
import pytest

from meshnb.errors import FormatError, NotFound, RunError, UsageError
from meshnb.model.finding import FailOn, Findings
from meshnb.report.run import execute, run

FOUND = """from meshnb.model.finding import Finding, Severity, Status, Subject
from meshnb.views import FindingList, bar
one = Finding("MNB0101", Status("{status}"), Severity.WARNING, Subject("Mesh"), f"{{source}} {{hours + 1}}")
"""
PARAMETERS = 'source: str = "demo"\nhours: int = 1\ntoken: str = ""'


def case(folder, *cells, name="case", status="fail"):
    return books.write(
        folder / f"{name}.ipynb",
        books.markdown("# A case\n\nUse this when."),
        books.code(PARAMETERS, tags=("parameters",)),
        books.code(FOUND.format(status=status)),
        *cells,
        books.code('FindingList([one], title="Verdict")'),
    )


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """One run with a text that looks like a number, a secret, a widget, and a finding."""
    folder = tmp_path_factory.mktemp("finished")
    path = case(
        folder,
        books.code("import sys, ipywidgets, meshnb\nprint(sys.executable, token, source)"),
        books.code("ipywidgets.Text()"),
        books.code("meshnb.form()"),
    )
    result = run(path, parameters={"source": "12e4567", "hours": "2", "token": "hunter22"}, out=folder / "out")
    return result, path


def test_three_files_are_written_and_the_verdict_comes_back(finished):
    result, _ = finished
    assert [p.name for p in (result.notebook, result.html, result.findings_file)] == [
        "case.ipynb", "case.html", "findings.json"
    ]  # fmt: skip
    assert sorted(p.name for p in result.notebook.parent.iterdir()) == ["case.html", "case.ipynb", "findings.json"]
    assert result.findings[0].summary == "12e4567 3"
    assert Findings.from_json(result.findings_file.read_text()) == Findings(result.findings)
    assert "12e4567 3" in result.html.read_text()
    assert result.exit_code == 79


def test_kernel_is_that_of_this_interpreter(finished):
    assert sys.executable in finished[0].notebook.read_text()


def test_no_secret_no_path_and_no_widget_is_written(finished):
    result, path = finished
    for file in (result.notebook, result.html):
        text = file.read_text()
        assert "hunter22" not in text and str(path.parent) not in text
        assert "[masked]" in text
    notebook = nbformat.read(result.notebook, as_version=4)
    assert "papermill" not in notebook.metadata and "widgets" not in notebook.metadata
    assert notebook.metadata.meshnb.run.parameters.token == "[masked]"
    assert all("papermill" not in cell.metadata for cell in notebook.cells)


def test_form_of_a_headless_run_is_a_table(finished):
    notebook = nbformat.read(finished[0].notebook, as_version=4)
    data = notebook.cells[-2].outputs[0].data
    assert "application/vnd.jupyter.widget-view+json" not in data
    assert "12e4567" in data["text/html"] and "hunter22" not in str(data)


def test_run_is_recorded(finished):
    recorded = nbformat.read(finished[0].notebook, as_version=4).metadata.meshnb.run
    assert recorded.runbook == "case" and recorded.version == 1
    assert recorded.started.endswith("+00:00") and recorded.versions.meshnb
    nbformat.validate(nbformat.read(finished[0].notebook, as_version=4))


def test_threshold_and_pass_decide_the_exit_code(tmp_path, finished):
    result, _ = finished
    assert type(result)(**{**vars(result), "fail_on": FailOn.ERROR}).exit_code == 0
    assert run(case(tmp_path, status="pass"), out=tmp_path / "out").exit_code == 0


def test_a_crash_is_raised_after_all_is_written(tmp_path):
    path = case(tmp_path, books.code("FindingList([one])"), books.code("1 / 0"))
    with pytest.raises(RunError, match="ZeroDivisionError: division by zero"):
        run(path, out=tmp_path / "out")
    html = (tmp_path / "out" / "case.html").read_text()
    assert "This run broke off" in html and "division by zero" in html
    notebook = nbformat.read(tmp_path / "out" / "case.ipynb", as_version=4)
    assert notebook.cells[-1].execution_count is None, "cells after the crash do not run"
    found = json.loads((tmp_path / "out" / "findings.json").read_text())["findings"]
    assert [f["code"] for f in found] == ["MNB0101"], "what was found before is kept"


def test_an_error_of_meshnb_comes_back_as_itself(tmp_path):
    cell = books.code('from meshnb.errors import NotFound\nraise NotFound("no snapshot at x", hint="make one")')
    result = execute(case(tmp_path, cell), out=tmp_path / "out")
    assert type(result.error) is NotFound and result.exit_code == 69
    assert (result.error.message, result.error.hint) == ("no snapshot at x", "make one")
    assert "make one" in result.html.read_text()


def test_unreadable_input_of_a_cell_is_65(tmp_path):
    cell = books.code('from meshnb.errors import FormatError\nraise FormatError("cut short", file="a.json")')
    result = execute(case(tmp_path, cell), out=tmp_path / "out")
    assert type(result.error) is FormatError and result.exit_code == 65
    assert result.error.message == "a.json: cut short"


def test_a_kernel_that_dies_leaves_a_report(tmp_path):
    result = execute(case(tmp_path, books.code("import os\nos._exit(3)")), out=tmp_path / "out")
    assert type(result.error) is RunError and result.exit_code == 1
    assert "DeadKernelError" in str(result.error)
    assert "This run broke off" in result.html.read_text()


@pytest.mark.parametrize("values", [{"huors": "2"}, {"hours": "two"}], ids=str)
def test_wrong_parameters_start_nothing(tmp_path, monkeypatch, values):
    monkeypatch.setattr("meshnb.report.run._execute", lambda *_: pytest.fail("a kernel was started"))
    with pytest.raises(UsageError):
        run(case(tmp_path), parameters=values, out=tmp_path / "out")
    with pytest.raises(UsageError, match="no level to fail on"):
        run(case(tmp_path), fail_on="eror", out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_folder_that_cannot_be_written_to_is_told_before_anything_starts(tmp_path, monkeypatch):
    monkeypatch.setattr("meshnb.report.run._execute", lambda *_: pytest.fail("a kernel was started"))
    (tmp_path / "file").write_text("")
    for out in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(UsageError, match="cannot write to"):
            run(case(tmp_path), out=out)


def test_relative_paths_are_those_of_the_caller(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here.txt").write_text("found")
    path = case(tmp_path, books.code('one = Finding("MNB0001", Status.PASS, Severity.INFO, Subject("Mesh"), '
                                     'open("here.txt").read())'))  # fmt: skip
    assert run(path, out="out").findings[0].summary == "found"


def test_runs_beside_one_another_do_not_meet(tmp_path, monkeypatch):
    """Kernels talk through sockets; those of one run must not be found by another in the same folder."""
    monkeypatch.chdir(tmp_path)
    for name in ("one", "two", "three"):
        case(tmp_path, name=name)
    command = [sys.executable, "-m", "meshnb", "run"]
    runs = [
        subprocess.Popen(
            [*command, f"{name}.ipynb", "-p", f"source={name}", "--out", name],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for name in ("one", "two", "three")
    ]
    said = [run.communicate(timeout=120)[0] for run in runs]
    assert [run.returncode for run in runs] == [79, 79, 79], said
    for name, text in zip(("one", "two", "three"), said, strict=True):
        assert f"Mesh: {name} 2" in text
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(
        ["one", "two", "three", "one.ipynb", "two.ipynb", "three.ipynb"]
    )
