"""`meshnb sidecar SOURCE [FILE …]`: what Sidecars would change, or Sidecars that name what was called."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from meshnb.cli import CLEAN, FINDINGS
from meshnb.model.finding import Severity, Status

if TYPE_CHECKING:
    from meshnb.runbook.mesh import Mesh


def register(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "sidecar",
        help="say what Sidecars would change before they are applied, or propose some",
        description="With files: what is wrong with them, and for each proxy what would go and which calls that were "
        "seen would fail; exits 79 if something is wrong or a call would fail. Without: a Sidecar for each workload "
        "that names what it was seen to call, as YAML.",
    )
    parser.add_argument("source", metavar="SOURCE", help="snapshot folder or .tar.gz, demo, lab or live")
    parser.add_argument("files", nargs="*", metavar="FILE", help="YAML of Sidecars")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the prediction, or the proposals."""
    import meshnb

    mesh = meshnb.open(arguments.source)
    return _predict(mesh, arguments.files) if arguments.files else _propose(mesh, arguments.source)


def _predict(mesh: Mesh, files: list[str]) -> int:
    from meshnb.cli.check import text
    from meshnb.model.finding import Findings

    found = mesh.lint_sidecars(*files)
    wrong = [one for one in found if one.status is not Status.PASS]
    if wrong:
        print(f"{text(Findings(wrong))}\n")
    if any(
        one.status is Status.FAIL and one.subject.kind == "File" and one.severity >= Severity.ERROR for one in wrong
    ):
        return FINDINGS
    predicted = mesh.sidecar_what_if(*files)
    print(f"{predicted._repr_mimebundle_()['text/plain']}\n")
    print(f"{len(found) - len(wrong)} of {len(found)} checks of the Sidecars as they are written pass.")
    breaks = bool((predicted.calls.verdict == "breaks").any())
    return FINDINGS if breaks or found.failed("warning") else CLEAN


def _propose(mesh: Mesh, source: str) -> int:
    from meshnb.runbook.sidecar_what_if import NO_PROXIES

    documents = []
    for row in mesh.sidecar_proposals().itertuples():
        remarks = "\n".join(f"# {row.namespace}/{row.workload}: {caveat}" for caveat in row.caveats)
        documents.append(f"{remarks}\n{row.yaml}" if isinstance(row.yaml, str) else remarks)
    if not documents:
        print(f"# {NO_PROXIES}")
        return CLEAN
    print("\n---\n".join(documents))
    print(f"# what they would change: meshnb sidecar {source} FILE, with these lines in FILE")
    return CLEAN
