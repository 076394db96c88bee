"""Prometheus over HTTP: raw answers in, typed errors out. Session, auth and TLS are those of prometheus-api-client.

Thanos, Mimir, Cortex and VictoriaMetrics answer the same API; give the URL that stands before `/api/v1`, for Mimir with
its prefix (`…/prometheus`) and the tenant in `headers={"X-Scope-OrgID": …}`.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

from meshnb.errors import MeshnbError, MissingExtra, SourceTimeout, Unreachable, UsageError
from meshnb.sources.prometheus_errors import TooMuch, refusal

MAX_POINTS = 11_000
"""Most points of one series that Prometheus gives in one answer; some backends allow fewer."""

_TRY_AGAIN = (429, 502, 503, 504)
_ALIVE_S = 10.0
_SILENT = 2


class _TokenFile:
    """Bearer token from a file, read anew for each request: Kubernetes rotates the tokens it mounts."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def __call__(self, request: Any) -> Any:
        try:
            token = self.path.read_text(encoding="utf-8").strip()
        except OSError as error:
            raise UsageError(f"the token file {self.path} cannot be read: {error.strerror}") from error
        request.headers["Authorization"] = f"Bearer {token}"
        return request


class PrometheusApi:
    """The HTTP API of one Prometheus, as raw answers.

    Args:
        url: what stands before `/api/v1`.
        token: bearer token.
        token_file: file holding a bearer token; read again for each request.
        user: name and password for basic authentication.
        ca: certificate file of the authority that signed the server's certificate.
        cert: client certificate and key file, for mutual TLS.
        verify: whether to verify the server's certificate.
        headers: further headers, such as a tenant.
        proxy: URL of an HTTP proxy; default is the environment's.
        timeout: seconds to wait for an answer.
        retries: how often to ask again after a connection error or a passing fault (429, 502, 503, 504).
        backoff: seconds before the first repetition; doubled for each further one.
        max_points: most points of a series in one answer.

    Raises:
        MissingExtra: prometheus-api-client is not installed.
    """

    def __init__(
        self,
        url: str,
        *,
        token: str = "",
        token_file: str | Path = "",
        user: tuple[str, str] | None = None,
        ca: str | Path = "",
        cert: tuple[str, str] | None = None,
        verify: bool = True,
        headers: Mapping[str, str] | None = None,
        proxy: str = "",
        timeout: float = 60.0,
        retries: int = 3,
        backoff: float = 0.5,
        max_points: int = MAX_POINTS,
    ) -> None:
        try:
            import requests
            from prometheus_api_client import PrometheusConnect
            from urllib3 import Retry
        except ImportError as error:
            raise MissingExtra("live", needed_for="asking Prometheus") from error
        if not url.startswith(("http://", "https://")):
            raise UsageError(f"{url!r} is not the URL of a Prometheus", hint="write it like http://localhost:9090")
        if sum(map(bool, (token, token_file, user))) > 1:
            raise UsageError("more than one of token, token_file and user is given", hint="give one")
        self.url = url.rstrip("/").removesuffix("/api/v1")
        self.session = requests.Session()
        self.session.cert = cert
        if token:
            self.session.headers["Authorization"] = f"Bearer {token}"
        self.client = PrometheusConnect(
            url=self.url,
            headers=dict(headers or {}),
            auth=_TokenFile(token_file) if token_file else user,
            proxy={"http": proxy, "https": proxy} if proxy else None,
            session=self.session,
            retry=Retry(total=0),  # `ask` repeats: it can tell a passing fault from a query that is too much
            timeout=timeout,
        )
        self.verify = str(ca) if ca else verify
        self.timeout, self.retries, self.backoff, self.max_points = timeout, retries, backoff, max_points
        self.skew_s = 0.0
        self._post = True

    def __repr__(self) -> str:
        return f"<PrometheusApi {self.url}>"

    def ask(self, path: str, params: Mapping[str, Any] | None = None, *, timeout_s: float | None = None) -> bytes:
        """One answer of the API, a JSON document whose status is `success`.

        Args:
            path: what follows `/api/v1/`.
            params: parameters; sent as a form, so a long query meets no limit of URLs.
            timeout_s: seconds to wait for the answer, if others than usual.

        Raises:
            Unreachable: nothing answers, or its certificate is not trusted.
            SourceTimeout: no answer in time, or the query takes too long for the server.
            Forbidden: it asks for other credentials.
            NotFound: there is no such path.
            UsageError: it refuses the query; names the position.
            FormatError: what answers is not Prometheus.
        """
        params = dict(params or {})
        for attempt in range(self.retries + 1):
            error, again = self._try(path, params, timeout_s or self.timeout)
            if isinstance(error, bytes):
                return error
            if not again or attempt == self.retries:
                raise error
            time.sleep(self.backoff * 2**attempt)
        raise AssertionError("unreachable")  # pragma: no cover - the loop returns or raises

    def _try(self, path: str, params: dict[str, Any], timeout_s: float) -> tuple[bytes | MeshnbError, bool]:
        """The answer, or what is wrong and whether it may pass."""
        import requests

        try:
            response = self._send(path, params, timeout_s)
        except requests.exceptions.SSLError as error:
            hint = "give the authority's certificate with ca=FILE"
            return Unreachable(f"the certificate of {self.url} is not trusted: {_reason(error)}", hint=hint), False
        except requests.exceptions.Timeout:
            hint = "ask for a shorter window or a longer step, or give a longer timeout"
            return SourceTimeout(f"{self.url} did not answer within {timeout_s:g} s", hint=hint), False
        except requests.exceptions.RequestException as error:
            hint = "is Prometheus running, and the URL the one before /api/v1?"
            return Unreachable(f"{self.url} cannot be reached: {_reason(error)}", hint=hint), True
        self._note_clock(response)
        wrong = refusal(
            self.url, path, params.get("query", ""), response.status_code, response.headers, response.content
        )
        if wrong is None:
            return response.content, False
        return wrong, response.status_code in _TRY_AGAIN and not isinstance(wrong, TooMuch)

    def _send(self, path: str, params: dict[str, Any], timeout_s: float) -> Any:
        url = f"{self.url}/api/v1/{path}"
        # `verify` is given each time: on the session, requests lets REQUESTS_CA_BUNDLE win over it
        options = {
            "headers": self.client.headers,
            "auth": self.client.auth,
            "timeout": timeout_s,
            "verify": self.verify,
        }
        form = self._post and path in ("query", "query_range", "series", "labels")
        response = self.session.post(url, data=params, **options) if form else None
        if response is not None and response.status_code != 405:
            return response
        self._post = response is None and self._post  # a proxy in between refuses POST: do not try again
        return self.session.get(url, params=params, **options)

    def _note_clock(self, response: Any) -> None:
        try:
            date = parsedate_to_datetime(response.headers["Date"])
        except (KeyError, TypeError, ValueError):
            return
        self.skew_s = (date - datetime.now(UTC)).total_seconds()

    def probe(self) -> None:
        """Ask the least there is to ask, so that a server that hangs is known at once.

        Raises:
            SourceTimeout, Unreachable, Forbidden, NotFound, FormatError: see `ask`; it waits ten seconds at most.
        """
        self.ask("query", {"query": "1"}, timeout_s=min(_ALIVE_S, self.timeout))

    def query(self, expr: str, *, at: datetime | None = None) -> bytes:
        """The raw answer to an instant query; see `ask` for the errors."""
        params: dict[str, Any] = {"query": expr, "timeout": f"{self.timeout:g}s"}
        return self.ask("query", params | ({"time": _unix(_ms(at))} if at else {}))

    def query_range(
        self,
        expr: str,
        start: datetime,
        end: datetime,
        step_s: float,
        *,
        progress: Callable[[int, int], None] | None = None,
    ) -> Iterator[bytes]:
        """The raw answers to a range query, in order of time, as many as its points need.

        Start and end are moved down to a multiple of the step, so answers join without seams and caches hit. A part
        that takes the server too long, or holds too many samples for it, is halved until it passes. A server that
        leaves even a query for `1` without an answer, or three parts in a row, is not asked again.

        Args:
            expr: the query.
            start: first time.
            end: last time, included.
            step_s: seconds between two points.
            progress: called with the points done and the points in all, after each answer.

        Raises:
            UsageError: a step that is not positive, or an end before the start.
        """
        step = round(step_s * 1000)
        if step <= 0:
            raise UsageError(f"a step of {step_s:g} s", hint="a millisecond or more")
        first, last = _ms(start) // step * step, _ms(end) // step * step
        if last < first:
            raise UsageError(f"the range ends ({end}) before it starts ({start})")
        total = (last - first) // step + 1
        span = self.max_points * step
        parts = [(low, min(low + span - step, last)) for low in range(first, last + 1, span)]
        parts.reverse()
        done = silent = 0
        while parts:
            low, high = parts.pop()
            params = {"query": expr, "start": _unix(low), "end": _unix(high), "step": f"{step / 1000:.3f}"}
            try:
                answer = self.ask("query_range", params | {"timeout": f"{self.timeout:g}s"})
            except SourceTimeout as error:
                if high == low:
                    raise
                if not isinstance(error, TooMuch):
                    silent += 1
                    if silent > _SILENT:
                        raise
                    self.probe()
                middle = low + (high - low) // step // 2 * step
                parts += [(middle + step, high), (low, middle)]
                continue
            silent = 0
            done += (high - low) // step + 1
            if progress:
                progress(done, total)
            yield answer

    def scrape_interval_s(self) -> float:
        """Longest scrape interval of the active targets, 15 s if it cannot be told."""
        from meshnb.model.window import parse_duration

        try:
            targets = json.loads(self.ask("targets", {"state": "active"}))["data"]["activeTargets"]
            return max(parse_duration(target["scrapeInterval"]).total_seconds() for target in targets)
        except (MeshnbError, KeyError, ValueError):
            return 15.0


def nice_step(seconds: float, *, scrape_interval_s: float = 15.0, points: int = 250) -> float:
    """Step in seconds for a window: about so many points, and never more often than scraped.

    Example:
        >>> nice_step(3600), nice_step(7 * 86400), nice_step(60)
        (15.0, 3600.0, 15.0)
    """
    wanted = max(seconds / points, scrape_interval_s)
    steps = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 21600, 43200)
    return float(next((step for step in steps if step >= wanted), 86400.0 * -(-wanted // 86400)))


def _ms(at: datetime) -> int:
    if at.tzinfo is None:
        raise UsageError(f"{at} has no time zone", hint="use datetime(…, tzinfo=UTC)")
    return round(at.timestamp() * 1000)


def _unix(ms: int) -> str:
    return f"{ms // 1000}.{ms % 1000:03d}"


def _reason(error: BaseException) -> str:
    """The innermost reason of requests' and urllib3's nested errors."""
    reason = getattr(error.args[0], "reason", None) if error.args else None
    inner = reason or error
    text = str(inner.args[-1] if inner.args else inner)
    return text.partition("] ")[2] or text
