"""An executed notebook as one HTML file that loads nothing: charts, tables, light and dark, print.

The page carries plotly once, compressed, and only if there is a chart. A content security policy in the page allows
the two scripts it came with, by their hash, and nothing else: no request, and no script that a log line smuggled in.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable
from copy import deepcopy
from functools import cache
from html import escape
from importlib.resources import files
from typing import Any

from meshnb.errors import MissingExtra
from meshnb.model.finding import Findings, Status
from meshnb.report.clean import clean
from meshnb.report.offline import offline
from meshnb.report.record import Record, outputs, record_of
from meshnb.runbook.form import FORM_MEDIA
from meshnb.views.charts import PLOTLY_MEDIA
from meshnb.views.findings import FINDINGS_MEDIA, VERDICT, FindingList, as_html
from meshnb.views.style import ABSENT, CSS, without_style
from meshnb.views.tables import SOURCE_MEDIA

# What a report shows of an output, best first. Widgets and scripts are left out: they are dead on paper.
_SHOWN = ("text/html", "image/svg+xml", "image/png", "image/jpeg", "text/markdown", "text/latex", "text/plain")
# What is told at the top, and not again where it stood.
_AT_TOP = {FORM_MEDIA, SOURCE_MEDIA}


def to_html(notebook: Any, *, name: str = "report") -> str:
    """The report of an executed notebook.

    Args:
        notebook: an `nbformat` notebook; not changed.
        name: name of the runbook, where the notebook does not record it.

    Returns:
        One HTML document that loads nothing.

    Raises:
        FormatError: the notebook records findings that cannot be read.
        MissingExtra: nbconvert is not installed.
    """
    notebook = deepcopy(notebook)
    struck = Counter(notebook.metadata.get("meshnb", {}).get("run", {}).get("redacted", {})) + clean(notebook)
    record = record_of(notebook, name=name)
    charts = prepare(notebook, record)
    body, dropped = offline(_cells(notebook))
    loader = _file("report.js") if charts else ""
    parts = [
        "<!DOCTYPE html>",
        '<html lang="en"><head><meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{_policy([loader, _plotly()] if charts else [])}">',
        '<meta name="viewport" content="width=device-width,initial-scale=1">',
        f"<title>{escape(record.title)}</title>",
        f"<style>{_file('report.css')}{CSS}</style></head><body>",
        _header(record, struck, dropped),
        _crash(record),
        _verdict(record),
        f"<main>{body}</main>",
        f"<footer>Made from {escape(record.name)}.ipynb, which can be run again. Nothing here is loaded from a network."
        "</footer>",
        f'<script id="plotly" type="text/plain">{_packed()}</script>\n<script>{loader}</script>' if charts else "",
        "</body></html>\n",
    ]
    return "\n".join(part for part in parts if part)


def prepare(notebook: Any, record: Record) -> int:
    """Reduce each output, in place, to what a report shows of it.

    Returns:
        How many charts there are.
    """
    charts = 0
    if notebook.cells and notebook.cells[0].cell_type == "markdown":
        notebook.cells[0].source = re.sub(r"\A\s*# .*\n?", "", notebook.cells[0].source)
    verdicts = [output for _, output in outputs(notebook) if _is_verdict(output)]
    for cell in notebook.cells:
        if "outputs" not in cell:
            continue
        cell.outputs = [output for output in cell.outputs if not _AT_TOP & output.get("data", {}).keys()]
        for output in cell.outputs:
            if "data" not in output:
                continue
            if verdicts and output is verdicts[-1]:
                output.data = {"text/html": '<p><a href="#verdict">The verdict stands at the top.</a></p>'}
            elif verdicts and FINDINGS_MEDIA in output.data:
                output.data = {"text/html": _brief(output.data[FINDINGS_MEDIA], record)}
            elif PLOTLY_MEDIA in output.data:
                charts += 1
                output.data = {"text/html": _chart(output.data)}
            else:
                best = next((media for media in _SHOWN if media in output.data), "")
                output.data = {best: output.data[best]} if best else {"text/plain": _unshown(output.data)}
            if "text/html" in output.data:
                output.data["text/html"] = _frame(without_style(output.data["text/html"]))
    return charts


def _frame(html: str) -> str:
    """A frame as pandas shows it, with what is missing and what is empty written as in our own tables."""
    if 'class="dataframe"' not in html:
        return html
    html = re.sub(r"<td>(?:&lt;NA&gt;|NaN|NaT|None)</td>", f'<td class="absent">{ABSENT}</td>', html)
    return re.sub(r"<tbody>\s*</tbody>", '<tbody><tr><td class="absent" colspan="99">no rows</td></tr></tbody>', html)


def _is_verdict(output: Any) -> bool:
    return bool(output.get("data", {}).get(FINDINGS_MEDIA, {}).get("title") == VERDICT)


def _brief(data: Any, record: Record) -> str:
    """A list of findings among the cells; what the verdict at the top has in full is only named here."""
    found = FindingList(Findings.from_json(json.dumps(data)), title=data.get("title", ""))
    known = {finding.key for finding in record.findings.status(Status.FAIL)}
    failed = {finding.key for finding in found.status(Status.FAIL)}
    brief = failed <= known
    more = '<p><a href="#verdict">Why, evidence and fix stand at the top.</a></p>' if brief and failed else ""
    return f'<div class="meshnb">{as_html(found, brief=brief)}{more}</div>'


def _unshown(data: Any) -> str:
    return f"(shown only in a live notebook: {', '.join(sorted(data))})"


def _chart(data: Any) -> str:
    """A chart's static picture, with the figure for plotly to draw over it."""
    static = data.get("text/html", "")
    if "<svg" not in static:  # a figure of plotly itself: its HTML is a script from elsewhere
        static = f"<figure><p>{escape(data.get('text/plain', 'chart'))}</p></figure>"
    figure = {key: data[PLOTLY_MEDIA].get(key, {}) for key in ("data", "layout")}
    text = json.dumps(figure, separators=(",", ":")).replace("<", "\\u003c")
    return (
        f'<div class="chart">{static}<div class="meshnb live"></div>'
        f'<script type="application/json">{text}</script></div>'
    )


