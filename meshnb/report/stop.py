"""Signals that end a run: its kernel is interrupted, and its report is written before the process ends."""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType, TracebackType
from typing import Any, Self

_NAMES = ("SIGINT", "SIGTERM", "SIGHUP")  # Ctrl-C; schedulers and `timeout`; a terminal that is closed
_EVERY_S, _PATIENCE_S = 0.25, 5.0


class Stop:
    """While it is open, a signal does not end this process but the cell that runs, as if a user had interrupted it.

    The kernel gets the interrupt again and again, as it hears none between two cells, until it is shut down; one that
    does not stop is killed. Later signals change nothing. A signal that is ignored stays so (`nohup`). Only the main
    thread can be told of signals; in another this does nothing.

    Attributes:
        name: the signal that came, such as `SIGTERM`; empty if none did.
    """

    def __init__(self) -> None:
        self.name = ""
        self._kernel = 0
        self._ended = threading.Event()
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            known = [signal.Signals[name] for name in _NAMES if hasattr(signal, name)]  # Windows has no SIGHUP
            heard = [number for number in known if signal.getsignal(number) is not signal.SIG_IGN]
            self._before = {number: signal.signal(number, self._heard) for number in heard}
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.ended()
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def started(self, kernel: int) -> None:
        """Say which process the kernel is."""
        self._kernel = kernel

    def ended(self) -> None:
        """Say that the kernel is being shut down: it needs no interrupt any more."""
        self._ended.set()

    def _heard(self, number: int, frame: FrameType | None) -> None:
        if self.name or self._ended.is_set():
            return
        self.name = signal.Signals(number).name
        threading.Thread(target=self._interrupt, daemon=True).start()

    def _interrupt(self) -> None:
        told = 0
        while not self._ended.is_set():
            if self._kernel:  # else it only starts
                self._tell(
                    signal.SIGINT if told < _PATIENCE_S / _EVERY_S else getattr(signal, "SIGKILL", signal.SIGTERM)
                )
                told += 1
            self._ended.wait(_EVERY_S)

    def _tell(self, number: int) -> None:
        """Send the kernel, and what its cells started, a signal."""
        try:
            # it leads a group of its own; without groups (Windows) it can only be ended
            os.killpg(self._kernel, number) if hasattr(os, "killpg") else os.kill(self._kernel, signal.SIGTERM)
        except OSError:
            self._ended.set()  # it is gone
