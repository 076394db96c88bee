"""Times as Kubernetes writes them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any


def timestamp(value: Any) -> datetime | None:
    """A time of Kubernetes (RFC 3339) in UTC; YAML gives it parsed already. What is no time is missing.

    Example:
        >>> timestamp("2026-11-23T08:36:16+01:00").isoformat(), timestamp("yesterday")
        ('2026-11-23T07:36:16+00:00', None)
    """
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            return None
    if not isinstance(value, datetime):
        return None
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
