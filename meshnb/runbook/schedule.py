"""Text that makes a scheduler run a runbook, or capture, again and again: a crontab line, systemd units, a CronJob.

Nothing is installed: the text is printed, and the user puts it where it belongs. Each run writes to a folder of its
own, named by its time in UTC, so no report is lost.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from meshnb.errors import UsageError
from meshnb.model.window import parse_duration
from meshnb.runbook.library import Runbook
from meshnb.runbook.parameters import convert

_CAPTURE = ("context", "istio-namespace", "namespace", "prometheus", "since", "tail", "workload")
_MINUTE, _HOUR, _DAY = 60, 3600, 86400


@dataclass(frozen=True, slots=True)
class Job:
    """A runbook to be run again and again.

    Args:
        runbook: the runbook; its parameters decide which names are known.
        parameters: values by name, as texts.
        every: how often, such as `15m`, `1h` or `1d`.
        out: folder of the reports; each run makes its own in it.
        fail_on: severity from which on a failing finding makes the run fail (exit code 79).
        command: how meshnb is started there.

    Raises:
        UsageError: unknown parameter, a secret one (it would stand in the schedule in clear), or an interval that does
            not divide an hour or a day.
    """

    runbook: Runbook
    parameters: Mapping[str, str]
    every: str = "1h"
    out: str = "reports"
    fail_on: str = "warning"
    command: str = "meshnb"

    def __post_init__(self) -> None:
        convert(self.runbook.parameters, self.parameters)
        secret = [p.name for p in self.runbook.parameters if p.secret and p.name in self.parameters]
        if secret:
            raise UsageError(
                f"{', '.join(secret)} would stand in the schedule in clear",
                hint="let the runbook read it from the environment or a file",
            )
        _times(self.every)

    @property
    def name(self) -> str:
        """Name of the runbook."""
        return self.runbook.name

    @property
    def about(self) -> str:
        """What is done, as words of `meshnb`."""
        return f"run {self.runbook.name}"

    def arguments(self, out: str) -> list[str]:
        """The arguments of `meshnb`."""
        given = [part for name, value in self.parameters.items() for part in ("-p", f"{name}={value}")]
        name = self.runbook.name if self.runbook.path.parent.name in ("_runbooks", "runbooks") else None
        return ["run", name or str(self.runbook.path.resolve()), *given, "--fail-on", self.fail_on, "--out", out]

    def line(self, folder: str) -> str:
        """The command for a shell; `folder` is left for the shell to expand."""
        words = [*shlex.split(self.command), *self.arguments("")[:-1]]
        return f"{shlex.join(words)} {shlex.quote(self.out.rstrip('/') + '/')}{folder}"


@dataclass(frozen=True, slots=True)
class CaptureJob:
    """A capture to be made again and again, each a bundle of its own: what `kubectl top` in a loop is for, and more.

    Args:
        parameters: options of `meshnb capture` by their long name, such as `namespace` or `since`.
        every: how often; also how far back logs and metrics are taken.
        out: folder of the bundles.
        command: how meshnb is started there.

    Raises:
        UsageError: an option that is not known, or an interval that does not divide an hour or a day.
    """

    parameters: Mapping[str, str]
    every: str = "1h"
    out: str = "captures"
    command: str = "meshnb"
    name = "capture"
    about = "capture"

    def __post_init__(self) -> None:
        _times(self.every)
        if unknown := sorted(set(self.parameters) - set(_CAPTURE)):
            raise UsageError(f"a scheduled capture takes no {unknown[0]!r}", hint=", ".join(_CAPTURE))

    def line(self, folder: str) -> str:
        """The command for a shell; `folder`, which names the bundle, is left for the shell to expand."""
        given = {"with": "prometheus", "since": self.every, **self.parameters}
        if "prometheus" in self.parameters:
            del given["with"]
        options = [part for name, value in given.items() for part in (f"--{name}", value)]
        words = [*shlex.split(self.command), "capture", "--quiet", *options, "--out"]
        return f"{shlex.join(words)} {shlex.quote(self.out.rstrip('/') + '/')}{folder}.tar.gz"


def crontab(job: Job | CaptureJob) -> str:
    """A line for `crontab -e`.

    Example:
        >>> from meshnb.runbook import library
        >>> print(crontab(Job(library.find("503-no-cluster"), {"source": "lab"}, every="15m", out="/srv/reports")))
        # meshnb run 503-no-cluster every 15m; cron mails what it prints. Add it with: crontab -e
        */15 * * * * meshnb run 503-no-cluster -p source=lab --fail-on warning --out /srv/reports/$(date ...)
    """
    minute, hour = _times(job.every)
    # cron takes a bare % for the end of the line
    command = job.line("$(date -u +%Y%m%dT%H%MZ)").replace("%", "\\%")
    about = f"# meshnb {job.about} every {job.every}; cron mails what it prints. Add it with: crontab -e"
    return f"{about}\n{minute} {hour} * * * {command}"


def systemd(job: Job | CaptureJob) -> str:
    """A service and a timer for systemd, one after the other, each headed by its file name."""
    name = f"meshnb-{_slug(job.name)}"
    minute, hour = _times(job.every)
    calendar = f"*-*-* {_systemd(hour)}:{_systemd(minute)}:00 UTC"
    # systemd takes % for a specifier and $ for a variable; the shell is to see both
    shell = job.line("$(date -u +%Y%m%dT%H%MZ)").replace("%", "%%").replace("$", "$$")
    quoted = shell.replace("\\", "\\\\").replace('"', '\\"')
    return f"""# ~/.config/systemd/user/{name}.service
