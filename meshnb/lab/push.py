"""From a change to the proxies, by istiod's rules: debounce, push queue, throttle.

Changes are gathered until none came for `debounce_after_s`, or until `debounce_max_s` have passed since the first.
While a push is being prepared, the next batch waits. Then every proxy gets a place in a queue; a proxy that waits
already, or is being served, gets its updates merged into one. No more than `push_throttle` proxies are served at once.
Changes of endpoints alone go past the debounce if `eds_debounce` is off. A proxy that connects is answered at once,
past both.
"""

from __future__ import annotations

import queue
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Generic, TypeVar

from meshnb.lab.telemetry import Telemetry

Client = TypeVar("Client")


@dataclass(frozen=True, slots=True)
class Debounce:
    """How long changes are gathered.

    Args:
        after_s: quiet time before a push.
        max_s: longest wait.
        endpoints: whether changes of endpoints wait too.
    """

    after_s: float = 0.1
    max_s: float = 10.0
    endpoints: bool = True


@dataclass(frozen=True, slots=True)
class PushRequest:
    """What a push is to bring.

    Args:
        full: all types, not endpoints alone.
        reasons: how many changes of each kind are in it.
        change: number of the last change in it.
        start: when it came into the push queue, by the monotonic clock.
    """

    full: bool
    reasons: Counter[str]
    change: int
    start: float = 0.0

    def merge(self, later: PushRequest) -> PushRequest:
        """Both in one; it began when the first began.

        Example:
            >>> first = PushRequest(False, Counter(endpoint=1), 1, start=2.0)
            >>> first.merge(PushRequest(True, Counter(config=1), 2, start=3.0))
            PushRequest(full=True, reasons=Counter({'endpoint': 1, 'config': 1}), change=2, start=2.0)
        """
        full, reasons = self.full or later.full, self.reasons + later.reasons
        return PushRequest(full, reasons, max(self.change, later.change), self.start)


_FREE = object()
_STOP = object()


class Debouncer:
    """Gathers changes and hands each batch to `push`, in a thread of its own.

    Args:
        push: called with each batch; the next batch waits until it returns.
        settings: how long to gather.
        telemetry: where `pilot_debounce_time` is counted.
    """

    def __init__(self, push: Callable[[PushRequest], None], settings: Debounce, telemetry: Telemetry) -> None:
        self._push = push
        self._settings = settings
        self._telemetry = telemetry
        self._inbox: queue.SimpleQueue[object] = queue.SimpleQueue()
        self._batch: PushRequest | None = None
        self._events = self._pushes = 0
        self._opened = self._last = 0.0
        self._timer: float | None = None
        self._free = True
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def submit(self, request: PushRequest) -> None:
        """A change has come."""
        self._inbox.put(request)

    def stop(self) -> None:
        """End; what was gathered is not pushed any more."""
        self._inbox.put(_STOP)
        self._thread.join()

    def _run(self) -> None:
        while (item := self._next()) is not _STOP:
            if item is None:
                if self._free:
                    self._work()
            elif item is _FREE:
                self._free = True
                self._work()
            elif isinstance(item, PushRequest):
                self._take(item)

    def _next(self) -> object:
        """The next item, or none if the timer has run out."""
        if self._timer is None:
            return self._inbox.get()
        left = self._timer - time.monotonic()
        try:
            if left > 0:
                return self._inbox.get(timeout=left)
        except queue.Empty:
            pass
        self._timer = None
        return None

    def _take(self, request: PushRequest) -> None:
        if not self._settings.endpoints and not request.full:
            threading.Thread(target=self._push, args=(request,), daemon=True).start()
            return
        self._last = time.monotonic()
        if not self._events:
            self._timer = self._last + self._settings.after_s
            self._opened = self._last
        self._events += 1
        self._batch = self._batch.merge(request) if self._batch else request

    def _work(self) -> None:
        now = time.monotonic()
        waited, quiet = now - self._opened, now - self._last
        if waited < self._settings.max_s and quiet < self._settings.after_s:
            self._timer = self._last + self._settings.after_s
            return
        if self._batch is None:
            return
        self._pushes += 1
        _log(
            f"Push debounce stable[{self._pushes}] {self._events} for {_reasons(self._batch)}: "
            f"{quiet * 1e3:.6f}ms since last change, {waited * 1e3:.6f}ms since last push, "
            f"full={str(self._batch.full).lower()}"
        )
        self._free = False
        threading.Thread(target=self._prepare, args=(self._batch, self._opened), daemon=True).start()
        self._batch, self._events = None, 0

    def _prepare(self, batch: PushRequest, opened: float) -> None:
        try:
            self._push(batch)
            self._telemetry.observe("pilot_debounce_time", time.monotonic() - opened)
        finally:
            self._inbox.put(_FREE)


