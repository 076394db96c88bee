"""What the configuration of a whole fleet takes, from the dumps of some of its proxies."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from meshnb.errors import UsageError
from meshnb.model.frame import returns
from meshnb.model.tables.sidecars import FLEET_SIZE

if TYPE_CHECKING:
    import pandas as pd

# two-sided 95 % points of Student's t for 1 to 30 degrees of freedom; the normal distribution's beyond
_T = (
    12.71, 4.30, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31, 2.26, 2.23, 2.20, 2.18, 2.16, 2.14, 2.13,
    2.12, 2.11, 2.10, 2.09, 2.09, 2.08, 2.07, 2.07, 2.06, 2.06, 2.06, 2.05, 2.05, 2.05, 2.04,
)  # fmt: skip


@returns(FLEET_SIZE)
def fleet_size(sizes: Mapping[str, Sequence[int]], *, proxies: int) -> pd.DataFrame:
    """The total of a fleet with its sampling error.

    Args:
        sizes: sizes measured, one of each proxy, by what they are sizes of.
        proxies: proxies there are.

    Raises:
        UsageError: fewer proxies than were measured.

    Example:
        >>> rows = fleet_size({"without endpoints": [2_000_000, 2_000_000]}, proxies=200)
        >>> rows.total_bytes[0], rows.error_bytes[0]
        (400000000.0, 0.0)
    """
    if (most := max(map(len, sizes.values()), default=0)) > proxies:
        raise UsageError(f"{most} proxies were measured, more than {proxies}", hint="give the number of all proxies")
    return FLEET_SIZE.rows(_row(what, list(values), proxies) for what, values in sizes.items())


def _row(what: str, values: list[int], proxies: int) -> dict[str, Any]:
    row: dict[str, Any] = {"what": what, "sampled": len(values), "proxies": proxies}
    if not values:
        return row
    mean = statistics.fmean(values)
    row |= {"mean_bytes": mean, "smallest": min(values), "largest": max(values), "total_bytes": mean * proxies}
    if len(values) == proxies:
        return row | {"error_bytes": 0.0}
    if len(values) == 1:
        return row
    # of a finite fleet: the more of it was measured, the less is left to guess
    left = math.sqrt((proxies - len(values)) / (proxies - 1))
    error = statistics.stdev(values) / math.sqrt(len(values)) * left
    t = _T[len(values) - 2] if len(values) - 2 < len(_T) else 1.96
    return row | {"error_bytes": t * error * proxies}
