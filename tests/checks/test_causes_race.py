"""A keep-alive race against an application that hangs up, where the log begins in the middle of connections."""

from __future__ import annotations

import pandas as pd
import pytest

from meshnb.checks.causes_assign import failed_requests

from .tables import GATEWAY, log


def row(number: int, *, connection: int, closed: bool) -> dict:
    """One request at the server's side, on a connection to the application."""
    return {
        "proxy": "catalog-v1.shop",
        "start_time": pd.Timestamp("2026-11-23T09:00:00Z") + pd.Timedelta(seconds=number),
        "method": "GET",
        "path": "/items",
        "response_code": 503 if closed else 200,
        "flag_set": "UC" if closed else None,
        "response_code_details": "upstream_reset_before_response_started{connection_termination}" if closed else None,
        "duration_ms": 1,
        "request_id": f"r{number}",
        "authority": "catalog",
        "upstream_host": "10.0.0.1:3000",
        "upstream_cluster": "inbound|3000||",
        "upstream_local_address": f"127.0.0.6:{40000 + connection}",
        "file": "x.log",
        "line": number + 1,
    }


def called(row: dict) -> dict:
    """The same request at the gateway, which passes the answer on."""
    return row | {
        "proxy": GATEWAY,
        "flag_set": None,
        "response_code_details": "via_upstream",
        "duration_ms": 2,
        "upstream_host": "10.0.0.9:3000",
        "upstream_cluster": "outbound|80||catalog.shop.svc.cluster.local",
        "upstream_local_address": "10.0.0.2:50000",
        "file": "gateway.log",
    }


def causes_of(fresh: int, reused: int) -> pd.DataFrame:
    """So many connections closed on what looks like their first request, then so many on their second."""
    rows = [row(i, connection=i, closed=True) for i in range(fresh)]
    for i in range(reused):
        place = fresh + 2 * i
        rows += [row(place, connection=fresh + i, closed=False), row(place + 1, connection=fresh + i, closed=True)]
    return failed_requests(log(*rows, *map(called, rows)))


def test_a_race_alone_is_sure():
    found = causes_of(0, 10)
    assert set(found.cause) == {"keepalive_race"} and (found.confidence >= 0.8).all()


def test_a_few_that_were_open_before_the_log_begins_do_not_make_it_an_application_that_hangs_up():
    found = causes_of(2, 10)
    assert set(found.cause) == {"keepalive_race"}
    assert (found.confidence < 0.8).all(), "an application that rarely hangs up looks the same"


@pytest.mark.parametrize(("fresh", "reused"), [(3, 10), (10, 10), (10, 0)])
def test_many_fresh_ones_are_the_applications(fresh, reused):
    assert set(causes_of(fresh, reused).cause) == {"connection_closed"}
