"""What a snapshot holds: `manifest.json` beside the raw documents.

Layout of a snapshot folder, and the `kind` of each document:

    manifest.json
    envoy/POD.NAMESPACE/config_dump.json     config_dump      GET /config_dump?include_eds
    envoy/POD.NAMESPACE/clusters.json        clusters         GET /clusters?format=json
    envoy/POD.NAMESPACE/listeners.json       listeners        GET /listeners?format=json
    envoy/POD.NAMESPACE/server_info.json     server_info      GET /server_info
    envoy/POD.NAMESPACE/certs.json           certs            GET /certs
    envoy/POD.NAMESPACE/stats.prom           stats            GET /stats/prometheus
    envoy/POD.NAMESPACE/logging.txt          logging          POST /logging
    envoy/POD.NAMESPACE/ready.txt            ready            GET /ready
    logs/POD.NAMESPACE/istio-proxy.log       proxy_log        log of the proxy: access log and Envoy's own lines
    logs/POD.NAMESPACE/CONTAINER.log         container_log    log of another container
    kubernetes/RESOURCE.json                 kubernetes       a Kubernetes List (`pods`, `virtualservices` …)
    istiod/POD.NAMESPACE/debug/NAME.json     istiod_debug     GET /debug/NAME
    istiod/POD.NAMESPACE/metrics.prom        istiod_metrics   GET /metrics
    agent/POD.NAMESPACE/NAME                 agent            an answer of the agent's port 15020
    prometheus/NAME.json                     prometheus       recorded queries with their answers
    captures/POD.NAMESPACE/NAME.pcap         capture          packets
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from meshnb.errors import FormatError

FORMAT = 1
"""Number of the snapshot format; a snapshot of a newer one is refused."""

KINDS = (
    "config_dump",
    "clusters",
    "listeners",
    "server_info",
    "certs",
    "stats",
    "logging",
    "ready",
    "proxy_log",
    "container_log",
    "kubernetes",
    "istiod_debug",
    "istiod_metrics",
    "agent",
    "prometheus",
    "capture",
)


@dataclass(frozen=True, slots=True)
class Document:
    """One raw document of a snapshot.

    Args:
        path: where it lies, relative to the snapshot, with `/`.
        kind: one of `KINDS`.
        proxy: `POD.NAMESPACE` it comes from, empty if from none.
        obtained: request or command that gave it.
        error: why it is missing, empty if it is there.
        bytes: its size.
    """

    path: str
    kind: str
    proxy: str = ""
    obtained: str = ""
    error: str = ""
    bytes: int = 0


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a snapshot holds and how it was made.

    Args:
        created: time of the capture, UTC.
        cluster: name of the mesh's cluster; `lab` for the lab.
        source: what was captured, as the user named it.
        documents: what was obtained and what failed.
        versions: `meshnb`, `envoy`, `istio` … as far as known.
        command: command that made it.
        notes: anything a reader must know, one sentence each.
        redacted: how often each redaction rule struck.
        links: where Kiali, Grafana and Prometheus of the mesh are, as far as known.
        format: number of the snapshot format.
    """

    created: datetime
    cluster: str = ""
    source: str = ""
    documents: tuple[Document, ...] = ()
    versions: Mapping[str, str] = field(default_factory=dict)
    command: str = ""
    notes: tuple[str, ...] = ()
    redacted: Mapping[str, int] = field(default_factory=dict)
    links: Mapping[str, str] = field(default_factory=dict)
    format: int = FORMAT

    def __repr__(self) -> str:
        time = f"{self.created:%Y-%m-%d %H:%M} UTC"
        return f"<Manifest of {self.cluster or self.source}, {time}: {len(self.documents)} documents>"

    def to_json(self) -> str:
        """The manifest as it stands in `manifest.json`, a document in a line."""
        # neither asdict nor an indented dump of the whole: both are felt where there are ten thousands of documents
        data = {name: getattr(self, name) for name in self.__dataclass_fields__ if name != "documents"}
        data["created"] = self.created.isoformat()
        names = tuple(Document.__dataclass_fields__)
        encode = json.JSONEncoder(ensure_ascii=False).encode
        lines = ["\n  " + encode({name: getattr(document, name) for name in names}) for document in self.documents]
        head = json.dumps(data, indent=1, ensure_ascii=False).removesuffix("\n}")
        return f'{head},\n "documents": [{",".join(lines)}\n ]\n}}\n'

    @classmethod
    def from_json(cls, text: str | bytes, *, file: str | Path = "manifest.json") -> Manifest:
        """The manifest from `manifest.json`; fields added by later versions of the same format are ignored.

        Raises:
            FormatError: not a manifest, or of a newer format.
        """
        try:
            data: dict[str, Any] = json.loads(text)
            number = data["format"]
        except (ValueError, KeyError, TypeError) as error:
            raise FormatError(f"not a snapshot manifest: {error}", file=file) from error
        if not isinstance(number, int) or number > FORMAT:
            raise FormatError(
                f"snapshot format {number}; this meshnb reads up to {FORMAT}",
                file=file,
                hint="upgrade meshnb: pip install -U meshnb",
            )
        try:
            known = {name: data[name] for name in cls.__dataclass_fields__ if name in data}
            fields = Document.__dataclass_fields__
            known["documents"] = tuple(
                Document(**{name: d[name] for name in fields if name in d}) for d in known.get("documents", ())
            )
            known["created"] = datetime.fromisoformat(known["created"])
            known["notes"] = tuple(known.get("notes", ()))
            return cls(**known)
        except (KeyError, TypeError, ValueError) as error:
            raise FormatError(f"not a snapshot manifest: {error}", file=file) from error

    def with_document(self, document: Document) -> Manifest:
        """The manifest with one document more."""
        return replace(self, documents=(*self.documents, document))
