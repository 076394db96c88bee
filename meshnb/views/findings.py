"""Findings as a notebook shows and records them: worst first, with evidence, fix and the command that verifies."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from datetime import datetime
from html import escape
from typing import Any

from meshnb.model.finding import Evidence, Finding, Findings, Fix, Link, Status
from meshnb.views.style import html_table, inline, page, percent, text_table

FINDINGS_MEDIA = "application/vnd.meshnb.findings+json"
"""Media type under which an executed notebook records findings."""

VERDICT = "Verdict"
"""Title of the list that `meshnb run` takes its exit code from."""

_SYMBOLS = {"error": "✖", "warning": "▲", "info": "ℹ", "pass": "✔", "unknown": "?"}  # noqa: RUF001


_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,6})?Z")
_WHOLE = 10
"""Failures shown whole; of more than that the rest can be opened one by one."""


class FindingList(Findings):
    """Findings that show themselves in a notebook and are recorded in it.

    Args:
        items: the findings.
        title: heading; `Verdict` for the list a report opens with. A part of a list has no title.

    Example:
        >>> from meshnb.model.finding import Severity, Subject
        >>> found = FindingList([Finding("MNB0000", Status.PASS, Severity.ERROR, Subject("Mesh"), "all is well")])
        >>> found.status("pass")
        pass     MNB0000  Mesh: all is well
    """

    def __init__(self, items: Iterable[Finding] = (), *, title: str = "") -> None:
        super().__init__(items)
        object.__setattr__(self, "title", title)

    title: str

    @property
    def headline(self) -> str:
        """What there is, in a line: `1 error, 2 unknown, 5 passed`."""
        return ", ".join(words for _, words in _counts(self)) or "nothing was checked"

    @property
    def state(self) -> str:
        """The worst there is: a severity if one fails, else `unknown` or `pass`."""
        return state_of(self.items[0]) if self.items else "unknown"

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, Any]:
        record = {**json.loads(self.to_json()), "title": self.title}
        return {"text/plain": as_text(self), "text/html": page(as_html(self)), FINDINGS_MEDIA: record}


def state_of(finding: Finding) -> str:
    """The word for a finding: its severity if it fails, else its status."""
    return str(finding.severity) if finding.status is Status.FAIL else str(finding.status)


def _counts(found: Findings) -> list[tuple[str, str]]:
    """How many there are of each state, worst first, in words."""
    words = {"error": "error", "warning": "warning", "info": "note", "unknown": "unknown", "pass": "passed"}
    counts = {state: sum(state_of(finding) == state for finding in found) for state in words}
    return [
        (state, f"{count} {words[state]}{'s' if count > 1 and state in ('error', 'warning', 'info') else ''}")
        for state, count in counts.items()
        if count
    ]


def as_text(found: FindingList) -> str:
    """The whole list as text."""
    lines = [f"{found.title}: {found.headline}" if found.title else found.headline]
    for finding in found:
        lines.append(str(finding))
        if finding.status is not Status.FAIL:
            continue
        lines += [f"         why: {finding.cause}"] if finding.cause else []
        for evidence in finding.evidence:
            source = f" ({evidence.source})" if evidence.source else ""
            lines.append(f"         evidence: {evidence.statement}{source}")
        for fix in finding.fix:
            lines.append(f"         fix: {fix.note}".rstrip())
            lines += [f"           {line}" for line in fix.text.rstrip().splitlines()]
        lines += [f"         verify: {finding.verify}"] if finding.verify else []
        lines += [
            f"         see {link.name}: {link.url}{f' ({link.note})' * bool(link.note)}" for link in finding.links
        ]
    return "\n".join(lines)


def as_html(found: FindingList, *, brief: bool = False) -> str:
    """The whole list as HTML, without the style sheet.

    Args:
        found: the list.
        brief: failures in one sentence, for where the whole of them stands elsewhere.
    """
    title = f'<b role="heading" aria-level="2">{escape(found.title)}</b>' if found.title else ""
    counts = "".join(_state(state, words) for state, words in _counts(found)) or _state("unknown", found.headline)
    head = f'<div class="head line">{title}{counts}</div>'
    failing, unknowns, passes = (
        [finding for finding in found if finding.status is status]
        for status in (Status.FAIL, Status.UNKNOWN, Status.PASS)
    )
    failed = "".join(map(_short if brief else _failed, failing[:_WHOLE]))
    failed += "".join(map(_short if brief else _folded, failing[_WHOLE:]))
    unknown = "".join(map(_short, unknowns[:_WHOLE])) + _more(unknowns[_WHOLE:], "more that could not be looked at")
    passed = _more(passes, "checks passed") if len(passes) > 3 else "".join(map(_short, passes))
    return head + failed + unknown + passed


def _more(findings: list[Finding], words: str) -> str:
    """Findings behind a line that says how many there are."""
    if not findings:
        return ""
    shown = "".join(map(_short, findings))
    return f'<details><summary class="dim">{len(findings)} {words}</summary>{shown}</details>'


def _state(state: str, words: str = "") -> str:
    return f'<span class="state {state}"><span aria-hidden="true">{_SYMBOLS[state]}</span> {words or state}</span>'


def _line(finding: Finding) -> str:
    # those who listen to a page step from failure to failure
    heading = ' role="heading" aria-level="3"' if finding.status is Status.FAIL else ""
    return (
        f'<div class="line">{_state(state_of(finding))}<code class="dim">{escape(finding.code)}</code>'
        f"<span><b{heading}>{escape(str(finding.subject))}</b></span></div>"
    )


def _short(finding: Finding) -> str:
    return (
        f'<div class="finding {state_of(finding)}">{_line(finding)}'
        f'<div class="summary">{inline(finding.summary)}</div></div>'
    )


def _failed(finding: Finding) -> str:
    head = f'{_line(finding)}<div class="summary">{inline(finding.summary)}</div>'
    return f'<div class="finding {state_of(finding)}">{head}{_reasons(finding)}</div>'


def _folded(finding: Finding) -> str:
    """A failure of which only the sentence is open."""
    head = f'<summary>{_line(finding)}<div class="summary">{inline(finding.summary)}</div></summary>'
    return f'<details class="finding {state_of(finding)}">{head}{_reasons(finding)}</details>'


def _reasons(finding: Finding) -> str:
    """All that is said of a failure below its sentence."""
    parts = []
    if finding.share is not None:
        width = min(max(finding.share, 0.0), 1.0) * 100
        parts.append(
            f'<div><span class="meter" aria-hidden="true"><i style="width:{width:.1f}%"></i></span>'
            f"{percent(finding.share)} of the requests looked at</div>"
        )
    if finding.cause:
        parts.append(f'<div class="label">Why</div><p>{inline(finding.cause)}</p>')
    if finding.evidence:
        parts.append('<div class="label">Evidence</div>')
        parts += map(_evidence, finding.evidence)
    parts += [_fix(fix, number, len(finding.fix)) for number, fix in enumerate(finding.fix, 1)]
    if finding.verify:
        parts.append(f'<div class="label">Verify</div><pre>{escape(finding.verify)}</pre>')
    if finding.links:
        parts.append(f'<div class="label">See</div><p>{" · ".join(map(_link, finding.links))}</p>')
    parts.append(_footer(finding))
    return "".join(parts)


def _evidence(evidence: Evidence) -> str:
    statement = inline(evidence.statement)
    source = f' <code class="dim">{escape(evidence.source)}</code>' if evidence.source else ""
    if not evidence.rows:
        return f"<p>{statement}{source}</p>"
    names = list(dict.fromkeys(name for row in evidence.rows for name in row))
    rows = [[_moment(row.get(name)) for name in names] for row in evidence.rows]
    total = max(evidence.total, len(rows))
    count = f"{len(rows)} of {total:,} rows" if total > len(rows) else f"{total} row{'s' if total != 1 else ''}"
    return (
        f'<details><summary>{statement} <span class="dim">{count}</span>{source}</summary>'
        f"{html_table(names, rows)}</details>"
    )


def _moment(value: Any) -> Any:
    """A time as a time; evidence keeps them as text."""
    return datetime.fromisoformat(value) if isinstance(value, str) and _MOMENT.fullmatch(value) else value


def _fix(fix: Fix, number: int, count: int) -> str:
    label = f"Fix {number} of {count}" if count > 1 else "Fix"
    note = f"<p>{inline(fix.note)}</p>" if fix.note else ""
    return f'<div class="label">{label}</div>{note}<pre>{escape(fix.text.strip())}</pre>'


def _link(link: Link) -> str:
    note = f' <span class="dim">({escape(link.note)})</span>' if link.note else ""
    if not link.url.startswith(("https://", "http://")):
        return escape(link.name)
    return f'<a href="{escape(link.url)}" rel="noreferrer">{escape(link.name)}</a>{note}'


def _footer(finding: Finding) -> str:
    parts = [f"confidence {percent(finding.confidence)}"] if finding.confidence < 1 else []
    parts += [f"also known as {escape(', '.join(finding.refs))}"] if finding.refs else []
    if finding.docs.startswith(("https://", "http://")):
        parts.append(f'<a href="{escape(finding.docs)}" rel="noreferrer">{escape(finding.docs)}</a>')
    elif finding.docs:
        parts.append(f"read {escape(finding.docs)}")
    return f'<p class="dim">{" · ".join(parts)}</p>' if parts else ""


def evidence_text(evidence: Evidence) -> str:
    """The rows of a piece of evidence as aligned text."""
    names = list(dict.fromkeys(name for row in evidence.rows for name in row))
    return text_table(names, [[_moment(row.get(name)) for name in names] for row in evidence.rows])
