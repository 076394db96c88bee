"""`meshnb export dashboard|alerts`: what other tools take over."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any


def register(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "export", help="write a Grafana dashboard or Prometheus alert rules",
        description="Write a Grafana dashboard of the control plane, or alert rules for Prometheus.",
    )  # fmt: skip
    what = parser.add_subparsers(dest="what", metavar="WHAT", required=True)
    board = what.add_parser("dashboard", help="Grafana dashboard, JSON; import it or provision it from a file")
    rules = what.add_parser("alerts", help="Prometheus alert rules, YAML; see: promtool check rules FILE")
    rules.add_argument(
        "--rate", default="5m", metavar="SPAN", help="span of rate(), four scrape intervals or more (default 5m)"
    )
    rules.add_argument("--for", dest="hold", default="5m", metavar="SPAN",
                       help="how long convergence must be slow (default 5m; the study notes: 10s)")  # fmt: skip
    rules.add_argument("--warning", type=float, default=1.0, metavar="SECONDS", help="convergence p99 (default 1)")
    rules.add_argument("--critical", type=float, default=2.0, metavar="SECONDS", help="convergence p99 (default 2)")
    rules.add_argument("--slow-share", type=float, default=0.01, metavar="SHARE",
                       help="share of pushes slower than 3 s (default 0.01)")  # fmt: skip
    for one in (board, rules):
        one.add_argument("-o", "--out", metavar="FILE", help="where to write; default is standard output")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Write or print it."""
    from meshnb.tuning import exports

    if arguments.what == "dashboard":
        text = exports.dashboard_json()
    else:
        text = exports.alerts(
            rate=arguments.rate,
            hold=arguments.hold,
            warning_s=arguments.warning,
            critical_s=arguments.critical,
            slow_share=arguments.slow_share,
        )
    if arguments.out:
        Path(arguments.out).write_text(text, encoding="utf-8")
    else:
        print(text, end="")
    return 0
