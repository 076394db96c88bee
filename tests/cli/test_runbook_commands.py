"""`meshnb list`, `show`, `run`, `report` as typed: what is printed, and the exit codes."""

from __future__ import annotations

import json

import books
import nbformat
import pytest

from meshnb.cli import main
from meshnb.views import FindingList

FOUND = """from meshnb.model.finding import Finding, Severity, Status, Subject
from meshnb.views import FindingList
one = Finding("MNB0101", Status("fail"), Severity.WARNING, Subject("Pod", "a", "ns"), f"slow at {source}", share=0.21)
FindingList([one], title="Verdict")"""


def case(folder, *cells):
    parameters = books.code('source: str = "demo"  # snapshot folder\nhours: int = 1', tags=("parameters",))
    return str(
        books.write(folder / "case.ipynb", books.markdown("# A case\n\nUse this when it fails."), parameters, *cells)
    )


def meshnb(capsys, *arguments):
    code = main([str(argument) for argument in arguments])
    said = capsys.readouterr()
    return code, said.out, said.err


def test_list_names_the_runbooks(capsys):
    code, out, _ = meshnb(capsys, "list")
    assert code == 0 and "503-no-cluster" in out and "meshnb show" in out
    code, out, _ = meshnb(capsys, "list", "504", "-o", "json")
    assert "504-slow-upstream" in [row["name"] for row in json.loads(out)]
    assert "503-no-cluster" not in out
    assert "no runbook with 'zzz'" in meshnb(capsys, "list", "zzz")[1]


def test_show_tells_purpose_and_parameters(capsys, tmp_path):
    code, out, _ = meshnb(capsys, "show", case(tmp_path))
    assert code == 0 and "Use this when it fails." in out and "snapshot folder (default demo)" in out


def test_help_of_run_with_a_name_lists_its_parameters(capsys, tmp_path):
    code, out, _ = meshnb(capsys, "run", case(tmp_path), "--help")
    assert code == 0 and "--fail-on" in out and "source: str" in out and "79" in out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["-p", "huors=2"], "did you mean 'hours'?"),
        (["-p", "hours=two"], "'two' is not a whole number"),
        (["-p", "hours"], "'hours' is not a parameter"),
        (["--fail-on", "eror"], "did you mean 'error'?"),
        (["--bogus"], "unrecognized arguments: --bogus"),
    ],
    ids=str,
)
def test_wrong_usage_exits_64_and_starts_nothing(capsys, tmp_path, monkeypatch, arguments, said):
    monkeypatch.setattr("meshnb.report.run._execute", lambda *_: pytest.fail("a kernel was started"))
    code, out, err = meshnb(capsys, "run", case(tmp_path), "--out", tmp_path / "out", *arguments)
    assert (code, out) == (64, "") and said in err
    assert not (tmp_path / "out").exists()


def test_unknown_runbook_exits_64_with_the_nearest(capsys):
    code, out, err = meshnb(capsys, "run", "503-no-clutser")
    assert (code, out) == (64, "") and "did you mean 503-no-cluster?" in err


def test_run_prints_the_verdict_with_names_and_share_and_where_the_report_is(capsys, tmp_path):
    code, out, err = meshnb(
        capsys, "run", case(tmp_path, books.code(FOUND)), "-p", "source=12e4567", "--out", tmp_path / "o"
    )
    assert (code, err) == (79, "")
    lines = out.splitlines()
    assert lines[0] == "case: 1 warning"
    assert lines[1] == "warning  MNB0101  Pod ns/a: slow at 12e4567 (21 % of the requests looked at)"
    for label, name in (("report", "case.html"), ("notebook", "case.ipynb"), ("findings", "findings.json")):
        assert f"{label:<10}{tmp_path / 'o' / name}" in lines
        assert (tmp_path / "o" / name).is_file()


def test_fail_on_sets_from_which_severity_on(capsys, tmp_path):
    path = case(tmp_path, books.code(FOUND))
    assert meshnb(capsys, "run", path, "--out", tmp_path / "o", "--fail-on", "error")[0] == 0


def test_a_run_that_could_look_at_nothing_says_so_and_fails_when_asked(capsys, tmp_path):
    path = case(tmp_path, books.code(FOUND.replace('"fail"', '"unknown"')))
    code, out, _ = meshnb(capsys, "run", path, "--out", tmp_path / "o")
    assert code == 0 and "nothing could be looked at; --fail-on unknown makes that a failure\n" in out
    assert meshnb(capsys, "run", path, "--out", tmp_path / "o", "--fail-on", "unknown")[0] == 79


def test_crash_exits_1_with_the_report_written_and_one_line_on_stderr(capsys, tmp_path):
    code, out, err = meshnb(capsys, "run", case(tmp_path, books.code("1/0")), "--out", tmp_path / "o")
    assert code == 1 and err == "meshnb: ZeroDivisionError: division by zero\n"
    assert "case: broke off" in out and (tmp_path / "o" / "case.html").is_file()


def executed(folder):
    notebook = books.notebook(
        books.markdown("# A case"),
        books.code("v", books.shown(FindingList([books.broken()], title="Verdict"))),
    )
    path = folder / "executed.ipynb"
    path.write_text(nbformat.writes(notebook))
    return path


@pytest.mark.parametrize(("form", "start"), [("html", "<!DOCTYPE html>"), ("md", "# A case"), ("json", "{")])
def test_report_is_written_beside_the_notebook_or_where_told(capsys, tmp_path, form, start):
    path = executed(tmp_path)
    code, out, _ = meshnb(capsys, "report", path, "-o", form)
    assert code == 0 and out == f"{tmp_path / 'executed'}.{form}\n"
    assert (tmp_path / f"executed.{form}").read_text().startswith(start)
    code, out, _ = meshnb(capsys, "report", path, "-o", form, "--out", "-")
    assert code == 0 and out.startswith(start)
    code, out, _ = meshnb(capsys, "report", path, "-o", form, "--out", tmp_path / "new" / "x")
    assert code == 0 and (tmp_path / "new" / "x").read_text().startswith(start)


def test_report_of_what_is_no_notebook_exits_65(capsys, tmp_path):
    path = tmp_path / "a.ipynb"
    path.write_text("{")
    code, _, err = meshnb(capsys, "report", path)
    assert code == 65 and "a.ipynb: not a notebook" in err


def test_pdf_without_a_browser_says_what_to_do(capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("meshnb.report.pdf._APPLICATIONS", ())
    code, _, err = meshnb(capsys, "report", executed(tmp_path), "-o", "pdf")
    assert code == 69 and "install chromium" in err
