"""`meshnb show NAME`: what a runbook is for, what it takes, its steps."""

from __future__ import annotations

import argparse
from typing import Any


def register(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "show", help="what a runbook is for", description="Show what a runbook is for, what it takes, and its steps."
    )
    parser.add_argument("name", help="a runbook (see: meshnb list), or the path of a notebook")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the runbook's purpose, parameters and steps."""
    from meshnb.runbook import library

    print(library.show(arguments.name))
    return 0
