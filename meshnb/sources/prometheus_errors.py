"""What a Prometheus, or the proxy before it, means by a refusal."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Mapping

from meshnb.errors import Forbidden, FormatError, MeshnbError, NotFound, SourceTimeout, Unreachable, UsageError

_POSITION = re.compile(r"(?:^|[ \"])(\d+):(\d+): ")
_TITLE = re.compile(rb"<title[^>]*>(.*?)</title>", re.IGNORECASE | re.DOTALL)


class TooMuch(SourceTimeout):
    """The query is too much for the server as it stands: a shorter range may pass."""


def refusal(url: str, path: str, expr: str, status: int, headers: Mapping[str, str], body: bytes) -> MeshnbError | None:
    """What is wrong with an answer, `None` if it is a success.

    Args:
        url: address of the server.
        path: path asked for, below `/api/v1/`.
        expr: the query, empty if there was none.
        status: HTTP status.
        headers: its headers.
        body: its body.
    """
    if status in (401, 403):
        what = "asks who you are" if status == 401 else "refuses these credentials"
        return Forbidden(f"{url} {what} (HTTP {status})", hint="give token=, token_file=, user= or cert=")
    if "html" in headers.get("Content-Type", "") or body.lstrip()[:1] == b"<":
        return _html(url, status, body)
    try:
        answer = json.loads(body) if status != 200 else _envelope(body)
        kind, message = answer.get("errorType", ""), answer.get("error", "")
        success = answer.get("status") == "success"
    except (ValueError, AttributeError):
        return _not_json(url, path, status, body)
    if status == 200 and success:
        return None
    if kind in ("timeout", "canceled") or (kind == "execution" and _heavy(message)):
        return TooMuch(f"the query is too much for {url}: {message}", hint="shorten the window or lengthen the step")
    if kind in ("bad_data", "execution") or status in (400, 422):
        return promql_error(message or body[:200].decode(errors="replace"), expr)
    if status == 404 or kind == "not_found":
        return NotFound(f"{url} knows no {path}", hint="it may be an older version, or a backend without this endpoint")
    return Unreachable(f"{url} answered HTTP {status}: {message or kind or 'no reason given'}", hint="try again later")


def promql_error(message: str, expr: str) -> UsageError:
    """A refused query with the place marked.

    Example:
        >>> print(promql_error('invalid parameter "query": 1:5: parse error: unexpected "}"', "sum(}"))
        Prometheus refuses the query at line 1, column 5: parse error: unexpected "}"
          → sum(}
                ^
    """
    found = _POSITION.search(message)
    if not found:
        return UsageError(f"Prometheus refuses the query: {message}", hint=expr)
    line, column = int(found[1]), int(found[2])
    text = message[found.end() :]
    lines = expr.splitlines() or [""]
    shown = lines[line - 1] if line <= len(lines) else expr
    caret = f"{shown}\n{' ' * (column + 3)}^"
    return UsageError(f"Prometheus refuses the query at line {line}, column {column}: {text}", hint=caret)


def _envelope(body: bytes) -> dict[str, str]:
    """Status and error of an answer, without decoding its data."""
    import msgspec

    class Envelope(msgspec.Struct):
        status: str
        errorType: str = ""  # noqa: N815 - Prometheus' name
        error: str = ""

    try:
        envelope = msgspec.json.decode(body, type=Envelope)
    except msgspec.MsgspecError as error:
        raise ValueError(str(error)) from error
    return {"status": envelope.status, "errorType": envelope.errorType, "error": envelope.error}


def _html(url: str, status: int, body: bytes) -> MeshnbError:
    title = _TITLE.search(body)
    name = html.unescape(title[1].decode(errors="replace")).strip() if title else "without a title"
    hint = "a login page or a proxy answers; check the URL, and that it is the one before /api/v1"
    if status in (502, 503, 504):
        return Unreachable(f"a proxy before {url} answered HTTP {status}: {name!r}", hint="is Prometheus up behind it?")
    return FormatError(f"an HTML page answered instead of Prometheus: {name!r} (HTTP {status})", file=url, hint=hint)


def _not_json(url: str, path: str, status: int, body: bytes) -> MeshnbError:
    text = body[:120].decode(errors="replace").strip()
    if status == 404:
        hint = "give the URL before /api/v1; Mimir and Cortex serve it below /prometheus"
        return NotFound(f"nothing at {url}/api/v1/{path}: {text}", hint=hint)
    if status in (429, 502, 503, 504):
        return Unreachable(f"{url} answered HTTP {status}: {text or 'nothing'}", hint="try again later")
    if status == 200:
        return FormatError(f"the answer is not whole JSON, it begins with {text[:60]!r}", file=f"{url}/api/v1/{path}")
    return FormatError(f"HTTP {status} instead of an answer of Prometheus: {text!r}", file=url)


def _heavy(message: str) -> bool:
    return any(word in message for word in ("too many samples", "timed out", "exceed", "limit"))