[Unit]
Description=meshnb {job.about}

[Service]
Type=oneshot
WorkingDirectory=%h
ExecStart=/bin/sh -c "{quoted}"

# ~/.config/systemd/user/{name}.timer
[Unit]
Description=meshnb {job.about} every {job.every}

[Timer]
OnCalendar={calendar}
Persistent=true

[Install]
WantedBy=timers.target

# then: systemctl --user daemon-reload && systemctl --user enable --now {name}.timer"""


def cronjob(job: Job | CaptureJob, *, image: str, namespace: str = "istio-system", claim: str = "") -> str:
    """A CronJob for Kubernetes, as YAML.

    Args:
        job: what to run.
        image: an image with `meshnb[live,notebook]` in it.
        namespace: where it runs.
        claim: PersistentVolumeClaim that keeps the reports; empty for a volume that goes with the pod.
    """
    import yaml

    name = f"meshnb-{_slug(job.name)}"[:52].rstrip("-")
    minute, hour = _times(job.every)
    volume: dict[str, Any] = {"name": "reports"}
    volume |= {"persistentVolumeClaim": {"claimName": claim}} if claim else {"emptyDir": {}}
    shell = f"exec {job.line('$(date -u +%Y%m%dT%H%MZ)')}"
    pod = {
        "serviceAccountName": "meshnb",
        "restartPolicy": "Never",
        "securityContext": {"runAsNonRoot": True, "runAsUser": 65532, "fsGroup": 65532},
        "containers": [
            {
                "name": "meshnb",
                "image": image,
                "command": ["/bin/sh", "-c", shell],
                "env": [{"name": "HOME", "value": "/tmp"}],  # noqa: S108 - the home of a container that has none
                "resources": {"requests": {"cpu": "200m", "memory": "512Mi"}, "limits": {"memory": "2Gi"}},
                "volumeMounts": [{"name": "reports", "mountPath": job.out}],
            }
        ],
        "volumes": [volume],
    }
    document = {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": {"name": name, "namespace": namespace, "labels": {"app.kubernetes.io/name": "meshnb"}},
        "spec": {
            "schedule": f"{minute} {hour} * * *",
            "timeZone": "Etc/UTC",
            "concurrencyPolicy": "Forbid",
            "failedJobsHistoryLimit": 3,
            "jobTemplate": {"spec": {"backoffLimit": 0, "template": {"spec": pod}}},
        },
    }
    about = (
        "# A failed Job means a finding (exit code 79) or a run that broke off; kube_job_failed counts both.\n"
        "# The ServiceAccount meshnb needs read access only.\n"
    )
    return about + str(yaml.safe_dump(document, sort_keys=False, width=1000)).rstrip()


def _times(every: str) -> tuple[str, str]:
    """Minute and hour fields of a crontab line for an interval."""
    seconds = int(parse_duration(every).total_seconds())
    if seconds and seconds % _MINUTE == 0:
        if seconds < _HOUR and _HOUR % seconds == 0:
            return ("*" if seconds == _MINUTE else f"*/{seconds // _MINUTE}"), "*"
        if seconds < _DAY and seconds % _HOUR == 0 and _DAY % seconds == 0:
            return "0", ("*" if seconds == _HOUR else f"*/{seconds // _HOUR}")
        if seconds == _DAY:
            return "0", "6"
    raise UsageError(f"every {every} does not divide an hour or a day", hint="5m, 15m, 30m, 1h, 6h, 12h or 1d")


def _systemd(field: str) -> str:
    """A crontab field as systemd writes it."""
    return field.replace("*/", "0/") if field.startswith("*/") else field.zfill(2) if field.isdigit() else field


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
