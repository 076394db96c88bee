"""Bounded calls at a steady rate, with a stop time (S10-40)."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from meshnb.cli import main
from meshnb.errors import UsageError
from meshnb.runbook.probe import probe
from meshnb.sources.probe import schedule


class Server(ThreadingHTTPServer):
    """Answers 200, and 503 to every third request; keeps what it was asked."""

    daemon_threads = True
    asked: list[tuple[str, str, dict[str, str]]]
    hold: threading.Event


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self):
        self.server.asked.append((self.command, self.path, dict(self.headers)))
        self.server.hold.wait()
        self.send_response(503 if len(self.server.asked) % 3 == 0 else 200)
        self.send_header("Content-Length", "0")
        self.send_header("Connection", "close")
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(("127.0.0.1", 0), Handler) as running:
        running.asked, running.hold = [], threading.Event()
        running.hold.set()
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def url(server: Server) -> str:
    return f"http://127.0.0.1:{server.server_port}/items?x=1"


@pytest.mark.parametrize(
    ("bounds", "count", "last"),
    [
        ({"rate": 1.0, "requests": None, "seconds": None}, 100, 99.0),
        ({"rate": 2.0, "requests": 7, "seconds": None}, 7, 3.0),
        ({"rate": 4.0, "requests": None, "seconds": 2.0}, 8, 1.75),
        ({"rate": 4.0, "requests": 3, "seconds": 2.0}, 3, 0.5),
        ({"rate": 1e6, "requests": None, "seconds": 3600.0}, 10_000, 0.009999),
    ],
)
def test_it_ends_by_number_or_by_time_whichever_comes_first(bounds, count, last):
    """S10-40: a rate and a stop time; never more than 10,000 requests."""
    due = list(schedule(**bounds))
    assert len(due) == count and due[-1] == (count, pytest.approx(last))


def test_every_request_is_a_row_with_the_id_the_logs_have(server: Server):
    found = probe(url(server), rate=1000, requests=9, headers={"Host": "catalog.istioinaction.io"})
    assert found.counts == {200: 6, 503: 3} and len(server.asked) == 9
    assert {h["X-Request-Id"] for _, _, h in server.asked} == set(found.df.request_id)
    assert {h["Host"] for _, _, h in server.asked} == {"catalog.istioinaction.io"}
    assert {path for _, path, _ in server.asked} == {"/items?x=1"}
    assert found.df.number.tolist() == list(range(1, 10))
    assert "503" in found.chart().alt and found.table().df.share.sum() == pytest.approx(1.0)


def test_the_stop_time_holds_and_those_on_their_way_are_waited_for(server: Server):
    """S10-40: nothing is sent at or after the stop time."""
    found = probe(url(server), rate=50, seconds=0.2)
    assert 1 <= len(found.df) <= 10
    assert (found.df.time - found.df.time.min()).dt.total_seconds().max() < 0.2
    assert found.df.status.isin([200, 503]).all()


def test_a_slow_server_does_not_carry_it_past_the_stop_time(server: Server):
    server.hold.clear()
    threading.Timer(0.4, server.hold.set).start()
    found = probe(url(server), rate=1000, seconds=0.2)
    # the first 32 wait for the server; those behind them found the time over
    assert len(found.df) == 32 == len(server.asked)


def test_no_answer_is_status_0_with_the_reason(server: Server):
    server.shutdown()
    server.server_close()
    found = probe(url(server), rate=1000, requests=2)
    assert found.counts == {0: 2} and found.df.error.str.startswith("ConnectionRefusedError").all()
    assert "no answer" in repr(found)


def test_on_the_command_line(server: Server, capsys: pytest.CaptureFixture[str]):
    assert main(["probe", url(server), "--rate", "1000", "--requests", "3", "--header", "X-A: b", "-o", "json"]) == 0
    assert [row["status"] for row in json.loads(capsys.readouterr().out)] == [200, 200, 503]
    assert server.asked[0][2]["X-A"] == "b"
    assert main(["probe", url(server), "--rate", "1000", "--for", "30s", "--requests", "3", "--host", "a"]) == 0
    assert "503" in capsys.readouterr().out


@pytest.mark.parametrize(
    "wrong",
    [
        {"url": "ftp://x/"}, {"url": "localhost:8080"}, {"rate": 0}, {"seconds": -1.0}, {"requests": 0},
        {"requests": 10_001},
    ],
)  # fmt: skip
def test_bounds_that_are_none(wrong):
    with pytest.raises(UsageError):
        probe(**{"url": "http://127.0.0.1:1/", "requests": 1, **wrong})
    assert main(["probe", "http://127.0.0.1:1/", "--header", "nothing"]) == 64
