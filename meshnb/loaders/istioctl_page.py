"""`istioctl proxy-config endpoints`: the endpoints of a `/clusters` page."""

from __future__ import annotations

from meshnb.loaders.clusters_admin import ClusterStatus, Health, HostStatus
from meshnb.loaders.endpoints import health_name
from meshnb.loaders.istioctl_style import Filters
from meshnb.loaders.istioctl_text import aligned
from meshnb.loaders.proto import Address


def page_text(clusters: list[ClusterStatus], filters: Filters) -> str:
    """The table of endpoints, by address, port and cluster."""
    rows = []
    for cluster in clusters:
        for host in cluster.host_statuses:
            if host_wanted(host, cluster.name, filters):
                address = host.address or Address()
                failed = host.health_status is not None and host.health_status.failed_outlier_check
                check = "FAILED" if failed else "OK"
                rows.append((_address(address), address.port, cluster.name, _status(host), check))
    return aligned(
        ["ENDPOINT", "STATUS", "OUTLIER CHECK", "CLUSTER"],
        [
            [f"{address}:{port}" if port else address, status, check, cluster]
            for address, port, cluster, status, check in sorted(rows)
        ],
    )


def host_wanted(host: HostStatus, cluster: str, filters: Filters) -> bool:
    """Whether the filters leave an endpoint."""
    address = host.address or Address()
    return (
        (not filters.address or _address(address).lower() == filters.address.lower())
        and (not filters.port or address.port == filters.port)
        and (not filters.cluster or cluster.lower() == filters.cluster.lower())
        and (not filters.status or _status(host).lower() == filters.status.lower())
    )


def _status(host: HostStatus) -> str:
    status = (host.health_status or Health()).eds_health_status
    return status if isinstance(status, str) else health_name(status)


def _address(address: Address) -> str:
    return address.socket_address.address if address.socket_address is not None else str(address)
