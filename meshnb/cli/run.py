"""`meshnb run NAME`: run a runbook headless and write its report."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from meshnb.errors import Interrupted, UsageError
from meshnb.model.finding import FailOn

if TYPE_CHECKING:
    from meshnb.model.finding import Finding
    from meshnb.report.run import RunResult

_EXITS = """exit codes:
  0   nothing that --fail-on counts
  79  something that it counts
  64  wrong usage, such as an unknown parameter; nothing was started
  65  the input cannot be read
  69  a source cannot be reached, or a part of meshnb is not installed
  1   the runbook crashed; its report is written
  130 interrupted (Ctrl-C), 143 terminated, 129 hung up; its report is written"""

FAIL_ON = """what makes the exit code 79: error; warning (the default): also warnings; unknown: also what could not be
looked at; info: all that has not passed"""
"""Help of --fail-on, for every command that has it."""


def register(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "run", help="run a runbook and write its report", add_help=False,
        description="Run a runbook and write OUT/NAME.ipynb, OUT/NAME.html and OUT/findings.json.",
        epilog=_EXITS, formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("name", nargs="?", help="a runbook (see: meshnb list), or the path of a notebook")
    parser.add_argument("-p", "--parameter", action="append", default=[], metavar="NAME=VALUE",
                        help="a parameter of the runbook; may be given several times")  # fmt: skip
    parser.add_argument("--out", default="out", metavar="FOLDER", help="where to write (default out)")
    parser.add_argument("--fail-on", default="warning", choices=list(map(str, FailOn)), help=FAIL_ON)
    parser.add_argument("-h", "--help", action="store_true", help="this help; with NAME also its parameters")
    parser.set_defaults(run=run, parser=parser)


def run(arguments: argparse.Namespace) -> int:
    """Run the runbook, print its verdict and where the report is."""
    from meshnb.runbook import library
    from meshnb.runbook.parameters import parse_assignments

    if arguments.help:
        print(arguments.parser.format_help())
        if arguments.name:
            print(library.show(arguments.name))
        return 0
    if not arguments.name:
        raise UsageError("which runbook?", hint="meshnb run NAME; see: meshnb list")
    from meshnb.report.run import execute

    result = execute(
        arguments.name,
        parameters=parse_assignments(arguments.parameter),
        out=arguments.out,
        fail_on=arguments.fail_on,
    )
    print(summary(result))
    if result.error is not None:
        raise result.error
    return result.exit_code


def summary(result: RunResult) -> str:
    """The verdict in lines, and where the report is."""
    found = result.findings
    headline = found.headline
    if result.error is not None:
        headline = ("interrupted" if isinstance(result.error, Interrupted) else "broke off") + (
            f"; until then {headline}" if len(found) else ""
        )
    lines = [f"{result.notebook.stem}: {headline}"]
    lines += [_told(finding) for finding in found if finding.status != "pass"]
    if result.exit_code == 0 and found and found.verdict == "unknown" and not found.status("pass"):
        lines.append("nothing could be looked at; --fail-on unknown makes that a failure")
    lines += [f"report    {result.html}", f"notebook  {result.notebook}", f"findings  {result.findings_file}"]
    if result.fix_file:
        lines.append(f"fix       {result.fix_file} (kubectl apply -f, or meshnb lab apply)")
    return "\n".join(lines)


def _told(finding: Finding) -> str:
    from meshnb.views.style import percent

    share = f" ({percent(finding.share)} of the requests looked at)" if finding.share is not None else ""
    return f"{finding}{share}"
