"""What leaves meshnb for other tools: a Grafana dashboard and Prometheus alert rules, made from the catalogue."""

from __future__ import annotations

import json
import tomllib
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from meshnb.errors import UsageError
from meshnb.model.window import parse_duration
from meshnb.tuning.catalogue import query

_UNITS = {"s": "s", "1/s": "ops", "share": "percentunit", "bytes": "bytes", "bytes/s": "Bps"}
_SCHEMA = 39
_COLUMNS, _HEIGHT = 24, 8


@dataclass(frozen=True, slots=True)
class Panel:
    """A panel: title, the queries drawn, and a value to draw a line at."""

    title: str
    queries: tuple[str, ...]
    threshold: float | None = None


def _quantiles(name: str) -> tuple[str, ...]:
    return tuple(f"{name}_{quantile}" for quantile in ("p50", "p90", "p99", "p999"))


DASHBOARD: tuple[tuple[str, tuple[Panel, ...]], ...] = (
    (
        "Latency",
        (
            Panel("Proxy Push Time", _quantiles("convergence"), 1.0),
            Panel("Proxy Queue Time", _quantiles("queue"), 1.0),
            Panel("XDS Push Time", _quantiles("push")),
            Panel("Debounce", ("debounce_p50", "debounce_p99")),
            Panel("Pushes slower than 3 s", ("slow_pushes",), 0.01),
            Panel("XDS Push Time by type, p99", ("push_p99_by_type",)),
        ),
    ),
    (
        "Saturation",
        (
            Panel("CPU", ("cpu_container", "cpu_process")),
            Panel("Of the limit", ("cpu_of_limit", "cpu_throttled", "memory_of_limit"), 0.8),
            Panel("Memory", ("memory",)),
        ),
    ),
    (
        "Traffic in",
        (
            Panel("Changes received", ("inbound_updates",)),
            Panel("Causes of pushes", ("push_triggers",)),
            Panel("ADS Monitoring", ("services", "virtual_services")),
        ),
    ),
    (
        "Traffic out",
        (
            Panel("Pilot Pushes", ("pushes",)),
            Panel("Proxies by istiod", ("connections_by_istiod", "xds_connections_of_proxies")),
            Panel("XDS Requests Size", ("xds_rx_max", "xds_rx_median", "xds_tx_max", "xds_tx_median")),
            Panel("Size of one push, p99", ("config_size_p99",), 4e6),
            Panel("Uneven connections", ("imbalance",), 1.5),
        ),
    ),
    (
        "Errors",
        (
            Panel("Refused by proxies", ("rejects", "cds_rejects", "eds_rejects", "lds_rejects", "rds_rejects"), 0.0),
            Panel("Pilot Errors", ("write_timeouts", "internal_errors", "expired_nonces", "send_errors")),
            Panel("Conflicts", ("listener_conflicts",), 0.0),
        ),
    ),
)
"""Rows and panels: those the dashboard of Istio 1.17 to 1.22 had and later ones lack, and what the chapter adds."""


