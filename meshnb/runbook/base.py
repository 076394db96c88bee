"""What the families of tables of a `Mesh` share: reading every document of a kind, saying what could not be read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from meshnb.errors import FormatError, NotFound
from meshnb.model.frame import Frame
from meshnb.model.manifest import Document
from meshnb.model.window import Window
from meshnb.sources.snapshot import Snapshot

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True)
class Needs:
    """The documents a table is made from.

    Args:
        kind: their kind.
        path: how their path starts, where the kind alone is too wide (`kubernetes/pods.`).
        name: name of the file without folder and suffix, where they lie in many folders (`syncz`).
        instead: another kind that will do where there is none of `kind`.
        also: another kind that is read beside `kind`.
    """

    kind: str
    path: str = ""
    name: str = ""
    instead: str = ""
    also: str = ""

    @property
    def kinds(self) -> tuple[str, ...]:
        """All kinds the table can be made from."""
        return tuple(kind for kind in (self.kind, self.also, self.instead) if kind)

    def takes(self, document: Document) -> bool:
        """Whether the table is made from the document, as far as its path says."""
        stem = document.path.rpartition("/")[2].partition(".")[0]
        return document.path.startswith(self.path) and self.name in ("", stem)


class MeshBase:
    """A snapshot, the namespace and window looked at, and the tables made so far.

    Families of tables derive from it, list in `TABLES` which documents each table needs, and make each in a method of
    the table's name.
    """

    TABLES: ClassVar[Mapping[str, Needs]] = {}

    def __init__(self, snapshot: Snapshot, *, namespace: str = "", window: Window | None = None) -> None:
        self.snapshot = snapshot
        self.namespace = namespace
        self.window = window
        self._made: dict[object, pd.DataFrame] = {}
        self._unreadable: dict[str, str] = {}

    def documents(self, table: str, *, proxy: str = "") -> list[Document]:
        """Documents that are there and that a table is made from, not those that would do `instead`."""
        needs = self._needs(table)
        kinds = (needs.kind, needs.also) if needs.also else (needs.kind,)
        return [d for kind in kinds for d in self.snapshot.documents(kind, proxy=proxy) if needs.takes(d)]

    def _sources(self, table: str) -> list[Document]:
        """Documents that are there and that a table is made from, of any kind."""
        needs = self._needs(table)
        return [d for kind in needs.kinds for d in self.snapshot.documents(kind) if needs.takes(d)]

    def _failed(self, table: str) -> list[Document]:
        """Documents that a table would be made from and that could not be captured."""
        needs = self._needs(table)
        return [d for kind in needs.kinds for d in self.snapshot.failed(kind) if needs.takes(d)]

    def absent(self, table: str) -> str:
        """Why a table cannot be made at all, empty if it can."""
        documents = self._sources(table)
        if documents and all(d.path in self._unreadable for d in documents):
            return self._unreadable[documents[0].path]
        if documents:
            return ""
        if failed := self._failed(table):
            return f"{failed[0].path} was not captured: {failed[0].error}"
        needs = self._needs(table)
        what = needs.name or needs.path.rstrip("./").rpartition("/")[2] or " or ".join(needs.kinds)
        return f"{self.snapshot.name} holds no {what}"

    def gaps(self, table: str) -> list[str]:
        """What a table lacks though it can be made: documents not captured or not readable, one reason each."""
        reasons = [f"{d.path} was not captured: {d.error}" for d in self._failed(table)]
        return reasons + [self._unreadable[d.path] for d in self._sources(table) if d.path in self._unreadable]

    def _needs(self, table: str) -> Needs:
        return self.TABLES[table]

    def each_document(
        self, table: str, frame: Frame, read: Callable[[Document, bytes], pd.DataFrame], *, proxy: str = ""
    ) -> pd.DataFrame:
        """One table from every document it is made from; unreadable ones are kept in `gaps`, never fatal.

        Args:
            table: name of the table.
            frame: its schema; what comes back when there is no row.
            read: makes the rows of one document.
            proxy: only from this proxy (`POD.NAMESPACE`).

        Raises:
            NotFound: `proxy` is given and no document is of it.
        """
        import pandas as pd

        documents = self.documents(table, proxy=proxy)
        if proxy and not documents:
            known = sorted({d.proxy for d in self.documents(table) if d.proxy})
            raise NotFound(f"no {table} of proxy {proxy!r}", hint=f"proxies: {', '.join(known) or 'none'}")
        key = (table, proxy)
        if key not in self._made:
            frames = []
            for document in documents:
                try:
                    rows = read(document, self.snapshot.read(document))
                except FormatError as error:
                    self._unreadable[document.path] = error.message
                    continue
                if len(rows):
                    frames.append(rows)
            self._made[key] = pd.concat(frames, ignore_index=True) if frames else frame.empty()
        return self._made[key].copy(deep=False)
