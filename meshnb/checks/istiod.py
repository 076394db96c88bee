"""Is istiod set up as it should be, and does it hold and send what was applied?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from meshnb.checks.registry import check, passed
from meshnb.checks.sync import proxy_subject
from meshnb.model.finding import Evidence, Finding, Fix, Severity, Status, Subject

if TYPE_CHECKING:
    import pandas as pd

_HELD = [
    "VirtualService",
    "DestinationRule",
    "Gateway",
    "ServiceEntry",
    "Sidecar",
    "EnvoyFilter",
    "WorkloadEntry",
    "PeerAuthentication",
    "RequestAuthentication",
    "AuthorizationPolicy",
    "Telemetry",
    "WasmPlugin",
]


@check(
    "MNB0316",
    "Does Envoy have what istiod would send it?",
    requires=["config_drift"],
    severity=Severity.ERROR,
)
def drift(config_drift: pd.DataFrame) -> Iterator[Finding]:
    """Names of clusters, listeners and routes on one side only."""
    if config_drift.empty:
        yield passed("MNB0316", "The proxies compared have what istiod would send them.")
    for proxy, rows in config_drift.groupby("proxy"):
        lacking = rows[rows.only_in == "istiod"]
        left = rows[rows.only_in == "envoy"]
        yield Finding(
            "MNB0316",
            Status.FAIL,
            Severity.ERROR,
            proxy_subject(str(proxy)),
            f"Envoy lacks {len(lacking)} resources istiod would send it, and has {len(left)} istiod would not.",
            cause="It has not taken the last push: see its sync status. Right after a change they differ for a moment.",
            evidence=(Evidence.of("On one side only.", rows, source="mesh.config_drift()"),),
            verify="istioctl proxy-status POD",
            confidence=0.9,
        )


@check("MNB0320", "Did istiod build its last push without problems?", requires=["push_status"])
def push_problems(push_status: pd.DataFrame) -> Iterator[Finding]:
    """Problems of `push_status`, which no other tool shows; one finding for each and its subject."""
    if push_status.empty:
        yield passed("MNB0320", "istiod reports no problem with its last push.")
    for (problem, subject), rows in push_status.groupby(["problem", "subject"]):
        meaning = rows.meaning.iloc[0] if rows.meaning.notna().any() else "meshnb does not know this problem."
        said = f": {rows.message.iloc[0]}" if rows.message.notna().any() else ""
        yield Finding(
            "MNB0320",
            Status.FAIL,
            Severity.INFO if problem in ("pilot_no_ip", "pilot_endpoint_not_ready") else Severity.WARNING,
            Subject("PushStatus", f"{problem} {subject}"),
            f"{problem} for {subject}{said}.",
            cause=str(meaning),
            evidence=(Evidence.of("What istiod reports.", rows, source="mesh.push_status()"),),
            verify="istioctl x internal-debug push_status",
            confidence=0.8,
        )


@check("MNB0321", "Does istiod hold the objects Kubernetes holds?", requires=["istiod_objects", "objects"])
def held(istiod_objects: pd.DataFrame, objects: pd.DataFrame) -> Iterator[Finding]:
    """`configz` against the API server, object by object and version by version."""
    keys = ["kind", "namespace", "name"]
    there = objects[objects.kind.isin(_HELD) & objects.api_version.str.contains("istio.io", regex=False)]
    both = there[[*keys, "resource_version"]].merge(
        istiod_objects[[*keys, "resource_version"]], on=keys, how="left", suffixes=("", "_istiod"), indicator=True
    )
    missing = both[both["_merge"] == "left_only"]
    version = both.resource_version_istiod
    older = both[(both["_merge"] == "both") & version.notna() & (version != both.resource_version)]
    for row in (*missing.itertuples(), *older.itertuples()):
        absent = row.Index in missing.index
        yield Finding(
            "MNB0321",
            Status.FAIL,
            Severity.ERROR if absent else Severity.WARNING,
            Subject(row.kind, row.name, row.namespace if isinstance(row.namespace, str) else ""),
            "Kubernetes holds it, and istiod does not."
            if absent
            else f"istiod holds version {row.resource_version_istiod}, Kubernetes {row.resource_version}.",
            cause="It belongs to another revision (istio.io/rev), its namespace is outside the discovery selectors, "
            "istiod refuses it, or istiod's watch is stuck."
            if absent
            else "istiod has not seen the last change yet; if it stays so, its watch is stuck.",
            evidence=(
                Evidence.of(
                    "Both sides.", both.loc[[row.Index]].drop(columns="_merge"), source="mesh.istiod_objects()"
                ),
            ),
            verify="istioctl x internal-debug configz",
            confidence=0.9 if absent else 0.6,
        )
    if missing.empty and older.empty:
        yield passed("MNB0321", f"istiod holds the {len(there)} Istio objects of Kubernetes.")


# setting, what it means if it stands, what to do, how bad
_SETTINGS: tuple[tuple[str, Any, str, str, Severity], ...] = (
    (
        "trace_sampling",
        100.0,
        "Every request is traced: costly for proxies and for the store of traces.",
        "PILOT_TRACE_SAMPLING=1",
        Severity.WARNING,
    ),
    (
        "debug_on_http",
        True,
        "Debug pages are served on port 8080. They show the whole mesh; production should close them.",
        "ENABLE_DEBUG_ON_HTTP=false",
        Severity.INFO,
    ),
    (
        "debug_auth",
        False,
        "Any pod of the mesh may read the debug pages, which show the whole of it, without saying who it is.",
        "ENABLE_DEBUG_ENDPOINT_AUTH=true",
        Severity.WARNING,
    ),
)


@check("MNB0401", "Is istiod set up as production asks?", requires=["istiods"], severity=Severity.WARNING)
def settings(istiods: pd.DataFrame) -> Iterator[Finding]:
    """Full tracing, debug over HTTP, protocol sniffing switched off, unlike revisions."""
    if istiods.empty:
        yield Finding("MNB0401", Status.UNKNOWN, Severity.WARNING, Subject("Mesh"), "There is no pod of istiod.")
        return
    clean = True
    for row in istiods.itertuples():
        for name, value, meaning, repair, severity in _SETTINGS:
            if getattr(row, name) == value:
                clean = False
                yield _setting(row, name, meaning, repair, severity)
        if not (row.sniffing_inbound and row.sniffing_outbound):
            clean = False
            meaning = "Protocols are not detected: ports without a protocol in name or appProtocol are plain TCP."
            yield _setting(row, "sniffing", meaning, "name every Service port after its protocol", Severity.INFO)
    if clean:
        yield passed("MNB0401", f"None of {len(istiods)} istiods has a setting to be wary of.")


def _setting(row: Any, name: str, meaning: str, repair: str, severity: Severity) -> Finding:
    shown = (
        {name: getattr(row, name)}
        if hasattr(row, name)
        else {"sniffing": (row.sniffing_inbound, row.sniffing_outbound)}
    )
    return Finding(
        "MNB0401",
        Status.FAIL,
        severity,
        Subject("Setting", f"{row.istiod} {name}", row.namespace),
        meaning,
        evidence=(Evidence("The setting.", ({k: str(v) for k, v in shown.items()},), "mesh.istiods()", 1),),
        fix=(
            Fix(
                repair,
                kind="command",
                note="In the environment of istiod's Deployment, or in the installation's values.",
            ),
        ),
    )


@check(
    "MNB0402", "Do probes reach applications behind a proxy?", requires=["probes", "pods"], severity=Severity.WARNING
)
def rewritten(probes: pd.DataFrame, pods: pd.DataFrame) -> Iterator[Finding]:
    """HTTP probes of apps that were not rewritten; the kubelet has no mesh certificate."""
    meshed = set(pods[pods.has_sidecar].proxy)
    apps = probes[
        probes.proxy.isin(meshed) & (probes.container != "istio-proxy") & probes.type.isin(["http-get", "grpc"])
    ]
    plain = apps[~apps.rewritten]
    if apps.empty:
        yield passed("MNB0402", "No application behind a proxy has an HTTP or gRPC probe.")
    elif plain.empty:
        yield passed("MNB0402", f"All {len(apps)} HTTP and gRPC probes of applications go by way of the agent.")
    for (proxy, container), rows in plain.groupby(["proxy", "container"]):
        pod, _, namespace = str(proxy).rpartition(".")
        yield Finding(
            "MNB0402",
            Status.FAIL,
            Severity.WARNING,
            Subject("Pod", pod, namespace),
            f"Probes of container {container} ask the application itself: {', '.join(rows.probe)}.",
            cause="They were not rewritten (sidecar.istio.io/rewriteAppHTTPProbers, or the container came later). With "
            "strict mutual TLS the kubelet, which has no certificate, is refused: the pod is restarted or never ready.",
            evidence=(Evidence.of("The probes.", rows, source="mesh.probes()"),),
            fix=(
                Fix(
                    f"kubectl -n {namespace} annotate pod {pod} sidecar.istio.io/rewriteAppHTTPProbers=true",
                    kind="command",
                    note="Set it in the template of the workload; a pod that runs is not injected again.",
                ),
            ),
            confidence=0.8,
        )
