"""Objects that repair a cause: those of the mesh, with the one thing changed that is at fault.

A fix is the whole object, so that it can be applied as it is: a DestinationRule that named its new setting alone would
drop the subsets the old one defines. Where no object can be told to be at fault, there is no such fix.
"""

from __future__ import annotations

import copy
import difflib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from meshnb.checks.causes_objects import (
    Failure,
    Found,
    Object,
    Objects,
    as_yaml,
    has_sidecar,
    host_in,
    name_of,
    policies,
)
from meshnb.checks.causes_stopgaps import another_replica, graceful_end
from meshnb.model.finding import Fix, Subject

if TYPE_CHECKING:
    import pandas as pd

RAISE = 10
"""Limits of circuit breakers and rate limits are raised by this factor: enough to see whether it was the limit."""
LONGER = 3
"""Timeouts are raised by this factor, as a stopgap."""
STOPGAPS = (
    "slow_replica", "slow_upstream", "rbac_denied", "application_error", "retries_exhausted", "connection_refused",
    "connection_timed_out", "connection_reset", "connection_closed", "protocol_error", "drain", "direct_response",
)  # fmt: skip
"""Causes whose object is for somebody to decide on: a longer timeout or a retry hides the fault, a lifted denial or a
route that no longer answers by itself opens access."""
PER_TRY = "upstream_per_try_timeout"
"""Details of a request whose last attempt took too long, as long as that may have been for the request."""
_LOCAL_LIMIT = "local_ratelimit"


def repairs(failure: Failure, objects: pd.DataFrame | None) -> tuple[Fix, ...]:
    """What can be applied to repair a failure, none if that cannot be told from the objects.

    Args:
        failure: what failed.
        objects: table `objects`; `None` if none were captured.
    """
    make = _MAKERS.get(failure.cause)
    if make is None or objects is None or objects.empty:
        return ()
    mesh = Objects(objects)
    found = ((changed, note) for changed, note in make(failure, mesh) if changed is not None)
    return tuple(Fix(as_yaml(changed), note=note) for changed, note in found)


def _circuit_breaker(failure: Failure, mesh: Objects) -> Found:
    for rule in mesh.rules(failure.host):
        raised = False
        for policy in policies(rule):
            for layer, names in (
                ("tcp", ("maxConnections",)),
                ("http", ("http1MaxPendingRequests", "http2MaxRequests", "maxRetries")),
            ):
                limits = (policy.get("connectionPool") or {}).get(layer) or {}
                for name in names:
                    if name in limits:
                        limits[name], raised = max(limits[name], 1) * RAISE, True
        note = f"Limits {RAISE} times as high; requests in flight = rate times duration says what is needed."
        yield (rule if raised else None), note


def _tls(change: Callable[[Object], bool], note: str) -> Callable[[Failure, Objects], Found]:
    def make(failure: Failure, mesh: Objects) -> Found:
        for rule in mesh.rules(failure.host):
            changed = [change(policy) for policy in policies(rule) if policy.get("tls")]
            yield (rule if any(changed) else None), note

    return make


def _no_plaintext(policy: Object) -> bool:
    return policy["tls"].get("mode") == "DISABLE" and bool(policy.pop("tls"))


def _no_mtls(policy: Object) -> bool:
    return policy["tls"].get("mode") == "ISTIO_MUTUAL" and bool(policy.pop("tls"))


def _no_names(policy: Object) -> bool:
    # with a certificate of somebody else's authority, nothing else would say whose it has to be
    return policy["tls"].get("mode") == "ISTIO_MUTUAL" and bool(policy["tls"].pop("subjectAltNames", None))


def _istio_mutual(failure: Failure, mesh: Objects) -> Found:
    """TLS by certificates that Istio does not manage, to pods whose proxy has one that it manages."""
    pods = mesh.replicas(failure.host)
    if not pods or not all(map(has_sidecar, pods)):
        return
    make = _tls(
        lambda policy: policy["tls"].get("mode") in ("SIMPLE", "MUTUAL") and bool(policy.pop("tls")),
        "These pods have a proxy of the mesh: without the TLS settings both sides use Istio's own certificates.",
    )
    yield from make(failure, mesh)


