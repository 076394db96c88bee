"""Tables of a `Mesh` from Kubernetes and Istio objects."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from meshnb.runbook.base import MeshBase, Needs


class ObjectTables(MeshBase):
    """Pods, services and the objects of Istio."""

    TABLES: ClassVar[Mapping[str, Needs]] = {}
