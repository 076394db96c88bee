"""What Istio's request metrics say: success by reporter, why the two sides differ, the guilty pod, health.

Two conventions exist for a request without a response code (code 0, usually flag DC): Istio's dashboards count it as a
success, as it is no 5xx; Kiali counts it as an error. Both are given, and named.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from meshnb.model.frame import returns
from meshnb.model.tables.telemetry import REQUEST_GAP, REQUEST_HEALTH, REQUEST_PODS, REQUEST_SUCCESS

if TYPE_CHECKING:
    import pandas as pd

_NO_CODE = ("0", "-")


@dataclass(frozen=True, slots=True)
class Tolerance:
    """How many errors of a kind are tolerated; the values are Kiali's defaults.

    Args:
        errors: regular expression of the codes that count.
        protocol: http or grpc.
        degraded: percent from which on it is degraded; above 0 in any case.
        failure: percent from which on it is a failure.
    """

    errors: str
    protocol: str
    degraded: float
    failure: float


TOLERANCES = (
    Tolerance("5..", "http", 0, 10),
    Tolerance("4..", "http", 10, 20),
    Tolerance("[1-9]|1[0-6]", "grpc", 0, 10),
    Tolerance("-|0", "http", 0, 10),
    Tolerance("-", "grpc", 0, 10),
)
"""Kiali's defaults, both directions. For gRPC status 0 is OK, so only a missing status counts as no response."""


@returns(REQUEST_SUCCESS)
def success(rates: pd.DataFrame, service: str = "") -> pd.DataFrame:
    """Success rate of each service by reporter.

    Args:
        rates: as `request_rates` gives it.
        service: only this one; its name, or how it starts.
    """
    rows = []
    for (name, reporter), part in _of(rates, service).groupby(["destination_service", "reporter"], dropna=False):
        total = float(part["rate"].sum())
        code = part["response_code"].astype(str)
        failed, silent = code.str.startswith("5"), code.isin(_NO_CODE)
        rows.append(
            {
                "destination_service": _missing(name),
                "reporter": _missing(reporter),
                "rate": total,
                "success": _share(part["rate"][~failed].sum(), total),
                "success_strict": _share(part["rate"][~failed & ~silent].sum(), total),
                "dc": _share(part["rate"][_flagged(part, "DC")].sum(), total),
            }
        )
    return REQUEST_SUCCESS.rows(rows)


@returns(REQUEST_GAP)
def gap(rates: pd.DataFrame, service: str = "") -> pd.DataFrame:
    """How far callers and servers differ on the success of a service, and how much of it is DC.

    The caller's proxy gives up and writes a 5xx; the server's proxy sees its caller hang up and writes code 0 with DC,
    which is no 5xx. So the share of DC at the server accounts for the gap.

    Args:
        rates: as `request_rates` gives it.
        service: only this one; its name, or how it starts.
    """
    found = success(rates, service)
    rows = []
    for name, part in found.groupby("destination_service", dropna=False):
        sides = {row.reporter: row for row in part.itertuples()}
        if "source" not in sides or "destination" not in sides:
            continue
        client, server = sides["source"], sides["destination"]
        difference = float(server.success - client.success)
        rows.append(
            {
                "destination_service": name,
                "client_success": float(client.success),
                "server_success": float(server.success),
                "gap": difference,
                "dc": float(server.dc),
                "explained": min(float(server.dc) / difference, 1.0) if difference > 0 else None,
                "client_rate": float(client.rate),
                "server_rate": float(server.rate),
            }
        )
    return REQUEST_GAP.rows(sorted(rows, key=lambda row: -row["gap"]))


@returns(REQUEST_PODS)
def pods(rates: pd.DataFrame, service: str = "") -> pd.DataFrame:
    """The pods of a service by the requests whose caller went away: the guilty one first.

    Args:
        rates: as `request_rates` gives it.
        service: only this one; its name, or how it starts.
    """
    own = _of(rates, service)
    own = own[own["reporter"] == "destination"]
    own = own.assign(pod=own["pod"].fillna(own["destination_workload"]), dc=own["rate"].where(_flagged(own, "DC"), 0.0))
    totals = own.groupby(["destination_service", "pod"], dropna=False)["rate"].sum()
    keys = ["destination_service", "pod", "version", "response_code"]
    rows = []
    for key, part in own.groupby(keys, dropna=False):
        values: dict[str, Any] = {name: _missing(value) for name, value in zip(keys, key, strict=True)}
        dc = float(part["dc"].sum())
        total = float(totals.loc[(key[0], key[1])])
        rows.append(values | {"dc_rate": dc, "rate": float(part["rate"].sum()), "dc_share": _share(dc, total)})
    rows.sort(key=lambda row: (-row["dc_rate"], -row["rate"], str(row["pod"])))
    return REQUEST_PODS.rows(rows)


