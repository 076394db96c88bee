"""What one row cannot tell, told by the rows around it: whether one replica is slow or all, what a connection had done.

A rule looks at each distinct set of circumstances once, however many requests share it, and asks `Facts` what all rows
of the log say.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from meshnb.checks.causes_rows import UNKNOWN, RowCause
from meshnb.checks.states import in_use

if TYPE_CHECKING:
    import pandas as pd

ONE_REPLICA_SHARE, ONE_REPLICA_FACTOR, MIN_REQUESTS = 0.8, 5.0, 5
"""One replica is the slow one if it has this share of the timeouts and times out this much more often than the rest."""
FEW_FRESH = 5
"""With this many closes on reuse for each on a fresh connection, the fresh ones are few."""
EJECTION_ERRORS = 1
"""Server errors of a cluster before its `UH` that make an ejection likelier than missing endpoints."""


@dataclass(slots=True)
class Circumstance:
    """Requests of which everything that decides on their cause is the same, and the verdict on them.

    Args:
        row: what the row that decides says.
        upstream_cluster: cluster of what failed.
        upstream_host: endpoint of it.
        about: path of a closed connection's request, host asked for where no route was found; else `None`.
        waited_ms: how long a client waited that gave up.
        turned_away: the server's listener logged this very connection as turned away.
        port_turns_away: it logged others.
        used_before: the connection had carried a request.
        by_server: the server's side closed it.
        late_connect: the connection failed after a wait.
        near_end: the proxy of the endpoint was ending at that time.
        by_proxy: the client that left is a proxy of the mesh.
        requests: how many.
        begin: the first of them.
    """

    row: RowCause
    upstream_cluster: str | None
    upstream_host: str | None
    about: str | None
    waited_ms: int | None
    turned_away: bool
    port_turns_away: bool
    used_before: bool
    by_server: bool
    late_connect: bool
    near_end: bool
    by_proxy: bool
    requests: int
    begin: Any
    cause: str = ""
    confidence: float = 0.95
    why: str = ""

    def __post_init__(self) -> None:
        self.cause, self.why = self.row.cause, self.row.why
        self.confidence = 0.0 if self.cause == UNKNOWN else 0.95

    def decide(self, cause: str, confidence: float, why: str) -> None:
        """Set the verdict."""
        self.cause, self.confidence, self.why = cause, confidence, why


class Facts(Protocol):
    """What all rows of the log say, asked for only when a rule needs it."""

    def requests_to(self, cluster: str) -> dict[str, int]:
        """Requests per endpoint of a cluster, as callers logged them."""

    def good_clusters(self) -> Collection[str]:
        """Clusters of which a request succeeded."""

    def good_to(self, host: str) -> int:
        """Rows of an endpoint that went well."""

    def good_paths(self, host: str, paths: Collection[str]) -> Collection[str]:
        """Those of some paths that an endpoint served well."""

    def errors_before(self, cluster: str) -> int:
        """Server errors of endpoints of a cluster before none of them was healthy."""

    def hosts_served(self) -> Collection[str]:
        """Hosts, without port, for which a route led to a cluster."""

    def usual_ms(self) -> float | None:
        """95 % of good answers take at most this."""


def refine(
    cases: list[Circumstance], facts: Facts, *, routes: pd.DataFrame | None, endpoints: pd.DataFrame | None
) -> None:
    """Decide on all circumstances, one kind of cause after the other.

    Args:
        cases: the circumstances; their verdicts are set.
        facts: what all rows say.
        routes: table `routes`, to tell an unknown host from an unmatched path.
        endpoints: table `endpoints`, to tell ejected endpoints from missing ones.
    """
    _closed_connections(cases, facts)
    _one_path(cases, facts)
    _restarts(cases)
    _silent_connections(cases)
    _timeouts(cases, facts)
    _no_endpoints(cases, facts, endpoints)
    _no_routes(cases, facts, routes)
    _late_answers(cases, facts)


def _of(cases: Iterable[Circumstance], *causes: str) -> list[Circumstance]:
    return [case for case in cases if case.cause in causes]


def _closed_connections(cases: list[Circumstance], facts: Facts) -> None:
    """`UC`: plaintext to a port that demands mTLS, a kept-alive connection that closed, or an application that hung up.

    The connection itself tells: its address on the client's side is the one the server's listener logged
    (`filter_chain_not_found`), or it carried a request before.
    """
    closed = _of(cases, "connection_closed")
    for case in closed:
        if case.turned_away:
            case.decide("plaintext_to_strict", 0.97, "the server's listener turned this very connection away")
        elif case.port_turns_away:
            case.decide("plaintext_to_strict", 0.9, "the server's listener turned connections away meanwhile")
        elif case.used_before:
            case.decide("keepalive_race", 0.9, "the connection had carried a request before; it closed on reuse")
        elif case.by_server:
            case.decide("connection_closed", 0.9, "the application closed a fresh connection without an answer")
        elif case.upstream_cluster is not None and case.upstream_cluster not in facts.good_clusters():
            case.decide(UNKNOWN, 0.3, "every connection is closed at once; the server's own log is missing")
        else:
            case.decide("connection_closed", 0.6, "closed without an answer; the server's own log is missing")
    _fresh_ones(closed, facts)


def _fresh_ones(closed: list[Circumstance], facts: Facts) -> None:
    """Closes on fresh connections: an application that hangs up closes used ones too, a race never hits fresh ones.

    But what looks fresh may have been opened before the log begins. A few such closes among many on reuse, of a path
    that is served well otherwise, are no proof of either.
    """
    counts: dict[tuple[str | None, str | None], Counter[str]] = defaultdict(Counter)
    for case in closed:
        if case.cause == "keepalive_race" or (case.cause == "connection_closed" and case.confidence >= 0.9):
            counts[case.upstream_host, case.about][case.cause] += case.requests
    for (host, path), seen in counts.items():
        fresh, reused = seen["connection_closed"], seen["keepalive_race"]
        if not fresh or not reused:
            continue
        few = FEW_FRESH * fresh <= reused and host is not None and path is not None
        cause = "keepalive_race" if few and facts.good_paths(str(host), {str(path)}) else "connection_closed"
        for case in closed:
            if (case.upstream_host, case.about) != (host, path) or case.cause not in seen:
                continue
            if cause == "keepalive_race":
                why = "most closed on reuse; those few that look fresh may be older than the log"
                case.decide(cause, 0.75 if case.used_before else 0.6, why)
            elif case.cause == "keepalive_race":
                case.decide(cause, 0.8, "fresh connections are closed on the same path as well")


def _one_path(cases: list[Circumstance], facts: Facts) -> None:
    """A race hits whatever comes next; if one path fails always and the others never, the application hangs up."""
    races: dict[str, list[Circumstance]] = defaultdict(list)
    for case in _of(cases, "keepalive_race"):
        if case.upstream_host is not None:
            races[case.upstream_host].append(case)
    for host, raced in races.items():
        paths = {case.about for case in raced if case.about is not None}
        if len(paths) == 1 and facts.good_to(host) >= MIN_REQUESTS and not facts.good_paths(host, paths):
            for case in raced:
                case.decide("connection_closed", 0.8, "only this path fails, and it always does")


def _restarts(cases: list[Circumstance]) -> None:
    """What fails at an endpoint while its proxy is ending fails because of that."""
    for case in _of(cases, "connection_refused", "keepalive_race", "connection_closed"):
        if case.near_end:
            case.decide("drain", 0.85, "the proxy of this endpoint was ending at that time")


def _silent_connections(cases: list[Circumstance]) -> None:
    """`UF` without a word: refused at once, or nobody answered until the connect timeout."""
    for case in _of(cases, "connection_failed"):
        if case.late_connect:
            case.decide("connection_timed_out", 0.7, "the connection failed without a reason, after a wait")
        else:
            case.decide(UNKNOWN, 0.3, "the connection failed at once and the log gives no reason")


def _timeouts(cases: list[Circumstance], facts: Facts) -> None:
    """`UT`: one slow replica, or the service as a whole."""
    clusters: dict[str, list[Circumstance]] = defaultdict(list)
    for case in _of(cases, "upstream_timeout"):
        case.decide("slow_upstream", 0.5, "the log does not say which cluster or endpoint was asked")
        if case.upstream_cluster is not None:
            clusters[case.upstream_cluster].append(case)
    for cluster, group in clusters.items():
        timeouts: Counter[str] = Counter()
        for case in group:
            if case.upstream_host is not None:
                timeouts[case.upstream_host] += case.requests
        if timeouts:
            verdict = _slow_ones(timeouts, sum(case.requests for case in group), facts.requests_to(cluster))
            for case in group:
                case.decide(*verdict)


def _slow_ones(timeouts: Counter[str], late: int, requests: dict[str, int]) -> tuple[str, float, str]:
    """One replica or all, from timeouts and requests per endpoint of a cluster."""
    host, count = min(timeouts.items(), key=lambda item: (-item[1], item[0]))
    others = sum(requests.values()) - requests.get(host, 0)
    elsewhere = (late - count) / others if others else 0.0
    own = count / max(requests.get(host, 0), 1)
    few = min(requests.get(host, 0), others) < MIN_REQUESTS
    if count / late >= ONE_REPLICA_SHARE and own >= ONE_REPLICA_FACTOR * elsewhere and not few:
        return "slow_replica", 0.95, f"{count} of {late} timeouts of the cluster are of {host}"
    if len(requests) == 1 or others == 0:
        return "slow_upstream", 0.7, "the cluster's only endpoint in the log"
    why = f"timeouts are spread over {len(timeouts)} of {len(requests)} endpoints"
    return "slow_upstream", 0.6 if few else 0.9, why


def _no_endpoints(cases: list[Circumstance], facts: Facts, endpoints: pd.DataFrame | None) -> None:
    """`UH`: endpoints ejected after errors, or no endpoint at all."""
    for case in _of(cases, "no_healthy_upstream"):
        cluster = case.upstream_cluster
        if cluster is None:
            continue
        if endpoints is not None and in_use(endpoints[endpoints.cluster == cluster]).empty:
            case.decide("no_healthy_upstream", 0.95, "the proxies hold no endpoint of the cluster")
        elif (errors := facts.errors_before(cluster)) >= EJECTION_ERRORS:
            case.decide("outlier_ejection", 0.9, f"{errors} server errors of its endpoints came just before")
        else:
            case.decide("no_healthy_upstream", 0.85, "no endpoint answered before, with an error or without")


def _no_routes(cases: list[Circumstance], facts: Facts, routes: pd.DataFrame | None) -> None:
    """`NR`: the host is unknown, or it is known and no route matches the path."""
    missing = [case for case in _of(cases, "no_route") if case.about is not None]
    if not missing:
        return
    served = set(facts.hosts_served())
    if routes is not None:
        served |= {bare(d) for domains in in_use(routes).domains.dropna() for d in domains if d != "*"}
    for case in missing:
        if bare(str(case.about)) in served:
            case.decide("no_route", 0.95 if routes is not None else 0.85, "the host is known, the path is not")
        else:
            case.decide("unknown_host", 0.95 if routes is not None else 0.7, "no route knows this host")


def bare(authority: str) -> str:
    """A host without its port."""
    return authority.rpartition(":")[0] or authority if ":" in authority else authority


def _late_answers(cases: list[Circumstance], facts: Facts) -> None:
    """The client left: its patience ended; say whether the server was slow by its own measure."""
    for case in _of(cases, "client_gave_up"):
        if case.by_proxy:
            why = "its caller is a proxy whose log is missing: it left, and only it knows why"
            case.decide(UNKNOWN, 0.3, why)
            continue
        usual, waited = facts.usual_ms(), case.waited_ms
        why = "it left" if waited is None else f"it left after {waited} ms"
        if usual is not None and waited is not None and waited > 3 * max(usual, 10.0):
            why += f"; 95 % of answers take at most {usual:.0f} ms"
        case.decide("client_gave_up", 0.9, why)
