"""The HTTP connection manager: what it makes of a request before routing, and which filters it runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from meshnb.envoy.explain.fields import Message, child, flag, has, items, number, text, type_name, value
from meshnb.envoy.explain.headers import Headers
from meshnb.envoy.explain.path import merge_slashes, normalize, unescape_slashes
from meshnb.envoy.explain.request import Request
from meshnb.envoy.explain.rules import Rules
from meshnb.envoy.explain.virtual_host import RouteTable, port_start

_HOP_BY_HOP = ("proxy-connection", "keep-alive", "te")
_INTERNAL_ONLY = (
    "x-envoy-retry-on",
    "x-envoy-retry-grpc-on",
    "x-envoy-max-retries",
    "x-envoy-upstream-rq-timeout-ms",
    "x-envoy-upstream-rq-per-try-timeout-ms",
    "x-envoy-upstream-alt-stat-name",
    "x-envoy-internal",
    "x-envoy-force-trace",
    "x-envoy-hedge-on-per-try-timeout",
    "x-envoy-ip-tags",
    "x-envoy-expected-rq-timeout-ms",
    "x-envoy-upstream-stream-duration-ms",
    "x-envoy-retriable-status-codes",
    "x-envoy-retriable-header-names",
)


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer Envoy gives itself."""

    code: int
    details: str
    because: str
    flags: str = "-"
    location: str = ""


@dataclass(slots=True)
class Prepared:
    """A request ready for routing, or the reply that ends it before."""

    headers: Headers
    changes: list[str] = field(default_factory=list)
    reply: Reply | None = None


@dataclass(frozen=True, slots=True)
class HttpFilter:
    """One HTTP filter of a connection manager."""

    name: str
    kind: str
    config: Message
    disabled: bool = False


