"""What the router makes of a path and a Host header: rewrites, and the Location of a redirect."""

from __future__ import annotations

from meshnb.envoy.explain.fields import Message, child, flag, has, number, text
from meshnb.envoy.explain.headers import Headers
from meshnb.envoy.explain.match import lower
from meshnb.envoy.explain.path import without_query
from meshnb.envoy.explain.regex import replace_all
from meshnb.envoy.explain.route import Route
from meshnb.envoy.explain.verdict import Unknown

REDIRECT_CODES = {"FOUND": 302, "SEE_OTHER": 303, "TEMPORARY_REDIRECT": 307, "PERMANENT_REDIRECT": 308}


def upstream_path(route: Route, action: Message, path: str) -> str | Unknown:
    """The path sent upstream.

    Args:
        route: the route matched; its prefix or path is what `prefix_rewrite` replaces.
        action: its `route` action, or its `redirect`.
        path: path with query.
    """
    for name in ("path_rewrite_policy", "path_rewrite"):
        if has(action, name):
            return Unknown(f"{name} is an extension")
    if has(action, "regex_rewrite"):
        return _by_regex(child(action, "regex_rewrite"), path)
    prefix = text(action, "prefix_rewrite")
    if not prefix:
        return path
    matched = without_query(path) if route.kind == "safe_regex" else route.value
    begins = lower(path).startswith(lower(matched)) if route.ignore_case else path.startswith(matched)
    # A path that matched only without its ;parameters is sent as it came.
    return prefix + path[len(matched) :] if begins else path


def _by_regex(rewrite: Message, path: str) -> str | Unknown:
    plain = without_query(path)
    new = replace_all(text(child(rewrite, "pattern"), "regex"), text(rewrite, "substitution"), plain)
    return new if isinstance(new, Unknown) else new + path[len(plain) :]


def upstream_authority(action: Message, headers: Headers, *, weighted: Message, sent: str) -> str | Unknown:
    """The Host header sent upstream.

    Args:
        action: the `route` action.
        headers: request headers.
        weighted: the weighted cluster chosen, which may have its own rewrite; empty if there is none.
        sent: the Host header as the client sent it.
    """
    # The weighted cluster's rewrite comes first, so that the route's own replaces it.
    host = text(weighted, "host_rewrite_literal") or headers.first(":authority") or ""
    if headers.first(":method") == "CONNECT" and ":" not in host and ":" not in (headers.first(":authority") or ""):
        # A port stripped before routing is put back for the upstream.
        digits = sent.rpartition(":")[2]
        host += f":{int(digits)}" if digits.isdigit() else ""
    if literal := text(action, "host_rewrite_literal"):
        return literal
    if flag(action, "auto_host_rewrite"):
        return Unknown("auto_host_rewrite: the hostname of the endpoint chosen")
    if has(action, "host_rewrite_header"):
        return headers.first(text(action, "host_rewrite_header").lower()) or host
    if has(action, "host_rewrite_path_regex"):
        rewrite = child(action, "host_rewrite_path_regex")
        path = without_query(headers.first(":path") or "")
        new = replace_all(text(child(rewrite, "pattern"), "regex"), text(rewrite, "substitution"), path)
        return new if isinstance(new, Unknown) else new or host
    if has(action, "host_rewrite"):
        return Unknown("host_rewrite is a format string")
    return host


def redirect_code(redirect: Message) -> int:
    """Status of a redirect."""
    return REDIRECT_CODES.get(text(redirect, "response_code"), 301)


def location(route: Route, redirect: Message, headers: Headers) -> str | Unknown:
    """Where a redirect leads, by Envoy's rules for scheme, host, port, path and query; empty if there is no path."""
    before = headers.first(":path")
    path = upstream_path(route, redirect, before or "")
    if isinstance(path, Unknown):
        return path
    if before is None and not path:
        return ""
    scheme = text(redirect, "scheme_redirect") or ("https" if flag(redirect, "https_redirect") else "")
    scheme = scheme or headers.first(":scheme") or "http"
    wanted_port = number(redirect, "port_redirect")
    port = f":{wanted_port}" if wanted_port else ""
    host = text(redirect, "host_redirect") or _request_host(headers, scheme=scheme, port=port)
    fixed = text(redirect, "path_redirect")
    if fixed:
        mark = path.find("?")
        path = fixed if "?" in fixed or mark < 0 else fixed + path[mark:]
    if not path.startswith("/"):
        path = "/" + path
    if flag(redirect, "strip_query") and "?" not in fixed:
        path = path.partition("?")[0]
    return f"{scheme}://{host}{port}{path}"


def _request_host(headers: Headers, *, scheme: str, port: str) -> str:
    """The host of the request; its port goes if it is replaced, or is the default of a scheme that changes."""
    host = headers.first(":authority") or ""
    end = host.rfind("]:") + 1 if host.startswith("[") else host.rfind(":")
    if end <= 0:
        return host
    protocol = headers.first("x-forwarded-proto") or ""
    is_default = (protocol, host[end:]) in (("https", ":443"), ("http", ":80"))
    return host[:end] if port or (scheme != protocol and is_default) else host