def _reasons(request: PushRequest) -> str:
    return "reason " + ",".join(f"{name}:{count}" for name, count in sorted(request.reasons.items()))


def _log(text: str) -> None:
    """A line in the log of the control plane, as istiod writes it."""
    now = datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    sys.stderr.write(f"{now}\tinfo\tads\t{text}\n")


@dataclass
class PushQueue(Generic[Client]):
    """Clients that wait for a push, each once, in the order they came.

    Example:
        >>> waiting = PushQueue[str]()
        >>> for change in (1, 2):
        ...     waiting.enqueue("gateway", PushRequest(True, Counter(config=1), change))
        >>> waiting.dequeue()[1].reasons
        Counter({'config': 2})
    """

    _pending: dict[Client, PushRequest] = field(default_factory=dict)
    _order: deque[Client] = field(default_factory=deque)
    _processing: dict[Client, PushRequest | None] = field(default_factory=dict)
    _some: threading.Condition = field(default_factory=threading.Condition)

    def enqueue(self, client: Client, request: PushRequest) -> None:
        """Have a client pushed to; merged with what it waits for already."""
        with self._some:
            if client in self._processing:
                later = self._processing[client]
                self._processing[client] = later.merge(request) if later else request
            elif client in self._pending:
                self._pending[client] = self._pending[client].merge(request)
            else:
                self._pending[client] = request
                self._order.append(client)
                self._some.notify()

    def dequeue(self) -> tuple[Client, PushRequest]:
        """The next client and what to push to it; waits until there is one. Say `done` afterwards."""
        with self._some:
            while not self._order:
                self._some.wait()
            client = self._order.popleft()
            self._processing[client] = None
            return client, self._pending.pop(client)

    def done(self, client: Client) -> None:
        """A client has its push; what came in between is queued now."""
        with self._some:
            later = self._processing.pop(client, None)
            if later is not None:
                self._pending[client] = later
                self._order.append(client)
                self._some.notify()


@dataclass(frozen=True, slots=True, eq=False)
class Push:
    """One push to one client, on its way. Call `done` when it is over, however it ended."""

    request: PushRequest
    done: Callable[[], None]


class Pusher(Generic[Client]):
    """Takes clients from the queue and serves so many at once as the throttle allows.

    Args:
        deliver: hands a push to its client; must see to it that `done` is called in the end.
        throttle: clients served at once.
        telemetry: where queue time and triggers are counted.
    """

    def __init__(self, deliver: Callable[[Client, Push], None], throttle: int, telemetry: Telemetry) -> None:
        self.queue = PushQueue[Client]()
        self._deliver = deliver
        self._slots = threading.Semaphore(throttle)
        self._telemetry = telemetry
        threading.Thread(target=self._run, daemon=True).start()

    def start(self, clients: list[Client], request: PushRequest) -> None:
        """Queue a push to all these clients."""
        request = replace(request, start=time.monotonic())
        for client in clients:
            self.queue.enqueue(client, request)

    def _run(self) -> None:
        while True:
            self._slots.acquire()
            client, request = self.queue.dequeue()
            self._telemetry.observe("pilot_proxy_queue_time", time.monotonic() - request.start)
            for reason, count in request.reasons.items():
                self._telemetry.count("pilot_push_triggers", count, type=reason)
            self._deliver(client, Push(request, self._finish(client)))

    def _finish(self, client: Client) -> Callable[[], None]:
        once = threading.Lock()

        def done() -> None:
            # also called when a connection ends in the middle of its push
            if once.acquire(blocking=False):
                self.queue.done(client)
                self._slots.release()

        return done
