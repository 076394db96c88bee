"""The lines of an Istio component's log within a span of time, as `istioctl bug-report` cuts them.

Istio writes `TIME<TAB>LEVEL<TAB>…` or, with `--log_as_json`, objects with `time`. Lines without a time of their own
(stack traces, access log lines between) go with the line before them.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime

_TIME = re.compile(r'(?:^|"time":\s*")(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d))')


def line_time(line: str) -> datetime | None:
    r"""When a line was written, UTC; `None` if it does not say.

    Example:
        >>> line_time("2020-06-29T23:37:27.336155Z\tinfo\tStarting gateway SDS").microsecond
        336155
        >>> line_time("goroutine 1 [running]:") is None
        True
    """
    found = _TIME.search(line)
    if found is None:
        return None
    try:
        return datetime.fromisoformat(found.group(1)).astimezone(UTC)
    except ValueError:  # a 13th month, a 25th hour
        return None


def lines_between(text: str, *, start: datetime | None = None, end: datetime | None = None) -> str:
    r"""The lines written from `start` to `end`, both included; a bound left out does not cut.

    Args:
        text: a log, in text or JSON form.
        start: first moment, with a time zone.
        end: last moment, with a time zone.

    Returns:
        The lines, as they stand; what comes before the first time in the log is kept only without a `start`.

    Example:
        >>> lines_between("2020-01-01T00:00:00Z\tinfo\ta\n2020-01-02T00:00:00Z\tinfo\tb\n",
        ...               start=datetime(2020, 1, 2, tzinfo=UTC))
        '2020-01-02T00:00:00Z\tinfo\tb\n'
    """
    kept, inside = [], start is None
    for line in text.splitlines(keepends=True):
        time = line_time(line)
        if time is not None:
            inside = (start is None or time >= start) and (end is None or time <= end)
        if inside:
            kept.append(line)
    return "".join(kept)
