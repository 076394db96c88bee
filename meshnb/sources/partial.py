"""A snapshot while it is being captured: readable at any moment, and it says what is missing."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from meshnb import __version__
from meshnb.errors import UsageError
from meshnb.model.manifest import Document, Manifest
from meshnb.sources.redact import redact
from meshnb.sources.snapshot import Snapshot, SnapshotWriter

PENDING = "not captured: the capture ended before"
_SAVE_EVERY_S = 2.0
_SAVE_SHARE = 20  # of a large capture no more than one part in so many is spent on writing its manifest


Mark = tuple[int, Counter[str]]
"""A place in a `DocumentStream`, to come back to."""


class DocumentStream:
    """A document while it is written piece by piece; a secret must not lie across two pieces.

    Args:
        file: where it goes.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.struck: Counter[str] = Counter()

    def write(self, data: bytes) -> None:
        """Add a piece, without its secrets."""
        data, struck = redact(data)
        self.struck += struck
        self._file.write(data)

    def mark(self) -> Mark:
        """Where it is now."""
        return self._file.tell(), Counter(self.struck)

    def rewind(self, mark: Mark) -> None:
        """Drop all that was written since."""
        self._file.seek(mark[0])
        self._file.truncate()
        self.struck = Counter(mark[1])


class PartialSnapshot:
    """Writes a snapshot folder from many threads; every document planned is in the manifest from the beginning.

    A folder left by a capture that was killed is taken up again: what it has is kept, the rest is captured.

    Args:
        folder: where to write.
        source: what is captured, as the user named it.
        cluster: name of the cluster.
        command: command that makes it.
        clock: seconds that only grow; replaced in tests.

    Example:
        >>> import tempfile
        >>> partial = PartialSnapshot(Path(tempfile.mkdtemp()), source="test")
        >>> partial.plan([Document("a.txt", "ready"), Document("b.txt", "ready")])
        >>> partial.add(Document("a.txt", "ready"), b"LIVE")
        >>> snapshot = partial.finish()
        >>> [d.path for d in snapshot.documents()], [d.error for d in snapshot.failed()]
        (['a.txt'], ['not captured: the capture ended before'])
    """

    def __init__(
        self,
        folder: Path,
        *,
        source: str,
        cluster: str = "",
        command: str = "",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.folder = folder
        self._clock = clock
        self._lock = threading.Lock()
        self._saved = float("-inf")
        self._save_took = 0.0
        self._notes: list[str] = []
        self._redacted: Counter[str] = Counter()
        self.versions: dict[str, str] = {}
        self.links: dict[str, str] = {}
        manifest = Manifest(datetime.now(UTC), cluster=cluster, source=source, command=command)
        self._documents: dict[str, Document] = {}
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "manifest.json"
        if path.exists():
            before = Manifest.from_json(path.read_bytes(), file=path)
            if before.source != source:
                raise UsageError(
                    f"{folder} is of another capture, of {before.source}", hint="delete it, or give another file"
                )
            self._documents = {d.path: self._found(d) for d in before.documents}
            self._notes = [*before.notes, f"Taken up again at {manifest.created:%Y-%m-%d %H:%M:%S} UTC."]
            self._redacted = Counter(before.redacted)
            self.versions = dict(before.versions)
            self.links = dict(before.links)
            manifest = replace(manifest, created=before.created)
        elif any(folder.iterdir()):
            raise UsageError(f"{folder} is not empty", hint="give a new file or folder: a snapshot is never changed")
        self._manifest = manifest

    def _found(self, document: Document) -> Document:
        """The document as it lies on the disk: the manifest may be some seconds older than the files."""
        path = self.folder / PurePosixPath(document.path)
        if not document.error or not path.is_file():
            return document
        return replace(document, error="", bytes=path.stat().st_size)

    def has(self, path: str) -> bool:
        """Whether a document is there already."""
        with self._lock:
            return path in self._documents and not self._documents[path].error

    def has_any(self, start: str, end: str) -> bool:
        """Whether a document whose path begins and ends so is there already."""
        with self._lock:
            return any(
                not document.error
                for path, document in self._documents.items()
                if path.startswith(start) and path.endswith(end)
            )

    def plan(self, documents: Iterable[Document]) -> None:
        """Note what will be captured, so that the manifest says what is missing from now on."""
        with self._lock:
            for document in documents:
                self._documents.setdefault(document.path, replace(document, error=PENDING))
            self._save()

    def add(self, document: Document, data: bytes) -> None:
        """Write one document, without its secrets."""
        data, struck = redact(data)
        target = self.folder / PurePosixPath(document.path)
        target.parent.mkdir(parents=True, exist_ok=True)
        # a name ends in .part until all bytes are there
        part = target.with_name(target.name + ".part")
        part.write_bytes(data)
        part.replace(target)
        with self._lock:
            self._redacted += struck
            self._documents[document.path] = replace(document, error="", bytes=len(data))
            self._save_now_and_then()

    @contextmanager
    def stream(self, document: Document) -> Iterator[DocumentStream]:
        """Write one document piece by piece, without its secrets; it is there when the block ends without an error."""
        target = self.folder / PurePosixPath(document.path)
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(target.name + ".part")
        try:
            with part.open("wb") as file:
                stream = DocumentStream(file)
                yield stream
        except BaseException:
            part.unlink(missing_ok=True)
            raise
        part.replace(target)
        with self._lock:
            self._redacted += stream.struck
            self._documents[document.path] = replace(document, error="", bytes=target.stat().st_size)
            self._save_now_and_then()

    def fail(self, document: Document, error: str) -> None:
        """Note why a document could not be had."""
        with self._lock:
            self._documents[document.path] = replace(document, error=error or "no reason given", bytes=0)
            self._save_now_and_then()

    def note(self, text: str) -> None:
        """Note something a reader must know."""
        with self._lock:
            if text not in self._notes:
                self._notes.append(text)

    def finish(self) -> Snapshot:
        """Write the manifest and open what there is."""
        with self._lock:
            manifest = self._save()
        return Snapshot(self.folder, manifest, name=str(self.folder))

    def _save_now_and_then(self) -> None:
        if self._clock() - self._saved >= max(_SAVE_EVERY_S, _SAVE_SHARE * self._save_took):
            self._save()

    def _save(self) -> Manifest:
        begin = self._clock()
        manifest = replace(
            self._manifest,
            documents=tuple(sorted(self._documents.values(), key=lambda d: d.path)),
            versions={"meshnb": __version__, **self.versions},
            notes=tuple(self._notes),
            redacted=dict(self._redacted),
            links=dict(self.links),
        )
        part = self.folder / "manifest.json.part"
        part.write_text(manifest.to_json(), encoding="utf-8")
        part.replace(self.folder / "manifest.json")
        self._saved = self._clock()
        self._save_took = self._saved - begin
        return manifest


class PartialWriter(SnapshotWriter):
    """A partial snapshot where a `SnapshotWriter` is expected."""

    def __init__(self, partial: PartialSnapshot) -> None:
        self.folder = partial.folder
        self.versions = partial.versions
        self.links = partial.links
        self._partial = partial

    def add(self, path: str, kind: str, data: bytes, *, proxy: str = "", obtained: str = "") -> None:
        """Write one document."""
        self._partial.add(Document(path, kind, proxy=proxy, obtained=obtained), data)

    def fail(self, path: str, kind: str, error: str, *, proxy: str = "", obtained: str = "") -> None:
        """Note why a document could not be had."""
        self._partial.fail(Document(path, kind, proxy=proxy, obtained=obtained), error)

    def note(self, text: str) -> None:
        """Note something a reader must know."""
        self._partial.note(text)

    def close(self) -> Snapshot:
        """Write the manifest and open what there is."""
        return self._partial.finish()
