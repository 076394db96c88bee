"""What the HTTP connection manager does to a path before routes are matched."""

from __future__ import annotations

import re

_UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.~")
_ESCAPED = frozenset(b' "#<>?\\^`{|}') | frozenset(range(0x21)) | frozenset(range(0x7F, 0x100))
_DOTS_WITH_PARAMETERS = re.compile(r"^(\.\.?);.*", re.DOTALL)
_HEX = re.compile(rb"%([0-9A-Fa-f]{2})")


def without_query(path: str) -> str:
    """The path up to `?` or `#`.

    Example:
        >>> without_query("/items?page=2")
        '/items'
    """
    for i, char in enumerate(path):
        if char in "?#":
            return path[:i]
    return path


def without_parameters(path: str) -> str:
    """A path without query, and without the `;parameters` of its segments.

    Example:
        >>> without_parameters("/a;v=1/b;c")
        '/a/b'
    """
    return "/".join(segment.partition(";")[0] for segment in path.split("/"))


def unescape_slashes(path: str) -> str:
    """`%2F` and `%5C` before the query as the characters they stand for.

    Example:
        >>> unescape_slashes("/a%2fb?c=%2f")
        '/a/b?c=%2f'
    """
    before, mark, query = path.partition("?")
    before = re.sub("%2[fF]", "/", before)
    return re.sub("%5[cC]", lambda _: "\\", before) + mark + query


def merge_slashes(path: str) -> str:
    """Runs of slashes before the query as one; a path of slashes only becomes `//`, as in Envoy.

    Example:
        >>> merge_slashes("//a///b/?c=//")
        '/a/b/?c=//'
    """
    before, mark, query = path.partition("?")
    if "//" not in before:
        return path
    inner = "/".join(part for part in before.split("/") if part)
    first = "/" if before.startswith("/") else ""
    last = "/" if before.endswith("/") else ""
    return first + inner + last + mark + query


def normalize(path: str, *, dots_with_parameters: bool = True) -> str | None:
    r"""RFC 3986 normalization before the query; `None` if the path cannot be normalized.

    Dot segments are removed, unreserved characters unescaped, `\` becomes `/`.

    Example:
        >>> normalize("/a/./b/../%41?c=..")
        '/a/A?c=..'
    """
    before, mark, query = path.partition("?")
    if dots_with_parameters and "/." in before and ";" in before:
        # Parameters do not hide a dot segment: /..;x/ is /../. An escaped dot with parameters stays.
        before = "/".join(_DOTS_WITH_PARAMETERS.sub(r"\1", segment) for segment in before.split("/"))
    plain = _canonical_characters(before.encode("utf-8", "surrogateescape"))
    if plain is None:
        return None
    out: list[str] = []
    segments = plain.split("/")
    for i, segment in enumerate(segments[1:], 1):
        last = i == len(segments) - 1
        if segment in (".", ".."):
            if segment == ".." and out:
                out.pop()
            if last:
                out.append("")
        else:
            out.append(segment)
    return "/" + "/".join(out) + mark + query


def _canonical_characters(path: bytes) -> str | None:
    out, i = [], 0
    while i < len(path):
        byte = path[i]
        if byte == 0x25:
            match = _HEX.match(path, i)
            if match is None:
                out.append("%")
                i += 1
                continue
            code = int(match[1], 16)
            if code == 0:
                return None
            out.append(chr(code) if code in _UNRESERVED else match[0].decode())
            i += 3
            continue
        if byte == 0:
            return None
        out.append("/" if byte == 0x5C else f"%{byte:02X}" if byte in _ESCAPED else chr(byte))
        i += 1
    return "".join(out)
