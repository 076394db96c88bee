"""Counts the lines of files while an engine reads them, and looks at some for keys that nobody knew of."""

from __future__ import annotations

import json
import threading
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from meshnb.errors import MeshnbError
from meshnb.loaders.access_log_lines import BLOCK, open_log
from meshnb.loaders.access_log_native import compression_of

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

_LOOK_EVERY, _LOOK_AT = 1 << 20, 64 << 10
"""A line is looked at in each so many bytes, if it ends within so many."""


class LineCount:
    """Counts lines on a thread of its own, while an engine reads the files.

    The engine's readers pass over blank lines; where there are none, the number of a row is the number of its line. Nor
    do they tell that a zstd file was cut short, or that a line has a key they were not asked for.

    Args:
        paths: the files.
        look: whether to look for keys of JSON lines.
    """

    def __init__(self, paths: Sequence[Path], *, look: bool = False) -> None:
        self._lines = 0
        self._damaged = False
        self._look = look
        self._keys: dict[str, None] = {}
        self._sizes: set[int] = set()
        self._thread = threading.Thread(target=self._count, args=(paths,), daemon=True)
        self._thread.start()

    def lines(self) -> int:
        """How many there are, when all are counted; -1 if a file is damaged."""
        self._thread.join()
        return -1 if self._damaged else self._lines

    def seen_keys(self) -> list[str]:
        """Keys of the lines looked at, in order, when all are counted."""
        self._thread.join()
        return list(self._keys)

    def _count(self, paths: Sequence[Path]) -> None:
        try:
            for path in paths:
                self._lines += self._count_lines(path)
        except (OSError, EOFError, ValueError, zlib.error, MeshnbError):
            self._damaged = True

    def _count_lines(self, path: Path) -> int:
        import numpy as np

        ends = np.empty(BLOCK, np.bool_)
        count, last, look = 0, ord("\n"), _LOOK_EVERY
        for text in _blocks(path):
            count += int(np.count_nonzero(np.equal(text, ord("\n"), out=ends[: len(text)])))
            last = int(text[-1])
            while self._look and look < len(text):
                self._look_at(text[look : look + _LOOK_AT].tobytes())
                look += _LOOK_EVERY
            look -= len(text)
        return count + (last != ord("\n"))

    def _look_at(self, text: bytes) -> None:
        """Take the keys of the first whole line of a text, if it is a JSON object."""
        _, _, rest = text.partition(b"\n")
        line, end, _ = rest.partition(b"\n")
        size = line.count(b'":')
        if not end or size in self._sizes:  # as many keys as a line had before: most likely the same
            return
        try:
            record = json.loads(line)
        except ValueError:
            return
        if isinstance(record, dict):
            self._sizes.add(size)
            self._keys |= dict.fromkeys(record)


def _blocks(path: Path) -> Iterator[npt.NDArray[np.uint8]]:
    """The text of a file, unpacked, block after block."""
    import numpy as np

    if compression_of(path) != "none":
        with open_log(path) as stream:
            while chunk := stream.read(BLOCK):
                whole = np.frombuffer(chunk, np.uint8)
                yield from (whole[at : at + BLOCK] for at in range(0, len(whole), BLOCK))
        return
    block = np.empty(BLOCK >> 5, np.uint8)  # stays in the processor's cache
    with path.open("rb", buffering=0) as plain:
        while size := plain.readinto(block.data):
            yield block[:size]
