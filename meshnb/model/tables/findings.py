"""Findings as a table."""

from __future__ import annotations

from meshnb.model.frame import Column, Frame

FINDINGS = Frame(
    "findings",
    "One row per finding, worst first.",
    (
        Column("code", "string", "Code of the check, never reused.", nullable=False),
        Column("status", "string", "fail, pass or unknown.", nullable=False),
        Column("severity", "string", "info, warning or error.", nullable=False),
        Column("kind", "string", "Kind of the subject.", nullable=False),
        Column("namespace", "string", "Namespace of the subject."),
        Column("name", "string", "Name of the subject."),
        Column("summary", "string", "One sentence.", nullable=False),
        Column("cause", "string", "Why it happens."),
        Column("share", "float64", "Share of the requests looked at that it explains.", unit="0 to 1"),
        Column("confidence", "float64", "How sure the check is of the cause.", unit="0 to 1", nullable=False),
        Column("fix", "string", "YAML or command that repairs it."),
        Column("verify", "string", "Command that shows it is repaired."),
    ),
    key=("code", "kind", "namespace", "name"),
)
