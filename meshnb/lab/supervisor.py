"""The one process that starts all others of a lab, and takes them with it when it ends, however it ends.

    python -m meshnb.lab.supervisor HOME

It follows `wanted.json` (which processes should run) and writes `state.json` (which do, by id and start time).
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from meshnb.lab.plan import APP_PORT, MONITOR_PORT, OUTBOUND_PORT, PODS, PROMETHEUS_PORT, LabHome, Plan
from meshnb.lab.process import die_with_parent, end, is_free, start_time

_TICK_S = 0.05
_FLAP_S = 1.0
_CONTROL_PLANE_S = 10.0


@dataclass(frozen=True, slots=True)
class Command:
    """How one process is started."""

    name: str
    argv: tuple[str, ...]


def commands(plan: Plan, home: LabHome) -> dict[str, Command]:
    """All processes of a lab by name, in the order they start.

    Names are `controlplane`, `app:POD.NAMESPACE`, `envoy:POD.NAMESPACE` and `prometheus`.
    """
    python = (sys.executable, "-m")
    found = [Command("controlplane", (*python, "meshnb.lab.controlplane", str(home.root)))]
    for pod in PODS:
        if not pod.is_gateway:
            outbound = f"{plan.ip(pod)}:{OUTBOUND_PORT}" if pod.app == "webapp" else ""
            place = ("--address", plan.app_ip(pod), "--port", str(APP_PORT))
            argv = (*python, "meshnb.lab.app", *place, "--version", pod.version, "--outbound", outbound)
            found.append(Command(f"app:{pod.proxy}", argv))
    for pod in PODS:
        # relative to the lab's folder, which is not to show up in what Envoy says of itself
        config = f"bootstrap/{pod.proxy}.json"
        # --disable-hot-restart lets many run side by side; the flush interval shows log lines at once, not after 10 s;
        # connections of a replaced listener go at once, so that a change holds for every request after it
        options = ("--disable-hot-restart", "--file-flush-interval-msec", "100", "--drain-time-s", "0")
        envoy = (plan.envoy, "-c", config, "--concurrency", "1", "-l", "warning", *options)
        found.append(Command(f"envoy:{pod.proxy}", envoy))
    if plan.prometheus:
        prometheus = (
            plan.prometheus,
            f"--config.file={home.root / 'prometheus.yml'}",
            f"--storage.tsdb.path={home.root / 'prometheus'}",
            "--storage.tsdb.retention.time=2h",
            f"--web.listen-address={plan.prometheus_address}:{PROMETHEUS_PORT}",
            "--log.level=warn",
        )
        found.append(Command("prometheus", prometheus))
    return {command.name: command for command in found}


class Supervisor:
    """Keeps the processes as wanted.

    Args:
        home: folder of the lab.
    """

    def __init__(self, home: LabHome) -> None:
        self.home = home
        self.plan = home.load_plan()
        self.commands = commands(self.plan, home)
        self.children: dict[str, subprocess.Popen[bytes]] = {}
        self.starts: dict[str, str] = {}
        self.stop = threading.Event()
        self.paused: set[str] = set()
        self.flap_at = 0.0

    def run(self) -> None:
        """Until told to stop."""
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, lambda *_: self.stop.set())
        # not to keep the folder busy from which the lab was started
        os.chdir(self.home.root)
        try:
            self.record()
            self.start("controlplane")
            self.wait_for_control_plane()
            while not self.stop.wait(_TICK_S):
                self.follow()
        finally:
            self.pause(set())
            end([(child.pid, self.starts[name]) for name, child in self.children.items()])
            for child in self.children.values():
                child.wait()
            self.home.state.unlink(missing_ok=True)

    def wait_for_control_plane(self) -> None:
        """Let it listen before proxies ask for it: they would wait a second before they ask again."""
        deadline = time.monotonic() + _CONTROL_PLANE_S
        while not self.stop.is_set() and time.monotonic() < deadline and self.children["controlplane"].poll() is None:
            if is_free(self.plan.control_plane, MONITOR_PORT):
                return
            time.sleep(_TICK_S)

    def follow(self) -> None:
        """Start and stop what `wanted.json` says, and record what ended by itself."""
        wanted = self.home.read(self.home.wanted)
        stopped, paused = set(wanted.get("stopped", [])), set(wanted.get("paused", []))
        changed = self.pause(paused)
        changed |= self.flap(wanted.get("flapping", []))
        for name in self.commands:
            child = self.children.get(name)
            if child is None and name not in stopped:
                self.start(name)
                changed = True
            elif child is not None and name in stopped:
                self.end(name)
                changed = True
            elif child is not None and child.poll() is not None and self.starts[name]:
                self.starts[name] = ""
                changed = True
        if changed:
            self.record()

    def pause(self, wanted: set[str]) -> bool:
        """Suspend these processes and let all others go on; whether anything changed."""
        if wanted == self.paused:
            return False
        for name in wanted ^ self.paused:
            if name in self.children:
                self.children[name].send_signal(signal.SIGSTOP if name in wanted else signal.SIGCONT)
        self.paused = wanted
        return True

    def flap(self, names: Sequence[str]) -> bool:
        """End these processes if a second has gone by since the last time; they start again at the next look."""
        if not names or time.monotonic() < self.flap_at:
            return False
        self.flap_at = time.monotonic() + _FLAP_S
        for name in names:
            if name in self.children:
                self.end(name)
        return True

    def end(self, name: str) -> None:
        """End one process."""
        child = self.children.pop(name)
        end([(child.pid, self.starts[name])])
        child.wait()

    def start(self, name: str) -> None:
        """Start one process, with its output appended to its log."""
        log = os.open(self.home.log(name), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            # preexec_fn is safe: the supervisor has one thread
            child = subprocess.Popen(
                self.commands[name].argv,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.home.root,
                preexec_fn=die_with_parent(),
            )
        finally:
            os.close(log)
        self.children[name] = child
        self.starts[name] = start_time(child.pid)
        self.record()

    def record(self) -> None:
        """Write `state.json`."""
        processes: dict[str, Any] = {}
        for name, child in self.children.items():
            facts = {"pid": child.pid, "start": self.starts[name], "exit": child.poll()}
            processes[name] = {**facts, "paused": name in self.paused}
        me = {"pid": os.getpid(), "start": start_time(os.getpid())}
        self.home.write(self.home.state, {"supervisor": me, "processes": processes})


def main() -> None:
    """Run until stopped."""
    parser = argparse.ArgumentParser()
    parser.add_argument("home", type=Path)
    Supervisor(LabHome(parser.parse_args().home)).run()


if __name__ == "__main__":
    main()
