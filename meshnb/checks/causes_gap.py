"""The gap between what clients and servers report: the same requests, 504 on one side and 0 on the other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from meshnb.checks.requests import has_flag, inbound, success_rate

if TYPE_CHECKING:
    import pandas as pd


def reporter_gap(access_log: pd.DataFrame) -> str:
    """The gap between both sides' success rates and how much of it `DC` explains; empty if there is none.

    Args:
        access_log: rows of both sides.
    """
    server_rows = access_log[inbound(access_log) & access_log.request_id.notna()]
    client_rows = access_log[~inbound(access_log) & access_log.request_id.isin(set(server_rows.request_id))]
    client, server = success_rate(client_rows), success_rate(server_rows)
    if client is None or server is None or server - client < 0.005:
        return ""
    failed = client_rows[client_rows.response_code >= 500]
    cut = set(server_rows.request_id[has_flag(server_rows, "DC")])
    explained = int(failed.request_id.isin(cut).sum())
    return (
        f"The client's side counts {client:.0%} success and the server's {server:.0%}. Of the {len(failed)} requests "
        f"that failed for the client, the server logged {explained} as 0 DC (its client hung up), and a code of 0 is "
        f"no error to a dashboard: that explains {explained / len(failed):.0%} of the gap."
    )
