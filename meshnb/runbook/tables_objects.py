"""Tables of a `Mesh` from Kubernetes and Istio objects."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, ClassVar

from meshnb.errors import UsageError
from meshnb.loaders import istio_objects, objects, telemetry_objects
from meshnb.model import resources
from meshnb.model.frame import Frame, returns
from meshnb.model.manifest import Document
from meshnb.model.tables import objects as tables
from meshnb.runbook.base import MeshBase, Needs

if TYPE_CHECKING:
    import pandas as pd


class ObjectTables(MeshBase):
    """Pods, services and the objects of Istio."""

    TABLES: ClassVar[Mapping[str, Needs]] = {
        "objects": Needs("kubernetes", "kubernetes/"),
        "pods": Needs("kubernetes", "kubernetes/pods."),
        "services": Needs("kubernetes", "kubernetes/services."),
        "endpoint_slices": Needs("kubernetes", "kubernetes/endpointslices."),
        "virtual_services": Needs("kubernetes", "kubernetes/virtualservices."),
        "destination_rules": Needs("kubernetes", "kubernetes/destinationrules."),
        "gateways": Needs("kubernetes", "kubernetes/gateways."),
        "telemetries": Needs("kubernetes", "kubernetes/telemetries."),
    }

    @returns(tables.OBJECTS)
    def objects(self, kind: str = "") -> pd.DataFrame:
        """Objects of Kubernetes and Istio.

        Args:
            kind: only these: kind (`VirtualService`), plural or short name; empty for all.

        Raises:
            UsageError: no such kind; names the nearest.

        Example:
            >>> import meshnb
            >>> meshnb.open("demo").objects("vs").kind.unique().tolist()
            ['VirtualService']
        """
        frame = self._from("objects", tables.OBJECTS, objects.objects_table)
        if not kind:
            return frame
        found = frame[frame.kind.str.lower() == kind.lower()]
        if not len(found):
            found = frame[frame.kind == self._resource(kind).kind]
        return found.reset_index(drop=True)

    def _resource(self, kind: str) -> resources.Resource:
        try:
            return resources.find(kind)
        except UsageError as error:
            held = sorted(p.rpartition("/")[2].rpartition(".")[0] for p in self._paths())
            raise UsageError(error.message, hint=f"{error.hint}; this snapshot holds: {', '.join(held)}") from None

    def _paths(self) -> list[str]:
        return [document.path for document in self.documents("objects")]

    @returns(tables.PODS)
    def pods(self) -> pd.DataFrame:
        """Pods.

        Example:
            >>> import meshnb
            >>> pods = meshnb.open("demo").pods()
            >>> bool(pods.ready.all())
            True
        """
        return self._from("pods", tables.PODS, objects.pods_table)

    @returns(tables.SERVICES)
    def services(self) -> pd.DataFrame:
        """Services of Kubernetes."""
        return self._from("services", tables.SERVICES, objects.services_table)

    @returns(tables.ENDPOINT_SLICES)
    def endpoint_slices(self) -> pd.DataFrame:
        """What Kubernetes says is behind each service."""
        return self._from("endpoint_slices", tables.ENDPOINT_SLICES, objects.endpoint_slices_table)

    @returns(tables.VIRTUAL_SERVICES)
    def virtual_services(self) -> pd.DataFrame:
        """Routes of VirtualServices, one row per destination."""
        return self._from("virtual_services", tables.VIRTUAL_SERVICES, istio_objects.virtual_services_table)

    @returns(tables.DESTINATION_RULES)
    def destination_rules(self) -> pd.DataFrame:
        """Subsets and settings of DestinationRules."""
        return self._from("destination_rules", tables.DESTINATION_RULES, istio_objects.destination_rules_table)

    @returns(tables.GATEWAYS)
    def gateways(self) -> pd.DataFrame:
        """Servers of Istio's Gateways."""
        return self._from("gateways", tables.GATEWAYS, istio_objects.gateways_table)

    @returns(tables.TELEMETRIES)
    def telemetries(self) -> pd.DataFrame:
        """What Telemetry objects ask of access logs; what Envoy does is in `access_loggers`."""
        return self._from("telemetries", tables.TELEMETRIES, telemetry_objects.telemetries_table)

    def _from(self, table: str, frame: Frame, make: Callable[..., pd.DataFrame]) -> pd.DataFrame:
        def read(document: Document, data: bytes) -> pd.DataFrame:
            file = self.snapshot.source_of(document)
            return make(objects.decode_objects(data, file=file), file=file)

        return self.each_document(table, frame, read)
