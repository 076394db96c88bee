"""Routes that no request can reach, each with a proof: every request that matches them matches an earlier one first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from meshnb.envoy.explain.config import Config
from meshnb.envoy.explain.fields import child, has, text
from meshnb.envoy.explain.match import HeaderMatcher, QueryMatcher, lower
from meshnb.envoy.explain.regex import full_match
from meshnb.envoy.explain.route import Route
from meshnb.envoy.explain.virtual_host import VirtualHost
from meshnb.model.frame import returns
from meshnb.model.tables.explain import UNREACHABLE_ROUTES

if TYPE_CHECKING:
    import pandas as pd

_EVERY_PATH = (".*", "/.*", "^.*$", "^/.*$", "^/.*", "(/.*)?", "/(.*)")
_SPECIAL = frozenset(".[](){}*+?|^$")


@returns(UNREACHABLE_ROUTES)
def unreachable_routes(config: object, *, proxy: str = "") -> pd.DataFrame:
    """Routes shadowed by an earlier route of their virtual host, in every route configuration of a dump.

    Only what can be proved is reported: a route that is missing here may still be shadowed by several others together.

    Args:
        config: a config dump as decoded JSON, or a `Config`.
        proxy: name of the proxy, for the column.

    Raises:
        FormatError: the dump is not one.

    Example:
        >>> routes = [{"match": {"prefix": "/"}}, {"name": "b", "match": {"path": "/b"}}]
        >>> table = {"name": "80", "virtual_hosts": [{"name": "all", "domains": ["*"], "routes": routes}]}
        >>> section = {"@type": "…v3.RoutesConfigDump", "dynamic_route_configs": [{"route_config": table}]}
        >>> unreachable_routes({"configs": [section]})[["route", "shadowed_by"]].values.tolist()
        [['#1 "b" path /b', '#0 prefix /']]
    """
    rows: list[dict[str, Any]] = []
    for name, table in Config.of(config).tables():
        for host in table.hosts():
            rows += [{"proxy": proxy or None, "route_config": name, **row} for row in _of_host(host)]
    return UNREACHABLE_ROUTES.rows(rows)


def _of_host(host: VirtualHost) -> list[dict[str, Any]]:
    rows = []
    for route in host.routes:
        if route.fraction is not None and route.fraction[0] == 0 and not route.runtime_key:
            rows.append(_row(host, route, None, "its runtime fraction is 0"))
            continue
        for earlier in host.routes[: route.index]:
            why = shadows(earlier, route)
            if why:
                rows.append(_row(host, route, earlier, why))
                break
    return rows


def _row(host: VirtualHost, route: Route, earlier: Route | None, because: str) -> dict[str, Any]:
    return {
        "virtual_host": host.name,
        "route_index": route.index,
        "route": route.title,
        "source": _source(route),
        "shadowed_by_index": earlier.index if earlier else None,
        "shadowed_by": earlier.title if earlier else None,
        "shadowed_by_source": _source(earlier) if earlier else None,
        "because": because,
    }


def _source(route: Route) -> str | None:
    return text(child(child(child(route.config, "metadata"), "filter_metadata"), "istio"), "config") or None


def shadows(earlier: Route, later: Route) -> str:
    """Why every request that matches the later route matches the earlier one; empty if that cannot be proved."""
    full = earlier.fraction is None or (earlier.fraction[0] == earlier.fraction[1] and not earlier.runtime_key)
    if not full or earlier.undecided or has(earlier.match, "tls_context"):
        return ""
    if earlier.grpc and not later.grpc:
        return ""
    because = _path(earlier, later)
    if not because:
        return ""
    for matcher in earlier.headers:
        if not any(_header(matcher, other) for other in later.headers):
            return ""
    for parameter in earlier.query:
        if not any(_query(parameter, other) for other in later.query):
            return ""
    conditions = [str(matcher) for matcher in (*earlier.headers, *earlier.query)]
    return because + (f", and it asks for {' and '.join(conditions)} too" if conditions else "")


def _path(earlier: Route, later: Route) -> str:
    """Why the paths of the one are among those of the other."""
    if "connect_matcher" in (earlier.kind, later.kind):
        return "both take CONNECT" if earlier.kind == later.kind else ""
    if "path_match_policy" in (earlier.kind, later.kind):
        return ""
    if (earlier.kind == "prefix" and earlier.value in ("", "/")) or (
        earlier.kind == "safe_regex" and earlier.value in _EVERY_PATH
    ):
        return f"{earlier.rule} takes every path"
    if (earlier.kind, earlier.value, earlier.ignore_case) == (later.kind, later.value, later.ignore_case):
        return f"both match {earlier.rule}"
    if earlier.kind == "safe_regex":
        one_path = later.kind == "path" and not later.ignore_case
        return (
            f"{earlier.rule} matches {later.value}"
            if one_path and full_match(earlier.value, later.value) is True
            else ""
        )
    begins = literal_start(later.value) if later.kind == "safe_regex" else later.value
    wanted = earlier.value
    if earlier.ignore_case:
        begins, wanted = lower(begins), lower(wanted)
    elif later.ignore_case:
        return ""
    return _among(earlier, later, begins, wanted)


def _among(earlier: Route, later: Route, begins: str, wanted: str) -> str:
    within = begins.startswith(wanted)
    if earlier.kind == "path":
        within = begins == wanted and later.kind == "path"
    elif earlier.kind == "path_separated_prefix":
        same = begins == wanted and later.kind in ("path", "path_separated_prefix")
        within = same or begins.startswith(f"{wanted}/")
    return f"every path of {later.rule} matches {earlier.rule}" if within else ""


def literal_start(regex: str) -> str:
    r"""The text every match of a regular expression begins with.

    Example:
        >>> literal_start(r"/api/v1\.0/[0-9]+"), literal_start("/a|/b"), literal_start("/items?")
        ('/api/v1.0/', '', '/item')
    """
    if "|" in regex or regex.startswith("(?"):
        return ""
    found, i = [], 1 if regex.startswith("^") else 0
    while i < len(regex):
        char = regex[i]
        if char == "\\" and i + 1 < len(regex) and not regex[i + 1].isalnum():
            char, i = regex[i + 1], i + 1
        elif char in _SPECIAL or char == "\\":
            break
        found.append(char)
        i += 1
    if i < len(regex) and regex[i] in "*?{" and found:
        found.pop()
    return "".join(found)


def _header(earlier: HeaderMatcher, later: HeaderMatcher) -> bool:
    """Whether the later matcher's match makes the earlier one match."""
    if earlier.name != later.name:
        return False
    mine = (earlier.kind, str(earlier), earlier.invert, earlier.empty_if_missing)
    if mine == (later.kind, str(later), later.invert, later.empty_if_missing):
        return True
    if earlier.invert or later.invert or later.empty_if_missing or later.kind != "string" or later.string is None:
        return False
    if earlier.kind == "present":
        return True
    exact = later.string.kind == "exact" and not later.string.ignore_case
    return exact and earlier.kind in ("string", "range") and earlier.matches_value(later.string.value) is True


def _query(earlier: QueryMatcher, later: QueryMatcher) -> bool:
    if earlier.name != later.name:
        return False
    if str(earlier) == str(later):
        return True
    return earlier.string is None and earlier.present is not False and later.string is not None
