"""Tables of what `istioctl analyze` says."""

from __future__ import annotations

from meshnb.model.frame import Column, Frame

ANALYSIS = Frame(
    "analysis",
    "One row per message of `istioctl analyze`.",
    (
        Column("code", "string", "IST code.", nullable=False),
        Column("name", "string", "Name of the message; missing if meshnb does not know the code."),
        Column("level", "string", "error, warning or info.", nullable=False),
        Column("cluster", "string", "Cluster, where several were analysed."),
        Column("kind", "string", "Kind of the object."),
        Column("namespace", "string", "Its namespace."),
        Column("object", "string", "Its name."),
        Column("file", "string", "File it was read from."),
        Column("line", "int64", "Line in it."),
        Column("message", "string", "istioctl's words.", nullable=False),
        Column("meaning", "string", "What it means."),
        Column("fix", "string", "What to do."),
    ),
)

ANALYZERS = Frame(
    "analyzers",
    "One row per analyzer a run of `istioctl analyze` names.",
    (
        Column("analyzer", "string", "Name.", nullable=False),
        Column("state", "string", "executed, skipped, or listed (known to istioctl).", nullable=False),
        Column("description", "string", "What it looks at."),
    ),
    key=("analyzer",),
)

DESCRIBED = Frame(
    "described",
    "One row per fact `istioctl x describe` prints.",
    (
        Column(
            "section",
            "string",
            "Pod, Service, DestinationRule, VirtualService, Ingress, PeerAuthentication …",
            nullable=False,
        ),
        Column("name", "string", "Object the fact is about."),
        Column(
            "fact",
            "string",
            "What is said: `port`, `matching subsets`, `weight`, `mode`, `warning`, `text`.",
            nullable=False,
        ),
        Column("value", "string", "Its value, in istioctl's words.", nullable=False),
    ),
)
