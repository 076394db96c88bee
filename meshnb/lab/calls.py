"""Small HTTP calls on loopback."""

from __future__ import annotations

import http.client
import json
from typing import Any

from meshnb.errors import LabError


def call(
    address: str, port: int, path: str, *, method: str = "GET", body: object = None, timeout: float = 10.0
) -> tuple[int, bytes]:
    """Status and body of one request.

    Raises:
        LabError: nothing answers.
    """
    connection = http.client.HTTPConnection(address, port, timeout=timeout)
    try:
        payload = None if body is None else json.dumps(body).encode()
        connection.request(method, path, payload, {"Content-Type": "application/json"} if payload else {})
        response = connection.getresponse()
        return response.status, response.read()
    except (OSError, http.client.HTTPException) as error:
        raise LabError(
            f"no answer from {address}:{port}{path}: {error}", hint="look at it: meshnb lab status"
        ) from error
    finally:
        connection.close()


def call_json(address: str, port: int, path: str, *, method: str = "GET", body: object = None) -> Any:
    """Parsed JSON answer of one request.

    Raises:
        LabError: nothing answers, or it answers with an error; its text is the message.
    """
    status, answer = call(address, port, path, method=method, body=body, timeout=30.0)
    if status != 200:
        raise LabError(answer.decode(errors="replace").strip() or f"HTTP {status} from {address}:{port}{path}")
    return json.loads(answer)