def _cells(notebook: Any) -> str:
    try:
        from nbconvert import HTMLExporter
        from traitlets.config import Config
    except ImportError:
        raise MissingExtra("notebook", needed_for="an HTML report") from None
    config = Config({"NbConvertBase": {"display_data_priority": list(_SHOWN)}})
    exporter = HTMLExporter(
        template_name="basic",
        config=config,
        exclude_input_prompt=True,
        exclude_output_prompt=True,
        exclude_anchor_links=True,
    )
    body, _ = exporter.from_notebook_node(notebook)
    return str(body)


def _header(record: Record, struck: Counter[str], dropped: int) -> str:
    run = record.run
    facts: list[tuple[str, str]] = []
    if record.parameters:
        shown = "".join(
            f"<code>{escape(name)}={escape(value) or '&quot;&quot;'}</code>"
            for name, value in record.parameters.items()
        )
        facts.append(("Parameters", shown))
    facts += [(name[:1].upper() + name[1:], escape(value)) for name, value in record.source.items()]
    if run.get("started"):
        facts.append(("Run", escape(_when(run["started"], run.get("finished", "")))))
    if versions := run.get("versions"):
        shown = "".join(f"<span>{escape(name)} {escape(version)}</span>" for name, version in versions.items())
        facts.append(("Made with", shown))
    if struck:
        rules = ", ".join(f"{count} {rule}" for rule, count in sorted(struck.items()))
        facts.append(("Masked", f"{struck.total()} secret{'s' if struck.total() != 1 else ''} ({escape(rules)})"))
    if dropped:
        many = "s" if dropped != 1 else ""
        facts.append(("Left out", f"{dropped} reference{many} to other places on a network"))
    about = ""
    for name, value in facts:
        wide = ' class="wide"' if len(value) > 60 else ""
        about += f"<dt{wide}>{escape(name)}</dt><dd{wide}>{value}</dd>"
    return (
        f'<header><div class="kind"><span>meshnb · {escape(record.name)}</span>'
        '<label class="toggle"><input type="checkbox" id="code">Show code</label></div>'
        f'<h1>{escape(record.title)}</h1><dl class="about">{about}</dl></header>'
    )


def _when(started: str, finished: str) -> str:
    from datetime import datetime

    try:
        start = datetime.fromisoformat(started)
        text = f"{start:%Y-%m-%d %H:%M:%S} UTC"
        return f"{text}, {(datetime.fromisoformat(finished) - start).total_seconds():.0f} s" if finished else text
    except ValueError:
        return started


def _crash(record: Record) -> str:
    if record.crash is None:
        return ""
    crash = record.crash
    message, _, hint = crash.message.partition("\n  → ")
    advice = f"<p>{escape(hint)}</p>" if hint else ""
    where = f"cell {crash.cell + 1}"
    link = f'<a href="#cell-id={escape(crash.anchor)}">{where}</a>' if crash.anchor else where
    if record.interrupted:
        title, said = "This run was interrupted", escape(message)
    else:
        title, said = "This run broke off", f"<code>{escape(crash.kind)}: {escape(message)}</code>"
    return (
        f'<div class="crash" role="alert"><b>✖ {title}</b> in {link}. What stands below was found before '
        f"that.<p>{said}</p>{advice}</div>"
    )


def _verdict(record: Record) -> str:
    if not len(record.findings) and record.crash is not None:
        return ""
    if not record.judges:
        return '<p class="dim" id="verdict">No findings are recorded here: nothing was checked.</p>'
    return f'<section id="verdict"><div class="meshnb">{as_html(record.findings)}</div></section>'


def _policy(scripts: Iterable[str]) -> str:
    hashes = [f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'" for text in scripts]
    return (
        f"default-src 'none'; script-src {' '.join(hashes) or repr('none')}; style-src 'unsafe-inline'; "
        "img-src data: blob:; font-src data:; base-uri 'none'; form-action 'none'"
    )


@cache
def _file(name: str) -> str:
    return (files("meshnb.report") / name).read_text(encoding="utf-8")


@cache
def _plotly() -> str:
    # as text/plain in a page `</script>` would end it, but compressed it cannot occur
    return (files("plotly") / "package_data" / "plotly.min.js").read_text(encoding="utf-8")


@cache
def _packed() -> str:
    return base64.b64encode(gzip.compress(_plotly().encode(), 9, mtime=0)).decode()
