"""Every failed or slow request gets one cause: the rows of both sides joined by request id, the deepest one decides.

The outermost row says what the caller got, the row that knows most says why. A gateway's `503 via_upstream` is
innocent if the sidecar's row of the same request says that the application refused the connection.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from meshnb.checks.causes_rows import UNKNOWN, row_causes
from meshnb.checks.states import in_use
from meshnb.envoy.names import ClusterName
from meshnb.model.frame import returns
from meshnb.model.tables.logs import FAILED_REQUESTS

if TYPE_CHECKING:
    import pandas as pd

SLOW_MS = 1000.0
"""An answer that takes longer is slow."""
CONNECT_MS = 50
"""A connection that fails without a word after this long was not refused: nobody answered."""
ONE_REPLICA_SHARE, ONE_REPLICA_FACTOR, MIN_REQUESTS = 0.8, 5.0, 5
"""One replica is the slow one if it has this share of the timeouts and times out this much more often than the rest."""
RESTART = "3s"
"""How far from a proxy's end a failure at its endpoint is put down to it."""
EJECTION_ERRORS = 1
"""Server errors of a cluster before its `UH` that make an ejection likelier than missing endpoints."""


@returns(FAILED_REQUESTS)
def failed_requests(
    access_log: pd.DataFrame,
    *,
    routes: pd.DataFrame | None = None,
    endpoints: pd.DataFrame | None = None,
    slow_ms: float = SLOW_MS,
) -> pd.DataFrame:
    """Assign every failed or slow request to one cause.

    Args:
        access_log: rows of both sides, as far as there are logs.
        routes: table `routes`, to tell an unknown host from an unmatched path.
        endpoints: table `endpoints`, to tell ejected endpoints from missing ones.
        slow_ms: an answer that takes longer is slow.

    Returns:
        One row per request; `.attrs["requests"]` is how many requests there were, `.attrs["recovered"]` how many
        failed somewhere and were saved by a retry.
    """
    log = access_log.reset_index(drop=True)
    server = log.upstream_cluster.str.startswith("inbound|").fillna(False).astype(bool)
    log = log.assign(said=row_causes(log, slow_ms=slow_ms), server=server)
    # masks over one column each: a copy of all rows would double the memory
    http, wrong = log.method.notna() | log.request_id.notna(), log.said.notna()
    nameless = http & log.request_id.isna()
    total = int(log.request_id.nunique()) + int(nameless.sum())
    ids = log.request_id[http & wrong].dropna().unique()
    troubled = log[http & (log.request_id.isin(ids) | (nameless & wrong))]
    own = [f"#{file}:{line}" for file, line in zip(troubled.file, troubled.line, strict=True)]
    troubled = troubled.assign(key=troubled.request_id.where(troubled.request_id.notna(), own))
    # the caller's side comes first: it began earlier, lasted longer, and is not the server's
    troubled = troubled.sort_values(
        ["key", "start_time", "server", "duration_ms"], ascending=[True, True, True, False], kind="stable"
    )
    outer = troubled.drop_duplicates("key").set_index("key")
    failed = outer.index[outer.said.notna()]
    rows = troubled[troubled.key.isin(set(failed)) & troubled.said.notna()]
    rank = [said.rank for said in rows.said]
    rows = rows.assign(rank=rank, depth=range(len(rows))).sort_values(
        ["key", "rank", "depth"], ascending=[True, True, False]
    )
    deciding = rows.drop_duplicates("key").set_index("key")
    deciding = deciding[deciding["rank"] < 4]  # only the client's own errors: nothing of the mesh
    outer = outer.loc[deciding.index]
    called = _called(troubled, deciding)
    table = _table(outer, deciding, called)
    table = _refined(table, log, outer, deciding, routes, endpoints)
    df = FAILED_REQUESTS.conform(table.sort_values(["start_time", "file", "line"], ignore_index=True))
    df.attrs.update(requests=total, recovered=len(set(troubled.key)) - len(failed))
    return df


def _called(troubled: pd.DataFrame, deciding: pd.DataFrame) -> pd.DataFrame:
    """The row that called what failed: the deciding one, or if a server's side decides, the caller's before it."""
    import pandas as pd

    order = dict(zip(zip(troubled.file, troubled.line, strict=True), range(len(troubled)), strict=True))
    place = [order[at] for at in zip(deciding.file, deciding.line, strict=True)]
    limit = dict(zip(deciding.index, place, strict=True))
    callers = troubled.assign(place=range(len(troubled)))
    callers = callers[~callers.server & callers.key.isin(limit)]
    before = [at <= limit[key] for at, key in zip(callers.place, callers.key, strict=True)]
    callers = callers.loc[pd.Series(before, callers.index, dtype=bool)]
    callers = callers.drop_duplicates("key", keep="last").set_index("key")
    return callers.drop(columns="place").reindex(deciding.index)