def _fault(failure: Failure, mesh: Objects) -> Found:
    for service in mesh.routes(failure):
        removed = [route.pop("fault") for route in service["spec"].get("http") or () if "fault" in route]
        yield (service if removed else None), "Without the fault: the test is over."


def _direct_response(failure: Failure, mesh: Objects) -> Found:
    """The one route that answers with this status by itself: without it, or to the Service the host is named after."""
    for virtual in mesh.routes(failure):
        routes = virtual["spec"].get("http") or []
        mine = [one for one in routes if (one.get("directResponse") or {}).get("status") == failure.code]
        if len(mine) != 1:
            continue
        (answer,) = mine
        if any(later.get("route") for later in routes[routes.index(answer) + 1 :]):
            routes.remove(answer)
            yield virtual, "Without the answer, requests go where the routes below it lead. Only if it is not meant."
            continue
        service = _named_after(failure.authority, virtual, mesh)
        if service is not None:
            answer.pop("directResponse")
            answer["route"] = [{"destination": service}]
            note = f"To Service {service['host']}, after which the host is named: check that it is the one meant."
            yield virtual, f"{note} Only if the answer is not meant."


def _named_after(authority: str, virtual: Object, mesh: Objects) -> Object | None:
    """The destination that a host's first word names, in the namespace of its VirtualService."""
    namespace, first = name_of(virtual)[0], authority.partition(":")[0].partition(".")[0]
    service = mesh.named(Subject("Service", first, namespace))
    ports = list(service["spec"].get("ports") or ()) if service is not None else []
    if len(ports) != 1:
        return None
    return {"host": f"{first}.{namespace}.svc.cluster.local", "port": {"number": ports[0]["port"]}}


def _timeout(failure: Failure, mesh: Objects) -> Found:
    if failure.details == PER_TRY:
        yield from _per_try_timeout(failure, mesh)
        return
    for service in mesh.routes(failure):
        raised = False
        for route in service["spec"].get("http") or ():
            for owner, key in ((route, "timeout"), (route.get("retries") or {}, "perTryTimeout")):
                seconds = _seconds(owner.get(key))
                if seconds:
                    owner[key], raised = f"{seconds * LONGER:g}s", True
        note = f"A stopgap: callers wait {LONGER} times as long. What is slow stays slow."
        yield (service if raised else None), note


def _per_try_timeout(failure: Failure, mesh: Objects) -> Found:
    """An attempt may then take as long as the request may, which nobody has to guess."""
    for service in mesh.routes(failure):
        tries = [route.get("retries") or {} for route in service["spec"].get("http") or ()]
        removed = [one.pop("perTryTimeout", None) for one in tries]
        note = "A stopgap: an attempt may take as long as the request's timeout allows. What is slow stays slow."
        yield (service if any(removed) else None), note


def _seconds(text: object) -> float | None:
    """Seconds of a duration of one unit (`0.5s`, `500ms`, `1m`)."""
    for unit, factor in (("ms", 0.001), ("s", 1.0), ("m", 60.0)):
        if isinstance(text, str) and text.endswith(unit):
            try:
                return float(text.removesuffix(unit)) * factor
            except ValueError:
                return None
    return None


def _rbac(failure: Failure, mesh: Objects) -> Found:
    policy = mesh.named(failure.subject) if failure.subject.kind == "AuthorizationPolicy" else None
    if policy is not None and policy["spec"].get("action", "ALLOW") == "DENY":
        policy["spec"].pop("rules", None)
        yield policy, "Denies nothing any more. Only if these callers are to be let in: better take out the one rule."


def _rate_limit(failure: Failure, mesh: Objects) -> Found:
    for found in mesh.of("EnvoyFilter"):
        raised = False
        for patch in found["spec"].get("configPatches") or ():
            value = (patch.get("patch") or {}).get("value") or {}
            bucket = (value.get("typed_config") or {}).get("token_bucket") if _LOCAL_LIMIT in str(value) else None
            for name in ("max_tokens", "tokens_per_fill"):
                if bucket and name in bucket:
                    bucket[name], raised = bucket[name] * RAISE, True
        yield (found if raised else None), f"A bucket {RAISE} times as large. Or ask the client to slow down."


