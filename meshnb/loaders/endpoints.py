"""Endpoints of a config dump (`EndpointsConfigDump`)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from meshnb.loaders.proto import AdditionalAddress, Address, Locality, Message, Metadata, Reader
from meshnb.loaders.sections import Resource
from meshnb.model.tables.envoy import ENDPOINTS

if TYPE_CHECKING:
    import pandas as pd

HEALTH = ("UNKNOWN", "HEALTHY", "UNHEALTHY", "DRAINING", "TIMEOUT", "DEGRADED")
"""`core.v3.HealthStatus` by number."""


class Endpoint(Message):
    """`endpoint.v3.Endpoint`."""

    address: Address | None = None
    additional_addresses: list[AdditionalAddress] = []
    hostname: str = ""


class LbEndpoint(Message):
    """`endpoint.v3.LbEndpoint`."""

    endpoint: Endpoint | None = None
    health_status: str | int = "UNKNOWN"
    load_balancing_weight: int = 1
    metadata: Metadata | None = None


class LocalityLbEndpoints(Message):
    """`endpoint.v3.LocalityLbEndpoints`."""

    locality: Locality | None = None
    lb_endpoints: list[LbEndpoint] = []
    load_balancing_weight: int | None = None
    priority: int = 0


class ClusterLoadAssignment(Message):
    """`endpoint.v3.ClusterLoadAssignment`."""

    cluster_name: str = ""
    endpoints: list[LocalityLbEndpoints] = []


read_assignment = Reader(ClusterLoadAssignment)
_NO_ADDRESS = Address()
_NO_WORKLOAD = (None, None, None, None, None)

_OWN = (
    "address", "port", "endpoint", "additional_addresses", "hostname", "health_status", "weight", "priority",
    "locality", "locality_weight", "workload", "workload_namespace", "canonical_service", "canonical_revision",
    "workload_cluster", "tls_mode",
)  # fmt: skip


def endpoint_columns(resources: Iterable[Resource]) -> dict[str, list[Any]]:
    """The columns of all endpoints, see `meshnb.model.tables.envoy.ENDPOINTS`.

    There may be 100,000 of them, so values go straight into columns.

    Raises:
        msgspec.MsgspecError, ValueError: not a load assignment.
    """
    shared: dict[str, list[Any]] = {}
    rows: list[tuple[Any, ...]] = []
    cluster_names: list[str] = []
    for resource in resources:
        assignment = read_assignment(resource.raw) if resource.size else ClusterLoadAssignment()
        before = len(rows)
        for group in assignment.endpoints:
            _add_group(rows, group)
        count = len(rows) - before
        cluster_names += [assignment.cluster_name or resource.name] * count
        for name, value in resource.status.items():
            shared.setdefault(name, []).extend([value] * count)
    columns: dict[str, list[Any]] = {"cluster": cluster_names}
    transposed = zip(*rows, strict=True) if rows else ([] for _ in _OWN)
    columns |= {name: list(values) for name, values in zip(_OWN, transposed, strict=True)}
    columns["source"] = ["eds"] * len(rows)
    return columns | shared


def _add_group(rows: list[tuple[Any, ...]], group: LocalityLbEndpoints) -> None:
    locality = str(group.locality) if group.locality is not None else ""
    for one in group.lb_endpoints:
        endpoint = one.endpoint
        address = (endpoint.address if endpoint is not None else None) or _NO_ADDRESS
        health = one.health_status
        filters = one.metadata.filter_metadata if one.metadata is not None else None
        istio = filters.istio if filters is not None else None
        match = filters.socket_match if filters is not None else None
        rows.append(
            (
                address.host,
                address.port,
                str(address),
                [str(more.address or _NO_ADDRESS) for more in endpoint.additional_addresses]
                if endpoint is not None and endpoint.additional_addresses
                else None,
                (endpoint.hostname if endpoint is not None else "") or None,
                health if isinstance(health, str) else health_name(health),
                one.load_balancing_weight,
                group.priority,
                locality or None,
                group.load_balancing_weight or None,
                *(workload(istio.workload) if istio is not None else _NO_WORKLOAD),
                match.tls_mode if match is not None and isinstance(match.tls_mode, str) else None,
            )
        )


def health_name(number: int) -> str:
    """Name of a `HealthStatus` given as a number."""
    return HEALTH[number] if 0 <= number < len(HEALTH) else str(number)


def workload(text: object) -> tuple[str | None, ...]:
    """Workload, namespace, canonical service, canonical revision and cluster from Istio's `a;b;c;d;e`.

    Example:
        >>> workload("catalog;istioinaction;catalog;v1;Kubernetes")
        ('catalog', 'istioinaction', 'catalog', 'v1', 'Kubernetes')
    """
    if not isinstance(text, str) or not text:
        return _NO_WORKLOAD
    parts: list[str | None] = [part or None for part in text.split(";")]
    return tuple((parts + [None] * 5)[:5])


_FROM_DUMP = (
    "additional_addresses", "locality_weight", "workload", "workload_namespace", "canonical_service",
    "canonical_revision", "workload_cluster", "tls_mode", "version_info", "last_updated",
)  # fmt: skip


def join_endpoints(configured: pd.DataFrame, live: pd.DataFrame) -> pd.DataFrame:
    """One row per endpoint from what the control plane sent and what Envoy says of it now.

    Rows of the `/clusters` page come first, completed by the metadata of the dump; then, with `source` `eds`, those
    that are in the dump alone.

    Args:
        configured: endpoints of config dumps.
        live: endpoints of `/clusters` pages.
    """
    import pandas as pd

    if not len(live):
        return configured
    key = ["proxy", "cluster", "endpoint"]
    known = configured[[*key, *_FROM_DUMP]].drop_duplicates(key)
    joined = live.drop(columns=list(_FROM_DUMP)).merge(known, on=key, how="left")[ENDPOINTS.column_names]
    marked = configured[key].merge(live[key].drop_duplicates(), on=key, how="left", indicator=True)
    rest = configured[(marked["_merge"] == "left_only").to_numpy()]
    return ENDPOINTS.conform(pd.concat([joined, rest], ignore_index=True) if len(rest) else joined)