def _table(outer: pd.DataFrame, deciding: pd.DataFrame, called: pd.DataFrame) -> pd.DataFrame:
    import pandas as pd

    names = {c: ClusterName.parse(c) for c in called.upstream_cluster.dropna().unique()}
    authority = called.authority.fillna(outer.authority)
    service = [
        (names[c].fqdn or a) if c in names else a for c, a in zip(called.upstream_cluster, authority, strict=True)
    ]
    said = list(deciding.said)
    return pd.DataFrame(
        {
            "request_id": outer.request_id,
            "start_time": outer.start_time,
            "cause": pd.array([s.cause for s in said], "string[pyarrow]"),
            "confidence": [0.0 if s.cause == UNKNOWN else 0.95 for s in said],
            "why": [s.why for s in said],
            "ended_by": [s.ended_by for s in said],
            "response_code": outer.response_code,
            "flag_set": deciding["flag_set"],
            "response_code_details": deciding.response_code_details,
            "duration_ms": outer.duration_ms,
            "authority": outer.authority,
            "path": outer.path,
            "route_name": called.route_name.fillna(outer.route_name),
            "service": pd.array([None if v is pd.NA else v for v in service], "string[pyarrow]"),
            "upstream_cluster": called.upstream_cluster,
            "upstream_host": called.upstream_host,
            "outer_proxy": outer.proxy,
            "proxy": deciding.proxy,
            "client": outer.downstream_remote_address.str.rpartition(":")[0]
            if len(outer)
            else outer.downstream_remote_address,
            "user_agent": outer.user_agent,
            "file": deciding.file,
            "line": deciding.line,
        }
    )


def _refined(
    table: pd.DataFrame,
    log: pd.DataFrame,
    outer: pd.DataFrame,
    deciding: pd.DataFrame,
    routes: pd.DataFrame | None,
    endpoints: pd.DataFrame | None,
) -> pd.DataFrame:
    """What one row cannot tell, told by the rows around it."""
    table = table.copy()
    _closed_connections(table, log, deciding)
    _one_path(table, log)
    _restarts(table)
    _silent_connections(table, deciding)
    _timeouts(table, log)
    _no_endpoints(table, log, endpoints)
    _no_routes(table, log, routes)
    _late_answers(table, log, outer)
    return table


def _set(table: pd.DataFrame, which: object, cause: str, confidence: float, why: str) -> None:
    table.loc[which, ["cause", "confidence", "why"]] = [cause, confidence, why]


def _set_each(table: pd.DataFrame, verdicts: Mapping[object, tuple[str, float, str]]) -> None:
    """Many verdicts at once; one by one costs a hundred times as much."""
    keys = list(verdicts)
    for i, column in enumerate(("cause", "confidence", "why")):
        table.loc[keys, column] = [verdict[i] for verdict in verdicts.values()]


