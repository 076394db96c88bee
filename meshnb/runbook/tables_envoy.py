"""Tables of a `Mesh` from Envoy's admin interface."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, ClassVar

from meshnb.errors import FormatError, NotFound
from meshnb.loaders.clusters_admin import read_clusters_admin
from meshnb.loaders.config_dump import ConfigDump, read_config_dump
from meshnb.loaders.endpoints import join_endpoints
from meshnb.loaders.fleet import read_config_dumps
from meshnb.loaders.ztunnel import ZtunnelDump, is_ztunnel_dump, read_ztunnel_dump
from meshnb.model.frame import Frame, returns
from meshnb.model.manifest import Document
from meshnb.model.tables.access_loggers import ACCESS_LOGGERS
from meshnb.model.tables.authz import AUTHZ
from meshnb.model.tables.envoy import BOOTSTRAP, CLUSTERS, ECDS, ENDPOINTS, LISTENERS, ROUTES, SECRETS, SIZES
from meshnb.model.tables.ztunnel import (
    ZTUNNEL_CERTIFICATE,
    ZTUNNEL_CONNECTIONS,
    ZTUNNEL_POLICY,
    ZTUNNEL_SERVICE,
    ZTUNNEL_WORKLOAD,
)
from meshnb.runbook.base import MeshBase, Needs

if TYPE_CHECKING:
    import pandas as pd


FLEET_BYTES = 100_000_000
"""Config dumps of more than this together are read by several processes."""

_AT_ONCE = ("listeners", "routes", "clusters", "endpoints")


class EnvoyTables(MeshBase):
    """Listeners, routes, clusters, endpoints and secrets of every proxy.

    Every method takes `proxy` (`POD.NAMESPACE`) and raises `NotFound` if nothing was captured of that proxy.
    """

    TABLES: ClassVar[Mapping[str, Needs]] = {
        "listeners": Needs("config_dump"),
        "routes": Needs("config_dump"),
        "clusters": Needs("config_dump"),
        "endpoints": Needs("config_dump", instead="clusters"),
        "live_endpoints": Needs("clusters"),
        "secrets": Needs("config_dump"),
        "ecds": Needs("config_dump"),
        "authz": Needs("config_dump"),
        "access_loggers": Needs("config_dump"),
        "bootstrap": Needs("config_dump"),
        "sizes": Needs("config_dump"),
        "ztunnel_workload": Needs("config_dump"),
        "ztunnel_service": Needs("config_dump"),
        "ztunnel_policy": Needs("config_dump"),
        "ztunnel_certificate": Needs("config_dump"),
        "ztunnel_connections": Needs("config_dump"),
    }

    def config_dump(self, proxy: str) -> ConfigDump:
        """The config dump of one proxy, for what no table shows.

        Args:
            proxy: `POD.NAMESPACE`.

        Raises:
            NotFound: none was captured of it.
            FormatError: it cannot be read.
        """
        document = self.document_of("clusters", proxy)
        return self._dump(document, self.snapshot.read(document))

    def document_of(self, table: str, proxy: str) -> Document:
        """The document of one proxy that a table is made from.

        Raises:
            NotFound: none was captured of it.
        """
        documents = self.documents(table, proxy=proxy)
        if not documents:
            known = sorted({d.proxy for d in self.documents(table)})
            raise NotFound(f"no {table} of proxy {proxy!r}", hint=f"proxies: {', '.join(known) or 'none'}")
        return documents[-1]

    @returns(LISTENERS)
    def listeners(self, *, proxy: str = "", address: str = "", port: int | None = None, type: str = "") -> pd.DataFrame:
        """The listeners with their filter chains.

        Args:
            proxy: only of this proxy.
            address: only with this IP address or path.
            port: only with this port.
            type: only `HTTP`, `TCP`, `HTTP+TCP` or `UNKNOWN`.
        """
        df = self._of_dump("listeners", LISTENERS, ConfigDump.listeners, proxy)
        return keep(df, address=address, port=port, type=type)

    @returns(ROUTES)
    def routes(
        self, *, proxy: str = "", route_config: str = "", cluster: str = "", virtual_service: str = ""
    ) -> pd.DataFrame:
        """The routes, one row per weighted destination.

        Args:
            proxy: only of this proxy.
            route_config: only of this route configuration, such as `http.8080`.
            cluster: only those that lead to this cluster.
            virtual_service: only those made from a VirtualService of this name.
        """
        df = self._of_dump("routes", ROUTES, ConfigDump.routes, proxy)
        return keep(df, route_config=route_config, cluster=cluster, virtual_service=virtual_service)

    @returns(CLUSTERS)
    def clusters(
        self, *, proxy: str = "", fqdn: str = "", port: int | None = None, subset: str = "", direction: str = ""
    ) -> pd.DataFrame:
        """The clusters.

        Args:
            proxy: only of this proxy.
            fqdn: only those whose host holds this text.
            port: only with this port.
            subset: only of this subset.
            direction: only `outbound`, `inbound` or `inbound-vip`.
        """
        df = keep(
            self._of_dump("clusters", CLUSTERS, ConfigDump.clusters, proxy),
            port=port,
            subset=subset,
            direction=direction,
        )
        return df[df.fqdn.str.contains(fqdn, regex=False).fillna(False)].reset_index(drop=True) if fqdn else df

    @returns(ENDPOINTS)
    def endpoints(
        self, *, proxy: str = "", cluster: str = "", address: str = "", port: int | None = None, status: str = ""
    ) -> pd.DataFrame:
        """The endpoints: what Envoy says of each now (`/clusters`), completed by what istiod sent (EDS).

        An endpoint that is in the config dump alone has `source` `eds` and no counters.

        Args:
            proxy: only of this proxy.
            cluster: only of this cluster.
            address: only with this IP address.
            port: only with this port.
            status: only with this health status, such as `HEALTHY`.
        """
        key = ("endpoints joined", proxy)
        if key not in self._made:
            live = ENDPOINTS.empty() if self.absent("live_endpoints") else self.live_endpoints()
            live = keep(live, proxy=proxy)
            # a proxy of which only the /clusters page was captured still has endpoints
            has_dump = bool(self.documents("endpoints", proxy=proxy)) or not len(live)
            configured = self._of_dump("endpoints", ENDPOINTS, ConfigDump.endpoints, proxy) if has_dump else live[:0]
            self._made[key] = join_endpoints(configured, live)
        return keep(self._made[key].copy(deep=False), cluster=cluster, address=address, port=port, health_status=status)

    @returns(ENDPOINTS)
    def live_endpoints(self, *, proxy: str = "") -> pd.DataFrame:
        """The endpoints of the `/clusters` pages alone."""
        return self.each_document(
            "live_endpoints",
            ENDPOINTS,
            lambda document, data: read_clusters_admin(
                data, name=self.snapshot.source_of(document), proxy=document.proxy
            ),
            proxy=proxy,
        )

    @returns(SECRETS)
    def secrets(self, *, proxy: str = "", at: datetime | None = None) -> pd.DataFrame:
        """The certificates.

        Args:
            proxy: only of this proxy.
            at: time for which `valid` and `days_left` are told; the time of the capture if missing.
        """
        moment = at or self.snapshot.manifest.created
        df = self._of_dump("secrets", SECRETS, lambda dump: dump.secrets(at=self.snapshot.manifest.created), proxy)
        if at is not None:
            df["valid"] = ((df.not_before < moment) & (moment < df.not_after)).astype("bool[pyarrow]")
            df["days_left"] = ((df.not_after - moment).dt.total_seconds() / 86400).astype("double[pyarrow]")
        return df

    @returns(ECDS)
    def ecds(self, *, proxy: str = "") -> pd.DataFrame:
        """The extension configurations that came on their own (ECDS)."""
        return self._of_dump("ecds", ECDS, ConfigDump.ecds, proxy)

    @returns(AUTHZ)
    def authz(self, *, proxy: str = "", policy: str = "", action: str = "") -> pd.DataFrame:
        """The authorization rules that each proxy enforces, also those of dry runs and of external authorizers.

        Args:
            proxy: only of this proxy.
            policy: only of AuthorizationPolicies of this name.
            action: only `DENY`, `ALLOW`, `LOG` or `CUSTOM`.
        """
        return keep(self._of_dump("authz", AUTHZ, ConfigDump.authz, proxy), policy=policy, action=action)

    @returns(ACCESS_LOGGERS)
    def access_loggers(self, *, proxy: str = "", type: str = "") -> pd.DataFrame:
        """What each proxy really logs of its requests, where to and in which format.

        Args:
            proxy: only of this proxy.
            type: only `file`, `stdout`, `http_grpc`, `open_telemetry`, `stats` …

        Example:
            >>> import meshnb
            >>> meshnb.open("demo").access_loggers(type="file").encoding.unique().tolist()
            ['JSON']
        """
        return keep(self._of_dump("access_loggers", ACCESS_LOGGERS, ConfigDump.access_loggers, proxy), type=type)

    @returns(BOOTSTRAP)
    def bootstrap(self, *, proxy: str = "") -> pd.DataFrame:
        """Who each proxy is and which versions it runs."""
        return self._of_dump("bootstrap", BOOTSTRAP, ConfigDump.bootstrap, proxy)

    @returns(SIZES)
    def sizes(self, *, proxy: str = "") -> pd.DataFrame:
        """The exact bytes of every part of every config dump."""
        return self._of_dump("sizes", SIZES, ConfigDump.sizes, proxy)

    @returns(ZTUNNEL_WORKLOAD)
    def ztunnel_workload(self, *, proxy: str = "") -> pd.DataFrame:
        """The workloads that each ztunnel knows."""
        return self._of_ztunnel("ztunnel_workload", ZTUNNEL_WORKLOAD, ZtunnelDump.workloads, proxy)

    @returns(ZTUNNEL_SERVICE)
    def ztunnel_service(self, *, proxy: str = "") -> pd.DataFrame:
        """The services that each ztunnel knows."""
        return self._of_ztunnel("ztunnel_service", ZTUNNEL_SERVICE, ZtunnelDump.services, proxy)

    @returns(ZTUNNEL_POLICY)
    def ztunnel_policy(self, *, proxy: str = "") -> pd.DataFrame:
        """The authorization policies that each ztunnel enforces."""
        return self._of_ztunnel("ztunnel_policy", ZTUNNEL_POLICY, ZtunnelDump.policies, proxy)

    @returns(ZTUNNEL_CERTIFICATE)
    def ztunnel_certificate(self, *, proxy: str = "") -> pd.DataFrame:
        """The certificates that each ztunnel holds, as they were at the time of the capture."""
        at = self.snapshot.manifest.created
        return self._of_ztunnel(
            "ztunnel_certificate", ZTUNNEL_CERTIFICATE, lambda dump: dump.certificates(at=at), proxy
        )

    @returns(ZTUNNEL_CONNECTIONS)
    def ztunnel_connections(self, *, proxy: str = "") -> pd.DataFrame:
        """The open connections that each ztunnel carries."""
        return self._of_ztunnel("ztunnel_connections", ZTUNNEL_CONNECTIONS, ZtunnelDump.connections, proxy)

    def _dump(self, document: Document, data: bytes) -> ConfigDump:
        return read_config_dump(data, name=self.snapshot.source_of(document), proxy=document.proxy)

    def _of_dump(
        self, table: str, frame: Frame, make: Callable[[ConfigDump], pd.DataFrame], proxy: str
    ) -> pd.DataFrame:
        if table in _AT_ONCE and not proxy and (table, "") not in self._made:
            self._read_at_once(table)

        def read(document: Document, data: bytes) -> pd.DataFrame:
            # a ztunnel answers the same request, and has tables of its own
            return frame.empty() if is_ztunnel_dump(data) else make(self._dump(document, data))

        return self.each_document(table, frame, read, proxy=proxy)

    def _of_ztunnel(
        self, table: str, frame: Frame, make: Callable[[ZtunnelDump], pd.DataFrame], proxy: str
    ) -> pd.DataFrame:
        def read(document: Document, data: bytes) -> pd.DataFrame:
            if not is_ztunnel_dump(data):
                return frame.empty()
            return make(read_ztunnel_dump(data, name=self.snapshot.source_of(document), proxy=document.proxy))

        return self.each_document(table, frame, read, proxy=proxy)

    def _read_at_once(self, table: str) -> None:
        """Make the four large tables of a large fleet together, on all cores."""
        documents = {document.proxy: document for document in self.documents(table)}
        if len(documents) < 2 or sum(document.bytes for document in documents.values()) < FLEET_BYTES:
            return
        try:
            paths = {proxy: self.snapshot.path(document) for proxy, document in documents.items()}
        except FormatError:
            return  # one is not there: each_document says which
        dumps = read_config_dumps(paths, tables=_AT_ONCE)
        for proxy, document in documents.items():
            reason = dumps.unreadable.get(str(paths[proxy]))
            if reason and not is_ztunnel_dump(self.snapshot.read(document)):
                self._unreadable[document.path] = reason
        for name in _AT_ONCE:
            self._made[name, ""] = dumps[name]


def keep(df: pd.DataFrame, **wanted: str | int | None) -> pd.DataFrame:
    """The rows whose columns equal what is wanted; empty text and `None` want nothing."""
    asked = {column: value for column, value in wanted.items() if value not in ("", None)}
    for column, value in asked.items():
        df = df[(df[column] == value).fillna(False)]
    return df.reset_index(drop=True) if asked else df
