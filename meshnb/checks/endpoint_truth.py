"""Do Kubernetes, istiod and Envoy agree on who is behind a service?"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from meshnb.checks.registry import check, passed
from meshnb.model.finding import Evidence, Finding, Fix, Severity, Status, Subject

if TYPE_CHECKING:
    import pandas as pd

_COLUMNS = [
    "host", "address", "port", "pod", "workload", "verdict", "stopped_at", "since", "kubernetes", "kubernetes_ready",
    "istiod", "proxies", "configured", "healthy", "ejected", "requests", "last_request",
]  # fmt: skip
_SOURCE = "mesh.endpoint_truth()"


@check("MNB0410", "Does any proxy know endpoints that are gone?", requires=["endpoint_truth"])
def ghosts(endpoint_truth: pd.DataFrame) -> Iterator[Finding]:
    """Endpoints Envoy has and Kubernetes has not: ghost workloads."""
    found = endpoint_truth[endpoint_truth.verdict == "ghost"]
    if found.empty:
        yield passed("MNB0410", f"Kubernetes lists every one of the {len(endpoint_truth)} endpoints proxies know.")
    for row in found.itertuples():
        called = (
            f" {row.requests} requests went there, the last at {_time(row.last_request)}."
            if _some(row.requests)
            else ""
        )
        now = f" Its address belongs to pod {row.pod} now, which may be another application." if _text(row.pod) else ""
        yield _finding(
            "MNB0410",
            Severity.ERROR,
            row,
            endpoint_truth,
            f"{_what(row)} is gone from Kubernetes, and {_who(row.in_proxies)} still {_have(row.in_proxies)} it. "
            f"The truth stopped at {row.stopped_at}.{called}{now}",
            cause="The pod ended and its EndpointSlice went; the news did not arrive further on. Requests there time "
            "out, are refused (UF, URX), or reach whoever has the address now.",
            confidence=0.95,
        )


@check("MNB0411", "Does every proxy know all endpoints that are ready?", requires=["endpoint_truth"])
def missing(endpoint_truth: pd.DataFrame) -> Iterator[Finding]:
    """Endpoints that are ready and that proxies of the service do not have."""
    found = endpoint_truth[endpoint_truth.verdict == "missing"]
    if found.empty:
        yield passed("MNB0411", "Every proxy that has a service has all its ready endpoints.")
    for row in found.itertuples():
        yield _finding(
            "MNB0411",
            Severity.ERROR,
            row,
            endpoint_truth,
            f"{_what(row)} is ready, and {_who(row.not_in_proxies)} {_have(row.not_in_proxies)} it not. "
            f"The truth stopped at {row.stopped_at}.",
            cause="New capacity gets no requests from there; if no other endpoint is left, requests fail with UH.",
            confidence=0.9,
        )


@check("MNB0412", "Do proxies leave out endpoints that are not ready?", requires=["endpoint_truth"])
def not_ready(endpoint_truth: pd.DataFrame) -> Iterator[Finding]:
    """Endpoints Kubernetes lists as not ready and Envoy would still use."""
    found = endpoint_truth[endpoint_truth.verdict == "not ready"]
    if found.empty:
        yield passed("MNB0412", "No proxy sends requests to an endpoint that is not ready.")
    for row in found.itertuples():
        yield _finding(
            "MNB0412",
            Severity.WARNING,
            row,
            endpoint_truth,
            f"{_what(row)} is not ready, and {row.healthy} proxies would send requests there. The truth stopped at "
            f"{row.stopped_at}.",
            cause="Its readiness probe fails, and the news did not arrive, or proxies are told to use such endpoints.",
            confidence=0.8,
        )


@check("MNB0413", "Do proxies use the endpoints they have?", requires=["endpoint_truth"], severity=Severity.WARNING)
def ejected(endpoint_truth: pd.DataFrame) -> Iterator[Finding]:
    """Endpoints that agree everywhere and were taken out by Envoy itself."""
    found = endpoint_truth[endpoint_truth.ejected > 0]
    if found.empty:
        yield passed("MNB0413", "No proxy has taken an endpoint out.")
    for row in found.itertuples():
        yield _finding(
            "MNB0413",
            Severity.WARNING,
            row,
            endpoint_truth,
            f"{row.ejected} of {row.configured} proxies have taken {_what(row)} out.",
            cause="Outlier detection saw errors in a row, or a health check fails: the pod answers them badly.",
            confidence=0.9,
        )


def _finding(
    code: str, severity: Severity, row: Any, truth: pd.DataFrame, summary: str, *, cause: str, confidence: float
) -> Finding:
    same = truth[(truth.host == row.host) & (truth.address == row.address) & (truth.port == row.port)]
    lists = [{"has it": p} for p in row.in_proxies] + [{"has it not": p} for p in row.not_in_proxies]
    return Finding(
        code,
        Status.FAIL,
        severity,
        Subject("Endpoint", f"{row.host.partition('.')[0]} {row.address}:{row.port}", row.namespace),
        summary,
        cause=cause,
        evidence=(
            Evidence.of("What each side says.", same[_COLUMNS], source=_SOURCE),
            Evidence("The proxies.", tuple(lists[:10]), _SOURCE, len(lists)),
        ),
        fix=_next(row),
        verify="meshnb run endpoint-truth",
        confidence=confidence,
    )


def _next(row: Any) -> tuple[Fix, ...]:
    concerned = row.not_in_proxies if row.verdict == "missing" else row.in_proxies
    first = concerned[0] if len(concerned) else ""
    pod, _, namespace = first.rpartition(".")
    service, _, rest = row.host.partition(".")
    if row.stopped_at == "Envoy":
        return (
            Fix(f"istioctl proxy-status {pod}.{namespace}", kind="command", note="First: has it taken the last push?"),
            Fix(
                f"kubectl -n {namespace} delete pod {pod}",
                kind="command",
                note="A new proxy gets the whole state anew.",
            ),
        )
    if row.stopped_at == "istiod":
        return (
            Fix(
                "kubectl -n istio-system logs deployment/istiod --since 1h | grep -iE 'eds|endpoint|watch|throttl'",
                kind="command",
                note="Why was it not sent: a stuck watch, no permission on EndpointSlices, a full push queue?",
            ),
            Fix("kubectl -n istio-system rollout restart deployment/istiod", kind="command"),
        )
    what = f"kubectl -n {rest.partition('.')[0]} get endpointslices -l kubernetes.io/service-name={service}"
    return (
        Fix(
            f"istioctl x internal-debug edsz --proxyID {first}" if first else what,
            kind="command",
            note="Compare what istiod would send with what Kubernetes lists.",
        ),
    )


@check(
    "MNB0414",
    "Does every ready pod a service selects stand in its EndpointSlices?",
    requires=["services", "pods", "endpoint_slices"],
)
def slices(services: pd.DataFrame, pods: pd.DataFrame, endpoint_slices: pd.DataFrame) -> Iterator[Finding]:
    """Kubernetes against itself: pods against EndpointSlices, both ways."""
    clean = True
    live = pods[pods.ready & ~pods.terminating & pods.ip.notna()]
    labels = {name: json.loads(text) for name, text in zip(live.proxy, live.labels, strict=True)}
    for service in services.itertuples():
        selector = json.loads(service.selector)
        if not selector:
            continue
        own = live[live.namespace == service.namespace]
        chosen = own[[selector.items() <= labels[proxy].items() for proxy in own.proxy]]
        listed = endpoint_slices[
            (endpoint_slices.namespace == service.namespace) & (endpoint_slices.service == service.service)
        ]
        lacking = chosen[~chosen.ip.isin(listed.address)]
        dead = listed[listed.pod.notna() & ~listed.pod.isin(pods[pods.namespace == service.namespace].pod)]
        for frame, words in (
            (lacking, "ready pods are not in its EndpointSlices"),
            (dead, "endpoints are of pods that are gone"),
        ):
            if len(frame):
                clean = False
                names = sorted(set(frame.pod))
                yield Finding(
                    "MNB0414",
                    Status.FAIL,
                    Severity.ERROR,
                    Subject("Service", service.service, service.namespace),
                    f"{len(names)} {words}: {', '.join(names[:5])}.",
                    cause="The truth stopped inside Kubernetes: its endpoint controller has not followed, or the two "
                    "lists were captured some seconds apart.",
                    evidence=(Evidence.of("They are:", frame, source="mesh.pods(), mesh.endpoint_slices()"),),
                    verify=f"kubectl -n {service.namespace} describe endpointslices -l "
                    f"kubernetes.io/service-name={service.service}",
                    confidence=0.8,
                )
    if clean:
        yield passed("MNB0414", "Pods and EndpointSlices agree.")


def _what(row: Any) -> str:
    name = row.pod if _text(row.pod) and row.verdict != "ghost" else row.workload
    name = f"pod {row.was_pod}" if _text(row.was_pod) else name
    who = f"{name} ({row.address}:{row.port})" if _text(name) else f"{row.address}:{row.port}"
    return f"Endpoint {who} of {row.host}"


def _who(proxies: Any) -> str:
    names = list(proxies)
    if not names:
        return "istiod"
    return (
        names[0]
        if len(names) == 1
        else f"{len(names)} proxies ({', '.join(names[:3])}{', …' if len(names) > 3 else ''})"
    )


def _have(proxies: Any) -> str:
    return "have" if len(proxies) > 1 else "has"


def _text(value: Any) -> bool:
    return isinstance(value, str) and value != ""


def _some(value: Any) -> bool:
    return isinstance(value, int) and value > 0


def _time(value: Any) -> str:
    return f"{value:%Y-%m-%d %H:%M:%S} UTC" if hasattr(value, "year") else "an unknown time"
