"""Tables: the first rows of a frame, readable anywhere; and small lists of facts."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import TYPE_CHECKING, Any

from meshnb.errors import UsageError
from meshnb.views.style import html_table, page, text_of, text_table

if TYPE_CHECKING:
    import pandas as pd

SOURCE_MEDIA = "application/vnd.meshnb.source+json"
"""Media type under which an executed notebook records what was looked at."""


class Table:
    """A frame as a notebook shows it. Made by `table`.

    Args:
        df: the frame; `.df` gives all of it back.
        title: what the rows are.
        limit: number of rows shown.
    """

    def __init__(self, df: pd.DataFrame, *, title: str = "", limit: int = 20) -> None:
        if limit < 1:
            raise UsageError(f"limit is {limit}", hint="show at least one row")
        self.df = df
        self.title = title
        self.limit = limit

    def __len__(self) -> int:
        return len(self.df)

    def __repr__(self) -> str:
        return f"<Table {self.title or 'of'}: {self._count()}>"

    def _count(self) -> str:
        rows = len(self.df)
        if rows > self.limit:
            return f"{self.limit:,} of {rows:,} rows, .df for all"
        return "1 row" if rows == 1 else f"{rows:,} rows"

    def _shown(self) -> tuple[list[str], list[list[Any]]]:
        df = self.df.head(self.limit)
        if any(name is not None for name in df.index.names):
            df = df.reset_index()
        columns = [df.iloc[:, i].tolist() for i in range(df.shape[1])]
        return [str(name) for name in df.columns], [list(row) for row in zip(*columns, strict=True)]

    def html(self) -> str:
        """The table alone."""
        caption = f'<b>{escape(self.title)}</b><span class="dim">{self._count()}</span>'
        return html_table(*self._shown(), caption=caption)

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, Any]:
        title = f"{self.title}\n" if self.title else ""
        return {
            "text/plain": f"{title}{text_table(*self._shown())}\n{self._count()}",
            "text/html": page(self.html()),
        }


class Facts:
    """A few names with their values. Made by `facts`.

    Args:
        facts: names and values, in order.
        title: what they are about.
        source: whether they say what was looked at; a report then shows them at its top.
    """

    def __init__(self, facts: Mapping[str, Any], *, title: str = "", source: bool = False) -> None:
        self.facts = dict(facts)
        self.title = title
        self.source = source

    def __repr__(self) -> str:
        width = max(map(len, self.facts), default=0)
        lines = [f"{name:<{width}}  {text_of(value)}" for name, value in self.facts.items()]
        return "\n".join([self.title, *lines] if self.title else lines)

    def html(self) -> str:
        """The table alone."""
        rows = "".join(
            f'<tr><th scope="row">{escape(name)}</th><td>{escape(text_of(value))}</td></tr>'
            for name, value in self.facts.items()
        )
        caption = f"<caption><b>{escape(self.title)}</b></caption>" if self.title else ""
        return f'<div class="scroll"><table class="facts">{caption}<tbody>{rows}</tbody></table></div>'

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, Any]:
        bundle: dict[str, Any] = {"text/plain": repr(self), "text/html": page(self.html())}
        if self.source:
            # pairs, as notebooks are stored with sorted keys
            pairs = [[name, text_of(value)] for name, value in self.facts.items()]
            bundle[SOURCE_MEDIA] = {"version": 1, "facts": pairs}
        return bundle


def table(df: pd.DataFrame, *, title: str = "", limit: int = 20) -> Table:
    """Show the first rows of a frame.

    Args:
        df: the frame; a named index is shown as columns, an unnamed one is not.
        title: what the rows are.
        limit: number of rows shown; how many there are is said, and `.df` has them all.

    Returns:
        The view; displays as HTML or text.

    Raises:
        UsageError: `limit` is below one.

    Example:
        >>> import pandas as pd
        >>> table(pd.DataFrame({"pod": ["a", "b", "c"]}), title="Pods", limit=2)
        <Table Pods: 2 of 3 rows, .df for all>
    """
    return Table(df, title=title, limit=limit)


def facts(facts: Mapping[str, Any], *, title: str = "", source: bool = False) -> Facts:
    """Show a few names with their values.

    Args:
        facts: names and values, in order.
        title: what they are about.
        source: whether they say what was looked at (snapshot, time, versions); a report then shows them at its top.

    Example:
        >>> facts({"Source": "demo", "Proxies": 5})
        Source   demo
        Proxies  5
    """
    return Facts(facts, title=title, source=source)
