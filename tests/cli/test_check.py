"""`meshnb check`: findings on a terminal, exit codes."""

from __future__ import annotations

import pytest

from meshnb.cli import main
from meshnb.model.finding import Findings


def test_a_broken_snapshot_exits_79_with_cause_and_fix(capsys):
    assert main(["check", "demo/missing-subset", "MNB0101"]) == 79
    out = capsys.readouterr().out
    for words in ("VirtualService istioinaction/catalog-v1-v2", "why ", "fix ", "kind: DestinationRule", "verify "):
        assert words in out


def test_a_healthy_snapshot_exits_0(capsys):
    assert main(["check", "demo", "MNB0101", "MNB0201"]) == 0
    assert capsys.readouterr().out.count("pass ") == 2


def test_json_is_what_findings_json_holds(capsys):
    main(["check", "demo", "MNB0101", "-o", "json"])
    assert Findings.from_json(capsys.readouterr().out).verdict == "pass"


def test_the_threshold_decides(capsys):
    assert main(["check", "demo/missing-subset", "MNB0101", "--fail-on", "error"]) == 79
    # no Prometheus is in it
    assert main(["check", "demo", "MNB0350"]) == 0
    assert main(["check", "demo", "MNB0350", "--fail-on", "unknown"]) == 79


@pytest.mark.parametrize(("arguments", "code"), [(["demo", "MNB0000"], 64), (["/nowhere"], 69), ([], 64)])
def test_wrong_usage_and_sources(arguments, code, capsys):
    assert main(["check", *arguments]) == code
    assert capsys.readouterr().err
