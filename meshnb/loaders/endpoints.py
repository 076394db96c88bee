"""Endpoints of a config dump (`EndpointsConfigDump`)."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from meshnb.loaders.proto import AdditionalAddress, Address, Locality, Message, Metadata, Reader, host_port
from meshnb.loaders.sections import Resource
from meshnb.model.tables.envoy import ENDPOINTS, STATUS

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
_NO_ENDPOINT = Endpoint()
_NO_WORKLOAD = (None, None, None, None, None)

COLUMNS = (
    "cluster", "address", "port", "endpoint", "additional_addresses", "hostname", "health_status", "weight", "priority",
    "locality", "locality_weight", "workload", "workload_namespace", "canonical_service", "canonical_revision",
    "workload_cluster", "tls_mode", "source", *(column.name for column in STATUS),
)  # fmt: skip
"""Columns of `meshnb.model.tables.envoy.ENDPOINTS` in the order of the rows of `endpoint_rows`."""


def endpoint_rows(resource: Resource) -> list[tuple[Any, ...]]:
    """The rows of one load assignment, as tuples of `COLUMNS`: a dump may have 100,000 of them.

    Raises:
        msgspec.MsgspecError, ValueError: not a load assignment.
    """
    assignment = read_assignment(resource.raw) if resource.size else ClusterLoadAssignment()
    cluster = assignment.cluster_name or resource.name
    status = ("eds", *resource.status.values())
    rows = []
    for group in assignment.endpoints:
        shared = (
            group.priority,
            (str(group.locality) if group.locality is not None else "") or None,
            group.load_balancing_weight or None,
        )
        for one in group.lb_endpoints:
            endpoint = one.endpoint if one.endpoint is not None else _NO_ENDPOINT
            health = one.health_status
            rows.append(
                (
                    cluster,
                    *_address(endpoint),
                    endpoint.hostname or None,
                    health if isinstance(health, str) else health_name(health),
                    one.load_balancing_weight,
                    *shared,
                    *_metadata(one.metadata),
                    *status,
                )
            )
    return rows


def _address(endpoint: Endpoint) -> tuple[Any, ...]:
    address = endpoint.address if endpoint.address is not None else _NO_ADDRESS
    more = endpoint.additional_addresses
    others = [str(one.address or _NO_ADDRESS) for one in more] if more else None
    socket = address.socket_address
    if socket is None:
        return address.host, 0, str(address), others
    return socket.address, socket.port_value, host_port(socket.address, socket.port_value), others


def _metadata(metadata: Metadata | None) -> tuple[Any, ...]:
    filters = metadata.filter_metadata if metadata is not None else None
    if filters is None:
        return (*_NO_WORKLOAD, None)
    found = filters.istio.workload if filters.istio is not None else None
    mode = filters.socket_match.tls_mode if filters.socket_match is not None else None
    return (*(workload(found) if isinstance(found, str) else _NO_WORKLOAD), mode if isinstance(mode, str) else None)


def health_name(number: int) -> str:
    """Name of a `HealthStatus` given as a number."""
    return HEALTH[number] if 0 <= number < len(HEALTH) else str(number)


@lru_cache(maxsize=65536)
def workload(text: str) -> tuple[str | None, ...]:
    """Workload, namespace, canonical service, canonical revision and cluster from Istio's `a;b;c;d;e`.

    Example:
        >>> workload("catalog;istioinaction;catalog;v1;Kubernetes")
        ('catalog', 'istioinaction', 'catalog', 'v1', 'Kubernetes')
    """
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
