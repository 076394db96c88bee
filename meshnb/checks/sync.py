"""Is the data plane up to date? What istiod sent, what proxies took, and who is missing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from meshnb.checks.blame import Suspect, blame
from meshnb.checks.registry import check, passed
from meshnb.model.debug_endpoints import minor
from meshnb.model.finding import Evidence, Finding, Fix, Severity, Status, Subject

if TYPE_CHECKING:
    import pandas as pd

IN_FLIGHT_S = 10.0
"""A push not acknowledged for less than this may still be on its way."""

SURE = 0.8
"""From here on a rejection is said to be about the object its words point at."""

_KEEPS = (
    "The proxy keeps the last configuration it accepted, for everything of that type, also for objects that have "
    "nothing wrong."
)
_COLUMNS = ["proxy", "istiod", "version", "type", "status", "never_acknowledged", "age_s"]
_SOURCE = "mesh.proxy_status()"
_VERIFY = "istioctl proxy-status"


def proxy_subject(proxy: str) -> Subject:
    """The subject of a proxy's name, `POD.NAMESPACE`."""
    pod, _, namespace = proxy.rpartition(".")
    return Subject("Proxy", pod or proxy, namespace if pod else "")


@check("MNB0310", "Has every proxy acknowledged what istiod sent it last?", requires=["proxy_status"])
def stale(proxy_status: pd.DataFrame) -> Iterator[Finding]:
    """STALE proxies: sent, not acknowledged. Many of one istiod are one finding about that istiod."""
    if unsaid := _nothing_said("MNB0310", proxy_status):
        yield unsaid
        return
    late = proxy_status[proxy_status.status == "STALE"]
    if late.empty:
        count = proxy_status.proxy.nunique()
        yield passed("MNB0310", f"All {count} proxies have acknowledged what istiod sent them last.")
        return
    crowded = set()
    for istiod, rows in late.groupby("istiod"):
        served = proxy_status[proxy_status.istiod == istiod].proxy.nunique()
        count = rows.proxy.nunique()
        if count >= 5 and count >= served / 2:
            crowded.add(istiod)
            yield _crowd(str(istiod), rows, count, served)
    for proxy, rows in late[~late.istiod.isin(crowded)].groupby("proxy"):
        yield _late(str(proxy), rows)


def _nothing_said(code: str, proxy_status: pd.DataFrame) -> Finding | None:
    """An `unknown` if no row carries a status."""
    if proxy_status.status.notna().any():
        return None
    why = "No proxy is connected to any istiod that was asked."
    if len(proxy_status):
        why = "This layout of istioctl proxy-status names types without their status; use -v 1 or -o json."
    return Finding(code, Status.UNKNOWN, Severity.ERROR, Subject("Mesh"), why)


def _late(proxy: str, rows: pd.DataFrame) -> Finding:
    types = ", ".join(sorted(rows.type))
    version = str(rows.version.iloc[0])
    age = rows.age_s.max()
    known = rows.age_s.notna().any()
    if set(rows.type) == {"RDS"} and rows.never_acknowledged.fillna(False).all() and minor(version) == (1, 22):
        severity, confidence = Severity.INFO, 0.3
        cause = (
            "Istio 1.22 reports RDS as never acknowledged for proxies that need no route over RDS, a fault of the "
            "report alone (istio/istio#51612). Compare the proxy's routes with what istiod would send before you act."
        )
    elif known and age < IN_FLIGHT_S:
        severity, confidence = Severity.INFO, 0.5
        cause = f"It was sent {age:.0f} s ago and may be on its way still. Capture again."
    else:
        severity = Severity.ERROR if known else Severity.WARNING
        confidence = 0.95 if known else 0.7
        cause = (
            "istiod sent it and has no answer. The connection is stuck, or the proxy is too busy to answer: it runs on "
            "with its old configuration."
        )
    since = f" for {_span(age)}" if known else ""
    pod, _, namespace = proxy.rpartition(".")
    return Finding(
        "MNB0310",
        Status.FAIL,
        severity,
        proxy_subject(proxy),
        f"{types} is STALE{since}: istiod {rows.istiod.iloc[0]} sent it, the proxy did not acknowledge it.",
        cause=cause,
        evidence=(Evidence.of(f"Its types that are STALE: {types}.", rows[_COLUMNS], source=_SOURCE),),
        fix=(
            Fix(
                f"kubectl -n {namespace or 'NAMESPACE'} logs {pod} -c istio-proxy --since 10m | grep -i xds",
                kind="command",
                note="First see why the connection is stuck; restarting the pod is the last resort.",
            ),
        ),
        verify=f"{_VERIFY} {pod}.{namespace}",
        confidence=confidence,
    )


def _crowd(istiod: str, rows: pd.DataFrame, count: int, served: int) -> Finding:
    return Finding(
        "MNB0310",
        Status.FAIL,
        Severity.ERROR,
        Subject("Istiod", istiod),
        f"{count} of the {served} proxies of istiod {istiod} are STALE.",
        cause="So many at once point at the istiod or its network, not at the proxies: CPU limits, throttled pushes, a "
        "partition.",
        evidence=(Evidence.of("Proxies that did not acknowledge.", rows[_COLUMNS], source=_SOURCE),),
        fix=(Fix(f"kubectl -n istio-system top pod {istiod} --containers", kind="command"),),
        verify=_VERIFY,
        confidence=0.9,
    )


