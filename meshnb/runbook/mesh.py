"""`Mesh`: the one object a runbook holds. Tables, checks and the record of what was found."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from datetime import UTC
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from meshnb.errors import UsageError
from meshnb.model.finding import Finding, Status
from meshnb.model.window import Window
from meshnb.runbook.base import Needs
from meshnb.runbook.causes import CauseViews
from meshnb.runbook.components import ComponentViews
from meshnb.runbook.control_plane import ControlPlaneViews
from meshnb.runbook.explain import ExplainViews
from meshnb.runbook.links import checked, pages_of
from meshnb.runbook.remedy import RemedyViews
from meshnb.runbook.requests import RequestViews
from meshnb.runbook.sidecars import SidecarViews
from meshnb.runbook.tables_components import ComponentTables
from meshnb.runbook.tables_control_plane import ControlPlaneTables
from meshnb.runbook.tables_envoy import EnvoyTables
from meshnb.runbook.tables_istiod import IstiodTables
from meshnb.runbook.tables_logs import LogTables
from meshnb.runbook.tables_objects import ObjectTables
from meshnb.runbook.tables_sidecars import SidecarTables
from meshnb.runbook.workloads import WorkloadViews
from meshnb.sources.snapshot import Snapshot
from meshnb.views.findings import FindingList

if TYPE_CHECKING:
    import pandas as pd

    from meshnb.views.tables import Facts, Table


def open(
    source: str | Path,
    *,
    namespace: str = "",
    window: str | Window = "",
    links: Mapping[str, str] | None = None,
) -> Mesh:
    """Open a mesh to look at.

    Args:
        source: a snapshot folder or `.tar.gz`; `demo` or `demo/NAME`; `lab` for the running lab, or `live` for the
            cluster of kubectl (`live:CONTEXT` for another), captured now.
        namespace: only findings about objects of this namespace; empty for all.
        window: only what happened in it: `30m` (before the capture) or `START/END`; empty for all.
        links: where `kiali`, `grafana` and `prometheus` of the mesh are, for the pages each finding names; what is not
            given comes from the snapshot, or is where `istioctl dashboard` forwards the Services found in it.

    Returns:
        The mesh. Nothing of it changes any more: live sources are captured first.

    Raises:
        NotFound: no such snapshot.
        FormatError: not a snapshot, or of a newer format.
        LabError: `lab`, and none runs.
        UsageError: not a window, or the captured cluster has no such namespace.
        Unreachable: `live`, and the cluster does not answer.

    Example:
        >>> open("demo/missing-subset", namespace="istioinaction")
        <Mesh demo/missing-subset: 5 proxies, namespace istioinaction>
    """
    if str(source) == "lab":
        from meshnb.lab.capture import capture_running
        from meshnb.runbook.prometheus import record_from

        snapshot = capture_running(recorder=record_from)
    elif str(source).partition(":")[0] == "live":
        from meshnb.runbook.live import connect

        context, spaces = str(source).partition(":")[2], [namespace] if namespace else []
        # runbooks ask the mesh's Prometheus too; that there is none is a note, and what needs it is unknown
        snapshot = connect(context, namespaces=spaces, prometheus="find").snapshot
    else:
        snapshot = Snapshot.open(source)
    if isinstance(window, str):
        now = snapshot.manifest.created.astimezone(UTC)
        span = Window.parse(window, now=now) if window else None
    else:
        span = window
    mesh = Mesh(snapshot, namespace=namespace, window=span, links=links)
    _require_namespace(mesh)
    return mesh


def _require_namespace(mesh: Mesh) -> None:
    """Refuse a namespace that is not in the cluster: about a mistyped one every check would find nothing.

    Raises:
        UsageError: the cluster's namespaces were captured, and it is none of them.
    """
    if not mesh.namespace or mesh.absent("namespaces"):
        return
    known = {name for name in mesh.objects("Namespace").name.tolist() if name}
    known |= {proxy.rpartition(".")[2] for proxy in mesh.proxies} if known else set()
    if known and mesh.namespace not in known:
        near = difflib.get_close_matches(mesh.namespace, sorted(known), n=1)
        raise UsageError(
            f"{mesh.snapshot.name} has no namespace {mesh.namespace!r}",
            hint=f"did you mean {near[0]!r}?" if near else f"namespaces: {', '.join(sorted(known)[:20])}",
        )


class Mesh(
    CauseViews, WorkloadViews, RemedyViews, RequestViews, ExplainViews, SidecarViews, ComponentViews, ControlPlaneViews
):
    """A captured mesh as tables, with checks. Made by `meshnb.open`.

    Args:
        snapshot: the raw documents.
        namespace: only findings about objects of this namespace.
        window: only what happened in it.
        links: where Kiali, Grafana and Prometheus are.
    """

    TABLES: ClassVar[Mapping[str, Needs]] = {
        **EnvoyTables.TABLES,
        **ExplainViews.TABLES,
        **LogTables.TABLES,
        **ObjectTables.TABLES,
        **ComponentTables.TABLES,
        **IstiodTables.TABLES,
        **ComponentViews.TABLES,
        **ControlPlaneTables.TABLES,
        **SidecarTables.TABLES,
    }

    def __init__(
        self,
        snapshot: Snapshot,
        *,
        namespace: str = "",
        window: Window | None = None,
        links: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(snapshot, namespace=namespace, window=window)
        self._found: list[Finding] = []
        self._links = checked(links or {})

    @property
    def proxies(self) -> list[str]:
        """Proxies of the snapshot, `POD.NAMESPACE`, sorted."""
        return sorted({d.proxy for d in self.snapshot.documents() if d.proxy and d.path.startswith("envoy/")})

    if not TYPE_CHECKING:  # a type checker would take every name for one that is there

        def __getattr__(self, name: str) -> None:
            """Say which name was meant; IPython does not."""
            near = [] if name.startswith("_") else difflib.get_close_matches(name, dir(type(self)), n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}{hint}", name=name, obj=self)

    def __repr__(self) -> str:
        parts = [f"{len(self.proxies)} proxies"]
        parts += [f"namespace {self.namespace}"] if self.namespace else []
        parts += [f"window {self.window}"] if self.window else []
        return f"<Mesh {self.snapshot.name}: {', '.join(parts)}>"

    def overview(self) -> Facts:
        """What was captured, when and from where, and what is missing: the first thing a runbook shows."""
        from meshnb.views.tables import facts

        manifest = self.snapshot.manifest
        versions = ", ".join(f"{name} {version}" for name, version in sorted(manifest.versions.items()))
        failed = [f"{d.path}: {d.error}" for d in self.snapshot.failed()]
        shown = {
            "source": self.snapshot.name,
            "cluster": manifest.cluster or "not named",
            "captured": f"{manifest.created:%Y-%m-%d %H:%M:%S} UTC",
            "window": str(self.window or "all that was captured"),
            "namespace": self.namespace or "all",
            "versions": versions or "not known",
            "proxies": f"{len(self.proxies)}, with {len(self.snapshot.documents())} documents",
        }
        shown |= {"not captured": "; ".join(failed)} if failed else {}
        shown |= {"notes": " ".join(manifest.notes)} if manifest.notes else {}
        return facts(shown, title="What is looked at", source=True)

    def participants(self) -> Table:
        """A verdict per participant of a request: istiod, gateway, proxy of the service, application.

        Returns:
            A table; columns as in `meshnb.runbook.participants.participants`. The checks of synchronisation it runs
            are recorded like any other.

        Example:
            >>> open("demo/missing-subset").participants().df.set_index("participant").verdict.to_dict()["application"]
            'unknown'
        """
        from meshnb.runbook.participants import participants
        from meshnb.views.tables import table

        log = None if self.absent("access_log") else self.scan("access_log")
        return table(participants(log, self.check("MNB0310", "MNB0311")), title="Who fails the requests?")

    def table(self, name: str) -> pd.DataFrame:
        """A table by its name, as listed in `tables`.

        Raises:
            UsageError: no such table; names the nearest.
        """
        self._needs(name)
        frame: pd.DataFrame = getattr(self, name)()
        return frame

    def _needs(self, table: str) -> Needs:
        if table in self.TABLES:
            return self.TABLES[table]
        near = difflib.get_close_matches(table, self.TABLES, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"tables: {', '.join(sorted(self.TABLES))}"
        raise UsageError(f"no table {table!r}", hint=hint)

    @property
    def tables(self) -> pd.DataFrame:
        """Which tables there are, with their number of rows or why they are absent.

        Example:
            >>> open("demo").tables.query("table == 'clusters'").absent.tolist()
            ['']
        """
        import pandas as pd

        rows = []
        for name in self.TABLES:
            frame = None if self.absent(name) else self.table(name)
            rows.append({"table": name, "rows": -1 if frame is None else len(frame), "absent": self.absent(name)})
        return pd.DataFrame(rows).astype({"rows": "int64[pyarrow]"}).replace({"rows": {-1: pd.NA}})

    def check(self, *codes: str) -> FindingList:
        """Run checks and record what they say.

        Args:
            codes: `MNB…` codes; none for all.

        Returns:
            Findings, worst first; `.frame` gives them as a DataFrame.

        Raises:
            UsageError: no such check.

        Example:
            >>> open("demo").check("MNB0101").verdict
            <Status.PASS: 'pass'>
        """
        from meshnb.checks import registry

        found = []
        for check in [registry.find(code) for code in codes] or registry.registered().values():
            found += [finding for finding in registry.run(check, self) if self._in_scope(finding)] or [
                registry.passed(check.code, f"Nothing found in namespace {self.namespace}.")
            ]
        found = self._less_sure(found)
        if any(finding.status is Status.FAIL for finding in found):
            found = pages_of(self, self._links).add(found)
        self._found += found
        return FindingList(found)

    def _less_sure(self, found: list[Finding]) -> list[Finding]:
        """What rests on proxies that are not up to date says less about what was applied."""
        from meshnb.checks.confidence import behind, cap_confidence

        if not any(finding.status is Status.FAIL for finding in found) or self.absent("proxy_status"):
            return found
        return cap_confidence(found, behind(self.proxy_status()))

    def record(self, findings: Iterable[Finding]) -> None:
        """Count findings that were made elsewhere towards the verdict."""
        self._found += findings

    def verdict(self) -> FindingList:
        """All findings of the checks run so far on this mesh, as one list: the last cell of a runbook.

        What it displays is what `meshnb run` reports and takes its exit code from.
        """
        return FindingList(self._found, title="Verdict")

    def _in_scope(self, finding: Finding) -> bool:
        return (
            not self.namespace or finding.status is Status.UNKNOWN or finding.subject.namespace in ("", self.namespace)
        )
