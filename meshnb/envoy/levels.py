"""Log levels of Envoy's loggers, which are not those of istiod's scopes."""

from __future__ import annotations

import difflib

from meshnb.errors import UsageError

LEVELS = ("trace", "debug", "info", "warning", "error", "critical", "off")
"""Levels of Envoy, most talkative first."""

_ALIASES = {"warn": "warning", "err": "error"}


def parse_level(text: str) -> str:
    """A level of Envoy's loggers.

    Raises:
        UsageError: no such level; `none` is istiod's word for `off`.

    Example:
        >>> parse_level("WARN")
        'warning'
    """
    level = _ALIASES.get(text.strip().lower(), text.strip().lower())
    if level in LEVELS:
        return level
    if level == "none":
        raise UsageError("Envoy has no level 'none'", hint="off; `none` belongs to istiod's scopes")
    near = difflib.get_close_matches(level, LEVELS, n=1)
    raise UsageError(
        f"Envoy has no level {text!r}", hint=f"did you mean {near[0]}?" if near else f"levels: {', '.join(LEVELS)}"
    )


def parse_levels(text: str) -> dict[str, str]:
    """Levels as `istioctl proxy-config log --level` takes them: one for all, or `LOGGER:LEVEL,…`.

    Raises:
        UsageError: not a level, or a logger without one.

    Example:
        >>> parse_levels("http:debug,router:debug")
        {'http': 'debug', 'router': 'debug'}
        >>> parse_levels("warning")
        {'': 'warning'}
    """
    levels: dict[str, str] = {}
    for part in text.split(","):
        logger, separator, level = part.strip().partition(":")
        if not separator:
            logger, level = "", logger
        elif not logger:
            raise UsageError(f"{part!r} names no logger", hint="write it like http:debug,router:debug")
        levels[logger] = parse_level(level)
    return levels