@check(
    "MNB0311",
    "Does every proxy accept what istiod sends it?",
    requires=["proxy_status"],
    uses=["objects"],
)
def rejected(proxy_status: pd.DataFrame, objects: pd.DataFrame | None) -> Iterator[Finding]:
    """Pushes that Envoy rejected (NACK), with its words and the object they point at."""
    if unsaid := _nothing_said("MNB0311", proxy_status):
        yield unsaid
        return
    errors = proxy_status[proxy_status.status == "ERROR"]
    if errors.empty:
        yield passed("MNB0311", "No proxy rejects its configuration.")
        return
    nameless: dict[str, list[pd.DataFrame]] = {}
    for (kind, text), rows in errors.assign(error=errors.error.fillna("").str.strip()).groupby(["type", "error"]):
        # the objects of any of the proxies' namespaces may be the cause; the first proxy stands for all
        suspects = blame(str(text), namespace=str(rows.proxy.iloc[0]).rpartition(".")[2], objects=objects)
        if suspects and suspects[0].confidence >= SURE:
            yield _caused(str(kind), str(text), rows, suspects)
        else:
            for proxy, own in rows.groupby("proxy"):
                nameless.setdefault(str(proxy), []).append(own)
    for proxy, parts in nameless.items():
        yield _unexplained(proxy, parts)


def _caused(kind: str, text: str, rows: pd.DataFrame, suspects: list[Suspect]) -> Finding:
    subject, proxies = suspects[0].subject, sorted(set(rows.proxy))
    who = proxies[0] if len(proxies) == 1 else f"{len(proxies)} proxies"
    table = tuple({"object": str(s.subject), "why": s.why, "confidence": s.confidence} for s in suspects)
    where = f"-n {subject.namespace} " if subject.namespace else ""
    return Finding(
        "MNB0311",
        Status.FAIL,
        Severity.ERROR,
        subject,
        f"Envoy rejects {kind} with it, at {who}: {text}",
        cause=_KEEPS,
        evidence=(
            Evidence.of("What the proxies answered.", rows[[*_COLUMNS, "error"]], source=_SOURCE),
            Evidence("Objects the words point at.", table, "mesh.objects()", len(table)),
        ),
        fix=(
            Fix(
                f"kubectl {where}edit {subject.kind.lower()} {subject.name}",
                kind="command",
                note="Correct what the words name, or take the last change back.",
            ),
            _log(proxies[0]),
        ),
        verify=f"{_VERIFY} -v 1",
        confidence=suspects[0].confidence,
    )


def _unexplained(proxy: str, parts: list[pd.DataFrame]) -> Finding:
    said = "; ".join(f"{rows.type.iloc[0]}: {rows.error.iloc[0] or 'istiod does not say why'}" for rows in parts)
    evidence = tuple(
        Evidence.of("What the proxy answered.", rows[[*_COLUMNS, "error"]], source=_SOURCE) for rows in parts
    )
    return Finding(
        "MNB0311",
        Status.FAIL,
        Severity.ERROR,
        proxy_subject(proxy),
        f"Envoy rejects {said}",
        cause=f"{_KEEPS} No object could be named from Envoy's words.",
        evidence=evidence,
        fix=(_log(proxy),),
        verify=f"{_VERIFY} -v 1",
        confidence=0.9,
    )


def _log(proxy: str) -> Fix:
    pod, _, namespace = proxy.rpartition(".")
    return Fix(
        f"kubectl -n {namespace or 'NAMESPACE'} logs {pod} -c istio-proxy | grep -i rejected",
        kind="command",
        note="Envoy's log has the same words with the time.",
    )


@check("MNB0315", "Was every proxy sent clusters and listeners?", requires=["proxy_status"])
def nothing_sent(proxy_status: pd.DataFrame) -> Iterator[Finding]:
    """Connected proxies that were never sent clusters or listeners: they serve nothing."""
    if unsaid := _nothing_said("MNB0315", proxy_status):
        yield unsaid
        return
    empty = proxy_status[(proxy_status.status == "NOT SENT") & proxy_status.type.isin(["CDS", "LDS"])]
    if empty.empty:
        yield passed("MNB0315", "Every connected proxy was sent clusters and listeners.")
    for proxy, rows in empty.groupby("proxy"):
        yield Finding(
            "MNB0315",
            Status.FAIL,
            Severity.WARNING,
            proxy_subject(str(proxy)),
            f"istiod never sent it {' and '.join(sorted(rows.type))}.",
            cause="For routes or extensions NOT SENT means there is nothing to send. Without clusters and listeners a "
            "proxy serves nothing: it has just connected, or istiod does not know its services.",
            evidence=(Evidence.of("What istiod has sent it.", rows[_COLUMNS], source=_SOURCE),),
            verify=_VERIFY,
            confidence=0.8,
        )


def _span(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
