"""Objects that make a failing replica bearable until it is repaired: another one answers, or a proxy ends in peace.

What only hides the fault from callers says in its note that it is a stopgap.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from meshnb.checks.causes_objects import PROXY_CONTAINER, Failure, Found, Object, Objects, host_in, name_of, policies
from meshnb.model.finding import Subject

ATTEMPTS_PER_REPLICA = 3
"""Retries for each failing replica: a retry avoids the replicas tried before most of the time, not always, and one that
fails at once has the fewest requests in flight, which is what least-request balancing looks for."""
MOST_ATTEMPTS = 6
"""More retries than that would multiply the load; then only taking out the replicas is left."""
_USUAL = "connect-failure,refused-stream,unavailable,cancelled"
_ON_CONNECTION = ("connect-failure", "refused-stream", "reset")
# a proxy in front of the replica answers 502, 503 or 504 for it
_ON_CLOSED = (*_ON_CONNECTION, "gateway-error")
_RETRY_ON = {"application_error": ("5xx",), "retries_exhausted": ("5xx",), "drain": _ON_CONNECTION}
_DRAIN = "EXIT_ON_ZERO_ACTIVE_CONNECTIONS"
_PROXY_CONFIG = "proxy.istio.io/config"
# resource of a proxy -> annotation that sets it; where one is given, the mesh's own settings count for none of them
_RESOURCES = {
    ("requests", "cpu"): "sidecar.istio.io/proxyCPU",
    ("requests", "memory"): "sidecar.istio.io/proxyMemory",
    ("limits", "cpu"): "sidecar.istio.io/proxyCPULimit",
    ("limits", "memory"): "sidecar.istio.io/proxyMemoryLimit",
}


def another_replica(failure: Failure, mesh: Objects) -> Found:
    """Retries that reach another replica, and outlier detection that takes out the one that fails.

    Only where the service has replicas, in every subset asked for, at which no request failed for this cause.
    """
    failing = {(pod.namespace, pod.name) for pod in failure.failing if pod.kind == "Pod"}
    groups = [{name_of(pod) for pod in mesh.replicas(failure.host, subset)} for subset in failure.subsets]
    if not failing or not groups or not all(pods - failing and pods & failing for pods in groups):
        return
    rules = mesh.rules(failure.host)
    attempts = ATTEMPTS_PER_REPLICA * max(len(pods & failing) for pods in groups)
    if attempts <= MOST_ATTEMPTS and not any(map(_is_sticky, rules)):
        conditions = _RETRY_ON.get(failure.cause, _ON_CLOSED)
        for virtual in mesh.routes(failure):
            changed = [_try_again(route, attempts, conditions) for route in _leading_to(failure, virtual)]
            note = "A stopgap: another replica answers. It tries every method again, also what must not happen twice."
            yield (virtual if any(changed) else None), note
    # rounded up: below the share that fails, some of it would stay
    percent = max(-(-100 * len(pods & failing) // len(pods)) for pods in groups)
    for rule in rules:
        note = "A stopgap: a replica with five errors in a row is left out, for 30 s at first. Callers see those five."
        yield (rule if _eject(rule, percent) else None), note


def _leading_to(failure: Failure, virtual: Object) -> list[Object]:
    """Routes of a VirtualService to the service that fails."""
    return [
        route
        for route in virtual["spec"].get("http") or ()
        if any(host_in(one["destination"]["host"], virtual) == failure.host for one in route.get("route") or ())
    ]


def _try_again(route: Object, attempts: int, conditions: Iterable[str]) -> bool:
    """Whether a route was changed so that it tries often enough, and when it has to."""
    before = route.get("retries") or {}
    given = [part.strip() for part in str(before.get("retryOn") or _USUAL).split(",")]
    # Envoy's 5xx covers every other condition used here
    lacking = [one for one in conditions if one not in given and "5xx" not in given]
    # Istio tries twice where a route does not say
    often = max(int(before.get("attempts", 2)), attempts)
    if not lacking and often == before.get("attempts", 2):
        return False
    route["retries"] = {**before, "attempts": often, "retryOn": ",".join([*given, *lacking])}
    return True


def _is_sticky(rule: Object) -> bool:
    """Whether a caller always gets the same replica; a retry gets it as well."""
    return any("consistentHash" in (policy.get("loadBalancer") or {}) for policy in policies(rule))


def _eject(rule: Object, percent: int) -> bool:
    """Whether outlier detection was added; what is there already is somebody's decision."""
    if any("outlierDetection" in policy for policy in policies(rule)):
        return False
    rule["spec"].setdefault("trafficPolicy", {})["outlierDetection"] = {
        "consecutive5xxErrors": 5,
        "interval": "10s",
        "baseEjectionTime": "30s",
        "maxEjectionPercent": percent,
    }
    return True


