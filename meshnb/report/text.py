"""An executed notebook as Markdown, for a ticket or a wiki, and as JSON, for other programs."""

from __future__ import annotations

import json
import re
from collections import Counter
from copy import deepcopy
from typing import Any

from meshnb.model.finding import Finding, Status
from meshnb.report.clean import clean
from meshnb.report.record import Record, record_of
from meshnb.runbook.form import FORM_MEDIA
from meshnb.views.findings import FINDINGS_MEDIA, evidence_text, state_of
from meshnb.views.style import percent
from meshnb.views.tables import SOURCE_MEDIA

REPORT_VERSION = 1
"""Version of the JSON form of a report."""

_ANSI = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


def to_json(notebook: Any, *, name: str = "report") -> str:
    """The report of an executed notebook as JSON: what was looked at, with what, and what was found.

    Raises:
        FormatError: the notebook records findings that cannot be read.
    """
    notebook = deepcopy(notebook)
    clean(notebook)
    record = record_of(notebook, name=name)
    data = {
        "version": REPORT_VERSION,
        "runbook": record.name,
        "title": record.title,
        "verdict": record.verdict,
        "parameters": dict(record.parameters),
        "source": dict(record.source),
        "run": {key: value for key, value in record.run.items() if key in ("started", "finished", "versions")},
        "crash": {"kind": record.crash.kind, "message": record.crash.message} if record.crash else None,
        "findings": [finding.to_dict() for finding in record.findings],
    }
    return json.dumps(data, indent=1, ensure_ascii=False) + "\n"


def to_markdown(notebook: Any, *, name: str = "report") -> str:
    """The report of an executed notebook as Markdown; charts are told in words.

    Raises:
        FormatError: the notebook records findings that cannot be read.
    """
    notebook = deepcopy(notebook)
    struck = Counter(notebook.metadata.get("meshnb", {}).get("run", {}).get("redacted", {})) + clean(notebook)
    record = record_of(notebook, name=name)
    lines = [f"# {record.title}", "", *_about(record, struck), ""]
    if record.crash is not None:
        what = "was interrupted" if record.interrupted else "broke off"
        lines += [f"> **This run {what}** in cell {record.crash.cell + 1}: {_line(str(record.crash))}", ""]
    lines += [f"## Verdict: {record.findings.headline}", ""]
    for finding in record.findings:
        lines += [*_finding(finding), ""]
    return "\n".join([*lines, *_cells(notebook)]).rstrip() + "\n"


def _about(record: Record, struck: Counter[str]) -> list[str]:
    facts = {f"`{key}`": f"`{value}`" for key, value in record.parameters.items()} | dict(record.source)
    if started := record.run.get("started"):
        facts["Run"] = str(started)
    if versions := record.run.get("versions"):
        facts["Made with"] = ", ".join(f"{key} {value}" for key, value in versions.items())
    if struck:
        facts["Masked"] = f"{struck.total()} secrets"
    if not facts:
        return []
    return [
        "| | |",
        "|---|---|",
        *(f"| {key} | {_line(value).replace('|', chr(92) + '|')} |" for key, value in facts.items()),
    ]


def _line(text: str) -> str:
    return " ".join(text.split())


def _finding(finding: Finding) -> list[str]:
    title = f"**{state_of(finding)}** `{finding.code}` {finding.subject}: {_line(finding.summary)}"
    if finding.status is not Status.FAIL:
        return [f"- {title}"]
    lines = [f"### {finding.subject}", "", title]
    if finding.share is not None:
        lines += ["", f"{percent(finding.share)} of the requests looked at."]
    lines += ["", f"Why: {finding.cause}"] if finding.cause else []
    for evidence in finding.evidence:
        source = f" (`{evidence.source}`)" if evidence.source else ""
        lines += ["", f"Evidence: {evidence.statement}{source}"]
        lines += ["", *_fence(evidence_text(evidence))] if evidence.rows else []
    for fix in finding.fix:
        lines += ["", f"Fix: {fix.note}".rstrip(), "", *_fence(fix.text, "yaml" if fix.kind == "yaml" else "sh")]
    lines += ["", "Verify:", "", *_fence(finding.verify, "sh")] if finding.verify else []
    notes = [f"[{link.name}](<{link.url}>){f' ({link.note})' if link.note else ''}" for link in finding.links]
    lines += ["", f"See {', '.join(notes)}"] if notes else []
    return lines


def _fence(text: str, language: str = "") -> list[str]:
    """A code block, fenced longer than any fence within."""
    longest = max((len(run) for run in re.findall(r"`{3,}", text)), default=2)
    fence = "`" * (longest + 1)
    return [f"{fence}{language}", *text.strip("\n").splitlines(), fence]


def _cells(notebook: Any) -> list[str]:
    lines: list[str] = []
    for index, cell in enumerate(notebook.cells):
        if cell.cell_type == "markdown":
            text = re.sub(r"\A\s*# .*\n?", "", cell.source) if index == 0 else cell.source
            lines += [text.strip(), ""]
        for output in cell.get("outputs", ()):
            text = _output(output)
            lines += [*_fence(text), ""] if text else []
    return lines


def _output(output: Any) -> str:
    data = output.get("data", {})
    if {FORM_MEDIA, SOURCE_MEDIA, FINDINGS_MEDIA} & data.keys():
        return ""  # they stand at the top
    if output.output_type == "error":
        return _ANSI.sub("", "\n".join(output.traceback))
    text = output.get("text") or data.get("text/plain", "")
    return _ANSI.sub("", text if isinstance(text, str) else "".join(text))
