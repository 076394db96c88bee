"""Gateways and VirtualServices → route configurations: `http.8080` at the gateway, `80` at sidecars."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from meshnb.errors import LabError
from meshnb.lab.inventory import Object
from meshnb.lab.plan import GATEWAY_PORT
from meshnb.lab.scope import PASSTHROUGH, scope_of
from meshnb.lab.world import World
from meshnb.lab.xds.clusters import cluster_name
from meshnb.lab.xds.common import (
    HTTP_PORT,
    ROUTE,
    Proxy,
    Resource,
    config_path,
    duration,
    string_match,
    typed,
)

GATEWAY_ROUTES = f"http.{GATEWAY_PORT}"
SIDECAR_ROUTES = str(HTTP_PORT)
_RETRY_ON = "connect-failure,refused-stream,unavailable,cancelled,retriable-status-codes"
_ATTEMPTS = 2
_REDIRECTS = {
    301: "MOVED_PERMANENTLY",
    302: "FOUND",
    303: "SEE_OTHER",
    307: "TEMPORARY_REDIRECT",
    308: "PERMANENT_REDIRECT",
}


def routes(proxy: Proxy) -> list[Resource]:
    """Route configurations of a proxy."""
    return [_gateway(proxy)] if proxy.pod.is_gateway else [_sidecar(proxy)]


def _configuration(name: str, hosts: list[Resource]) -> Resource:
    return {
        "@type": ROUTE,
        "name": name,
        "validate_clusters": False,
        "ignore_port_in_host_matching": True,
        "max_direct_response_body_size_bytes": 1048576,
        "virtual_hosts": hosts,
    }


def _virtual_host(name: str, domains: list[str], found: list[Resource]) -> Resource:
    return {"name": name, "domains": domains, "routes": found, "include_request_attempt_count": True}


def _gateway(proxy: Proxy) -> Resource:
    """Every host of the Gateways that select this pod, with the routes of the VirtualServices bound to them."""
    by_host: dict[str, list[Resource]] = {}
    for gateway in proxy.world.gateways(proxy.pod.all_labels):
        meta = gateway["metadata"]
        served = [h.rpartition("/")[2] for s in gateway["spec"].get("servers") or [] for h in s.get("hosts") or []]
        for service in proxy.world.virtual_services(f"{meta['namespace']}/{meta['name']}"):
            for host in service["spec"].get("hosts") or []:
                if (shared := _intersection(host, served)) is not None:
                    by_host.setdefault(shared, []).extend(_virtual_service(proxy.world, service))
    hosts = [_virtual_host(f"{host}:{HTTP_PORT}", [host], found) for host, found in sorted(by_host.items())]
    return _configuration(GATEWAY_ROUTES, hosts or [_virtual_host(f"blackhole:{HTTP_PORT}", ["*"], [])])


def _intersection(host: str, served: list[str]) -> str | None:
    """The host that both a VirtualService and a Gateway serve: the narrower of the two."""
    for other in served:
        if other == "*" or host == other or (other.startswith("*.") and host.endswith(other[1:])):
            return host
        if host == "*" or (host.startswith("*.") and other.endswith(host[1:])):
            return other
    return None


def _sidecar(proxy: Proxy) -> Resource:
    """Every Service it knows, with the routes of the VirtualServices bound to the mesh, then what gets the rest."""
    world, scope = proxy.world, scope_of(proxy.world, proxy.pod)
    bound: dict[str, list[Resource]] = {}
    for item in scope.rules:
        for host in item["spec"].get("hosts") or []:
            full = world.resolve(host, item["metadata"]["namespace"])
            bound.setdefault(full, []).extend(_virtual_service(world, item))
    hosts = []
    for host, service in scope.services.items():
        found = bound.pop(host, None) or [_plain(world, host)]
        hosts.append(_virtual_host(f"{host}:{HTTP_PORT}", _domains(host, service, proxy.pod.namespace), found))
    hosts += [_virtual_host(f"{host}:{HTTP_PORT}", [host], found) for host, found in sorted(bound.items())]
    return _configuration(SIDECAR_ROUTES, [*hosts, _rest(registry_only=scope.registry_only)])


def _rest(*, registry_only: bool) -> Resource:
    """The virtual host of what no other takes: passed through, or refused with 502."""
    name = "block_all" if registry_only else "allow_any"
    passed = {"route": _action({"cluster": PASSTHROUGH})}
    end: Resource = {"direct_response": {"status": 502}} if registry_only else passed
    return _virtual_host(name, ["*"], [{"match": {"prefix": "/"}, "name": name, **end}])


def _domains(host: str, service: Object, namespace: str) -> list[str]:
    name, owner = service["metadata"]["name"], service["metadata"]["namespace"]
    short = [name] if owner == namespace else []
    return [host, *short, f"{name}.{owner}.svc", f"{name}.{owner}", service["spec"]["clusterIP"]]


def _action(target: Resource, *, timeout: str = "0s") -> Resource:
    # both, as Istio does: with max_stream_duration alone a timeout would be logged without its flag UT
    return {**target, "timeout": timeout, "max_grpc_timeout": timeout}


def _retry(spec: Object | None) -> Resource | None:
    spec = spec or {}
    attempts = spec.get("attempts", _ATTEMPTS)
    if not attempts:
        return None
    policy: Resource = {
        "retry_on": spec.get("retryOn", _RETRY_ON),
        "num_retries": attempts,
        "host_selection_retry_max_attempts": "5",
        "retry_host_predicate": [
            typed("envoy.retry_host_predicates.previous_hosts", "retry.host.previous_hosts.v3.PreviousHostsPredicate")
        ],
    }
    if "perTryTimeout" in spec:
        policy["per_try_timeout"] = duration(spec["perTryTimeout"], where="retries.perTryTimeout")
    return policy


def _plain(world: World, host: str) -> Resource:
    """The route of a Service that no VirtualService speaks of."""
    action = _action({"cluster": cluster_name(host), "retry_policy": _retry(None)})
    return {
        "name": "default",
        "match": {"prefix": "/"},
        "route": action,
        "decorator": {"operation": f"{host}:{HTTP_PORT}/*"},
        "metadata": {"filter_metadata": {"lab": _lab(host)}},
    }


def _lab(host: str) -> Resource:
    name, namespace, *_ = [*host.split("."), ""]
    return {"service": host, "service_name": name, "service_namespace": namespace}


def _virtual_service(world: World, item: Object) -> list[Resource]:
    found = []
    for http in item["spec"].get("http") or []:
        for match in http.get("match") or [{}]:
            found.append(_route(world, item, http, match))
            if not match or _matches_all(match):
                return found
    return found


def _matches_all(match: Object) -> bool:
    """Whether nothing after this match can be reached; Istio leaves the rest out."""
    return set(match) <= {"name", "uri"} and (match.get("uri") or {}).get("prefix") == "/"


def _route(world: World, item: Object, http: Object, match: Object) -> Resource:
    name = ".".join(part for part in (http.get("name", ""), match.get("name", "")) if part)
    result: Resource = {
        "name": name,
        "match": _match(match),
        "metadata": {"filter_metadata": {"istio": {"config": config_path(item)}}},
    }
    _headers(result, http.get("headers"))
    if "redirect" in http:
        result["redirect"] = _redirect(http["redirect"])
    elif "directResponse" in http:
        body = http["directResponse"].get("body") or {}
        result["direct_response"] = {
            "status": http["directResponse"]["status"],
            **({"body": {"inline_string": body["string"]}} if body else {}),
        }
    else:
        result["route"] = _forward(world, item, http)
        host = world.resolve(http["route"][0]["destination"]["host"], item["metadata"]["namespace"])
        result["metadata"]["filter_metadata"]["lab"] = _lab(host)
        result["decorator"] = {"operation": f"{host}:{HTTP_PORT}{_operation(match.get('uri') or {'prefix': '/'})}"}
    if "fault" in http:
        result["typed_per_filter_config"] = {"envoy.filters.http.fault": _fault(http["fault"])}
    return result


def _operation(uri: Object) -> str:
    """Path of a route as traces name it: a prefix ends with a star."""
    path = str(next(iter(uri.values())))
    return path + "*" if "prefix" in uri else path


def _forward(world: World, item: Object, http: Object) -> Resource:
    where = f"VirtualService {item['metadata']['name']}"
    destinations = http.get("route") or []
    if not destinations:
        raise LabError(f"{where}: an http route needs route, redirect or directResponse")
    weighted = []
    for entry in destinations:
        target = entry["destination"]
        host = world.resolve(target["host"], item["metadata"]["namespace"])
        port = (target.get("port") or {}).get("number", HTTP_PORT)
        name = cluster_name(host, target.get("subset", "")).replace(f"|{HTTP_PORT}|", f"|{port}|", 1)
        cluster: Resource = {"name": name, "weight": entry.get("weight", 100 if len(destinations) == 1 else 0)}
        _headers(cluster, entry.get("headers"))
        weighted.append(cluster)
    timeout = duration(http["timeout"], where=f"{where}, timeout") if "timeout" in http else "0s"
    single = len(weighted) == 1 and not destinations[0].get("headers")
    target = {"cluster": weighted[0]["name"]} if single else {"weighted_clusters": {"clusters": weighted}}
    action = _action(target, timeout=timeout)
    if (retry := _retry(http.get("retries"))) is not None:
        action["retry_policy"] = retry
    if rewrite := http.get("rewrite"):
        if "uri" in rewrite:
            action["prefix_rewrite"] = rewrite["uri"]
        if "authority" in rewrite:
            action["host_rewrite_literal"] = rewrite["authority"]
    return action


def _match(match: Object) -> Resource:
    result: Resource = {"case_sensitive": not match.get("ignoreUriCase", False)}
    uri = match.get("uri") or {"prefix": "/"}
    if "exact" in uri:
        result["path"] = uri["exact"]
    elif "prefix" in uri:
        result["prefix"] = uri["prefix"]
    else:
        result["safe_regex"] = {"regex": uri.get("regex", "")}
    headers = [_header(":method", match["method"])] if "method" in match else []
    headers += [_header(":authority", match["authority"])] if "authority" in match else []
    headers += [_header(name, value) for name, value in (match.get("headers") or {}).items()]
    headers += [{**_header(n, v), "invert_match": True} for n, v in (match.get("withoutHeaders") or {}).items()]
    if headers:
        result["headers"] = headers
    if query := match.get("queryParams"):
        result["query_parameters"] = [{"name": n, "string_match": string_match(v)} for n, v in query.items()]
    return result


def _header(name: str, value: Object) -> Resource:
    return {"name": name, "string_match": string_match(value)} if value else {"name": name, "present_match": True}


def _headers(result: Resource, headers: Object | None) -> None:
    for side in ("request", "response"):
        change: Mapping[str, Any] = (headers or {}).get(side) or {}
        add = [_change(n, v, "OVERWRITE_IF_EXISTS_OR_ADD") for n, v in (change.get("set") or {}).items()]
        add += [_change(n, v, "APPEND_IF_EXISTS_OR_ADD") for n, v in (change.get("add") or {}).items()]
        if add:
            result[f"{side}_headers_to_add"] = add
        if change.get("remove"):
            result[f"{side}_headers_to_remove"] = list(change["remove"])


def _change(name: str, value: str, action: str) -> Resource:
    return {"header": {"key": name, "value": value}, "append_action": action}


def _redirect(redirect: Object) -> Resource:
    code = redirect.get("redirectCode", 301)
    if code not in _REDIRECTS:
        raise LabError(f"redirectCode {code}", hint=f"one of {', '.join(map(str, _REDIRECTS))}")
    result: Resource = {"response_code": _REDIRECTS[code]}
    for field, name in (("uri", "path_redirect"), ("authority", "host_redirect"), ("scheme", "scheme_redirect")):
        if field in redirect:
            result[name] = redirect[field]
    return result


def _fault(fault: Object) -> Resource:
    result: Resource = {}
    for kind in ("delay", "abort"):
        if kind not in fault:
            continue
        value = float((fault[kind].get("percentage") or {"value": 100}).get("value", 100))
        share = {"numerator": round(value * 10_000), "denominator": "MILLION"}
        if kind == "delay":
            result["delay"] = {"fixed_delay": duration(fault["delay"]["fixedDelay"]), "percentage": share}
        else:
            result["abort"] = {"http_status": fault["abort"]["httpStatus"], "percentage": share}
    filled: Resource = typed("envoy.filters.http.fault", "filters.http.fault.v3.HTTPFault", **result)["typed_config"]
    return filled
