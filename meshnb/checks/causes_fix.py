"""Objects that repair a cause: those of the mesh, with the one thing changed that is at fault.

A fix is the whole object, so that it can be applied as it is: a DestinationRule that named its new setting alone would
drop the subsets the old one defines. Where no object can be told to be at fault, there is no such fix.
"""

from __future__ import annotations

import copy
import difflib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from meshnb.model.finding import Fix, Subject

if TYPE_CHECKING:
    import pandas as pd

Object = dict[str, Any]

RAISE = 10
"""Limits of circuit breakers and rate limits are raised by this factor: enough to see whether it was the limit."""
LONGER = 3
"""Timeouts are raised by this factor, as a stopgap."""
STOPGAPS = ("slow_replica", "slow_upstream", "rbac_denied")
"""Causes whose object is for somebody to decide on: a longer timeout hides the fault, a lifted denial opens access."""
_KEPT = ("name", "namespace", "labels", "annotations")
_LOCAL_LIMIT = "local_ratelimit"


@dataclass(frozen=True, slots=True)
class Failure:
    """What failed.

    Args:
        cause: name of the cause.
        subject: the object it is about.
        host: full name of the service called; empty if none was.
        authority: host asked for.
        path: path asked for.
    """

    cause: str
    subject: Subject
    host: str = ""
    authority: str = ""
    path: str = ""


def repairs(failure: Failure, objects: pd.DataFrame | None) -> tuple[Fix, ...]:
    """What can be applied to repair a failure, none if that cannot be told from the objects.

    Args:
        failure: what failed.
        objects: table `objects`; `None` if none were captured.
    """
    make = _MAKERS.get(failure.cause)
    if make is None or objects is None or objects.empty:
        return ()
    mesh = _Objects(objects)
    found = ((changed, note) for changed, note in make(failure, mesh) if changed is not None)
    return tuple(Fix(_as_yaml(changed), note=note) for changed, note in found)


class _Objects:
    """The objects by kind; those that are changed are copies."""

    def __init__(self, objects: pd.DataFrame) -> None:
        self._objects = objects

    def of(self, kind: str) -> list[Object]:
        rows = self._objects[self._objects.kind == kind]
        return [json.loads(text) for text in rows.object]

    def named(self, subject: Subject) -> Object | None:
        found = [one for one in self.of(subject.kind) if _name(one) == (subject.namespace, subject.name)]
        return copy.deepcopy(found[0]) if found else None

    def rules(self, host: str) -> list[Object]:
        """DestinationRules of a service, wherever their host is written short."""
        return [copy.deepcopy(one) for one in self.of("DestinationRule") if _full(one["spec"]["host"], one) == host]

    def routes(self, failure: Failure) -> list[Object]:
        """VirtualServices that a request for the authority, or to the host, may have taken."""
        if failure.subject.kind == "VirtualService":
            named = self.named(failure.subject)
            return [named] if named is not None else []
        bare = failure.authority.partition(":")[0]
        found = [one for one in self.of("VirtualService") if bare in (one["spec"].get("hosts") or ())]
        return [copy.deepcopy(one) for one in found]


def _name(thing: Mapping[str, Any]) -> tuple[str, str]:
    return str(thing["metadata"].get("namespace", "")), str(thing["metadata"]["name"])


def _full(host: str, owner: Mapping[str, Any]) -> str:
    return host if "." in host else f"{host}.{owner['metadata'].get('namespace', 'default')}.svc.cluster.local"


def _as_yaml(thing: Object) -> str:
    """What one would have written: without what the API server added."""
    import yaml

    meta = {key: value for key, value in thing["metadata"].items() if key in _KEPT and value}
    meta.get("annotations", {}).pop("kubectl.kubernetes.io/last-applied-configuration", None)
    meta = {key: value for key, value in meta.items() if value}
    shown = {"apiVersion": thing["apiVersion"], "kind": thing["kind"], "metadata": meta, "spec": thing["spec"]}
    return str(yaml.safe_dump(shown, sort_keys=False, allow_unicode=True, width=120))


_Found = Iterator[tuple[Object | None, str]]


def _policies(rule: Object) -> list[Object]:
    """The traffic policies of a DestinationRule: of the host, and of subsets that have their own."""
    spec = rule["spec"]
    given = [spec.get("trafficPolicy"), *(subset.get("trafficPolicy") for subset in spec.get("subsets") or ())]
    return [policy for policy in given if policy]


def _circuit_breaker(failure: Failure, mesh: _Objects) -> _Found:
    for rule in mesh.rules(failure.host):
        raised = False
        for policy in _policies(rule):
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


def _tls(change: Callable[[Object], bool], note: str) -> Callable[[Failure, _Objects], _Found]:
    def make(failure: Failure, mesh: _Objects) -> _Found:
        for rule in mesh.rules(failure.host):
            changed = [change(policy) for policy in _policies(rule) if policy.get("tls")]
            yield (rule if any(changed) else None), note

    return make


def _no_plaintext(policy: Object) -> bool:
    return policy["tls"].get("mode") == "DISABLE" and bool(policy.pop("tls"))


def _no_mtls(policy: Object) -> bool:
    return policy["tls"].get("mode") == "ISTIO_MUTUAL" and bool(policy.pop("tls"))


def _no_names(policy: Object) -> bool:
    return bool(policy["tls"].pop("subjectAltNames", None))


