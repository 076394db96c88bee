"""Questions to an access log: Ibis expressions that any engine runs, stored as SQL for DuckDB.

To import Ibis and compile what the causes ask takes longer than to read a gigabyte of log. So `scripts/make_sql.py`
writes each question once as DuckDB's SQL, and only other engines, and questions of one's own, need Ibis.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from meshnb.model.tables.logs import ACCESS_LOG, FAILED_REQUESTS

if TYPE_CHECKING:
    import ibis.expr.types as ir

STORED = Path(__file__).parent / "compiled"
COLUMNS = (
    "proxy", "start_time", "method", "path", "response_code", "flag_set", "response_code_details",
    "upstream_transport_failure_reason", "duration_ms", "user_agent", "request_id", "authority", "upstream_host",
    "upstream_cluster", "upstream_local_address", "downstream_local_address", "downstream_remote_address",
    "requested_server_name", "route_name", "file", "line",
)  # fmt: skip
"""Columns of the access log that questions look at."""
QUESTIONS: dict[str, Question] = {}
_IBIS = {"string": "string", "int64": "int64", "float64": "float64", "bool": "boolean", "timestamp": "timestamp(6)"}
_LENT = {
    "said_by": {
        "response_code": "int64", "flag_set": "string", "response_code_details": "string",
        "upstream_transport_failure_reason": "string", "slow": "boolean", "said": "int64", "cause": "string",
        "rank": "int64",
    },
    "verdicts": {
        "said": "int64", "upstream_cluster": "string", "upstream_host": "string", "about": "string",
        "waited_ms": "int64", "turned_away": "boolean", "port_turns_away": "boolean", "used_before": "boolean",
        "by_server": "boolean", "late_connect": "boolean", "near_end": "boolean", "by_proxy": "boolean",
        "cause": "string", "confidence": "float64", "why": "string", "ended_by": "string", "fqdn": "string",
    },
    "affected": {"of": "string", "of_group": "int64"},
    "asked_paths": {"of_host": "string", "of_path": "string"},
    "asked_ids": {"of": "string"},
}  # fmt: skip
"""Tables that are made here and lent to the engine: column -> Ibis' type."""


@dataclass(frozen=True)
class Question:
    """A function of tables that gives an expression; called, it does.

    Args:
        name: its name.
        expression: the function.
        tables: what its tables are: `log`, `failed`, one of those lent, or the answer to another question.
        numbers: names of its parameters that are numbers.
        switches: names of those that are true or false.
    """

    name: str
    expression: Callable[..., ir.Table]
    tables: tuple[str, ...]
    numbers: tuple[str, ...] = ()
    switches: tuple[str, ...] = ()

    def __call__(self, *tables: Any, **values: Any) -> ir.Table:
        """The expression over tables of an engine."""
        return self.expression(*tables, **values)

    def sql(self, tables: Sequence[str], **values: float | bool) -> str:
        """DuckDB's SQL.

        Args:
            tables: names of the tables.
            values: numbers and switches.
        """
        text = stored(self, frozenset(name for name in self.switches if values[name]))
        for kind, table in zip(self.tables, tables, strict=True):
            text = text.replace(f'"{_placeholder(kind)}"', f'"{table}"')
        for name in self.numbers:
            text = text.replace(_mark(self, name), repr(float(values[name])))
        return text

    def compiled(self, on: frozenset[str] = frozenset()) -> str:
        """DuckDB's SQL, with placeholders, made anew by Ibis.

        Args:
            on: switches that are on.
        """
        import ibis

        return str(ibis.to_sql(self._unbound(on), dialect="duckdb", pretty=False))

    def variants(self) -> Iterator[tuple[str, frozenset[str]]]:
        """Each combination of switches, with the name of its file."""
        for size in range(len(self.switches) + 1):
            for on in itertools.combinations(self.switches, size):
                yield "-".join((self.name, *on)) + ".sql", frozenset(on)

    def _unbound(self, on: frozenset[str]) -> ir.Table:
        import ibis

        tables = [ibis.table(_schema(kind), name=_placeholder(kind)) for kind in self.tables]
        numbers = {name: float(_mark(self, name)) for name in self.numbers}
        return self.expression(*tables, **numbers, **{name: name in on for name in self.switches})


def question(
    *tables: str, numbers: Sequence[str] = (), switches: Sequence[str] = ()
) -> Callable[[Callable[..., ir.Table]], Question]:
    """Make a function of tables a `Question`; its arguments are those of the class."""

    def decorate(expression: Callable[..., ir.Table]) -> Question:
        name = expression.__name__
        known = QUESTIONS.get(name)
        if known is not None and known.expression.__module__ != expression.__module__:
            raise ValueError(f"{known.expression.__module__} has a question {name} already, and its SQL that file name")
        QUESTIONS[name] = Question(name, expression, tables, tuple(numbers), tuple(switches))
        return QUESTIONS[name]

    return decorate


@cache
def stored(asked: Question, on: frozenset[str]) -> str:
    """The stored SQL of a question, with placeholders for tables and numbers.

    Args:
        asked: the question.
        on: switches that are on.
    """
    return next((STORED / file).read_text(encoding="utf-8") for file, which in asked.variants() if which == on)


def _placeholder(kind: str) -> str:
    return f"{kind}_here"


def _mark(asked: Question, name: str) -> str:
    """The number that stands for another one in the stored SQL."""
    return f"{7_770_001 + asked.numbers.index(name)}.0"


def _schema(kind: str) -> Any:
    """Ibis' schema of a table by its kind."""
    import ibis

    if kind == "log":
        return ibis.schema({name: _IBIS[ACCESS_LOG.column(name).dtype] for name in COLUMNS})
    if kind == "failed":
        return ibis.schema({column.name: _IBIS[column.dtype] for column in FAILED_REQUESTS.columns})
    if kind in _LENT:
        return ibis.schema(_LENT[kind])
    return QUESTIONS[kind]._unbound(frozenset()).schema()
