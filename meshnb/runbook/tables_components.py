"""Tables of a `Mesh` from the components' own words: istiod's debug endpoints, agents, ports, probes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC
from typing import TYPE_CHECKING, Any, ClassVar

from meshnb.loaders.agent import read_agent_metrics, read_agent_ready, read_probe_replay
from meshnb.loaders.objects import decode_objects
from meshnb.loaders.pod_settings import istiods_table, proxy_metadata_table
from meshnb.loaders.ports import read_ports
from meshnb.loaders.probes import probes_table
from meshnb.loaders.proxy_status_text import read_proxy_status
from meshnb.model import debug_endpoints
from meshnb.model.frame import Frame, returns
from meshnb.model.manifest import Document
from meshnb.model.tables import components
from meshnb.model.tables.sync import DEBUG_ENDPOINTS, PROXY_STATUS
from meshnb.runbook.base import MeshBase, Needs
from meshnb.runbook.tables_istiod import pod_of

if TYPE_CHECKING:
    import pandas as pd


class ComponentTables(MeshBase):
    """What istiod, agents and their ports say of themselves."""

    TABLES: ClassVar[Mapping[str, Needs]] = {
        "proxy_status": Needs("istiod_debug", "istiod/", "syncz"),
        "debug_endpoints": Needs("istiod_debug"),
        "istiods": Needs("kubernetes", "kubernetes/pods."),
        "proxy_metadata": Needs("kubernetes", "kubernetes/pods."),
        "probes": Needs("kubernetes", "kubernetes/pods."),
        "listening_ports": Needs("agent", "agent/", "ports"),
        "agents": Needs("agent", "agent/", "ready"),
        "agent_metrics": Needs("agent", "agent/", "stats"),
        "probe_replays": Needs("agent", "agent/", "app-health"),
    }

    @returns(PROXY_STATUS)
    def proxy_status(self, *, proxy: str = "") -> pd.DataFrame:
        """Whether each proxy has accepted what istiod sent it last, type by type.

        Args:
            proxy: only this one (`POD.NAMESPACE`).

        Example:
            >>> import meshnb
            >>> bool(meshnb.open("demo").proxy_status().status.isin(["SYNCED", "NOT SENT"]).all())
            True
        """

        def read(document: Document, data: bytes) -> pd.DataFrame:
            file, now = self.snapshot.source_of(document), self.snapshot.manifest.created.astimezone(UTC)
            frame = read_proxy_status(data, now=now, file=file)
            release = self.snapshot.manifest.versions.get("istio")
            return frame.assign(
                istiod=frame.istiod.fillna(pod_of(document)),
                istiod_version=frame.istiod_version.fillna(release) if release else frame.istiod_version,
            )

        frame = self.each_document("proxy_status", PROXY_STATUS, read)
        return frame[frame.proxy == proxy].reset_index(drop=True) if proxy else frame

    def gaps(self, table: str) -> list[str]:
        """What a table lacks; the index of debug endpoints lists its gaps itself."""
        return [] if table == "debug_endpoints" else super().gaps(table)

    @returns(DEBUG_ENDPOINTS)
    def debug_endpoints(self) -> pd.DataFrame:
        """Which debug endpoints each istiod was asked, and which answered."""
        every = [*self.documents("debug_endpoints"), *self.snapshot.failed("istiod_debug")]
        return DEBUG_ENDPOINTS.rows(_debug_endpoint(document) for document in sorted(every, key=lambda d: d.path))

    @returns(components.ISTIODS)
    def istiods(self) -> pd.DataFrame:
        """Pods of istiod, and what each was started with.

        It answers questions about single pods: is it ready, of which release, which ports are open.
        `mesh.istiod_settings()` answers what the control plane as a whole is tuned to.
        """
        return self._pods("istiods", components.ISTIODS, istiods_table)

    @returns(components.PROXY_METADATA)
    def proxy_metadata(self) -> pd.DataFrame:
        """What each proxy's environment tells istiod about it."""
        return self._pods("proxy_metadata", components.PROXY_METADATA, proxy_metadata_table)

    @returns(components.PROBES)
    def probes(self) -> pd.DataFrame:
        """Probes of every container, and what the injector made of them."""
        return self._pods("probes", components.PROBES, probes_table)

    @returns(components.LISTENING_PORTS)
    def listening_ports(self, *, proxy: str = "") -> pd.DataFrame:
        """What pods listen on, from `ss` or `netstat` inside them.

        Args:
            proxy: only this pod (`POD.NAMESPACE`).
        """

        def read(document: Document, data: bytes) -> pd.DataFrame:
            return read_ports(data, proxy=document.path.split("/")[1], file=self.snapshot.source_of(document))

        frame = self.each_document("listening_ports", components.LISTENING_PORTS, read)
        return frame[frame.proxy == proxy].reset_index(drop=True) if proxy else frame

    @returns(components.AGENTS)
    def agents(self) -> pd.DataFrame:
        """Whether each agent is ready, and why not."""
        return self._agent("agents", components.AGENTS, lambda data, proxy, _: read_agent_ready(data, proxy=proxy))

    @returns(components.AGENT_METRICS)
    def agent_metrics(self) -> pd.DataFrame:
        """Merged metrics of every agent, with who emitted each."""
        return self._agent(
            "agent_metrics",
            components.AGENT_METRICS,
            lambda data, proxy, document: read_agent_metrics(data, proxy=proxy, file=self.snapshot.source_of(document)),
        )

    @returns(components.PROBE_REPLAYS)
    def probe_replays(self) -> pd.DataFrame:
        """Rewritten probes asked of the agents as the kubelet does, with what the applications answered."""

        def make(data: bytes, proxy: str, document: Document) -> pd.DataFrame:
            name = document.path.rpartition("/")[2].removeprefix("app-health.").removesuffix(".txt")
            return read_probe_replay(data, name=name, proxy=proxy, file=self.snapshot.source_of(document))

        return self._agent("probe_replays", components.PROBE_REPLAYS, make)

    def _agent(self, table: str, frame: Frame, make: Callable[[bytes, str, Document], pd.DataFrame]) -> pd.DataFrame:
        return self.each_document(
            table, frame, lambda document, data: make(data, document.proxy or document.path.split("/")[1], document)
        )

    def _pods(self, table: str, frame: Frame, make: Callable[..., pd.DataFrame]) -> pd.DataFrame:
        def read(document: Document, data: bytes) -> pd.DataFrame:
            file = self.snapshot.source_of(document)
            return make(decode_objects(data, file=file), file=file)

        return self.each_document(table, frame, read)


def _state(error: str, known: debug_endpoints.DebugEndpoint | None) -> str:
    """What became of a request for a debug page."""
    if not error:
        return "answered"
    if "HTTP 409" in error or "is disabled" in error:
        return "disabled"
    if "404" in error:
        return "removed" if known and known.removed else "absent"
    return "failed"


def _debug_endpoint(document: Document) -> dict[str, Any]:
    name, _, rest = document.path.rpartition("/")[2].removesuffix(".json").partition(".")
    known = debug_endpoints.find(name)
    return {
        "istiod": pod_of(document),
        "endpoint": name,
        "proxy": rest or None,
        "meaning": known.meaning if known else None,
        "bytes": None if document.error else document.bytes,
        "state": _state(document.error, known),
        "error": document.error or None,
        "note": known.note or None if known else None,
        "removed": known.removed or None if known else None,
        "document": document.path,
    }
