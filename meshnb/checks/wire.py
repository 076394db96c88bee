"""What packets and debug logs show of requests that got no answer in time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from meshnb.checks.registry import check, passed
from meshnb.checks.states import in_use
from meshnb.envoy.debug_story import story
from meshnb.model.finding import Evidence, Finding, Severity, Status, Subject

if TYPE_CHECKING:
    import pandas as pd

WIRE, STORY = "MNB0252", "MNB0253"
WAITED_MS = 100.0
"""A client that closes sooner did not wait."""
_ROUND = (200, 250, 300, 500, 1000, 1500, 2000, 2500, 3000, 5000, 10000, 15000, 20000, 30000, 60000)


@check(
    WIRE,
    "Did a client close a connection without an answer, and after which timeout?",
    requires=("tcp_streams",),
    uses=("routes",),
    severity=Severity.WARNING,
)
def unanswered_connections(*, tcp_streams: pd.DataFrame, routes: pd.DataFrame | None) -> list[Finding]:
    """One finding per server whose clients closed first, after waiting in vain."""
    if tcp_streams.empty:
        return [Finding(WIRE, Status.UNKNOWN, Severity.WARNING, Subject("Mesh"), "The capture holds no connection.")]
    gone = (tcp_streams.closed_by == "client") & (tcp_streams.waited_ms >= WAITED_MS)
    waited = tcp_streams[gone.fillna(False).astype(bool)]
    if waited.empty:
        return [passed(WIRE, f"No client of {len(tcp_streams)} connections closed while it waited for an answer.")]
    return [_wire(str(server), group, routes) for server, group in waited.groupby("server")]


def _wire(server: str, rows: pd.DataFrame, routes: pd.DataFrame | None) -> Finding:
    typical = float(rows.waited_ms.median())
    timeout = _timeout(typical, routes)
    late = rows.late_answer_ms.dropna()
    how = rows.close_how.mode().iloc[0]
    limit = f": the timeout of {timeout:g} ms" if timeout else "; no timeout of that length is known"
    answer = (
        f" {len(late)} answers came {late.min():.0f} to {late.max():.0f} ms after that and were refused."
        if len(late)
        else ""
    )
    columns = ["stream", "client", "http_request", "waited_ms", "close_how", "late_answer_ms", "reset_by", "gap_ms"]
    return Finding(
        WIRE,
        Status.FAIL,
        Severity.WARNING,
        Subject("Endpoint", server),
        f"{len(rows)} clients of {server} closed ({how}) after {rows.waited_ms.min():.0f} to "
        f"{rows.waited_ms.max():.0f} ms without an answer{limit}.{answer}",
        cause=_network(int(rows.retransmissions.sum())),
        evidence=(Evidence.of("connections closed while waiting", rows[columns], source="mesh.tcp_streams()"),),
        verify="capture again and read it with: meshnb table tcp_streams FILE.pcap",
        confidence=0.9 if timeout else 0.6,
    )


def _network(retransmissions: int) -> str:
    if retransmissions:
        return f"Payload was sent again {retransmissions} times: look at the network too."
    return (
        "The client's side closes when its timeout passes. The handshake was quick and nothing was sent twice, so the "
        "network is sound; the server thought longer than its client waits."
    )


def _timeout(waited: float, routes: pd.DataFrame | None) -> float | None:
    """The configured timeout a wait meets within three percent, else a round number."""
    known: list[float] = (
        [] if routes is None else [float(t) for t in in_use(routes).timeout_ms.dropna().unique() if t > 0]
    )
    near = [t for t in (*known, *map(float, _ROUND)) if abs(t - waited) <= max(5.0, 0.03 * t)]
    return near[0] if near else None


@check(
    STORY,
    "Which requests does the debug log show timing out, and at which endpoint?",
    requires=("debug_log",),
    uses=("access_log",),
    severity=Severity.WARNING,
)
def timed_out_stories(*, debug_log: pd.DataFrame, access_log: pd.DataFrame | None) -> list[Finding]:
    """One finding per endpoint at which a request's story ends in a timeout."""
    if debug_log.empty:
        why = "The logs hold no record of Envoy at debug level; raise http, router, connection and pool to debug."
        return [Finding(STORY, Status.UNKNOWN, Severity.WARNING, Subject("Mesh"), why)]
    late = debug_log[debug_log.message.str.startswith("upstream timeout") & debug_log.stream.notna()]
    if late.empty:
        return [passed(STORY, f"None of {debug_log.stream.nunique()} requests in the debug log met a timeout.")]
    found = []
    for file, stream in late[["file", "stream"]].drop_duplicates().itertuples(index=False):
        found.append(_told(story(debug_log[debug_log.file == file], stream=stream), debug_log, stream, access_log))
    return found


def _told(steps: pd.DataFrame, debug_log: pd.DataFrame, stream: str, access_log: pd.DataFrame | None) -> Finding:
    own = debug_log[debug_log.stream == stream]
    request_id = next(iter(own.request_id.dropna()), "")
    upstream = steps[steps.side == "upstream"]
    dialled = upstream.message.str.extract(r"connecting to (?P<address>\S+)")["address"].dropna()
    endpoint = str(dialled.iloc[0]) if len(dialled) else ""
    logged = "" if access_log is None or not request_id else _logged_host(access_log, request_id)
    closed = upstream[upstream.message.str.startswith("client disconnected")]
    connection = f"C{upstream.connection.iloc[0]}" if len(upstream) else ""
    parts = []
    if connection:
        parts.append(f"Envoy's own line attaches upstream connection {connection} to the request.")
    else:
        parts.append("The log does not say which upstream connection served it; nearness in the log is no proof.")
    if len(closed):
        parts.append(f"`client disconnected` on {connection}, no failure: this proxy closed its upstream connection.")
    if endpoint and logged:
        same = "the same" if endpoint == logged else f"another one ({logged})"
        parts.append(f"The access log names {same} upstream host.")
    after = steps[steps.message.str.startswith("upstream timeout")].offset_ms.iloc[0]
    return Finding(
        STORY,
        Status.FAIL,
        Severity.WARNING,
        Subject("Endpoint", endpoint or logged or f"of stream {stream}"),
        f"Request {request_id or stream} met the route's timeout after {after:.0f} ms, waiting for "
        f"{endpoint or logged or 'an endpoint the log does not name'}.",
        cause=" ".join(parts),
        evidence=(
            Evidence.of("its life", steps[["offset_ms", "side", "connection", "message"]], source="mesh.story()"),
        ),
        verify="meshnb run 504-slow-upstream -p source=NEW_SNAPSHOT",
        confidence=0.95 if endpoint else 0.6,
    )


def _logged_host(access_log: pd.DataFrame, request_id: str) -> str:
    rows: Any = access_log[(access_log.request_id == request_id) & access_log.upstream_host.notna()]
    return str(rows.upstream_host.iloc[0]) if len(rows) else ""
