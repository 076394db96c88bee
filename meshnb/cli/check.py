"""`meshnb check SOURCE [CODE …]`: run checks and print what they say."""

from __future__ import annotations

import argparse
from typing import Any

from meshnb.cli import CLEAN, FINDINGS
from meshnb.cli.run import FAIL_ON
from meshnb.model.finding import FailOn, Findings


def register(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "check",
        help="run checks and print what they say",
        description="Run checks on a snapshot. Exits 79 if one fails that --fail-on counts.",
    )
    parser.add_argument("source", help="snapshot folder or .tar.gz, demo or demo/NAME, or lab")
    parser.add_argument("codes", nargs="*", metavar="CODE", help="checks to run (default all); see docs/checks.md")
    parser.add_argument("-n", "--namespace", default="", help="only findings about objects of this namespace")
    parser.add_argument("--window", default="", help="30m before the capture, or START/END in UTC")
    parser.add_argument("-o", "--output", choices=["text", "json"], default="text", help="form (default text)")
    parser.add_argument("--fail-on", choices=list(map(str, FailOn)), default="warning", help=FAIL_ON)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Run the checks and print the findings."""
    import meshnb

    mesh = meshnb.open(arguments.source, namespace=arguments.namespace, window=arguments.window)
    found = mesh.check(*arguments.codes)
    print(found.to_json() if arguments.output == "json" else text(found))
    return FINDINGS if found.failed(arguments.fail_on) else CLEAN


def text(found: Findings) -> str:
    """Failures with cause, fix and verify command; unknowns and passes in a line each."""
    lines = []
    for finding in found:
        lines.append(str(finding))
        if finding.status != "fail":
            continue
        lines += [f"  why     {finding.cause}"] if finding.cause else []
        for fix in finding.fix[:1]:
            first, *rest = fix.text.strip().splitlines()
            lines += [f"  fix     {first}", *(f"          {line}" for line in rest)]
        lines += [f"  verify  {finding.verify}"] if finding.verify else []
    return "\n".join(lines) or "no check was run"
