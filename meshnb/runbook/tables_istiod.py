"""Tables of a `Mesh` from istiod's debug endpoints.

Documents of one proxy are named `NAME.POD.NAMESPACE.json`, topics of ControlZ `controlz.TOPIC.json`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC
from typing import TYPE_CHECKING, ClassVar

from meshnb.errors import NotFound, UsageError
from meshnb.loaders import controlz, istiod_debug, istiod_debug_services, mesh_config
from meshnb.loaders.config_dump import ConfigDump, read_config_dump
from meshnb.loaders.objects import decode_objects, objects_table
from meshnb.loaders.sidecarz import read_sidecarz
from meshnb.model.frame import Frame, returns
from meshnb.model.manifest import Document
from meshnb.model.tables import istiod as tables
from meshnb.model.tables.objects import OBJECTS
from meshnb.runbook.base import MeshBase, Needs

if TYPE_CHECKING:
    import pandas as pd


class IstiodTables(MeshBase):
    """What istiod knows, holds and would send."""

    TABLES: ClassVar[Mapping[str, Needs]] = {
        "xds_clients": Needs("istiod_debug", "istiod/", "adsz"),
        "xds_watches": Needs("istiod_debug", "istiod/", "adsz"),
        "istiod_endpoints": Needs("istiod_debug", "istiod/", "endpointShardz"),
        "endpoints_sent": Needs("istiod_debug", "istiod/", "edsz"),
        "dns_names": Needs("agent", name="ndsz", also="istiod_debug"),
        "sidecar_scopes": Needs("istiod_debug", "istiod/", "sidecarz"),
        "authorization_policies": Needs("istiod_debug", "istiod/", "authorizationz"),
        "istiod_services": Needs("istiod_debug", "istiod/", "registryz"),
        "istiod_objects": Needs("istiod_debug", "istiod/", "configz"),
        "push_status": Needs("istiod_debug", "istiod/", "push_status"),
        "mesh_config": Needs("istiod_debug", "istiod/", "mesh"),
        "controlz": Needs("istiod_debug", "istiod/", "controlz"),
        "config_drift": Needs("istiod_debug", "istiod/", "config_dump"),
    }

    @returns(tables.XDS_CLIENTS)
    def xds_clients(self) -> pd.DataFrame:
        """Proxies connected to each istiod, since when, and how much they watch."""
        now = self.snapshot.manifest.created.astimezone(UTC)
        return self._debug(
            "xds_clients",
            tables.XDS_CLIENTS,
            lambda data, pod, file, _: istiod_debug.read_adsz(data, istiod=pod, now=now, file=file),
        )

    @returns(tables.XDS_WATCHES)
    def xds_watches(self) -> pd.DataFrame:
        """What each proxy watches, type by type."""
        return self._debug(
            "xds_watches",
            tables.XDS_WATCHES,
            lambda data, pod, file, _: istiod_debug.read_watches(data, istiod=pod, file=file),
        )

    @returns(tables.ISTIOD_ENDPOINTS)
    def istiod_endpoints(self) -> pd.DataFrame:
        """Endpoints each istiod knows, whatever it sends to whom."""
        return self._debug(
            "istiod_endpoints",
            tables.ISTIOD_ENDPOINTS,
            lambda data, pod, file, _: istiod_debug_services.read_endpoint_shards(data, istiod=pod, file=file),
        )

    @returns(tables.ISTIOD_ENDPOINTS)
    def endpoints_sent(self) -> pd.DataFrame:
        """Endpoints istiod sends to single proxies."""
        return self._debug(
            "endpoints_sent",
            tables.ISTIOD_ENDPOINTS,
            lambda data, pod, file, proxy: istiod_debug_services.read_edsz(data, istiod=pod, proxy=proxy, file=file),
        )

    @returns(tables.DNS_NAMES)
    def dns_names(self) -> pd.DataFrame:
        """Names the DNS proxies of agents answer, from the agents themselves or from istiod."""
        return self._debug(
            "dns_names",
            tables.DNS_NAMES,
            lambda data, _, file, proxy: istiod_debug_services.read_ndsz(data, proxy=proxy, file=file),
        )

    @returns(tables.SIDECAR_SCOPES)
    def sidecar_scopes(self) -> pd.DataFrame:
        """Services istiod lets single proxies see, and the Sidecar object that says so."""
        return self._debug(
            "sidecar_scopes",
            tables.SIDECAR_SCOPES,
            lambda data, pod, file, proxy: read_sidecarz(data, istiod=pod, proxy=proxy, file=file),
        )

    @returns(tables.AUTHORIZATION_POLICIES)
    def authorization_policies(self) -> pd.DataFrame:
        """AuthorizationPolicies istiod holds."""
        return self._debug(
            "authorization_policies",
            tables.AUTHORIZATION_POLICIES,
            lambda data, pod, file, _: istiod_debug.read_authorizationz(data, istiod=pod, file=file),
        )

    @returns(tables.ISTIOD_SERVICES)
    def istiod_services(self) -> pd.DataFrame:
        """Services istiod knows, those of ServiceEntries included."""
        return self._debug(
            "istiod_services",
            tables.ISTIOD_SERVICES,
            lambda data, pod, file, _: istiod_debug_services.read_registryz(data, istiod=pod, file=file),
        )

    @returns(OBJECTS)
    def istiod_objects(self) -> pd.DataFrame:
        """Istio objects as istiod holds them; compare with `mesh.objects()`, which is what Kubernetes holds."""

        def make(data: bytes, pod: str, file: str, proxy: str) -> pd.DataFrame:
            # configz is a bare list of objects
            text = data if data.lstrip()[:1] != b"[" else b'{"kind":"List","items":' + data + b"}"
            return objects_table(decode_objects(text, file=file), file=file)

        return self._debug("istiod_objects", OBJECTS, make)

    @returns(tables.PUSH_STATUS)
    def push_status(self) -> pd.DataFrame:
        """Problems each istiod met when it built its last push."""
        return self._debug(
            "push_status",
            tables.PUSH_STATUS,
            lambda data, pod, file, _: istiod_debug.read_push_status(data, istiod=pod, file=file),
        )

    @returns(tables.MESH_CONFIG)
    def mesh_config(self) -> pd.DataFrame:
        """Settings of the mesh in force at each istiod."""
        return self._debug(
            "mesh_config",
            tables.MESH_CONFIG,
            lambda data, pod, file, _: mesh_config.read_mesh_config(data, istiod=pod, file=file),
        )

    @returns(tables.CONTROLZ)
    def controlz(self, topic: str = "") -> pd.DataFrame:
        """Log scopes, memory, environment, process, version and metrics of each istiod, from ControlZ.

        Args:
            topic: only this one: `scope`, `memory`, `env`, `process`, `version` or `metrics`.

        Raises:
            UsageError: no such topic.
        """
        if topic and topic not in controlz.TOPICS:
            raise UsageError(f"no topic {topic!r} of ControlZ", hint=f"topics: {', '.join(controlz.TOPICS)}")
        frame = self._debug(
            "controlz",
            tables.CONTROLZ,
            lambda data, pod, file, name: controlz.read_controlz(data, topic=name, istiod=pod, file=file),
        )
        return frame[frame.topic == topic].reset_index(drop=True) if topic else frame

    @returns(tables.CONFIG_DRIFT)
    def config_drift(self) -> pd.DataFrame:
        """What istiod would send single proxies against what Envoy has, by the names of resources."""

        def make(data: bytes, pod: str, file: str, proxy: str) -> pd.DataFrame:
            dumps = self.snapshot.documents("config_dump", proxy=proxy)
            if not dumps:
                return tables.CONFIG_DRIFT.empty()
            expected = _names(data, file)
            actual = _names(self.snapshot.read(dumps[0]), self.snapshot.source_of(dumps[0]))
            return tables.CONFIG_DRIFT.rows(
                {"proxy": proxy, "type": kind, "name": name, "only_in": side}
                for kind in expected
                for side, names in (("istiod", expected[kind] - actual[kind]), ("envoy", actual[kind] - expected[kind]))
                for name in sorted(names)
            )

        return self._debug("config_drift", tables.CONFIG_DRIFT, make)

    def expected_config(self, proxy: str) -> ConfigDump:
        """What istiod would send a proxy, to compare with `meshnb.diff(mesh.expected_config(p), mesh.config_dump(p))`.

        Args:
            proxy: `POD.NAMESPACE`.

        Raises:
            NotFound: istiod was not asked about it; capture with `--expected`.
        """
        asked = [
            d
            for d in self.documents("config_drift")
            if proxy in (d.proxy, d.path.rpartition("/")[2].removesuffix(".json").partition(".")[2])
        ]
        if not asked:
            hint = "capture again with: meshnb capture --expected"
            raise NotFound(f"istiod was not asked what it would send {proxy}", hint=hint)
        return read_config_dump(self.snapshot.read(asked[0]), name=self.snapshot.source_of(asked[0]), proxy=proxy)

    def _debug(self, table: str, frame: Frame, make: Callable[[bytes, str, str, str], pd.DataFrame]) -> pd.DataFrame:
        def read(document: Document, data: bytes) -> pd.DataFrame:
            argument = document.path.rpartition("/")[2].removesuffix(".json").partition(".")[2]
            return make(data, pod_of(document), self.snapshot.source_of(document), document.proxy or argument)

        return self.each_document(table, frame, read)


def _names(data: bytes, file: str) -> dict[str, set[str]]:
    """Names of dynamic resources in force; static ones are Envoy's own and never sent."""
    dump = read_config_dump(data, name=file)
    frames = {
        "CDS": (dump.clusters(), "cluster"),
        "LDS": (dump.listeners(), "listener"),
        "RDS": (dump.routes(), "route_config"),
    }
    return {
        kind: set(frame.loc[frame.dynamic.fillna(True) & (frame.state == "active"), column].dropna())
        for kind, (frame, column) in frames.items()
    }


def pod_of(document: Document) -> str:
    """The pod of a document's folder, `istiod/POD.NAMESPACE/debug/NAME.json`."""
    return document.path.split("/")[1].rpartition(".")[0]