def _selector(failure: Failure, mesh: Objects) -> Found:
    """A Service whose selector is one word away from the labels of pods."""
    service = mesh.service(failure.host)
    if service is None:
        return
    namespace = name_of(service)[0]
    labels = [pod["metadata"].get("labels") or {} for pod in mesh.of("Pod") if name_of(pod)[0] == namespace]
    selector = service["spec"].get("selector") or {}
    if any(selector.items() <= one.items() for one in labels):
        return  # it selects pods: they are not ready, which no object repairs
    for key, value in selector.items():
        near = difflib.get_close_matches(str(value), {str(one[key]) for one in labels if key in one}, n=1)
        selector[key] = near[0] if near else value
    fits = any(selector.items() <= one.items() for one in labels)
    yield (service if fits else None), "Selects the pods whose labels come nearest. Check that they are the ones meant."


def _host(failure: Failure, mesh: Objects) -> Found:
    """A VirtualService whose host is one word away from the one asked for."""
    bare = failure.authority.partition(":")[0]
    known = {str(host): one for one in mesh.of("VirtualService") for host in one["spec"].get("hosts") or ()}
    near = difflib.get_close_matches(bare, known, n=1, cutoff=0.8)
    if near:
        service = known[near[0]]
        service["spec"]["hosts"] = [bare if host == near[0] else host for host in service["spec"]["hosts"]]
        yield service, f"{near[0]} became {bare}, which callers ask for. The Gateway must take the host, too."


def _default_route(failure: Failure, mesh: Objects) -> Found:
    for service in mesh.routes(failure):
        routes = service["spec"].get("http") or []
        last = next((route for route in reversed(routes) if route.get("route")), None)
        if last is not None and last.get("match"):
            routes.append({"route": copy.deepcopy(last["route"])})
            yield service, "A route at the end for all that matches nothing else, to where the last one leads."


def _port(failure: Failure, mesh: Objects) -> Found:
    """A VirtualService that names a port its only-port Service does not have."""
    ports: dict[str, set[int]] = {}
    for service in mesh.of("Service"):
        namespace, name = name_of(service)
        given = {port["port"] for port in service["spec"].get("ports") or ()}
        ports[f"{name}.{namespace}.svc.cluster.local"] = given
    for virtual in mesh.routes(failure):
        changed = False
        for route in virtual["spec"].get("http") or ():
            for target in (one["destination"] for one in route.get("route") or ()):
                there = ports.get(host_in(target["host"], virtual), set())
                number = (target.get("port") or {}).get("number")
                if len(there) == 1 and number is not None and number not in there:
                    target["port"]["number"], changed = next(iter(there)), True
        yield (virtual if changed else None), "The port the Service has."


def _idle_timeout(failure: Failure, mesh: Objects) -> Found:
    note = "Below the application's own keep-alive timeout (Node.js: 5 s); or let idempotent requests retry on reset."
    for rule in mesh.rules(failure.host):
        pool = rule["spec"].setdefault("trafficPolicy", {}).setdefault("connectionPool", {})
        pool.setdefault("http", {})["idleTimeout"] = "4s"
        yield rule, note


_MAKERS: Mapping[str, Callable[[Failure, Objects], Found]] = {
    "circuit_breaker": _circuit_breaker,
    "plaintext_to_strict": _tls(_no_plaintext, "Without tls.mode DISABLE the proxies choose mutual TLS by themselves."),
    "mtls_to_plaintext": _tls(_no_mtls, "Without ISTIO_MUTUAL the proxies send what the server takes."),
    "certificate_wrong_name": _tls(_no_names, "Without subjectAltNames Istio expects the pods' own service account."),
    "fault_abort": _fault,
    "fault_delay": _fault,
    "slow_replica": _timeout,
    "slow_upstream": _timeout,
    "rbac_denied": _rbac,
    "rate_limited": _rate_limit,
    "no_healthy_upstream": _selector,
    "unknown_host": _host,
    "no_route": _default_route,
    "missing_cluster": _port,
    "keepalive_race": _idle_timeout,
    "direct_response": _direct_response,
    "certificate_unknown_authority": _istio_mutual,
    "certificate_rejected": _istio_mutual,
    "application_error": another_replica,
    "retries_exhausted": another_replica,
    "connection_refused": another_replica,
    "connection_timed_out": another_replica,
    "connection_reset": another_replica,
    "connection_closed": another_replica,
    "protocol_error": another_replica,
    "drain": graceful_end,
}
