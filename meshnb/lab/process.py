"""Processes by id *and* start time, so that none is ever taken for another, and who holds an address."""

from __future__ import annotations

import ctypes
import errno
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

_PR_SET_PDEATHSIG = 1


def start_time(pid: int) -> str:
    """When a process started, as text that only it can have together with its id; empty if there is none."""
    try:
        # the name in brackets may hold spaces; the state and the start time are fields 3 and 22
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        return "" if fields[0] in "ZX" else fields[19]
    except (OSError, IndexError):
        pass
    if sys.platform == "linux":
        return ""
    done = subprocess.run(["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True)
    return done.stdout.strip()


def is_running(pid: int, start: str) -> bool:
    """Whether the process of this id is still the one that started then."""
    return bool(pid and start) and start_time(pid) == start


def end(pids: Iterable[tuple[int, str]], *, grace: float = 3.0) -> None:
    """Ask processes to end and, after `grace` seconds, kill those left; others with the same ids are not touched."""
    targets = list(pids)
    for number in (signal.SIGTERM, signal.SIGKILL):
        for pid, start in targets:
            if is_running(pid, start):
                try:
                    os.kill(pid, number)
                except ProcessLookupError:
                    continue
        deadline = time.monotonic() + grace
        while time.monotonic() < deadline:
            if not any(is_running(pid, start) for pid, start in targets):
                return
            time.sleep(0.02)


def die_with_parent() -> Callable[[], None]:
    """A function for a child to call before it becomes another program: it then dies when its parent does.

    Works on Linux. Elsewhere it does nothing, and `lab down` ends what a killed supervisor left behind.
    """
    parent = os.getpid()
    if sys.platform != "linux":
        return lambda: None
    libc = ctypes.CDLL(None, use_errno=True)

    def set_death_signal() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:
            # it died before we asked
            os._exit(1)

    return set_death_signal


def is_free(address: str, port: int) -> str:
    """Why an address and port cannot be bound, empty if they can."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return "taken"
            if error.errno == errno.EADDRNOTAVAIL:
                return "absent"
            return error.strerror or str(error)
    return ""


def owner(address: str, port: int) -> str:
    """Which process listens at an address, as `NAME (pid N)`; empty if that cannot be seen."""
    wanted = {listener for listener in listening_inodes() if listener[1:] in ((address, port), ("0.0.0.0", port))}
    inodes = {f"socket:[{inode}]" for inode, _, _ in wanted}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            links = {str(entry.readlink()) for entry in (folder / "fd").iterdir()}
            if links & inodes:
                return f"{(folder / 'comm').read_text().strip()} (pid {folder.name})"
        except OSError:
            continue
    return ""


def listening_inodes() -> list[tuple[str, str, int]]:
    """Socket inode, address and port of everything that listens on IPv4."""
    try:
        lines = Path("/proc/net/tcp").read_text(encoding="ascii").splitlines()[1:]
    except OSError:
        return []
    found = []
    for fields in (line.split() for line in lines):
        if fields[3] == "0A":
            raw, _, port = fields[1].partition(":")
            found.append((fields[9], socket.inet_ntoa(bytes.fromhex(raw)[::-1]), int(port, 16)))
    return found