def _closed_connections(table: pd.DataFrame, log: pd.DataFrame, deciding: pd.DataFrame) -> None:
    """`UC`: plaintext to a port that demands mTLS, a kept-alive connection that closed, or an application that hung up.

    The connection itself tells: its address on the client's side is the one the server's listener logged
    (`filter_chain_not_found`), or it carried a request before.
    """
    closed = deciding[table.cause == "connection_closed"]
    if closed.empty:
        return
    addresses = ["downstream_remote_address", "downstream_local_address"]
    refused = log.loc[log.response_code_details == "filter_chain_not_found", addresses]
    turned_away = set(refused.downstream_remote_address.dropna())
    hosts = set(refused.downstream_local_address.dropna())
    used = log.upstream_local_address.isin(closed.upstream_local_address.dropna().unique())
    good = log.loc[log.said.isna() & used, ["upstream_host", "upstream_local_address", "start_time"]]
    first_use: dict[tuple[str, str], object] = {}
    for connection, time in zip(_connections(good), good.start_time, strict=True):
        first_use[connection] = min(time, first_use.get(connection, time))
    always = _always_closed(table, log)
    columns = ["upstream_local_address", "upstream_host", "server", "start_time", "upstream_cluster"]
    verdicts: dict[object, tuple[str, float, str]] = {}
    for key, connection, row in zip(closed.index, _connections(closed), closed[columns].itertuples(), strict=True):
        if row.upstream_local_address in turned_away:
            verdicts[key] = ("plaintext_to_strict", 0.97, "the server's listener turned this very connection away")
        elif row.upstream_host in hosts and not row.server:
            verdicts[key] = ("plaintext_to_strict", 0.9, "the server's listener turned connections away meanwhile")
        elif connection in first_use and first_use[connection] < row.start_time:
            verdicts[key] = ("keepalive_race", 0.9, "the connection had carried a request before; it closed on reuse")
        elif row.server:
            verdicts[key] = ("connection_closed", 0.9, "the application closed a fresh connection without an answer")
        elif row.upstream_cluster in always:
            verdicts[key] = (UNKNOWN, 0.3, "every connection is closed at once; the server's own log is missing")
        else:
            verdicts[key] = ("connection_closed", 0.6, "closed without an answer; the server's own log is missing")
    _set_each(table, verdicts)
    # an application that hangs up on a request does so on used connections too; a race never hits fresh ones
    hung_up = table[(table.cause == "connection_closed") & (table.confidence >= 0.9)]
    where = set(zip(hung_up.upstream_host, hung_up.path, strict=True))
    raced = table[table.cause == "keepalive_race"]
    also = [at in where for at in zip(raced.upstream_host, raced.path, strict=True)]
    _set(table, raced.index[also], "connection_closed", 0.8, "fresh connections are closed on the same path as well")


def _one_path(table: pd.DataFrame, log: pd.DataFrame) -> None:
    """A race hits whatever comes next; if one path fails always and the others never, the application hangs up."""
    hosts = table.upstream_host[table.cause == "keepalive_race"].dropna().unique()
    good = log.loc[log.upstream_host.isin(hosts) & log.said.isna(), ["upstream_host", "path"]] if len(hosts) else table
    for host in hosts:
        which = (table.cause == "keepalive_race") & (table.upstream_host == host)
        paths = set(table.path[which].dropna())
        served = good.path[good.upstream_host == host]
        if len(paths) == 1 and not paths & set(served) and len(served) >= MIN_REQUESTS:
            _set(table, which, "connection_closed", 0.8, "only this path fails, and it always does")


def _restarts(table: pd.DataFrame) -> None:
    """What fails at an endpoint while its proxy is ending fails because of that."""
    import pandas as pd

    ending = table[table.cause == "drain"]
    near = table.cause.isin(["connection_refused", "keepalive_race", "connection_closed"])
    for host, group in ending.groupby("upstream_host"):
        for key, time in table.start_time[near & (table.upstream_host == host)].items():
            if (group.start_time - time).abs().min() <= pd.Timedelta(RESTART):
                _set(table, [key], "drain", 0.85, "the proxy of this endpoint was ending at that time")


def _connections(rows: pd.DataFrame) -> list[tuple[str, str]]:
    return list(zip(rows.upstream_host.fillna(""), rows.upstream_local_address.fillna(""), strict=True))


def _always_closed(table: pd.DataFrame, log: pd.DataFrame) -> set[str]:
    """Clusters of which no request ever succeeded."""
    bad = set(table.upstream_cluster[table.cause == "connection_closed"].dropna())
    return bad - set(log.upstream_cluster[log.said.isna()].dropna().unique())


def _silent_connections(table: pd.DataFrame, deciding: pd.DataFrame) -> None:
    """`UF` without a word: refused at once, or nobody answered until the connect timeout."""
    silent = table.cause == "connection_failed"
    late = silent & (deciding.duration_ms >= CONNECT_MS).fillna(False)
    _set(table, late, "connection_timed_out", 0.7, "the connection failed without a reason, after a wait")
    _set(table, silent & ~late, UNKNOWN, 0.3, "the connection failed at once and the log gives no reason")


