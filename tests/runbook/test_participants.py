"""S10-01: a verdict per participant, each with what it rests on."""

from __future__ import annotations

import pytest

import meshnb
from meshnb.model.finding import Findings
from meshnb.runbook.participants import participants
from tests.checks.tables import log, request

SERVER = {"upstream_cluster": "inbound|3000||", "upstream_host": "127.0.0.1:3000", "proxy": "catalog-v1.istioinaction"}


def verdicts(frame):
    return dict(zip(frame.participant, frame.verdict, strict=True))


@pytest.mark.parametrize(
    ("demo", "guilty"),
    [("healthy", []), ("missing-subset", ["gateway or calling proxy"]), ("slow-replica", ["application"])],
)
def test_the_lab_accuses_the_one_who_was_broken(demo, guilty):
    frame = meshnb.open(f"demo/{demo}").participants().df
    assert [name for name, verdict in verdicts(frame).items() if verdict == "fail"] == guilty
    assert frame.evidence.str.len().min() > 0


def test_without_a_log_nobody_is_acquitted():
    assert set(verdicts(participants(None, Findings())).values()) == {"unknown"}
    assert set(verdicts(participants(log(), Findings())).values()) == {"unknown"}


@pytest.mark.parametrize(
    ("row", "guilty"),
    [
        (request(503, "UH"), "gateway or calling proxy"),
        (request(503, "URX,UF"), "proxy of the service"),
        (request(403, "UAEX") | SERVER, "proxy of the service"),
        (request(503, "UC") | SERVER, "application"),
        (request(500) | SERVER, "application"),
    ],
)
def test_each_failure_is_laid_at_one_door(row, guilty):
    rows = log(row, request(200), request(200) | SERVER)
    assert [n for n, v in verdicts(participants(rows, Findings())).items() if v == "fail"] == [guilty]


def test_a_caller_that_hangs_up_accuses_nobody():
    rows = log(request(0, "DC"), request(0, "DC") | SERVER)
    assert "fail" not in verdicts(participants(rows, Findings())).values()
