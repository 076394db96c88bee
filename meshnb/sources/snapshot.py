"""A snapshot: an immutable set of raw documents with a manifest, in a folder or a `.tar.gz`."""

from __future__ import annotations

import shutil
import tarfile
import tempfile
import weakref
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path, PurePosixPath
from types import TracebackType

from meshnb.errors import FormatError, NotFound, UsageError
from meshnb.model.manifest import KINDS, Document, Manifest
from meshnb.sources.redact import redact

DEMOS = ("healthy", "missing-subset", "slow-replica")
"""Snapshots inside the package, recorded from the lab; `demo` is the first, `demo/NAME` any of them."""

RECORDINGS = ("slow-request", "control-plane")
"""Demos of a part of a mesh: one slow request in debug logs and packets; the metrics of a busy control plane."""

_MAX_FILES = 200_000
_MAX_BYTES = 16 << 30


class Snapshot:
    """A captured mesh: raw documents and `manifest.json`.

    Use `Snapshot.open` to make one.

    Example:
        >>> snapshot = Snapshot.open("demo")
        >>> snapshot.manifest.cluster
        'lab'
    """

    def __init__(self, root: Path, manifest: Manifest, *, name: str) -> None:
        self.root = root
        self.manifest = manifest
        self.name = name

    def __repr__(self) -> str:
        return (
            f"<Snapshot {self.name}: {len(self.documents())} documents of {self.manifest.created:%Y-%m-%d %H:%M} UTC>"
        )

    @classmethod
    def open(cls, source: str | Path) -> Snapshot:
        """Open a snapshot.

        Args:
            source: a folder or `.tar.gz`, also of `istioctl bug-report`, a must-gather or YAML; `demo`, or `demo/NAME`.

        Raises:
            NotFound: no such file or demo.
            FormatError: not a snapshot, an empty one, or of a newer format.
        """
        name = str(source)
        if name == "demo" or name.startswith("demo/"):
            return cls._open_demo(name)
        path = Path(source).expanduser()
        if not path.exists():
            raise NotFound(
                f"no snapshot at {path}",
                hint="give a folder, a .tar.gz, or demo; make one with: meshnb capture",
            )
        if path.is_dir():
            return cls._open_folder(path, name=name)
        folder = Path(tempfile.mkdtemp(prefix="meshnb-"))
        try:
            unpack(path, folder)
            snapshot = cls._open_folder(_top(folder), name=name)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        weakref.finalize(snapshot, shutil.rmtree, folder, ignore_errors=True)
        return snapshot

    @classmethod
    def _open_demo(cls, name: str) -> Snapshot:
        demo = name.partition("/")[2] or DEMOS[0]
        if demo not in (*DEMOS, *RECORDINGS):
            known = ", ".join(f"demo/{d}" for d in (*DEMOS, *RECORDINGS))
            raise NotFound(f"no demo {demo!r}", hint=f"demos: {known}")
        return cls._open_folder(Path(str(files("meshnb"))) / "demo" / demo, name=name)

    @classmethod
    def _open_folder(cls, folder: Path, *, name: str) -> Snapshot:
        path = folder / "manifest.json"
        if not path.is_file() and (foreign := cls._open_foreign(folder, name=name)):
            return foreign
        if not path.is_file():
            what = "an empty folder" if not any(folder.iterdir()) else "no manifest.json in it"
            raise FormatError(f"not a snapshot: {what}", file=name, hint="make one with: meshnb capture --out FILE")
        manifest = Manifest.from_json(path.read_bytes(), file=f"{name}/manifest.json")
        if not any(not document.error for document in manifest.documents):
            raise FormatError("the snapshot holds no document", file=name, hint="capture again; see its manifest.json")
        return cls(folder, manifest, name=name)

    @classmethod
    def _open_foreign(cls, folder: Path, *, name: str) -> Snapshot | None:
        """The snapshot made of what another tool wrote: `istioctl bug-report`, a must-gather, YAML of objects."""
        from meshnb.sources.bug_report import find_bug_report, open_bug_report
        from meshnb.sources.gathered import is_gathered, open_gathered

        root = find_bug_report(folder)
        if root is None and not is_gathered(folder):
            return None
        target = Path(tempfile.mkdtemp(prefix="meshnb-"))
        try:
            snapshot = open_bug_report(root, target, name=name) if root else open_gathered(folder, target, name=name)
        except BaseException:
            shutil.rmtree(target, ignore_errors=True)
            raise
        weakref.finalize(snapshot, shutil.rmtree, target, ignore_errors=True)
        return snapshot

    @classmethod
    def open_written(cls, folder: Path, *, name: str) -> Snapshot:
        """Open a snapshot folder under the name of what it was made of."""
        return cls._open_folder(folder, name=name)

    def documents(self, kind: str = "", *, proxy: str = "") -> tuple[Document, ...]:
        """Documents that are there, in manifest order.

        Args:
            kind: only those of one kind.
            proxy: only those of one proxy (`POD.NAMESPACE`).
        """
        return tuple(d for d in self._all(kind, proxy) if not d.error)

    def failed(self, kind: str = "", *, proxy: str = "") -> tuple[Document, ...]:
        """Documents that could not be captured; `error` says why."""
        return tuple(d for d in self._all(kind, proxy) if d.error)

    def _all(self, kind: str, proxy: str) -> list[Document]:
        if kind and kind not in KINDS:
            raise UsageError(f"no document kind {kind!r}", hint=f"kinds: {', '.join(KINDS)}")
        return [d for d in self.manifest.documents if kind in ("", d.kind) and proxy in ("", d.proxy)]

    def path(self, document: Document) -> Path:
        """Where the document lies on this disk, for readers that stream.

        Raises:
            FormatError: the manifest names a file outside the snapshot, or one that is not there.
        """
        relative = PurePosixPath(document.path)
        if relative.is_absolute() or ".." in relative.parts:
            raise FormatError(f"the manifest names a path outside the snapshot: {document.path}", file=self.name)
        path = self.root / relative
        if not path.is_file():
            raise FormatError(
                "the manifest names it and it is not there",
                file=f"{self.name}/{document.path}",
                hint="capture again",
            )
        return path

    def read(self, document: Document) -> bytes:
        """The raw document."""
        return self.path(document).read_bytes()

    def source_of(self, document: Document) -> str:
        """How to name the document in an error or as evidence."""
        return f"{self.name}/{document.path}"


