"""What istiod says of its proxies (`/debug/syncz`), in the two shapes there are and whatever release wrote them.

- HTTP: a list with an object per proxy that holds nonces (`cluster_sent`, `cluster_acked` …).
- xDS: an object with `resources`, as `istioctl proxy-status -o json` prints it.
- Either may stand in an object keyed by the name of the istiod (`istioctl x internal-debug syncz --all`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from meshnb.errors import FormatError
from meshnb.loaders.shape import shaped
from meshnb.model.frame import returns
from meshnb.model.tables.sync import PROXY_STATUS

if TYPE_CHECKING:
    import pandas as pd

TYPES = {
    "envoy.config.cluster.v3.Cluster": "CDS",
    "envoy.config.listener.v3.Listener": "LDS",
    "envoy.config.endpoint.v3.ClusterLoadAssignment": "EDS",
    "envoy.config.route.v3.RouteConfiguration": "RDS",
    "envoy.config.core.v3.TypedExtensionConfig": "ECDS",
    "envoy.extensions.transport_sockets.tls.v3.Secret": "SDS",
    "istio.networking.nds.v1.NameTable": "NDS",
    "istio.mesh.v1alpha1.ProxyConfig": "PCDS",
    "istio.workload.Address": "WDS",
    "istio.workload.Workload": "WDS",
    "istio.security.Authorization": "WADS",
}
"""Short names of the types, as istioctl prints them."""

URL = {short: f"type.googleapis.com/{long}" for long, short in reversed(TYPES.items())}
_HTTP_KEYS = {
    "cluster": "CDS",
    "listener": "LDS",
    "endpoint": "EDS",
    "route": "RDS",
    "extensionconfig": "ECDS",
}
# ClientConfig before genericXdsConfigs (Istio 1.9 to 1.11): a key per type, `xdsConfig[].clusterConfig` …
_PER_XDS = {
    "clusterConfig": "CDS",
    "listenerConfig": "LDS",
    "endpointConfig": "EDS",
    "routeConfig": "RDS",
    "scopedRouteConfig": "SRDS",
}
_STATUS = {"UNKNOWN": "IGNORED", "NOT_SENT": "NOT SENT"}
_FRACTION = re.compile(r"\.(\d{6})\d+")


def short_type(url: str) -> str:
    """The short name of a type of xDS; its URL if it has none.

    Example:
        >>> short_type("type.googleapis.com/envoy.config.cluster.v3.Cluster")
        'CDS'
    """
    return TYPES.get(url.rpartition("/")[2], url)


@returns(PROXY_STATUS)
@shaped("a sync status")
def read_syncz(data: bytes | str, *, istiod: str = "", now: datetime | None = None, file: str = "") -> pd.DataFrame:
    """The answer of `/debug/syncz`, or of `istioctl proxy-status -o json|yaml`.

    Args:
        data: JSON or YAML, of either shape and any release.
        istiod: pod of the istiod that answered; the HTTP shape does not name it.
        now: time of the answer; without it ages are missing.
        file: how to name the document in an error.

    Raises:
        FormatError: of neither shape.

    Example:
        >>> read_syncz('[{"proxy": "a.b", "cluster_sent": "1", "cluster_acked": "1"}]').query("type == 'CDS'").status[0]
        'SYNCED'
    """
    document = _decode(data, file)
    rows = list(_any(document, istiod, file))
    for row in rows:
        updated = row.get("last_updated")
        row["age_s"] = max((now - updated).total_seconds(), 0.0) if now and updated else None
    return PROXY_STATUS.rows(rows)


def _decode(data: bytes | str, file: str) -> Any:
    text = data.encode() if isinstance(data, str) else data
    if not text.strip():
        raise FormatError("not a sync status: the document is empty", file=file)
    try:
        if text.lstrip()[:1] in (b"{", b"["):
            return json.loads(text)
        import yaml

        return yaml.load(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506 - a safe loader
    except Exception as error:  # the two decoders share no base class
        raise FormatError(f"not a sync status: {error}", file=file, hint="the document may be cut short") from error


def _any(document: Any, istiod: str, file: str) -> Iterator[dict[str, Any]]:
    if document is None or document == {}:
        return
    if isinstance(document, list):
        for number, item in enumerate(document):
            yield from _item(item, istiod, file, f"[{number}]")
    elif isinstance(document, Mapping) and ("resources" in document or "typeUrl" in document):
        yield from _response(document, istiod, file)
    elif isinstance(document, Mapping) and _is_client_config(document):
        yield from _client(document, istiod, "", file, "")
    elif isinstance(document, Mapping) and all(isinstance(v, list | Mapping) for v in document.values()):
        for name, answer in document.items():
            yield from _any(answer, str(name), file)
    else:
        raise FormatError(
            "not a sync status: neither a list of proxies nor an object with resources",
            file=file,
            hint="save it with: istioctl proxy-status -o json, or curl localhost:15014/debug/syncz in istiod",
        )


def _is_client_config(item: Mapping[str, Any]) -> bool:
    return "genericXdsConfigs" in item or "xdsConfig" in item or "node" in item


def _item(item: Any, istiod: str, file: str, where: str) -> Iterator[dict[str, Any]]:
    if not isinstance(item, Mapping):
        raise FormatError("not a sync status: a proxy is an object", file=file, position=where)
    if "resources" in item and "proxy" not in item:
        yield from _response(item, istiod, file)
    elif _is_client_config(item):
        yield from _client(item, istiod, "", file, where)
    elif "proxy" in item:
        yield from _http(item, istiod)
    else:
        raise FormatError("not a sync status: a proxy without its name", file=file, position=where)


def _http(item: Mapping[str, Any], istiod: str) -> Iterator[dict[str, Any]]:
    version = item.get("istio_version") or item.get("proxy_version")
    common = {
        "proxy": str(item["proxy"]),
        "cluster": item.get("cluster_id") or None,
        "istiod": istiod or None,
        # proxies before 1.1 told no Istio version; istioctl marks the fallback with a star, and so do we
        "version": version if item.get("istio_version") or not version else f"{version}*",
        "proxy_type": item.get("proxy_type") or None,
    }
    ignored = item.get("proxy_type") == "ztunnel"
    resources = item.get("resources") or {}
    found: dict[str, dict[str, Any]] = {}
    for key, short in _HTTP_KEYS.items():
        if key == "extensionconfig" and not {"extensionconfig_sent", "cluster_id"} & set(item):
            continue  # a release before 1.13, which has no such type; a later one leaves it out while nothing was sent
        sent, acked = item.get(f"{key}_sent") or "", item.get(f"{key}_acked") or ""
        found[short] = {"type": short, "type_url": URL[short], **_nonces(sent, acked)}
    for url, resource in resources.items():
        short = short_type(url)
        error = resource.get("lastError") or None
        row = {"type": short, "type_url": url, **_nonces(resource.get("sent") or "", resource.get("acked") or "")}
        updated = parse_time(resource.get("sentTime"))
        found[short] = row | {"last_updated": updated, "error": error} | ({"status": "ERROR"} if error else {})
    for row in found.values():
        yield common | row | ({"status": "IGNORED", "never_acknowledged": None} if ignored and not resources else {})


def _nonces(sent: str, acked: str) -> dict[str, Any]:
    status = "NOT SENT" if not sent else "SYNCED" if sent == acked else "STALE"
    never = status == "STALE" and not acked
    return {"status": status, "sent": sent or None, "acked": acked or None, "never_acknowledged": never}


def _response(document: Mapping[str, Any], istiod: str, file: str) -> Iterator[dict[str, Any]]:
    name, version = _identity(document)
    for number, resource in enumerate(document.get("resources") or ()):
        where = f"resources[{number}]"
        if not isinstance(resource, Mapping):
            raise FormatError("not a sync status: a proxy is an object", file=file, position=where)
        yield from _client(resource, name or istiod, version, file, where)


def _identity(document: Mapping[str, Any]) -> tuple[str, str]:
    """Pod and version of the istiod, which stand as JSON text in the identifier."""
    try:
        identifier = json.loads((document.get("controlPlane") or {}).get("identifier") or "{}")
    except ValueError:
        return "", ""
    return str(identifier.get("ID") or ""), str((identifier.get("Info") or {}).get("version") or "")


def _client(
    client: Mapping[str, Any], istiod: str, istiod_version: str, file: str, where: str
) -> Iterator[dict[str, Any]]:
    node = client.get("node") or {}
    meta = node.get("metadata") or {}
    name = proxy_of_node(str(node.get("id") or ""), meta)
    if not name:
        raise FormatError("not a sync status: a proxy without node.id", file=file, position=where)
    common = {
        "proxy": name,
        "cluster": meta.get("CLUSTER_ID"),
        "istiod": istiod or None,
        "version": meta.get("ISTIO_VERSION"),
        "istiod_version": istiod_version or None,
        "proxy_type": _type_of_node(str(node.get("id") or "")),
    }
    generic = client.get("genericXdsConfigs") or ()
    for config in generic:
        url = str(config.get("typeUrl") or "")
        error = config.get("errorState") or {}
        status = str(config.get("configStatus") or "UNKNOWN")
        yield common | {
            "type": short_type(url),
            "type_url": url,
            "status": _STATUS.get(status, status),
            "last_updated": parse_time(config.get("lastUpdated")),
            "error": error.get("details") or None,
            "error_at": parse_time(error.get("lastUpdateAttempt")),
        }
    for config in () if generic else client.get("xdsConfig") or ():
        short = next((s for key, s in _PER_XDS.items() if key in config), "")
        status = str(config.get("status") or "UNKNOWN")
        row = {"type": short or "unnamed", "type_url": URL.get(short), "status": _STATUS.get(status, status)}
        yield common | row


def proxy_of_node(node_id: str, meta: Mapping[str, Any]) -> str:
    """`POD.NAMESPACE` from the id of a node, which is that already or `TYPE~IP~POD.NAMESPACE~DOMAIN`.

    Example:
        >>> proxy_of_node("sidecar~10.10.0.16~catalog-5d4f7c9b8-v1aaa.istioinaction~cluster.local", {})
        'catalog-5d4f7c9b8-v1aaa.istioinaction'
    """
    parts = node_id.split("~")
    return parts[2] if len(parts) == 4 else node_id or str(meta.get("NAME") or "")


def _type_of_node(node_id: str) -> str | None:
    kind, tilde, _ = node_id.partition("~")
    return kind if tilde else None


def parse_time(value: Any) -> datetime | None:
    """A time of istiod: RFC 3339 up to nanoseconds, `{seconds, nanos}`, or nothing; Go's zero time is nothing."""
    if isinstance(value, Mapping):
        seconds = int(value.get("seconds") or 0)
        return datetime.fromtimestamp(seconds, UTC) + timedelta(microseconds=int(value.get("nanos") or 0) // 1000)
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(_FRACTION.sub(r".\1", value))
        except ValueError:
            return None
    if not isinstance(value, datetime) or value.year == 1:
        return None
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
