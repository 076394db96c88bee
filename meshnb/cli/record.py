"""`meshnb record URL`: a snapshot of what the control-plane runbooks ask Prometheus."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

from meshnb.errors import UsageError

_HELP = """Asks a Prometheus (or Thanos, Mimir, VictoriaMetrics) every query of the control-plane runbooks over a window
and keeps the answers in a snapshot. Then: meshnb run control-plane -p source=OUT"""


def register(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "record", help="record Prometheus' answers into a snapshot", description=_HELP.replace("\n", " ")
    )
    add = parser.add_argument
    add("url", help="what stands before /api/v1, as http://localhost:9090")
    add("--out", required=True, metavar="FILE", help="FILE.tar.gz, or a new folder")
    add("--window", default="30m", metavar="WINDOW", help="30m before now, or START/END in UTC (30m)")
    add("--step", default="", metavar="TIME", help="between two points, as 30s (default fits the window)")
    add("--query", action="append", default=[], metavar="NAME=PROMQL", help="a further query; may be repeated")
    add("--token-file", default="", metavar="FILE", help="bearer token; read again for each request")
    add("--user", default="", metavar="NAME", help="basic authentication; the password is asked for")
    add("--ca", default="", metavar="FILE", help="certificate of the authority that signed the server's")
    add("--header", action="append", default=[], metavar="NAME=VALUE", help="a header, such as a tenant")
    add("--timeout", type=float, default=60.0, metavar="S", help="seconds one answer may take (60)")
    add("-q", "--quiet", action="store_true", help="no progress")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Record, and say what could not be had."""
    from meshnb.runbook.prometheus import Prometheus
    from meshnb.sources.snapshot import pack

    out = Path(arguments.out)
    if out.exists():
        raise UsageError(f"{out} exists", hint="give a new file: a snapshot is never changed")
    options = {"token_file": arguments.token_file, "ca": arguments.ca, "timeout": arguments.timeout}
    options |= {"headers": _pairs(arguments.header), "user": _user(arguments.user)}
    prometheus = Prometheus(arguments.url, **options)
    wanted: dict[str, Any] = {"window": arguments.window, "step": arguments.step or None}
    wanted |= {"queries": _pairs(arguments.query), "progress": (lambda _: None) if arguments.quiet else _progress}
    if out.name.endswith((".tar.gz", ".tgz")):
        with tempfile.TemporaryDirectory(prefix="meshnb-") as folder:
            snapshot = prometheus.record(Path(folder) / "snapshot", **wanted)
            _say(out, snapshot)
            pack(snapshot.root, out)
        return 0
    _say(out, prometheus.record(out, **wanted))
    return 0


def _say(out: Path, snapshot: Any) -> None:
    from meshnb.runbook.mesh import Mesh

    frame = Mesh(snapshot).recorded_queries()
    failed = frame.dropna(subset=["error"])
    empty = int((frame["samples"] == 0).sum())
    print(f"{out}: {len(frame)} queries, {empty} without a series, {len(failed)} failed")
    for error, names in failed.groupby("error", sort=False)["name"]:
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        print(f"  {names.iloc[0]}{more}: {error}", file=sys.stderr)


def _progress(step: str) -> None:
    print(step, file=sys.stderr, flush=True)


def _pairs(texts: list[str]) -> dict[str, str]:
    pairs = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise UsageError(f"{text!r} is not NAME=VALUE")
        pairs[name] = value
    return pairs


def _user(name: str) -> tuple[str, str] | None:
    from getpass import getpass

    return (name, getpass(f"password of {name}: ")) if name else None