def dashboard(*, title: str = "Istio control plane: latency, saturation, traffic, errors") -> dict[str, Any]:
    """A Grafana dashboard; import it, or provision it from a file.

    Args:
        title: its title.

    Example:
        >>> [panel["title"] for panel in dashboard()["panels"]][:3]
        ['Latency', 'Proxy Push Time', 'Proxy Queue Time']
    """
    panels: list[dict[str, Any]] = []
    top = 0
    for row, members in DASHBOARD:
        panels.append(_row(row, len(panels) + 1, top))
        top += 1
        for number, panel in enumerate(members):
            left = number % 3 * (_COLUMNS // 3)
            panels.append(_panel(panel, len(panels) + 1, left, top + number // 3 * _HEIGHT))
        top += -(-len(members) // 3) * _HEIGHT
    source = {"name": "datasource", "type": "datasource", "query": "prometheus", "label": "Data source", "hide": 0}
    return {
        "uid": "meshnb-control-plane",
        "title": title,
        "tags": ["istio", "control plane", "meshnb"],
        "timezone": "utc",
        "schemaVersion": _SCHEMA,
        "version": 1,
        "editable": True,
        "refresh": "30s",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {"list": [source]},
        "annotations": {"list": []},
        "panels": panels,
    }


def dashboard_json() -> str:
    """The dashboard as a file."""
    return json.dumps(dashboard(), indent=1, ensure_ascii=False) + "\n"


def _row(title: str, number: int, top: int) -> dict[str, Any]:
    grid = {"x": 0, "y": top, "w": _COLUMNS, "h": 1}
    return {"id": number, "type": "row", "title": title, "collapsed": False, "gridPos": grid, "panels": []}


def _panel(panel: Panel, number: int, left: int, top: int) -> dict[str, Any]:
    known = [query(name) for name in panel.queries]
    source = {"type": "prometheus", "uid": "${datasource}"}
    steps: list[dict[str, Any]] = [{"color": "green", "value": None}]
    custom: dict[str, Any] = {"drawStyle": "line", "spanNulls": False}
    if panel.threshold is not None:
        steps.append({"color": "red", "value": panel.threshold})
        custom["thresholdsStyle"] = {"mode": "line"}
    return {
        "id": number,
        "type": "timeseries",
        "title": panel.title,
        "description": "\n\n".join(f"{one.name}: {one.meaning}" for one in known),
        "datasource": source,
        "gridPos": {"x": left, "y": top, "w": _COLUMNS // 3, "h": _HEIGHT},
        "fieldConfig": {
            "defaults": {
                "unit": _UNITS.get(known[0].unit, "short"),
                "min": 0,
                "custom": custom,
                "thresholds": {"mode": "absolute", "steps": steps},
            },
            "overrides": [],
        },
        "options": {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi"}},
        "targets": [
            {
                "refId": chr(ord("A") + n),
                "datasource": source,
                "expr": one.text(rate="$__rate_interval"),
                "legendFormat": f"{one.name} {_legend(one.expr)}".strip(),
                "range": True,
            }
            for n, one in enumerate(known)
        ],
    }


def _legend(expr: str) -> str:
    return " ".join(f"{{{{{label}}}}}" for label in ("pod", "type") if f"by ({label})" in expr or f", {label})" in expr)


def alerts(
    *,
    rate: str = "5m",
    hold: str = "5m",
    warning_s: float = 1.0,
    critical_s: float = 2.0,
    slow_share: float = 0.01,
) -> str:
    """Prometheus alert rules as YAML.

    The study notes ask for 10 s above 1 s and 2 s: `hold="10s"`. That is shorter than most scrape intervals, so the
    default is five minutes; and 2 s lies inside a bucket, so the share of pushes slower than 3 s stands beside it.

    Args:
        rate: span of `rate()`; at least four scrape intervals.
        hold: how long convergence must be slow.
        warning_s: p99 of the convergence time that is a warning.
        critical_s: p99 that is critical.
        slow_share: share of pushes slower than 3 s that is critical.

    Raises:
        UsageError: a span that is no duration, or thresholds in the wrong order.

    Example:
        >>> print(alerts().splitlines()[1])
        - name: istio-control-plane
    """
    for span in (rate, hold):
        parse_duration(span)
    if not 0 < warning_s <= critical_s or not 0 < slow_share < 1:
        raise UsageError(
            f"thresholds {warning_s:g} s, {critical_s:g} s, {slow_share:g}",
            hint="0 < warning <= critical, share below 1",
        )
    values = {"rate": rate, "hold": hold, "warning_s": f"{warning_s:g}", "critical_s": f"{critical_s:g}"}
    values |= {"slow_share": f"{slow_share:g}", "slow_percent": f"{slow_share * 100:g}"}
    lines = ["groups:", "- name: istio-control-plane", "  rules:"]
    for rule in tomllib.loads((files("meshnb.tuning") / "alerts.toml").read_text(encoding="utf-8"))["rule"]:
        lines += [f"  - alert: {rule['alert']}", f"    expr: {_quoted(rule['expr'].format(**values))}"]
        wait = rule["for"].format(**values)
        lines += [f"    for: {wait}"] if wait != "0s" else []
        lines.append(f"    labels: {{severity: {rule['severity']}}}")
        lines.append(f"    annotations: {{summary: {_quoted(rule['summary'].format(**values))}}}")
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
