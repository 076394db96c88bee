"""Who takes part in the mesh, namespace by namespace, and how hosts are protected against bad endpoints."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from meshnb.checks.states import in_use
from meshnb.envoy.names import ClusterName
from meshnb.model.frame import returns
from meshnb.model.tables.objects import NAMESPACES, RESILIENCE

if TYPE_CHECKING:
    import pandas as pd


def injection(labels: Mapping[str, str]) -> str:
    """What the labels of a namespace ask for.

    Example:
        >>> injection({"istio-injection": "enabled"}), injection({"istio.io/rev": "1-19"}), injection({})
        ('enabled', 'revision 1-19', 'none')
    """
    if label := labels.get("istio-injection"):
        return "enabled" if label == "enabled" else "disabled"
    if revision := labels.get("istio.io/rev"):
        return f"revision {revision}"
    return "ambient" if labels.get("istio.io/dataplane-mode") == "ambient" else "none"


@returns(NAMESPACES)
def namespaces_table(
    objects: pd.DataFrame,
    *,
    pods: pd.DataFrame,
    services: pd.DataFrame,
    endpoint_slices: pd.DataFrame,
    clusters: pd.DataFrame | None,
) -> pd.DataFrame:
    """Namespaces with their labels, pods, and what would leave every proxy if one were excluded.

    Args:
        objects: table `objects`, for the Namespaces.
        pods: table of that name, as all others.
        services: table.
        endpoint_slices: table.
        clusters: table; `None` if no proxy was captured.
    """
    labels = {row.name: json.loads(row.labels) for row in objects[objects.kind == "Namespace"].itertuples()}
    rows = []
    for name in sorted({*labels, *pods.namespace}):
        own = pods[(pods.namespace == name) & (pods.phase == "Running")]
        hosts = set(services.host[services.namespace == name])
        listed = endpoint_slices[endpoint_slices.namespace == name][["service", "address", "port"]]
        seen = set() if clusters is None else set(in_use(clusters[clusters.fqdn.isin(hosts)]).proxy)
        rows.append(
            {
                "namespace": name,
                "injection": injection(labels.get(name, {})),
                "labels": json.dumps(labels.get(name, {}), separators=(",", ":")),
                "pods": len(own),
                "with_proxy": int(own.has_sidecar.sum()),
                "services": len(hosts),
                "endpoints": len(listed.drop_duplicates()),
                "proxies_with_them": len(seen),
            }
        )
    return NAMESPACES.rows(rows)


@returns(RESILIENCE)
def resilience_table(clusters: pd.DataFrame, routes: pd.DataFrame) -> pd.DataFrame:
    """Retries and outlier detection in force, host by host, unprotected ones first.

    Args:
        clusters: table of that name.
        routes: table of that name.
    """
    import pandas as pd

    retries: dict[tuple[str, str], list[tuple[str | None, int | None]]] = {}
    pairs = in_use(routes[routes.cluster.notna()]).drop_duplicates(
        ["proxy", "route_config", "virtual_host", "position", "cluster"]
    )
    for route in pairs.itertuples():
        name = ClusterName.parse(route.cluster)
        on = route.retry_on if isinstance(route.retry_on, str) else None
        count = int(route.num_retries) if on and isinstance(route.num_retries, int) else None
        retries.setdefault((name.fqdn, name.subset), []).append((on, count))
    own = clusters[(clusters.direction == "outbound") & (clusters.state == "active")]
    settings = [
        "outlier_detection",
        "outlier_consecutive_5xx",
        "outlier_base_ejection_ms",
        "outlier_max_ejection_percent",
    ]
    rows = []
    for key, group in own.groupby(["fqdn", "subset", *settings], dropna=False):
        host, subset, on, errors, ejection, percent = (None if pd.isna(value) else value for value in key)
        led = retries.get((str(host), str(subset or "")), [])
        rows.append(
            {**_setting(host, subset, on, errors, ejection, percent), "proxies": group.proxy.nunique(), **_led(led)}
        )
    rows.sort(
        key=lambda r: (r["outlier_detection"] and r["routes"] == r["routes_with_retries"], r["host"], r["subset"] or "")
    )
    return RESILIENCE.rows(rows)


def _setting(host: Any, subset: Any, on: Any, errors: Any, ejection: Any, percent: Any) -> dict[str, Any]:
    return {
        "host": host or "",
        "subset": subset,
        "outlier_detection": bool(on),
        "consecutive_5xx": errors if on else None,
        "base_ejection_ms": ejection if on else None,
        "max_ejection_percent": percent if on else None,
    }


def _led(led: list[tuple[str | None, int | None]]) -> dict[str, Any]:
    asked = {on for on, _ in led if on}
    return {
        "routes": len(led),
        "routes_with_retries": sum(1 for on, _ in led if on),
        "retry_on": asked.pop() if len(asked) == 1 else None,
        "retries": max((count for _, count in led if count is not None), default=None),
    }
