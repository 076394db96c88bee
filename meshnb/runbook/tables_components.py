"""Tables of a `Mesh` from the components' own words: istiod's debug endpoints, agents, ports, probes."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC
from typing import TYPE_CHECKING, ClassVar

from meshnb.loaders.istioctl_text import read_proxy_status
from meshnb.model.frame import returns
from meshnb.model.manifest import Document
from meshnb.model.tables.sync import PROXY_STATUS
from meshnb.runbook.base import MeshBase, Needs

if TYPE_CHECKING:
    import pandas as pd


class ComponentTables(MeshBase):
    """What istiod, agents and their ports say of themselves."""

    TABLES: ClassVar[Mapping[str, Needs]] = {
        "proxy_status": Needs("istiod_debug", "istiod/", "syncz"),
    }

    @returns(PROXY_STATUS)
    def proxy_status(self, *, proxy: str = "") -> pd.DataFrame:
        """Whether each proxy has accepted what istiod sent it last, type by type.

        Args:
            proxy: only this one (`POD.NAMESPACE`).

        Example:
            >>> import meshnb
            >>> meshnb.open("demo").proxy_status().status.isin(["SYNCED", "NOT SENT"]).all()
            np.True_
        """

        def read(document: Document, data: bytes) -> pd.DataFrame:
            file, now = self.snapshot.source_of(document), self.snapshot.manifest.created.astimezone(UTC)
            frame = read_proxy_status(data, now=now, file=file)
            return frame.assign(istiod=frame.istiod.fillna(pod_of(document)))

        frame = self.each_document("proxy_status", PROXY_STATUS, read)
        return frame[frame.proxy == proxy].reset_index(drop=True) if proxy else frame


def pod_of(document: Document) -> str:
    """The pod of a document's folder, `istiod/POD.NAMESPACE/debug/NAME.json`."""
    return document.path.split("/")[1].rpartition(".")[0]
