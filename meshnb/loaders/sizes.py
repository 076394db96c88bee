"""The exact size of every part of a config dump."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from meshnb.loaders.documents import offset_of
from meshnb.loaders.proto import EMPTY, Message, Reader
from meshnb.loaders.sections import KINDS, Section, refused_beside, resources


class Named(Message):
    """What a resource is called: `name`, or `cluster_name` for a load assignment."""

    name: str = ""
    cluster_name: str = ""


read_name = Reader(Named)
Extent = tuple[int, int]
"""Bytes and line breaks."""


def size_rows(data: bytes, sections: list[tuple[str, msgspec.Raw, Section]]) -> list[dict[str, Any]]:
    """The rows of a document, see `meshnb.model.tables.envoy.SIZES`, largest resource first.

    Args:
        data: the document.
        sections: kind, raw text and decoded form of each section.
    """
    rows: list[dict[str, Any]] = []
    envelopes: list[dict[str, Any]] = []
    rest = (len(data), data.count(b"\n"))
    for kind, raw, section in sections:
        inner = _extent(raw, data)
        rest = _minus(rest, inner)
        for row in _resources(kind, raw, section, data):
            rows.append(row)
            inner = _minus(inner, (row["bytes"], row["lines"]))
        if inner[0]:
            envelopes.append({"section": kind or "unknown", "part": "envelope", "bytes": inner[0], "lines": inner[1]})
    envelopes.append({"section": "document", "part": "envelope", "bytes": rest[0], "lines": rest[1]})
    rows.sort(key=lambda row: -row["bytes"])
    rows += envelopes
    for row in rows:
        row["share"] = row["bytes"] / len(data)
    return rows


def _resources(kind: str, raw: msgspec.Raw, section: Section, data: bytes) -> Iterator[dict[str, Any]]:
    if kind == "bootstrap":
        if section.bootstrap is not EMPTY:
            yield _row(kind, section.bootstrap, data, name="bootstrap", dynamic=False)
    elif kind not in KINDS.values():
        yield _row(kind or "unknown", raw, data, name=kind)
    else:
        for one in resources(kind, section):
            if one.size:
                yield _row(kind, one.raw, data, name=one.name, state=one.state, dynamic=one.dynamic)
        # a refused version stands in the document beside the one in use
        for name, refused in refused_beside(kind, section):
            yield _row(kind, refused, data, name=name, state="rejected", dynamic=True)


def _row(kind: str, raw: msgspec.Raw, data: bytes, *, name: str, **more: Any) -> dict[str, Any]:
    named = read_name.maybe(raw) if kind not in ("bootstrap", "scoped_routes") else None
    own = (named.name or named.cluster_name) if named is not None else ""
    size, breaks = _extent(raw, data)
    return {"section": kind, "part": "resource", "resource": own or name, "bytes": size, "lines": breaks, **more}


def _extent(raw: msgspec.Raw, data: bytes) -> Extent:
    start, size = offset_of(raw, data), len(memoryview(raw))
    return size, data.count(b"\n", start, start + size)


def _minus(whole: Extent, part: Extent) -> Extent:
    return whole[0] - part[0], whole[1] - part[1]
