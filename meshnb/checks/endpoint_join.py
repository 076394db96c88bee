"""Kubernetes, istiod and Envoy side by side, endpoint by endpoint. Joins only; what it means is in `endpoint_truth`."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from meshnb.checks.states import in_use
from meshnb.envoy.names import ClusterName
from meshnb.model.frame import returns
from meshnb.model.tables.endpoint_truth import ENDPOINT_TRUTH

if TYPE_CHECKING:
    import pandas as pd

_KEY = ["host", "address", "port"]


@returns(ENDPOINT_TRUTH)
def join_endpoints(
    *,
    services: pd.DataFrame,
    endpoint_slices: pd.DataFrame,
    pods: pd.DataFrame,
    clusters: pd.DataFrame,
    endpoints: pd.DataFrame,
    istiod_endpoints: pd.DataFrame | None = None,
    proxy_status: pd.DataFrame | None = None,
    access_log: pd.DataFrame | None = None,
    gone: Sequence[str] = (),
) -> pd.DataFrame:
    """Every endpoint of every Kubernetes service with what each side says of it, disagreements first.

    Args:
        services: table of that name, as all others.
        endpoint_slices: what Kubernetes says.
        pods: who has an address now.
        clusters: which proxies have a service.
        endpoints: what each Envoy has.
        istiod_endpoints: what istiod knows; `None` if it was not asked.
        proxy_status: whether proxies took what istiod sent.
        access_log: where requests went.
        gone: proxies (`POD.NAMESPACE`) that some document knows and `pods` does not.
    """
    known = _kubernetes(services, endpoint_slices)
    envoy, viewers = _envoy(services, clusters, endpoints)
    told = _istiod(services, istiod_endpoints)
    called = _called(services, access_log)
    pod_at = pods[pods.ip.notna() & ~pods.phase.isin(["Succeeded", "Failed"])].drop_duplicates("ip").set_index("ip")
    pushed = _pushed(proxy_status)
    rows = []
    for key in sorted({*known, *envoy, *(told or {})}):
        host, address, port = key
        has = envoy.get(key, {})
        of_service = (
            viewers.get((host, known[key]["service_port"]), set()) if key in known else viewers.get((host, None))
        )
        row: dict[str, Any] = {
            "host": host,
            "namespace": host.split(".")[1],
            "address": address,
            "port": port,
            "kubernetes": key in known,
            "kubernetes_ready": key in known and known[key]["ready"],
            "istiod": None if told is None else key in told,
            "workload": next((e["workload"] for e in has.values() if e["workload"]), None) or (told or {}).get(key),
            "in_proxies": sorted(has),
            "not_in_proxies": sorted((of_service or set()) - set(has)),
            "proxies": len((of_service or set()) | set(has)),
            "configured": len(has),
            "healthy": sum(e["healthy"] for e in has.values()),
            "ejected": sum(e["ejected"] for e in has.values()),
            "requests": None if called is None else called.get(key, (0, None))[0],
            "last_request": None if called is None else called.get(key, (0, None))[1],
        }
        if address in pod_at.index:
            pod = pod_at.loc[address]
            row |= {"pod": pod.pod, "pod_ready": bool(pod.ready), "pod_created": _moment(pod.created)}
        row["verdict"] = _verdict(row)
        if row["verdict"] == "ghost":
            row["was_pod"] = _former(row["workload"], row["namespace"], gone)
        if row["verdict"] in ("ghost", "missing", "not ready"):
            row |= _where(row, pushed, ready_since=pod_at.ready_since.get(address))
        rows.append(row)
    rows.sort(key=lambda r: (_ORDER.index(r["verdict"]), r["host"], r["address"], r["port"]))
    return ENDPOINT_TRUTH.rows(rows)


_ORDER = ("ghost", "missing", "not ready", "ejected", "agrees")


def _verdict(row: dict[str, Any]) -> str:
    if not row["kubernetes"]:
        return "ghost"
    if row["kubernetes_ready"] and row["not_in_proxies"]:
        return "missing"
    if not row["kubernetes_ready"] and row["healthy"]:
        return "not ready"
    return "ejected" if row["ejected"] else "agrees"


def _former(workload: str | None, namespace: str, gone: Sequence[str]) -> str | None:
    """The one pod of a workload among those that are gone; a pod's name is its workload's with a hash or number."""
    name = re.compile(rf"{re.escape(workload or '')}-(?:[a-z0-9]+-[a-z0-9]{{5}}|\d+)\.{re.escape(namespace)}")
    found = [proxy for proxy in gone if workload and name.fullmatch(proxy)]
    return found[0].rpartition(".")[0] if len(found) == 1 else None


def _where(row: dict[str, Any], pushed: dict[str, tuple[str, Any]], *, ready_since: Any) -> dict[str, Any]:
    """Who has not followed Kubernetes, and since when.

    It is istiod if its own list is wrong, and also if a proxy took everything istiod sent and still differs: then it
    was not sent. Otherwise it is Envoy, as far as istiod was asked.
    """
    concerned = row["not_in_proxies"] if row["verdict"] == "missing" else row["in_proxies"]
    statuses = {pushed[p][0] for p in concerned if p in pushed}
    wanted = row["verdict"] == "missing"
    asked = row["istiod"] is not None
    took_all = bool(statuses) and statuses <= {"SYNCED"} and all(p in pushed for p in concerned)
    if took_all or (asked and row["istiod"] is not wanted):
        stopped = "istiod"
    elif asked or statuses & {"STALE", "ERROR"}:
        stopped = "Envoy"
    else:
        stopped = "istiod or Envoy"
    if wanted:
        return {"stopped_at": stopped, "since": _moment(ready_since)}
    times = [pushed[p][1] for p in concerned if p in pushed and pushed[p][1] is not None]
    return {"stopped_at": stopped, "since": min(times) if times else None}


def _moment(value: Any) -> Any:
    import pandas as pd

    return None if value is None or pd.isna(value) else pd.Timestamp(value).to_pydatetime()


def _kubernetes(services: pd.DataFrame, slices: pd.DataFrame) -> dict[tuple[str, str, int], dict[str, Any]]:
    hosts = {(s.namespace, s.service): s for s in services.itertuples()}
    found: dict[tuple[str, str, int], dict[str, Any]] = {}
    for row in slices[slices.service.notna() & slices.port.notna()].itertuples():
        service = hosts.get((row.namespace, row.service))
        if service is None:
            continue
        key = (service.host, row.address, int(row.port))
        entry = found.setdefault(key, {"ready": False, "service_port": _service_port(service.ports, row.port_name)})
        entry["ready"] = entry["ready"] or bool(row.ready)
    return found


def _service_port(ports: str, name: object) -> int | None:
    """The service's port of a slice's port: they share the name, and a single port may have none."""
    listed = json.loads(ports)
    if len(listed) == 1:
        return int(listed[0].get("port", 0))
    return next((int(p["port"]) for p in listed if p.get("name") == name), None)


def _envoy(
    services: pd.DataFrame, clusters: pd.DataFrame, endpoints: pd.DataFrame
) -> tuple[dict[tuple[str, str, int], dict[str, dict[str, Any]]], dict[tuple[str, int | None], set[str]]]:
    """Endpoint → proxy → what it says; and (service, port) → proxies that have it (port `None`: any)."""
    hosts = set(services.host)
    own = clusters[(clusters.direction == "outbound") & (clusters["type"] == "EDS") & clusters.fqdn.isin(hosts)]
    own = own[own.state == "active"]
    viewers: dict[tuple[str, int | None], set[str]] = {}
    for row in own[own.subset.isna()][["proxy", "fqdn", "port"]].drop_duplicates().itertuples(index=False):
        viewers.setdefault((row.fqdn, int(row.port)), set()).add(row.proxy)
        viewers.setdefault((row.fqdn, None), set()).add(row.proxy)
    joined = in_use(endpoints).merge(own[["proxy", "cluster", "fqdn"]].drop_duplicates(), on=["proxy", "cluster"])
    failed = joined.outlier_failed.fillna(False) | joined.active_health_failed.fillna(False)
    alive = joined.health_status.isin(["HEALTHY", "UNKNOWN", "DEGRADED"]) & ~failed
    held: dict[tuple[str, str, int], dict[str, dict[str, Any]]] = {}
    columns = zip(
        joined.fqdn,
        joined.address,
        joined.port,
        joined.proxy,
        joined.workload,
        failed,
        alive,
        joined.health_status,
        strict=True,
    )
    for host, address, port, proxy, workload, out, up, health in columns:
        # draining endpoints are on their way out: istiod says so itself
        if not isinstance(address, str) or health == "DRAINING":
            continue
        entry = held.setdefault((host, address, int(port)), {}).setdefault(
            proxy, {"ejected": False, "healthy": False, "workload": None}
        )
        entry["ejected"] = entry["ejected"] or bool(out)
        entry["healthy"] = entry["healthy"] or bool(up)
        entry["workload"] = entry["workload"] or (workload if isinstance(workload, str) else None)
    return held, viewers


def _istiod(services: pd.DataFrame, told: pd.DataFrame | None) -> dict[tuple[str, str, int], str | None] | None:
    if told is None:
        return None
    rows = told[told.host.isin(set(services.host)) & ~told.health.isin(["DRAINING", "TERMINATING"])]
    return {
        (row.host, row.address, int(row.port)): row.workload if isinstance(row.workload, str) else None
        for row in rows.itertuples()
    }


def _called(services: pd.DataFrame, log: pd.DataFrame | None) -> dict[tuple[str, str, int], tuple[int, Any]] | None:
    if log is None:
        return None
    hosts = set(services.host)
    rows = log[log.upstream_host.notna() & log.upstream_cluster.str.startswith("outbound").fillna(False)]
    found: dict[tuple[str, str, int], tuple[int, Any]] = {}
    for (cluster, upstream), group in rows.groupby(["upstream_cluster", "upstream_host"]).start_time:
        name = ClusterName.parse(str(cluster))
        address, _, port = str(upstream).rpartition(":")
        if name.fqdn in hosts and port.isdigit():
            key = (name.fqdn, address.strip("[]"), int(port))
            count, last = found.get(key, (0, None))
            newest = _moment(group.max())
            found[key] = (count + len(group), max(filter(None, (last, newest)), default=None))
    return found


def _pushed(status: pd.DataFrame | None) -> dict[str, tuple[str, Any]]:
    if status is None:
        return {}
    rows = status[(status.type == "EDS") & status.status.notna()]
    return {row.proxy: (row.status, _moment(row.last_updated)) for row in rows.itertuples()}
