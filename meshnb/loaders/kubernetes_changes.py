"""Kubernetes objects, watches and Events → when something changed that istiod pushes.

Three things are read: what `kubectl get … -o json` prints (the times an object was created and last changed by each of
its managers), a watch (`kubectl get … --watch --output-watch-events -o json`, or the API's own lines), and Events.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from meshnb.errors import FormatError
from meshnb.loaders.objects import decode_objects, metadata
from meshnb.loaders.shape import shaped
from meshnb.model.frame import returns
from meshnb.model.tables.control_plane import CHANGES
from meshnb.model.times import timestamp

if TYPE_CHECKING:
    import pandas as pd

FULL, ENDPOINTS = "full", "endpoints"

_ENDPOINT_KINDS = ("EndpointSlice", "Endpoints")
_FULL_KINDS = ("Service", "Ingress", "IngressClass")
_FULL_GROUPS = (
    "networking.istio.io",
    "security.istio.io",
    "telemetry.istio.io",
    "extensions.istio.io",
    "gateway.networking.k8s.io",
)
_ENDPOINT_REASONS = ("Started", "Killing")
"""Events of a pod after which it comes to or goes from its services."""

_TRIGGER = "endpoints.kubernetes.io/last-change-trigger-time"
_STAMPED = re.compile(rb"^(\d{4}-\d\d-\d\dT\S+Z)[ \t]+(?=\{)", re.MULTILINE)
_WATCHED = ("ADDED", "MODIFIED", "DELETED", "BOOKMARK", "ERROR")

Object = Mapping[str, Any]


@returns(CHANGES)
@shaped("Kubernetes objects, a watch of them, or Events")
def read_changes(data: bytes | str, *, file: str = "") -> pd.DataFrame:
    """When objects changed, oldest first, and what istiod pushes for it.

    `managedFields` holds one time for each manager of an object, to the second: of several changes in between only the
    last is known (kubectl prints it with `--show-managed-fields`). A watch tells every change; if each of its lines
    begins with the time it came, as `TZ=UTC ts '%FT%.TZ'` writes it, that counts.

    Args:
        data: JSON or YAML of objects or Events; or a watch, JSON after JSON.
        file: how to name the document in an error.

    Raises:
        FormatError: it is none of these.

    Example:
        >>> watch = '{"type": "DELETED", "object": {"kind": "EndpointSlice", "metadata": {"name": "catalog-x"}}}'
        >>> frame = read_changes("2026-11-23T09:00:00.250Z " + watch)
        >>> frame["change"][0], frame["push"][0], frame["time"][0].microsecond
        ('deleted', 'endpoints', 250000)
    """
    raw = data.encode() if isinstance(data, str) else data
    rows: list[dict[str, Any]] = []
    if _STAMPED.match(raw.lstrip()) or b'"type"' in raw[:200]:
        for stamp, event in _stream(raw, file):
            rows += _watched(event, stamp, file)
    else:
        for thing in decode_objects(raw, file=file):
            rows += _event(thing, file) if thing.get("kind") == "Event" else _dated(thing, file)
    rows.sort(key=lambda row: (row["time"] is None, row["time"] and row["time"].timestamp()))
    return CHANGES.rows(rows)


def _stream(raw: bytes, file: str) -> Iterator[tuple[datetime | None, Object]]:
    """The events of a watch, JSON after JSON, each with the time written before it."""
    stamps = [(found.start(), found.end(), found[1].decode()) for found in _STAMPED.finditer(raw)]
    text = raw.decode(errors="replace") if not stamps else ""
    if stamps:
        ends = [start for start, _, _ in stamps[1:]] + [len(raw)]
        for (_, begin, stamp), end in zip(stamps, ends, strict=True):
            for _, event in _stream(raw[begin:end].strip(), file):
                yield timestamp(stamp), event
        return
    decoder, place = json.JSONDecoder(), 0
    while place < len(text):
        try:
            event, place = decoder.raw_decode(text, place)
        except ValueError as error:
            hint = "the watch may be cut short: drop what follows the last whole event"
            position = f"line {text.count(chr(10), 0, place) + 1}"
            raise FormatError(f"not JSON: {error}", file=file, position=position, hint=hint) from error
        if (
            not isinstance(event, dict)
            or event.get("type") not in _WATCHED
            or not isinstance(event.get("object"), dict)
        ):
            raise FormatError("an event of a watch expected, with type and object", file=file)
        yield None, event
        place += len(text[place:]) - len(text[place:].lstrip())


def _watched(event: Object, stamp: datetime | None, file: str) -> Iterator[dict[str, Any]]:
    """Rows of one event of a watch; its first ones tell what was there already."""
    kind, thing = event["type"], event["object"]
    if kind in ("BOOKMARK", "ERROR"):
        return
    if thing.get("kind") == "Event":
        yield from _event(thing, file)
    elif kind == "ADDED":
        created = timestamp(metadata(thing, file=file).get("creationTimestamp"))
        yield _row(thing, file, "created", stamp or created, _push(thing))
    elif kind == "DELETED":
        meta = metadata(thing, file=file)
        yield _row(thing, file, "deleted", stamp or timestamp(meta.get("deletionTimestamp")), _push(thing))
    else:
        changes = _managed(thing)
        last = max(changes, key=lambda one: one[0], default=(None, False))
        triggered = (thing["metadata"].get("annotations") or {}).get(_TRIGGER)
        at = stamp or (timestamp(triggered) if triggered else None) or last[0]
        yield _row(thing, file, "status" if last[1] else "changed", at, None if last[1] else _push(thing))


def _dated(thing: Object, file: str) -> Iterator[dict[str, Any]]:
    """Rows of an object: when it was created, and when each of its managers changed it last."""
    meta = metadata(thing, file=file)
    created = timestamp(meta.get("creationTimestamp"))
    if created:
        yield _row(thing, file, "created", created, _push(thing))
    for at in sorted({at for at, status in _managed(thing) if not status and at != created}):
        yield _row(thing, file, "changed", at, _push(thing))
    if deleted := timestamp(meta.get("deletionTimestamp")):
        yield _row(thing, file, "deleted", deleted, _push(thing))


def _managed(thing: Object) -> list[tuple[datetime, bool]]:
    """Times of changes by manager, and whether they were to the status alone, for which nothing is pushed."""
    found = []
    for entry in thing["metadata"].get("managedFields") or ():
        at = timestamp(entry.get("time"))
        if at:
            found.append((at, entry.get("subresource") == "status"))
    return found


def _event(thing: Object, file: str) -> Iterator[dict[str, Any]]:
    """The row of an Event, core/v1 or events.k8s.io/v1, with how often it was repeated."""
    about = thing.get("involvedObject") or thing.get("regarding") or {}
    series = thing.get("series") or {}
    first = thing.get("firstTimestamp") or thing.get("deprecatedFirstTimestamp") or thing.get("eventTime")
    last = series.get("lastObservedTime") or thing.get("lastTimestamp") or thing.get("deprecatedLastTimestamp")
    reason = str(thing.get("reason") or "")
    named = {
        "kind": about.get("kind") or "",
        "apiVersion": about.get("apiVersion") or "",
        "metadata": {"name": about.get("name") or "", "namespace": about.get("namespace")},
    }
    push = ENDPOINTS if about.get("kind") == "Pod" and reason in _ENDPOINT_REASONS else None
    row = _row(named, file, reason, timestamp(last or first or _created(thing, file)), push)
    count = series.get("count") or thing.get("count") or thing.get("deprecatedCount") or 1
    yield row | {"since": timestamp(first), "count": int(count)}


def _created(thing: Object, file: str) -> Any:
    return metadata(thing, file=file).get("creationTimestamp")


def _push(thing: Object) -> str | None:
    """What istiod pushes when such an object changes; of pods it hears, but their EndpointSlices tell the same."""
    kind, group = str(thing.get("kind") or ""), str(thing.get("apiVersion") or "").partition("/")[0]
    if kind in _ENDPOINT_KINDS:
        return ENDPOINTS
    return FULL if kind in _FULL_KINDS or group in _FULL_GROUPS else None


def _row(thing: Object, file: str, change: str, at: datetime | None, push: str | None) -> dict[str, Any]:
    meta = metadata(thing, file=file)
    return {
        "time": at,
        "kind": thing.get("kind") or "",
        "namespace": meta.get("namespace"),
        "name": meta["name"],
        "change": change,
        "push": push,
        "since": at,
        "count": 1,
    }