def _timeouts(table: pd.DataFrame, log: pd.DataFrame) -> None:
    """`UT`: one slow replica, or the service as a whole."""
    late = table[table.cause == "upstream_timeout"]
    if late.empty:
        return
    _set(table, late.index, "slow_upstream", 0.5, "the log does not say which cluster or endpoint was asked")
    sent = log.loc[~log.server & log.upstream_host.notna(), ["upstream_cluster", "upstream_host"]]
    for cluster in late.upstream_cluster.dropna().unique():
        group = late[late.upstream_cluster == cluster]
        requests = sent[sent.upstream_cluster == cluster].upstream_host.value_counts()
        timeouts = group.upstream_host.value_counts()
        if timeouts.empty:
            continue
        host, count = timeouts.index[0], int(timeouts.iloc[0])
        others = int(requests.sum() - requests.get(host, 0))
        elsewhere = (len(group) - count) / others if others else 0.0
        own = count / max(int(requests.get(host, 0)), 1)
        few = min(int(requests.get(host, 0)), others) < MIN_REQUESTS
        one = count / len(group) >= ONE_REPLICA_SHARE and own >= ONE_REPLICA_FACTOR * elsewhere and not few
        if one:
            why = f"{count} of {len(group)} timeouts of the cluster are of {host}"
            _set(table, group.index, "slow_replica", 0.95, why)
        elif len(requests) == 1 or others == 0:
            _set(table, group.index, "slow_upstream", 0.7, "the cluster's only endpoint in the log")
        else:
            why = f"timeouts are spread over {len(timeouts)} of {len(requests)} endpoints"
            _set(table, group.index, "slow_upstream", 0.6 if few else 0.9, why)


def _no_endpoints(table: pd.DataFrame, log: pd.DataFrame, endpoints: pd.DataFrame | None) -> None:
    """`UH`: endpoints ejected after errors, or no endpoint at all."""
    for cluster in table.upstream_cluster[table.cause == "no_healthy_upstream"].dropna().unique():
        which = (table.cause == "no_healthy_upstream") & (table.upstream_cluster == cluster)
        known = None if endpoints is None else in_use(endpoints[endpoints.cluster == cluster])
        if known is not None and known.empty:
            _set(table, which, "no_healthy_upstream", 0.95, "the proxies hold no endpoint of the cluster")
            continue
        begin = table.start_time[which].min()
        before = (log.upstream_cluster == cluster) & (log.start_time <= begin)
        rows = log.loc[before.fillna(False), ["response_code", "upstream_host"]]
        errors = int(((rows.response_code >= 500) & rows.upstream_host.notna()).sum())
        if errors >= EJECTION_ERRORS:
            _set(table, which, "outlier_ejection", 0.9, f"{errors} server errors of its endpoints came just before")
        else:
            _set(table, which, "no_healthy_upstream", 0.85, "no endpoint answered before, with an error or without")


def _no_routes(table: pd.DataFrame, log: pd.DataFrame, routes: pd.DataFrame | None) -> None:
    """`NR`: the host is unknown, or it is known and no route matches the path."""
    missing = table.cause == "no_route"
    if not missing.any():
        return
    served = {_bare(a) for a in log.authority[log.upstream_cluster.notna() & ~log.server].dropna().unique()}
    if routes is not None:
        served |= {_bare(d) for domains in in_use(routes).domains.dropna() for d in domains if d != "*"}
    for authority in table.authority[missing].dropna().unique():
        which = missing & (table.authority == authority)
        if _bare(authority) in served:
            _set(table, which, "no_route", 0.95 if routes is not None else 0.85, "the host is known, the path is not")
        else:
            _set(table, which, "unknown_host", 0.95 if routes is not None else 0.7, "no route knows this host")


def _bare(authority: str) -> str:
    return authority.rpartition(":")[0] or authority if ":" in authority else authority


def _late_answers(table: pd.DataFrame, log: pd.DataFrame, outer: pd.DataFrame) -> None:
    """The client left: its patience ended; say whether the server was slow by its own measure."""
    gone = table[table.cause == "client_gave_up"]
    if gone.empty:
        return
    answered = log.duration_ms[log.said.isna() & ~log.server]
    usual = float(answered.quantile(0.95)) if len(answered) else None
    caller = outer.requested_server_name.fillna("").str.startswith("outbound_") & outer.server
    verdicts: dict[object, tuple[str, float, str]] = {}
    for key, duration, proxy in zip(gone.index, gone.duration_ms, caller.reindex(gone.index), strict=True):
        if proxy:
            verdicts[key] = (UNKNOWN, 0.3, "its caller is a proxy whose log is missing: it left, and only it knows why")
            continue
        slow = usual is not None and duration is not None and duration > 3 * max(usual, 10.0)
        why = f"it left after {duration} ms" + (f"; 95 % of answers take at most {usual:.0f} ms" if slow else "")
        verdicts[key] = ("client_gave_up", 0.9, why)
    _set_each(table, verdicts)
