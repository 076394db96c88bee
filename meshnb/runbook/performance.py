"""Runs of the performance test side by side, taken from Prometheus."""

from __future__ import annotations

from typing import TYPE_CHECKING

from meshnb.errors import UsageError
from meshnb.model.frame import returns
from meshnb.model.tables.control_plane import PUSH_RUNS

if TYPE_CHECKING:
    import pandas as pd


@returns(PUSH_RUNS)
def push_runs(url: str = "", **runs: str) -> pd.DataFrame:
    """Pushes, P99 of convergence and objects of each run, in the order given.

    Args:
        url: the Prometheus that scraped istiod, what stands before `/api/v1`; empty for the runs of the study notes.
        runs: the window of each run by its name: `10m` for the last ten minutes, or `START/END`; empty to leave it out.

    Raises:
        UsageError: no run is named, or its window cannot be read.
        Unreachable, Forbidden, NotFound: as `meshnb.Prometheus.query`.

    Example:
        >>> push_runs()["pushes"].tolist()
        [510, 51, 510, 88, 28]
    """
    import pandas as pd

    from meshnb.runbook.prometheus import Prometheus
    from meshnb.tuning import noted_runs

    if not url:
        return noted_runs()
    windows = {name: window for name, window in runs.items() if window}
    if not windows:
        raise UsageError("no run to measure", hint="give when it ran, such as before='START/END' or before='10m'")
    prometheus = Prometheus(url)
    return pd.concat([prometheus.push_run(name, window) for name, window in windows.items()], ignore_index=True)
