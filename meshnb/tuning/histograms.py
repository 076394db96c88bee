"""Classic histograms: from cumulative buckets to what can be said of them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from meshnb.errors import UsageError
from meshnb.model.frame import returns
from meshnb.model.tables.control_plane import BUCKETS, QUANTILES

if TYPE_CHECKING:
    import pandas as pd


@returns(BUCKETS)
def buckets(cumulative: Mapping[float | str, float] | pd.DataFrame) -> pd.DataFrame:
    """One row per bucket with its own count.

    Args:
        cumulative: observations up to each `le`, or a sample frame with the columns `le` and `value`.

    Raises:
        UsageError: no bucket `+Inf`, or counts that fall.

    Example:
        >>> buckets({0.1: 10, 1: 20, "+Inf": 41})["count"].tolist()
        [10.0, 10.0, 21.0]
    """
    pairs = (
        cumulative.items()
        if isinstance(cumulative, Mapping)
        else zip(cumulative["le"], cumulative["value"], strict=True)
    )
    edges = _edges(pairs)
    total = edges[-1][1] if edges else 0.0
    lower, below, rows = 0.0, 0.0, []
    for upper, up_to in edges:
        # rates of one scrape may fall by a rounding error; Prometheus evens that out too
        if up_to < below * (1 - 1e-9):
            raise UsageError(f"not cumulative: {up_to:g} up to le={upper:g}, {below:g} before")
        up_to = max(up_to, below)
        share = (up_to - below) / total if total else None
        rows.append({"lower": lower, "le": upper, "cumulative": up_to, "count": up_to - below, "share": share})
        lower, below = upper, up_to
    return BUCKETS.rows(rows)


def _edges(pairs: Iterable[tuple[float | str, float]]) -> list[tuple[float, float]]:
    edges = sorted((float(le), float(value)) for le, value in pairs)
    if edges and not math.isinf(edges[-1][0]):
        raise UsageError("no bucket with le=+Inf", hint="aggregate with by (le), and keep every le")
    return edges


@returns(QUANTILES)
def quantiles(frame: pd.DataFrame, of: Sequence[float] = (0.5, 0.9, 0.99, 0.999), *, unit: str = "s") -> pd.DataFrame:
    """Quantiles with the bucket each lies in: the estimate is a straight line through it, the bounds are certain.

    Args:
        frame: as `buckets` gives it.
        of: quantiles, 0 to 1.
        unit: unit of the bounds.

    Example:
        >>> quantiles(buckets({1: 90, 3: 100, "+Inf": 100}), [0.95])["statement"][0]
        'between 1 and 3 s; 2 s if evenly spread'
    """
    rows = []
    total = float(frame["cumulative"].iloc[-1]) if len(frame) else 0.0
    for q in of:
        if not 0 <= q <= 1:
            raise UsageError(f"{q} is not a quantile", hint="0 to 1")
        if not total:
            rows.append({"quantile": q, "estimate": None, "statement": "no observation"})
            continue
        rank = q * total
        row = next(r for r in frame.itertuples() if r.cumulative >= rank * (1 - 1e-12))
        if math.isinf(row.le):
            text = f"above {row.lower:g} {unit}, the last edge; how far cannot be told"
            rows.append(
                {"quantile": q, "estimate": row.lower, "lower": row.lower, "upper": math.inf, "statement": text}
            )
            continue
        inside = (rank - (row.cumulative - row.count)) / row.count if row.count else 0.0
        estimate = row.lower + (row.le - row.lower) * inside
        text = f"between {row.lower:g} and {row.le:g} {unit}; {estimate:.3g} {unit} if evenly spread"
        rows.append({"quantile": q, "estimate": estimate, "lower": row.lower, "upper": row.le, "statement": text})
    return QUANTILES.rows(rows)
