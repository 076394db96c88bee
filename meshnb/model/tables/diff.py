"""The table of differences between two config dumps."""

from __future__ import annotations

from meshnb.model.frame import Column, Frame

DIFF = Frame(
    "diff",
    "One row per difference; no row if the dumps mean the same.",
    (
        Column("kind", "string", "listeners, routes, clusters, endpoints, secrets or ecds.", nullable=False),
        Column("resource", "string", "Name of the resource.", nullable=False),
        Column("path", "string", "Where in it, in proto3 JSON names; empty for the whole resource.", nullable=False),
        Column(
            "change", "string", "added, removed, changed, or moved (in a list whose order matters).", nullable=False
        ),
        Column("before", "json", "Value in the first dump; for a move the place in the list."),
        Column("after", "json", "Value in the second dump; for a move the place in the list."),
        Column("object", "string", "Istio object it is of, KIND NAME.NAMESPACE; missing if none is told."),
        Column("object_kind", "string", "VirtualService, DestinationRule, ServiceEntry, Service …"),
        Column("object_name", "string", "Name of it."),
        Column("object_namespace", "string", "Namespace of it."),
        Column("config", "string", "Path of it in the metadata."),
    ),
)
