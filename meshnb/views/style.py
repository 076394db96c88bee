"""The look shared by all views: one style sheet, light and dark, and how values are written.

Each output carries the sheet, as a notebook may show any of them alone; a report keeps one copy. The colours follow
the notebook's theme where it names one (JupyterLab, VS Code), else what the reader's system prefers.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from html import escape
from importlib.resources import files
from typing import Any

CSS = files("meshnb.views").joinpath("style.css").read_text(encoding="utf-8")
"""The style sheet."""

_COMMENT = re.compile(r"/\*.*?\*/\s*", re.DOTALL)
STYLE = f"<style data-meshnb>{_COMMENT.sub('', CSS).strip()}</style>"
_STYLES = re.compile(r"<style data-meshnb>.*?</style>\s*", re.DOTALL)

ABSENT = "\u2013"
"""How a missing value is written: a dash."""


def page(body: str) -> str:
    """A view's HTML as it stands in an output."""
    return f'{STYLE}<div class="meshnb">{body}</div>'


def without_style(html: str) -> str:
    """The HTML of outputs without their copies of the sheet, for a document that has it once."""
    return _STYLES.sub("", html)


def is_missing(value: object) -> bool:
    """Whether a cell of a frame is empty: `None`, not a number, or one of pandas' own marks."""
    if isinstance(value, float):
        return value != value
    return value is None or type(value).__name__ in ("NAType", "NaTType")


def text_of(value: Any) -> str:
    """How a value is written in tables: short, unambiguous, the same everywhere, times in UTC.

    Example:
        >>> text_of(["a", "b"]), text_of(0.123456), text_of(True), text_of(datetime(2026, 11, 23, 9))
        ('a, b', '0.1235', 'yes', '2026-11-23 09:00:00')
    """
    if hasattr(value, "tolist") and not isinstance(value, str):
        value = value.tolist()
    if isinstance(value, list | tuple | set):
        return ", ".join(map(text_of, value)) or ABSENT
    if is_missing(value):
        return ABSENT
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.0f}" if value.is_integer() or abs(value) >= 1000 else f"{value:.4g}"
    if isinstance(value, datetime):
        value = value.astimezone(UTC) if value.tzinfo else value
        return f"{value:%Y-%m-%d %H:%M:%S}" + (f".{value.microsecond // 1000:03}" if value.microsecond else "")
    if isinstance(value, Mapping):
        return ", ".join(f"{key}={text_of(item)}" for key, item in value.items()) or ABSENT
    return str(value)


def percent(share: float) -> str:
    """A share as text.

    Example:
        >>> percent(0.8), percent(0.0004), percent(1)
        ('80 %', '0.04 %', '100 %')
    """
    value = share * 100
    return f"{value:.0f} %" if value >= 10 or value == 0 else f"{value:.2g} %"


_SHARE = re.compile(r"(?:^|_)(?:share|success)(?:_|$)")


def _text_in(column: str, value: Any) -> str:
    """How a value is written in a column: a share as percent, anything else as everywhere."""
    if isinstance(value, float) and 0 <= value <= 1 and _SHARE.search(column):
        return percent(value)
    return text_of(value)


def kind_of(values: list[Any]) -> str:
    """CSS class of a column: `n` for numbers, `t` for times, empty for text."""
    seen = [value for value in values if not is_missing(value)]
    if seen and all(isinstance(value, int | float) and not isinstance(value, bool) for value in seen):
        return "n"
    return "t" if seen and all(isinstance(value, datetime) for value in seen) else ""


_INLINE = re.compile(r"`([^`]+)`")


def inline(text: str) -> str:
    """A sentence as HTML; what stands between backticks is code.

    Example:
        >>> inline("a < b: run `meshnb list`")
        'a &lt; b: run <code>meshnb list</code>'
    """
    return _INLINE.sub(r"<code>\1</code>", escape(text))


def _cell(column: str, value: Any, kind: str) -> str:
    classes = f' class="{kind}"' if kind else ""
    text = _text_in(column, value)
    shown = f'<span class="dim">{ABSENT}</span>' if text == ABSENT else escape(text)
    return f"<td{classes}>{shown}</td>"


def _heading(name: str, kind: str, values: list[Any]) -> str:
    """A column's heading; text wraps anywhere, so a column of it keeps the width of a short line.

    Where space is short a heading may break at an underscore, so its longest part counts and not all of it.
    """
    classes = f' class="{kind}"' if kind else ""
    width = min(max((len(text_of(value)) for value in values), default=0) + 1, 20)
    part = max(map(len, name.replace("_", "_ ").split(" ")), default=0)
    room = "" if kind or width <= part else f' style="--w:{width}ch"'
    return f'<th{classes} scope="col"{room}>{escape(name).replace("_", "_<wbr>")}</th>'


def html_table(names: list[str], rows: list[list[Any]], *, caption: str = "") -> str:
    """An HTML table from plain values; `caption` is HTML."""
    columns = [[row[i] for row in rows] for i in range(len(names))]
    kinds = [kind_of(values) for values in columns]
    head = "".join(map(_heading, names, kinds, columns))
    body = "".join("<tr>" + "".join(map(_cell, names, row, kinds)) + "</tr>" for row in rows)
    if not rows:
        body = f'<tr><td class="dim" colspan="{max(len(names), 1)}">no rows</td></tr>'
    top = f"<caption>{caption}</caption>" if caption else ""
    return f'<div class="scroll"><table>{top}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def text_table(names: list[str], rows: list[list[Any]], *, width: int = 48) -> str:
    """The same as aligned text; long cells are cut at `width` characters."""
    kinds = [kind_of([row[i] for row in rows]) for i in range(len(names))]
    lines = [list(map(str, names))] + [[_cut(text, width) for text in map(_text_in, names, row)] for row in rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(names))]
    return "\n".join(
        "  ".join(
            text.rjust(size) if kind == "n" else text.ljust(size)
            for text, size, kind in zip(line, widths, kinds, strict=True)
        ).rstrip()
        for line in lines
    )


def _cut(text: str, width: int) -> str:
    text = " ".join(text.split())
    return text if len(text) <= width else text[: width - 1] + "…"
