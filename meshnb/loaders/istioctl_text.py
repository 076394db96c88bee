"""Aligned text as istioctl writes it, and the rules its tables share."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

T = TypeVar("T")
_INTEGER = re.compile(r"[+-]?[0-9]+")
_NETWORKING = "/apis/networking.istio.io/"


def aligned(header: Sequence[str], rows: Iterable[Sequence[object]], *, padding: int = 5) -> str:
    """Rows under a header, columns padded by spaces; the last one is not.

    Example:
        >>> print(aligned(["NAME", "TYPE"], [["a", 1]], padding=1), end="")
        NAME TYPE
        a    1
    """
    lines = [[str(cell) for cell in row] for row in (header, *rows)]
    widths = [max(map(len, column)) + padding for column in zip(*lines, strict=True)]
    widths[-1] = 0
    return "".join(
        "".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + "\n" for line in lines
    )


def cluster_parts(name: str) -> tuple[str, int, str, str] | None:
    """Direction, port, subset and host as istioctl cuts them; `None` for a name it prints whole."""
    if len(name.split("|")) < 4:
        return None
    direction, port, subset, host = name.split("|", 3)
    return direction, int(port) if _INTEGER.fullmatch(port) else 0, subset, "" if "|" in host else host


def cluster_key(name: str) -> tuple[str, str, int, str]:
    """What istioctl sorts clusters by."""
    direction, port, subset, host = cluster_parts(name) or ("", 0, "", name)
    return host, subset, port, direction


def object_text(path: str | None) -> str:
    """The Istio object of a metadata path as `NAME.NAMESPACE`, in istioctl's way: whatever its kind is."""
    if not path:
        return ""
    if not path.startswith(_NETWORKING):
        return "<unknown>"
    pieces = path.split("/")
    return f"{pieces[7]}.{pieces[5]}" if len(pieces) == 8 else ""


def domains_text(domains: Sequence[str]) -> str:
    """The domains of a virtual host, shortened as istioctl does.

    Example:
        >>> domains_text(["a", "a:80", "a.b", "a.b.svc", "a.b.svc.cluster.local"])
        'a, a.b'
        >>> domains_text(["x", "y", "z"])
        'x, y + 1 more...'
    """
    if len(domains) < 2:
        return "".join(domains)
    kept = [d for d in domains if ":" not in d or (d.count(":") > 2 and d.endswith("]"))]
    names = set(kept)
    kept = [d for d in kept if not any(d.endswith(end) and d.removesuffix(end) in names for end in _ENDS)]
    more = f" + {len(kept) - 2} more..." if len(kept) > 2 else ""
    return ", ".join(kept[:2]) + more


_ENDS = (".svc.cluster.local", ".svc")


def insertion_sorted(items: Iterable[T], less: Callable[[T, T], bool]) -> list[T]:
    """Sorted by an order that need not be consistent, in the way Go sorts up to a dozen items."""
    done: list[T] = []
    for item in items:
        at = len(done)
        while at and less(item, done[at - 1]):
            at -= 1
        done.insert(at, item)
    return done


def numeric_less(a: str, b: str) -> bool:
    """Whether a name goes before another: only if both are numbers."""
    return bool(_INTEGER.fullmatch(a) and _INTEGER.fullmatch(b)) and int(a) < int(b)
