"""`meshnb probe URL`: bounded calls at a steady rate."""

from __future__ import annotations

import argparse
from typing import Any

from meshnb.cli import CLEAN, _output
from meshnb.errors import UsageError


def register(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "probe",
        help="call a URL at a steady rate, for a number of requests or a time",
        description="Call a URL at a steady rate until a number of requests or a time is reached; count the answers.",
    )
    add = parser.add_argument
    add("url", metavar="URL", help="as in http://localhost:8080/items")
    add("--rate", type=float, default=1.0, metavar="N", help="requests a second (1)")
    add("--requests", type=int, metavar="N", help="how many, at most 10,000 (100, if no --for is given)")
    add("--for", dest="duration", default="", metavar="TIME", help="send none after this time, as 30s or 5m")
    add("--host", default="", metavar="HOST", help="ask for this host, at a gateway")
    add("--header", action="append", default=[], metavar="NAME:VALUE", help="a further header; may be repeated")
    add("--method", default="GET", help="HTTP method (GET)")
    add("--timeout", type=float, default=15.0, metavar="S", help="seconds after which a request is given up (15)")
    add("-o", "--output", choices=_output.FORMATS, help="every request in this format; else the counts by status")
    add("--to", default="", metavar="FILE", help="write to a file instead of standard output")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Call, and print what came back."""
    from meshnb.model.window import parse_duration
    from meshnb.runbook.probe import probe

    headers = {"Host": arguments.host} if arguments.host else {}
    for given in arguments.header:
        name, colon, value = given.partition(":")
        if not colon or not name.strip():
            raise UsageError(f"--header {given!r}", hint="as in --header 'x-istio-cohort: internal'")
        headers[name.strip()] = value.strip()
    found = probe(
        arguments.url,
        rate=arguments.rate,
        requests=arguments.requests,
        seconds=parse_duration(arguments.duration).total_seconds() if arguments.duration else None,
        method=arguments.method,
        headers=headers,
        timeout_s=arguments.timeout,
    )
    df = found.df if arguments.output else found.table().df
    _output.write(df, arguments.output or "text", arguments.to)
    return CLEAN
