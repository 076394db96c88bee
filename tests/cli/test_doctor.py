from __future__ import annotations

import json
from importlib.metadata import PackageNotFoundError

import pytest

from meshnb.cli import doctor, main
from meshnb.errors import FormatError


def lines(capsys, *arguments):
    code = main(["doctor", "-o", "json", *arguments])
    return code, {line["name"]: line for line in json.loads(capsys.readouterr().out)}


@pytest.fixture
def no_kernel(monkeypatch):
    monkeypatch.setattr("meshnb.report.run.try_kernel", lambda: "")


def test_starts_a_kernel_for_real(capsys):
    code, found = lines(capsys)
    assert code == 0
    assert found["kernel"]["said"] == "starts and answers" and found["core"]["state"] == "ok"
    assert found["demo"]["state"] == found["runbooks"]["state"] == found["notebook"]["state"] == "ok"


def test_every_line_that_is_not_ok_says_what_to_do(capsys, monkeypatch, tmp_path, no_kernel):
    def version(name):
        if name in (*doctor.LIVE, *doctor.NOTEBOOK):
            raise PackageNotFoundError(name)
        return "1"

    monkeypatch.setattr(doctor, "version", version)
    monkeypatch.setattr("meshnb.report.pdf._APPLICATIONS", ())
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "absent"))
    code, found = lines(capsys)
    absent = {name for name, line in found.items() if line["state"] == "absent"}
    assert {"notebook", "live", "browser"} <= absent
    assert all(line["todo"] for line in found.values() if line["state"] != "ok")
    assert found["notebook"]["todo"] == "pip install 'meshnb[notebook]'"
    assert code == 0, "what one may do without is no fault"


def test_what_is_broken_is_69_and_the_rest_is_still_looked_at(capsys, monkeypatch, no_kernel):
    def broken():
        raise FormatError("cut short", file="manifest.json")

    def ill():
        raise RuntimeError("surprise")

    monkeypatch.setitem(doctor.CHECKS, "demo", broken)
    monkeypatch.setitem(doctor.CHECKS, "envoy", ill)
    code, found = lines(capsys)
    assert code == 69 and list(found) == list(doctor.CHECKS)
    assert found["demo"]["state"] == "broken" and found["demo"]["said"] == "manifest.json: cut short"
    assert found["envoy"]["said"] == "RuntimeError: surprise"


def test_text_is_a_line_each_that_ends_in_what_to_do(capsys, monkeypatch, no_kernel):
    monkeypatch.setattr(doctor, "CHECKS", {"x": lambda: doctor.Line("x", "absent", "none", "do this")})
    assert main(["doctor"]) == 0
    assert capsys.readouterr().out == "absent  x  none → do this\n"
