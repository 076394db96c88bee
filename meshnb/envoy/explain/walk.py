"""One request through one proxy: listener, chain, filters, virtual host, route, cluster, endpoints."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from meshnb.envoy.explain.config import Config
from meshnb.envoy.explain.connection_manager import ConnectionManager, Reply
from meshnb.envoy.explain.explanation import Explanation, Lost, Outcome, Step
from meshnb.envoy.explain.fields import Message, child, items, text, type_name
from meshnb.envoy.explain.filter_chain import Chain, ChainChoice, Connection, choose_chain
from meshnb.envoy.explain.headers import Headers
from meshnb.envoy.explain.hops import follow
from meshnb.envoy.explain.listener import Listener, choose_listener, connection_of
from meshnb.envoy.explain.matcher import decide
from meshnb.envoy.explain.rbac import RbacView, rbac_reply
from meshnb.envoy.explain.request import Request
from meshnb.envoy.explain.route import is_grpc
from meshnb.envoy.explain.routing import RouteWalk
from meshnb.envoy.explain.tcp import walk_tcp
from meshnb.envoy.explain.verdict import Unknown
from meshnb.errors import FormatError

_TRANSPARENT = {
    "MetadataExchange", "PeerMetadata", "ConnectionLimit", "StatsConfig", "SniCluster", "FilterConfig", "Config",
    "Stats", "PluginConfig",
}  # fmt: skip


GRPC_STATUS = {400: 13, 401: 16, 403: 7, 404: 12, 429: 14, 502: 14, 503: 14, 504: 14}
"""gRPC status Envoy makes of the HTTP status of its own answers; 2 for others."""


# What a filter is that comes without a type, as in dumps of Envoy's version 2 API.
_KIND_OF_NAME = {"http_connection_manager": "HttpConnectionManager", "tcp_proxy": "TcpProxy", "rbac": "RBAC"}


def explain(config: object, request: Request, *, proxy: str = "") -> Explanation:
    """What Envoy does with one request, and why nothing else.

    Args:
        config: a config dump as decoded JSON (`GET /config_dump?include_eds`), or a `Config` made from one; make the
            `Config` once to explain many requests.
        request: the request; see `Request.to`.
        proxy: name of the proxy, for display.

    Returns:
        The steps in order, what lost at each and by which comparison, and how the request can end. What cannot be
        decided from a dump is listed in `undecided`.

    Raises:
        FormatError: the dump is not one, or a field in it has the wrong type.
        UsageError: the request makes no sense.

    Example:
        >>> manager = {"@type": "…v3.HttpConnectionManager", "route_config": {"virtual_hosts": [
        ...     {"name": "all", "domains": ["*"], "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "a"}}]}]}}
        >>> listener = {"name": "web", "address": {"socket_address": {"address": "0.0.0.0", "port_value": 80}},
        ...     "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}]}
        >>> dump = {"configs": [{"@type": "…v3.ListenersConfigDump", "static_listeners": [{"listener": listener}]}]}
        >>> print(explain(dump, Request.to("http://shop/")).outcome)
        cluster a: 503 NC cluster_not_found
    """
    try:
        return _Walk(Config.of(config), request.checked(), proxy).run()
    except RecursionError as error:
        raise FormatError("rules are nested too deeply", hint="look at the RBAC policies of the dump") from error


class _Walk:
    """The steps and outcomes of one request so far."""

    def __init__(self, config: Config, request: Request, proxy: str) -> None:
        self.config = config
        self.request = request
        self.proxy = proxy
        self.steps: list[Step] = []

    def run(self) -> Explanation:
        """Walk until every way the request can end is known."""
        outcomes = [follow(self.config, outcome, self.steps) for outcome in self._listener()]
        order = sorted(outcomes, key=lambda outcome: -(2.0 if outcome.probability is None else outcome.probability))
        return Explanation(self.request, tuple(self.steps), tuple(order), self.proxy)

    def _step(self, stage: str, chosen: str, because: str = "", **more: Any) -> None:
        self.steps.append(Step(stage, chosen, because, **more))

    def _undecided(self) -> list[Outcome]:
        return [Outcome("undecided", None)]

    def _listener(self) -> list[Outcome]:
        choice = choose_listener(self.config.listeners, self.request)
        listener = choice.listener
        if listener is None:
            unknown = choice.undecided if self.config.listeners else "the dump has no listeners"
            self._step("listener", "", choice.because, lost=choice.lost, undecided=unknown)
            if choice.undecided or not self.config.listeners:
                return self._undecided()
            return [Outcome("closed", notes=("the connection is refused: Envoy does not listen there",))]
        connection, undecided = connection_of(listener, self.request, choice)
        facts: dict[str, str] = {"bound to": listener.where()}
        if direction := text(listener.config, "traffic_direction"):
            facts["direction"] = direction.lower()
        self._step(
            "listener", listener.name, choice.because, lost=choice.lost, undecided="; ".join(undecided), facts=facts
        )
        return self._chain(listener, connection)

    def _chain(self, listener: Listener, connection: Connection) -> list[Outcome]:
        tree = child(listener.config, "filter_chain_matcher")
        choice = _by_tree(tree, listener, connection) if tree else None
        choice = choice or choose_chain(listener.chains, listener.default, connection)
        if choice.undecided:
            self._step("filter chain", "", lost=choice.lost, undecided=choice.undecided)
            return self._undecided()
        if choice.chain is None:
            self._step("filter chain", "", choice.because, lost=choice.lost)
            return [
                Outcome("closed", response_code=0, response_flags="NR", response_code_details="filter_chain_not_found")
            ]
        self._step(
            "filter chain",
            choice.chain.name,
            choice.because,
            lost=choice.lost,
            facts={"asks for": choice.chain.asks},
        )
        return self._transport(choice.chain, connection)

    def _transport(self, chain: Chain, connection: Connection) -> list[Outcome]:
        """Whether the client speaks what the chain's transport socket understands."""
        socket = child(chain.config, "transport_socket")
        terminates = type_name(child(socket, "typed_config")) == "DownstreamTlsContext"
        http = self._terminal(chain) == "HttpConnectionManager"
        if terminates and not self.request.tls:
            self._step("filter chain", chain.name, "the chain expects TLS and the client speaks plaintext")
            return [Outcome("closed", response_code=0, notes=("the TLS handshake fails",))]
        if self.request.tls and not terminates and http:
            self._step("network filter", "http_connection_manager", "TLS arrives where plaintext HTTP is expected")
            reply = Outcome("reply", response_code=400, response_flags="DPE", response_code_details="http1.codec_error")
            return [reply]
        return self._filters(chain, connection)

    @staticmethod
    def _terminal(chain: Chain) -> str:
        filters = items(chain.config, "filters")
        if not filters:
            return ""
        name = text(filters[-1], "name").rpartition(".")[2]
        return type_name(child(filters[-1], "typed_config")) or _KIND_OF_NAME.get(name, "")

    def _filters(self, chain: Chain, connection: Connection) -> list[Outcome]:
        for entry in items(chain.config, "filters"):
            name = text(entry, "name")
            typed = child(entry, "typed_config") or self.config.ecds.get(name) or child(entry, "config")
            kind = type_name(typed) or _KIND_OF_NAME.get(name.rpartition(".")[2], "")
            if kind == "HttpConnectionManager":
                self._step("network filter", name, "HTTP")
                return self._http(self.config.manager(typed), connection)
            if kind == "TcpProxy":
                self._step("network filter", name, "TCP proxy")
                return walk_tcp(self.config, typed, self.steps, self.request)
            if ".direct_response." in text(typed, "@type") or kind == "Echo":
                self._step("network filter", name, "answers the connection itself")
                return [Outcome("direct_response", response_code=0, notes=("answered by a network filter",))]
            if kind == "RBAC":
                denied = self._network_rbac(name, typed, connection)
                if denied is not None:
                    return denied
            elif kind in _TRANSPARENT or name in ("istio.stats", "istio.metadata_exchange"):
                self._step("network filter", name, "lets the connection pass")
            else:
                self._step("network filter", name, undecided=f"network filter {kind or name} is not followed")
        if self.steps[-1].stage != "network filter":
            self._step("network filter", "", "the chain has no filter: the connection is closed")
            return [Outcome("closed", response_code=0, response_code_details="")]
        return self._undecided()

    def _network_rbac(self, name: str, config: Message, connection: Connection) -> list[Outcome] | None:
        answer = rbac_reply(config, self._rbac_view(Headers(), connection))
        if isinstance(answer, Unknown):
            self._step("network filter", name, undecided=f"RBAC: {answer}")
            return None
        self._step("network filter", name, answer.because if answer else "RBAC allows it")
        if answer is None:
            return None
        return [Outcome("closed", response_code=0, response_code_details=answer.details)]

    def _rbac_view(self, headers: Headers, connection: Connection) -> RbacView:
        return RbacView(
            headers,
            connection.address,
            connection.port,
            connection.source,
            self.request.principal,
            connection.server_name,
            self.request.tls,
        )

    def _http(self, manager: ConnectionManager, connection: Connection) -> list[Outcome]:
        if self.request.tcp:
            self._step("request", "", undecided="the connection carries HTTP and no request is given")
            return self._undecided()
        prepared = manager.prepare(self.request, port=connection.port, rules=self.config.rules)
        if prepared.changes or prepared.reply:
            because = "; ".join(prepared.changes)
            self._step("request", str(prepared.headers.first(":path") or ""), because)
        if prepared.reply is not None:
            return [_as_grpc(self._early_reply(prepared.reply, prepared.headers), prepared.headers)]
        view = self._rbac_view(prepared.headers, connection)
        outcomes = RouteWalk(self.config, manager, self.request, prepared.headers, view, self.steps).run()
        return [_as_grpc(outcome, prepared.headers) for outcome in outcomes]

    def _early_reply(self, reply: Reply, headers: Headers) -> Outcome:
        self._step("reply", f"{reply.code} {reply.details}", reply.because)
        return Outcome(
            "redirect" if reply.location else "reply",
            response_code=reply.code,
            response_flags=reply.flags,
            response_code_details=reply.details,
            location="" if is_grpc(headers) else reply.location,
        )


def _by_tree(tree: Message, listener: Listener, connection: Connection) -> ChainChoice:
    """The chain a matcher tree names; the default chain if it names none."""
    found = decide(tree, connection)
    if isinstance(found, Unknown):
        return ChainChoice(None, "", undecided=found)
    chain = next((chain for chain in listener.chains if found.name and chain.name == found.name), None)
    lost = tuple(
        Lost(other.name, "the matcher tree leads elsewhere") for other in listener.chains if other is not chain
    )
    if chain is None and listener.default is not None:
        return ChainChoice(listener.default, f"default filter chain: {found.because}", lost, is_default=True)
    return ChainChoice(chain, found.because, lost)


def _as_grpc(outcome: Outcome, headers: Headers) -> Outcome:
    """Envoy's own answers to a gRPC request have status 200; the error is in grpc-status."""
    if not outcome.response_code or not is_grpc(headers):
        return outcome
    status = GRPC_STATUS.get(outcome.response_code, 2)
    note = f"gRPC: {outcome.response_code} is sent as 200 with grpc-status {status}"
    return replace(outcome, response_code=200, notes=(*outcome.notes, note))
