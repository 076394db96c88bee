"""How long Envoy waits for an upstream, and how often it tries again."""

from __future__ import annotations

import re
from math import ceil

from meshnb.envoy.explain.fields import Message, child, has, number, numbers, seconds, text
from meshnb.envoy.explain.headers import Headers
from meshnb.envoy.explain.route import is_grpc

_GRPC_TIMEOUT = re.compile(r"(\d{1,8})([HMSmun])")
_GRPC_UNITS = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}
DEFAULT_TIMEOUT = 15.0


def effective_timeout(action: Message, table: Message, headers: Headers) -> tuple[float, list[str]]:
    """Seconds until Envoy answers 504 UT, 0 for never, and what else limits the request.

    Args:
        action: the `route` action.
        table: the route configuration, which may hold a default for streams.
        headers: request headers.
    """
    notes = []
    stream = child(action, "max_stream_duration") or child(table, "max_stream_duration")
    for name in ("max_stream_duration", "grpc_timeout_header_max"):
        if found := seconds(stream, name):
            notes.append(f"{name} {found:g} s ends the request with max_duration_timeout")
    if idle := seconds(action, "idle_timeout"):
        notes.append(f"idle_timeout {idle:g} s")
    if has(action, "max_stream_duration"):
        return 0.0, [*notes, "timeout does not apply: the route has max_stream_duration"]
    timeout = seconds(action, "timeout")
    timeout = DEFAULT_TIMEOUT if timeout is None else timeout
    longest = seconds(action, "max_grpc_timeout")
    if longest is not None and is_grpc(headers):
        match = _GRPC_TIMEOUT.fullmatch(headers.first("grpc-timeout") or "")
        # Envoy counts milliseconds and rounds up.
        asked = ceil(int(match[1]) * _GRPC_UNITS[match[2]] * 1000 - 1e-9) / 1000 if match else 0.0
        offset = seconds(action, "grpc_timeout_offset") or 0.0
        asked = asked - offset if offset < asked else asked
        timeout = longest if longest and (asked == 0 or asked > longest) else asked
    if headers.first("x-envoy-upstream-rq-timeout-ms"):
        notes.append("x-envoy-upstream-rq-timeout-ms replaces the timeout if the caller is trusted")
    return timeout, notes


def effective_retries(action: Message, virtual_host: Message, headers: Headers) -> str:
    """How often and on what a request is tried again; empty if it is not.

    A route's policy replaces the virtual host's; they are not merged.
    """
    policy = child(action, "retry_policy") or child(virtual_host, "retry_policy")
    extra = ",".join(asked for name in ("x-envoy-retry-on", "x-envoy-retry-grpc-on") if (asked := headers.first(name)))
    conditions = ",".join(part for part in (text(policy, "retry_on"), extra) if part)
    if not conditions:
        return ""
    times = number(policy, "num_retries", 1)
    if (asked := headers.first("x-envoy-max-retries")) and asked.isdigit():
        times = int(asked[:9])
    if not times:
        return ""
    found = f"{times} on {conditions}"
    if codes := numbers(policy, "retriable_status_codes"):
        found += f" ({', '.join(map(str, codes))})"
    per_try = seconds(policy, "per_try_timeout")
    return found + (f", {per_try:g} s a try" if per_try else "")
