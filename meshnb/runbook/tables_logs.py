"""Tables of a `Mesh` from access logs and debug logs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from meshnb.runbook.base import MeshBase, Needs


class LogTables(MeshBase):
    """What the proxies logged."""

    TABLES: ClassVar[Mapping[str, Needs]] = {}