class SnapshotWriter:
    """Writes a snapshot folder; the manifest comes last, so a folder without one is an unfinished capture.

    Args:
        folder: where to write; made if missing, must be empty.
        source: what is captured, as the user named it.
        cluster: name of the cluster.
        command: command line that makes it.

    Example:
        >>> import tempfile
        >>> with SnapshotWriter(Path(tempfile.mkdtemp()), source="test", cluster="test") as writer:
        ...     writer.add("envoy/a.b/ready.txt", "ready", b"LIVE", proxy="a.b", obtained="GET /ready")
        >>> [d.path for d in Snapshot.open(writer.folder).documents()]
        ['envoy/a.b/ready.txt']
    """

    def __init__(self, folder: Path, *, source: str, cluster: str = "", command: str = "") -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise UsageError(f"{folder} is not empty", hint="give a new folder: a snapshot is never changed")
        self._manifest = Manifest(datetime.now(UTC), cluster=cluster, source=source, command=command)
        self._redacted: Counter[str] = Counter()
        self._notes: list[str] = []
        self.versions: dict[str, str] = {}
        self.links: dict[str, str] = {}

    def add(self, path: str, kind: str, data: bytes, *, proxy: str = "", obtained: str = "") -> None:
        """Write one document, without its secrets."""
        data, struck = redact(data)
        self._redacted += struck
        target = self.folder / PurePosixPath(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
        self._manifest = self._manifest.with_document(
            Document(path, kind, proxy=proxy, obtained=obtained, bytes=len(data))
        )

    def fail(self, path: str, kind: str, error: str, *, proxy: str = "", obtained: str = "") -> None:
        """Record a document that could not be obtained, and why."""
        self._manifest = self._manifest.with_document(
            Document(path, kind, proxy=proxy, obtained=obtained, error=error or "no reason given")
        )

    def note(self, text: str) -> None:
        """Record something a reader must know."""
        self._notes.append(text)

    def created(self, time: datetime, *, cluster: str = "") -> None:
        """Record when it was captured, and of which cluster, where that is not now and not known beforehand."""
        self._manifest = replace(self._manifest, created=time, cluster=cluster or self._manifest.cluster)

    def close(self) -> Snapshot:
        """Write the manifest and open the snapshot."""
        from meshnb import __version__

        manifest = replace(
            self._manifest,
            versions={"meshnb": __version__, **self.versions},
            notes=tuple(self._notes),
            redacted=dict(self._redacted),
            links=dict(self.links),
        )
        (self.folder / "manifest.json").write_text(manifest.to_json(), encoding="utf-8")
        return Snapshot(self.folder, manifest, name=str(self.folder))

    def __enter__(self) -> SnapshotWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.close()


def pack(folder: Path, archive: Path) -> None:
    """Write a snapshot folder as a `.tar.gz`; the archive appears whole or not at all."""
    part = archive.with_name(archive.name + ".part")
    with tarfile.open(part, "w:gz") as tar:
        tar.add(folder, arcname=folder.name)
    part.replace(archive)


def unpack(archive: Path, folder: Path) -> None:
    """Unpack a `.tar.gz` of someone else's: only plain files and folders below `folder`, within bounds.

    Raises:
        FormatError: not a tar archive, cut short, or one that reaches outside, holds links or devices, or is a bomb.
    """
    try:
        with tarfile.open(archive) as tar:
            count = size = 0
            for member in tar:
                count, size = count + 1, size + max(member.size, 0)
                _refuse(member, archive, count=count, size=size)
                tar.extract(member, folder, set_attrs=False)
    except (tarfile.TarError, EOFError, OSError) as error:
        if isinstance(error, FormatError):
            raise
        raise FormatError(
            f"not a readable tar archive: {error}", file=archive, hint="copy it again; it may be cut short"
        ) from error


def _refuse(member: tarfile.TarInfo, archive: Path, *, count: int, size: int) -> None:
    path = PurePosixPath(member.name)
    reason = ""
    if path.is_absolute() or ".." in path.parts:
        reason = f"it would write outside the folder: {member.name}"
    elif not (member.isfile() or member.isdir()):
        reason = f"it holds a link or a device: {member.name}"
    elif count > _MAX_FILES:
        reason = f"it holds more than {_MAX_FILES:,} files"
    elif size > _MAX_BYTES:
        reason = f"it unpacks to more than {_MAX_BYTES >> 30} GiB"
    if reason:
        raise FormatError(f"archive refused: {reason}", file=archive, hint="ask its sender for a snapshot made anew")


def _top(folder: Path) -> Path:
    """The folder itself, or the only folder in it."""
    entries = list(folder.iterdir())
    return entries[0] if len(entries) == 1 and entries[0].is_dir() else folder
