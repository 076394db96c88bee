"""Investigate an Istio/Envoy service mesh from Jupyter.

    >>> import meshnb
    >>> mesh = meshnb.open("demo")
    >>> sorted(mesh.clusters().subset.dropna().unique())
    ['version-v1', 'version-v2']

Every public name is imported on first use, so ``import meshnb`` costs nothing and loads no pandas.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from meshnb.loaders.access_log import read_access_log as read_access_log
    from meshnb.loaders.access_log import scan_access_log as scan_access_log
    from meshnb.loaders.access_log_print import to_log_lines as to_log_lines
    from meshnb.loaders.clusters_admin import read_clusters_admin as read_clusters_admin
    from meshnb.loaders.config_dump import read_config_dump as read_config_dump
    from meshnb.loaders.debug_log import read_debug_log as read_debug_log
    from meshnb.loaders.diff import diff as diff
    from meshnb.loaders.pcap import read_pcap as read_pcap
    from meshnb.loaders.proxy_status_text import read_sync_status as read_sync_status
    from meshnb.loaders.ztunnel import read_ztunnel_dump as read_ztunnel_dump
    from meshnb.model.finding import Finding as Finding
    from meshnb.model.finding import Findings as Findings
    from meshnb.model.finding import Severity as Severity
    from meshnb.model.finding import Status as Status
    from meshnb.model.finding import Subject as Subject
    from meshnb.model.frame import Column as Column
    from meshnb.model.frame import Frame as Frame
    from meshnb.model.window import Window as Window
    from meshnb.runbook.form import form as form
    from meshnb.runbook.library import runbooks as runbooks
    from meshnb.runbook.live import connect as connect
    from meshnb.runbook.mesh import Mesh as Mesh
    from meshnb.runbook.mesh import open as open
    from meshnb.runbook.prometheus import Prometheus as Prometheus
    from meshnb.sources.snapshot import Snapshot as Snapshot

# public name -> module that defines it (PEP 562)
_PUBLIC = {
    "Column": "meshnb.model.frame",
    "Finding": "meshnb.model.finding",
    "Findings": "meshnb.model.finding",
    "Frame": "meshnb.model.frame",
    "Mesh": "meshnb.runbook.mesh",
    "Prometheus": "meshnb.runbook.prometheus",
    "Severity": "meshnb.model.finding",
    "Snapshot": "meshnb.sources.snapshot",
    "Status": "meshnb.model.finding",
    "Subject": "meshnb.model.finding",
    "Window": "meshnb.model.window",
    "connect": "meshnb.runbook.live",
    "diff": "meshnb.loaders.diff",
    "form": "meshnb.runbook.form",
    "open": "meshnb.runbook.mesh",
    "read_access_log": "meshnb.loaders.access_log",
    "read_clusters_admin": "meshnb.loaders.clusters_admin",
    "read_config_dump": "meshnb.loaders.config_dump",
    "read_debug_log": "meshnb.loaders.debug_log",
    "read_pcap": "meshnb.loaders.pcap",
    "read_ztunnel_dump": "meshnb.loaders.ztunnel",
    "read_sync_status": "meshnb.loaders.proxy_status_text",
    "runbooks": "meshnb.runbook.library",
    "scan_access_log": "meshnb.loaders.access_log",
    "to_log_lines": "meshnb.loaders.access_log_print",
}

__all__ = [*sorted(_PUBLIC), "__version__", "errors", "tuning", "views"]


def __getattr__(name: str) -> object:
    """Import a public name on first use."""
    if name in _PUBLIC:
        value = getattr(import_module(_PUBLIC[name]), name)
        globals()[name] = value
        return value
    if name in ("errors", "tuning", "views"):
        return import_module(f"meshnb.{name}")
    raise AttributeError(f"module 'meshnb' has no attribute {name!r}; public names: {', '.join(sorted(_PUBLIC))}")


def __dir__() -> list[str]:
    return sorted(__all__)
