"""The questions of the runbooks about a mesh's components, each one call: tables to read, and answers across them."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from meshnb.errors import NotFound
from meshnb.model.frame import returns
from meshnb.model.tables.endpoint_truth import ENDPOINT_TRUTH
from meshnb.model.tables.objects import NAMESPACES, RESILIENCE
from meshnb.runbook.base import Needs
from meshnb.runbook.tables_components import ComponentTables
from meshnb.runbook.tables_envoy import EnvoyTables
from meshnb.runbook.tables_istiod import IstiodTables
from meshnb.runbook.tables_logs import LogTables
from meshnb.runbook.tables_objects import ObjectTables

if TYPE_CHECKING:
    import pandas as pd

    from meshnb.runbook.describe import Description
    from meshnb.views.tables import Table


class ComponentViews(EnvoyTables, LogTables, ObjectTables, ComponentTables, IstiodTables):
    """Whether the parts of the mesh are up to date, complete and set up as they should be."""

    TABLES: ClassVar[Mapping[str, Needs]] = {
        "endpoint_truth": Needs("kubernetes", "kubernetes/endpointslices."),
        "namespaces": Needs("kubernetes", "kubernetes/namespaces."),
        "resilience": Needs("config_dump"),
    }

    _TRUTH = ("endpoint_slices", "services", "pods", "clusters", "endpoints")

    def absent(self, table: str) -> str:
        """Why a table cannot be made; the truth about endpoints needs Kubernetes and Envoy."""
        if table == "endpoint_truth":
            return next((reason for name in self._TRUTH if (reason := self.absent(name))), "")
        return super().absent(table)

    def gaps(self, table: str) -> list[str]:
        """What a table lacks though it can be made."""
        if table == "endpoint_truth":
            return sorted({gap for name in self._TRUTH for gap in self.gaps(name)})
        return super().gaps(table)

    @returns(ENDPOINT_TRUTH)
    def endpoint_truth(self, service: str = "", *, proxy: str = "") -> pd.DataFrame:
        """What Kubernetes, istiod and every Envoy say of each endpoint, disagreements first.

        Args:
            service: only of this one: `catalog`, `catalog.istioinaction` or its full name; empty for all.
            proxy: as only this proxy sees it (`POD.NAMESPACE`); empty for all.

        Raises:
            NotFound: no such service, or nothing was captured of the proxy.

        Example:
            >>> import meshnb
            >>> meshnb.open("demo").endpoint_truth("catalog").verdict.tolist()
            ['agrees', 'agrees', 'agrees']
        """
        from meshnb.checks.endpoint_join import join_endpoints

        key = ("endpoint_truth", proxy)
        if key not in self._made:
            asked = {} if self.absent("istiod_endpoints") else {"istiod_endpoints": self.istiod_endpoints()}
            asked |= {} if self.absent("proxy_status") else {"proxy_status": self.proxy_status()}
            asked |= {} if self.absent("access_log") else {"access_log": self.access_log()}
            self._made[key] = join_endpoints(
                services=self.services(),
                endpoint_slices=self.endpoint_slices(),
                pods=self.pods(),
                clusters=self.clusters(proxy=proxy),
                endpoints=self.endpoints(proxy=proxy),
                gone=self._gone(),
                **asked,
            )
        truth = self._made[key]
        if not service:
            return truth.copy(deep=False)
        host = self._host(service)
        return truth[truth.host == host].reset_index(drop=True)

    def _gone(self) -> list[str]:
        """Proxies that documents or istiod know and that have no pod any more."""
        known = {d.proxy for d in (*self.snapshot.documents(), *self.snapshot.failed()) if d.proxy}
        known |= set() if self.absent("proxy_status") else set(self.proxy_status().proxy)
        return sorted(known - set(self.pods().proxy))

    def _host(self, service: str) -> str:
        """The full name of a service from any way to write it."""
        services = self.services()
        parts = service.split(".")
        found = services[services.host == service]
        if not len(found) and len(parts) <= 3:
            found = services[services.service == parts[0]]
            found = found[found.namespace == parts[1]] if len(parts) > 1 else found
            found = found[found.namespace == self.namespace] if len(found) > 1 and self.namespace else found
        if len(found) == 1:
            return str(found.host.iloc[0])
        names = sorted(found.host) or sorted(services.host)
        what = f"{len(found)} services are called {service!r}" if len(found) else f"no service {service!r}"
        raise NotFound(what, hint=f"services: {', '.join(names[:10])}")

    @returns(NAMESPACES)
    def namespaces(self) -> pd.DataFrame:
        """How each namespace takes part, and what would leave every proxy if it were excluded.

        Example:
            >>> import meshnb
            >>> meshnb.open("demo").namespaces().set_index("namespace").injection["istioinaction"]
            'enabled'
        """
        from meshnb.checks.coverage import namespaces_table

        return namespaces_table(
            self.objects("Namespace"),
            pods=self.pods(),
            services=self.services(),
            endpoint_slices=self.endpoint_slices(),
            clusters=None if self.absent("clusters") else self.clusters(),
        )

    @returns(RESILIENCE)
    def resilience(self) -> pd.DataFrame:
        """Retries and outlier detection in force, host by host, unprotected ones first."""
        from meshnb.checks.coverage import resilience_table

        return resilience_table(self.clusters(), self.routes())

    def find_pods(self, wanted: str) -> pd.DataFrame:
        """Pods of a workload, however it is written.

        Args:
            wanted: name of a pod (`NAME` or `NAME.NAMESPACE`), `deploy/catalog`, `catalog`, or a label (`app=catalog`).

        Returns:
            Rows of the table `pods`; empty if there are none.

        Example:
            >>> import meshnb
            >>> meshnb.open("demo").find_pods("app=catalog").version.tolist()
            ['v1', 'v2', 'v2']
        """
        import json

        pods = self.pods()
        key, equals, value = wanted.partition("=")
        name = wanted.rpartition("/")[2]
        if equals:
            chosen = [json.loads(text).get(key) == value for text in pods.labels]
        else:
            chosen = (pods.pod == name) | (pods.proxy == name) | (pods.workload == name)
        found = pods[chosen]
        if self.namespace:
            found = found[found.namespace == self.namespace]
        return found.reset_index(drop=True)

    def describe(self, what: str) -> Description:
        """What concerns a pod or a service: its services, subsets, routes, gateways, policies, and what is odd.

        It reads the objects themselves, so it works without the cluster, tells every destination of every route, and
        one gateway that does not answer costs nothing.

        Args:
            what: `pod/NAME`, `service/NAME`, or a workload (its first pod); `NAME.NAMESPACE` where needed.

        Raises:
            NotFound: there is no such thing; names the nearest.

        Example:
            >>> import meshnb
            >>> meshnb.open("demo").describe("service/catalog").facts["pods"]
            3
        """
        from meshnb.runbook.describe import Tables, describe_pod, describe_service

        optional = ("destination_rules", "virtual_services", "gateways", "objects", "clusters", "proxy_status")
        known = {name: None if self.absent(name) else getattr(self, name)() for name in optional}
        tables = Tables(self.pods(), self.services(), **known)
        kind, slash, name = what.partition("/")
        if slash and kind in ("service", "services", "svc"):
            host = self._host(name)
            return describe_service(next(tables.services[tables.services.host == host].itertuples()), tables)
        pods = self.find_pods(name if kind in ("pod", "pods", "po") else what)
        if pods.empty:
            near = difflib.get_close_matches(name or what, [*tables.pods.pod, *tables.pods.workload.dropna()], n=3)
            hint = f"did you mean {', '.join(dict.fromkeys(near))}?" if near else "give pod/NAME or service/NAME"
            raise NotFound(f"no pod {name or what!r} in {self.snapshot.name}", hint=hint)
        return describe_pod(next(pods.itertuples()), tables)

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
