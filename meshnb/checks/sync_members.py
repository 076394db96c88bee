"""Who takes part in the mesh: pods no istiod knows, proxies at two istiods, versions that do not fit."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from meshnb.checks.registry import check, passed
from meshnb.checks.sync import proxy_subject
from meshnb.model.debug_endpoints import minor
from meshnb.model.finding import Evidence, Finding, Fix, Severity, Status, Subject

if TYPE_CHECKING:
    import pandas as pd

_ENDPOINTS = 'mesh.endpoints(cluster="xds-grpc")'


@check(
    "MNB0312",
    "Is every pod with a proxy connected to an istiod?",
    requires=["proxy_status", "pods", "debug_endpoints"],
)
def missing(proxy_status: pd.DataFrame, pods: pd.DataFrame, debug_endpoints: pd.DataFrame) -> Iterator[Finding]:
    """Running pods with a proxy that no istiod lists; undecided while an istiod was not asked."""
    meshed = pods[pods.has_sidecar & (pods.phase == "Running") & ~pods.terminating]
    lost = meshed[~meshed.proxy.isin(proxy_status.proxy)]
    asked = set(debug_endpoints[(debug_endpoints.endpoint == "syncz") & debug_endpoints.bytes.notna()].istiod)
    istiods = set(pods[(pods.app == "istiod") & (pods.phase == "Running")].pod)
    silent = sorted(istiods - asked)
    if lost.empty:
        yield passed("MNB0312", f"Each of the {len(meshed)} pods with a proxy is connected to an istiod.")
    for pod in lost.itertuples():
        row = lost[(lost.pod == pod.pod) & (lost.namespace == pod.namespace)]
        columns = ["namespace", "pod", "phase", "ready", "proxy_ready", "revision", "created"]
        finding = Finding(
            "MNB0312",
            Status.UNKNOWN if silent else Status.FAIL,
            Severity.ERROR,
            proxy_subject(pod.proxy),
            f"No istiod that was asked lists it; not asked: {', '.join(silent)}."
            if silent
            else "It runs a proxy, and no istiod lists it.",
            cause="It gets no configuration: it cannot reach istiod (network policy, DNS, a wrong revision), istiod "
            "does not take its identity, or its agent died.",
            evidence=(Evidence.of("The pod.", row[columns], source="mesh.pods()"),),
            fix=(
                Fix(
                    f"kubectl -n {pod.namespace} logs {pod.pod} -c istio-proxy --since 10m | grep -iE 'xds|warn'",
                    kind="command",
                    note="The agent says why it cannot connect.",
                ),
            ),
            verify=f"istioctl proxy-status {pod.proxy}",
            confidence=0.95,
        )
        yield finding


@check(
    "MNB0313",
    "Is every proxy connected to one istiod, and does it have a pod?",
    requires=["proxy_status"],
    uses=["pods"],
)
def doubled(proxy_status: pd.DataFrame, pods: pd.DataFrame | None) -> Iterator[Finding]:
    """Proxies two istiods list, and proxies without a pod."""
    clean = True
    istiods = proxy_status.dropna(subset=["istiod"]).groupby("proxy").istiod.unique()
    for proxy, names in istiods[istiods.map(len) > 1].items():
        clean = False
        rows = proxy_status[proxy_status.proxy == proxy][["proxy", "istiod", "type", "status", "age_s"]]
        yield Finding(
            "MNB0313",
            Status.FAIL,
            Severity.WARNING,
            proxy_subject(str(proxy)),
            f"{len(names)} istiods list it: {', '.join(sorted(names))}.",
            cause="It has just moved from one to the other (each connection ends after 30 minutes), or an old "
            "connection was never closed. If it stays, what the old istiod says of it is not to be trusted.",
            evidence=(Evidence.of("What each says of it.", rows, source="mesh.proxy_status()"),),
            verify="istioctl proxy-status",
            confidence=0.8,
        )
    clusters = proxy_status.cluster.dropna().nunique()
    gone = sorted(set(proxy_status.proxy) - set(pods.proxy)) if pods is not None and clusters <= 1 else []
    for proxy in gone:
        clean = False
        rows = proxy_status[proxy_status.proxy == proxy][["proxy", "istiod", "type", "status", "age_s"]]
        yield Finding(
            "MNB0313",
            Status.FAIL,
            Severity.INFO,
            proxy_subject(proxy),
            "istiod lists it and there is no such pod.",
            cause="A pod that was deleted a moment ago, a virtual machine, or a namespace that was not captured.",
            evidence=(Evidence.of("What istiod says of it.", rows, source="mesh.proxy_status()"),),
            verify="istioctl proxy-status",
            confidence=0.6,
        )
    if clean:
        yield passed("MNB0313", f"Each of the {len(istiods)} proxies is listed by one istiod.")


@check(
    "MNB0314",
    "Do the versions of proxies and istiod fit?",
    requires=["proxy_status"],
    uses=["istiods"],
    severity=Severity.WARNING,
)
def skew(proxy_status: pd.DataFrame, istiods: pd.DataFrame | None) -> Iterator[Finding]:
    """Istiod may be one minor release ahead of a proxy; a proxy may not be ahead."""
    rows = proxy_status.drop_duplicates(["proxy", "istiod"]).copy()
    known = {} if istiods is None else dict(zip(istiods.istiod, istiods.version.astype(object), strict=True))
    rows["istiod_version"] = rows.istiod_version.fillna(rows.istiod.map(known).astype("string[pyarrow]"))
    proxies, planes = rows.version.map(_minor), rows.istiod_version.map(_minor)
    sized = rows[proxies.notna() & planes.notna()]
    if sized.empty and len(rows) and (rows.version == rows.istiod_version).fillna(False).all():
        yield passed("MNB0314", f"Proxies and istiod run the same build, {rows.version.iloc[0]}.")
        return
    if sized.empty:
        what = "the proxies" if planes.notna().any() else "istiod"
        yield Finding(
            "MNB0314", Status.UNKNOWN, Severity.WARNING, Subject("Mesh"), f"The version of {what} is not known."
        )
        return
    ahead = (proxies - planes).loc[sized.index]
    for difference, group in sized.groupby(ahead):
        if -1 <= difference <= 0:
            continue
        yield _skewed(int(difference), group)
    if ahead.between(-1, 0).all():
        versions = ", ".join(sorted(set(sized.version)))
        planes_text = ", ".join(sorted(set(sized.istiod_version)))
        yield passed("MNB0314", f"Proxies run {versions}, istiod runs {planes_text}: they fit.")


@check("MNB0317", "Is every Envoy connected to its control plane?", requires=["endpoints"])
def connected(endpoints: pd.DataFrame) -> Iterator[Finding]:
    """Envoy's own view, which holds also when istiod does not answer: one request is open on `xds-grpc` while it is."""
    control = endpoints[(endpoints.cluster == "xds-grpc") & endpoints.rq_active.notna()]
    if control.empty:
        why = "No /clusters page of a proxy shows its cluster xds-grpc."
        yield Finding("MNB0317", Status.UNKNOWN, Severity.ERROR, Subject("Mesh"), why)
        return
    open_requests = control.groupby("proxy").rq_active.sum()
    lost = sorted(open_requests[open_requests == 0].index)
    if not lost:
        yield passed("MNB0317", f"All {len(open_requests)} Envoys are connected to their control plane.")
        return
    columns = ["proxy", "endpoint", "cx_active", "cx_connect_fail", "rq_active", "rq_error", "rq_total"]
    every = len(lost) == len(open_requests)
    yield Finding(
        "MNB0317",
        Status.FAIL,
        Severity.ERROR,
        Subject("ControlPlane") if every else proxy_subject(lost[0]),
        f"{'None' if every else f'{len(lost)}'} of {len(open_requests)} Envoys "
        f"{'is' if every else 'are not'} connected to the control plane{'' if every else ': ' + ', '.join(lost[:5])}.",
        cause="They go on with the configuration they have: traffic flows, changes do not arrive, and "
        "certificates are not renewed." + (" istiod is down or cannot be reached by anyone." if every else ""),
        evidence=(
            Evidence.of("Their connection to it.", control[control.proxy.isin(lost)][columns], source=_ENDPOINTS),
        ),
        fix=(Fix("kubectl -n istio-system get pods -l app=istiod", kind="command"),),
        verify="istioctl proxy-status",
        confidence=0.95,
    )


