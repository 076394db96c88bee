"""From a finding to a repaired mesh: the steps in their order, each with its command and what a later capture says."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, cast

from meshnb.model.finding import Finding, Status
from meshnb.runbook.base import MeshBase

if TYPE_CHECKING:
    from meshnb.runbook.mesh import Mesh
    from meshnb.views.tables import Table

OPEN, DONE, FAILED, BY_HAND = "open", "done", "failed", "by hand"
_FILE = "fix.yaml"


class RemedyViews(MeshBase):
    """What to do about a finding, step by step, and whether it was done."""

    def remedy(self, code: str = "MNB0101", *, host: str = "", after: str | Mesh = "") -> Table:
        """The remedy of each failing finding of a check: analyze the file, apply, clusters, describe, analyze, call.

        Args:
            code: the check.
            host: authority to call at the end; empty to leave that step out.
            after: a snapshot captured after the fix was applied, to see which steps hold; empty if there is none yet.

        Returns:
            A table; `.df` has subject, step, command, expected, state (open, done, failed, or by hand where a capture
            does not show it) and seen.

        Example:
            >>> import meshnb
            >>> steps = meshnb.open("demo/missing-subset").remedy(host="catalog.istioinaction.io").df
            >>> steps.step.tolist()
            ['analyze the file', 'apply', 'clusters', 'describe', 'analyze', 'call']
        """
        import pandas as pd

        from meshnb.runbook.mesh import open as open_mesh
        from meshnb.views.tables import table

        mesh = cast("Mesh", self)
        later = open_mesh(after, namespace=self.namespace) if isinstance(after, str) and after else None
        later = later if isinstance(after, str) else after
        failing = [one for one in mesh.check(code) if one.status is Status.FAIL and _yaml(one)]
        rows = [
            {"subject": str(finding.subject), **row}
            for finding in failing
            for row in _steps(finding, mesh, host, later)
        ]
        columns = ["subject", "step", "command", "expected", "state", "seen"]
        return table(pd.DataFrame(rows, columns=columns), title="Remedy, step by step")


def _yaml(finding: Finding) -> str:
    return next((fix.text for fix in finding.fix if fix.kind == "yaml"), "")


def _steps(finding: Finding, mesh: Mesh, host: str, after: Mesh | None) -> Iterator[dict[str, Any]]:
    space = finding.subject.namespace
    lab = mesh.snapshot.manifest.source == "lab"
    scope = f"-n {space}" if space else "-A"
    by_hand = {"state": BY_HAND, "seen": ""}
    yield _row("analyze the file", f"istioctl analyze {_FILE} {scope}", "no validation issue", by_hand)
    apply = f"meshnb lab apply {_FILE}" if lab else f"kubectl apply -f {_FILE}"
    yield _row("apply", apply, "the objects are there", _applied(_yaml(finding), after))
    yield _row("clusters", finding.verify, "a row per subset", _clusters(finding, after))
    pod = _pod(finding, mesh)
    describe = (
        f"istioctl x describe pod {pod}" if pod else f"istioctl x describe service {finding.subject.name} {scope}"
    )
    yield _row("describe", describe, "subsets match the pods, and no warning", _described(finding, after))
    yield _row("analyze", f"istioctl analyze {scope}", "exit status 0", _analyzed(after))
    if host:
        call = f"meshnb probe http://GATEWAY/ --host {host} --rate 2 --for 30s"
        yield _row("call", call, "no 503", _called(host, after))


def _row(step: str, command: str, expected: str, state: dict[str, str]) -> dict[str, Any]:
    return {"step": step, "command": command, "expected": expected, **state}


def _state(holds: bool, seen: str) -> dict[str, str]:
    return {"state": DONE if holds else FAILED, "seen": seen}


_OPEN = {"state": OPEN, "seen": "no capture after the fix"}


def _applied(text: str, after: Mesh | None) -> dict[str, str]:
    """Whether the objects of the fix are there, with all that the fix says."""
    import json

    import yaml

    if after is None:
        return _OPEN
    if after.absent("objects"):
        return {"state": BY_HAND, "seen": after.absent("objects")}
    there = {(row.kind, row.namespace, row.name): json.loads(row.object) for row in after.objects().itertuples()}
    for document in yaml.safe_load_all(text):
        meta = document["metadata"]
        found = there.get((document["kind"], meta.get("namespace"), meta["name"]))
        what = f"{document['kind']} {meta.get('namespace', '')}/{meta['name']}"
        if found is None:
            return _state(False, f"no {what}")
        lacking = [key for key, value in document["spec"].items() if found.get("spec", {}).get(key) != value]
        if lacking:
            return _state(False, f"{what} has another {', '.join(lacking)}")
    return _state(True, "as the fix has them")


def _clusters(finding: Finding, after: Mesh | None) -> dict[str, str]:
    """Whether the check is silent about the subject now."""
    if after is None:
        return _OPEN
    found = after.check(finding.code)
    again = [one for one in found if one.status is Status.FAIL and one.subject == finding.subject]
    if again:
        return _state(False, again[0].summary)
    unknown = [one for one in found if one.status is Status.UNKNOWN]
    return {"state": BY_HAND, "seen": unknown[0].summary} if unknown else _state(True, f"{finding.code} finds nothing")


def _described(finding: Finding, after: Mesh | None) -> dict[str, str]:
    """Whether every subset of the host has an endpoint."""
    if after is None:
        return _OPEN
    for table in ("destination_rules", "clusters", "endpoints"):
        if after.absent(table):
            return {"state": BY_HAND, "seen": after.absent(table)}
    hosts = {word for word in finding.summary.split() if ".svc." in word}
    rules = after.destination_rules()
    rules = rules[rules.host.isin(hosts) & rules.subset.notna()]
    clusters = after.clusters()
    wanted = clusters[clusters.fqdn.isin(set(rules.host)) & clusters.subset.isin(set(rules.subset))]
    empty = sorted(set(wanted.cluster) - set(after.endpoints().cluster))
    if wanted.empty or empty:
        return _state(False, f"no endpoint behind {', '.join(empty)}" if empty else "no subset has a cluster")
    return _state(True, f"{rules.subset.nunique()} subsets, each with endpoints")


def _analyzed(after: Mesh | None) -> dict[str, str]:
    return _OPEN if after is None else {"state": BY_HAND, "seen": "a capture does not run istioctl"}


def _called(host: str, after: Mesh | None) -> dict[str, str]:
    """What the callers of the host got, as the access log of the later capture has it."""
    if after is None:
        return _OPEN
    if after.absent("access_log"):
        return {"state": BY_HAND, "seen": after.absent("access_log")}
    log = after.requests(host)
    refused = int((log.response_code == 503).sum())
    if log.empty:
        return {"state": BY_HAND, "seen": f"no request to {host} was logged"}
    return _state(refused == 0, f"{refused} of {len(log)} requests got 503")


def _pod(finding: Finding, mesh: Mesh) -> str:
    """A pod of the host, to describe."""
    hosts = [word for word in finding.summary.split() if ".svc." in word]
    if not hosts or mesh.absent("pods"):
        return ""
    name, _, rest = hosts[0].partition(".")
    pods = mesh.pods()
    pods = pods[(pods.namespace == rest.partition(".")[0]) & (pods.app == name)]
    return f"{pods.pod.iloc[0]}.{pods.namespace.iloc[0]}" if len(pods) else ""
