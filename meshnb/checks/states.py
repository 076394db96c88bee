"""What of Envoy's configuration counts: only what is in use decides about requests."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd


def in_use(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of a table of resources that Envoy uses now: neither warming nor draining nor rejected.

    A cluster that warms for the first time is not known to Envoy's workers: a route to it is answered like one to no
    cluster. One that warms again has a second row, the version still in use.

    Args:
        table: `listeners`, `routes`, `clusters` or `endpoints`.

    Example:
        >>> import pandas as pd
        >>> in_use(pd.DataFrame({"cluster": ["a", "b"], "state": ["active", "warming"]})).cluster.tolist()
        ['a']
    """
    return table[~table.state.isin(["warming", "draining", "rejected"])]
