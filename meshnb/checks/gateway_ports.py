"""A Gateway opens a port that nothing leads to: no pod, no port of the Service, or no listener in Envoy.

A Gateway names the port of the Service in front of its pods. The Service sends it on to a target port, and there the
gateway's Envoy must listen. Whichever link is missing, callers see a refused or silent connection and no log line.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from meshnb.checks.registry import check, passed
from meshnb.model.finding import Evidence, Finding, Fix, Severity, Status, Subject

if TYPE_CHECKING:
    import pandas as pd

CODE = "MNB0102"


@check(
    CODE,
    "Does every port of a Gateway lead to a listener?",
    requires=("gateways", "services", "pods", "listeners"),
)
def gateway_ports(
    *, gateways: pd.DataFrame, services: pd.DataFrame, pods: pd.DataFrame, listeners: pd.DataFrame
) -> list[Finding]:
    """One finding per Gateway port whose chain Gateway, Service, pod, listener is broken."""
    servers = gateways[gateways.port.notna()]
    if servers.empty:
        return [passed(CODE, "No Gateway opens a port.")]
    listening = {(row.proxy, int(row.port)) for row in listeners.itertuples() if row.state == "active"}
    captured = set(listeners.proxy)
    found = []
    for server in servers.itertuples():
        behind = _selected(pods, server.selector)
        reason, fix = _broken(server, behind, services, listening, captured)
        if reason:
            found.append(_finding(server, reason, fix, behind, listeners))
    return found or [passed(CODE, f"All {len(servers)} ports of Gateways lead to a listener.")]


def _broken(
    server: Any, behind: pd.DataFrame, services: pd.DataFrame, listening: set[tuple[str, int]], captured: set[str]
) -> tuple[str, str]:
    """What is missing and the command that shows it; empty if the chain is whole or the proxy was not captured."""
    port, selector = int(server.port), server.selector
    if behind.empty:
        labels = ",".join(f"{key}={value}" for key, value in json.loads(selector).items())
        return (
            f"no pod has the labels {labels} that the Gateway selects",
            f"kubectl get pods -A -l {labels} --show-labels",
        )
    targets = _targets(port, behind, services)
    namespace = behind.iloc[0]["namespace"]
    if not targets:
        return f"no Service in front of its pods has port {port}", f"kubectl -n {namespace} get service -o wide"
    lacking = [
        (pod.proxy, target)
        for pod in behind.itertuples()
        for target in targets
        if pod.proxy in captured and isinstance(target, int) and (pod.proxy, target) not in listening
    ]
    if not lacking:
        return "", ""
    proxy, target = lacking[0]
    shown = f"istioctl proxy-config listeners {proxy} --port {target}"
    return f"the Service sends port {port} on to {target}, where {proxy} has no active listener", shown


def _selected(pods: pd.DataFrame, selector: str) -> pd.DataFrame:
    wanted = json.loads(selector)
    return pods[[bool(wanted) and wanted.items() <= json.loads(labels).items() for labels in pods.labels]]


def _targets(port: int, behind: pd.DataFrame, services: pd.DataFrame) -> list[int | str]:
    """Target ports of a Service port, of the Services that select the pods; a name is kept as it is."""
    first = behind.iloc[0]
    labels = json.loads(first["labels"])
    near = services[services.namespace == first["namespace"]]
    selecting = near[[bool(json.loads(s)) and json.loads(s).items() <= labels.items() for s in near.selector]]
    ports = [entry for text in selecting.ports for entry in json.loads(text)]
    return [entry.get("targetPort") or port for entry in ports if entry.get("port") == port]


def _finding(server: Any, reason: str, fix: str, behind: pd.DataFrame, listeners: pd.DataFrame) -> Finding:
    there = listeners[listeners.proxy.isin(set(behind.proxy))]
    columns = ["proxy", "listener", "address", "port", "state", "error_state"]
    return Finding(
        CODE,
        Status.FAIL,
        Severity.ERROR,
        Subject("Gateway", server.gateway, server.namespace),
        f"Port {int(server.port)} ({server.protocol}) leads nowhere: {reason}.",
        cause="A Gateway names the port of the Service in front of its pods; the Service's target port is where their "
        "Envoy must listen. A listener Envoy rejected is missing too: its error stands in the table of listeners.",
        evidence=(Evidence.of("listeners of the pods it selects", there[columns], source="mesh.listeners()"),),
        fix=(Fix(fix, kind="command"),),
        verify=f"curl -v http://GATEWAY:{int(server.port)}/",
        refs=("KIA0302",) if behind.empty else ("IST0162",) if "no Service" in reason else (),
    )
