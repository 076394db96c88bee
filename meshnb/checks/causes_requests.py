"""The requests in trouble, as questions to the log: what each row says, both sides joined by request id.

Of the rows of a request the outermost says what the caller got, the one that knows most decides, and the last caller's
row up to it says what was called. Most rows of a log are neither suspect nor of a request in trouble, and are only
counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from meshnb.checks.causes_rows import SIGNATURE, late, suspect
from meshnb.checks.questions import question
from meshnb.checks.requests import is_server
from meshnb.model.tables.logs import FAILED_REQUESTS

if TYPE_CHECKING:
    import ibis.expr.types as ir

NO_FAULT = 4
"""Rank of a row that knows only of the client's own errors: nothing of the mesh."""
_LAST = 1 << 32
"""More than a request has rows."""


def is_request(rows: ir.Table) -> ir.BooleanValue:
    """Which rows are of a request; the others are of a connection."""
    return rows.method.notnull() | rows.request_id.notnull()


@question("log", "said_by", numbers=["slow_ms"])
def suspects(log: ir.Table, said_by: ir.Table, slow_ms: float) -> ir.Table:
    """Suspect rows with what each says (`said`, `cause`, `rank`; missing if nothing), and whether it is the `server`'s.

    Args:
        log: rows of the log.
        said_by: what each signature says, as `causes_rows.said_by` has it.
        slow_ms: what takes longer is slow.
    """
    said = said_by.rename({f"of_{name}": name for name in (*SIGNATURE, "slow")})
    rows = log.filter(suspect(log, slow_ms)).mutate(slow=late(log, slow_ms), server=is_server(log))
    same = [rows[name].identical_to(said[f"of_{name}"]) for name in (*SIGNATURE, "slow")]
    joined: ir.Table = rows.left_join(said, same)
    return joined.select(*log.columns, "server", "said", "cause", "rank")


@question("log", "suspects", numbers=["slow_ms"], switches=["alone"])
def partners(log: ir.Table, suspects: ir.Table, slow_ms: float, alone: bool) -> ir.Table:
    """Rows that are not suspect, of requests of which another row says that something is wrong; the same columns.

    Args:
        log: rows of the log.
        suspects: the suspect ones.
        slow_ms: what takes longer is slow.
        alone: no request has two rows, so there are none.
    """
    import ibis

    bad = suspects.filter(suspects.said.notnull() & suspects.request_id.notnull())
    bad = bad.select(bad=bad.request_id).distinct()
    rows = log.filter(~suspect(log, slow_ms))
    rows = rows.limit(0) if alone else rows.semi_join(bad, rows.request_id == bad.bad)
    nothing = {"said": ibis.null("int64"), "cause": ibis.null("string"), "rank": ibis.null("int64")}
    return rows.mutate(server=is_server(rows), **nothing)


def good_rows(log: ir.Table, suspects: ir.Table, slow_ms: float, columns: Sequence[str]) -> ir.Table:
    """Rows of the log that have nothing wrong to say."""
    import ibis

    plain = log.filter(~suspect(log, slow_ms)).select(*columns)
    result: ir.Table = ibis.union(plain, suspects.filter(suspects.said.isnull()).select(*columns))
    return result


