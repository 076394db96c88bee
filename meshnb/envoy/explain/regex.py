"""RE2, as Envoy uses it. Without the binding the answer is "undecided": Python's `re` reads the same text differently.

Envoy matches regular expressions against the whole value, on UTF-8 bytes.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from meshnb.envoy.explain.verdict import Unknown
from meshnb.errors import FormatError

NEEDS_RE2 = Unknown("regular expressions need RE2: pip install 'meshnb[explain]'")


@lru_cache(maxsize=1)
def _engine() -> Any:
    try:
        import re2
    except ImportError:
        return None
    return re2


@lru_cache(maxsize=8192)
def _compile(pattern: str) -> Any:
    engine = _engine()
    if engine is None:
        return None
    options = engine.Options()
    options.log_errors = False
    try:
        return engine.compile(pattern.encode("utf-8", "surrogateescape"), options=options)
    except engine.error as error:
        raise FormatError(f"not a regular expression of RE2: {pattern[:80]!r}", position="safe_regex") from error


def full_match(pattern: str, value: str) -> bool | Unknown:
    """Whether RE2 matches the whole value; undecided without the binding.

    Example:
        >>> full_match("/items/[0-9]+", "/items/7")
        True
        >>> full_match("items", "/items/7")
        False
    """
    compiled = _compile(pattern)
    if compiled is None:
        return NEEDS_RE2
    return compiled.fullmatch(value.encode("utf-8", "surrogateescape")) is not None


def replace_all(pattern: str, substitution: str, value: str) -> str | Unknown:
    r"""RE2's GlobalReplace: every match, left to right, replaced; `\0` to `\9` stand for the groups.

    Example:
        >>> replace_all("^/v([0-9]+)/", r"/api/\1/", "/v2/items")
        '/api/2/items'
    """
    compiled = _compile(pattern)
    if compiled is None:
        return NEEDS_RE2
    text = value.encode("utf-8", "surrogateescape")
    out, done, last_end = [], 0, -1
    for match in compiled.finditer(text):
        start, end = match.span()
        # RE2 does not replace an empty match that touches the match before it.
        if start == end == last_end:
            continue
        out.append(text[done:start])
        out.append(_rewrite(substitution.encode(), match))
        done = last_end = end
    out.append(text[done:])
    return b"".join(out).decode("utf-8", "surrogateescape")


def _rewrite(substitution: bytes, match: Any) -> bytes:
    out, i = [], 0
    while i < len(substitution):
        char = substitution[i : i + 1]
        if char == b"\\" and i + 1 < len(substitution):
            after = substitution[i + 1 : i + 2]
            out.append((match.group(int(after)) or b"") if after.isdigit() else after)
            i += 2
        else:
            out.append(char)
            i += 1
    return b"".join(out)
