"""A signal ends a run early: its kernel is gone, and what was known by then is reported."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time

import books
import nbformat
import pytest

from meshnb.cli import main
from meshnb.errors import Interrupted
from meshnb.report import stop as stops
from meshnb.report.run import execute, run
from meshnb.report.stop import Stop

FOUND = """from meshnb.model.finding import Finding, Severity, Status, Subject
from meshnb.views import FindingList
FindingList([Finding("MNB0101", Status("pass"), Severity.ERROR, Subject("Mesh"), "all routes lead somewhere")])"""
# says that it runs in one step, then never ends
HANGS = """import os, signal, time
{before}
open("started.part", "w").write(str(os.getpid()))
os.rename("started.part", "started")
while True: time.sleep(0.05)"""


@pytest.fixture(autouse=True)
def heard():
    """A shell ignores SIGINT for what it runs in its background, and so would these tests and their processes."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def case(folder, *, before=""):
    return books.write(
        folder / "case.ipynb",
        books.markdown("# A case"),
        books.code('source: str = "demo"', tags=("parameters",)),
        books.code(FOUND),
        books.code(HANGS.format(before=before)),
        books.code("print('never')"),
    )


def kernel(folder):
    """Process of the kernel, once its endless cell runs."""
    deadline = time.monotonic() + 60
    while not (folder / "started").exists():
        assert time.monotonic() < deadline, "the cell never ran"
        time.sleep(0.02)
    return int((folder / "started").read_text())


def alive(process):
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)], ids=["SIGTERM", "SIGINT"])
def test_a_signal_leaves_the_report_and_no_kernel(tmp_path, number, code):
    case(tmp_path)
    (tmp_path / "temporary").mkdir()
    process = subprocess.Popen(
        [sys.executable, "-m", "meshnb", "run", "case.ipynb"],
        cwd=tmp_path,
        env={**os.environ, "TMPDIR": str(tmp_path / "temporary")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    started = kernel(tmp_path)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == code
    assert not alive(started) and not list((tmp_path / "temporary").iterdir())
    assert out.startswith("case: interrupted; until then 1 passed\n")
    assert err == f"meshnb: stopped by {number.name}\n  → the report says what was known by then\n"
    html = (tmp_path / "out" / "case.html").read_text()
    assert "This run was interrupted" in html and "all routes lead somewhere" in html
    assert [f["code"] for f in json.loads((tmp_path / "out" / "findings.json").read_text())["findings"]] == ["MNB0101"]
    notebook = nbformat.read(tmp_path / "out" / "case.ipynb", as_version=4)
    assert notebook.cells[-1].execution_count is None, "cells after it do not run"
    assert notebook.metadata.meshnb.run.signal == number.name


def signalled(folder, number=signal.SIGTERM):
    """Send this process a signal once the endless cell runs."""
    thread = threading.Thread(target=lambda: (kernel(folder), os.kill(os.getpid(), number)))
    thread.start()
    return thread


def test_a_cell_that_hears_no_interrupt_is_killed(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(stops, "_PATIENCE_S", 0.5)
    monkeypatch.chdir(tmp_path)
    path = case(tmp_path, before="signal.signal(signal.SIGINT, signal.SIG_IGN)")
    thread = signalled(tmp_path)
    result = execute(path, out="out")
    thread.join()
    assert type(result.error) is Interrupted and result.exit_code == 143
    assert not alive(kernel(tmp_path))
    # a run that did not end is no pass, whatever it found by then
    assert main(["report", "out/case.ipynb", "-o", "json", "--out", "-"]) == 0
    assert json.loads(capsys.readouterr().out)["verdict"] == "interrupted"
    assert main(["report", "out/case.ipynb", "-o", "md", "--out", "-"]) == 0
    assert "**This run was interrupted** in cell 4: Interrupted: stopped by SIGTERM" in capsys.readouterr().out


def test_from_python_it_is_an_error_with_the_exit_code(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = case(tmp_path)
    thread = signalled(tmp_path, signal.SIGINT)
    with pytest.raises(Interrupted, match="stopped by SIGINT") as caught:
        run(path, out="out")
    thread.join()
    assert caught.value.exit_code == 130 and (tmp_path / "out" / "case.html").is_file()


def test_handlers_are_as_before_afterwards_and_an_ignored_signal_stays_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
        with Stop():
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
            assert signal.getsignal(signal.SIGTERM) != handlers[signal.SIGTERM]
        assert {number: signal.getsignal(number) for number in handlers} == handlers
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_signal_after_the_last_cell_changes_nothing():
    with Stop() as stop:
        stop.ended()
        signal.raise_signal(signal.SIGTERM)
    assert stop.name == ""


def test_outside_the_main_thread_nothing_is_touched():
    handler, seen = signal.getsignal(signal.SIGTERM), []

    def inside():
        with Stop():
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=inside)
    thread.start()
    thread.join()
    assert seen == [handler]
