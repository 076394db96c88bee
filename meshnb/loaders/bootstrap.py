"""The bootstrap section: who the proxy is and which versions it runs."""

from __future__ import annotations

from typing import Any

import msgspec

from meshnb.loaders.proto import EMPTY, Address, Locality, Message, Reader, text
from meshnb.loaders.sections import Section


class SemanticVersion(Message):
    """`type.v3.SemanticVersion`."""

    major_number: int = 0
    minor_number: int = 0
    patch: int = 0


class BuildVersion(Message):
    """`core.v3.BuildVersion`; its metadata is a Struct."""

    version: SemanticVersion | None = None
    metadata: dict[str, Any] = {}


class Node(Message):
    """`core.v3.Node`; its metadata is a Struct."""

    id: str = ""
    cluster: str = ""
    locality: Locality | None = None
    metadata: msgspec.Raw = EMPTY
    user_agent_build_version: BuildVersion | None = None


class Admin(Message):
    """`bootstrap.v3.Admin`."""

    address: Address | None = None


class Bootstrap(Message):
    """`config.bootstrap.v3.Bootstrap`."""

    node: Node | None = None
    admin: Admin | None = None


read_bootstrap = Reader(Bootstrap)
_BUILD = (("build.label", "-"), ("revision.status", "/"), ("build.type", "/"), ("ssl.version", "/"))


def _node(section: Section) -> Node:
    bootstrap = read_bootstrap(section.bootstrap) if section.bootstrap is not EMPTY else Bootstrap()
    return bootstrap.node or Node()


def _metadata(node: Node) -> dict[str, Any]:
    found = msgspec.json.decode(node.metadata) if node.metadata is not EMPTY else None
    return found if isinstance(found, dict) else {}


def proxy_name(section: Section) -> str:
    """`POD.NAMESPACE` of the proxy, empty if the bootstrap does not tell or cannot be read."""
    try:
        node = _node(section)
        metadata = _metadata(node)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return ""
    pod, namespace = metadata.get("NAME"), metadata.get("NAMESPACE")
    if isinstance(pod, str) and isinstance(namespace, str) and pod and namespace:
        return f"{pod}.{namespace}"
    parts = node.id.split("~")  # TYPE~IP~POD.NAMESPACE~DOMAIN
    return parts[2] if len(parts) == 4 else ""


def envoy_version(version: BuildVersion | None) -> str | None:
    """Envoy's version with what is known of its build, as istioctl writes it."""
    if version is None:
        return None
    number = version.version or SemanticVersion()
    text_ = f"{number.major_number}.{number.minor_number}.{number.patch}"
    for key, separator in _BUILD:
        value = version.metadata.get(key)
        text_ += f"{separator}{value}" if value else ""
    return text_


def bootstrap_row(section: Section) -> dict[str, Any]:
    """The row of a proxy, see `meshnb.model.tables.envoy.BOOTSTRAP`.

    Raises:
        msgspec.MsgspecError, ValueError: not a bootstrap section.
    """
    bootstrap = read_bootstrap(section.bootstrap) if section.bootstrap is not EMPTY else Bootstrap()
    node = bootstrap.node or Node()
    metadata = _metadata(node)

    def word(key: str, within: Any = metadata) -> str | None:
        value = within.get(key) if isinstance(within, dict) else None
        return value if isinstance(value, str) and value else None

    proxy_config = metadata.get("PROXY_CONFIG")
    labels = metadata.get("LABELS")
    sha = word("ISTIO_PROXY_SHA")
    return {
        "node_id": node.id or None,
        "node_cluster": node.cluster or None,
        "pod": word("NAME"),
        "namespace": word("NAMESPACE"),
        "workload": word("WORKLOAD_NAME"),
        "kubernetes_cluster": word("CLUSTER_ID"),
        "network": word("NETWORK"),
        "istio_version": word("ISTIO_VERSION"),
        "istio_proxy_version": sha.partition(":")[2] or sha if sha is not None else None,
        "envoy_version": envoy_version(node.user_agent_build_version),
        "locality": (str(node.locality) if node.locality is not None else "") or None,
        "admin": str(bootstrap.admin.address) if bootstrap.admin is not None and bootstrap.admin.address else None,
        "discovery_address": word("discoveryAddress", proxy_config),
        "trust_domain": word("TRUST_DOMAIN") or word("trustDomain", metadata.get("MESH_CONFIG")),
        "labels": msgspec.json.encode(labels).decode() if isinstance(labels, dict) else None,
        "metadata": text(node.metadata),
        "last_updated": section.last_updated,
        "bytes": len(memoryview(section.bootstrap)),
    }
