"""Queries and their raw answers as documents of a snapshot, so that what was asked live can be looked at again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from meshnb.errors import Forbidden, MeshnbError, Unreachable
from meshnb.model.window import Window
from meshnb.sources.prometheus import PrometheusApi
from meshnb.sources.snapshot import SnapshotWriter

FORMAT = 1


@dataclass(frozen=True, slots=True)
class Ask:
    """A query to record: PromQL, and whether it is asked at the end of the window or over it."""

    expr: str
    kind: str = "range"


def record(
    writer: SnapshotWriter, api: PrometheusApi, asks: Mapping[str, Ask], *, window: Window, step_s: float, name: str
) -> list[str]:
    """Ask all queries and write them with their answers as `prometheus/NAME.json`.

    A query that fails is written with its error; a server that is gone or refuses ends it.

    Args:
        writer: the snapshot being written.
        api: whom to ask.
        asks: queries by name.
        window: the time to look at.
        step_s: seconds between two points.
        name: name of the document.

    Returns:
        What failed, as `NAME: reason`.

    Raises:
        Unreachable: Prometheus went away; the document is recorded as failed.
        Forbidden: it refuses the credentials.
    """
    path = f"prometheus/{name}.json"
    obtained = f"{api.url}/api/v1/query_range"
    failed: list[str] = []
    entries: list[bytes] = []
    try:
        for key, ask in asks.items():
            head = {"name": key, "kind": ask.kind, "query": ask.expr}
            try:
                answers = _answers(api, ask, window, step_s)
            except (Unreachable, Forbidden):
                raise
            except MeshnbError as error:
                failed.append(f"{key}: {error.message}")
                entries.append(_entry(head | {"error": error.message}, []))
                continue
            entries.append(_entry(head, answers))
    except MeshnbError as error:
        writer.fail(path, "prometheus", error.message, obtained=obtained)
        raise
    about = {
        "format": FORMAT,
        "start": window.start.isoformat(),
        "end": window.end.isoformat(),
        "step_s": step_s,
        "url": api.url,
    }
    body = json.dumps(about)[:-1].encode() + b',"queries":[\n' + b",\n".join(entries) + b"\n]}\n"
    writer.add(path, "prometheus", body, obtained=obtained)
    return failed


def _answers(api: PrometheusApi, ask: Ask, window: Window, step_s: float) -> list[bytes]:
    if ask.kind == "instant":
        return [api.query(ask.expr, at=window.end)]
    return list(api.query_range(ask.expr, window.start, window.end, step_s))


def _entry(head: Mapping[str, str], answers: list[bytes]) -> bytes:
    return json.dumps(head)[:-1].encode() + b',"answers":[' + b",".join(a.strip() for a in answers) + b"]}"
