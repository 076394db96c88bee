"""The command line: argument parsing and exit codes only.

Each command is a module of this package with `register(subparsers)`, which adds its parser and sets `run`, a function
from the parsed arguments to an exit code.

Exit codes: 0 clean, 79 findings that `--fail-on` counts, 64 wrong usage, 65 unreadable input, 69 source unreachable or
a part missing, 1 the runbook crashed, 128 and the number of the signal that stopped it (its report is still written).
"""

from __future__ import annotations

import argparse
import difflib
import pkgutil
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import NoReturn

from meshnb import __version__
from meshnb.errors import MeshnbError, UsageError

CLEAN, CRASHED, USAGE, FINDINGS = 0, 1, 64, 79


class Parser(argparse.ArgumentParser):
    """An argument parser that raises `UsageError`, so wrong usage exits 64 like everything else that is typed."""

    def error(self, message: str) -> NoReturn:
        """Raise instead of exiting 2."""
        raise UsageError(message, hint=f"see: {self.prog} --help")

    def _check_value(self, action: argparse.Action, value: object) -> None:
        if action.choices is not None and value not in action.choices:
            choices = [str(choice) for choice in action.choices]
            near = difflib.get_close_matches(str(value), choices, n=1)
            raise UsageError(
                f"{value!r} is none of {', '.join(choices)}",
                hint=f"did you mean {near[0]!r}?" if near else "",
            )


def build_parser() -> Parser:
    """The parser with all commands."""
    parser = Parser(prog="meshnb", description="Investigate an Istio/Envoy service mesh.")
    parser.add_argument("--version", action="version", version=f"meshnb {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for module in sorted(m.name for m in pkgutil.iter_modules(__path__) if not m.name.startswith("_")):
        import_module(f"{__name__}.{module}").register(commands)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the return value is the exit code."""
    try:
        arguments = build_parser().parse_args(argv)
        code: int = arguments.run(arguments)
    except MeshnbError as error:
        print(f"meshnb: {error}", file=sys.stderr)
        return error.exit_code
    except BrokenPipeError:
        sys.stderr.close()
        return CLEAN
    except KeyboardInterrupt:
        print("meshnb: interrupted", file=sys.stderr)
        return 130
    return code
