"""HTTP filters before the router: which let a request pass, which answer it, and which cannot be followed."""

from __future__ import annotations

from dataclasses import dataclass, field

from meshnb.envoy.explain.connection_manager import ConnectionManager, HttpFilter, Reply
from meshnb.envoy.explain.explanation import Step
from meshnb.envoy.explain.fields import Message, child, flag, has, items, number, seconds, text, texts, type_name
from meshnb.envoy.explain.headers import Headers
from meshnb.envoy.explain.match import HeaderMatcher, StringMatcher
from meshnb.envoy.explain.rbac import RbacView, rbac_reply
from meshnb.envoy.explain.route import percentage
from meshnb.envoy.explain.verdict import Miss, Unknown

ROUTER = "Router"
_PASS = {
    "GrpcStats": "counts gRPC messages",
    "FilterConfig": "",
    "GrpcWeb": "translates gRPC-Web",
    "PeerMetadata": "exchanges workload metadata",
    "Config": "",
    "Compressor": "compresses responses",
    "Decompressor": "decompresses",
    "Buffer": "waits for the whole body",
    "PluginConfig": "records metrics",
    "istio.alpn": "sets upstream ALPN",
    "istio.stats": "records metrics",
    "istio.metadata_exchange": "exchanges workload metadata",
    "Tap": "records requests",
    "BandwidthLimit": "slows bodies",
    "AdmissionControl": "",
    "OnDemand": "",
    "UpstreamCodec": "",
    "KillRequest": "",
}
_MAY_ANSWER = {
    "Lua": "a Lua script may answer, or change headers and the route",
    "LuaPerRoute": "a Lua script may answer, or change headers and the route",
    "Wasm": "a Wasm module may answer, or change headers and the route",
    "ExtAuthz": "an authorization service may deny (403 UAEX), or change headers and the route",
    "ExternalProcessor": "an external processor may answer, or change headers and the route",
    "JwtAuthentication": "a token is checked (401 Jwt_…), and the route may be chosen again",
    "RateLimit": "a rate limit service may answer 429 RL",
    "LocalRateLimit": "a token bucket may answer 429 RL",
    "OAuth2": "an OAuth flow may redirect",
    "HeaderMutation": "headers are changed after the route is chosen",
    "HealthCheck": "health checks may be answered",
    "GrpcJsonTranscoder": "path and body are translated, and the route may be chosen again",
    "CsrfPolicy": "cross-site requests may be answered 403",
}


@dataclass(slots=True)
class FilterRun:
    """What the filters did with a request."""

    steps: list[Step] = field(default_factory=list)
    reply: Reply | None = None
    chance: tuple[int, int] = (1, 1)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Scope:
    """Where per-route filter configuration may lie, the most specific first."""

    messages: tuple[Message, ...]

    def config(self, name: str) -> tuple[Message, bool | None]:
        """A filter's own configuration here, and whether it is disabled here, `None` if nothing is said."""
        for message in self.messages:
            found = child(child(message, "typed_per_filter_config"), name)
            if found:
                if type_name(found) == "FilterConfig" and (has(found, "config") or has(found, "disabled")):
                    return child(found, "config"), flag(found, "disabled")
                return found, False
        return {}, None


def run_filters(
    manager: ConnectionManager, headers: Headers, scope: Scope, view: RbacView, *, clusters: list[str]
) -> FilterRun:
    """Run the filters in order until one answers or the router is reached.

    Args:
        manager: has the filters.
        headers: the request's headers.
        scope: where per-route configuration lies.
        view: what RBAC rules look at.
        clusters: clusters the route may choose, for faults of one cluster.
    """
    run = FilterRun()
    for item in manager.filters:
        own, disabled = scope.config(item.name)
        if item.kind == ROUTER or item.name == "envoy.filters.http.router":
            return run
        if item.disabled if disabled is None else disabled:
            run.steps.append(Step("http filter", item.name, "disabled for this route"))
            continue
        _run_one(item, own, headers, view, clusters, run)
        if run.reply is not None and run.chance == (1, 1):
            return run
    if manager.filters:
        run.steps.append(Step("http filter", "", undecided="there is no router filter: nothing sends the request on"))
    return run


