"""Run a runbook without a front end, and write what came of it: notebook, HTML report, findings."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from meshnb import __version__, errors
from meshnb.errors import MeshnbError, MissingExtra, RunError
from meshnb.model.finding import Severity
from meshnb.report.clean import clean
from meshnb.report.html import to_html
from meshnb.report.record import RUN_VERSION, Record, load, record_of
from meshnb.runbook import library
from meshnb.runbook.parameters import MASK, convert
from meshnb.views.findings import FindingList

FINDINGS_EXIT = 79
"""Exit code when a finding fails at or above the threshold; the number `istioctl analyze` uses."""


@dataclass(frozen=True)
class RunResult:
    """What came of a run.

    Args:
        notebook: the executed notebook.
        html: the report, one file.
        findings_file: the findings as JSON.
        findings: the verdict.
        threshold: severity from which on a failing finding counts.
        error: what a cell raised, if the runbook crashed.
    """

    notebook: Path
    html: Path
    findings_file: Path
    findings: FindingList
    threshold: Severity
    error: MeshnbError | None = None

    @property
    def exit_code(self) -> int:
        """0 clean, 79 findings at or above the threshold; of a crashed run, what its error says."""
        if self.error is not None:
            return self.error.exit_code
        return FINDINGS_EXIT if self.findings.failed(self.threshold) else 0


def run(
    name: str | Path,
    *,
    parameters: Mapping[str, Any] | None = None,
    out: str | Path = "out",
    fail_on: Severity = Severity.WARNING,
) -> RunResult:
    """Run a runbook and write its report.

    Args:
        name: a runbook, or the path of a notebook.
        parameters: values by name; texts are converted by annotation.
        out: folder for `NAME.ipynb`, `NAME.html` and `findings.json`.
        fail_on: severity from which on a failing finding makes the exit code 79.

    Raises:
        NotFound: no such runbook.
        UsageError: unknown parameter, or a value that does not fit; nothing was started.
        MissingExtra: papermill or ipykernel is not installed.
        RunError: a cell raised something; the report is written. An error of meshnb is raised as itself.
    """
    result = execute(name, parameters=parameters, out=out, fail_on=fail_on)
    if result.error is not None:
        raise result.error
    return result


def execute(
    name: str | Path,
    *,
    parameters: Mapping[str, Any] | None = None,
    out: str | Path = "out",
    fail_on: Severity = Severity.WARNING,
) -> RunResult:
    """As `run`, but a crash comes back as `RunResult.error` with the paths of what was written.

    Raises:
        NotFound: no such runbook.
        UsageError: unknown parameter, or a value that does not fit; nothing was started.
        MissingExtra: papermill or ipykernel is not installed.
    """
    book = library.find(name)
    values = convert(book.parameters, parameters or {})
    started = datetime.now(UTC)
    notebook, failure = _execute(book.notebook, values)
    secret = {parameter.name for parameter in book.parameters if parameter.secret}
    struck = clean(notebook, secrets=[str(value) for key, value in values.items() if key in secret])
    metadata: dict[str, Any] = {
        "version": RUN_VERSION,
        "runbook": book.name,
        "parameters": {key: MASK if key in secret else value for key, value in values.items()},
        "started": started.isoformat(timespec="seconds"),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": versions(),
        "redacted": dict(struck),
    }
    notebook.metadata.setdefault("meshnb", {})["run"] = metadata
    if failure and record_of(notebook, name=book.name).crash is None:
        metadata["error"] = {"kind": type(failure).__name__, "message": str(failure).strip(), "cell": 0}
    return _write(notebook, record_of(notebook, name=book.name), Path(out), fail_on)


def _write(notebook: Any, record: Record, out: Path, threshold: Severity) -> RunResult:
    import nbformat

    out.mkdir(parents=True, exist_ok=True)
    result = RunResult(
        notebook=out / f"{record.name}.ipynb",
        html=out / f"{record.name}.html",
        findings_file=out / "findings.json",
        findings=record.findings,
        threshold=threshold,
        error=error_of(record),
    )
    write(result.notebook, nbformat.writes(notebook) + "\n")
    write(result.findings_file, record.findings.to_json() + "\n")
    write(result.html, to_html(notebook, name=record.name))
    return result


def write(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    part = path.with_name(path.name + ".part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)


def error_of(record: Record) -> MeshnbError | None:
    """The error a crashed notebook stands for: one of meshnb as itself, any other as a `RunError`."""
    if record.crash is None:
        return None
    message, _, hint = record.crash.message.partition("\n  → ")
    kind = getattr(errors, record.crash.kind, None)
    if isinstance(kind, type) and issubclass(kind, MeshnbError) and kind is not MissingExtra:
        return kind(message, hint=hint)
    error = RunError(f"{record.crash.kind}: {message}", hint=hint)
    if kind is MissingExtra:
        error.exit_code = MissingExtra.exit_code
    return error


def versions() -> dict[str, str]:
    """Versions of what made a report."""
    from importlib.metadata import PackageNotFoundError, version

    found = {"meshnb": __version__, "python": ".".join(map(str, sys.version_info[:3]))}
    for package in ("pandas", "plotly"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:  # pragma: no cover - both are required
            continue
    return found


def _execute(notebook: Mapping[str, Any], values: Mapping[str, Any]) -> tuple[Any, Exception | None]:
    """The executed notebook, and what stopped it if something did."""
    try:
        import ipykernel.kernelspec as native
        import nbformat
        import papermill
        from jupyter_client.kernelspec import KernelSpec
        from jupyter_client.manager import AsyncKernelManager
        from traitlets.config import Config
    except ImportError as error:
        raise MissingExtra("notebook", needed_for=f"meshnb run ({error.name})") from error

    class ThisInterpreter(AsyncKernelManager):
        """Starts the kernel in the interpreter that runs this, whatever kernels are registered under its name."""

        @property
        def kernel_spec(self) -> KernelSpec:
            return KernelSpec(**native.get_kernel_dict())

    node = nbformat.reads(json.dumps(notebook), as_version=4)
    # IPC needs no ports, so runs beside one another cannot take each other's; Windows has none
    config = Config({"KernelManager": {"transport": "ipc"}} if os.name == "posix" else {})
    with tempfile.TemporaryDirectory(prefix="meshnb-") as folder, _quiet():
        path = Path(folder) / "executed.ipynb"
        failure: Exception | None = None
        try:
            papermill.execute_notebook(
                node, path, parameters=dict(values), kernel_name="python3", language="python", progress_bar=False,
                kernel_manager_class=ThisInterpreter, config=config,
            )  # fmt: skip
        except Exception as error:  # a cell raised, the kernel died, or it did not start: all become a report
            failure = error
        executed = load(path) if path.is_file() else node
    return executed, failure


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep papermill from warning of parameters its own, narrower parser does not see; ours has checked them."""
    import logging

    logger = logging.getLogger("papermill")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
