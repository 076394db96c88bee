"""Timeouts and retries in the words of the explanation; the timeouts themselves are proven in the comparison."""

from __future__ import annotations

import pytest

from meshnb.envoy.explain.headers import Headers
from meshnb.envoy.explain.policy import effective_retries, effective_timeout

ISTIO = "connect-failure,refused-stream,unavailable,cancelled,retriable-status-codes"


@pytest.mark.parametrize(
    ("action", "expected"),
    [
        ({}, 15.0),
        ({"timeout": "0s"}, 0.0),
        ({"timeout": "0.5s"}, 0.5),
        ({"timeout": "0.5s", "max_grpc_timeout": "9s"}, 0.5),
        ({"timeout": "0.5s", "max_stream_duration": {"max_stream_duration": "0s"}}, 0.0),
    ],
)
def test_timeouts(action, expected):
    assert effective_timeout(action, {}, Headers())[0] == expected


def test_what_else_ends_a_request_is_noted():
    action = {"max_stream_duration": {"max_stream_duration": "2s"}, "idle_timeout": "5s"}
    _, notes = effective_timeout(action, {}, Headers())
    assert notes[0] == "max_stream_duration 2 s ends the request with max_duration_timeout"
    assert "idle_timeout 5 s" in notes


@pytest.mark.parametrize(
    ("action", "host", "headers", "expected"),
    [
        ({}, {}, [], ""),
        ({"retry_policy": {"retry_on": ISTIO, "num_retries": 2}}, {}, [], f"2 on {ISTIO}"),
        ({"retry_policy": {"retry_on": "5xx"}}, {}, [], "1 on 5xx"),
        ({"retry_policy": {"retry_on": "5xx", "num_retries": 0}}, {}, [], ""),
        ({}, {"retry_policy": {"retry_on": "reset"}}, [], "1 on reset"),
        ({"retry_policy": {"retry_on": "5xx"}}, {"retry_policy": {"retry_on": "reset"}}, [], "1 on 5xx"),
        ({}, {}, [("x-envoy-retry-on", "5xx"), ("x-envoy-max-retries", "3")], "3 on 5xx"),
        (
            {
                "retry_policy": {
                    "retry_on": "retriable-status-codes",
                    "retriable_status_codes": [503],
                    "per_try_timeout": "1s",
                }
            },
            {},
            [],
            "1 on retriable-status-codes (503), 1 s a try",
        ),
    ],
)
def test_retries(action, host, headers, expected):
    assert effective_retries(action, host, Headers(headers)) == expected
