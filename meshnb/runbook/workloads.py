"""The mesh at a glance: rate, success and latency of every workload, from access logs or else from metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from meshnb.errors import NotFound, UsageError
from meshnb.model.frame import returns
from meshnb.model.tables.logs import WORKLOADS
from meshnb.runbook.base import MeshBase

if TYPE_CHECKING:
    import pandas as pd

    from meshnb.runbook.mesh import Mesh
    from meshnb.views.charts import Chart

_MEASURES = {
    "rate": "requests a second",
    "success": "success, 0 to 1",
    "p50_ms": "median duration in ms",
    "p90_ms": "90th percentile of the duration in ms",
    "p99_ms": "99th percentile of the duration in ms",
}


class WorkloadViews(MeshBase):
    """Workloads by what happened to their requests, as Istio's mesh dashboard has them."""

    @returns(WORKLOADS)
    def workloads(self) -> pd.DataFrame:
        """Rate, success and latency of each workload, as its callers and as its own proxies report.

        Where no access log was captured, the rates of Istio's metrics are taken, which have no latency here.
        Requests that reached no endpoint stand under the workload `unknown`, as in Istio's metrics.

        Raises:
            NotFound: neither access log nor request metrics were captured.

        Example:
            >>> import meshnb
            >>> df = meshnb.open("demo/slow-replica").workloads()
            >>> df[df.reporter == "destination"].workload.tolist()
            ['catalog', 'catalog-v2']
        """
        mesh = cast("Mesh", self)
        if not mesh.absent("access_log"):
            return WORKLOADS.rows(_of_log(mesh.access_log(), None if mesh.absent("pods") else mesh.pods()))
        if not mesh.absent("request_rates"):
            return WORKLOADS.rows(_of_metrics(mesh.request_rates()))
        raise NotFound(mesh.absent("access_log"), hint="capture with --since, or with --prometheus")

    def workloads_chart(self, measure: str = "rate", *, reporter: str = "source") -> Chart:
        """One measure of every workload as bars.

        Args:
            measure: rate, success, p50_ms, p90_ms or p99_ms.
            reporter: source (what callers see) or destination.

        Raises:
            UsageError: no such measure or reporter.
            NotFound: as `workloads`.
        """
        from meshnb.views.charts import bar

        if measure not in _MEASURES:
            raise UsageError(f"no measure {measure!r}", hint=f"measures: {', '.join(_MEASURES)}")
        if reporter not in ("source", "destination"):
            raise UsageError(f"no reporter {reporter!r}", hint="source or destination")
        df = self.workloads()
        df = df[(df.reporter == reporter) & df[measure].notna()]
        side = "its callers" if reporter == "source" else "itself"
        return bar(df, x="workload", y=measure, title=f"Workloads as seen by {side}: {_MEASURES[measure]}")


def _of_log(log: pd.DataFrame, pods: pd.DataFrame | None) -> list[dict[str, Any]]:
    from meshnb.checks.requests import inbound

    log = log[log.method.notna() | log.request_id.notna()]  # connections are no requests
    by_proxy = {} if pods is None else {row.proxy: row for row in pods.itertuples()}
    by_ip = {} if pods is None else {row.ip: row for row in pods[pods.ip.notna()].itertuples()}
    times = log.start_time.dropna()
    seconds = (times.max() - times.min()).total_seconds() if len(times) else 0.0
    at_server = inbound(log)
    own, called = log[at_server], log[~at_server]
    owners = {proxy: _owner(by_proxy.get(proxy), str(proxy)) for proxy in own.proxy.dropna().unique()}
    hosts = {
        host: _owner(by_ip.get(host.rpartition(":")[0].strip("[]")), "unknown")
        for host in called.upstream_host.dropna().unique()
    }
    unknown = ("unknown", None)
    rows = _rows(own, [owners.get(proxy, unknown) for proxy in own.proxy], "destination", seconds)
    return rows + _rows(called, [hosts.get(host, unknown) for host in called.upstream_host], "source", seconds)


def _owner(pod: Any, otherwise: str) -> tuple[str, str | None]:
    if pod is not None and isinstance(pod.workload, str):
        return pod.workload, pod.namespace
    return otherwise, None


def _rows(
    log: pd.DataFrame, owners: list[tuple[str, str | None]], reporter: str, seconds: float
) -> list[dict[str, Any]]:
    from meshnb.checks.requests import success_rate

    log = log.assign(workload=[name for name, _ in owners], namespace=[space or "" for _, space in owners])
    rows = []
    for (workload, namespace), group in log.groupby(["workload", "namespace"], sort=True):
        took = group.duration_ms.dropna()
        rows.append(
            {
                "workload": workload,
                "namespace": namespace or None,
                "reporter": reporter,
                "requests": len(group),
                "rate": len(group) / seconds if seconds else None,
                "success": success_rate(group),
                **{f"p{q}_ms": float(took.quantile(q / 100)) if len(took) else None for q in (50, 90, 99)},
            }
        )
    return rows


def _of_metrics(rates: pd.DataFrame) -> list[dict[str, Any]]:
    keys = ["destination_workload", "destination_workload_namespace", "reporter"]
    failed = rates.rate.where(rates.response_code.str.startswith("5").fillna(False).astype(bool), 0.0)
    sums = rates.assign(failed=failed).dropna(subset=["destination_workload", "reporter"])
    rows = []
    for (workload, namespace, reporter), group in sums.groupby(keys, sort=True, dropna=False):
        total = float(group.rate.sum())
        rows.append(
            {
                "workload": workload,
                "namespace": namespace if isinstance(namespace, str) else None,
                "reporter": reporter,
                "rate": total,
                "success": 1.0 - float(group.failed.sum()) / total if total else None,
            }
        )
    return rows
