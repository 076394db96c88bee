"""Processes by id *and* start time, so that none is ever taken for another, and who holds an address."""

from __future__ import annotations

import ctypes
import errno
import ipaddress
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
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


def start_detached(argv: list[str], *, log: Path) -> int:
    """Start a process in a session of its own, so that ctrl-C in the terminal is not for it.

    Args:
        argv: program and arguments.
        log: where its output is appended.

    Returns:
        Its process id.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    actions = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, str(log), flags, 0o600),
        (os.POSIX_SPAWN_DUP2, 1, 2),
    ]
    return os.posix_spawn(argv[0], argv, os.environ, file_actions=actions, setsid=True)


def has_ended(pid: int) -> bool:
    """Whether a process has ended; if it was a child of this one, it is taken off the process table."""
    try:
        return os.waitpid(pid, os.WNOHANG)[0] == pid
    except ChildProcessError:
        return not start_time(pid)


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


def is_free(address: str, port: int, *, wait_s: float = 0.0) -> str:
    """Why an address and port cannot be bound, empty if they can.

    Args:
        address: IP address.
        port: TCP port.
        wait_s: how long to wait for a port that is taken by nobody: its process is just ending.
    """
    until = time.monotonic() + wait_s
    while (why := _cannot_bind(address, port)) == "taken" and time.monotonic() < until and not owner(address, port):
        time.sleep(0.05)
    return why


def _cannot_bind(address: str, port: int) -> str:
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
    wanted = {
        listener
        for listener in listening_inodes()
        if listener[1:] in ((address, port), ("0.0.0.0", port), ("::", port))
    }
    inodes = {f"socket:[{inode}]" for inode, _, _ in wanted}
    for folder in Path("/proc").glob("[0-9]*"):
        if inodes & open_files(int(folder.name)):
            return f"{(folder / 'comm').read_text(encoding='utf-8').strip()} (pid {folder.name})"
    return ""


def open_files(pid: int) -> set[str]:
    """What a process has open, sockets as `socket:[INODE]`; empty if that may not be seen."""
    found = set()
    try:
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(OSError):
                # it may be closed by now
                found.add(str(entry.readlink()))
    except OSError:
        pass
    return found


def listening_inodes() -> list[tuple[str, str, int]]:
    """Socket inode, address and port of everything that listens; IPv4 addresses as such also where mapped into IPv6."""
    found = []
    for table in ("tcp", "tcp6"):
        try:
            lines = Path(f"/proc/net/{table}").read_text(encoding="ascii").splitlines()[1:]
        except OSError:
            continue
        for fields in (line.split() for line in lines):
            if fields[3] == "0A":
                raw, _, port = fields[1].partition(":")
                found.append((fields[9], _address(bytes.fromhex(raw)), int(port, 16)))
    return found


def _address(raw: bytes) -> str:
    # the kernel prints each word of four bytes in the order of this machine
    data = b"".join(
        raw[i : i + 4][::-1] if sys.byteorder == "little" else raw[i : i + 4] for i in range(0, len(raw), 4)
    )
    address = ipaddress.ip_address(data)
    return str(getattr(address, "ipv4_mapped", None) or address)
