"""One request's life, from a debug log: found by id, followed by id, never by what stands next to it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from meshnb.errors import NotFound, UsageError
from meshnb.model.frame import returns
from meshnb.model.tables.logs import STORY

if TYPE_CHECKING:
    import pandas as pd

# what a message means, for someone who reads Envoy's log for the first time; the first that fits
_MEANINGS = (
    (r"new stream$", "a request begins on this connection"),
    (r"request headers complete", "the client's headers have arrived"),
    (r"request end stream", "the client has sent everything"),
    (r"cluster '.*' match for URL", "the route is chosen: this cluster gets the request"),
    (r"router decoding headers", "the headers as they go to the upstream, with the timeout"),
    (r"connecting to ", "a new connection to this endpoint"),
    (r"^connected$", "the endpoint has accepted the connection"),
    (r"using existing", "an idle connection is used again"),
    (r"attaching to next stream|creating stream$", "the connection is given to a waiting request"),
    (r"pool ready", "there is a connection for the request; it goes out now"),
    (r"ttached upstream connection", "the link: this upstream connection serves this downstream connection"),
    (r"upstream timeout", "the route's timeout passed without an answer"),
    (r"per try timeout", "one attempt took longer than an attempt may"),
    (r"resetting pool request", "the request to the upstream is given up"),
    (r"performing retry|retry", "the request is tried again"),
    (r"upstream reset", "the upstream ended the request early"),
    (r"upstream headers complete", "the upstream's answer has arrived"),
    (r"Sending local reply", "Envoy answers itself, for the reason named"),
    (r"encoding headers via codec", "the answer goes to the client"),
    (r"stream reset", "the request ended before its answer was complete"),
    (r"remote close", "the other side closed the connection"),
    (r"client disconnected", "the connection to the upstream is gone; without a failure reason this proxy closed it"),
    (r"closing data_to_write", "this proxy closes the connection"),
    (r"connect(ion)? timeout", "the endpoint did not accept the connection in time"),
    (r"SSL error|TLS_error|TLS error", "the TLS handshake failed"),
)
_ENDS = re.compile(r"destroying stream|client disconnected")


@returns(STORY)
def story(
    debug_log: pd.DataFrame, *, request_id: str = "", connection: int | None = None, stream: str = ""
) -> pd.DataFrame:
    """Follow one request through a debug log, across the downstream and the upstream connection.

    The downstream stream is found by its request id (or by connection or stream number), the upstream connection by
    Envoy's own line that attaches it; between attaching and the end of the stream its records belong to the request.
    Logs of several proxies may be given at once: a request id is followed through all of them.

    Args:
        debug_log: as from `read_debug_log`.
        request_id: x-request-id of the request.
        connection: number of the downstream (or upstream) connection.
        stream: number of the stream.

    Returns:
        One row per step.

    Raises:
        UsageError: none, or more than one, of the three is given.
        NotFound: the log does not mention it.
    """
    import pandas as pd

    if sum(map(bool, (request_id, connection is not None, stream))) != 1:
        raise UsageError("give one of request_id, connection and stream", hint="story(log, request_id='…')")
    log = debug_log.sort_values(["file", "line"], kind="stable", ignore_index=True)
    parts = []
    for file, connection_id, stream_id in _streams(log, request_id, connection, stream):
        own = log[log.file == file]
        parts.append(_of_stream(own, connection_id, stream_id))
    if not parts:
        what = request_id or stream or f"C{connection}"
        raise NotFound(
            f"the debug log does not mention {what}",
            hint="raise the levels of http, router, connection and pool to debug before the request",
        )
    steps = pd.concat(parts).drop_duplicates(["file", "line"]).sort_values(["time", "file", "line"], kind="stable")
    return _told(steps)


def _streams(
    log: pd.DataFrame, request_id: str, connection: int | None, stream: str
) -> list[tuple[str, int | None, str | None]]:
    """File, downstream connection and stream of the request, once per proxy it went through."""
    if request_id:
        found = log[(log.request_id == request_id) & log.stream.notna()]
    elif stream:
        found = log[log.stream == stream]
    else:
        serves = log[log.upstream_connection == connection]
        downstream = set(serves.connection) | {connection}
        found = log[log.connection.isin(downstream) & log.stream.notna()]
        if found.empty:
            found = log[log.connection == connection]
    keys = found[["file", "connection", "stream"]].drop_duplicates()
    return [(file, _known(number), _known(name)) for file, number, name in keys.itertuples(index=False)]


def _known(value: Any) -> Any:
    """A value, or `None` where pandas has `NA`."""
    return None if type(value).__name__ == "NAType" else value


def _of_stream(log: pd.DataFrame, connection: int | None, stream: str | None) -> pd.DataFrame:
    """The records of one proxy about one stream: its own, its connection's, its upstream connection's."""
    own = log[log.stream == stream] if stream else log[log.connection == connection]
    import pandas as pd

    first, last = own.line.min(), own.line.max()
    on_connection = log[(log.connection == connection) & log.stream.isna()] if connection is not None else log.head(0)
    # a kept-alive connection carries one request after the other: from its `new stream` to the next one's
    starts = on_connection.line[on_connection.message == "new stream"]
    begin = max((n for n in starts if n <= first), default=first)
    end = min((n for n in starts if n > last), default=log.line.max() + 1)
    mine = on_connection[(on_connection.line >= begin) & (on_connection.line < end)]
    attached = mine[mine.upstream_connection.notna()]
    pieces = [own.assign(side="downstream"), mine.assign(side="downstream")]
    for upstream, at in zip(attached.upstream_connection, attached.line, strict=True):
        pieces.append(_of_upstream(log, int(upstream), int(at), int(begin), int(end)).assign(side="upstream"))
    return pd.concat(pieces)


def _of_upstream(log: pd.DataFrame, upstream: int, at: int, begin: int, end: int) -> pd.DataFrame:
    """Records of an upstream connection while it serves the request."""
    records = log[log.connection == upstream]
    takes = log[(log.upstream_connection == upstream)].line
    before = max((n for n in takes if n < at), default=0)
    after = min((n for n in takes if n > at), default=log.line.max() + 1)
    over = [n for n, m in zip(records.line, records.message, strict=True) if at < n < after and _ENDS.search(m)]
    # what a pooled connection did for the request before this one ended with that request's own end
    gone = [n for n, m in zip(records.line, records.message, strict=True) if before < n < at and _ENDS.search(m)]
    low = max(begin, *gone, 0) if gone else begin
    high = min(after, (max(over) if over else end) + 1)
    return records[(records.line >= low) & (records.line < high)]


def _told(steps: pd.DataFrame) -> pd.DataFrame:
    start = steps.time.iloc[0]
    columns: dict[str, list[Any]] = {name: steps[name].tolist() for name in STORY.column_names if name in steps}
    columns["offset_ms"] = [(t - start).total_seconds() * 1000 for t in steps.time]
    columns["message"] = [_with_facts(m, h) for m, h in zip(steps.message, steps.headers, strict=True)]
    columns["meaning"] = [_meaning(message) for message in steps.message]
    return STORY.build({name: [_known(value) for value in values] for name, values in columns.items()})


def _with_facts(message: str, headers: object) -> str:
    """The message with those headers that explain it."""
    import json

    if not isinstance(headers, str):
        return message
    wanted = ("x-envoy-expected-rq-timeout-ms", "x-envoy-attempt-count", "x-request-id", ":status")
    facts = [f"{name}: {value}" for name, value in json.loads(headers) if name in wanted]
    return f"{message} {', '.join(facts)}" if facts else message


def _meaning(message: str) -> str | None:
    return next((meaning for pattern, meaning in _MEANINGS if re.search(pattern, message)), None)
