"""Run a runbook without a front end, and write what came of it: notebook, HTML report, findings."""

from __future__ import annotations

import json
import os
import re
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from meshnb import __version__, errors
from meshnb.errors import Interrupted, MeshnbError, MissingExtra, RunError, UsageError
from meshnb.model.finding import FailOn, Findings, Severity, Status
from meshnb.report.clean import clean
from meshnb.report.html import to_html
from meshnb.report.record import RUN_VERSION, Record, load, record_of
from meshnb.report.stop import Stop
from meshnb.runbook import library
from meshnb.runbook.parameters import MASK, convert
from meshnb.views.findings import FindingList

FINDINGS_EXIT = 79
"""Exit code when a finding counts as failed; the number `istioctl analyze` uses."""

# The name of a socket may have 103 bytes (macOS) or 107 (Linux); `/kernel-ipc-5` is put behind the folder.
_MAX_SOCKET_FOLDER = 85


@dataclass(frozen=True)
class RunResult:
    """What came of a run.

    Args:
        notebook: the executed notebook.
        html: the report, one file.
        findings_file: the findings as JSON.
        fix_file: the YAML that repairs what fails, if a finding has any.
        findings: the verdict.
        fail_on: which findings make the run fail.
        error: what a cell raised, if the runbook crashed; `Interrupted` if a signal stopped it.
    """

    notebook: Path
    html: Path
    findings_file: Path
    fix_file: Path | None
    findings: FindingList
    fail_on: FailOn
    error: MeshnbError | None = None

    @property
    def exit_code(self) -> int:
        """0 clean, 79 findings that `fail_on` counts; of a crashed or interrupted run, what its error says."""
        if self.error is not None:
            return self.error.exit_code
        return FINDINGS_EXIT if self.findings.failed(self.fail_on) else 0


def run(
    name: str | Path,
    *,
    parameters: Mapping[str, Any] | None = None,
    out: str | Path = "out",
    fail_on: FailOn | Severity | str = FailOn.WARNING,
) -> RunResult:
    """Run a runbook and write its report.

    Args:
        name: a runbook, or the path of a notebook.
        parameters: values by name; texts are converted by annotation.
        out: folder for `NAME.ipynb`, `NAME.html`, `findings.json` and, if a finding has YAML to apply, `fix.yaml`.
        fail_on: what makes the exit code 79: `error`, `warning`, `unknown` (also what could not be looked at) or
            `info` (all that has not passed).

    Raises:
        NotFound: no notebook at that path.
        UsageError: unknown parameter, a value that does not fit, or no writing to `out`; nothing was started.
        MissingExtra: papermill or ipykernel is not installed.
        RunError: a cell raised something; the report is written. An error of meshnb is raised as itself.
        Interrupted: SIGINT, SIGTERM or SIGHUP stopped it; its kernel is gone, and the report is written.
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
    fail_on: FailOn | Severity | str = FailOn.WARNING,
) -> RunResult:
    """As `run`, but a crash comes back as `RunResult.error` with the paths of what was written.

    Raises:
        NotFound: no notebook at that path.
        UsageError: unknown parameter, a value that does not fit, or no writing to `out`; nothing was started.
        MissingExtra: papermill or ipykernel is not installed.
    """
    book = library.find(name)
    values = convert(book.parameters, parameters or {})
    level = FailOn.parse(fail_on)
    make_folder(Path(out))
    secret = {parameter.name for parameter in book.parameters if parameter.secret}
    _require()  # takes a second or two, in which a signal may end it all: nothing is begun
    started = datetime.now(UTC)
    with Stop() as stop:
        notebook, failure = _execute(book.notebook, values, stop)
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
        crash = record_of(notebook, name=book.name).crash
        if stop.name and (failure or crash):
            metadata["signal"] = stop.name
        if failure and crash is None:
            kind, _, message = failure.partition(": ")
            metadata["error"] = {"kind": kind, "message": message, "cell": _last_run(notebook)}
        return _write(notebook, record_of(notebook, name=book.name), Path(out), level)


def _last_run(notebook: Any) -> int:
    """Index of the last cell that was begun."""
    begun = [i for i, cell in enumerate(notebook.cells) if cell.get("execution_count") or cell.get("outputs")]
    return int(begun[-1]) if begun else 0


def _write(notebook: Any, record: Record, out: Path, fail_on: FailOn) -> RunResult:
    import nbformat

    fixes = fix_yaml(record.findings)
    (out / "fix.yaml").unlink(missing_ok=True)  # of an earlier run into the same folder
    result = RunResult(
        notebook=out / f"{record.name}.ipynb",
        html=out / f"{record.name}.html",
        findings_file=out / "findings.json",
        fix_file=out / "fix.yaml" if fixes else None,
        findings=record.findings,
        fail_on=fail_on,
        error=error_of(record),
    )
    write(result.notebook, nbformat.writes(notebook) + "\n")
    write(result.findings_file, record.findings.to_json() + "\n")
    write(result.html, to_html(notebook, name=record.name))
    if result.fix_file:
        write(result.fix_file, fixes)
    return result


def fix_yaml(findings: Findings) -> str:
    """The objects that repair what fails, one document per fix, each under a comment that names its finding.

    YAML that is no Kubernetes object (Helm values, a piece of MeshConfig) cannot be applied and is left out. Of several
    fixes of one object the first is taken, the others are named: each is the object as it was, with one change.
    """
    written: dict[tuple[str, str, str], str] = {}
    documents, left = [], []
    for finding in (one for one in findings if one.status is Status.FAIL):
        for fix in finding.fix[:1]:
            if fix.kind != "yaml" or not re.search(r"^apiVersion:", fix.text, flags=re.MULTILINE):
                continue
            text, objects = fix.text.strip(), _objects_of(fix.text)
            if any(written.get(name, text) != text for name in objects):
                left.append(f"# {finding.code} {finding.subject}: changes the same object. Capture and run again.\n")
            elif not objects or not written.keys() >= objects:
                documents.append(f"# {finding.code} {finding.subject}\n{text}\n")
            written |= {name: written.get(name, text) for name in objects}
    return "---\n".join(documents) + "".join(left)


def _objects_of(text: str) -> set[tuple[str, str, str]]:
    """Kind, namespace and name of the objects in YAML."""
    import yaml

    documents = [one for one in yaml.safe_load_all(text) if isinstance(one, dict)]
    metas = [(str(one.get("kind")), one.get("metadata") or {}) for one in documents]
    return {(kind, str(meta.get("namespace", "")), str(meta.get("name", ""))) for kind, meta in metas}


def make_folder(folder: Path) -> None:
    """Make a folder to write to, and see that one can.

    Raises:
        UsageError: it cannot be made or written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UsageError(
            f"cannot write to {folder}: {error.strerror}", hint="give another folder with --out"
        ) from error


