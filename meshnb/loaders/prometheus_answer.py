"""The parts of an answer of Prometheus that tables need, as typed structs; samples stay raw text."""

from __future__ import annotations

from datetime import datetime

import msgspec


class Series(msgspec.Struct):
    """One series: labels and samples, `value`/`histogram` from an instant query, the plurals from a range."""

    metric: dict[str, str] = {}
    value: msgspec.Raw = msgspec.Raw()
    values: msgspec.Raw = msgspec.Raw()
    histogram: msgspec.Raw = msgspec.Raw()
    histograms: msgspec.Raw = msgspec.Raw()


class Data(msgspec.Struct):
    """The result, and of which type it is."""

    resultType: str = ""  # noqa: N815 - Prometheus' name
    result: msgspec.Raw = msgspec.Raw()


class Answer(msgspec.Struct):
    """The envelope of a successful answer."""

    data: Data
    warnings: list[str] | None = None
    infos: list[str] | None = None


class RecordedQuery(msgspec.Struct):
    """A query in a snapshot, with its answers or why there is none."""

    name: str
    query: str
    kind: str = "range"
    error: str = ""
    answers: list[msgspec.Raw] = []


class Recording(msgspec.Struct):
    """A document of recorded queries."""

    format: int
    start: datetime
    end: datetime
    step_s: float
    queries: list[RecordedQuery]
