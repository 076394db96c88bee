"""`meshnb schedule NAME`: print what makes a scheduler run a runbook again and again. Installs nothing."""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path
from typing import Any

from meshnb.errors import UsageError
from meshnb.model.finding import FailOn


def register(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "schedule", help="print a crontab line, systemd timer or CronJob for a runbook",
        description="Print what makes a scheduler run a runbook again and again. Nothing is installed.",
    )  # fmt: skip
    add = parser.add_argument
    add("name", help="a runbook (see: meshnb list), the path of a notebook, or capture: a bundle each time")
    add("-p", "--parameter", action="append", default=[], metavar="NAME=VALUE",
        help="a parameter of the runbook; for capture one of its options, as namespace=shop")  # fmt: skip
    add("--every", default="1h", metavar="TIME", help="how often: 5m, 15m, 1h, 6h, 1d (at 06:00) (default 1h)")
    add("--out", default="", metavar="FOLDER", help="folder of the reports, one folder per run (default reports)")
    add("--fail-on", default="warning", choices=list(map(str, FailOn)), help="as for meshnb run")
    add("--for", dest="form", default="cron", choices=("cron", "systemd", "kubernetes"), help="what it is for (cron)")
    add("--image", default="", help="kubernetes: an image with meshnb[live,notebook] in it")
    add("-n", "--namespace", default="istio-system", help="kubernetes: namespace of the CronJob (istio-system)")
    add("--claim", default="", help="kubernetes: PersistentVolumeClaim that keeps the reports")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the schedule."""
    from meshnb.runbook import library
    from meshnb.runbook.parameters import parse_assignments
    from meshnb.runbook.schedule import CaptureJob, Job, cronjob, crontab, systemd

    inside = arguments.form == "kubernetes"
    if inside and not arguments.image:
        raise UsageError(
            "a CronJob needs an image", hint="--image REGISTRY/meshnb:0.1.0 with meshnb[live,notebook] in it"
        )
    job: Job | CaptureJob
    given = parse_assignments(arguments.parameter)
    command = "meshnb" if inside else _command()
    captured = arguments.name == "capture"
    usual = "captures" if captured else "reports"
    out = (arguments.out or f"/{usual}") if inside else str(Path(arguments.out or usual).resolve())
    if captured:
        job = CaptureJob(given, every=arguments.every, out=out, command=command)
    else:
        found = library.find(arguments.name)
        job = Job(found, given, every=arguments.every, out=out, fail_on=arguments.fail_on, command=command)
    if inside:
        print(cronjob(job, image=arguments.image, namespace=arguments.namespace, claim=arguments.claim))
    else:
        print({"cron": crontab, "systemd": systemd}[arguments.form](job))
    return 0


def _command() -> str:
    """How this meshnb is started from anywhere: schedulers know no PATH and no virtual environment."""
    beside = Path(sys.executable).with_name("meshnb")
    found = str(beside) if beside.is_file() else shutil.which("meshnb")
    return found or f"{sys.executable} -m meshnb"
