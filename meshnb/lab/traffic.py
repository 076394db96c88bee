"""Bounded traffic at the gateway."""

from __future__ import annotations

import http.client
import time
import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from meshnb.errors import LabError
from meshnb.lab.plan import GATEWAY_PORT, LabHome, Plan

HOST = "catalog.istioinaction.io"
FORWARDED_FOR = "203.0.113.7"
"""The client as a load balancer in front of the gateway would report it, of the range kept for documentation."""


@dataclass(frozen=True, slots=True)
class Request:
    """One request to the gateway.

    Args:
        host: its authority.
        path: its path.
        method: its method.
        headers: further headers.
        timeout: seconds after which the client gives up.
    """

    host: str = HOST
    path: str = "/items"
    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=dict)
    timeout: float = 15.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What the client saw of one request: status 0 if the connection ended without an answer."""

    request: Request
    request_id: str
    status: int
    seconds: float
    error: str = ""


@dataclass(frozen=True, slots=True)
class TrafficResult:
    """What came back.

    Args:
        answers: one per request, in the order they were sent.
    """

    answers: tuple[Answer, ...] = field(default=())

    @property
    def counts(self) -> Counter[int]:
        """Number of requests by status."""
        return Counter(answer.status for answer in self.answers)

    def __str__(self) -> str:
        total = len(self.answers)
        parts = [f"{status or 'no answer'}: {n}" for status, n in sorted(self.counts.items())]
        return f"{total} requests; {', '.join(parts) or 'none'}"


def traffic(
    home: LabHome | None = None,
    *,
    requests: int = 100,
    rate: float = 20.0,
    host: str = HOST,
    path: str = "/items",
    method: str = "GET",
    headers: Mapping[str, str] | None = None,
    timeout: float = 15.0,
) -> TrafficResult:
    """Send requests to the gateway, each on its own connection.

    Args:
        home: the lab; the default one if not given.
        requests: how many.
        rate: requests per second.
        host: authority of the requests.
        path: path of the requests.
        method: method of the requests.
        headers: further headers.
        timeout: seconds after which the client gives up.

    Raises:
        LabError: no lab runs, or its gateway does not listen.
    """
    return send([Request(host, path, method, headers or {}, timeout)] * requests, home, rate=rate)


def send(requests: Sequence[Request], home: LabHome | None = None, *, rate: float = 20.0) -> TrafficResult:
    """Send these requests to the gateway in this order, each on its own connection; see `traffic`."""
    plan = (home or LabHome.of()).load_plan()
    begin = time.monotonic()

    def send_one(numbered: tuple[int, Request]) -> Answer:
        number, request = numbered
        time.sleep(max(0.0, begin + number / rate - time.monotonic()))
        return _send(plan, request)

    with ThreadPoolExecutor(max_workers=32) as pool:
        answers = tuple(pool.map(send_one, enumerate(requests)))
    if answers and all(answer.error.startswith("ConnectionRefused") for answer in answers):
        raise LabError(f"the gateway does not listen on {plan.gateway}:{GATEWAY_PORT}", hint="meshnb lab status")
    return TrafficResult(answers)


def _send(plan: Plan, request: Request) -> Answer:
    identity = str(uuid.uuid4())
    own = {
        "Host": request.host,
        "User-Agent": "meshnb-lab/1",
        "X-Forwarded-For": FORWARDED_FOR,
        "X-Request-Id": identity,
    }
    start = time.monotonic()
    connection = http.client.HTTPConnection(
        plan.gateway, GATEWAY_PORT, timeout=request.timeout, source_address=(plan.client, 0)
    )
    status, error = 0, ""
    try:
        connection.request(request.method, request.path, headers={**own, **request.headers})
        response = connection.getresponse()
        response.read()
        status = response.status
    except (OSError, http.client.HTTPException) as problem:
        error = f"{type(problem).__name__}: {problem}"
    finally:
        connection.close()
    return Answer(request, identity, status, time.monotonic() - start, error)
