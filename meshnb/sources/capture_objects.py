"""Objects of a cluster, kind by kind, written page by page: no list is held in memory."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from meshnb.errors import Forbidden, MeshnbError, NotFound
from meshnb.model.manifest import Document
from meshnb.model.resources import Resource, find
from meshnb.sources import capture_plan
from meshnb.sources.kubernetes import Cluster
from meshnb.sources.partial import DocumentStream, Mark, PartialSnapshot

_CONFIG_MAPS = "kubernetes/configmaps.json"


class _Items(msgspec.Struct):
    apiVersion: str = ""  # noqa: N815 - Kubernetes' name
    items: list[msgspec.Raw] | None = None


class ObjectLister:
    """Lists objects into a partial snapshot.

    Args:
        cluster: the cluster.
        partial: where they go.
        namespaces: only these, and that of istiod; empty for all.
        istio_namespace: where istiod runs.
    """

    def __init__(
        self, cluster: Cluster, partial: PartialSnapshot, *, namespaces: Sequence[str] = (), istio_namespace: str
    ) -> None:
        self.cluster, self.partial = cluster, partial
        self.namespaces, self.istio_namespace = tuple(namespaces), istio_namespace
        self.pods: list[Mapping[str, Any]] = []

    def spaces(self, kind: Resource) -> Sequence[str]:
        """Namespaces a kind is listed in; one empty name if it is listed in all at once."""
        if kind.namespaced and self.namespaces:
            return sorted({*self.namespaces, self.istio_namespace})
        return [""]

    def list_all(self, progress: Callable[[str], None]) -> list[Mapping[str, Any]]:
        """List every kind; what planning needs of the pods comes back."""
        kinds = capture_plan.resources()
        self.partial.plan(_document(kind) for kind in kinds)
        unknown = []
        for number, kind in enumerate(kinds, 1):
            progress(f"objects {number} of {len(kinds)}: {kind.plural}")
            try:
                self.list_kind(kind)
            except NotFound:
                # a kind that is not installed has no objects: that is an answer
                unknown.append(kind.plural)
                empty = json.dumps({"apiVersion": "v1", "kind": "List", "items": []}).encode()
                self.partial.add(_document(kind), empty)
            except MeshnbError as error:
                self.partial.fail(_document(kind), error.message)
        if unknown:
            self.partial.note(f"Kinds the cluster does not know, so there are none: {', '.join(unknown)}.")
        self._mesh_config()
        return self.pods

    def list_pods(self) -> tuple[list[Mapping[str, Any]], Document]:
        """List the pods alone; what planning needs of them, and the document.

        Raises:
            SourceError: they cannot be listed.
        """
        self.list_kind(find("pods"))
        return self.pods, _document(find("pods"))

    def list_kind(self, kind: Resource) -> None:
        """Write one List of all objects of a kind, from as many pages and namespaces as there are.

        Raises:
            NotFound: the cluster does not know the kind.
            Forbidden: it may be listed in none of the namespaces.
            SourceError: it cannot be listed now.
        """
        reasons: list[str] = []
        with self.partial.stream(_document(kind)) as stream:
            writer = _ListWriter(stream, kind)
            for space in self.spaces(kind):
                try:
                    self._space(kind, space, writer)
                except Forbidden as error:
                    # one namespace that is closed costs no other
                    reasons.append(error.message)
            if reasons and not writer.count:
                raise Forbidden(reasons[0])
            writer.close()
        for reason in reasons:
            self.partial.note(f"{kind.plural}: {reason}")

    def _space(self, kind: Resource, space: str, writer: _ListWriter) -> None:
        """The objects of one namespace; what was written of a list that is begun anew is taken back."""
        mark, pods = writer.mark(), len(self.pods)

        def begin_anew() -> None:
            writer.rewind(mark)
            del self.pods[pods:]

        for page in self.cluster.stream_pages(kind, namespace=space, begin_anew=begin_anew):
            version, items = _split(page)
            writer.write(version, items)
            if kind.kind == "Pod":
                self.pods += [capture_plan.slim(json.loads(item)) for item in items]

    def _mesh_config(self) -> None:
        """ConfigMaps of Istio by name: others may hold anything."""
        names = ["istio", *(f"istio-{r}" for r in self._revisions())]
        document = Document(_CONFIG_MAPS, "kubernetes", obtained=f"get configmaps {', '.join(names)}")
        found, reason = list[bytes](), ""
        for name in names:
            try:
                found.append(self.cluster.get(f"/api/v1/namespaces/{self.istio_namespace}/configmaps/{name}"))
            except NotFound as error:
                reason = error.message  # a revision may come without one of its own
            except MeshnbError as error:
                reason = error.message
                self.partial.note(f"MeshConfig {name}: {reason}")
        if found:
            self.partial.add(document, b'{"apiVersion": "v1", "kind": "List", "items": [' + b",".join(found) + b"]}\n")
        else:
            self.partial.fail(document, reason)

    def _revisions(self) -> list[str]:
        path = self.partial.folder / "kubernetes" / "mutatingwebhookconfigurations.json"
        if not path.exists():
            return []
        items = json.loads(path.read_bytes()).get("items") or []
        found = {((i.get("metadata") or {}).get("labels") or {}).get("istio.io/rev", "") for i in items}
        return sorted(found - {"", "default"})


class _ListWriter:
    """One List while it is written."""

    def __init__(self, stream: DocumentStream, kind: Resource) -> None:
        self._stream, self._kind = stream, kind
        self.count, self._begun = 0, False

    def write(self, version: str, items: Sequence[bytes]) -> None:
        """Add the items of a page."""
        self._begin(version)
        if items:
            self._stream.write((b",\n" if self.count else b"") + b",\n".join(items))
            self.count += len(items)

    def mark(self) -> tuple[int, bool, Mark]:
        """How far it is."""
        return self.count, self._begun, self._stream.mark()

    def rewind(self, mark: tuple[int, bool, Mark]) -> None:
        """Take back all that was added since."""
        self.count, self._begun, place = mark
        self._stream.rewind(place)

    def close(self) -> None:
        """End the List."""
        self._begin("")
        self._stream.write(b"\n]}\n")

    def _begin(self, version: str) -> None:
        if not self._begun:
            self._begun = True
            head = {"apiVersion": version or "v1", "kind": f"{self._kind.kind}List"}
            self._stream.write(json.dumps(head)[:-1].encode() + b', "items": [\n')


def _document(kind: Resource) -> Document:
    return Document(kind.document, "kubernetes", obtained=f"list {kind.plural}")


def _split(page: bytes) -> tuple[str, list[bytes]]:
    """API version and the raw items of a List."""
    decoded = msgspec.json.decode(page, type=_Items)
    return decoded.apiVersion, [bytes(item) for item in decoded.items or ()]
