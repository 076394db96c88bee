"""Tables of a `Mesh` from istiod and Prometheus."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from meshnb.runbook.base import MeshBase, Needs


class ControlPlaneTables(MeshBase):
    """What the control plane says of itself."""

    TABLES: ClassVar[Mapping[str, Needs]] = {}
