"""The way through a decision tree as a picture: what was asked and answered, and the branches not taken, in grey."""

from __future__ import annotations

import textwrap
from html import escape
from typing import TYPE_CHECKING, Any

from meshnb.views.style import is_missing, page

if TYPE_CHECKING:
    import pandas as pd

_WIDTH = 860
_BOX, _HIGH, _ROW = 400, 38, 66
_COLORS = {"fail": "var(--fail)", "pass": "var(--pass)", "unknown": "var(--unknown)"}


class Decision:
    """A walk through a decision tree as a notebook shows it. Made by `decision`.

    Args:
        df: one row per step: question, answer, evidence, next, not_taken; the last row is the conclusion.
        title: what was decided.
    """

    def __init__(self, df: pd.DataFrame, *, title: str = "") -> None:
        self.df = df
        self.title = title

    def __repr__(self) -> str:
        return f"<Decision {self.conclusion}>"

    @property
    def conclusion(self) -> str:
        """What the walk ended in."""
        return str(self.df["question"].iloc[-1]) if len(self.df) else "nothing was asked"

    def _rows(self) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = self.df.to_dict("records")
        return [{key: _plain(value) for key, value in row.items()} for row in rows]

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, Any]:
        rows = self._rows()
        return {"text/plain": _as_text(rows, self.title), "text/html": page(_as_html(rows, self.title))}


def decision(df: pd.DataFrame, *, title: str = "") -> Decision:
    """Show a walk through a decision tree.

    Args:
        df: one row per step, with the columns question, answer, evidence, not_taken; the last row is the conclusion.
        title: what was decided.

    Example:
        >>> import pandas as pd
        >>> rows = [["Is it late?", "no", "p99 0.2 s", "yes → slow"], ["All is well.", "pass", "in time", None]]
        >>> decision(pd.DataFrame(rows, columns=["question", "answer", "evidence", "not_taken"]))
        <Decision All is well.>
    """
    return Decision(df, title=title)


def _plain(value: Any) -> Any:
    return "" if not isinstance(value, list) and is_missing(value) else value


def _as_text(rows: list[dict[str, Any]], title: str) -> str:
    lines = [title] if title else []
    for row in rows[:-1]:
        lines += [f"{row['question']}  {row['answer']}", f"    {row['evidence']}"]
        lines += [f"    (not taken: {row['not_taken']})"] if row["not_taken"] else []
    if rows:
        lines += [f"⇒ {rows[-1]['question']}  [{rows[-1]['answer']}]", f"    {rows[-1]['evidence']}"]
    return "\n".join(lines)


def _as_html(rows: list[dict[str, Any]], title: str) -> str:
    caption = f"<figcaption>{escape(title)}</figcaption>" if title else ""
    evidence = "".join(
        f"<li><b>{escape(row['question'])}</b> {escape(row['answer'])}: {escape(row['evidence'])}</li>" for row in rows
    )
    details = f"<details><summary>Evidence of each answer</summary><ol>{evidence}</ol></details>"
    return f"<figure>{caption}{_svg(rows)}</figure>{details}"


def _svg(rows: list[dict[str, Any]]) -> str:
    height = _ROW * len(rows) + 8
    alt = escape(" ".join(f"{row['question']} {row['answer']}." for row in rows))
    parts = [_step(row, number, last=number == len(rows) - 1) for number, row in enumerate(rows)]
    return (
        f'<svg role="img" viewBox="0 0 {_WIDTH} {height}" aria-label="{alt}"><title>{alt}</title>{"".join(parts)}</svg>'
    )


def _step(row: dict[str, Any], number: int, *, last: bool) -> str:
    top = number * _ROW + 4
    color = _COLORS.get(row["answer"], "var(--dim)") if last else "var(--link)"
    box = f'<rect x="2" y="{top}" width="{_BOX}" height="{_HIGH}" rx="6" fill="var(--soft)" stroke="{color}"'
    parts = [f'{box} stroke-width="{2 if last else 1}"/>', _lines(row["question"], 14, top + _HIGH / 2, width=56)]
    if last:
        return "".join(parts)
    middle = _BOX / 2
    parts.append(f'<line x1="{middle}" y1="{top + _HIGH}" x2="{middle}" y2="{top + _ROW}" stroke="var(--link)"/>')
    parts.append(f'<text x="{middle + 8}" y="{top + _HIGH + 18}" font-weight="600">{escape(row["answer"])}</text>')
    if row["not_taken"]:
        level = top + _HIGH / 2
        line = f'<line x1="{_BOX + 2}" y1="{level}" x2="{_BOX + 34}" y2="{level}" stroke="var(--dim)"'
        parts.append(f'{line} stroke-dasharray="3 3"/>')
        parts.append(_lines(row["not_taken"].replace("; ", "\n"), _BOX + 40, level, width=62, css="dim"))
    return "".join(parts)


def _lines(text: str, x: float, middle: float, *, width: int, css: str = "") -> str:
    """Lines of text around a height."""
    lines = [line for part in text.split("\n") for line in textwrap.wrap(part, width)][:3]
    classes = f' class="{css}"' if css else ""
    first = middle + 4 - 7.5 * (len(lines) - 1)
    return "".join(
        f'<text x="{x:.0f}" y="{first + number * 15:.0f}"{classes}>{escape(line)}</text>'
        for number, line in enumerate(lines)
    )
