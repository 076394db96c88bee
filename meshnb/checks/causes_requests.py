"""The requests in trouble, as Ibis expressions over the log: what each row says, both sides joined by request id.

Of the rows of a request the outermost says what the caller got, the one that knows most decides, and the last caller's
row up to it says what was called. All of it is windows over the rows of a request, so any engine of Ibis does it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from meshnb.checks.causes_rows import SIGNATURE, late, suspect
from meshnb.model.tables.logs import FAILED_REQUESTS

if TYPE_CHECKING:
    import ibis.expr.types as ir

NO_FAULT = 4
"""Rank of a row that knows only of the client's own errors: nothing of the mesh."""


def read_rows(log: ir.Table, said_by: ir.Table, slow_ms: float) -> ir.Table:
    """Rows with what each says (`said`, `cause`, `rank`; missing where nothing was wrong), and if it is the `server`'s.

    Args:
        log: rows of the log.
        said_by: what each signature says, as `causes_rows.said_by` has it.
        slow_ms: what takes longer is slow.
    """
    said = said_by.rename({f"of_{name}": name for name in (*SIGNATURE, "slow")})
    rows = log.mutate(
        slow=late(log, slow_ms), server=log.upstream_cluster.startswith("inbound|").fill_null(False)
    )  # fmt: skip
    same = [rows[name].identical_to(said[f"of_{name}"]) for name in (*SIGNATURE, "slow")]
    joined: ir.Table = rows.left_join(said, same)
    return joined.drop("slow", *(f"of_{name}" for name in (*SIGNATURE, "slow")))


def is_request(rows: ir.Table) -> ir.BooleanValue:
    """Which rows are of a request; the others are of a connection."""
    return rows.method.notnull() | rows.request_id.notnull()


def count_requests(log: ir.Table) -> ir.Table:
    """One row: how many requests there are, those without an id counted row by row."""
    nameless = log.method.notnull() & log.request_id.isnull()
    named = log.filter(log.request_id.notnull()).select("request_id").distinct()
    return named.agg(named=named.count()).cross_join(log.agg(nameless=nameless.sum().fill_null(0)))


def troubled_rows(log: ir.Table, said_by: ir.Table, slow_ms: float) -> ir.Table:
    """All rows of requests of which some row says that something was wrong, as `read_rows` has them.

    Rows of one request have the same `key`: its id, or their own place in the log where there is none.
    """
    import ibis

    suspects = read_rows(log.filter(suspect(log, slow_ms) & log.request_id.notnull()), said_by, slow_ms)
    bad = suspects.filter(suspects.said.notnull()).select(bad=suspects.request_id).distinct()
    rows = log.filter(is_request(log))
    rows = rows.left_join(bad, rows.request_id == bad.bad)
    nameless = rows.request_id.isnull() & suspect(rows, slow_ms)
    rows = read_rows(rows.filter(rows.bad.notnull() | nameless).drop("bad"), said_by, slow_ms)
    rows = rows.filter(rows.request_id.notnull() | rows.said.notnull())
    key = ibis.coalesce(rows.request_id, "#" + rows.file + ":" + rows.line.cast("string"))
    result: ir.Table = rows.mutate(key=key)
    return result


def troubled_requests(rows: ir.Table) -> ir.Table:
    """One row per troubled request.

    `wrong`: whether it was for the caller, too; `best`: the best rank of its rows. The other columns are those of
    `FAILED_REQUESTS`, and `decided_*` and `left_by_proxy`, which the refinements look at.

    Args:
        rows: as from `troubled_rows`.
    """
    import ibis

    places = _places(rows)
    outer = _at(rows, places.filter(places.place == 0).select("best", of_file="file", of_line="line"))
    outer = outer.select(
        "key", "request_id", "start_time", "response_code", "duration_ms", "authority", "path", "user_agent", "best",
        wrong=outer.said.notnull(), outer_proxy=outer.proxy, outer_route=outer.route_name,
        client=outer.downstream_remote_address.re_extract("^(.*):", 1),
        left_by_proxy=outer.requested_server_name.startswith("outbound_").fill_null(False) & outer.server,
    )  # fmt: skip
    deciding = _at(rows, places.filter(places.place == places.decides).select(of_file="file", of_line="line"))
    deciding = deciding.select(
        "said", "cause", "flag_set", "response_code_details", "proxy", "file", "line", of=deciding.key,
        decided_by_server=deciding.server, decided_host=deciding.upstream_host,
        decided_address=deciding.upstream_local_address, decided_ms=deciding.duration_ms,
        decided_at=deciding.start_time,
    )  # fmt: skip
    caller = _at(rows, places.filter(places.place == places.calls).select(of_file="file", of_line="line"))
    caller = caller.select(
        "upstream_cluster", "upstream_host", called=caller.key, called_route=caller.route_name,
        called_authority=caller.authority,
    )  # fmt: skip
    joined = outer.inner_join(deciding, outer.key == deciding.of).drop("of")
    joined = joined.left_join(caller, joined.key == caller.called)
    joined = joined.mutate(
        route_name=ibis.coalesce(joined.called_route, joined.outer_route),
        service=ibis.coalesce(joined.called_authority, joined.authority),
    )
    result: ir.Table = joined.drop("called", "called_route", "called_authority", "outer_route")
    return result


def _at(rows: ir.Table, places: ir.Table) -> ir.Table:
    """The rows at some places in the log."""
    result: ir.Table = rows.inner_join(places, [rows.file == places.of_file, rows.line == places.of_line])
    return result


