"""Changes of a replayed cluster, numbered as the API server numbers them, and the watches that are told of them."""

from __future__ import annotations

import copy
import threading
import time

_FIRST = 1000


class History:
    """Lists of objects that change.

    Args:
        lists: plural → objects; changed in place.
    """

    def __init__(self, lists):
        self.lists = lists
        self.version = self.oldest = _FIRST
        self._events = []
        self._changed = threading.Condition()
        self._ended = False

    def add(self, plural, item):
        """Create an object."""
        self._change(plural, "ADDED", item)

    def modify(self, plural, item):
        """Replace the object of the same name."""
        self._change(plural, "MODIFIED", item)

    def delete(self, plural, item):
        """Delete the object of the same name."""
        self._change(plural, "DELETED", item)

    def compact(self):
        """Forget all changes up to now: who watches from before them is told 410."""
        with self._changed:
            self.oldest, self._events = self.version, []

    def end(self):
        """End all watches."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def now(self, plural):
        """The version the cluster is at, and its objects of a kind."""
        with self._changed:
            return self.version, self.lists[plural]

    def after(self, plural, version, timeout_s):
        """Events of a kind after a version, as they come, until the time is over or the server ends."""
        deadline = time.monotonic() + timeout_s
        while True:
            with self._changed:
                left = max(deadline - time.monotonic(), 0)
                self._changed.wait_for(lambda: self._ended or self._since(plural, version), left)  # noqa: B023
                events = self._since(plural, version)
                if self._ended or not events:
                    return
            yield from ((kind, item) for _, _, kind, item in events)
            version = events[-1][0]

    def _since(self, plural, version):
        return [event for event in self._events if event[0] > version and event[1] == plural]

    def _change(self, plural, kind, item):
        with self._changed:
            self.version += 1
            item = copy.deepcopy(item)
            item["metadata"]["resourceVersion"] = str(self.version)
            before, name = self.lists[plural], _name(item)
            if (kind == "ADDED") == any(_name(i) == name for i in before):
                raise ValueError(f"{kind}: {plural} {name}")
            # a new list: a page that is being written keeps the old one
            if kind == "ADDED":
                self.lists[plural] = [*before, item]
            elif kind == "MODIFIED":
                self.lists[plural] = [item if _name(i) == name else i for i in before]
            else:
                self.lists[plural] = [i for i in before if _name(i) != name]
            self._events.append((self.version, plural, kind, item))
            self._changed.notify_all()


def _name(item):
    return item["metadata"].get("namespace", ""), item["metadata"]["name"]