def write(path: Path, text: str) -> None:
    """Write a file whole or not at all.

    Raises:
        UsageError: it cannot be written.
    """
    part = path.with_name(path.name + ".part")
    try:
        part.write_text(text, encoding="utf-8")
        part.replace(path)
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}", hint="give another place with --out") from error


def error_of(record: Record) -> MeshnbError | None:
    """The error a crashed notebook stands for: one of meshnb as itself, any other as a `RunError`."""
    if record.crash is None:
        return None
    message, _, hint = record.crash.message.partition("\n  → ")
    if record.interrupted:
        return Interrupted(message, signal=record.run["signal"], hint="the report says what was known by then")
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


def try_kernel() -> str:
    """Start a kernel and run a cell in it.

    Returns:
        What went wrong; empty if nothing did.

    Raises:
        MissingExtra: papermill or ipykernel is not installed.
    """
    cell: dict[str, Any] = {
        "cell_type": "code",
        "id": "one",
        "metadata": {},
        "source": "1 + 1",
        "outputs": [],
        "execution_count": None,
    }
    executed, failure = _execute({"cells": [cell], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}, {}, Stop())
    if failure:
        return failure
    answers = [output["data"]["text/plain"] for output in executed.cells[0].outputs if "data" in output]
    return "" if answers == ["2"] else "the kernel did not answer"


def _require() -> None:
    """Load what runs a notebook."""
    try:
        import ipykernel.kernelspec  # noqa: F401
        import papermill  # noqa: F401
    except ImportError as error:
        raise MissingExtra("notebook", needed_for=f"meshnb run ({error.name})") from error


def _execute(notebook: Mapping[str, Any], values: Mapping[str, Any], stop: Stop) -> tuple[Any, str]:
    """The executed notebook, and why it ended where no cell says so."""
    _require()
    import ipykernel.kernelspec as native
    import nbformat
    import papermill
    from jupyter_client.kernelspec import KernelSpec
    from jupyter_client.manager import AsyncKernelManager
    from traitlets.config import Config

    class ThisInterpreter(AsyncKernelManager):
        """Starts the kernel in the interpreter that runs this, whatever kernels are registered under its name."""

        @property
        def kernel_spec(self) -> KernelSpec:
            return KernelSpec(**native.get_kernel_dict())

        async def start_kernel(self, **options: Any) -> None:  # type: ignore[override]
            # what the process itself says (not what cells print) is of interest only if it dies
            await super().start_kernel(**{**options, "stderr": said})
            stop.started(int(getattr(self.provisioner, "pid", 0)))

        async def shutdown_kernel(self, now: bool = False, restart: bool = False) -> None:  # type: ignore[override]
            stop.ended()
            await super().shutdown_kernel(now=now, restart=restart)

    node = nbformat.reads(json.dumps(notebook), as_version=4)
    failure = ""
    with tempfile.TemporaryDirectory(prefix="meshnb-") as folder, tempfile.TemporaryFile() as said, _quiet():
        path = Path(folder) / "executed.ipynb"
        # Sockets in a folder of its own: runs beside one another cannot take each other's, as they could ports. Where
        # there are none (Windows), or the path is too long for one, it is TCP.
        connection = {"connection_file": f"{folder}/kernel.json"}
        if os.name == "posix" and len(folder) < _MAX_SOCKET_FOLDER:
            connection["transport"] = "ipc"
        try:
            papermill.execute_notebook(
                node, path, parameters=dict(values), kernel_name="python3", language="python", progress_bar=False,
                kernel_manager_class=ThisInterpreter, config=Config({"KernelManager": connection}),
            )  # fmt: skip
        except papermill.PapermillExecutionError:  # a cell raised: it says so in its output
            pass
        except Exception as error:  # the kernel died or did not start: that becomes a report, too
            said.seek(0)
            last = said.read().decode(errors="replace").strip()[-300:]
            failure = f"{type(error).__name__}: {str(error).strip()}" + (f" ({last})" if last else "")
        return (load(path) if path.is_file() else node), failure


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep papermill from warning of parameters its narrower parser does not see, and from reporting errors twice."""
    import logging

    logger = logging.getLogger("papermill")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)
