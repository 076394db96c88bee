"""Who takes part in a request, and who fails it: istiod, the gateway, the proxy of the service, the application."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from meshnb.checks.causes_log import AnyLog, open_log
from meshnb.checks.requests import has_flag, is_server, matching
from meshnb.envoy.flags import known_flags
from meshnb.model.finding import Findings, Status
from meshnb.model.frame import to_pandas

if TYPE_CHECKING:
    import pandas as pd

ROLES = {
    "istiod": "keeps the data plane at the desired state",
    "gateway or calling proxy": "lets traffic in and chooses where it goes",
    "proxy of the service": "takes the request for its pod and controls access",
    "application": "answers, or calls on",
}
"""The participants of a request and what each is there for."""


def participants(access_log: AnyLog | None, sync: Findings) -> pd.DataFrame:
    """A verdict per participant, with what it rests on.

    A request that fails is laid at one participant's door by what Envoy logged: a flag Envoy sets by itself on the
    client's side is the gateway's; on the server's side, or when the pod cannot be connected to, its proxy's; a broken
    or late answer the application's. `DC` accuses nobody here: the caller hung up.

    Args:
        access_log: table `access_log`, or a log to be asked; `None` if there is none.
        sync: findings of the checks of synchronisation.

    Returns:
        One row per participant: participant, role, verdict (fail, pass, unknown), failed (requests), evidence.
    """
    import pandas as pd

    rows: list[tuple[str, str, int | None, str]] = [
        ("istiod", str(sync.verdict), None, "; ".join(f.summary for f in sync) or "sync was not looked at")
    ]
    log = None if access_log is None else _counted(access_log)
    if log is None or log.empty:
        rows += [(name, str(Status.UNKNOWN), None, "no request was logged") for name in list(ROLES)[1:]]
    else:
        client, server = log[~log.inbound], log[log.inbound]
        late = client[has_flag(client, "UT")]
        answered = _without_flags(server) & (server.response_code >= 500).fillna(False).astype(bool)
        unreachable = _any_flag(client, "upstream") & ~has_flag(client, "UT")
        rows.append(_row("gateway or calling proxy", client, client[_any_flag(client, "envoy")]))
        rows.append(_row("proxy of the service", server, server[_any_flag(server, "envoy")], client[unreachable]))
        rows.append(_row("application", server, server[_any_flag(server, "upstream") | answered], late))
    frame = pd.DataFrame(rows, columns=["participant", "verdict", "failed", "evidence"])
    frame.insert(1, "role", frame.participant.map(ROLES))
    return frame.astype({"failed": "int64[pyarrow]"})


def _counted(access_log: AnyLog) -> pd.DataFrame:
    """How many requests are alike in side, status and flags, and, if they carry any or failed, in where they went."""
    log = open_log(access_log, ["upstream_cluster", "upstream_host", "proxy", "response_code", "flag_set"])
    t = log.ibis(log.table)
    told: Any = t["flag_set"].notnull() | (t.response_code >= 500).fill_null(False)
    alike = t.select(
        "response_code",
        "flag_set",
        inbound=is_server(t),
        where=told.ifelse(t.upstream_host.coalesce(t.proxy), None),
    )
    counted = alike.group_by(alike.columns).agg(requests=alike.count())
    return to_pandas(log.run(counted)).astype({"requests": "int64", "inbound": "bool"})


def _row(name: str, looked_at: pd.DataFrame, *failed: pd.DataFrame) -> tuple[str, str, int | None, str]:
    parts = [text for rows in failed for text in _told(rows)]
    count = sum(int(rows.requests.sum()) for rows in failed)
    if not count and looked_at.empty:
        return name, str(Status.UNKNOWN), None, "it logged no request"
    status = Status.FAIL if count else Status.PASS
    seen = int(looked_at.requests.sum())
    return name, str(status), count, "; ".join(parts) or f"none of {seen} requests failed here"


def _told(rows: pd.DataFrame) -> list[str]:
    """The failures in words: how many, how, and where to."""
    groups = rows.assign(how=rows["flag_set"].fillna("")).groupby(["response_code", "how", "where"], dropna=False)
    counts = groups.requests.sum().sort_values(ascending=False)
    return [f"{n} times {f'{code} {how}'.strip()} ({place})" for (code, how, place), n in counts.head(3).items()]


def _any_flag(log: pd.DataFrame, side: str) -> pd.Series:
    """Which rows carry a flag by which one side ended the request: downstream, envoy or upstream."""
    names = {flag.flag for flag in known_flags().values() if flag.side == side}
    return matching(log["flag_set"], lambda flags: bool(names & set(flags.split(","))))


def _without_flags(log: pd.DataFrame) -> pd.Series:
    return log["flag_set"].isna().astype(bool)
