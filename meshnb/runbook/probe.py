"""Calls from outside, as a table and a chart: what a caller of the mesh gets now."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING

from meshnb.model.tables.logs import PROBE

if TYPE_CHECKING:
    import pandas as pd

    from meshnb.views.charts import Chart
    from meshnb.views.tables import Table


class Probe:
    """The answers of a probe. Made by `probe`.

    Args:
        df: one row per request, see `meshnb.model.tables.logs.PROBE`.
        url: what was called.
    """

    def __init__(self, df: pd.DataFrame, url: str) -> None:
        self.df = df
        self.url = url

    @property
    def counts(self) -> dict[int, int]:
        """Requests by status; 0 for those without an answer."""
        return {int(status): int(count) for status, count in self.df.status.value_counts().sort_index().items()}

    def __repr__(self) -> str:
        parts = [f"{count} times {status or 'no answer'}" for status, count in self.counts.items()]
        return f"<Probe {self.url}: {len(self.df)} requests, {', '.join(parts) or 'none answered'}>"

    def table(self) -> Table:
        """Requests, share and durations by status."""
        import pandas as pd

        from meshnb.views.tables import table

        rows = [
            {
                "status": int(status),
                "requests": len(group),
                "share": len(group) / len(self.df),
                "p50_ms": float(group.duration_ms.quantile(0.5)),
                "p99_ms": float(group.duration_ms.quantile(0.99)),
                "error": group.error.dropna().iloc[0] if group.error.notna().any() else None,
            }
            for status, group in self.df.groupby("status")
        ]
        return table(pd.DataFrame(rows), title=f"Answers of {self.url}")

    def chart(self) -> Chart:
        """Requests over time by status."""
        from meshnb.views.charts import timeline

        shown = self.df.assign(answer=[str(status) if status else "no answer" for status in self.df.status])
        return timeline(shown, time="time", color="answer", title=f"Answers of {self.url} by status")

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, object]:
        return {"text/plain": repr(self), "text/html": self.table()._repr_mimebundle_()["text/html"]}


def probe(
    url: str,
    *,
    rate: float = 1.0,
    requests: int | None = None,
    seconds: float | None = None,
    method: str = "GET",
    headers: Mapping[str, str] | None = None,
    timeout_s: float = 15.0,
) -> Probe:
    """Call a URL at a steady rate, until a number of requests or a time is reached.

    Args:
        url: `http://…` or `https://…`.
        rate: requests a second.
        requests: how many; at most 10,000. Without it, and without `seconds`, 100.
        seconds: send none after this time.
        method: HTTP method.
        headers: further headers; `{"Host": "catalog.istioinaction.io"}` to ask a gateway for a host.
        timeout_s: seconds after which a request is given up.

    Raises:
        UsageError: not a URL of HTTP, or a bound that is none.
    """
    from meshnb.sources import probe as source

    answers = source.probe(
        url, rate=rate, requests=requests, seconds=seconds, method=method, headers=headers, timeout_s=timeout_s
    )
    return Probe(PROBE.rows({**asdict(one), "error": one.error or None} for one in answers), url)
