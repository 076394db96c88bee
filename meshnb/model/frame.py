"""The schema of one table: a `Frame` of `Column`s, declared once and used for docs, checks and error texts.

Frames hold Arrow-backed pandas dtypes throughout: missing values are `pd.NA` for every type, integers stay integers,
lists and UTC timestamps with microseconds are first class, and tables of a whole mesh concatenate without surprises.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from meshnb.errors import SchemaError, UsageError

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

F = TypeVar("F", bound=Callable[..., Any])

DTYPES = ("string", "int64", "float64", "bool", "timestamp", "list<string>", "json")
"""Types a column may have. `timestamp` is UTC with microseconds; `json` is JSON text kept as it came."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a `Frame`.

    Args:
        name: column name, with the unit in it where it would be ambiguous (`duration_ms`).
        dtype: one of `DTYPES`.
        meaning: one sentence, for the docs.
        unit: unit of the values, if they have one.
        nullable: whether a value may be missing.
    """

    name: str
    dtype: str
    meaning: str
    unit: str = ""
    nullable: bool = True

    def __post_init__(self) -> None:
        if self.dtype not in DTYPES:
            raise UsageError(f"column {self.name}: dtype {self.dtype!r} is none of {', '.join(DTYPES)}")

    @property
    def arrow_type(self) -> pa.DataType:
        """The Arrow type behind `dtype`."""
        import pyarrow as pa

        return {
            "string": pa.string(),
            "int64": pa.int64(),
            "float64": pa.float64(),
            "bool": pa.bool_(),
            "timestamp": pa.timestamp("us", tz="UTC"),
            "list<string>": pa.list_(pa.string()),
            "json": pa.string(),
        }[self.dtype]


@dataclass(frozen=True, slots=True)
class Frame:
    """The schema of one table.

    Args:
        name: name of the table, as in `mesh.table(name)` and `meshnb table NAME`.
        meaning: one sentence: what a row is.
        columns: the columns in order.
        key: names of the columns that together identify a row; empty if none do.

    Example:
        >>> pods = Frame("pods", "One row per pod.", (Column("pod", "string", "Pod name.", nullable=False),))
        >>> pods.build({"pod": ["catalog-v1"]}).pod.tolist()
        ['catalog-v1']
        >>> len(pods.empty())
        0
    """

    name: str
    meaning: str
    columns: tuple[Column, ...]
    key: tuple[str, ...] = ()

    @property
    def column_names(self) -> list[str]:
        """Names of the columns in order."""
        return [column.name for column in self.columns]

    def column(self, name: str) -> Column:
        """The column of that name.

        Raises:
            UsageError: there is none; names the nearest.
        """
        for column in self.columns:
            if column.name == name:
                return column
        near = difflib.get_close_matches(name, self.column_names, n=1)
        raise UsageError(
            f"table {self.name!r} has no column {name!r}",
            hint=f"did you mean {near[0]!r}?" if near else f"columns: {', '.join(self.column_names)}",
        )

    def empty(self) -> pd.DataFrame:
        """A frame of no rows with all columns."""
        return self.build({name: [] for name in self.column_names})

    def build(self, columns: Mapping[str, Sequence[Any]]) -> pd.DataFrame:
        """Make the table from one list a column; a nullable column left out is all missing.

        Args:
            columns: equally long lists of Python values, `None` for missing.

        Raises:
            SchemaError: unknown column, missing column, unequal lengths, or a value of the wrong type.
        """
        return to_pandas(self.arrow(columns))

    def arrow(self, columns: Mapping[str, Sequence[Any]]) -> pa.Table:
        """The same as `build`, as an Arrow table: what many parts are put together from."""
        import pyarrow as pa

        unknown = set(columns) - set(self.column_names)
        if unknown:
            raise SchemaError(f"table {self.name!r} has no column {', '.join(sorted(unknown))}")
        length = len(next(iter(columns.values()), []))
        arrays = []
        for column in self.columns:
            values = columns.get(column.name)
            if values is None:
                if not column.nullable:
                    raise SchemaError(f"table {self.name!r} needs the column {column.name!r}")
                values = [None] * length
            try:
                arrays.append(pa.array(values, column.arrow_type))
            except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
                raise SchemaError(f"table {self.name!r}, column {column.name!r}: {error}") from error
        lengths = {len(array) for array in arrays}
        if len(lengths) > 1:
            raise SchemaError(f"table {self.name!r}: columns of unequal length {sorted(lengths)}")
        return pa.table(arrays, names=self.column_names)

    def rows(self, rows: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
        """Make the table from one mapping a row; for small tables, `build` is faster."""
        rows = list(rows)
        unknown = {name for row in rows for name in row} - set(self.column_names)
        if unknown:
            raise SchemaError(f"table {self.name!r} has no column {', '.join(sorted(unknown))}")
        return self.build({name: [row.get(name) for row in rows] for name in self.column_names})

    def conform(self, df: pd.DataFrame, *, extra: bool = False) -> pd.DataFrame:
        """The same rows with exactly these columns, in order and of the declared types.

        Args:
            df: any frame that has the columns.
            extra: keep other columns, after the declared ones.

        Raises:
            SchemaError: a column that must not be missing is missing, or a value does not convert.
        """
        import pyarrow as pa

        others = [name for name in df.columns if name not in self.column_names]
        if others and not extra:
            raise SchemaError(f"table {self.name!r} has no column {', '.join(map(str, others))}")
        arrays = []
        for column in self.columns:
            if column.name not in df.columns:
                if not column.nullable:
                    raise SchemaError(f"table {self.name!r} needs the column {column.name!r}")
                arrays.append(pa.nulls(len(df), column.arrow_type))
                continue
            try:
                array = pa.array(df[column.name], from_pandas=True)
                array = array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array
                arrays.append(array.cast(column.arrow_type))
            except (pa.ArrowException, TypeError, ValueError) as error:
                raise SchemaError(f"table {self.name!r}, column {column.name!r}: {error}") from error
        result = to_pandas(pa.table(arrays, names=self.column_names))
        for name in others:
            result[name] = df[name].to_numpy() if df[name].dtype == object else df[name].reset_index(drop=True)
        return result

    def markdown(self) -> str:
        """The columns as a Markdown table, for docs and docstrings."""
        lines = ["| column | type | unit | meaning |", "|---|---|---|---|"]
        for column in self.columns:
            dtype = column.dtype if column.nullable else f"{column.dtype}, never missing"
            lines.append(f"| {column.name} | {dtype} | {column.unit} | {column.meaning} |")
        return "\n".join(lines)

    def docstring(self) -> str:
        """The columns as an indented list, as appended to docstrings by `returns`."""
        width = max((len(column.name) for column in self.columns), default=0)
        lines = [f"{self.name}: {self.meaning}"]
        for column in self.columns:
            unit = f" [{column.unit}]" if column.unit else ""
            lines.append(f"    {column.name:<{width}}  {column.dtype}{unit}: {column.meaning}")
        return "\n".join(lines)


def returns(frame: Frame) -> Callable[[F], F]:
    """Append the columns of a frame to the docstring of the function that returns it."""

    def decorate(function: F) -> F:
        body = "\n".join(f"    {line}" for line in frame.docstring().splitlines())
        function.__doc__ = f"{(function.__doc__ or '').rstrip()}\n\nColumns:\n{body}\n"
        return function

    return decorate


def to_pandas(table: pa.Table) -> pd.DataFrame:
    """An Arrow table as a DataFrame of Arrow-backed dtypes, without a copy."""
    import pandas as pd

    df: pd.DataFrame = table.to_pandas(types_mapper=pd.ArrowDtype)
    return df
