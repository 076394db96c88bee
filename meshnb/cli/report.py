"""`meshnb report EXECUTED.ipynb`: a report of a notebook that was run before."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

from meshnb.errors import UsageError


def register(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "report", help="a report of an executed notebook", description="Write a report of an executed notebook."
    )
    parser.add_argument("notebook", type=Path, help="an executed .ipynb")
    parser.add_argument("-o", "--output", choices=("html", "md", "json", "pdf"), default="html",
                        help="form (default html; pdf needs a Chromium)")  # fmt: skip
    parser.add_argument("--out", metavar="FILE", help="where to write, - for standard output (default: beside it)")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Write the report and print where it is."""
    from meshnb.report.html import to_html
    from meshnb.report.pdf import to_pdf
    from meshnb.report.record import load
    from meshnb.report.run import make_folder, write
    from meshnb.report.text import to_json, to_markdown

    notebook, name = load(arguments.notebook), arguments.notebook.stem
    make = {"html": to_html, "pdf": to_html, "md": to_markdown, "json": to_json}[arguments.output]
    text = make(notebook, name=name)
    if arguments.out == "-":
        if arguments.output == "pdf":
            raise UsageError("a PDF is not written to standard output", hint="give --out FILE")
        sys.stdout.write(text)
        return 0
    target = Path(arguments.out) if arguments.out else arguments.notebook.with_suffix(f".{arguments.output}")
    make_folder(target.parent)
    if arguments.output == "pdf":
        with tempfile.TemporaryDirectory(prefix="meshnb-") as folder:
            page = Path(folder) / f"{name}.html"
            write(page, text)
            to_pdf(page, target)
    else:
        write(target, text)
    print(target)
    return 0