def _places(rows: ir.Table) -> ir.Table:
    """The place of each row in its request, that of the row that decides, and that of its caller's."""
    import ibis

    rows = rows.select("key", "start_time", "server", "duration_ms", "file", "line", "rank")
    # the caller's side comes first: it began earlier, lasted longer, and is not the server's
    order: list[Any] = [
        ibis.asc("start_time", nulls_first=False), "server", ibis.desc("duration_ms", nulls_first=False), "file", "line"
    ]  # fmt: skip
    rows = rows.mutate(place=ibis.row_number().over(group_by="key", order_by=order))
    known = [ibis.asc("rank", nulls_first=False), ibis.desc("place")]
    rows = rows.mutate(
        decides=rows.place.first().over(group_by="key", order_by=known), best=rows["rank"].min().over(group_by="key")
    )
    caller = ibis.ifelse(~rows.server & (rows.place <= rows.decides), rows.place, ibis.null("int64"))
    result: ir.Table = rows.mutate(calls=caller.max().over(group_by="key"))
    return result.select("file", "line", "place", "decides", "calls", "best")


def good_rows(rows: ir.Table) -> ir.Table:
    """Rows that have nothing wrong to say."""
    result: ir.Table = rows.filter(rows.said.isnull())
    return result


def traffic(rows: ir.Table) -> ir.Table:
    """Rows, and those of them that went well, per side, cluster and endpoint."""
    return rows.group_by("server", "upstream_cluster", "upstream_host").agg(
        requests=rows.count(), good=rows.said.isnull().sum()
    )


def connection_marks(requests: ir.Table, rows: ir.Table) -> ir.Table:
    """What is known of the connection that was closed on a request: turned away by the server, or used before."""
    refused = rows.filter(rows.response_code_details == "filter_chain_not_found")
    turned = refused.filter(refused.downstream_remote_address.notnull())
    turned = turned.select(turned=turned.downstream_remote_address).distinct()
    ports = refused.filter(refused.downstream_local_address.notnull())
    ports = ports.select(turning=ports.downstream_local_address).distinct()
    closed = requests.filter((requests.cause == "connection_closed") & requests.decided_address.notnull())
    used = good_rows(rows).semi_join(closed, [rows.upstream_local_address == closed.decided_address])
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
    return marked.drop("turned", "turning", "used_host", "used_address", "first_use")


RESTART_S = 3
"""How far from a proxy's end a failure at its endpoint is put down to it."""
CONNECT_MS = 50
"""A connection that fails without a word after this long was not refused: nobody answered."""
NULLABLE = ("upstream_cluster", "upstream_host", "about", "waited_ms")
MARKS = ("turned_away", "port_turns_away", "used_before", "by_server", "late_connect", "near_end", "by_proxy")


def with_circumstances(requests: ir.Table, rows: ir.Table, causes: set[str]) -> ir.Table:
    """The requests that failed, with all that the refinements look at: `said`, `NULLABLE` and `MARKS`.

    What only some causes need is missing for all others, so that there are few distinct circumstances.

    Args:
        requests: as from `troubled_requests`.
        rows: as from `read_rows`.
        causes: those that rows name; what none of them needs is not looked for.
    """
    import ibis

    closed = requests.cause == "connection_closed"
    if "connection_closed" in causes:
        requests = connection_marks(requests, rows)
    else:
        requests = requests.mutate(
            **dict.fromkeys(("turned_away", "port_turns_away", "used_before"), ibis.literal(False))
        )
    requests = _near_an_end(requests) if "drain" in causes else requests.mutate(near_end=ibis.literal(False))
    about = ibis.cases((closed, requests.path), (requests.cause == "no_route", requests.authority))
    gone = requests.cause == "client_gave_up"
    return requests.mutate(
        about=about,
        waited_ms=ibis.ifelse(gone, requests.duration_ms, ibis.null("int64")),
        by_server=requests.decided_by_server & closed,
        late_connect=((requests.cause == "connection_failed") & (requests.decided_ms >= CONNECT_MS)).fill_null(False),
        by_proxy=requests.left_by_proxy & gone,
        **{name: requests[name] & closed for name in ("turned_away", "port_turns_away", "used_before")},
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
    return requests.mutate(near_end=near_end).drop("last_end", "next_end")


def circumstances(requests: ir.Table) -> ir.Table:
    """The distinct circumstances, with the number of requests and the first of them."""
    return requests.group_by("said", *NULLABLE, *MARKS).agg(requests=requests.count(), begin=requests.start_time.min())


def with_verdicts(requests: ir.Table, verdicts: ir.Table) -> ir.Table:
    """Each request with the verdict on its circumstances: the columns of `FAILED_REQUESTS`.

    Args:
        requests: as from `with_circumstances`.
        verdicts: the circumstances, and for each `cause`, `confidence`, `why`, `ended_by` and `fqdn`, the service that
            the cluster's name tells.
    """
    import ibis

    keys = ("said", *NULLABLE, *MARKS)
    given = verdicts.rename({f"of_{name}": name for name in keys})
    requests = requests.drop("cause")
    same = [requests[name].identical_to(given[f"of_{name}"]) for name in keys]
    joined = requests.inner_join(given, same)
    joined = joined.mutate(service=ibis.coalesce(joined.fqdn, joined.service))
    return joined.select(FAILED_REQUESTS.column_names)


def ranking(failed: ir.Table, by: Sequence[str], *, total: int, exact: bool = True) -> ir.Table:
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
