"""Schedules are run here by a shell, with a meshnb that writes down how it was called."""

from __future__ import annotations

import re
import subprocess

import books
import pytest
import yaml

from meshnb.errors import UsageError
from meshnb.runbook import library
from meshnb.runbook.schedule import CaptureJob, Job, cronjob, crontab, systemd

VALUES = {"source": "a b", "host": "it's $HOME 100%"}


@pytest.fixture
def meshnb(tmp_path):
    """A command that writes its arguments to a file, one a line."""
    script = tmp_path / "bin" / "meshnb"
    script.parent.mkdir()
    script.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" > {tmp_path}/called\n')
    script.chmod(0o755)

    def called(command: str) -> list[str]:
        environment = {"PATH": f"{script.parent}:/usr/bin:/bin"}
        subprocess.run(["/bin/sh", "-c", command], check=True, env=environment, timeout=30)
        return (tmp_path / "called").read_text().splitlines()

    return called


def job(**options):
    values = {"every": "15m", "out": "/srv/my reports", **options}
    return Job(library.find("503-no-cluster"), VALUES, **values)


def check(arguments):
    assert arguments[:-1] == [
        "run", "503-no-cluster", "-p", "source=a b", "-p", "host=it's $HOME 100%", "--fail-on", "warning", "--out"
    ]  # fmt: skip
    assert re.fullmatch(r"/srv/my reports/\d{8}T\d{4}Z", arguments[-1])


def test_s11_36_a_capture_is_scheduled_to_a_bundle_each_time(meshnb):
    """S11-36: instead of an endless loop of kubectl top: logs, configuration and metrics since the last one."""
    bundles = CaptureJob({"namespace": "my shop"}, every="15m", out="/srv/my bundles")
    wanted = ["capture", "--quiet", "--with", "prometheus", "--since", "15m", "--namespace", "my shop", "--out"]
    fields = crontab(bundles).splitlines()[1].split(" ", 5)
    arguments = meshnb(fields[5].replace("\\%", "%"))
    assert fields[:5] == ["*/15", "*", "*", "*", "*"] and arguments[:-1] == wanted
    assert re.fullmatch(r"/srv/my bundles/\d{8}T\d{4}Z\.tar\.gz", arguments[-1])
    document = yaml.safe_load(cronjob(bundles, image="example/meshnb:1"))
    container = document["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"][0]
    assert document["metadata"]["name"] == "meshnb-capture"
    assert meshnb(container["command"][2])[:-1] == wanted
    url = CaptureJob({"prometheus": "http://localhost:9090", "since": "1h"}, every="1d").line("x")
    assert url == "meshnb capture --quiet --since 1h --prometheus http://localhost:9090 --out captures/x.tar.gz"
    with pytest.raises(UsageError, match="takes no 'pprof'"):
        CaptureJob({"pprof": "yes"})


def test_crontab_line_calls_meshnb_with_the_parameters(meshnb):
    about, line = crontab(job()).splitlines()
    assert about.startswith("# ")
    fields = line.split(" ", 5)
    assert fields[:5] == ["*/15", "*", "*", "*", "*"]
    assert not re.search(r"(?<!\\)%", fields[5]), "cron ends the command at a bare %"
    check(meshnb(fields[5].replace("\\%", "%")))


def test_systemd_service_calls_meshnb_with_the_parameters(meshnb):
    text = systemd(job())
    quoted = re.search(r'^ExecStart=/bin/sh -c "(.*)"$', text, re.MULTILINE)[1]
    shell = re.sub(r"\\(.)", r"\1", quoted).replace("%%", "%").replace("$$", "$")
    check(meshnb(shell))
    assert "OnCalendar=*-*-* *:0/15:00 UTC" in text


def test_cronjob_calls_meshnb_with_the_parameters(meshnb):
    document = yaml.safe_load(cronjob(job(), image="example/meshnb:1", claim="reports"))
    assert (document["apiVersion"], document["kind"]) == ("batch/v1", "CronJob")
    assert document["spec"]["schedule"] == "*/15 * * * *" and document["spec"]["timeZone"] == "Etc/UTC"
    pod = document["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    assert pod["containers"][0]["image"] == "example/meshnb:1"
    assert pod["volumes"] == [{"name": "reports", "persistentVolumeClaim": {"claimName": "reports"}}]
    check(meshnb(pod["containers"][0]["command"][2]))


@pytest.mark.parametrize(
    ("every", "cron", "calendar"),
    [("1m", "* *", "*:*"), ("5m", "*/5 *", "*:0/5"), ("1h", "0 *", "*:00"), ("60m", "0 *", "*:00"),
     ("6h", "0 */6", "0/6:00"), ("1d", "0 6", "06:00")],
)  # fmt: skip
def test_intervals(every, cron, calendar):
    assert crontab(job(every=every)).splitlines()[1].startswith(f"{cron} * * * ")
    assert f"OnCalendar=*-*-* {calendar}:00 UTC" in systemd(job(every=every))


@pytest.mark.parametrize("every", ["7m", "90m", "5h", "2d", "30s", "0m", "often"])
def test_what_cannot_be_kept_is_refused(every):
    with pytest.raises(UsageError):
        job(every=every)


def test_unknown_and_secret_parameters_are_refused(tmp_path):
    path = books.write(tmp_path / "a.ipynb", books.code('token: str = ""', tags=("parameters",)))
    book = library.find(path)
    with pytest.raises(UsageError, match="no parameter 'x'"):
        Job(book, {"x": "1"})
    with pytest.raises(UsageError, match="token would stand in the schedule in clear"):
        Job(book, {"token": "hunter22"})
    assert str(path) in crontab(Job(book, {}))
