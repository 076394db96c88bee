"""istiod's debug answers about proxies, policies and pushes."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from meshnb.errors import FormatError
from meshnb.loaders.objects import to_json
from meshnb.loaders.shape import shaped
from meshnb.loaders.syncz import parse_time, short_type
from meshnb.model.frame import returns
from meshnb.model.tables.istiod import AUTHORIZATION_POLICIES, PUSH_STATUS, XDS_CLIENTS, XDS_WATCHES

if TYPE_CHECKING:
    import pandas as pd

PROBLEMS = {
    "pilot_no_ip": "A pod has no address yet, or is no part of any service.",
    "pilot_endpoint_not_ready": "An endpoint is known and not ready.",
    "pilot_conflict_inbound_listener": "Two services want the same inbound port of a pod with different protocols.",
    "pilot_conflict_outbound_listener_tcp_over_current_tcp": "Two TCP services share address and port; one wins.",
    "pilot_conflict_outbound_listener_http_over_current_tcp": "A TCP service took a port an HTTP service wants.",
    "pilot_conflict_outbound_listener_tcp_over_current_http": "An HTTP service took a port a TCP service wants.",
    "pilot_duplicate_envoy_clusters": "Two services or subsets make a cluster of the same name.",
    "pilot_dns_cluster_without_endpoints": "A ServiceEntry with DNS resolution names no endpoint.",
    "pilot_eds_no_instances": "A cluster has no endpoint: no pod carries the labels of the service or subset.",
    "pilot_vservice_dup_domain": "Two VirtualServices have the same host on the same gateway; one of them is ignored.",
    "pilot_destrule_subsets": "Two DestinationRules define the same subset of a host.",
    "pilot_virt_services": "Counts VirtualServices; no problem.",
}
"""What the problems of `push_status` mean."""

_NO_PROBLEM = {"pilot_virt_services"}


def decode(data: bytes | str, *, file: str = "", what: str = "a debug answer") -> Any:
    """JSON of a debug endpoint; an answer in words (`404 …`) is an error that repeats them.

    Raises:
        FormatError: not JSON.
    """
    import msgspec

    text = data.encode() if isinstance(data, str) else data
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError as error:
        said = text[:120].decode("utf-8", "replace").strip()
        hint = "proxyID is POD.NAMESPACE, and another istiod may have the proxy" if said[:1] not in ("{", "[") else ""
        raise FormatError(f"not {what}: {error}; it says {said!r}", file=file, hint=hint) from error


def _clients(document: Any, file: str) -> list[Mapping[str, Any]]:
    clients = document.get("clients") if isinstance(document, Mapping) else document
    if isinstance(document, Mapping) and clients is None and "totalClients" in document:
        return []
    if not isinstance(clients, list) or not all(isinstance(c, Mapping) for c in clients):
        raise FormatError("not adsz: no list of clients", file=file)
    return clients


def proxy_of_connection(connection: str) -> str:
    """The proxy of a connection's id, which ends in a counter.

    Example:
        >>> proxy_of_connection("sidecar~10.10.0.16~catalog-1.istioinaction~istioinaction.svc.cluster.local-12")
        'catalog-1.istioinaction'
        >>> proxy_of_connection("catalog-1.istioinaction-12")
        'catalog-1.istioinaction'
    """
    if connection.count("~") >= 2:
        return connection.split("~")[2]
    name, dash, number = connection.rpartition("-")
    return name if dash and number.isdigit() else connection


@returns(XDS_CLIENTS)
@shaped("adsz")
def read_adsz(data: bytes | str, *, istiod: str = "", now: datetime | None = None, file: str = "") -> pd.DataFrame:
    """Connected proxies, from `/debug/adsz` or `/debug/connections`.

    Raises:
        FormatError: neither of them.

    Example:
        >>> read_adsz('{"totalClients": 1, "clients": [{"connectionId": "a.b-1"}]}').proxy.tolist()
        ['a.b']
    """
    rows = []
    for client in _clients(decode(data, file=file, what="adsz"), file):
        meta = client.get("metadata") or {}
        watches = client.get("watches") or {}
        names = [name for watched in watches.values() for name in watched or ()]
        connected = parse_time(client.get("connectedAt"))
        connection = str(client.get("connectionId", ""))
        rows.append(
            {
                "istiod": istiod or None,
                "proxy": proxy_of_connection(connection),
                "connection": connection,
                "connected": connected,
                "age_s": max((now - connected).total_seconds(), 0.0) if now and connected else None,
                "address": client.get("address") or None,
                "cluster": meta.get("CLUSTER_ID"),
                "version": meta.get("ISTIO_VERSION"),
                "locality": _locality(client.get("locality")),
                "labels": to_json(client.get("labels") or meta.get("LABELS") or {}),
                "types": [short_type(url) for url in watches],
                "watched": len(names),
                "watched_bytes": sum(len(str(name)) for name in names),
                "metadata": to_json(meta),
            }
        )
    return XDS_CLIENTS.rows(rows)


def _locality(value: Any) -> str | None:
    if not isinstance(value, Mapping):
        return None
    parts = [str(value.get(key) or "") for key in ("region", "zone", "sub_zone")]
    return "/".join(parts).rstrip("/") or None


@returns(XDS_WATCHES)
@shaped("adsz")
def read_watches(data: bytes | str, *, istiod: str = "", file: str = "") -> pd.DataFrame:
    """What each proxy watches, from `/debug/adsz`; releases that do not tell give no row.

    Raises:
        FormatError: not adsz.
    """
    return XDS_WATCHES.rows(
        {
            "istiod": istiod or None,
            "proxy": proxy_of_connection(str(client.get("connectionId", ""))),
            "type": short_type(url),
            "count": len(names or ()),
            "bytes": sum(len(str(name)) for name in names or ()),
            "names": [str(name) for name in names or ()],
        }
        for client in _clients(decode(data, file=file, what="adsz"), file)
        for url, names in (client.get("watches") or {}).items()
    )


@returns(AUTHORIZATION_POLICIES)
@shaped("authorizationz")
def read_authorizationz(data: bytes | str, *, istiod: str = "", file: str = "") -> pd.DataFrame:
    """Authorization policies istiod holds, from `/debug/authorizationz`.

    Raises:
        FormatError: not authorizationz.
    """
    document = decode(data, file=file, what="authorizationz")
    policies = document.get("authorization_policies") if isinstance(document, Mapping) else None
    if not isinstance(policies, Mapping):
        raise FormatError("not authorizationz: no authorization_policies", file=file)
    root = policies.get("root_namespace") or "istio-system"
    rows = []
    for namespace, items in (policies.get("namespace_to_policies") or {}).items():
        for item in items or ():
            spec = item.get("spec") or {}
            action = spec.get("action", "ALLOW")
            annotations = item.get("annotations") or {}
            rows.append(
                {
                    "istiod": istiod or None,
                    "namespace": namespace,
                    "policy": item.get("name", ""),
                    "whole_mesh": namespace == root and not spec.get("selector"),
                    # the enum is printed by number where protobuf's JSON is not used
                    "action": {0: "ALLOW", 1: "DENY", 2: "AUDIT", 3: "CUSTOM"}.get(action, str(action)),
                    "selector": to_json(_labels(spec)),
                    "rules": len(spec.get("rules") or ()),
                    "dry_run": str(annotations.get("istio.io/dry-run", "")).lower() == "true",
                    "spec": to_json(spec),
                }
            )
    return AUTHORIZATION_POLICIES.rows(rows)


def _labels(spec: Mapping[str, Any]) -> Mapping[str, Any]:
    selector = spec.get("selector") or {}
    return selector.get("matchLabels") or selector.get("match_labels") or {}


@returns(PUSH_STATUS)
@shaped("push_status")
def read_push_status(data: bytes | str, *, istiod: str = "", file: str = "") -> pd.DataFrame:
    """Problems of istiod's last push, from `/debug/push_status`.

    Raises:
        FormatError: not push_status.

    Example:
        >>> read_push_status('{"pilot_eds_no_instances": {"outbound|80||a": {}}}').subject.tolist()
        ['outbound|80||a']
    """
    document = decode(data, file=file, what="push_status")
    if document is None:
        return PUSH_STATUS.empty()
    if not isinstance(document, Mapping):
        raise FormatError("not push_status: an object expected", file=file)
    # some releases wrap the map and add the time of the push beside it
    document = document.get("ProxyStatus", document)
    rows = []
    for problem, subjects in (document or {}).items():
        if problem in _NO_PROBLEM or not isinstance(subjects, Mapping):
            continue
        for subject, event in subjects.items():
            event = event if isinstance(event, Mapping) else {"message": str(event)}
            rows.append(
                {
                    "istiod": istiod or None,
                    "problem": problem,
                    "subject": subject,
                    "proxy": event.get("proxy") or None,
                    "message": event.get("message") or None,
                    "meaning": PROBLEMS.get(problem),
                }
            )
    return PUSH_STATUS.rows(rows)