def _fault(failure: Failure, mesh: _Objects) -> _Found:
    for service in mesh.routes(failure):
        removed = [route.pop("fault") for route in service["spec"].get("http") or () if "fault" in route]
        yield (service if removed else None), "Without the fault: the test is over."


def _timeout(failure: Failure, mesh: _Objects) -> _Found:
    for service in mesh.routes(failure):
        raised = False
        for route in service["spec"].get("http") or ():
            for owner, key in ((route, "timeout"), (route.get("retries") or {}, "perTryTimeout")):
                seconds = _seconds(owner.get(key))
                if seconds:
                    owner[key], raised = f"{seconds * LONGER:g}s", True
        note = f"A stopgap: callers wait {LONGER} times as long. What is slow stays slow."
        yield (service if raised else None), note


def _seconds(text: object) -> float | None:
    """Seconds of a duration of one unit (`0.5s`, `500ms`, `1m`)."""
    for unit, factor in (("ms", 0.001), ("s", 1.0), ("m", 60.0)):
        if isinstance(text, str) and text.endswith(unit):
            try:
                return float(text.removesuffix(unit)) * factor
            except ValueError:
                return None
    return None


def _rbac(failure: Failure, mesh: _Objects) -> _Found:
    policy = mesh.named(failure.subject) if failure.subject.kind == "AuthorizationPolicy" else None
    if policy is not None and policy["spec"].get("action", "ALLOW") == "DENY":
        policy["spec"].pop("rules", None)
        yield policy, "Denies nothing any more. Only if these callers are to be let in: better take out the one rule."


def _rate_limit(failure: Failure, mesh: _Objects) -> _Found:
    for found in mesh.of("EnvoyFilter"):
        raised = False
        for patch in found["spec"].get("configPatches") or ():
            value = (patch.get("patch") or {}).get("value") or {}
            bucket = (value.get("typed_config") or {}).get("token_bucket") if _LOCAL_LIMIT in str(value) else None
            for name in ("max_tokens", "tokens_per_fill"):
                if bucket and name in bucket:
                    bucket[name], raised = bucket[name] * RAISE, True
        yield (found if raised else None), f"A bucket {RAISE} times as large. Or ask the client to slow down."


def _selector(failure: Failure, mesh: _Objects) -> _Found:
    """A Service whose selector is one word away from the labels of pods."""
    name, _, rest = failure.host.partition(".")
    namespace = rest.partition(".")[0]
    service = mesh.named(Subject("Service", name, namespace))
    if service is None:
        return
    labels = [pod["metadata"].get("labels") or {} for pod in mesh.of("Pod") if _name(pod)[0] == namespace]
    selector = service["spec"].get("selector") or {}
    if any(selector.items() <= one.items() for one in labels):
        return  # it selects pods: they are not ready, which no object repairs
    for key, value in selector.items():
        near = difflib.get_close_matches(str(value), {str(one[key]) for one in labels if key in one}, n=1)
        selector[key] = near[0] if near else value
    fits = any(selector.items() <= one.items() for one in labels)
    yield (service if fits else None), "Selects the pods whose labels come nearest. Check that they are the ones meant."


def _host(failure: Failure, mesh: _Objects) -> _Found:
    """A VirtualService whose host is one word away from the one asked for."""
    bare = failure.authority.partition(":")[0]
    known = {str(host): one for one in mesh.of("VirtualService") for host in one["spec"].get("hosts") or ()}
    near = difflib.get_close_matches(bare, known, n=1, cutoff=0.8)
    if near:
        service = copy.deepcopy(known[near[0]])
        service["spec"]["hosts"] = [bare if host == near[0] else host for host in service["spec"]["hosts"]]
        yield service, f"{near[0]} became {bare}, which callers ask for. The Gateway must take the host, too."


def _default_route(failure: Failure, mesh: _Objects) -> _Found:
    for service in mesh.routes(failure):
        routes = service["spec"].get("http") or []
        last = next((route for route in reversed(routes) if route.get("route")), None)
        if last is not None and last.get("match"):
            routes.append({"route": copy.deepcopy(last["route"])})
            yield service, "A route at the end for all that matches nothing else, to where the last one leads."


def _port(failure: Failure, mesh: _Objects) -> _Found:
    """A VirtualService that names a port its only-port Service does not have."""
    ports: dict[str, set[int]] = {}
    for service in mesh.of("Service"):
        namespace, name = _name(service)
        given = {port["port"] for port in service["spec"].get("ports") or ()}
        ports[f"{name}.{namespace}.svc.cluster.local"] = given
    for virtual in mesh.routes(failure):
        changed = False
        for route in virtual["spec"].get("http") or ():
            for target in (one["destination"] for one in route.get("route") or ()):
                there = ports.get(_full(target["host"], virtual), set())
                number = (target.get("port") or {}).get("number")
                if len(there) == 1 and number is not None and number not in there:
                    target["port"]["number"], changed = next(iter(there)), True
        yield (virtual if changed else None), "The port the Service has."


def _idle_timeout(failure: Failure, mesh: _Objects) -> _Found:
    note = "Below the application's own keep-alive timeout (Node.js: 5 s); or let idempotent requests retry on reset."
    for rule in mesh.rules(failure.host):
        pool = rule["spec"].setdefault("trafficPolicy", {}).setdefault("connectionPool", {})
        pool.setdefault("http", {})["idleTimeout"] = "4s"
        yield rule, note


_MAKERS: Mapping[str, Callable[[Failure, _Objects], _Found]] = {
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
}
