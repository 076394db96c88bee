"""Queries and their raw answers as documents of a snapshot, so that what was asked live can be looked at again."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from meshnb.errors import Forbidden, MeshnbError, SourceTimeout, Unreachable
from meshnb.model.window import Window
from meshnb.sources.prometheus import PrometheusApi
from meshnb.sources.snapshot import SnapshotWriter

FORMAT = 1

MOST_FAILURES = 3
"""So many queries in a row without an answer, and the rest are not asked: each may cost the whole timeout."""

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Ask:
    """A query to record: PromQL, and whether it is asked at the end of the window or over it."""

    expr: str
    kind: str = "range"


class Recorder:
    """Asks query after query and writes the answers; stops asking a server that does not answer any more.

    Args:
        writer: the snapshot being written.
        api: whom to ask.
        window: the time to look at.
        step_s: seconds between two points.
        progress: told of each query, in a line.
        total: queries there will be, for the progress.

    Raises:
        SourceTimeout, Unreachable, Forbidden, NotFound, FormatError: there is no Prometheus that answers.
    """

    def __init__(
        self,
        writer: SnapshotWriter,
        api: PrometheusApi,
        *,
        window: Window,
        step_s: float = 15.0,
        progress: Progress = lambda _: None,
        total: int = 0,
    ) -> None:
        self.writer, self.api, self.window, self.step_s = writer, api, window, step_s
        self.progress, self.total = progress, total
        self.failed: list[str] = []
        """What failed so far, as `NAME: reason`."""
        self.ended = ""
        """Why nothing more is asked; empty while it is."""
        self._asked = self._in_a_row = 0
        try:
            api.probe()
        except MeshnbError as error:
            writer.fail("prometheus/answers.json", "prometheus", error.message, obtained=f"{api.url}/api/v1/query")
            raise

    def record(self, asks: Mapping[str, Ask], name: str) -> None:
        """Ask queries and write them with their answers as `prometheus/NAME.json`; one that fails with its error.

        Args:
            asks: queries by name.
            name: name of the document.
        """
        entries = [self._entry_of(key, ask) for key, ask in asks.items()]
        about = {
            "format": FORMAT,
            "start": self.window.start.isoformat(),
            "end": self.window.end.isoformat(),
            "step_s": self.step_s,
            "url": self.api.url,
        }
        body = json.dumps(about)[:-1].encode() + b',"queries":[\n' + b",\n".join(entries) + b"\n]}\n"
        self.writer.add(f"prometheus/{name}.json", "prometheus", body, obtained=f"{self.api.url}/api/v1/query_range")

    def _entry_of(self, key: str, ask: Ask) -> bytes:
        head = {"name": key, "kind": ask.kind, "query": ask.expr}
        self._asked += 1
        if self.ended:
            return self._failure(head, f"not asked: {self.ended}")
        self.progress(f"query {self._asked} of {max(self.total, self._asked)}: {key}")
        try:
            answers = _answers(self.api, ask, self.window, self.step_s)
        except MeshnbError as error:
            self._count(error)
            return self._failure(head, error.message)
        self._in_a_row = 0
        return _entry(head, answers)

    def _failure(self, head: dict[str, str], reason: str) -> bytes:
        self.failed.append(f"{head['name']}: {reason}")
        return _entry(head | {"error": reason}, [])

    def _count(self, error: MeshnbError) -> None:
        """A query that is wrong says nothing of the server; one without an answer does."""
        if not isinstance(error, (SourceTimeout, Unreachable, Forbidden)):
            self._in_a_row = 0
            return
        self._in_a_row += 1
        try:
            self.api.probe()
        except MeshnbError as gone:
            self.ended = gone.message
        if not self.ended and self._in_a_row >= MOST_FAILURES:
            self.ended = f"{self._in_a_row} queries in a row failed, the last with: {error.message}"
        if self.ended:
            self.progress(f"no further query: {self.ended}")


def _answers(api: PrometheusApi, ask: Ask, window: Window, step_s: float) -> list[bytes]:
    if ask.kind == "instant":
        return [api.query(ask.expr, at=window.end)]
    return list(api.query_range(ask.expr, window.start, window.end, step_s))


def _entry(head: Mapping[str, str], answers: list[bytes]) -> bytes:
    return json.dumps(head)[:-1].encode() + b',"answers":[' + b",".join(a.strip() for a in answers) + b"]}"
