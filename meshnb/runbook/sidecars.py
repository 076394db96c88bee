"""The questions about scope, each one call: what Sidecars and discovery selectors would change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from meshnb.model.finding import Severity, Status
from meshnb.model.frame import returns
from meshnb.model.tables import sidecars as tables
from meshnb.runbook.components import ComponentViews
from meshnb.runbook.tables_control_plane import ControlPlaneTables
from meshnb.runbook.tables_sidecars import SidecarTables
from meshnb.views.findings import FindingList

if TYPE_CHECKING:
    import pandas as pd

    from meshnb.runbook.sidecar_what_if import SidecarWhatIf
    from meshnb.views.tables import Table

Object = Mapping[str, Any]


class SidecarViews(ComponentViews, SidecarTables, ControlPlaneTables):
    """What proxies and istiod would no longer know."""

    def sidecar_what_if(self, *sources: str | Path | Object) -> SidecarWhatIf:
        """What Sidecars would change if they were applied: for each proxy what goes, its size, which calls break.

        It rests on what each proxy has (config dump), and on the calls its access log has, or `istio_requests_total` if
        there is no log. What was not captured is unknown, and said so: a call that was not seen may break as well.

        Args:
            sources: YAML text, paths, or objects; none, or an empty text, for those of `mesh.sidecar_proposals()`.

        Returns:
            `.proxies`, `.changes` and `.calls` are frames; `.measured(after)` compares with another snapshot.

        Raises:
            NotFound: a file that is not there.
            FormatError: something in it that Istio would not read; names file and line, and what to write.
            UsageError: no Sidecar in it.

        Example:
            >>> import meshnb
            >>> lonely = {"kind": "Sidecar", "metadata": {"name": "default", "namespace": "istioinaction"},
            ...           "spec": {"egress": [{"hosts": ["istio-system/*"]}]}}
            >>> meshnb.open("demo").sidecar_what_if(lonely).proxies.clusters_after.tolist()
            [8, 8, 8, 8]
        """
        from meshnb.envoy.sidecar_objects import sidecar_of
        from meshnb.runbook.sidecar_what_if import SidecarWhatIf, read_sidecars
        from meshnb.tuning.sidecar_what_if import predict

        texts = [one for one in sources if one != ""] or [
            text for text in self.sidecar_proposals().yaml if isinstance(text, str)
        ]
        tried = [sidecar_of(one) for one in read_sidecars(texts)] if texts else []
        known = self._known
        predicted = predict(known, tried, self._config_of, self._observed(self._rates()))
        return SidecarWhatIf(predicted, [str(one) for one in tried], known)

    def lint_sidecars(self, *sources: str | Path | Object) -> FindingList:
        """What is wrong with Sidecars before they are applied: as they are written, and in this mesh.

        Args:
            sources: YAML text, paths, or objects.

        Returns:
            Findings MNB0110 to MNB0114, with file, line and correction; those of the Sidecars given alone.
        """
        from meshnb.runbook.sidecar_what_if import key_of, lint_files, read_sidecars

        found = lint_files(sources)
        if any(one.status is Status.FAIL and one.severity >= Severity.ERROR for one in found):
            return FindingList(found)
        things = read_sidecars(sources)
        keys = {key_of(one) for one in things}
        there = self._findings_with(things)
        found += [
            one for one in there if one.status is not Status.FAIL or (one.subject.namespace, one.subject.name) in keys
        ]
        return FindingList(found)

    @returns(tables.SIDECAR_PROPOSALS)
    def sidecar_proposals(self) -> pd.DataFrame:
        """For every workload the Sidecar that names what it was seen to call, with its caveats.

        Example:
            >>> import meshnb
            >>> rows = meshnb.open("demo").sidecar_proposals().set_index("workload")
            >>> list(rows.hosts["catalog"])
            ['istio-system/*']
        """
        from meshnb.tuning.sidecar_proposals import proposals

        return proposals(self._known, self._config_of, self._observed(self._rates()))

    def proposed_sidecars(self) -> Table:
        """The proposals as one reads them; `.df` has the hosts, `mesh.sidecar_proposals()` also the YAML."""
        from meshnb.runbook.sidecar_what_if import NO_PROXIES
        from meshnb.views.tables import table

        frame = self.sidecar_proposals()
        shown = frame[["namespace", "workload", "hosts", "requests", "caveats"]]
        made = f"for {int(frame.yaml.notna().sum())} of {len(frame)} workloads" if len(frame) else NO_PROXIES
        return table(shown, title=f"Sidecars that name what was called: {made}")

    @returns(tables.FLEET_SIZE)
    def fleet_size(self, proxies: int = 0) -> pd.DataFrame:
        """What the configuration of all sidecars takes together, from those whose config dump was captured.

        Args:
            proxies: sidecars there are; 0 for those that pods and istiods know of.

        Raises:
            UsageError: fewer proxies than were measured.

        Example:
            >>> import meshnb
            >>> meshnb.open("demo").fleet_size(200).set_index("what").sampled.to_dict()
            {'with endpoints': 4, 'without endpoints': 4}
        """
        from meshnb.envoy.sidecar_scope import UNLIMITED
        from meshnb.tuning.fleet_size import fleet_size

        sidecars = {one.name for one in self._known.proxies if one.kind not in UNLIMITED}
        found: dict[str, list[int]] = {"with endpoints": [], "without endpoints": []}
        for name in sorted(sidecars):
            if (config := self._config_of(name)) is not None:
                whole, eds = int(config.sizes.bytes.sum()), config.sizes.section == "endpoints"
                found["without endpoints"].append(whole - int(config.sizes.bytes[eds].sum()))
                found["with endpoints"] += [whole] if config.has_endpoints else []
        return fleet_size(found, proxies=proxies or len(sidecars))

    @returns(tables.DISCOVERY)
    def discovery(
        self,
        selectors: str | Sequence[Object] | None = None,
        *,
        labels: Mapping[str, Mapping[str, str | None]] | None = None,
    ) -> pd.DataFrame:
        """Which namespaces istiod looks at, and what leaves every proxy with other selectors or labels.

        Args:
            selectors: discoverySelectors to try, YAML (`meshnb.tuning.discovery_selectors(…)`) or a list; those in
                force if not given.
            labels: labels to try, by namespace; `None` takes a label away.

        Raises:
            UsageError: no selectors in it, or labels of a namespace that is not there.

        Example:
            >>> import meshnb
            >>> exclude = meshnb.tuning.discovery_selectors(excluded={"istio-exclude": "true"})
            >>> tried = {"istioinaction": {"istio-exclude": "true"}}
            >>> found = meshnb.open("demo").discovery(exclude, labels=tried).set_index("namespace")
            >>> found.change["istioinaction"], int(found.proxy_endpoints["istioinaction"])
            ('leaves', 35)
        """
        from meshnb.tuning.discovery import checked, discovery, selectors_of

        now = self._selectors
        then = now or []
        if selectors is not None:
            then = selectors_of(selectors) if isinstance(selectors, str) else checked(selectors)
        endpoints = None
        if not self.absent("clusters"):
            spaces = self.clusters()[["proxy", "cluster", "service_namespace"]].drop_duplicates(["proxy", "cluster"])
            spaces = spaces[spaces.cluster.str.startswith("outbound|")]
            endpoints = spaces.merge(self.endpoints()[["proxy", "cluster", "endpoint"]], how="left")
        return discovery(
            self.namespaces(),
            now=now,
            then=then,
            labels=labels or {},
            endpoints=endpoints,
            calls=self._calls_by_namespace(),
            root=self._known.root,
        )

    def _calls_by_namespace(self) -> dict[str, tuple[int, Any]] | None:
        if self.absent("observed_calls") or self.absent("services"):
            return None
        spaces = {one.host: one.namespace for one in self._known.services or ()}
        rows = self.observed_calls()
        rows = rows.assign(space=rows.host.map(spaces)).dropna(subset=["space"])
        found = rows.groupby("space").agg(requests=("requests", "sum"), last=("last_seen", "max"))
        return {str(row.Index): (int(row.requests), row.last) for row in found.itertuples()}

    def _rates(self) -> pd.DataFrame | None:
        return None if self.absent("request_rates") or "requests" not in self._recordings else self.request_rates()

    def _findings_with(self, things: Sequence[Object]) -> list[Any]:
        """Findings of the checks as if the Sidecars were applied."""
        from meshnb.loaders.sidecars import sidecars_table
        from meshnb.runbook.tables_sidecars import WithSidecars

        return WithSidecars(self, sidecars_table(self._merged(things))).findings()

    def _merged(self, things: Sequence[Object]) -> list[Object]:
        from meshnb.envoy.sidecar_objects import objects_of
        from meshnb.runbook.sidecar_what_if import key_of

        keys = {key_of(one) for one in things}
        there: list[Object] = []
        if not self.absent("sidecars"):
            frame = self.objects()
            there = objects_of(frame.object[frame.kind == "Sidecar"])
        return [one for one in there if key_of(one) not in keys] + list(things)