@returns(REQUEST_HEALTH)
def health(rates: pd.DataFrame, tolerances: Sequence[Tolerance] = TOLERANCES) -> pd.DataFrame:
    """Health of each workload by Kiali's formula.

    Inbound, for each code the larger of what callers and the workload's own proxy report counts; outbound, what the
    workload's own proxy reports. Degraded begins above 0 %: one 5xx in the window is enough, so mind `error_rate`.

    Args:
        rates: as `request_rates` gives it.
        tolerances: which errors count from which share on.
    """
    rows = [row for workload in _directions(rates) for row in _judged(*workload, tolerances)]
    order = {"failure": 0, "degraded": 1, "healthy": 2}
    rows.sort(key=lambda row: (order[row["status"]], -row["error_percent"], str(row["workload"]), row["direction"]))
    return REQUEST_HEALTH.rows(rows)


def _directions(rates: pd.DataFrame) -> Iterator[tuple[str, str, str, dict[str, dict[str, float]]]]:
    """Namespace, workload, direction, and rates by protocol and code."""
    sides = {
        "inbound": ("destination_workload_namespace", "destination_workload", ("source", "destination")),
        "outbound": ("source_workload_namespace", "source_workload", ("source",)),
    }
    for direction, (namespace, workload, reporters) in sides.items():
        known = rates[rates["reporter"].isin(reporters) & rates[workload].notna() & (rates[workload] != "unknown")]
        for (space, name), part in known.groupby([namespace, workload], dropna=False):
            codes: dict[str, dict[str, float]] = {}
            for protocol in ("http", "grpc"):
                rows = part[part["request_protocol"].fillna("http").str.lower() == protocol]
                code = rows["response_code"] if protocol == "http" else rows["grpc_response_status"]
                sums = rows.assign(code=code.fillna("-")).groupby(["code", "reporter"])["rate"].sum()
                if len(sums):
                    codes[protocol] = {str(k): float(v) for k, v in sums.groupby(level="code").max().items()}
            yield _missing(space) or "", str(name), direction, codes


def _judged(
    namespace: str, workload: str, direction: str, codes: dict[str, dict[str, float]], tolerances: Sequence[Tolerance]
) -> Iterator[dict[str, Any]]:
    for tolerance in tolerances:
        rates = codes.get(tolerance.protocol)
        if not rates:
            continue
        total = sum(rates.values())
        errors = sum(rate for code, rate in rates.items() if re.fullmatch(tolerance.errors, code))
        percent = 100 * errors / total if total else 0.0
        degraded = percent > 0 and percent >= tolerance.degraded
        yield {
            "namespace": namespace or None,
            "workload": workload,
            "direction": direction,
            "protocol": tolerance.protocol,
            "errors": tolerance.errors,
            "status": "failure" if percent >= tolerance.failure else "degraded" if degraded else "healthy",
            "error_percent": percent,
            "error_rate": errors,
            "rate": total,
            "degraded_from": float(tolerance.degraded),
            "failure_from": float(tolerance.failure),
        }


def _of(rates: pd.DataFrame, service: str) -> pd.DataFrame:
    return rates[rates["destination_service"].fillna("").str.startswith(service)] if service else rates


def _flagged(frame: pd.DataFrame, flag: str) -> pd.Series:
    """Rows whose flags hold one: flags are a list, not a word."""
    return frame["response_flags"].fillna("").str.split(",").map(lambda flags: flag in flags).astype(bool)


def _share(part: float, whole: float) -> float | None:
    return float(part) / whole if whole else None


def _missing(value: Any) -> str | None:
    return None if value is None or str(value) in ("<NA>", "nan") else str(value)