def _run_one(
    item: HttpFilter, own: Message, headers: Headers, view: RbacView, clusters: list[str], run: FilterRun
) -> None:
    match item.kind:
        case "HTTPFault":
            _fault(item, own or item.config, headers, clusters, run)
        case "RBAC":
            rules = child(own, "rbac") if own else item.config
            answer = rbac_reply(rules, view)
            if isinstance(answer, Unknown):
                run.steps.append(Step("http filter", item.name, undecided=f"RBAC: {answer}"))
            else:
                run.steps.append(Step("http filter", item.name, answer.because if answer else "RBAC allows it"))
                run.reply = answer
        case "Cors":
            _cors(item, own, headers, run)
        case kind if kind in _PASS or item.name in _PASS:
            # Older versions of Istio have its own filters as Wasm: the name tells them.
            what = _PASS.get(item.name) or _PASS.get(kind) or "does not answer requests"
            run.steps.append(Step("http filter", item.name, what))
        case kind:
            why = _MAY_ANSWER.get(kind, f"filter {kind} is not known here")
            run.steps.append(Step("http filter", item.name, undecided=why))


def _fault(item: HttpFilter, config: Message, headers: Headers, clusters: list[str], run: FilterRun) -> None:
    wanted = text(config, "upstream_cluster")
    if wanted and wanted not in clusters:
        run.steps.append(Step("http filter", item.name, f"fault only for cluster {wanted}"))
        return
    for matcher in (HeaderMatcher(entry) for entry in items(config, "headers")):
        found = matcher.verdict(headers)
        if found is not None:
            undecided = str(found) if isinstance(found, Unknown) else ""
            because = f"no fault: {found}" if isinstance(found, Miss) else ""
            run.steps.append(Step("http filter", item.name, because, undecided=undecided))
            return
    if texts(config, "downstream_nodes"):
        run.steps.append(Step("http filter", item.name, undecided="fault only for some downstream nodes"))
        return
    delay, abort = child(config, "delay"), child(config, "abort")
    reasons = []
    if seconds(delay, "fixed_delay"):
        share = "{}/{}".format(*percentage(child(delay, "percentage")))
        reasons.append(f"delays {seconds(delay, 'fixed_delay'):g} s for {share} (DI)")
        run.notes.append(f"fault delay {seconds(delay, 'fixed_delay'):g} s for {share} of the requests (flag DI)")
    numerator, denominator = percentage(child(abort, "percentage"))
    if abort and not has(abort, "header_abort") and numerator:
        code = number(abort, "http_status") if has(abort, "http_status") else 200
        reasons.append(f"aborts {numerator}/{denominator} with {code}")
        run.reply = Reply(code, "fault_filter_abort", f"fault filter aborts with {code}", flags="FI")
        run.chance = (1, 1) if numerator == denominator else (numerator, denominator)
    run.steps.append(Step("http filter", item.name, "; ".join(reasons) or "no fault"))


def _cors(item: HttpFilter, own: Message, headers: Headers, run: FilterRun) -> None:
    origin = headers.first("origin")
    preflight = headers.first(":method") == "OPTIONS" and headers.first("access-control-request-method")
    if not (origin and preflight and own):
        run.steps.append(Step("http filter", item.name, "not a CORS preflight of this route"))
        return
    for matcher in items(own, "allow_origin_string_match"):
        found = StringMatcher.of(matcher).test(origin)
        if isinstance(found, Unknown):
            run.steps.append(Step("http filter", item.name, undecided=str(found)))
            return
        if found or text(matcher, "exact") == "*":
            run.reply = Reply(200, "cors_response", f'preflight of allowed origin "{origin}"')
            run.steps.append(Step("http filter", item.name, run.reply.because))
            return
    run.steps.append(Step("http filter", item.name, f'origin "{origin}" is not allowed; the request goes on'))
