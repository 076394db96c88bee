"""A composed query in steps: each step is a query of its own, so one sees where a result becomes empty."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from meshnb.model.frame import returns
from meshnb.model.tables.control_plane import LADDER
from meshnb.tuning.promql import Node, parse

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True)
class Step:
    """One step: the query up to here, and what the step adds."""

    query: str
    adds: str


def steps(expr: str) -> list[Step]:
    """The steps a query is built up in, innermost first.

    Raises:
        UsageError: not PromQL.

    Example:
        >>> for step in steps('sum(irate(x{a="b"}[5m])) by (pod)'):
        ...     print(step.query)
        x
        x{a="b"}
        x{a="b"}[5m]
        irate(x{a="b"}[5m])
        sum(irate(x{a="b"}[5m]))
        sum(irate(x{a="b"}[5m])) by (pod)
    """
    found: list[Step] = []
    _climb(parse(expr), found)
    return list({step.query: step for step in reversed(found)}.values())[::-1]


def _climb(node: Node, found: list[Step]) -> None:
    if node.kind == "selector":
        _selector(node, found)
        return
    for arg in node.args:
        if arg.kind not in ("number", "string"):
            _climb(arg, found)
    if node.kind == "aggregation" and node.labels and len(node.args) == 1:
        found.append(Step(f"{node.name}({node.args[0].text})", f"{node.name}: all series together"))
        kept = "without" if node.without else "by"
        found.append(Step(node.text, f"{kept} {', '.join(node.labels)}"))
    elif node.kind in ("call", "aggregation"):
        found.append(Step(node.text, node.name))
    elif node.kind == "binary":
        found.append(Step(node.text, f"both sides with {node.name}; only series with equal labels meet"))
    elif node.kind in ("unary", "subquery"):
        found.append(Step(node.text, node.kind))


def _selector(node: Node, found: list[Step]) -> None:
    plain = [matcher for matcher in node.matchers if matcher.label != "__name__"]
    named = node.name if node.text.startswith(node.name) and node.name else ""
    first = [matcher.text for matcher in node.matchers if matcher not in plain] if not named else []
    if named or first:
        found.append(Step(named or f"{{{', '.join(first)}}}", "the raw series"))
    for count in range(1, len(plain) + 1):
        texts = ", ".join([*first, *(matcher.text for matcher in plain[:count])])
        found.append(Step(f"{named}{{{texts}}}", f"only {plain[count - 1].text}"))
    if node.range:
        found.append(Step(node.text, f"all samples of {node.range}, a row each"))


@returns(LADDER)
def ladder(expr: str, ask: Callable[[str], pd.DataFrame]) -> pd.DataFrame:
    """Ask for each step of a query and count what comes back.

    Args:
        expr: PromQL.
        ask: runs an instant query, such as `Prometheus.query`.

    Raises:
        UsageError: not PromQL.
    """
    rows = []
    before: int | None = None
    for number, step in enumerate(steps(expr), 1):
        frame = ask(step.query)
        note = "empty from here on" if before and not len(frame) else ""
        value = float(frame["value"].iloc[0]) if len(frame) else None
        rows.append(
            {"step": number, "query": step.query, "adds": step.adds, "rows": len(frame), "first": value, "note": note}
        )
        before = len(frame)
    return LADDER.rows(rows)