def lag(proxy: str, istiod: str) -> int | None:
    """Minor releases a proxy is behind its istiod; negative if it is ahead, nothing if either is unknown.

    Example:
        >>> lag("1.17.8", "1.18.2"), lag("1.19.0", "1.18.2"), lag("latest", "1.18.2")
        (1, -1, None)
    """
    older, newer = _minor(proxy), _minor(istiod)
    return None if older is None or newer is None else newer - older


def _minor(version: object) -> int | None:
    number = minor(str(version)) if isinstance(version, str) else None
    return number[0] * 1000 + number[1] if number else None


def _skewed(difference: int, rows: pd.DataFrame) -> Finding:
    which = "newer than" if difference > 0 else "more than one minor release behind"
    versions = ", ".join(sorted(set(rows.version)))
    planes = ", ".join(sorted(set(rows.istiod_version)))
    return Finding(
        "MNB0314",
        Status.FAIL,
        Severity.ERROR if difference > 0 else Severity.WARNING,
        Subject("Proxies", versions),
        f"{len(rows)} proxies of {versions} are {which} their istiod ({planes}).",
        cause="istiod may be one minor release ahead of its proxies, and proxies must not be ahead of it. Beyond that "
        "fields are unknown to one side and dropped without a word.",
        evidence=(
            Evidence.of(
                "They are:", rows[["proxy", "version", "istiod", "istiod_version"]], source="mesh.proxy_status()"
            ),
        ),
        fix=(
            Fix(
                "kubectl -n NAMESPACE rollout restart deployment NAME",
                kind="command",
                note="A new pod is injected with the proxy of istiod's release.",
            ),
        ),
        verify="istioctl version",
        confidence=0.9,
    )
