"""The questions of the runbooks about a mesh's components, each one call: tables to read, and answers across them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from meshnb.runbook.tables_components import ComponentTables
from meshnb.runbook.tables_envoy import EnvoyTables
from meshnb.runbook.tables_istiod import IstiodTables
from meshnb.runbook.tables_logs import LogTables
from meshnb.runbook.tables_objects import ObjectTables

if TYPE_CHECKING:
    from meshnb.views.tables import Table


class ComponentViews(EnvoyTables, LogTables, ObjectTables, ComponentTables, IstiodTables):
    """Whether the parts of the mesh are up to date, complete and set up as they should be."""

    def sync_matrix(self) -> Table:
        """One row per proxy, a column per type of configuration; proxies in trouble first.

        Returns:
            A table; `.df` has proxy, cluster, istiod, version and a column per type.
        """
        from meshnb.views.proxy_status import proxy_status_matrix
        from meshnb.views.tables import table

        status = self.proxy_status()
        bad = status[status.status.isin(["STALE", "ERROR"])].proxy.nunique()
        title = f"{status.proxy.nunique()} proxies, {bad} not up to date"
        return table(proxy_status_matrix(status), title=title)

    def rejections(self) -> Table:
        """What proxies rejected, in Envoy's words.

        Returns:
            A table; `.df` has type, error, proxies (how many), first and last rejection.
        """
        from meshnb.views.tables import table

        errors = self.proxy_status()
        errors = errors[errors.status == "ERROR"]
        grouped = errors.groupby(["type", "error"], dropna=False).agg(
            proxies=("proxy", "nunique"), first=("error_at", "min"), last=("error_at", "max")
        )
        return table(grouped.reset_index(), title=f"Rejected configurations: {len(grouped)}")

    def istiod_load(self) -> Table:
        """How many proxies each istiod serves, and how many of them are not up to date.

        Returns:
            A table; `.df` has istiod, istiod_version, proxies, stale, rejected.
        """
        from meshnb.views.tables import table

        status = self.proxy_status()
        rows = status.assign(
            stale=status.proxy.where(status.status == "STALE"), rejected=status.proxy.where(status.status == "ERROR")
        )
        keys = ["istiod", "istiod_version"]
        counts = rows.groupby(keys, dropna=False)[["proxy", "stale", "rejected"]].nunique().reset_index()
        return table(counts.rename(columns={"proxy": "proxies"}), title=f"istiods: {len(counts)}")

    def members(self) -> Table:
        """Pods with a proxy, and which istiod lists each.

        Returns:
            A table; `.df` has namespace, pod, workload, ready, proxy_ready, istiod (missing: none lists it), revision.
        """
        from meshnb.views.tables import table

        pods = self.pods()
        pods = pods[pods.has_sidecar]
        known = self.proxy_status().drop_duplicates("proxy").set_index("proxy").istiod
        rows = pods.assign(istiod=pods.proxy.map(known).astype("string[pyarrow]"))
        columns = ["namespace", "pod", "workload", "ready", "proxy_ready", "istiod", "revision"]
        lost = int(rows.istiod.isna().sum())
        rows = rows.sort_values("istiod", na_position="first", kind="stable")
        return table(
            rows[columns].reset_index(drop=True), title=f"{len(rows)} pods with a proxy, {lost} unknown to istiod"
        )
