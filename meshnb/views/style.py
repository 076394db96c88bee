"""The look shared by all views: one style sheet, light and dark, and how values are written.

Each output carries the sheet, as a notebook may show any of them alone; a report keeps one copy. The colours follow
the notebook's theme where it names one (JupyterLab, VS Code), else what the reader's system prefers.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from html import escape
from typing import Any

CSS = """
.meshnb{color-scheme:light dark;--fg:light-dark(#1c2128,#e6e9ee);--dim:light-dark(#5b6470,#a0a9b5);
--line:light-dark(#dce0e5,#363d47);--soft:light-dark(#f5f6f8,#1d232b);--link:light-dark(#0b5cad,#7ab8ff);
--fail:light-dark(#b3261e,#ff8f87);--warn:light-dark(#8a5300,#f0b35a);--info:light-dark(#0b5cad,#7ab8ff);
--pass:light-dark(#1b6e3c,#6fcf8e);--unknown:light-dark(#6b4aa0,#c4a7f0);
color:var(--fg);font:14px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif;
margin:.6em 0 1em;text-align:left}
body[data-jp-theme-light="true"] .meshnb,body.vscode-light .meshnb{color-scheme:light}
body[data-jp-theme-light="false"] .meshnb,body.vscode-dark .meshnb{color-scheme:dark}
.meshnb code,.meshnb pre{font:12.5px/1.5 ui-monospace,SFMono-Regular,Menlo,Consolas,"Liberation Mono",monospace;
background:none;color:inherit;padding:0;border:0}
.meshnb a{color:var(--link)}
.meshnb p{margin:.35em 0}
.meshnb .dim{color:var(--dim)}
.meshnb .scroll{overflow-x:auto}
.meshnb table{border-collapse:collapse;border:0;margin:0;font-size:13px;font-variant-numeric:tabular-nums;
width:auto;table-layout:auto}
.meshnb caption{caption-side:top;text-align:left;color:var(--fg);padding:0 0 .35em;font-size:14px;white-space:nowrap}
.meshnb caption b{font-weight:600}
.meshnb caption .dim{font-size:12.5px;margin-left:.6em}
.meshnb tr,.meshnb thead,.meshnb tbody tr:nth-child(odd),.meshnb tbody tr:hover{background:none;border:0}
.meshnb th,.meshnb td{padding:.32em 1.1em .32em 0;border:0;border-bottom:1px solid var(--line);text-align:left;
vertical-align:top;white-space:normal;overflow-wrap:anywhere;max-width:46ch;min-width:3ch}
.meshnb th:last-child,.meshnb td:last-child{padding-right:0}
.meshnb thead th{font-weight:600;color:var(--dim);font-size:12.5px;border-bottom-color:var(--dim);
white-space:nowrap;vertical-align:bottom}
.meshnb .n{text-align:right}
.meshnb .n,.meshnb .t{white-space:nowrap;overflow-wrap:normal}
.meshnb .facts th{font-weight:400;color:var(--dim);white-space:nowrap;padding-right:2em}
.meshnb pre{background:var(--soft);border:1px solid var(--line);border-radius:6px;padding:.7em .9em;margin:.35em 0;
overflow-x:auto;white-space:pre;user-select:all;-webkit-user-select:all}
.meshnb details{margin:.35em 0}
.meshnb summary{cursor:pointer;color:var(--fg)}
.meshnb details>.scroll,.meshnb details>p{margin:.4em 0 .6em 1.1em}
.meshnb .state{font-weight:600;white-space:nowrap;color:var(--c)}
.meshnb .error{--c:var(--fail)}.meshnb .warning{--c:var(--warn)}.meshnb .info{--c:var(--info)}
.meshnb .pass{--c:var(--pass)}.meshnb .unknown{--c:var(--unknown)}
.meshnb .head{font-size:15px;gap:.1em 1.2em;padding:.1em 0 .5em}
.meshnb .finding{border-left:3px solid var(--c);padding:.1em 0 .1em 1em;margin:.9em 0}
.meshnb .finding.pass,.meshnb .finding.unknown{margin:.5em 0}
.meshnb .line{display:flex;flex-wrap:wrap;gap:.1em .8em;align-items:baseline}
.meshnb .finding .summary{font-size:15px;margin:.25em 0 .5em}
.meshnb .finding.pass .summary,.meshnb .finding.unknown .summary{font-size:14px;margin:.1em 0}
.meshnb .label{font-weight:600;margin-top:.8em}
.meshnb .meter{display:inline-block;width:9em;height:.5em;border-radius:.25em;background:var(--line);
vertical-align:middle;margin-right:.6em;overflow:hidden}
.meshnb .meter i{display:block;height:100%;background:var(--c)}
.meshnb figure{margin:0}
.meshnb figcaption{font-weight:600;margin-bottom:.3em}
.meshnb svg{display:block;width:100%;max-width:860px;height:auto;color:var(--fg)}
.meshnb svg text{font:12px system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif;fill:var(--fg)}
.meshnb svg .dim{fill:var(--dim)}.meshnb svg .grid{stroke:var(--line);stroke-width:1}
.meshnb svg .axis{stroke:var(--dim);stroke-width:1}
.meshnb svg .mark{stroke:var(--fail);stroke-width:1.5;stroke-dasharray:5 3}.meshnb svg .marked{fill:var(--fail)}
@media print{.meshnb{color-scheme:light}.meshnb pre{white-space:pre-wrap;overflow-wrap:anywhere}
.meshnb .scroll{overflow:visible}.meshnb tr,.meshnb figure{break-inside:avoid}}
"""

STYLE = f"<style data-meshnb>{CSS}</style>"
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


def kind_of(values: list[Any]) -> str:
    """CSS class of a column: `n` for numbers, `t` for times, empty for text."""
    seen = [value for value in values if not is_missing(value)]
    if seen and all(isinstance(value, int | float) and not isinstance(value, bool) for value in seen):
        return "n"
    return "t" if seen and all(isinstance(value, datetime) for value in seen) else ""


def _cell(value: Any, kind: str) -> str:
    classes = f' class="{kind}"' if kind else ""
    text = text_of(value)
    shown = f'<span class="dim">{ABSENT}</span>' if text == ABSENT else escape(text)
    return f"<td{classes}>{shown}</td>"


def _heading(name: str, kind: str, values: list[Any]) -> str:
    """A column's heading; text wraps anywhere, so a column of it keeps the width of a short line."""
    classes = f' class="{kind}"' if kind else ""
    width = min(max((len(text_of(value)) for value in values), default=0), 28)
    room = "" if kind or width < 8 else f' style="min-width:{width}ch"'
    return f'<th{classes} scope="col"{room}>{escape(name)}</th>'


def html_table(names: list[str], rows: list[list[Any]], *, caption: str = "") -> str:
    """An HTML table from plain values; `caption` is HTML."""
    columns = [[row[i] for row in rows] for i in range(len(names))]
    kinds = [kind_of(values) for values in columns]
    head = "".join(map(_heading, names, kinds, columns))
    body = "".join(
        "<tr>" + "".join(_cell(value, kind) for value, kind in zip(row, kinds, strict=True)) + "</tr>" for row in rows
    )
    if not rows:
        body = f'<tr><td class="dim" colspan="{max(len(names), 1)}">no rows</td></tr>'
    top = f"<caption>{caption}</caption>" if caption else ""
    return f'<div class="scroll"><table>{top}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def text_table(names: list[str], rows: list[list[Any]], *, width: int = 48) -> str:
    """The same as aligned text; long cells are cut at `width` characters."""
    kinds = [kind_of([row[i] for row in rows]) for i in range(len(names))]
    lines = [list(map(str, names))] + [[_cut(text_of(value), width) for value in row] for row in rows]
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