@dataclass(slots=True)
class ConnectionManager:
    """A compiled HttpConnectionManager."""

    config: Message
    rds: str
    inline: Message
    scoped: bool
    filters: list[HttpFilter]
    table: RouteTable | None = None

    @classmethod
    def of(cls, config: Message, *, ecds: Mapping[str, Message]) -> ConnectionManager:
        """From the JSON of an `HttpConnectionManager`.

        Args:
            config: its `typed_config`.
            ecds: configurations of filters that are delivered apart, by name.
        """
        filters = []
        for entry in items(config, "http_filters"):
            name = text(entry, "name")
            typed = child(entry, "typed_config") or (ecds.get(name, {}) if has(entry, "config_discovery") else {})
            filters.append(HttpFilter(name, type_name(typed) or name, typed, flag(entry, "disabled")))
        return cls(
            config,
            text(child(config, "rds"), "route_config_name"),
            child(config, "route_config"),
            has(config, "scoped_routes"),
            filters,
        )

    def prepare(self, request: Request, *, port: int, rules: Rules) -> Prepared:
        """Normalize path and host and add the headers of the connection, in Envoy's order.

        Args:
            request: the request.
            port: port of the connection, for `strip_matching_host_port`.
            rules: those of Envoy's version.
        """
        prepared = Prepared(Headers(request.headers, partial=request.partial, one_by_one=rules.headers_one_by_one))
        headers = prepared.headers
        headers.set(":method", request.method)
        is_connect = request.method == "CONNECT"
        if not is_connect:
            headers.set(":path", request.path)
        if request.protocol != "HTTP/2" and not (request.path.isascii() and request.method.isascii()):
            prepared.reply = Reply(400, "http1.codec_error", "HTTP/1.1 allows no such character in a path", flags="DPE")
            return prepared
        if not request.authority:
            prepared.reply = Reply(400, "missing_host_header", "the request has no Host header")
            return prepared
        headers.set(":authority", request.authority)
        if not is_connect and not request.path.startswith("/"):
            prepared.reply = Reply(404, "absolute_path_rejected", f'path "{request.path}" does not start with a slash')
            return prepared
        if not is_connect:
            self._normalize_path(prepared, rules)
        if prepared.reply is None:
            self._strip_host(prepared, port)
            self._connection_headers(prepared, request)
        return prepared

    def _normalize_path(self, prepared: Prepared, rules: Rules) -> None:
        path = before = prepared.headers.first(":path") or ""
        if "#" in path:
            prepared.reply = Reply(400, "path_normalization_failed", "the path has a fragment")
            return
        action = text(self.config, "path_with_escaped_slashes_action", "KEEP_UNCHANGED")
        redirect = False
        if action not in ("KEEP_UNCHANGED", "IMPLEMENTATION_SPECIFIC_DEFAULT"):
            unescaped = unescape_slashes(path)
            if unescaped != path:
                if action == "REJECT_REQUEST":
                    prepared.reply = Reply(400, "path_normalization_failed", "the path has escaped slashes")
                    return
                redirect = action == "UNESCAPE_AND_REDIRECT"
                path = unescaped
        if flag(self.config, "normalize_path"):
            normal = normalize(path, dots_with_parameters=rules.dots_with_parameters)
            if normal is None:
                prepared.reply = Reply(400, "path_normalization_failed", "the path cannot be normalized")
                return
            path = normal
        if flag(self.config, "merge_slashes"):
            path = merge_slashes(path)
        if path != before:
            prepared.headers.set(":path", path)
            prepared.changes.append(f'path "{before}" normalized to "{path}"')
        if redirect:
            prepared.reply = Reply(307, "path_normalization_failed", "the path has escaped slashes", location=path)

    def _strip_host(self, prepared: Prepared, port: int) -> None:
        host = before = prepared.headers.first(":authority") or ""
        if flag(self.config, "strip_trailing_host_dot"):
            if host.endswith("."):
                host = host[:-1]
            elif (dot := host.rfind(".")) >= 0 and host[dot + 1 : dot + 2] == ":":
                host = host[:dot] + host[dot + 1 :]
        any_port = flag(self.config, "strip_any_host_port")
        if any_port or flag(self.config, "strip_matching_host_port"):
            start = port_start(host)
            digits = host[start + 1 :] if start >= 0 else ""
            if digits.isdigit() and int(digits[:12]) < 1 << 32 and (any_port or int(digits) == port):
                host = host[:start]
        if host != before:
            prepared.headers.set(":authority", host)
            prepared.changes.append(f'host "{before}" stripped to "{host}"')

    def _connection_headers(self, prepared: Prepared, request: Request) -> None:
        headers = prepared.headers
        edge = flag(self.config, "use_remote_address")
        carried = "https" if request.tls else "http"
        if headers.first("x-forwarded-proto") is None or (edge and not number(self.config, "xff_num_trusted_hops")):
            headers.set("x-forwarded-proto", carried)
        self._scheme(headers, request, carried)
        if not self.upgrade(headers):
            headers.remove("connection")
            headers.remove("upgrade")
        for name in _HOP_BY_HOP:
            headers.remove(name)
        if text(self.config, "forward_client_cert_details", "SANITIZE") == "SANITIZE":
            headers.remove("x-forwarded-client-cert")
        else:
            headers.unknown("x-forwarded-client-cert", "Envoy sets it from the client's certificate", present=False)
        if flag(self.config, "generate_request_id", default=True) and headers.first("x-request-id") is None:
            headers.unknown("x-request-id", "Envoy makes one", present=True)
        self._trust(headers, edge=edge)

    def _scheme(self, headers: Headers, request: Request, carried: str) -> None:
        fixed = text(child(self.config, "scheme_header_transformation"), "scheme_to_overwrite")
        protocol = headers.first("x-forwarded-proto")
        if request.protocol == "HTTP/2":
            protocol = request.scheme
        headers.set(":scheme", fixed or (protocol if protocol in ("http", "https") else carried))

    def _trust(self, headers: Headers, *, edge: bool) -> None:
        """Envoy takes its own control headers only from clients it counts as internal."""
        if not edge and headers.first("x-forwarded-for") is None:
            for name in _INTERNAL_ONLY:
                headers.remove(name)
            return
        why = "whether Envoy counts the client as internal is not given"
        headers.unknown("x-envoy-internal", why, present=False)
        for name in _INTERNAL_ONLY:
            if headers.first(name) is not None:
                headers.unknown(name, why, present=False)
        if edge:
            headers.unknown("x-envoy-external-address", "Envoy sets it from the client's address", present=False)
            if not flag(self.config, "skip_xff_append"):
                headers.unknown("x-forwarded-for", "Envoy appends the client's address", present=True)

    def upgrade(self, headers: Headers) -> str:
        """The protocol a request wants to upgrade to, `CONNECT`, or empty."""
        if headers.first(":method") == "CONNECT":
            return "CONNECT"
        tokens = (headers.first("connection") or "").lower().split(",")
        return (headers.first("upgrade") or "") if "upgrade" in [token.strip() for token in tokens] else ""

    def allows_upgrade(self, kind: str, route_action: Message) -> bool:
        """Whether the route, else the connection manager, allows an upgrade."""
        for config in (*items(route_action, "upgrade_configs"), *items(self.config, "upgrade_configs")):
            if text(config, "upgrade_type").lower() == kind.lower():
                enabled = value(config, "enabled")
                return True if enabled is None else flag(config, "enabled")
        return False