def graceful_end(failure: Failure, mesh: Objects) -> Found:
    """For a proxy that ends: retries elsewhere, and what lets it end in peace, or lets it live.

    Whether it was to end is told by its pod: one that is gone or going was; one that is there, its proxy killed for its
    memory, was not.
    """
    yield from another_replica(failure, mesh)
    if failure.subject.kind != "Pod" or not mesh.of("Pod"):
        return
    pod = mesh.named(failure.subject)
    deployment = mesh.named(_deployment_of(failure.subject, pod))
    if deployment is None:
        return
    if pod is None or pod["metadata"].get("deletionTimestamp"):
        note = "For planned ends: the proxy waits until no connection is in use. Rolls the pods out once, as before."
        yield (deployment if _wait_for_connections(deployment) else None), note
    elif _was_killed(pod):
        note = "The proxy was killed at its memory limit: twice as much, all else as it is. Rolls the pods out once."
        yield (deployment if _more_memory(deployment, pod) else None), note


def _deployment_of(subject: Subject, pod: Object | None) -> Subject:
    """The Deployment of a pod, by the names that Kubernetes gives: DEPLOYMENT-HASH-POD."""
    owners = ((pod or {"metadata": {}})["metadata"].get("ownerReferences")) or ()
    sets = [one["name"] for one in owners if one.get("kind") == "ReplicaSet"]
    owner = sets[0] if sets else subject.name.rpartition("-")[0]
    return Subject("Deployment", str(owner).rpartition("-")[0], subject.namespace)


def _annotations(deployment: Object) -> dict[str, str]:
    meta = deployment["spec"].setdefault("template", {}).setdefault("metadata", {})
    found: dict[str, str] = meta.get("annotations") or {}
    meta["annotations"] = found
    return found


def _wait_for_connections(deployment: Object) -> bool:
    """Whether the proxies of a Deployment were told to wait; not if they do so already."""
    import yaml

    annotations = _annotations(deployment)
    try:
        config = yaml.safe_load(annotations.get(_PROXY_CONFIG) or "") or {}
    except yaml.YAMLError:
        return False
    if not isinstance(config, dict) or _DRAIN in (metadata := config.get("proxyMetadata") or {}):
        return False
    config["proxyMetadata"] = {**metadata, _DRAIN: "true"}
    annotations[_PROXY_CONFIG] = str(yaml.safe_dump(config, sort_keys=False))
    return True


def _was_killed(pod: Object) -> bool:
    """Whether the proxy of a pod was killed for its memory."""
    status = pod.get("status") or {}
    both: list[Any] = [*(status.get("containerStatuses") or ()), *(status.get("initContainerStatuses") or ())]
    ended = [
        (one.get(state) or {}).get("terminated") or {}
        for one in both
        for state in ("state", "lastState")
        if one.get("name") == PROXY_CONTAINER
    ]
    return any(one.get("reason") == "OOMKilled" for one in ended)


def _more_memory(deployment: Object, pod: Object) -> bool:
    """Whether the proxies of a Deployment were given twice the memory that the proxy of one of its pods has."""
    spec = pod.get("spec") or {}
    both = [*(spec.get("containers") or ()), *(spec.get("initContainers") or ())]
    given: Any = next((one.get("resources") or {} for one in both if one.get("name") == PROXY_CONTAINER), {})
    resources = {
        annotation: str(given[group][name])
        for (group, name), annotation in _RESOURCES.items()
        if (given.get(group) or {}).get(name)
    }
    limit = _RESOURCES["limits", "memory"]
    twice = _twice(resources.get(limit, ""))
    _annotations(deployment).update({**resources, limit: twice} if twice else {})
    return bool(twice)


def _twice(quantity: str) -> str:
    """Twice a quantity of Kubernetes, empty if it is written in an unusual way.

    Example:
        >>> _twice("512Mi"), _twice("1.5e9")
        ('1024Mi', '')
    """
    number = quantity.rstrip("KMGTki")
    return f"{int(number) * 2}{quantity[len(number) :]}" if number.isdigit() else ""
