"""Do the components listen where they should, and nowhere they should not?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from meshnb.checks.registry import check, passed
from meshnb.model.finding import Evidence, Finding, Fix, Severity, Status, Subject
from meshnb.model.ports import ports_of

if TYPE_CHECKING:
    import pandas as pd

_SOURCE = "mesh.listening_ports()"
_COLUMNS = ["proxy", "protocol", "address", "port", "process", "role"]


def _pod(proxy: object) -> Subject:
    pod, _, namespace = str(proxy).rpartition(".")
    return Subject("Pod", pod or "", namespace if pod else "") if isinstance(proxy, str) else Subject("Pod")


@check("MNB0403", "Are admin ports reachable from the pod alone?", requires=["listening_ports"])
def exposed(listening_ports: pd.DataFrame) -> Iterator[Finding]:
    """Ports 15000, 15004 and 9876 must be bound to loopback."""
    clean = True
    for (proxy, component), rows in listening_ports.groupby(["proxy", "component"], dropna=False):
        admin = {number: port for number, port in ports_of(str(component)).items() if port.loopback}
        for number, open_rows in rows[rows.port.isin(list(admin)) & ~rows.loopback].groupby("port"):
            clean = False
            port = admin[int(number)]
            yield Finding(
                "MNB0403",
                Status.FAIL,
                Severity.ERROR,
                _pod(proxy),
                f"Port {number}, {port.role}, is bound to {open_rows.address.iloc[0]} instead of loopback.",
                cause=f"{port.risk} A setting or a custom bootstrap bound it wider.",
                evidence=(Evidence.of("The socket.", open_rows[_COLUMNS], source=_SOURCE),),
                verify="kubectl exec POD -c istio-proxy -- ss -tnl",
            )
    if clean:
        yield passed("MNB0403", "Admin ports are bound to loopback.")


@check("MNB0404", "Does every port of a component have its process?", requires=["listening_ports"])
def owners(listening_ports: pd.DataFrame) -> Iterator[Finding]:
    """Ports that nobody or the wrong process listens on."""
    clean = True
    known = listening_ports[listening_ports.component.notna()]
    lacking: dict[tuple[str, ...], list[str]] = {}
    for (proxy, component), rows in known.groupby(["proxy", "component"], dropna=False):
        ports = ports_of(str(component))
        wrong = rows[
            rows.process.notna() & rows.expected_process.notna() & (rows.process != rows.expected_process)
        ].drop_duplicates(["port", "process"])
        for row in wrong.itertuples():
            clean = False
            yield Finding(
                "MNB0404",
                Status.FAIL,
                Severity.ERROR,
                _pod(proxy),
                f"Port {row.port} belongs to {row.expected_process} ({row.role}), and {row.process} listens there.",
                cause="The application uses a port of the mesh. The component whose port it is cannot start there, or "
                "traffic is sent past it.",
                evidence=(Evidence.of("The socket.", rows[rows.port == row.port][_COLUMNS], source=_SOURCE),),
                fix=(Fix("Move the application to a port outside 15000 to 15090.", kind="command"),),
            )
        missing = [p for number, p in sorted(ports.items()) if p.required and number not in set(rows.port)]
        if missing:
            clean = False
            key = tuple(f"{p.port} ({p.owner}: {p.role})" for p in missing)
            lacking.setdefault(key, []).append(str(proxy) if isinstance(proxy, str) else "")
    for ports_missing, proxies in lacking.items():
        yield _unserved(known, ports_missing, proxies)
    if clean and known.empty:
        why = "No port of proxy, istiod or ztunnel is among those that listen."
        yield Finding("MNB0404", Status.UNKNOWN, Severity.ERROR, Subject("Mesh"), why)
    elif clean:
        yield passed("MNB0404", f"The ports of {known.proxy.nunique()} pods have their processes.")


def _unserved(known: pd.DataFrame, ports: tuple[str, ...], proxies: list[str]) -> Finding:
    """Ports nobody listens on, of all pods that lack the same."""
    rows = known[known.proxy.isin(proxies) | (known.proxy.isna() & ("" in proxies))]
    spaces = {proxy.rpartition(".")[2] for proxy in proxies}
    many = Subject("Pods", f"without {ports[0]}", spaces.pop() if len(spaces) == 1 else "")
    where = f" in {len(proxies)} pods" if len(proxies) > 1 else ""
    return Finding(
        "MNB0404",
        Status.FAIL,
        Severity.WARNING,
        many if len(proxies) > 1 else _pod(proxies[0] or None),
        f"Nobody listens on {', '.join(ports)}{where}.",
        cause="The process has not started, has died, or was told to use another port.",
        evidence=(Evidence.of("What listens.", rows[_COLUMNS], source=_SOURCE, limit=20),),
        confidence=0.8,
    )


@check(
    "MNB0405",
    "Does istiod serve configuration over TLS only?",
    requires=["istiods"],
    uses=["listening_ports"],
    severity=Severity.WARNING,
)
def plaintext(istiods: pd.DataFrame, listening_ports: pd.DataFrame | None) -> Iterator[Finding]:
    """Port 15010 gives configuration and certificates in plain text to anyone."""
    if istiods.empty:
        yield Finding("MNB0405", Status.UNKNOWN, Severity.WARNING, Subject("Mesh"), "There is no pod of istiod.")
        return
    clean = True
    for row in istiods.itertuples():
        name = f"{row.istiod}.{row.namespace}"
        sockets = None
        if listening_ports is not None:
            of_pod = listening_ports[listening_ports.proxy == name]
            sockets = of_pod[of_pod.port == 15010] if len(of_pod) else None
        is_open = len(sockets) > 0 if sockets is not None else row.plaintext_xds
        if not is_open:
            continue
        clean = False
        seen = Evidence.of("The socket.", sockets[_COLUMNS], source=_SOURCE) if sockets is not None else None
        told = Evidence("Its arguments do not close it.", ({"args": list(row.args)},), "mesh.istiods()", 1)
        yield Finding(
            "MNB0405",
            Status.FAIL,
            Severity.WARNING,
            Subject("Pod", row.istiod, row.namespace),
            "Port 15010 is open: xDS and certificates in plain text, without authentication.",
            cause="It is on by default. Proxies of today use 15012; nothing should need 15010.",
            evidence=(seen or told,),
            fix=(
                Fix(
                    "pilot-discovery discovery --grpcAddr=",
                    kind="command",
                    note="An empty address closes it; until then keep others away with a NetworkPolicy.",
                ),
            ),
            confidence=1.0 if sockets is not None else 0.8,
        )
    if clean:
        yield passed("MNB0405", f"None of the {len(istiods)} istiods serves plain text.")
