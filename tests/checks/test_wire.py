"""Packets and debug logs of requests that got no answer in time."""

from __future__ import annotations

from pathlib import Path

import pytest

import meshnb
from meshnb.checks.wire import timed_out_stories, unanswered_connections
from meshnb.model.finding import Status
from meshnb.model.tables.logs import DEBUG_LOG, TCP_STREAMS

from .tables import route, routes

DATA = Path(__file__).parents[1] / "data/logs"


def test_the_silence_is_the_timeout():
    """S10-58, S10-59: who closed first, how, and after which configured timeout."""
    found = unanswered_connections(tcp_streams=meshnb.read_pcap(DATA / "slow.pcap"), routes=None)
    by_server = {finding.subject.name: finding for finding in found}
    app = by_server["127.0.0.1:30043"]
    assert app.status is Status.FAIL
    assert "the timeout of 500 ms" in app.summary
    assert "were refused" in app.summary
    assert app.evidence[0].rows[-1]["reset_by"] == "client"


@pytest.mark.parametrize(("state", "timeout"), [("active", 502), ("rejected", 500)])
def test_only_timeouts_of_routes_in_use_are_recognised(state, timeout):
    known = routes(route("outbound|80||a.b", timeout_ms=502.0, state=state))
    found = unanswered_connections(tcp_streams=meshnb.read_pcap(DATA / "slow.pcap"), routes=known)
    assert any(f"the timeout of {timeout} ms" in finding.summary for finding in found)


def test_connections_that_were_answered_pass():
    streams = meshnb.read_pcap(DATA / "slow.pcap")
    (finding,) = unanswered_connections(tcp_streams=streams[streams.waited_ms.isna()], routes=None)
    assert finding.status is Status.PASS
    (finding,) = unanswered_connections(tcp_streams=TCP_STREAMS.empty(), routes=None)
    assert finding.status is Status.UNKNOWN


def test_the_deduction_from_the_debug_log():
    """S10-55: the upstream connection is mapped, the endpoint named, who closed it said."""
    log = meshnb.read_debug_log(
        [DATA / "gateway-debug-one-slow-request.log", DATA / "sidecar-debug-one-slow-request.log"]
    )
    (finding,) = timed_out_stories(debug_log=log, access_log=None)
    assert finding.subject.name == "127.0.0.42:3000"
    assert "C106" in finding.cause and "this proxy closed its upstream connection" in finding.cause
    assert "after 500 ms" in finding.summary


def test_debug_log_without_a_timeout_or_without_anything():
    log = meshnb.read_debug_log(DATA / "sidecar-debug-one-slow-request.log")
    (finding,) = timed_out_stories(debug_log=log, access_log=None)
    assert finding.status is Status.PASS
    (finding,) = timed_out_stories(debug_log=DEBUG_LOG.empty(), access_log=None)
    assert finding.status is Status.UNKNOWN


def test_on_the_recording():
    mesh = meshnb.open("demo/slow-request")
    assert {f.status for f in mesh.check("MNB0252", "MNB0253")} == {Status.FAIL}
    steps = mesh.story("cf0f45fd-8070-4f23-8907-903361bf148d")
    assert steps.proxy.nunique() == 2
    assert "C106" in mesh.story_chart("cf0f45fd-8070-4f23-8907-903361bf148d").alt
