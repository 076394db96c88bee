"""Runbooks as a table."""

from __future__ import annotations

from meshnb.model.frame import Column, Frame

RUNBOOKS = Frame(
    "runbooks",
    "One row per runbook, by name.",
    (
        Column("name", "string", "What to give to `meshnb run`.", nullable=False),
        Column("title", "string", "Its title.", nullable=False),
        Column("about", "string", "When to use it: its first paragraph."),
        Column("parameters", "list<string>", "Names of its parameters.", nullable=False),
        Column("path", "string", "Where the notebook lies.", nullable=False),
    ),
    key=("name",),
)
