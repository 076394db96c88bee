"""Does istiod know what Kubernetes has, and is it sized and scaled for that?"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from meshnb.checks.registry import check, passed
from meshnb.model.finding import Evidence, Finding, Fix, Severity, Status, Subject

if TYPE_CHECKING:
    import pandas as pd

_COUNTED = {"Service": "services", "VirtualService": "virtual_services"}

# Istio's performance page: 1,000 services and 2,000 proxies were served by one istiod with 1 vCPU and 1.5 GB.
_SERVICES, _PROXIES, _CPU, _MEMORY = 1000.0, 2000.0, 1.0, 1.5e9
_SOURCE = "https://istio.io/latest/docs/ops/deployment/performance-and-scalability/"
# proxies stay with their istiod for that long (keepaliveMaxServerConnectionAge); a new one has few before
_STAY_S = 1800.0
_SHORT_OF = ("cpu_of_limit", "cpu_throttled", "memory_of_limit", "convergence_p99", "queue_p99")
_SUFFIX = {"": 1.0, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "Ki": 2.0**10, "Mi": 2.0**20, "Gi": 2.0**30, "Ti": 2.0**40}


@check(
    "MNB0356",
    "Does istiod know as many services as Kubernetes has?",
    requires=["control_plane", "objects"],
    severity=Severity.INFO,
)
def counts(control_plane: pd.DataFrame, objects: pd.DataFrame) -> Iterator[Finding]:
    """`pilot_services` and `pilot_virt_services` against the objects of the snapshot."""
    known = control_plane.set_index("measure")["last"]
    for kind, measure in _COUNTED.items():
        subject = Subject(kind)
        held = int((objects["kind"] == kind).sum())
        if known.isna()[measure]:
            yield Finding("MNB0356", Status.UNKNOWN, Severity.INFO, subject, f"istiod does not report {measure}.")
            continue
        istiod = round(float(known[measure]))
        if istiod >= held:
            more = (
                f" {istiod - held} more may be of ServiceEntries, or of namespaces not captured."
                if istiod > held
                else ""
            )
            yield passed(
                "MNB0356", f"istiod knows {istiod} {kind} objects, Kubernetes has {held}.{more}", subject=subject
            )
            continue
        row = control_plane[control_plane["measure"] == measure][["measure", "last", "query"]]
        yield Finding(
            "MNB0356",
            Status.FAIL,
            Severity.INFO,
            subject,
            f"istiod knows {istiod} {kind} objects, Kubernetes has {held}.",
            cause="discoverySelectors or exportTo leave them out, or istiod has not heard of them.",
            evidence=(Evidence.of("what istiod counts", row, source="mesh.control_plane()"),),
            verify=f"kubectl get {kind.lower()} -A | wc -l",
            confidence=0.6,
        )


@check(
    "MNB0357",
    "Is istiod sized for its load, by Istio's reference?",
    requires=["control_plane", "istiod_settings"],
    severity=Severity.INFO,
)
def size(control_plane: pd.DataFrame, istiod_settings: pd.DataFrame) -> Iterator[Finding]:
    """Requests against 1 vCPU and 1.5 GB for 1,000 services and 2,000 proxies, in proportion."""
    known = control_plane.set_index("measure")["peak"]
    values = istiod_settings.set_index("setting")["value"].to_dict()
    subject = Subject("Deployment", "istiod")
    measured = [name for name in ("services", "connections_by_istiod", "istiods") if not known.isna()[name]]
    cpu, memory = quantity(values.get("requests.cpu")), quantity(values.get("requests.memory"))
    if len(measured) < 3 or cpu is None or memory is None:
        why = "istiod's load was not measured" if len(measured) < 3 else "istiod requests no CPU or no memory"
        yield Finding("MNB0357", Status.UNKNOWN, Severity.INFO, subject, f"Cannot be judged: {why}.")
        return
    proxies = float(known["connections_by_istiod"]) / max(float(known["istiods"]), 1.0)
    load = max(float(known["services"]) / _SERVICES, proxies / _PROXIES)
    need_cpu, need_memory = load * _CPU, load * _MEMORY
    said = (
        f"{known['services']:.0f} services and {proxies:.0f} proxies for one istiod ask for {need_cpu:.2g} CPU and"
        f" {need_memory / 1e9:.2g} GB; it requests {cpu:.2g} CPU and {memory / 1e9:.2g} GB"
    )
    if cpu >= need_cpu and memory >= need_memory:
        yield passed("MNB0357", f"{said}.", subject=subject)
        return
    wanted = f"pilot:\n  resources:\n    requests:\n      cpu: {max(need_cpu, 0.5) * 1000:.0f}m\n"
    yield Finding(
        "MNB0357",
        Status.FAIL,
        Severity.INFO,
        subject,
        f"{said}.",
        cause="Below its request istiod gets what others leave; at a push there may be nothing left.",
        fix=(Fix(f"{wanted}      memory: {max(need_memory, 1e9) / 2**20:.0f}Mi\n"),),
        docs=_SOURCE,
        confidence=0.5,
    )


@check(
    "MNB0358",
    "Can autoscaling help istiod at its peaks?",
    requires=["control_plane", "istiod_settings"],
    severity=Severity.WARNING,
)
def autoscaling(control_plane: pd.DataFrame, istiod_settings: pd.DataFrame) -> Iterator[Finding]:
    """An autoscaler suits load that grows over days or weeks; a peak is over before a new istiod has proxies."""
    setting = istiod_settings[istiod_settings["setting"] == "autoscaling"]
    scaled = str(setting["value"].iloc[0]) if len(setting) else ""
    low, _, high = scaled.partition(" to ")
    subject = Subject("Setting", "autoscaling")
    if (scaled and low == high) or scaled == "none":
        yield passed("MNB0358", "istiod is not autoscaled.", subject=subject)
        return
    judged = control_plane[control_plane["measure"].isin(_SHORT_OF)]
    seen = judged[judged["verdict"] != "unknown"]
    if not scaled or seen.empty:
        why = "neither CPU nor memory nor delays were measured" if scaled else "no autoscaler was captured"
        yield Finding("MNB0358", Status.UNKNOWN, Severity.WARNING, subject, f"Cannot be judged: {why}.")
        return
    bad = seen[seen["verdict"].isin(["warning", "critical"])]
    short = bad[bad["held_s"] < _STAY_S]
    if short.empty:
        said = "and it lasted, so new istiods can help" if len(bad) else "and it was at no limit"
        yield passed("MNB0358", f"istiod is scaled from {scaled}, {said}.", subject=subject)
        return
    yield Finding(
        "MNB0358",
        Status.FAIL,
        Severity.WARNING,
        subject,
        f"istiod is scaled from {scaled}, and its peaks were too short for that: {', '.join(short['what'])}.",
        cause="Proxies stay with their istiod for 30 minutes by default: one that starts at a peak serves few of them.",
        evidence=(
            Evidence.of(
                "how long each was above its limit",
                short[["measure", "peak", "held_s", "statement"]],
                source="mesh.control_plane()",
            ),
        ),
        fix=(
            Fix(
                f"pilot:\n  autoscaleMin: {int(low) + 1}\n",
                note="Room for the peaks is there before they come; let autoscaling follow growth over weeks.",
            ),
        ),
        confidence=0.7,
    )


def quantity(text: object) -> float | None:
    """A quantity of Kubernetes as a number.

    Example:
        >>> quantity("100m"), quantity("1.5Gi"), quantity(None)
        (0.1, 1610612736.0, None)
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)(m|[kMGT]i?|Ki)?", text) if isinstance(text, str) else None
    if not found:
        return None
    return float(found[1]) * (0.001 if found[2] == "m" else _SUFFIX[found[2] or ""])
