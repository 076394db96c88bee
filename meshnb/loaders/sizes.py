"""The exact size of every part of a config dump."""

from __future__ import annotations

import re
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
"""Where a part begins and ends."""

# Envoy prints the name of a load assignment right after its type, which saves reading on
_NAME_NEXT = re.compile(rb'\{\s*"@type"\s*:\s*"[^"]*",\s*"(?:name|cluster_name)"\s*:\s*"([^"\\]*)"')


def size_rows(data: bytes, sections: list[tuple[str, msgspec.Raw, Section]]) -> list[dict[str, Any]]:
    """The rows of a document, see `meshnb.model.tables.envoy.SIZES`, largest resource first.

    Args:
        data: the document.
        sections: kind, raw text and decoded form of each section.
    """
    rows: list[dict[str, Any]] = []
    envelopes: list[dict[str, Any]] = []
    outer: list[Extent] = []
    for kind, raw, section in sections:
        whole = _extent(raw, data)
        outer.append(whole)
        inner: list[Extent] = []
        for part, row in _resources(kind, raw, section):
            extent = _extent(part, data)
            inner.append(extent)
            rows.append({**row, **_measure(data, [extent])})
        if inner != [whole]:
            envelopes.append({"section": kind or "unknown", "part": "envelope", **_measure(data, _gaps(whole, inner))})
    rest = _measure(data, _gaps((0, len(data)), outer))
    rows.sort(key=lambda row: -row["bytes"])
    rows += [*envelopes, {"section": "document", "part": "envelope", **rest}]
    for row in rows:
        row["share"] = row["bytes"] / len(data)
    return rows


def _resources(kind: str, raw: msgspec.Raw, section: Section) -> Iterator[tuple[msgspec.Raw, dict[str, Any]]]:
    if kind == "bootstrap":
        if section.bootstrap is not EMPTY:
            yield _row(kind, section.bootstrap, name="bootstrap", dynamic=False)
    elif kind not in KINDS.values():
        yield _row(kind or "unknown", raw, name=kind)
    else:
        for one in resources(kind, section):
            if one.size:
                yield _row(kind, one.raw, name=one.name, state=one.state, dynamic=one.dynamic)
        # a refused version stands in the document beside the one in use
        for name, refused in refused_beside(kind, section):
            yield _row(kind, refused, name=name, state="rejected", dynamic=True)


def _row(kind: str, raw: msgspec.Raw, *, name: str, **more: Any) -> tuple[msgspec.Raw, dict[str, Any]]:
    own = _name(raw) if kind not in ("bootstrap", "scoped_routes") else ""
    return raw, {"section": kind, "part": "resource", "resource": own or name, **more}


def _name(raw: msgspec.Raw) -> str:
    if found := _NAME_NEXT.match(memoryview(raw)[:1000]):
        return found[1].decode(errors="replace")
    named = read_name.maybe(raw)
    return named.name or named.cluster_name if named is not None else ""


def _extent(raw: msgspec.Raw, data: bytes) -> Extent:
    start = offset_of(raw, data)
    return start, start + len(memoryview(raw))


def _gaps(whole: Extent, parts: list[Extent]) -> list[Extent]:
    """What is left of an extent without its parts."""
    starts = [end for _, end in sorted(parts)]
    ends = [start for start, _ in sorted(parts)]
    return list(zip([whole[0], *starts], [*ends, whole[1]], strict=True))


def _measure(data: bytes, extents: list[Extent]) -> dict[str, int]:
    return {
        "bytes": sum(end - start for start, end in extents),
        "lines": sum(data.count(b"\n", start, end) for start, end in extents),
    }
