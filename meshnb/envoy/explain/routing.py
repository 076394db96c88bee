"""A request inside the HTTP connection manager: virtual host, route, filters, and how it ends."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from meshnb.envoy.explain.action import (
    NOT_FOUND_CODES,
    Pick,
    action_notes,
    mirrors,
    pick_clusters,
    subset_criteria,
)
from meshnb.envoy.explain.chance import Chance
from meshnb.envoy.explain.connection_manager import ConnectionManager, Reply
from meshnb.envoy.explain.explanation import Lost, Outcome, Step
from meshnb.envoy.explain.fields import Message, child, has, number, text
from meshnb.envoy.explain.filters import FilterRun, Scope, run_filters
from meshnb.envoy.explain.headers import Headers
from meshnb.envoy.explain.policy import effective_retries, effective_timeout
from meshnb.envoy.explain.rbac import RbacView
from meshnb.envoy.explain.request import Request
from meshnb.envoy.explain.rewrite import location, redirect_code, upstream_authority, upstream_path
from meshnb.envoy.explain.route import Route, View
from meshnb.envoy.explain.verdict import Miss, Unknown, Verdict
from meshnb.envoy.explain.virtual_host import RouteTable, VirtualHost

if TYPE_CHECKING:
    from meshnb.envoy.explain.config import Config

_SHOWN = 40


@dataclass(frozen=True, slots=True)
class Candidate:
    """A route that may take the request, `None` for no route at all."""

    route: Route | None
    chance: Chance
    certain: bool = True
    condition: str = ""


class RouteWalk:
    """Routes one request and says how it can end.

    Args:
        config: the indexed dump.
        manager: the connection manager.
        request: the request as given.
        headers: its headers after normalization.
        rbac: what RBAC rules look at.
        steps: the steps so far; those made here are appended.
    """

    def __init__(
        self,
        config: Config,
        manager: ConnectionManager,
        request: Request,
        headers: Headers,
        rbac: RbacView,
        steps: list[Step],
    ) -> None:
        self.config = config
        self.manager = manager
        self.request = request
        self.headers = headers
        self.rbac = rbac
        self.steps = steps
        self.host: VirtualHost | None = None
        self.table: RouteTable | None = None

    def run(self) -> list[Outcome]:
        """All outcomes."""
        if self.manager.scoped:
            self._step("route configuration", "", undecided="scoped routes are not followed")
            return [Outcome("undecided", None)]
        self.table = self.config.table(self.manager)
        if self.table is None:
            why = f"the dump has no route configuration {self.manager.rds}"
            self._step("route configuration", self.manager.rds, why)
            return self._end(Candidate(None, Chance()))
        self._step("route configuration", self.table.name, "RDS" if self.manager.rds else "inline")
        choice = self.table.choose(self.headers)
        self.host = choice.host
        name = choice.host.name if choice.host else ""
        self._step("virtual host", name, choice.because, lost=choice.lost, more=choice.more)
        if self.host is None:
            return self._end(Candidate(None, Chance()))
        if (outcome := self._requires_tls(self.host)) is not None:
            return outcome
        if has(self.host.config, "matcher"):
            self._step("route", "", undecided="the virtual host chooses routes by a matcher tree")
            return [Outcome("undecided", None, virtual_host=self.host.name)]
        outcomes: list[Outcome] = []
        for candidate in self._candidates(self.host):
            outcomes += self._end(candidate)
        return outcomes

    def _step(self, stage: str, chosen: str, because: str = "", **more: Any) -> None:
        self.steps.append(Step(stage, chosen, because, **more))

    def _requires_tls(self, host: VirtualHost) -> list[Outcome] | None:
        if host.require_tls not in ("ALL", "EXTERNAL_ONLY") or self.headers.first("x-forwarded-proto") == "https":
            return None
        if host.require_tls == "EXTERNAL_ONLY":
            why = "require_tls EXTERNAL_ONLY: whether the client counts as internal is not given"
            self._step("route", "", undecided=why)
            return [Outcome("undecided", None, virtual_host=host.name)]
        if (rejected := self._upgrade_reply({})) is not None:
            return [self._reply(Outcome("reply", virtual_host=host.name), rejected)]
        path = self.headers.first(":path")
        where = "" if path is None else f"https://{self.headers.first(':authority')}{path}"
        self._step("route", "", "require_tls: plaintext requests are redirected")
        return [
            Outcome(
                "redirect",
                virtual_host=host.name,
                response_code=301,
                response_code_details="direct_response",
                location=where,
            )
        ]

    def _candidates(self, host: VirtualHost) -> list[Candidate]:
        """Routes that may take the request, each with the step that says so; the first sure match ends the search."""
        view = View.of(self.headers, client_certificate=self._certificate(), metadata=self.request.metadata)
        left, certain = Chance.known(self.request.random), True
        lost: list[Lost] = []
        found: list[Candidate] = []
        for route in host.routes:
            verdict = self._settled(route, route.verdict(view))
            if isinstance(verdict, Miss):
                if len(lost) < _SHOWN:
                    lost.append(Lost(route.title, verdict))
                continue
            hit, rest, undecided = self._by_chance(route, left)
            if not hit.spans:
                lost.append(Lost(route.title, "its runtime fraction leaves no request to it"))
                continue
            undecided = undecided or (str(verdict) if verdict is not None else "")
            certain = certain and not undecided
            found.append(Candidate(route, hit, certain, undecided))
            self._route_step(host, route, hit, lost, undecided)
            if not undecided:
                left = rest
            if not left.spans:
                return found
        if not found or left.spans:
            found.append(Candidate(None, left, certain, "no other route matches" if found else ""))
            self._step("route", "", "no route matches", lost=tuple(lost))
        return found

    def _settled(self, route: Route, verdict: Verdict) -> Verdict:
        """The route a log line names settles what the line does not show."""
        logged = self.request.logged_route
        if not isinstance(verdict, Unknown) or logged is None:
            return verdict
        return None if route.name == logged else Miss(f'the log names route "{logged}" ({verdict})')

    def _by_chance(self, route: Route, left: Chance) -> tuple[Chance, Chance, str]:
        if route.fraction is None:
            return left, Chance(left.modulus, ()), ""
        numerator, denominator = route.fraction
        override = self.config.runtime.get(route.runtime_key) if route.runtime_key else None
        if isinstance(override, int) and not isinstance(override, bool):
            numerator, denominator = min(max(override, 0), 100), 100
        hit, rest = left.split(numerator, denominator)
        if route.runtime_key and override is None and self.config.runtime_unknown:
            return left, left, f"runtime key {route.runtime_key}: {self.config.runtime_unknown}"
        return hit, rest, ""

    def _certificate(self) -> bool | None:
        if not self.request.tls:
            return False
        return None if self.request.principal is None else bool(self.request.principal)

    def _route_step(self, host: VirtualHost, route: Route, hit: Chance, lost: list[Lost], undecided: str) -> None:
        facts: dict[str, Any] = {}
        istio = child(child(child(route.config, "metadata"), "filter_metadata"), "istio")
        if text(istio, "config"):
            facts["from"] = text(istio, "config")
        because = f"{route.rule} matches"
        conditions = [str(matcher) for matcher in (*route.headers, *route.query)]
        if conditions:
            because += "; " + "; ".join(conditions)
        if route.fraction is not None and not undecided:
            because += f"; runtime fraction: {hit.probability:.4g} of the requests"
        later = len(host.routes) - route.index - 1
        self._step("route", route.title, because, lost=tuple(lost), more=later, undecided=undecided, facts=facts)

    def _end(self, candidate: Candidate) -> list[Outcome]:
        """Run the filters, then what the route does."""
        route = candidate.route
        base = Outcome(
            "undecided",
            candidate.chance.probability if candidate.certain else None,
            candidate.condition,
            self.host.name if self.host else "",
            route.name if route else "",
            route.index if route else -1,
        )
        action = child(route.config, "route") if route else {}
        picks = pick_clusters(action, self.headers, candidate.chance, self.config.runtime) if action else []
        rejected = self._upgrade_reply(action) if route else None
        if rejected is not None:
            return [self._reply(base, rejected)]
        run = run_filters(
            self.manager, self.headers, self._scope(route), self.rbac, clusters=[pick.name for pick in picks]
        )
        self.steps.extend(run.steps)
        ended, base, factor = self._of_filters(base, run)
        if factor == 0:
            return ended
        known = base.probability is not None
        picks = [replace(pick, probability=(pick.probability or 0) * factor if known else None) for pick in picks]
        return ended + self._of_route(base, route, action, picks, run)

    def _scope(self, route: Route | None) -> Scope:
        messages = [route.config] if route else []
        messages += [self.host.config] if self.host else []
        messages += [self.table.config] if self.table else []
        return Scope(tuple(messages))

    def _of_filters(self, base: Outcome, run: FilterRun) -> tuple[list[Outcome], Outcome, float]:
        """What a filter's own answer leaves for the route."""
        if run.reply is None:
            return [], base, 1.0
        share = run.chance[0] / run.chance[1]
        likely = base.probability
        ended = self._reply(replace(base, probability=None if likely is None else likely * share), run.reply)
        rest = replace(base, probability=None if likely is None else likely * (1 - share))
        return [ended], rest, 1 - share

    def _reply(self, base: Outcome, reply: Reply) -> Outcome:
        self._step("reply", f"{reply.code} {reply.details}", reply.because)
        return replace(
            base,
            kind="reply",
            response_code=reply.code,
            response_flags=reply.flags,
            response_code_details=reply.details,
        )

    def _upgrade_reply(self, action: Message) -> Reply | None:
        kind = self.manager.upgrade(self.headers)
        if not kind or self.manager.allows_upgrade(kind, action):
            return None
        return Reply(403, "upgrade_failed", f"neither route nor connection manager allows an upgrade to {kind}")

    def _of_route(
        self, base: Outcome, route: Route | None, action: Message, picks: list[Pick], run: FilterRun
    ) -> list[Outcome]:
        if route is None:
            return [self._reply(base, Reply(404, "route_not_found", "no route for the request", flags="NR"))]
        if has(route.config, "redirect"):
            return [self._redirect(base, route)]
        if has(route.config, "direct_response"):
            return [self._direct_response(base, route)]
        if not action:
            kind = next((name for name in ("filter_action", "non_forwarding_action") if has(route.config, name)), "")
            self._step("cluster", "", undecided=f"the route has {kind or 'no action'}")
            return [base]
        outcomes = []
        for pick in picks:
            if pick.probability == 0:
                continue
            outcomes.append(self._cluster(base, route, action, pick, run))
        lost = tuple(Lost(pick.name, f"{pick.because}: never") for pick in picks if pick.probability == 0)
        if lost and self.steps[-1].stage in ("cluster", "endpoint", "reply"):
            index = next(i for i in range(len(self.steps) - 1, -1, -1) if self.steps[i].stage == "cluster")
            self.steps[index] = replace(self.steps[index], lost=(*self.steps[index].lost, *lost))
        return outcomes

    def _redirect(self, base: Outcome, route: Route) -> Outcome:
        redirect = child(route.config, "redirect")
        where = location(route, redirect, self.headers)
        undecided = str(where) if isinstance(where, Unknown) else ""
        code = redirect_code(redirect)
        self._step("reply", f"{code} to {'?' if undecided else where}", "the route redirects", undecided=undecided)
        return replace(
            base,
            kind="redirect",
            response_code=code,
            response_code_details="direct_response",
            location="" if undecided else str(where),
        )

    def _direct_response(self, base: Outcome, route: Route) -> Outcome:
        code = number(child(route.config, "direct_response"), "status", 200)
        # Envoy adds the request's own URL as Location to a direct response of these codes.
        where = str(location(route, {}, self.headers)) if code == 201 or 300 <= code < 400 else ""
        self._step("reply", str(code), "the route answers itself")
        return replace(
            base,
            kind="direct_response",
            response_code=code,
            response_code_details="direct_response",
            location=where,
        )

    def _cluster(self, base: Outcome, route: Route, action: Message, pick: Pick, run: FilterRun) -> Outcome:
        host, table = self.host, self.table
        assert host is not None and table is not None  # noqa: S101 - a route has both
        timeout, notes = effective_timeout(action, table.config, self.headers)
        path = upstream_path(route, action, self.headers.first(":path") or "")
        authority = upstream_authority(action, self.headers, weighted=pick.config, sent=self.request.authority)
        notes += [*run.notes, *action_notes(action)]
        notes += [f"path sent upstream: {path}"] if isinstance(path, Unknown) else []
        notes += [f"host sent upstream: {authority}"] if isinstance(authority, Unknown) else []
        outcome = replace(
            base,
            kind="cluster",
            probability=pick.probability,
            cluster=pick.name,
            path="" if isinstance(path, Unknown) else path,
            authority="" if isinstance(authority, Unknown) else authority,
            timeout=timeout,
            retries=effective_retries(action, host.config, self.headers),
            mirrors=mirrors(action, (host.config, table.config)),
            notes=tuple(notes),
        )
        if pick.undecided:
            self._step("cluster", pick.name, pick.because, undecided=pick.undecided)
            return replace(outcome, probability=None) if pick.name else replace(outcome, kind="undecided")
        return self._upstream(outcome, action, pick)

    def _upstream(self, outcome: Outcome, action: Message, pick: Pick) -> Outcome:
        upstream = self.config.clusters.upstream(pick.name, metadata=subset_criteria(action, pick.config))
        facts = {"probability": pick.probability} if pick.probability != 1 else {}
        if not upstream.found:
            near = tuple(Lost(name, "has another name") for name in upstream.notes)
            self._step("cluster", pick.name, f"{pick.because}; {upstream.because}", lost=near, facts=facts)
            code = NOT_FOUND_CODES.get(text(action, "cluster_not_found_response_code"), 503)
            self._step("reply", f"{code} cluster_not_found", "the route names a cluster that Envoy does not have")
            return replace(outcome, response_code=code, response_flags="NC", response_code_details="cluster_not_found")
        self._step("cluster", pick.name, pick.because, facts=facts)
        usable = [endpoint.address for endpoint in upstream.endpoints if endpoint.eligible]
        lost = tuple(Lost(e.address, e.because) for e in upstream.endpoints if not e.eligible)
        shown = ", ".join(usable[:8]) + (f" and {len(usable) - 8} more" if len(usable) > 8 else "")
        self._step("endpoint", shown, upstream.because, lost=lost[:_SHOWN], undecided=upstream.undecided)
        outcome = replace(outcome, endpoints=upstream.endpoints, notes=(*outcome.notes, *upstream.notes))
        if not upstream.no_host:
            return outcome
        self._step("reply", "503 no_healthy_upstream", "the cluster has no host it may use")
        return replace(outcome, response_code=503, response_flags="UH", response_code_details="no_healthy_upstream")
