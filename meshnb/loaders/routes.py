"""Route configurations of a config dump."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from meshnb.loaders.proto import EMPTY, Message, Metadata, Reader, config_path, istio_object, ms, text, texts
from meshnb.loaders.sections import Resource
from meshnb.loaders.tls import Regex, StringMatcher


class RouteMatch(Message):
    """`route.v3.RouteMatch`."""

    prefix: str | None = None
    path: str | None = None
    path_separated_prefix: str | None = None
    safe_regex: Regex | None = None
    regex: str | None = None
    headers: list[msgspec.Raw] = []
    query_parameters: list[msgspec.Raw] = []


class HeaderMatcher(Message):
    """`route.v3.HeaderMatcher`, as far as it matches one exact text."""

    name: str = ""
    exact_match: str | None = None
    string_match: StringMatcher | None = None
    invert_match: bool = False


class WeightedCluster(Message):
    """`route.v3.WeightedCluster.ClusterWeight`."""

    name: str = ""
    cluster_header: str = ""
    weight: int = 0


class WeightedClusters(Message):
    """`route.v3.WeightedCluster`."""

    clusters: list[WeightedCluster] = []


class RetryPolicy(Message):
    """`route.v3.RetryPolicy`."""

    retry_on: str = ""
    num_retries: int = 1
    per_try_timeout: str | None = None
    retriable_status_codes: list[int] = []


class Mirror(Message):
    """`route.v3.RouteAction.RequestMirrorPolicy`."""

    cluster: str = ""
    cluster_header: str = ""


class MaxStreamDuration(Message):
    """`route.v3.RouteAction.MaxStreamDuration`."""

    max_stream_duration: str | None = None


class RouteAction(Message):
    """`route.v3.RouteAction`; the route timeout is 15 s where not set."""

    cluster: str = ""
    cluster_header: str = ""
    weighted_clusters: WeightedClusters | None = None
    cluster_specifier_plugin: str = ""
    inline_cluster_specifier_plugin: msgspec.Raw = EMPTY
    timeout: str = "15s"
    idle_timeout: str | None = None
    max_stream_duration: MaxStreamDuration | None = None
    retry_policy: RetryPolicy | None = None
    prefix_rewrite: str = ""
    regex_rewrite: msgspec.Raw = EMPTY
    host_rewrite_literal: str = ""
    host_rewrite: str = ""
    auto_host_rewrite: bool = False
    host_rewrite_header: str = ""
    host_rewrite_path_regex: msgspec.Raw = EMPTY
    request_mirror_policies: list[Mirror] = []
    metadata_match: msgspec.Raw = EMPTY


class DirectResponse(Message):
    """`route.v3.DirectResponseAction`."""

    status: int = 0


class Route(Message):
    """`route.v3.Route`."""

    name: str = ""
    match: msgspec.Raw = EMPTY
    route: RouteAction | None = None
    redirect: msgspec.Raw = EMPTY
    direct_response: DirectResponse | None = None
    filter_action: msgspec.Raw = EMPTY
    non_forwarding_action: msgspec.Raw = EMPTY
    metadata: Metadata | None = None
    typed_per_filter_config: msgspec.Raw = EMPTY


class VirtualHost(Message):
    """`route.v3.VirtualHost`."""

    name: str = ""
    domains: list[str] = []
    routes: list[Route] = []
    require_tls: str | int = ""
    retry_policy: RetryPolicy | None = None


class RouteConfiguration(Message):
    """`config.route.v3.RouteConfiguration`."""

    name: str = ""
    virtual_hosts: list[VirtualHost] = []


read_routes = Reader(RouteConfiguration)
read_match = Reader(RouteMatch)
_read_header = Reader(HeaderMatcher)


def route_rows(resource: Resource) -> Iterator[dict[str, Any]]:
    """The rows of one route configuration, see `meshnb.model.tables.envoy.ROUTES`.

    Raises:
        msgspec.MsgspecError, ValueError: not a route configuration.
    """
    config = read_routes(resource.raw) if resource.size else RouteConfiguration()
    shared = {"route_config": config.name or resource.name, **resource.status}
    if not config.virtual_hosts:
        yield {**shared, "action": "none"}
    for number, host in enumerate(config.virtual_hosts):
        row = {
            **shared,
            "virtual_host": host.name,
            "virtual_host_position": number,
            "domains": host.domains,
            "require_tls": str(host.require_tls) if host.require_tls not in ("", 0, "NONE") else None,
        }
        if not host.routes:
            yield {**row, "action": "none"}
        for position, route in enumerate(host.routes):
            row_of_route = {**row, "position": position, **_route(route, host)}
            for destination in _destinations(route):
                yield {**row_of_route, **destination}


def _route(route: Route, host: VirtualHost) -> dict[str, Any]:
    match = read_match(route.match) if route.match is not EMPTY else RouteMatch()
    config = config_path(route.metadata)
    service, namespace = istio_object(config, "virtual-service")
    return {
        "route": route.name or None,
        "match": match_text(match),
        "match_headers": texts(match.headers),
        "match_query": texts(match.query_parameters),
        "method": _method(match.headers),
        "match_config": text(route.match),
        "redirect": text(route.redirect),
        "direct_response_status": route.direct_response.status if route.direct_response is not None else None,
        "per_filter_config": text(route.typed_per_filter_config),
        "virtual_service": service,
        "virtual_service_namespace": namespace,
        "config": config,
        **(_forwarding(route.route, host) if route.route is not None else {}),
    }


def _forwarding(action: RouteAction, host: VirtualHost) -> dict[str, Any]:
    retry = action.retry_policy if action.retry_policy is not None else host.retry_policy
    stream = action.max_stream_duration
    return {
        "timeout_ms": ms(action.timeout),
        "idle_timeout_ms": ms(action.idle_timeout),
        "max_stream_duration_ms": ms(stream.max_stream_duration) if stream is not None else None,
        "retry_on": (retry.retry_on or None) if retry is not None else None,
        "num_retries": retry.num_retries if retry is not None else None,
        "per_try_timeout_ms": ms(retry.per_try_timeout) if retry is not None else None,
        "retriable_status_codes": [str(code) for code in retry.retriable_status_codes] if retry is not None else None,
        "host_rewrite": _host_rewrite(action),
        "prefix_rewrite": action.prefix_rewrite or None,
        "regex_rewrite": text(action.regex_rewrite),
        "mirrors": [one.cluster or f"header:{one.cluster_header}" for one in action.request_mirror_policies] or None,
        "metadata_match": text(action.metadata_match),
    }


def _host_rewrite(action: RouteAction) -> str | None:
    if action.host_rewrite_literal or action.host_rewrite:
        return action.host_rewrite_literal or action.host_rewrite
    if action.auto_host_rewrite:
        return "auto: host name of the endpoint"
    if action.host_rewrite_header:
        return f"header:{action.host_rewrite_header}"
    return f"path regex:{text(action.host_rewrite_path_regex)}" if action.host_rewrite_path_regex is not EMPTY else None


def action_of(route: Route) -> str:
    """What a route does, as in the column `action`."""
    action = route.route
    if action is not None:
        if action.weighted_clusters is not None:
            return "weighted_clusters"
        if action.cluster_header:
            return "cluster_header"
        if action.cluster_specifier_plugin or action.inline_cluster_specifier_plugin is not EMPTY:
            return "cluster_specifier_plugin"
        return "cluster"
    if route.direct_response is not None:
        return "direct_response"
    for name in ("redirect", "filter_action", "non_forwarding_action"):
        if getattr(route, name) is not EMPTY:
            return name
    return "none"


def _destinations(route: Route) -> Iterator[dict[str, Any]]:
    kind, action = action_of(route), route.route
    if action is None or kind == "cluster_specifier_plugin":
        yield {"action": kind}
    elif action.weighted_clusters is not None:
        clusters = action.weighted_clusters.clusters
        total = sum(one.weight for one in clusters)
        for one in clusters:
            yield {
                "action": kind,
                "cluster": one.name or None,
                "cluster_header": one.cluster_header or None,
                "weight": one.weight,
                "total_weight": total,
            }
        if not clusters:
            yield {"action": kind}
    else:
        yield {"action": kind, "cluster": action.cluster or None, "cluster_header": action.cluster_header or None}


def match_text(match: RouteMatch) -> str:
    """The path a route matches, in istioctl's words.

    Example:
        >>> match_text(RouteMatch(prefix="/items"))
        '/items*'
    """
    parts = []
    if match.prefix:
        parts.append(f"{match.prefix}*")
    if match.path_separated_prefix:
        parts.append(f"PathPrefix:{match.path_separated_prefix}")
    if match.path:
        parts.append(match.path)
    if match.safe_regex is not None:
        parts.append(f"regex {match.safe_regex.regex}")
    if match.regex:
        parts.append(f"regex {match.regex}")
    return " ".join(parts)


def _method(headers: list[msgspec.Raw]) -> str | None:
    for raw in headers:
        header = _read_header.maybe(raw)
        if header is not None and header.name == ":method" and not header.invert_match:
            if header.exact_match is not None:
                return header.exact_match
            if header.string_match is not None and header.string_match.exact is not None:
                return header.string_match.exact
    return None
