"""`meshnb list`: the runbooks there are."""

from __future__ import annotations

import argparse
import json
from typing import Any


def register(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser("list", help="the runbooks there are", description="List the runbooks there are.")
    parser.add_argument("word", nargs="?", default="", help="only those with this word in name, title or purpose")
    parser.add_argument("-o", "--output", choices=("text", "json"), default="text", help="form (default text)")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the runbooks."""
    from meshnb.runbook import library

    books = [library.find(name) for name in library.names()]
    word = arguments.word.lower()
    books = [book for book in books if word in f"{book.name} {book.title} {book.about}".lower()]
    if arguments.output == "json":
        rows = [
            {"name": b.name, "title": b.title, "about": b.about, "parameters": [p.name for p in b.parameters]}
            for b in books
        ]
        print(json.dumps(rows, indent=1, ensure_ascii=False))
        return 0
    width = max((len(book.name) for book in books), default=0)
    for book in books:
        print(f"{book.name:<{width}}  {book.title}")
    print(f"\nmore: meshnb show {books[0].name}" if books else f"no runbook with {arguments.word!r}; see: meshnb list")
    return 0
