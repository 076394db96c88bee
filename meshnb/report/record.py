"""What an executed notebook says of itself: findings, parameters, what was looked at, when, and where it broke."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from meshnb.errors import FormatError, Interrupted, MissingExtra
from meshnb.model.finding import Findings, Status
from meshnb.runbook.parameters import MASK, of_notebook
from meshnb.views.findings import FINDINGS_MEDIA, VERDICT, FindingList
from meshnb.views.tables import SOURCE_MEDIA

RUN_VERSION = 1
"""Version of `metadata.meshnb.run` in executed notebooks."""


@dataclass(frozen=True, slots=True)
class Crash:
    """Where a notebook broke.

    Args:
        kind: class of the error.
        message: what it said.
        cell: index of the cell.
        anchor: id of the cell.
    """

    kind: str
    message: str
    cell: int
    anchor: str = ""

    def __str__(self) -> str:
        return f"{self.kind}: {self.message}"


@dataclass(frozen=True)
class Record:
    """What a report is made from, besides the cells.

    Args:
        name: name of the runbook.
        title: its first heading.
        parameters: what it was run with, as texts.
        source: what was looked at: snapshot, time, versions.
        findings: the verdict, or all findings recorded if there is no verdict.
        run: `started`, `finished`, `versions`, `redacted`, `signal` (what stopped it), as far as recorded.
        crash: where it broke, if it did.
        judges: whether it records findings at all; a tutorial need not.
    """

    name: str
    title: str
    parameters: Mapping[str, str]
    source: Mapping[str, str]
    findings: FindingList
    run: Mapping[str, Any] = field(default_factory=dict)
    crash: Crash | None = None
    judges: bool = True

    @property
    def interrupted(self) -> bool:
        """Whether a signal stopped the run."""
        return self.crash is not None and "signal" in self.run

    @property
    def verdict(self) -> str:
        """`fail`, `unknown` or `pass`; of a run that did not end with a failure found, `interrupted` or `crashed`."""
        if self.crash is None or self.findings.verdict is Status.FAIL:
            return str(self.findings.verdict)
        return "interrupted" if self.interrupted else "crashed"


def load(path: Path) -> Any:
    """An executed notebook from its file.

    Raises:
        FormatError: not a notebook.
        MissingExtra: nbformat is not installed.
    """
    try:
        import nbformat
    except ImportError:
        raise MissingExtra("notebook", needed_for="a report") from None
    try:
        return nbformat.reads(path.read_text(encoding="utf-8"), as_version=4)
    except OSError as error:
        hint = "make one with: meshnb run NAME"
        raise FormatError(f"cannot be read: {error.strerror}", file=path, hint=hint) from error
    except Exception as error:  # nbformat raises a dozen unrelated classes
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise FormatError(f"not a notebook: {reason[:200]}", file=path, hint="give an executed .ipynb") from error


def record_of(notebook: Any, *, name: str) -> Record:
    """What an executed notebook says of itself.

    Raises:
        FormatError: it records findings that cannot be read.
    """
    run = dict(notebook.metadata.get("meshnb", {}).get("run", {}))
    return Record(
        name=run.get("runbook", name),
        title=_title(notebook) or name,
        parameters={key: as_text(value) for key, value in _parameters(notebook).items()},
        source=_source(notebook),
        findings=findings_of(notebook),
        run=run,
        crash=_crash(notebook),
        judges=any(FINDINGS_MEDIA in output.get("data", {}) for _, output in outputs(notebook)),
    )


def outputs(notebook: Any) -> Iterator[tuple[int, Any]]:
    """Every output with the index of its cell."""
    for index, cell in enumerate(notebook.cells):
        for output in cell.get("outputs", ()):
            yield index, output


def findings_of(notebook: Any) -> FindingList:
    """Findings recorded in an executed notebook: its last verdict, else all there are.

    Raises:
        FormatError: they cannot be read, or are of a newer version.
    """
    records = [data for _, output in outputs(notebook) if (data := output.get("data", {}).get(FINDINGS_MEDIA))]
    lists = [(data.get("title", ""), Findings.from_json(json.dumps(data))) for data in records]
    verdicts = [found for title, found in lists if title == VERDICT]
    chosen = verdicts[-1:] or [found for _, found in lists]
    return FindingList((finding for found in chosen for finding in found), title=VERDICT)


def as_text(value: Any) -> str:
    """A parameter's value as one would give it with `-p`."""
    if isinstance(value, list | tuple):
        return ",".join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else str(value)


def _title(notebook: Any) -> str:
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            for line in cell.source.splitlines():
                if line.startswith("# "):
                    return str(line[2:].strip())
    return ""


def _parameters(notebook: Any) -> dict[str, Any]:
    """Declared values, and over them those that were injected."""
    try:
        declared = of_notebook(notebook)
    except FormatError:  # a notebook of someone else: show what can be read
        declared = ()
    values = {parameter.name: parameter.default for parameter in declared}
    for cell in notebook.cells:
        if "injected-parameters" in cell.metadata.get("tags", ()):
            values |= _literals(cell.source)
    secret = {parameter.name for parameter in declared if parameter.secret}
    return {name: MASK if name in secret and value else value for name, value in values.items()}


def _literals(source: str) -> dict[str, Any]:
    result = {}
    try:
        body = ast.parse(source).body
    except SyntaxError:
        return {}
    for node in body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            try:
                result[node.targets[0].id] = ast.literal_eval(node.value)
            except ValueError:
                result[node.targets[0].id] = ast.unparse(node.value)
    return result


def _source(notebook: Any) -> dict[str, str]:
    found: dict[str, str] = {}
    for _, output in outputs(notebook):
        data = output.get("data", {}).get(SOURCE_MEDIA)
        if isinstance(data, dict) and data.get("version") == 1:
            found |= {str(name): str(value) for name, value in data.get("facts", ())}
    return found


def _crash(notebook: Any) -> Crash | None:
    run = notebook.metadata.get("meshnb", {}).get("run", {})
    for index, output in outputs(notebook):
        tags = notebook.cells[index].metadata.get("tags", ())
        if output.output_type == "error" and "raises-exception" not in tags:
            return _stopped(run, Crash(output.ename, output.evalue, index, notebook.cells[index].get("id", "")))
    broken = run.get("error")
    return _stopped(run, Crash(broken["kind"], broken["message"], broken.get("cell", 0))) if broken else None


def _stopped(run: Mapping[str, Any], crash: Crash) -> Crash:
    """Where a signal stopped it: the kernel's own words tell only how."""
    return (
        replace(crash, kind=Interrupted.__name__, message=f"stopped by {run['signal']}") if "signal" in run else crash
    )