@question("suspects", "partners", switches=["alone"])
def places(suspects: ir.Table, partners: ir.Table, alone: bool) -> ir.Table:
    """Of requests in trouble: the place of each row, that of the row that decides, and that of its caller's.

    `best` is the best rank of a request's rows. Where each row is `alone`, nobody asks, and the answer is empty.
    """
    import ibis

    rows = _rows(suspects, partners)
    rows = rows.limit(0) if alone else rows
    rows = rows.select("key", "start_time", "server", "duration_ms", "file", "line", "rank")
    # the caller's side comes first: it began earlier, lasted longer, and is not the server's
    order: list[Any] = [
        ibis.asc("start_time", nulls_first=False), "server", ibis.desc("duration_ms", nulls_first=False), "file", "line"
    ]  # fmt: skip
    rows = rows.mutate(place=ibis.row_number().over(group_by="key", order_by=order))
    # the best rank decides, and of equals the last place: one number says both
    found = rows.group_by(found="key").agg(score=(rows["rank"] * _LAST - rows.place).min())
    found = found.filter(found.score.notnull())
    found = found.mutate(best=(found.score + _LAST - 1) // _LAST)
    found = found.mutate(decides=found.best * _LAST - found.score)
    placed = rows.inner_join(found, rows.key == found.found)
    callers = placed.filter(~placed.server & (placed.place <= placed.decides))
    callers = callers.group_by(called="key").agg(calls=callers.place.max())
    result: ir.Table = placed.left_join(callers, placed.key == callers.called)
    return result.select("key", "file", "line", "place", "decides", "calls", "best")


def _rows(suspects: ir.Table, partners: ir.Table) -> ir.Table:
    """Rows of requests with a `key`: the id, or their own place in the log where there is none."""
    import ibis

    rows = ibis.union(suspects, partners)
    rows = rows.filter(is_request(rows))
    return rows.mutate(key=ibis.coalesce(rows.request_id, "#" + rows.file + ":" + rows.line.cast("string")))


@question("suspects", "partners", "places", switches=["alone"])
def troubled_requests(suspects: ir.Table, partners: ir.Table, places: ir.Table, alone: bool) -> ir.Table:
    """One row per request of which some row says that something was wrong.

    `wrong`: whether it was for the caller, too. The other columns are those of `FAILED_REQUESTS`, and `best`,
    `decided_*` and `left_by_proxy`, which the refinements look at.

    Args:
        suspects: rows that may say something.
        partners: the others of their requests.
        places: the place of each.
        alone: no request has two rows, so that each is the outermost, decides, and is the caller's if not the server's.
    """
    import ibis

    rows = _rows(suspects, partners)

    def at(which: ir.BooleanValue, *more: str) -> ir.Table:
        found = places.filter(which).select(*more, of_file="file", of_line="line")
        same = [rows.file == found.of_file, rows.line == found.of_line]
        return rows.inner_join(found, same).select(*_ROW, *more)

    if alone:
        joined = rows.filter(rows.said.notnull()).mutate(best=rows["rank"])
        decided: dict[str, Any] = {name: joined[name] for name in _ROW}
        called: dict[str, Any] = {
            name: ibis.ifelse(joined.server, ibis.null("string"), joined[name]) for name in _CALLED
        }
    else:
        outer = at(places.place == 0, "best", "decides", "calls")
        # most requests have one row, which decides and is the caller's: only others are looked up
        deciding = at((places.place != 0) & (places.place == places.decides)).rename("at_{name}")
        caller = at((places.place != 0) & (places.place == places.calls)).rename("by_{name}")
        joined = outer.left_join(deciding, outer.key == deciding.at_key)
        joined = joined.left_join(caller, joined.key == caller.by_key)
        decided = {name: ibis.ifelse(joined.decides == 0, joined[name], joined[f"at_{name}"]) for name in _ROW}
        called = {name: ibis.ifelse(joined.calls == 0, joined[name], joined[f"by_{name}"]) for name in _CALLED}
    return joined.select(
        *_OF_OUTER,
        "best",
        wrong=joined.said.notnull(),
        outer_proxy=joined.proxy,
        client=joined.downstream_remote_address.re_extract("^(.*):", 1),
        left_by_proxy=joined.requested_server_name.startswith("outbound_").fill_null(False) & joined.server,
        **{name: decided[name] for name in _OF_DECIDING},
        decided_by_server=decided["server"],
        decided_host=decided["upstream_host"],
        decided_address=decided["upstream_local_address"],
        decided_ms=decided["duration_ms"],
        decided_at=decided["start_time"],
        upstream_cluster=called["upstream_cluster"],
        upstream_host=called["upstream_host"],
        route_name=ibis.coalesce(called["route_name"], joined.route_name),
        service=ibis.coalesce(called["authority"], joined.authority),
    )


def _without(table: ir.Table, *columns: str) -> ir.Table:
    """The other columns, in their order: Ibis' own `drop` leaves that to chance in what is stored."""
    return table.select([column for column in table.columns if column not in columns])


_OF_OUTER = ("request_id", "start_time", "response_code", "duration_ms", "authority", "path", "user_agent")
_OF_DECIDING = ("said", "cause", "flag_set", "response_code_details", "proxy", "file", "line")
_CALLED = ("upstream_cluster", "upstream_host", "route_name", "authority")
_ROW = (
    "key", "server", *_OF_OUTER, *_OF_DECIDING, "downstream_remote_address", "requested_server_name", "route_name",
    "upstream_cluster", "upstream_host", "upstream_local_address",
)  # fmt: skip


def connection_marks(requests: ir.Table, log: ir.Table, suspects: ir.Table, slow_ms: float) -> ir.Table:
    """What is known of the connection that was closed on a request: turned away by the server, or used before."""
    refused = suspects.filter(suspects.response_code_details == "filter_chain_not_found")
    turned = refused.filter(refused.downstream_remote_address.notnull())
    turned = turned.select(turned=turned.downstream_remote_address).distinct()
    ports = refused.filter(refused.downstream_local_address.notnull())
    ports = ports.select(turning=ports.downstream_local_address).distinct()
    closed = requests.filter((requests.cause == "connection_closed") & requests.decided_address.notnull())
    used = good_rows(log, suspects, slow_ms, ("upstream_local_address", "upstream_host", "start_time"))
    used = used.semi_join(closed, [used.upstream_local_address == closed.decided_address])
    used = used.mutate(used_host=used.upstream_host.fill_null(""), used_address=used.upstream_local_address)
    used = used.group_by("used_host", "used_address").agg(first_use=used.start_time.min())
    marked = requests.left_join(turned, requests.decided_address == turned.turned)
    marked = marked.left_join(ports, marked.decided_host == ports.turning)
    marked = marked.left_join(
        used, [marked.decided_address == used.used_address, marked.decided_host.fill_null("") == used.used_host]
    )
    marked = marked.mutate(
        turned_away=marked.turned.notnull(),
        port_turns_away=marked.turning.notnull() & ~marked.decided_by_server,
        used_before=(marked.first_use < marked.decided_at).fill_null(False),
    )
    return _without(marked, "turned", "turning", "used_host", "used_address", "first_use")


RESTART_S = 3
"""How far from a proxy's end a failure at its endpoint is put down to it."""
CONNECT_MS = 50
"""A connection that fails without a word after this long was not refused: nobody answered."""
NULLABLE = ("upstream_cluster", "upstream_host", "about", "waited_ms")
MARKS = ("turned_away", "port_turns_away", "used_before", "by_server", "late_connect", "near_end", "by_proxy")


@question("troubled_requests", "log", "suspects", numbers=["slow_ms"], switches=["closed", "drain"])
def with_circumstances(
    requests: ir.Table, log: ir.Table, suspects: ir.Table, slow_ms: float, closed: bool, drain: bool
) -> ir.Table:
    """The requests that failed, with all that the refinements look at: `said`, `NULLABLE` and `MARKS`.

    What only some causes need is missing for all others, so that there are few distinct circumstances.

    Args:
        requests: as from `troubled_requests`.
        log: rows of the log.
        suspects: the suspect ones.
        slow_ms: what takes longer is slow.
        closed: whether any row says that a connection was closed; else its past is not looked for.
        drain: whether any row says that a proxy ended.
    """
    import ibis

    requests = requests.filter(requests.wrong & (requests.best < NO_FAULT))
    if closed:
        requests = connection_marks(requests, log, suspects, slow_ms)
    else:
        requests = requests.mutate(
            **dict.fromkeys(("turned_away", "port_turns_away", "used_before"), ibis.literal(False))
        )
    requests = _near_an_end(requests) if drain else requests.mutate(near_end=ibis.literal(False))
    is_closed, gone = requests.cause == "connection_closed", requests.cause == "client_gave_up"
    about = ibis.cases((is_closed, requests.path), (requests.cause == "no_route", requests.authority))
    return requests.mutate(
        about=about,
        waited_ms=ibis.ifelse(gone, requests.duration_ms, ibis.null("int64")),
        by_server=requests.decided_by_server & is_closed,
        late_connect=((requests.cause == "connection_failed") & (requests.decided_ms >= CONNECT_MS)).fill_null(False),
        by_proxy=requests.left_by_proxy & gone,
        **{name: requests[name] & is_closed for name in ("turned_away", "port_turns_away", "used_before")},
    )


def _near_an_end(requests: ir.Table) -> ir.Table:
    """Which requests were to an endpoint whose proxy was ending just before or after."""
    import ibis

    end = ibis.ifelse(requests.cause == "drain", requests.start_time, ibis.null(requests.start_time.type()))
    before = ibis.window(group_by="upstream_host", order_by="start_time", preceding=(None, 0))
    after = ibis.window(group_by="upstream_host", order_by="start_time", following=(0, None))
    last, following = end.max().over(before), end.min().over(after)
    requests = requests.mutate(last_end=last, next_end=following)
    near = (requests.start_time <= requests.last_end + ibis.interval(seconds=RESTART_S)) | (
        requests.next_end <= requests.start_time + ibis.interval(seconds=RESTART_S)
    )
    near_end = (near & requests.upstream_host.notnull()).fill_null(False)
    return _without(requests.mutate(near_end=near_end), "last_end", "next_end")


@question("with_circumstances")
def circumstances(requests: ir.Table) -> ir.Table:
    """The distinct circumstances, with the number of requests and the first of them."""
    return requests.group_by("said", *NULLABLE, *MARKS).agg(requests=requests.count(), begin=requests.start_time.min())


@question("troubled_requests")
def count_saved(requests: ir.Table) -> ir.Table:
    """One row: how many requests failed on the way and were saved."""
    return requests.agg(saved=requests.count(where=~requests.wrong))


@question("with_circumstances", "verdicts")
def with_verdicts(requests: ir.Table, verdicts: ir.Table) -> ir.Table:
    """Each request with the verdict on its circumstances: the columns of `FAILED_REQUESTS`, in order of time.

    Args:
        requests: as from `with_circumstances`.
        verdicts: the circumstances, and for each `cause`, `confidence`, `why`, `ended_by` and `fqdn`, the service that
            the cluster's name tells.
    """
    import ibis

    keys = ("said", *NULLABLE, *MARKS)
    given = verdicts.rename({f"of_{name}": name for name in keys})
    requests = _without(requests, "cause")
    same = [requests[name].identical_to(given[f"of_{name}"]) for name in keys]
    joined = requests.inner_join(given, same)
    joined = joined.mutate(service=ibis.coalesce(joined.fqdn, joined.service))
    failed = joined.select(FAILED_REQUESTS.column_names)
    return failed.order_by([ibis.asc("start_time", nulls_first=False), "file", "line"])


def ranking(failed: ir.Table, by: Sequence[str], *, total: float, exact: bool = True) -> ir.Table:
    """How many requests each cause explains, most first.

    Args:
        failed: a table of the columns of `FAILED_REQUESTS`.
        by: columns that make a group: `cause`, or with it `upstream_host`, `service`, `route_name`, `client` …
        total: how many requests there were at all.
        exact: exact quantiles; BigQuery and Trino have approximate ones only.

    Returns:
        The columns of `by` and `requests`, `share`, `share_of_failures`, `onset`, `last`, `p50_ms`, `p99_ms`,
        `confidence`.
    """
    import ibis

    def quantile(column: Any, q: float) -> Any:
        value = column.cast("float64")
        return value.quantile(q) if exact else value.approx_quantile(q)

    groups = failed.group_by(list(by)).agg(
        requests=failed.count(),
        onset=failed.start_time.min(),
        last=failed.start_time.max(),
        p50_ms=quantile(failed.duration_ms, 0.5),
        p99_ms=quantile(failed.duration_ms, 0.99),
        confidence=quantile(failed.confidence, 0.5),
    )
    all_failed = groups.requests.sum().over(ibis.window())
    ranked = groups.mutate(
        share=groups.requests / ibis.literal(float(max(total, 1))), share_of_failures=groups.requests / all_failed
    )
    columns = ["requests", "share", "share_of_failures", "onset", "last", "p50_ms", "p99_ms", "confidence"]
    return ranked.select(*by, *columns).order_by([ibis.desc("requests"), *by])
