"""What is wrong with a PromQL query before it is asked: dead metrics, `rate()` of gauges, labels that do not exist."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING

from meshnb.model.frame import returns
from meshnb.model.tables.control_plane import LINT
from meshnb.tuning.catalogue import Metric, family, metrics, wrong_names
from meshnb.tuning.promql import Node, parse

if TYPE_CHECKING:
    import pandas as pd

SCRAPED = frozenset({
    "__name__", "job", "instance", "app", "pod", "namespace", "node", "container", "service", "endpoint", "cluster",
    "version", "revision", "istio_io_rev", "le", "quantile", "component", "tag", "pod_name", "id", "image", "name",
    "kubernetes_pod_name", "kubernetes_namespace",
})  # fmt: skip
"""Labels that scraping may add to any series; whether it does depends on the relabelling rules."""

_OF_COUNTERS = frozenset(("rate", "irate", "increase", "resets"))
_OF_GAUGES = frozenset(("delta", "idelta", "deriv", "predict_linear"))
_PREFIXES = ("pilot_", "istio_", "citadel_", "galley_", "sidecar_injection_", "xds_cache_")

Row = tuple[str, int, str, str]


@returns(LINT)
def lint(expr: str, *, version: str = "", labels: Collection[str] = ()) -> pd.DataFrame:
    """Read a query for the mistakes that make a dashboard lie.

    Args:
        expr: PromQL.
        version: Istio release of the mesh, to know which metrics it has.
        labels: labels that exist in this Prometheus; with them, others are reported.

    Raises:
        UsageError: not PromQL.

    Example:
        >>> lint("rate(pilot_xds_cds_reject[5m])")["rule"].tolist()
        ['rate-of-gauge']
    """
    root = parse(expr)
    rows: list[Row] = []
    for selector in root.selectors:
        rows += _names(selector, version)
    for node in root.walk():
        rows += _types(node)
        rows += _labels(node, labels)
        rows += _histograms(node)
        rows += _sentinel(node)
    unique = sorted(set(rows), key=lambda row: (row[1], row[0]))
    return LINT.rows(
        {"rule": rule, "position": position + 1, "message": message, "use": use or None}
        for rule, position, message, use in unique
    )


def _names(selector: Node, version: str) -> Iterator[Row]:
    name, start = selector.name, selector.start
    if not name:
        return
    known = metrics().get(family(name))
    wrong = wrong_names().get(name) or wrong_names().get(re.sub(r"_(bucket|count|sum)$", "", name))
    if known and version and not known.exists_in(version):
        since = f"since {known.first}" if known.first and not known.last else f"up to {known.last}"
        use = wrong.use if wrong else ""
        yield "not-in-version", start, f"Istio {version} does not export {name}: {since} only; absent is not zero", use
    elif wrong and (not known or not version):
        yield "dead-metric", start, f"{name}: {wrong.status}", wrong.use
    elif not known and name.startswith(_PREFIXES):
        near = difflib.get_close_matches(name, metrics(), n=1, cutoff=0.8)
        yield "unknown-metric", start, f"no release of Istio exports {name}", near[0] if near else ""
    elif known and known.type == "histogram" and name == known.name:
        yield (
            "bare-histogram",
            start,
            f"{name} is a histogram: its series are {name}_bucket, _sum, _count",
            f"{name}_bucket",
        )


def _types(node: Node) -> Iterator[Row]:
    if node.kind != "call" or node.name not in _OF_COUNTERS | _OF_GAUGES or not node.args:
        return
    inner = node.args[0]
    if inner.kind != "selector" or not (metric := metrics().get(family(inner.name))):
        return
    if node.name in _OF_COUNTERS and metric.type == "gauge":
        text = f"{inner.name} is a gauge: {node.name}() takes each fall for a reset and adds it up"
        yield "rate-of-gauge", node.start, text, f"max_over_time({inner.text})"
    if node.name in _OF_GAUGES and metric.type != "gauge":
        text = f"{inner.name} is a {metric.type}: {node.name}() does not see its resets"
        yield "delta-of-counter", node.start, text, f"increase({inner.text})"


def _labels(node: Node, present: Collection[str]) -> Iterator[Row]:
    wanted = {matcher.label for matcher in node.matchers} if node.kind == "selector" else set()
    selectors = [node] if node.kind == "selector" else []
    if node.kind == "aggregation" and not node.without:
        wanted, selectors = set(node.labels), node.selectors
    for label in sorted(wanted):
        known = [metrics().get(family(selector.name)) for selector in selectors]
        if known and all(known) and not any(_has(metric, label) for metric in known if metric):
            near = difflib.get_close_matches(label, [name for m in known if m for name in m.labels], n=1)
            text = f"{selectors[0].name} has no label {label}"
            yield "no-such-label", node.start, text, near[0] if near else ""
        elif present and label not in present and label != "le":
            text = f"no series here has the label {label}; it comes from scrape relabelling" if label in SCRAPED else ""
            yield "label-missing-here", node.start, text or f"no series here has the label {label}", _instead(label)


def _has(metric: Metric, label: str) -> bool:
    return label in metric.labels or label in SCRAPED or metric.process == "ztunnel"  # whose labels are not catalogued


def _instead(label: str) -> str:
    return {"pod": "destination_workload", "version": "destination_version"}.get(label, "")


def _histograms(node: Node) -> Iterator[Row]:
    if node.kind == "call" and node.name == "histogram_quantile" and len(node.args) == 2:
        for inner in node.args[1].walk():
            if inner.kind == "aggregation" and (("le" in inner.labels) == inner.without):
                yield "le-aggregated-away", inner.start, "histogram_quantile needs the label le", "sum by (le) (…)"
    if node.kind == "selector" and node.name.endswith("_bucket"):
        edges = (metrics().get(family(node.name)) or Metric("", "", "", "")).buckets
        for matcher in node.matchers:
            if matcher.label != "le" or matcher.op != "=" or not edges or matcher.value == "+Inf":
                continue
            shown = ", ".join(f"{edge:g}" for edge in edges)
            if _number(matcher.value) not in edges:
                text = f"le={matcher.value} is no edge of {family(node.name)}: {shown}"
                yield "no-such-bucket", node.start, text, ""
            elif float(matcher.value).is_integer():
                whole = f"{float(matcher.value):g}"
                text = f"Prometheus 3 writes this edge {whole}.0: the query is empty there"
                yield "le-of-one-version", node.start, text, f'le=~"{whole}|{whole}.0"'


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("nan")


def _sentinel(node: Node) -> Iterator[Row]:
    """`sum(x) or (absent(x) - 1)` draws 0 where there is no series at all."""
    if node.kind == "binary" and node.name == "or" and any(n.name == "absent" for n in node.args[1].walk()):
        text = "absent(…) - 1 is 0 where no series exists: a metric the release does not have looks healthy"
        yield "absent-as-zero", node.start, text, node.args[0].text
