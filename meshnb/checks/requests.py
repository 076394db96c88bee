"""Questions several checks ask of the rows of an access log.

Of rows in memory they look at each distinct value once, so they stay fast on millions. The same questions as Ibis
expressions are for logs that are asked and not loaded (`causes_log.open_log`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from meshnb.model.frame import to_pandas
from meshnb.model.tables.logs import ACCESS_LOG

if TYPE_CHECKING:
    import ibis.expr.types as ir
    import pandas as pd

    from meshnb.checks.causes_log import Log


def matching(column: pd.Series, holds: Callable[[str], bool]) -> pd.Series:
    """Which values of a text column satisfy a condition; missing ones do not."""
    return column.isin([value for value in column.dropna().unique() if holds(value)]).astype(bool)


def has_flag(log: pd.DataFrame, flag: str) -> pd.Series:
    """Which rows carry a response flag; flags are a set, so `UF,URX` has `UF`.

    Args:
        log: rows of table `access_log`.
        flag: short name, as in `NC`.
    """
    return matching(log["flag_set"], lambda flags: flag in flags.split(","))


def inbound(log: pd.DataFrame) -> pd.Series:
    """Which rows the server's side logged: the proxy of a pod, of a request to that pod."""
    return matching(log.upstream_cluster, lambda cluster: cluster.startswith("inbound|"))


def to_host(log: pd.DataFrame, host: str) -> pd.Series:
    """Which rows are requests to an authority, the port left aside; all if `host` is empty."""
    return matching(log.authority, lambda authority: host in (authority, authority.partition(":")[0])) | (not host)


def success_rate(log: pd.DataFrame) -> float | None:
    """Share of requests a dashboard counts as successful: code below 500, and 0 is below. `None` without requests."""
    known = log.response_code.dropna()
    return float((known < 500).mean()) if len(known) else None


# of a log that is asked


def is_server(log: ir.Table) -> ir.BooleanValue:
    """`inbound` of a log that is asked: which rows the server's side logged."""
    result: Any = log.upstream_cluster.startswith("inbound|").fill_null(False)
    return result


def carries(log: ir.Table, *flags: str) -> ir.BooleanValue:
    """`has_flag` of a log that is asked: which rows carry one of these flags."""
    # flags are a set, sorted and joined by commas
    listed: Any = "," + log["flag_set"].fill_null("") + ","
    found = listed.contains(f",{flags[0]},")
    for flag in flags[1:]:
        found |= listed.contains(f",{flag},")
    result: ir.BooleanValue = found
    return result


def addressed(log: ir.Table, host: str) -> ir.BooleanValue:
    """`to_host` of a log that is asked: which rows are requests to an authority, the port left aside."""
    authority: Any = log.authority.fill_null("")
    result: ir.BooleanValue = (authority == host) | authority.startswith(f"{host}:")
    return result


def sides(log: ir.Table, host: str) -> tuple[ir.Table, ir.Table]:
    """Requests to an authority as the client's side logged them, and all that the server's side logged."""
    client = log.filter(~is_server(log))
    return (client.filter(addressed(client, host)) if host else client), log.filter(is_server(log))


def success(log: Log, rows: ir.Table) -> dict[str, Any]:
    """Requests of one side, and what share of them a dashboard counts as successful: a code below 500, and 0 is below.

    Args:
        log: the engine.
        rows: some rows of it.

    Returns:
        `requests`, `success` (`None` without requests), `code_0_dc` and `errors_5xx`.
    """
    code: Any = rows.response_code
    sums = {"code_0_dc": carries(rows, "DC") & (code == 0), "errors_5xx": code >= 500}
    counted = rows.agg(
        requests=rows.count(),
        success=(code < 500).cast("float64").mean(),
        **{name: marked.fill_null(False).cast("int64").sum() for name, marked in sums.items()},
    )
    found: dict[str, Any] = log.run(counted).to_pylist()[0]
    # DuckDB's sums are wider than its integers, and there is none of no rows
    return {**found, **{name: int(found[name] or 0) for name in sums}}


def answered(log: Log, rows: ir.Table, columns: Sequence[str]) -> pd.DataFrame:
    """Columns of rows of a log that is asked, in the order of the log and with the types of `access_log`.

    Args:
        log: the engine.
        rows: some rows of it.
        columns: those wanted, columns of `access_log`.
    """
    frame = to_pandas(log.run(rows.order_by("file", "line").select(*columns)))
    times = [name for name in columns if ACCESS_LOG.column(name).dtype == "timestamp"]
    return frame.assign(**{name: frame[name].dt.tz_localize("UTC") for name in times})
