"""Output of the performance test of the chapter → one row per run."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from meshnb.errors import FormatError
from meshnb.model.frame import returns
from meshnb.model.tables.control_plane import PUSH_RUNS

if TYPE_CHECKING:
    import pandas as pd

_LINE = re.compile(
    r"(pre[ -]?pushes|push(?:es)? count|latency in the last minute)\W*(\d+(?:\.\d+)?)[ \t]*(\w*)", re.IGNORECASE
)


@returns(PUSH_RUNS)
def read_performance_test(text: str, *, name: str = "", file: str = "") -> pd.DataFrame:
    """Runs of `performance-test.sh`: pushes before, push count, P99 of the last minute.

    The script prints seconds; the book quotes milliseconds. A unit that is printed is heeded.

    Args:
        text: what it printed; several runs may follow one another.
        name: what to call the runs.
        file: how to name the document in an error.

    Raises:
        FormatError: no run in it.

    Example:
        >>> float(read_performance_test("Push count: 510; Latency in the last minute: 450 ms")["p99_s"][0])
        0.45
    """
    rows: list[dict[str, Any]] = []
    before: float | None = None
    for what, number, unit in _LINE.findall(text):
        if what.lower().startswith("pre"):
            before = float(number)
        elif what.lower().startswith("push"):
            rows.append({"name": f"{name} {len(rows) + 1}".strip(), "before": before, "pushes": round(float(number))})
        elif rows:
            rows[-1]["p99_s"] = float(number) / (1000 if unit.lower() in ("ms", "milliseconds") else 1)
    if not rows:
        hint = "the script prints: Pre Pushes, Push count, Latency in the last minute"
        raise FormatError("no run of the performance test in it", file=file, hint=hint)
    return PUSH_RUNS.rows(rows)
