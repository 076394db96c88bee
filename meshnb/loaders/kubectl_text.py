"""What `kubectl top pod` and `kubectl resource-capacity` print."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from meshnb.errors import FormatError
from meshnb.loaders.text_table import decode_text, read_text_table
from meshnb.model.frame import returns
from meshnb.model.tables.components import POD_USAGE, RESOURCE_CAPACITY

if TYPE_CHECKING:
    import pandas as pd

_FIRST = "NAMESPACE|POD|NAME"
_DATE = re.compile(r"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun) .*\d\d:\d\d:\d\d|\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d")
_ZONE = re.compile(r" (?:UTC|GMT|Z)\b")
_DATES = ("%a %b %d %H:%M:%S %Y", "%a %d %b %Y %I:%M:%S %p", "%a %d %b %H:%M:%S %Y", "%a %d %b %Y %H:%M:%S")
_QUANTITY = re.compile(r"(\d+(?:\.\d+)?)([A-Za-z]*)")
_SCALE = {
    "": 1.0,
    "n": 1e-9,
    "u": 1e-6,
    "m": 1e-3,
    "k": 1e3,
    "M": 1e6,
    "G": 1e9,
    "T": 1e12,
    "Ki": 2.0**10,
    "Mi": 2.0**20,
    "Gi": 2.0**30,
    "Ti": 2.0**40,
}
_COLUMNS = {
    "CPU REQUESTS": "cpu_requests_m",
    "CPU LIMITS": "cpu_limits_m",
    "CPU UTIL": "cpu_used_m",
    "MEMORY REQUESTS": "memory_requests_bytes",
    "MEMORY LIMITS": "memory_limits_bytes",
    "MEMORY UTIL": "memory_used_bytes",
}


def quantity(text: str) -> float | None:
    """A quantity of Kubernetes as a number; missing if it is none.

    Example:
        >>> quantity("250m"), quantity("64Mi"), quantity("<unknown>")
        (0.25, 67108864.0, None)
    """
    match = _QUANTITY.fullmatch(text.strip())
    return float(match[1]) * _SCALE[match[2]] if match and match[2] in _SCALE else None


@returns(POD_USAGE)
def read_top(data: bytes | str, *, namespace: str = "", file: str = "") -> pd.DataFrame:
    r"""What `kubectl top pod` printed, with or without `--containers`, `-A`, sums and colours, once or in a loop.

    A loop is read as `while true; do date -u; kubectl top pod -n istio-system --containers; sleep 5; done` prints it:
    each table gets the date before it, or after it if the first table stands before the first date.

    Args:
        data: the text.
        namespace: of the pods, where it was not printed.
        file: how to name it in an error.

    Raises:
        FormatError: no such table, or a date whose time zone is not known.

    Example:
        >>> read_top("POD    NAME    CPU(cores)    MEMORY(bytes)\nistiod-1    discovery    3m    51Mi").cpu_m.tolist()
        [3.0]
    """
    made = []
    for at, row in _looped(decode_text(data), file):
        if not {"CPU(cores)", "MEMORY(bytes)"} <= set(row):
            raise FormatError(f"not a table of kubectl top: columns {', '.join(row)}", file=file)
        cpu = quantity(row["CPU(cores)"])
        made.append(
            {
                "time": at,
                "namespace": row.get("NAMESPACE") or namespace or None,
                "pod": row["POD"] if "POD" in row else row["NAME"],
                "container": row["NAME"] if "POD" in row else None,
                "cpu_m": cpu * 1000 if cpu is not None else None,
                "memory_bytes": quantity(row["MEMORY(bytes)"]),
            }
        )
    # the line of `--sum` has neither pod nor container
    return POD_USAGE.rows(row for row in made if row["pod"])


def _looped(text: str, file: str) -> Iterator[tuple[datetime | None, dict[str, str]]]:
    """Rows of every table, each with the time printed with its table."""
    lines = text.splitlines()
    dates = {number: at for number, line in enumerate(lines) if (at := _date(line, file, number + 1))}
    hint = "save it with: kubectl top pod --containers"
    if not dates:
        yield from ((None, row) for row in read_text_table(text, first=_FIRST, file=file, hint=hint))
        return
    header = next((n for n, line in enumerate(lines) if re.match(rf"\s*(?:{_FIRST})\s", line)), 0)
    cuts = [-1, *dates, len(lines)]
    dated_before = header > min(dates)
    found = False
    for begin, end in pairwise(cuts):
        part = "\n".join(lines[begin + 1 : end])
        if not re.search(rf"^\s*(?:{_FIRST})\s", part, re.MULTILINE):
            continue  # the loop ended, or kubectl had no answer this time
        found = True
        at = dates.get(begin if dated_before else end)
        yield from ((at, row) for row in read_text_table(part, first=_FIRST, file=file, hint=hint))
    if not found:
        read_text_table(text, first=_FIRST, file=file, hint=hint)


def _date(line: str, file: str, number: int) -> datetime | None:
    """The time in a line that `date` printed: ISO 8601, or its usual form in English and UTC."""
    text = line.strip()
    if not _DATE.match(text):
        return None
    plain = " ".join(_ZONE.sub(" ", text).split())
    at = _parsed(text, "") or next((found for form in _DATES if (found := _parsed(plain, form))), None)
    if at is not None and (at.tzinfo or _ZONE.search(text)):
        return at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)
    raise FormatError(f"{text!r} has no time zone that is known", file=file, position=f"line {number}", hint="date -u")


def _parsed(text: str, form: str) -> datetime | None:
    try:
        return datetime.strptime(text, form) if form else datetime.fromisoformat(text)
    except ValueError:
        return None


@returns(RESOURCE_CAPACITY)
def read_resource_capacity(data: bytes | str, *, file: str = "") -> pd.DataFrame:
    """What `kubectl resource-capacity` printed, with whatever of its options `-p -c -u -a`.

    Raises:
        FormatError: no such table.
    """
    rows = read_text_table(
        decode_text(data), first="NODE", file=file, hint="save it with: kubectl resource-capacity -c -u -a"
    )
    return RESOURCE_CAPACITY.rows(_capacity(row) for row in rows)


def _capacity(row: dict[str, str]) -> dict[str, Any]:
    made: dict[str, Any] = {
        name.lower(): row.get(name) or None for name in ("NODE", "NAMESPACE", "POD", "CONTAINER") if name in row
    }
    made["node"] = made.get("node") or "*"
    for header, column in _COLUMNS.items():
        if header not in row:
            continue
        scale = 1000.0 if column.endswith("_m") else 1.0
        # `250m (12%)` is what is taken; with -a `1750m/2000m` is what is left, of what there is
        amount, slash, capacity = row[header].partition(" (")[0].partition("/")
        value, whole = quantity(amount), quantity(capacity)
        if slash and value is not None and whole is not None:
            value = whole - value
            made["cpu_capacity_m" if scale == 1000.0 else "memory_capacity_bytes"] = whole * scale
        made[column] = value * scale if value is not None else None
    return made
