"""What a comparison says: `None` for a match, a `Miss` with the reason, or `Unknown` with what is not known.

Both are strings, so that a reason is made once, where the comparison is made, and shown as it is.
"""

from __future__ import annotations


class Miss(str):
    """Does not match, because."""

    __slots__ = ()


class Unknown(str):
    """Cannot be decided here, because."""

    __slots__ = ()


Verdict = Miss | Unknown | None
