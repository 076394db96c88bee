"""istiod's debug answers about services: what it knows, what it sends, what its DNS names are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from meshnb.envoy.names import ClusterName
from meshnb.errors import FormatError
from meshnb.loaders.istiod_debug import decode
from meshnb.loaders.objects import to_json
from meshnb.loaders.shape import shaped
from meshnb.model.frame import returns
from meshnb.model.tables.istiod import DNS_NAMES, ISTIOD_ENDPOINTS, ISTIOD_SERVICES

if TYPE_CHECKING:
    import pandas as pd

_HEALTH = {0: "UNKNOWN", 1: "HEALTHY", 2: "UNHEALTHY", 3: "DRAINING", 4: "TERMINATING"}
_RESOLUTION = {0: "ClientSideLB", 1: "DNSLB", 2: "Passthrough", 3: "DNSRoundRobinLB", 4: "Alias", 5: "DynamicDNS"}


@returns(ISTIOD_ENDPOINTS)
@shaped("endpointShardz")
def read_endpoint_shards(data: bytes | str, *, istiod: str = "", file: str = "") -> pd.DataFrame:
    """Endpoints istiod knows: `/debug/endpointShardz`, or `/debug/endpointz` in either of its shapes.

    Raises:
        FormatError: neither of them.
    """
    document = decode(data, file=file, what="endpointShardz")
    if isinstance(document, list):
        rows = [row for item in document for row in _instances(item)]
    elif isinstance(document, Mapping):
        rows = [row for host, spaces in document.items() for row in _shards(str(host), spaces, file)]
    else:
        raise FormatError("not endpointShardz: an object expected", file=file)
    return ISTIOD_ENDPOINTS.rows({"istiod": istiod or None, "source": "shards", **row} for row in rows)


def _shards(host: str, spaces: Any, file: str) -> Iterator[dict[str, Any]]:
    if not isinstance(spaces, Mapping):
        raise FormatError("not endpointShardz: namespaces expected below a host", file=file, position=host)
    for namespace, shards in spaces.items():
        by_source = (shards or {}).get("Shards") or (shards or {}).get("shards") or {}
        for shard, endpoints in by_source.items():
            for endpoint in endpoints or ():
                for row in _endpoint(endpoint):
                    yield {"host": host, "namespace": namespace, "shard": shard, **row}


def _instances(item: Any) -> Iterator[dict[str, Any]]:
    """The list of `endpointz` before 1.20: `{svc: "host:port", ep: [instances]}`."""
    host = str(item.get("svc", "")).rpartition(":")[0]
    for instance in item.get("ep") or ():
        endpoint = instance.get("Endpoint") or instance.get("endpoint") or {}
        for row in _endpoint(endpoint):
            yield {"host": host, "namespace": endpoint.get("Namespace"), **row}


def _endpoint(endpoint: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    addresses = endpoint.get("Addresses") or [endpoint.get("Address") or ""]
    health = endpoint.get("HealthStatus", 1)
    for address in addresses:
        yield {
            "address": str(address),
            "port": int(endpoint.get("EndpointPort") or 0),
            "port_name": endpoint.get("ServicePortName"),
            # releases before 1.16 leave it out and keep healthy ones only
            "health": _HEALTH.get(health, str(health)),
            "weight": endpoint.get("LbWeight"),
            "workload": endpoint.get("WorkloadName"),
            "service_account": endpoint.get("ServiceAccount"),
            "node": endpoint.get("NodeName"),
            "labels": to_json(endpoint.get("Labels") or {}),
        }


@returns(ISTIOD_ENDPOINTS)
@shaped("edsz")
def read_edsz(data: bytes | str, *, istiod: str = "", proxy: str = "", file: str = "") -> pd.DataFrame:
    """Endpoints istiod sends to one proxy: `/debug/edsz?proxyID=…` of any release.

    Raises:
        FormatError: not edsz.

    Example:
        >>> answer = '[{"clusterName": "outbound|80||a.b.svc.cluster.local", "endpoints": [{"lbEndpoints": []}]}]'
        >>> len(read_edsz(answer))
        0
    """
    document = decode(data, file=file, what="edsz")
    if not isinstance(document, list | Mapping):
        raise FormatError("not edsz: a list or a config dump expected", file=file)
    rows = [row for item in _found(document, "clusterName", "cluster_name") for row in _assignment(item)]
    common = {"istiod": istiod or None, "source": "edsz", "proxy": proxy or None}
    return ISTIOD_ENDPOINTS.rows({**common, **row} for row in rows)


def _assignment(item: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    cluster = str(_get(item, "clusterName"))
    host = ClusterName.parse(cluster).fqdn or cluster
    for group in item.get("endpoints") or ():
        for entry in _get(group, "lbEndpoints") or ():
            socket = _get(_get(entry.get("endpoint") or {}, "address") or {}, "socketAddress") or {}
            yield {
                "host": host,
                "namespace": host.split(".")[1] if host.count(".") > 2 else None,
                "cluster": cluster,
                "address": str(socket.get("address") or ""),
                "port": int(_get(socket, "portValue") or 0),
                "health": str(_get(entry, "healthStatus") or "UNKNOWN"),
                "weight": _get(entry, "loadBalancingWeight"),
                "labels": "{}",
            }


def _get(item: Mapping[str, Any], key: str) -> Any:
    """A field in camelCase (istiod) or snake_case (Envoy)."""
    if key in item:
        return item[key]
    return item.get("".join(f"_{c.lower()}" if c.isupper() else c for c in key))


def _found(value: Any, *keys: str) -> Iterator[Mapping[str, Any]]:
    """Every mapping, however deep, that has one of the keys."""
    if isinstance(value, Mapping):
        if any(key in value for key in keys):
            yield value
        else:
            for part in value.values():
                yield from _found(part, *keys)
    elif isinstance(value, list):
        for part in value:
            yield from _found(part, *keys)


@returns(DNS_NAMES)
@shaped("ndsz")
def read_ndsz(data: bytes | str, *, proxy: str = "", file: str = "") -> pd.DataFrame:
    """Names the DNS proxy answers: `/debug/ndsz` of istiod in any release, or of the agent.

    Raises:
        FormatError: not ndsz.

    Example:
        >>> read_ndsz('{"table": {"a.b.svc.cluster.local": {"ips": ["10.0.0.1"]}}}').address.tolist()
        ['10.0.0.1']
    """
    document = decode(data, file=file, what="ndsz")
    if not isinstance(document, list | Mapping):
        raise FormatError("not ndsz: an object expected", file=file)
    rows = []
    for holder in _found(document, "table"):
        for name, info in (holder["table"] or {}).items():
            for address in info.get("ips") or [None]:
                rows.append(
                    {
                        "proxy": proxy or None,
                        "name": name,
                        "address": address,
                        "registry": info.get("registry") or None,
                        "namespace": info.get("namespace") or None,
                        "short_name": info.get("shortname") or info.get("shortName") or None,
                    }
                )
    return DNS_NAMES.rows(rows)


@returns(ISTIOD_SERVICES)
@shaped("registryz")
def read_registryz(data: bytes | str, *, istiod: str = "", file: str = "") -> pd.DataFrame:
    """Services istiod knows, from `/debug/registryz`.

    Raises:
        FormatError: not registryz.
    """
    document = decode(data, file=file, what="registryz")
    if not isinstance(document, list) or not all(isinstance(s, Mapping) for s in document):
        raise FormatError("not registryz: a list of services expected", file=file)
    rows = []
    for service in document:
        attributes = service.get("Attributes") or {}
        vips = (service.get("clusterVIPs") or service.get("ClusterVIPs") or {}).get("Addresses") or {}
        addresses = {a for found in vips.values() for a in found or ()}
        addresses |= {a for a in (service.get("defaultAddress"), service.get("autoAllocatedIPv4Address")) if a}
        resolution = service.get("Resolution", 0)
        rows.append(
            {
                "istiod": istiod or None,
                "host": service.get("hostname") or service.get("Hostname") or "",
                "service": attributes.get("Name") or None,
                "namespace": attributes.get("Namespace") or None,
                "registry": attributes.get("ServiceRegistry") or None,
                "resolution": _RESOLUTION.get(resolution, str(resolution)),
                "mesh_external": bool(service.get("MeshExternal")),
                "addresses": sorted(addresses - {"0.0.0.0"}),
                "ports": to_json(service.get("ports") or []),
            }
        )
    return ISTIOD_SERVICES.rows(rows)
