"""Ways in which the lab can be broken, each with its known cause and what real Envoy then logs."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from meshnb.errors import UsageError
from meshnb.lab.plan import PODS

GATEWAY, V1, V2A, V2B, WEBAPP = (pod.proxy for pod in PODS)
_CATALOG = (V1, V2A, V2B)
_RESET = "upstream_reset_before_response_started"
Apps = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Scenario:
    """One way to break the mesh. Everything not named here is as in the healthy lab.

    Outcomes are `CODE FLAGS DETAILS` as in the access log; of the details, what stands before the first `{` or `(`.

    Args:
        name: what `lab break` takes.
        broken: what is broken, in one sentence.
        gateway: outcomes of failed requests at the gateway; empty if none fails there.
        sidecar: outcomes of those requests at the sidecar of the catalog; empty if they do not get there or look well.
        shows: what else tells of it.
        manifest: file in `manifests/` with objects to add or change.
        delete: objects to delete, as (kind, namespace, name).
        apps: pod -> body of its `/blowup`.
        stop: processes to stop, after all objects are sent.
        pause: processes to suspend, after all objects are sent.
        flap: processes that end and start again, every second.
        certificates: proxy -> kind of its certificate, `expired` or `foreign`.
        hold: proxies that the control plane then sends nothing more to.
        gone: objects deleted after that.
        traffic: arguments of `traffic` that make it visible, where the usual ones do not.
    """

    name: str
    broken: str
    gateway: tuple[str, ...] = ()
    sidecar: tuple[str, ...] = ()
    shows: str = ""
    manifest: str = ""
    delete: tuple[tuple[str, str, str], ...] = ()
    apps: Apps = field(default_factory=dict)
    stop: tuple[str, ...] = ()
    pause: tuple[str, ...] = ()
    flap: tuple[str, ...] = ()
    certificates: Mapping[str, str] = field(default_factory=dict)
    hold: tuple[str, ...] = ()
    gone: tuple[tuple[str, str, str], ...] = ()
    traffic: Mapping[str, Any] = field(default_factory=dict)


def _blowup(*pods: str, kind: str, **more: Any) -> Apps:
    return {pod: {"active": True, "type": kind, **more} for pod in pods}


HEALTHY = Scenario("healthy", "nothing")

_ROUTING = (
    Scenario(
        "missing-subset",
        "VirtualService catalog-v1-v2 routes to subsets that no DestinationRule defines",
        gateway=("503 NC cluster_not_found",),
        delete=(("DestinationRule", "istioinaction", "catalog"),),
    ),
    Scenario(
        "port-mismatch",
        "VirtualService catalog-v1-v2 routes to port 8080 of a Service that has port 80 only",
        gateway=("503 NC cluster_not_found",),
        manifest="port-mismatch",
    ),
    Scenario(
        "unknown-host",
        "VirtualService catalog-v1-v2 names the host catalogue.istioinaction.io by mistake",
        gateway=("404 NR route_not_found",),
        manifest="unknown-host",
    ),
    Scenario(
        "no-route",
        "VirtualService catalog-v1-v2 routes the path /api only",
        gateway=("404 NR route_not_found",),
        manifest="no-route",
    ),
    Scenario(
        "direct-response",
        "VirtualService catalog-v1-v2 lets the gateway answer 503 by itself",
        gateway=("503 - direct_response",),
        manifest="direct-response",
    ),
    Scenario(
        "fault-abort",
        "VirtualService catalog-v1-v2 aborts half of the requests on purpose",
        gateway=("503 FI fault_filter_abort",),
        manifest="fault-abort",
    ),
    Scenario(
        "fault-delay",
        "VirtualService catalog-v1-v2 delays half of the requests by 0.3 s on purpose",
        gateway=("200 DI via_upstream",),
        manifest="fault-delay",
    ),
)

_UPSTREAM = (
    Scenario(
        "slow-replica",
        "one v2 pod answers every second request a second late; the route's timeout is 0.5 s",
        gateway=("504 UT response_timeout",),
        sidecar=("0 DC downstream_remote_disconnect",),
        manifest="short-timeout",
        apps=_blowup(V2B, kind="latency", volatile=True),
    ),
    Scenario(
        "slow-service",
        "every catalog pod answers a second late; the route's timeout is 0.5 s",
        gateway=("504 UT response_timeout",),
        sidecar=("0 DC downstream_remote_disconnect",),
        manifest="short-timeout",
        apps=_blowup(*_CATALOG, kind="latency"),
    ),
    Scenario(
        "per-try-timeout",
        "every catalog pod answers a second late; each of two attempts may take 0.2 s",
        gateway=("504 URX,UT upstream_per_try_timeout",),
        sidecar=("0 DC downstream_remote_disconnect",),
        manifest="per-try-timeout",
        apps=_blowup(*_CATALOG, kind="latency"),
    ),
    Scenario(
        "client-gives-up",
        "every catalog pod answers a second late; no timeout is set and the client waits 0.3 s only",
        gateway=("0 DC downstream_remote_disconnect",),
        sidecar=("0 DC downstream_remote_disconnect",),
        apps=_blowup(*_CATALOG, kind="latency"),
        traffic={"timeout": 0.3},
    ),
    Scenario(
        "failing-replica",
        "the app of one v2 pod answers 500",
        gateway=("500 - via_upstream",),
        sidecar=("500 - via_upstream",),
        apps=_blowup(V2B, kind="error", status=500),
    ),
    Scenario(
        "retries-exhausted",
        "every catalog app answers 503, and the route tries again twice",
        gateway=("503 URX via_upstream",),
        sidecar=("503 - via_upstream",),
        manifest="retries-exhausted",
        apps=_blowup(*_CATALOG, kind="error", status=503),
    ),
    Scenario(
        "outlier-ejection",
        "the app of one v2 pod answers 500, and outlier detection takes the pod out after the first",
        gateway=("500 - via_upstream",),
        sidecar=("500 - via_upstream",),
        shows="/clusters: failed_outlier_check",
        manifest="outlier-ejection",
        apps=_blowup(V2B, kind="error", status=500),
    ),
    Scenario(
        "all-ejected",
        "every catalog app answers 500, and outlier detection takes all of them out",
        gateway=("500 - via_upstream", "503 UH no_healthy_upstream"),
        sidecar=("500 - via_upstream",),
        shows="/clusters: failed_outlier_check",
        manifest="outlier-ejection",
        apps=_blowup(*_CATALOG, kind="error", status=500),
    ),
    Scenario(
        "no-endpoints",
        "Service catalog selects app=catalogue by mistake, and so no pod",
        gateway=("503 UH no_healthy_upstream",),
        manifest="no-endpoints",
    ),
    Scenario(
        "app-down",
        "the app of one v2 pod does not run, its sidecar does",
        gateway=("503 - via_upstream",),
        sidecar=(f"503 UF {_RESET}",),
        stop=(f"app:{V2B}",),
    ),
    Scenario(
        "dead-endpoint",
        "no catalog pod runs any more, and their endpoints are still there",
        gateway=(f"503 URX,UF {_RESET}",),
        stop=tuple(f"envoy:{pod}" for pod in _CATALOG),
    ),
    Scenario(
        "connect-timeout",
        "the sidecar of one v2 pod hangs; a connection must stand within 0.3 s and is not tried again",
        gateway=(f"503 UF {_RESET}",),
        manifest="connect-timeout",
        pause=(f"envoy:{V2B}",),
    ),
    Scenario(
        "connection-closed",
        "the app of one v2 pod closes the connection instead of answering",
        gateway=("503 - via_upstream",),
        sidecar=(f"503 UC {_RESET}",),
        apps=_blowup(V2B, kind="close"),
    ),
    Scenario(
        "connection-reset",
        "the app of one v2 pod resets the connection instead of answering",
        gateway=("503 - via_upstream",),
        sidecar=(f"503 UC {_RESET}",),
        apps=_blowup(V2B, kind="reset"),
    ),
    Scenario(
        "restarting-sidecar",
        "the sidecar of one v2 pod ends and starts again every second; a request takes 0.2 s and is not tried again",
        gateway=(f"503 UC {_RESET}", f"503 UF {_RESET}"),
        sidecar=("0 DC downstream_local_disconnect",),
        manifest="no-retries",
        apps=_blowup(*_CATALOG, kind="latency", seconds=0.2),
        flap=(f"envoy:{V2B}",),
        traffic={"requests": 100},
    ),
    Scenario(
        "keepalive-race",
        "the app of one v2 pod closes kept-alive connections just when the next request comes",
        gateway=("503 - via_upstream",),
        sidecar=(f"503 UC {_RESET}",),
        apps=_blowup(V2B, kind="close", reused=True),
    ),
    Scenario(
        "protocol-error",
        "the app of one v2 pod answers what is no HTTP",
        gateway=("502 - via_upstream",),
        sidecar=("502 UPE upstream_reset_before_response_started",),
        apps=_blowup(V2B, kind="garbage"),
    ),
    Scenario(
        "circuit-breaker",
        "DestinationRule catalog allows one connection and one waiting request; the pods need 0.3 s each",
        gateway=(f"503 UO {_RESET}",),
        manifest="circuit-breaker",
        apps=_blowup(*_CATALOG, kind="latency", seconds=0.3),
        traffic={"rate": 40.0},
    ),
)

_SECURITY = (
    Scenario(
        "plaintext-to-strict",
        "DestinationRule catalog switches mutual TLS off; PeerAuthentication default is STRICT",
        gateway=(f"503 UC {_RESET}",),
        sidecar=("0 NR filter_chain_not_found",),
        manifest="plaintext-to-strict",
    ),
    Scenario(
        "mtls-to-plaintext",
        "PeerAuthentication default takes plain text only; DestinationRule catalog asks for mutual TLS",
        gateway=(f"503 URX,UF {_RESET}",),
        sidecar=("400 DPE http1.codec_error",),
        manifest="mtls-to-plaintext",
    ),
    Scenario(
        "san-mismatch",
        "DestinationRule catalog expects an identity that the pods do not have",
        gateway=(f"503 URX,UF {_RESET}",),
        manifest="san-mismatch",
    ),
    Scenario(
        "expired-certificate",
        "the certificates of the catalog pods are past their time",
        gateway=(f"503 URX,UF {_RESET}",),
        certificates=dict.fromkeys(_CATALOG, "expired"),
    ),
    Scenario(
        "foreign-certificate",
        "the certificates of the catalog pods come from a CA that nobody trusts",
        gateway=(f"503 URX,UF {_RESET}",),
        certificates=dict.fromkeys(_CATALOG, "foreign"),
    ),
    Scenario(
        "rbac-denied",
        "AuthorizationPolicy deny-gateway forbids the gateway to read the catalog",
        gateway=("403 - via_upstream",),
        sidecar=("403 - rbac_access_denied_matched_policy[ns[istioinaction]-policy[deny-gateway]-rule[0]]",),
        manifest="rbac-denied",
    ),
    Scenario(
        "rate-limited",
        "EnvoyFilter gateway-rate-limit lets five requests a minute through",
        gateway=("429 RL local_rate_limited",),
        manifest="rate-limited",
    ),
)

_CONTROL_PLANE = (
    Scenario(
        "rejected-config",
        "EnvoyFilter gateway-rate-limit asks for what Envoy refuses; the gateway goes on with its old listener",
        shows="NACK of LDS in /debug/syncz; error_state of the listener",
        manifest="rejected-config",
    ),
    Scenario(
        "fan-out",
        "nothing: ten dummy workloads sleep-1 to sleep-10 are added, which no proxy calls and every proxy is told of",
        shows="a cluster and an endpoint more for each of them in every proxy, all SYNCED",
        manifest="fan-out",
    ),
    Scenario(
        "frozen-endpoints",
        "one v2 pod is gone, and the gateway was not told: a ghost endpoint, though syncz says SYNCED",
        gateway=(f"503 UF {_RESET}",),
        shows="an endpoint of the gateway that no pod has",
        manifest="no-retries",
        stop=(f"envoy:{V2B}", f"app:{V2B}"),
        hold=(GATEWAY,),
        gone=(("Pod", "istioinaction", V2B.partition(".")[0]),),
    ),
    Scenario(
        "istiod-down",
        "the control plane does not run; the proxies go on with what they have",
        shows="no /debug/syncz; control_plane.connected_state 0",
        stop=("controlplane",),
    ),
)

SCENARIOS = {s.name: s for s in (*_ROUTING, *_UPSTREAM, *_SECURITY, *_CONTROL_PLANE)}
"""All scenarios by name."""


def find_scenario(name: str) -> Scenario:
    """A scenario by its name.

    Raises:
        UsageError: there is none; names the nearest.
    """
    if name in SCENARIOS:
        return SCENARIOS[name]
    near = difflib.get_close_matches(name, SCENARIOS, n=1)
    hint = f"did you mean {near[0]!r}?" if near else "see: meshnb lab scenarios"
    raise UsageError(f"no scenario {name!r}; there are {', '.join(SCENARIOS)}", hint=hint)
