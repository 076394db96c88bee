"""Bounded calls of a URL at a steady rate, as a caller outside of the mesh sees them."""

from __future__ import annotations

import http.client
import ssl
import time
import uuid
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import urlsplit

from meshnb.errors import UsageError

MOST = 10_000
"""Requests of one probe at most; a probe looks, it does not load."""
_AT_ONCE = 32


@dataclass(frozen=True, slots=True)
class ProbeAnswer:
    """What the caller saw of one request.

    Args:
        number: position, from 1.
        time: when it was sent.
        status: HTTP status; 0 if no answer came.
        duration_ms: until the last byte of the answer, or until it was given up.
        request_id: `x-request-id` it carried; the access logs have the same.
        error: why no answer came; empty if one did.
    """

    number: int
    time: datetime
    status: int
    duration_ms: float
    request_id: str
    error: str = ""


def probe(
    url: str,
    *,
    rate: float = 1.0,
    requests: int | None = None,
    seconds: float | None = None,
    method: str = "GET",
    headers: Mapping[str, str] | None = None,
    timeout_s: float = 15.0,
) -> list[ProbeAnswer]:
    """Call a URL again and again, each time on a new connection, until a number or a time is reached.

    Args:
        url: `http://…` or `https://…`; certificates are checked.
        rate: requests a second.
        requests: how many; at most 10,000. Without it, and without `seconds`, 100.
        seconds: send none after this time; those on their way are still waited for.
        method: HTTP method.
        headers: further headers; `Host` to ask a gateway for a host of the mesh.
        timeout_s: seconds after which a request is given up.

    Returns:
        One answer per request, in the order they were sent.

    Raises:
        UsageError: not a URL of HTTP, or a bound that is none.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UsageError(f"{url!r} is no URL", hint="as in http://localhost:8080/items")
    if rate <= 0 or timeout_s <= 0 or (seconds is not None and seconds <= 0):
        raise UsageError("rate, seconds and timeout must be above 0")
    if requests is not None and not 0 < requests <= MOST:
        raise UsageError(f"{requests} requests", hint=f"from 1 to {MOST}")
    begin, pending = time.monotonic(), list[Future[ProbeAnswer | None]]()
    stop = begin + seconds if seconds is not None else None
    with ThreadPoolExecutor(max_workers=_AT_ONCE) as pool:
        for number, due in schedule(rate=rate, requests=requests, seconds=seconds):
            time.sleep(max(0.0, begin + due - time.monotonic()))
            pending.append(pool.submit(_call, number, url, method, dict(headers or {}), timeout_s, stop))
    return [answer for one in pending if (answer := one.result()) is not None]


def schedule(*, rate: float, requests: int | None, seconds: float | None) -> Iterator[tuple[int, float]]:
    """Number of each request, and when it is due, in seconds from the beginning.

    Example:
        >>> list(schedule(rate=2.0, requests=None, seconds=1.5))
        [(1, 0.0), (2, 0.5), (3, 1.0)]
        >>> len(list(schedule(rate=10.0, requests=5, seconds=60.0)))
        5
    """
    most = requests if requests is not None else 100 if seconds is None else MOST
    for number in range(most):
        due = number / rate
        if seconds is not None and due >= seconds:
            return
        yield number + 1, due


def _call(
    number: int, url: str, method: str, headers: dict[str, str], timeout_s: float, stop: float | None
) -> ProbeAnswer | None:
    """One request; none if it had to wait for others until the stop time."""
    parts = urlsplit(url)
    identity = next((value for name, value in headers.items() if name.lower() == "x-request-id"), str(uuid.uuid4()))
    sent, begin = datetime.now(UTC), time.monotonic()
    if stop is not None and begin >= stop:
        return None
    host, port = parts.hostname or "", parts.port
    connection: http.client.HTTPConnection
    if parts.scheme == "https":
        connection = http.client.HTTPSConnection(host, port, timeout=timeout_s, context=ssl.create_default_context())
    else:
        connection = http.client.HTTPConnection(host, port, timeout=timeout_s)
    status, error = 0, ""
    try:
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        connection.request(method, target, headers={"User-Agent": "meshnb-probe", "X-Request-Id": identity, **headers})
        answer = connection.getresponse()
        answer.read()
        status = answer.status
    except (OSError, http.client.HTTPException) as problem:
        error = f"{type(problem).__name__}: {problem}"
    finally:
        connection.close()
    return ProbeAnswer(number, sent, status, (time.monotonic() - begin) * 1000, identity, error)
