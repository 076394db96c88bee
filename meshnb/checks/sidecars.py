"""Do Sidecar objects do what they look like? Judged by istiod's rules, with Kiali's and istioctl's codes beside."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from meshnb.checks.access_log_wanted import mesh_logging
from meshnb.checks.registry import check, passed
from meshnb.checks.sidecar_yaml import host_problem, object_slips
from meshnb.envoy.sidecar_objects import objects_of, rules_of, services_of, sidecar_of
from meshnb.envoy.sidecar_scope import ROOT_NAMESPACE, UNLIMITED, Sidecar, covers, overlaps
from meshnb.model.finding import Evidence, Finding, Fix, Severity, Status, Subject

if TYPE_CHECKING:
    import pandas as pd

WRITTEN, HOSTS, ALONE, SOMEBODY, OPENS = "MNB0110", "MNB0111", "MNB0112", "MNB0113", "MNB0114"
DOCS = "https://istio.io/latest/docs/reference/config/networking/sidecar/"
_NEAR = 0.8
_OPENS_ISSUE = "https://github.com/istio/istio/issues/59376"


def sidecars_of(sidecars: pd.DataFrame) -> list[Sidecar]:
    """The Sidecars of the table `sidecars`."""
    return [sidecar_of(_object(row)) for row in sidecars.itertuples()]


def _object(row: Any) -> Mapping[str, Any]:
    created = str(row.created) if isinstance(row.created, datetime) else None
    meta = {"namespace": row.namespace, "name": row.sidecar, "creationTimestamp": created}
    return {"kind": "Sidecar", "metadata": meta, "spec": json.loads(row.spec)}


def _subject(one: Sidecar) -> Subject:
    return Subject("Sidecar", one.name, one.namespace)


def _count(number: int) -> str:
    return "One Sidecar" if number == 1 else f"{number} Sidecars" if number else "No Sidecar"


def _none(code: str) -> list[Finding]:
    return [passed(code, "There is no Sidecar object.")]


@check(WRITTEN, "Is every Sidecar written as Istio reads it?", requires=("sidecars",))
def written(*, sidecars: pd.DataFrame) -> list[Finding]:
    """Unknown fields, hosts that are not NAMESPACE/DNS-NAME, listeners without hosts, a policy without mode."""
    found = []
    for row in sidecars.itertuples():
        slips = list(object_slips(_object(row)))
        if slips:
            worst = max(slips, key=lambda slip: slip.severity)
            more = f" and {len(slips) - 1} more" if len(slips) > 1 else ""
            found.append(
                Finding(
                    WRITTEN,
                    Status.FAIL,
                    worst.severity,
                    Subject("Sidecar", row.sidecar, row.namespace),
                    f"{worst.path}: {worst.what}{more}.",
                    cause="istiod leaves out what it cannot read, so other hosts are imported than were meant.",
                    evidence=(Evidence("what is wrong", tuple({"path": s.path, "what": s.what} for s in slips)),),
                    fix=tuple(Fix(s.better, note=f"instead, at {s.path}") for s in slips if s.better),
                    verify=f"kubectl -n {row.namespace} get sidecar {row.sidecar} -o yaml | istioctl validate -f -",
                    docs=DOCS,
                    refs=("IST0106", "KIA1007") if "mode is left out" in worst.what else ("IST0106",),
                )
            )
    return found or [passed(WRITTEN, f"{_count(len(sidecars))}: all written as Istio reads them.")]


@check(
    HOSTS,
    "Does everything that Sidecars import exist?",
    requires=("sidecars",),
    uses=("objects", "mesh_config"),
    severity=Severity.WARNING,
)
def hosts(*, sidecars: pd.DataFrame, objects: pd.DataFrame | None, mesh_config: pd.DataFrame | None) -> list[Finding]:
    """Namespaces that do not exist, and hosts that no Service, ServiceEntry or VirtualService of the namespace has."""
    if sidecars.empty:
        return _none(HOSTS)
    if objects is None or not objects.kind.isin(["Service", "ServiceEntry"]).any():
        why = "no Services were captured"
        return [Finding(HOSTS, Status.UNKNOWN, Severity.WARNING, Subject("Mesh"), f"Could not look: {why}.")]
    known = _Known(objects)
    found = []
    for one in sidecars_of(sidecars):
        wrong: dict[Status, list[dict[str, str]]] = {}
        # in the mesh's default a dot stands for the namespace of each proxy
        own = "*" if one.selector is None and one.namespace == _root(mesh_config, objects) else one.namespace
        for listener in one.egress:
            for space, name, text in listener.imported(own):
                if (problem := known.problem(space, name)) and not host_problem(text):
                    status = Status.UNKNOWN if problem[0] == "?" else Status.FAIL
                    row = {"host": text, "problem": problem.lstrip("?"), "nearest": known.near(space, name)}
                    wrong.setdefault(status, []).append(row)
        found += [_missing(one, status, rows) for status, rows in wrong.items()]
    return found or [passed(HOSTS, f"{_count(len(sidecars))}: every host they import exists.")]


def _root(mesh_config: pd.DataFrame | None, objects: pd.DataFrame | None) -> str:
    settings = mesh_logging(mesh_config, objects)
    return settings.root_namespace if settings is not None else ROOT_NAMESPACE


def _missing(one: Sidecar, status: Status, rows: list[dict[str, str]]) -> Finding:
    first = rows[0]
    more = f"; {len(rows) - 1} more of its hosts bring nothing either" if len(rows) > 1 else ""
    fixes = tuple(
        Fix(row["nearest"], note=f"instead of {row['host']}, if that is meant") for row in rows if row["nearest"]
    )
    name = first["host"].partition("/")[2].strip("*.") or first["host"].partition("/")[0]
    return Finding(
        HOSTS,
        status,
        Severity.WARNING,
        _subject(one),
        f"Sidecar {one} imports {first['host']}: {first['problem']}{more}.",
        cause="Nothing is imported by it. The namespace of a host is that of the object that defines it.",
        evidence=(Evidence("what it imports in vain", tuple(rows), source="mesh.sidecars()"),),
        fix=fixes,
        verify=f"kubectl get services,serviceentries,virtualservices -A | grep {name}",
        docs=DOCS,
        refs=("KIA1004",),
    )


class _Known:
    """Hosts and namespaces of a mesh.

    Args:
        objects: table `objects`.
    """

    def __init__(self, objects: pd.DataFrame) -> None:
        things = objects_of(objects.object[objects.kind.isin(["Service", "ServiceEntry", "VirtualService"])])
        self.hosts = [(one.namespace, one.host) for one in services_of(things)]
        self.rule_hosts = [(one.namespace, host) for one in rules_of(things) for host in one.hosts]
        self.full = {space for space, _ in self.hosts}
        named = set(objects.name[objects.kind == "Namespace"])
        self.spaces = named | set(objects.namespace.dropna())
        self.all_spaces = bool(named)

    def problem(self, space: str, name: str) -> str:
        """Why an import brings nothing, empty if it brings something; begins with `?` if that is not sure."""
        if space == "~":
            return ""
        if space != "*" and space not in self.spaces:
            return f"{'' if self.all_spaces else '?'}there is no namespace {space}"
        if name.startswith("*"):
            return ""
        if any(space in ("*", where) and covers(name, host) for where, host in self.hosts):
            return ""
        if any(space in ("*", where) and overlaps(name, host) for where, host in self.rule_hosts):
            return ""
        seen = space == "*" or space in self.full
        where = "no namespace" if space == "*" else f"nothing in {space}"
        return f"{'' if seen else '?'}{where} has the host {name}"

    def near(self, space: str, name: str) -> str:
        """The nearest that exists, written as an egress host; empty if nothing is near."""
        if space not in ("*", *self.spaces):
            near = difflib.get_close_matches(space, sorted(self.spaces), n=1, cutoff=_NEAR)
            return f"{near[0]}/{name}" if near else ""
        here = sorted({host for where, host in (*self.hosts, *self.rule_hosts) if space in ("*", where)})
        near = difflib.get_close_matches(name, here, n=1, cutoff=_NEAR)
        return f"{space}/{near[0]}" if near else ""


@check(ALONE, "Is it certain which Sidecar holds for each workload?", requires=("sidecars",), uses=("pods",))
def alone(*, sidecars: pd.DataFrame, pods: pd.DataFrame | None) -> list[Finding]:
    """Two Sidecars without selector in a namespace, or two whose selectors fit one pod: Istio leaves it open."""
    known = sidecars_of(sidecars)
    found = []
    for space in sorted({one.namespace for one in known}):
        whole = [one for one in known if one.namespace == space and one.selector is None]
        if len(whole) > 1:
            found.append(_rivals(whole, f"have no workloadSelector in {space}", ("IST0111", "KIA0002")))
    chosen = [one for one in known if one.selector is not None]
    if chosen and pods is None:
        why = "selectors could not be compared: no pods were captured"
        found.append(Finding(ALONE, Status.UNKNOWN, Severity.ERROR, Subject("Pods"), f"{why}."))
    elif pods is not None:
        rivals: dict[tuple[str, ...], list[str]] = {}
        for pod, labels in _labels(pods):
            fits = [one for one in chosen if one.namespace == pod[0] and (one.selector or {}).items() <= labels.items()]
            if len(fits) > 1:
                rivals.setdefault((*sorted(one.name for one in fits), pod[0]), []).append(pod[1])
        for (*names, space), fitting in sorted(rivals.items()):
            group = [one for one in chosen if one.namespace == space and one.name in names]
            what = f"both select {len(fitting)} pods of {space} ({fitting[0]} …)" if len(fitting) > 1 else ""
            found.append(_rivals(group, what or f"both select the pod {fitting[0]} of {space}", ("IST0110", "KIA0003")))
    return found or [passed(ALONE, f"{_count(len(known))}: for no pod two of one level fit.")]


def _rivals(group: list[Sidecar], what: str, refs: tuple[str, ...]) -> Finding:
    first = min(group, key=lambda one: (one.created is None, one.created, one.name))
    names = ", ".join(one.name for one in group)
    others = [one for one in group if one is not first]
    delete = f"kubectl -n {first.namespace} delete sidecar {' '.join(one.name for one in others)}"
    return Finding(
        ALONE,
        Status.FAIL,
        Severity.ERROR,
        Subject("Sidecar", others[0].name, first.namespace),
        f"{names} {what}: Istio leaves open which holds; istiod takes the oldest, {first.name}.",
        cause="Sidecars are not merged: only one holds for a pod, and the others do nothing.",
        fix=(Fix(delete, "command", f"after its hosts are in {first.name}, or selectors tell them apart"),),
        verify=f"istioctl analyze -n {first.namespace}",
        docs=DOCS,
        refs=refs,
    )


def _labels(pods: pd.DataFrame) -> Iterator[tuple[tuple[str, str], Mapping[str, str]]]:
    # no Sidecar holds for a gateway
    limited = ~pods.proxy_type.isin(UNLIMITED).fillna(False)
    for row in pods[pods.has_sidecar & limited].itertuples():
        yield (row.namespace, row.pod), json.loads(row.labels)


@check(
    SOMEBODY, "Does every Sidecar hold for some pod?", requires=("sidecars", "pods"), uses=("mesh_config", "objects"),
    severity=Severity.WARNING,
)  # fmt: skip
def somebody(
    *,
    sidecars: pd.DataFrame,
    pods: pd.DataFrame,
    mesh_config: pd.DataFrame | None,
    objects: pd.DataFrame | None,
) -> list[Finding]:
    """Selectors that fit no pod of the namespace; selectors in the root namespace, which hold there alone."""
    root = _root(mesh_config, objects)
    found = []
    for one in sidecars_of(sidecars):
        if one.selector is None:
            continue
        labels = ", ".join(f"{name}={value}" for name, value in one.selector.items())
        here = [(pod, held) for pod, held in _labels(pods) if pod[0] == one.namespace]
        fits = [pod for pod, held in here if one.selector.items() <= held.items()]
        if one.namespace == root:
            what = f"stands in the root namespace with a selector ({labels}): it holds for pods of {root} alone"
            found.append(_nobody(one, what, ("KIA1006",)))
        elif not fits:
            what = f"selects {labels}, and none of {len(here)} pods with a proxy in {one.namespace} has that"
            found.append(_nobody(one, what, ("KIA0004", "IST0101")))
    return found or [passed(SOMEBODY, "Every selector of a Sidecar fits a pod.")]


def _nobody(one: Sidecar, what: str, refs: tuple[str, ...]) -> Finding:
    return Finding(
        SOMEBODY,
        Status.FAIL,
        Severity.WARNING,
        _subject(one),
        f"Sidecar {one} {what}.",
        cause="A Sidecar selects pods of its own namespace by their labels, not workloads by their name.",
        verify=f"kubectl -n {one.namespace} get pods --show-labels",
        docs=DOCS,
        refs=refs,
    )


@check(
    OPENS, "Does no Sidecar open more than the one it takes the place of?", requires=("sidecars",),
    uses=("mesh_config", "objects"), severity=Severity.WARNING,
)  # fmt: skip
def opens(*, sidecars: pd.DataFrame, mesh_config: pd.DataFrame | None, objects: pd.DataFrame | None) -> list[Finding]:
    """A Sidecar without egress imports everything, though Istio's reference says that it inherits."""
    root = _root(mesh_config, objects)
    known = sidecars_of(sidecars)
    found = []
    for one in known:
        above = [other for other in known if other.selector is None and other is not one and other.egress]
        space = [other for other in above if other.namespace == one.namespace and one.selector is not None]
        mesh = [other for other in above if other.namespace == root != one.namespace]
        if one.egress or not (space or mesh):
            continue
        general = (space or mesh)[0]
        hosts = json.dumps([host for listener in general.egress for host in listener.hosts])
        found.append(
            Finding(
                OPENS,
                Status.FAIL,
                Severity.WARNING,
                _subject(one),
                f"Sidecar {one} has no egress, so its pods know every service, while {general} names what it imports.",
                cause="Istio's reference says that egress is inherited; istiod imports */* (istio/istio#59376).",
                fix=(Fix(f"spec:\n  egress:\n    - hosts: {hosts}", note=f"what {general} imports"),),
                verify="istioctl proxy-config clusters POD",
                docs=_OPENS_ISSUE,
                confidence=0.9,
            )
        )
    return found or [passed(OPENS, "Every Sidecar without egress has none above it that restricts.")]


def problems(findings: Iterable[Finding]) -> dict[tuple[str, str], list[str]]:
    """What is wrong with each Sidecar: code and summary of what fails, by namespace and name.

    Args:
        findings: of the checks above.
    """
    found: dict[tuple[str, str], list[str]] = {}
    for one in findings:
        if one.status is Status.FAIL and one.subject.kind == "Sidecar":
            key = (one.subject.namespace, one.subject.name)
            found.setdefault(key, []).append(f"{one.code} {one.summary}")
    return found
