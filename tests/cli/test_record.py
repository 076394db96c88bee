"""`meshnb record`, against a real Prometheus."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from realprom import RealPrometheus

import meshnb
from meshnb.cli import main

SNAPSHOTS = Path(__file__).parents[1] / "data" / "control-plane"
WINDOW = "2026-11-23T08:50/2026-11-23T09:00"


@pytest.fixture(scope="module")
def server():
    sys.path.insert(0, str(SNAPSHOTS))
    from generate import SCENARIOS, series

    with RealPrometheus(series(SCENARIOS["outgoing"])) as real:
        yield real


@pytest.mark.parametrize("name", ["snapshot", "snapshot.tar.gz"])
def test_what_was_recorded_takes_the_same_branch(server, tmp_path, capsys, name):
    out = tmp_path / name
    assert main(["record", server.url, "--out", str(out), "--window", WINDOW, "--query", "mine=sum(pilot_xds)"]) == 0
    assert "0 failed" in capsys.readouterr().out
    mesh = meshnb.open(out)
    assert mesh.bottleneck()["node"].iloc[-1] == "outgoing"
    assert mesh.samples("mine")["value"].unique().tolist() == [100.0]
    narrow = mesh.samples("mine", window="2m")
    assert 0 < len(narrow) < len(mesh.samples("mine"))


def test_progress_is_shown_unless_quiet(server, tmp_path, capsys):
    wanted = ["record", server.url, "--window", WINDOW, "--out"]
    assert main([*wanted, str(tmp_path / "loud")]) == 0
    shown = capsys.readouterr().err.splitlines()
    assert shown[0].startswith("query 1 of ") and len(shown) == int(shown[0].split()[3].rstrip(":"))
    assert main([*wanted, str(tmp_path / "quiet"), "--quiet"]) == 0
    assert capsys.readouterr().err == ""


def test_a_query_that_fails_does_not_end_it(server, tmp_path, capsys):
    out = str(tmp_path / "s")
    assert main(["record", server.url, "--out", out, "--window", WINDOW, "--query", "bad=sum("]) == 0
    assert "bad: Prometheus refuses the query" in capsys.readouterr().err


def test_wrong_usage(server, tmp_path):
    assert main(["record", server.url, "--out", str(tmp_path)]) == 64
    assert main(["record", server.url, "--out", str(tmp_path / "s"), "--query", "nameless"]) == 64
    assert main(["record", "localhost", "--out", str(tmp_path / "s")]) == 64


def test_nothing_listens(tmp_path):
    assert main(["record", "http://127.0.0.1:9", "--out", str(tmp_path / "s"), "--timeout", "1"]) == 69
