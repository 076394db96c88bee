"""Tables of a `Mesh` from Envoy's admin interface."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from meshnb.runbook.base import MeshBase, Needs


class EnvoyTables(MeshBase):
    """Listeners, routes, clusters, endpoints and secrets of every proxy."""

    TABLES: ClassVar[Mapping[str, Needs]] = {}
