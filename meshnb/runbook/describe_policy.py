"""Which policies hold for a workload: mutual TLS and authorization, each with the reason why it holds."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

ROOT_NAMESPACE = "istio-system"


def mutual_tls(objects: pd.DataFrame, namespace: str, labels: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    """The mode in force, of the workload and of its ports, and the PeerAuthentications it comes from.

    The oldest of each level counts: mesh (root namespace, no selector), namespace, workload. `UNSET` takes over from
    the level above; without any it is PERMISSIVE.
    """
    mode, ports, names = "PERMISSIVE", {}, []
    for _, found in sorted(_peer_authentications(objects, namespace, labels).items()):
        spec = found["spec"]
        own = str((spec.get("mtls") or {}).get("mode") or "UNSET")
        mode = mode if own == "UNSET" else own
        names.append(found["name"])
        if found["level"] == 2:
            ports = {
                port: str((m or {}).get("mode") or "UNSET") for port, m in (spec.get("portLevelMtls") or {}).items()
            }
    why = ", then ".join(names) or "no PeerAuthentication: the default"
    yield {"policy": "mutual TLS", "action": mode, "why": why}
    for port, own in sorted(ports.items()):
        yield {"policy": f"mutual TLS on port {port}", "action": mode if own == "UNSET" else own, "why": names[-1]}


def _peer_authentications(
    objects: pd.DataFrame, namespace: str, labels: Mapping[str, str]
) -> dict[int, dict[str, Any]]:
    """The oldest PeerAuthentication of each level that holds here."""
    levels: dict[int, dict[str, Any]] = {}
    for item in _of_kind(objects, "PeerAuthentication"):
        selector = _selector(item["spec"])
        if item["namespace"] not in (ROOT_NAMESPACE, namespace) or not selector.items() <= labels.items():
            continue
        if selector and item["namespace"] == ROOT_NAMESPACE != namespace:
            continue
        level = 2 if selector else 0 if item["namespace"] == ROOT_NAMESPACE else 1
        known = levels.get(level)
        if known is None or item["created"] < known["created"]:
            levels[level] = {**item, "level": level}
    return levels


def authorization_policies(
    objects: pd.DataFrame, namespace: str, labels: Mapping[str, str]
) -> Iterator[dict[str, Any]]:
    """AuthorizationPolicies that hold for a workload, in the order Istio asks them: CUSTOM, DENY, ALLOW, AUDIT."""
    order = ("CUSTOM", "DENY", "ALLOW", "AUDIT")
    found = []
    for item in _of_kind(objects, "AuthorizationPolicy"):
        selector = _selector(item["spec"])
        if item["namespace"] not in (ROOT_NAMESPACE, namespace) or not selector.items() <= labels.items():
            continue
        action = str(item["spec"].get("action") or "ALLOW")
        rules = len(item["spec"].get("rules") or ())
        scope = "the whole mesh" if item["namespace"] == ROOT_NAMESPACE else "its namespace"
        why = f"{rules} rules; its selector" if selector else f"{rules} rules; {scope}"
        if action == "ALLOW" and not rules:
            why = f"no rules, which denies everything; {scope if not selector else 'its selector'}"
        found.append({"policy": f"AuthorizationPolicy {item['name']}", "action": action, "why": why})
    yield from sorted(
        found, key=lambda row: (order.index(row["action"]) if row["action"] in order else 9, row["policy"])
    )


def _of_kind(objects: pd.DataFrame, kind: str) -> Iterator[dict[str, Any]]:
    for row in objects[objects.kind == kind].itertuples():
        yield {
            "namespace": row.namespace,
            "name": f"{row.namespace}/{row.name}",
            "created": str(row.created),
            "spec": json.loads(row.object).get("spec") or {},
        }


def _selector(spec: Mapping[str, Any]) -> Mapping[str, str]:
    return dict((spec.get("selector") or {}).get("matchLabels") or {})
