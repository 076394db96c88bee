"""Access logs of Envoy as tables: Istio's JSON and TEXT, Envoy's default, and custom formats."""

# ruff: noqa: S608 - every value put into the SQL goes through quote() or name(), or is a name declared in a Frame

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from meshnb.errors import FormatError
from meshnb.loaders.access_log_document import as_lines
from meshnb.loaders.access_log_engine import run
from meshnb.loaders.access_log_format import JSON_KEYS, LogFormat, TextFormat, parse_log_format
from meshnb.loaders.access_log_lines import (
    Damage,
    LogFile,
    find_files,
    has_blank_lines,
    sampled_keys,
    without_copies,
)
from meshnb.loaders.access_log_native import clean_files
from meshnb.loaders.access_log_spill import copy_to, spill
from meshnb.loaders.access_log_sql import OTHER_REASONS, Plan, name
from meshnb.loaders.access_log_whole import MoreKeys, sifted_table, whole_table
from meshnb.model.frame import returns, to_pandas
from meshnb.model.tables.logs import ACCESS_LOG, SKIPPED_LINES

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

Paths = str | Path | LogFile | Iterable[str | Path | LogFile]


@returns(ACCESS_LOG)
def read_access_log(
    paths: Paths, *, columns: Sequence[str] | None = None, where: str = "", format: LogFormat | None = None
) -> pd.DataFrame:
    """Read access logs.

    Istio's JSON and TEXT and Envoy's default format are told apart line by line. Lines that are no access log (Envoy's
    and pilot-agent's own, or damaged ones) are counted in `.attrs["skipped"]`; `scan_access_log(paths).skipped` lists
    them. Keys and fields beyond Istio's become columns of their own at the end; keys are looked for in the first lines
    of a file and in a line of each further megabyte.

    Args:
        paths: files (plain, gzip, zstd), globs, folders, `-` for standard input, or several of them. Output of
            `kubectl logs`, also with `--prefix` and `--timestamps`. Of a JSON document with records in it, which a log
            store exports, `line` is the number of the record.
        columns: only these columns.
        where: only rows for which this SQL expression over the columns holds, for example `response_code >= 500`.
        format: a custom format: Envoy's format string, its JSON format, or the MeshConfig with `accessLogFormat`.
            Operators without a column here become columns of their own, in lower case.

    Returns:
        One row per request, in the order of the files.

    Raises:
        NotFound: no such file.
        UsageError: no such column, or `where` is not an expression over them.
        FormatError: no line matches the `format` given; shows the first one and where it leaves the format.

    Example:
        >>> import tempfile, pathlib
        >>> line = '{"start_time":"2026-11-23T08:36:16.251Z","response_code":503,"response_flags":"URX,UF"}'
        >>> file = pathlib.Path(tempfile.mkdtemp()) / "gateway.log"
        >>> _ = file.write_text(line + chr(10) + "Envoy proxy is ready" + chr(10))
        >>> log = read_access_log(file)
        >>> log.response_code.tolist(), log["flag_set"].tolist(), log.attrs["skipped"]
        ([503], ['UF,URX'], {'not an access log line': 1})
    """
    return scan_access_log(paths, format=format).filter(where).to_pandas(columns=columns)


def scan_access_log(paths: Paths, *, format: LogFormat | None = None) -> AccessLog:
    """Open access logs to filter, group and sample without holding them in memory.

    Args:
        paths: as for `read_access_log`.
        format: as for `read_access_log`.

    Raises:
        NotFound: no such file.
        FormatError: the format is broken.

    Example:
        >>> import tempfile, pathlib
        >>> file = pathlib.Path(tempfile.mkdtemp()) / "gateway.log"
        >>> _ = file.write_text('{"response_code":503,"response_flags":"UF","upstream_host":"10.0.0.1:80"}' + chr(10))
        >>> scan_access_log(file).group("upstream_host", "flag_set")[["upstream_host", "failed"]].values.tolist()
        [['10.0.0.1:80', 1]]
    """
    files, copies = without_copies(find_files(paths))
    files = [as_lines(file) for file in files]
    if format is not None:
        text_format, keys = parse_log_format(format)
        builtin = Plan().formats
        if text_format is not None:
            return AccessLog(files, Plan(formats=(text_format,)), expected=text_format, left_out=copies)
        return AccessLog(files, Plan(formats=builtin, keys=keys or JSON_KEYS), left_out=copies)
    keys = dict(JSON_KEYS)
    for file in files:
        keys |= {key: key for key in sampled_keys(file) if key not in keys}
    return AccessLog(files, Plan(keys=keys), left_out=copies)


class AccessLog:
    """Access logs, not read yet. Made by `scan_access_log`.

    Args:
        files: the files.
        plan: how their lines are read.
        conditions: SQL expressions that every row fulfils.
        expected: the text format that was given, if one was.
        left_out: files that are not read, and why.
    """

    def __init__(
        self,
        files: Sequence[LogFile],
        plan: Plan,
        *,
        conditions: tuple[str, ...] = (),
        expected: TextFormat | None = None,
        left_out: Sequence[Damage] = (),
    ) -> None:
        self._files = tuple(files)
        self._plan = plan
        self._conditions = conditions
        self._expected = expected
        self._left_out = tuple(left_out)
        self._damage: list[Damage] = []

    def __repr__(self) -> str:
        names = ", ".join(file.name for file in self._files[:3])
        more = f" and {len(self._files) - 3} more" if len(self._files) > 3 else ""
        where = f" where {' and '.join(self._conditions)}" if self._conditions else ""
        return f"<AccessLog {names}{more}{where}>"

    @property
    def columns(self) -> list[str]:
        """Names of the columns in order."""
        return [*ACCESS_LOG.column_names, *self._plan.extra]

    def filter(self, where: str) -> AccessLog:
        """Only rows for which an SQL expression over the columns holds; combine several calls.

        Args:
            where: for example `flag_set = 'UT' and duration_ms > 400`; empty for no condition.
        """
        conditions = (*self._conditions, where) if where.strip() else self._conditions
        return AccessLog(
            self._files, self._plan, conditions=conditions, expected=self._expected, left_out=self._left_out
        )

    def to_pandas(self, *, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """The rows as a DataFrame with Arrow-backed dtypes.

        Args:
            columns: only these.

        Raises:
            UsageError: no such column, or a condition is not an expression over the columns.
        """
        chosen = self.columns if columns is None else [self._known(column) for column in columns]
        try:
            # where a format was given, its keys are all that count
            table = self._whole(chosen, look=columns is None and self._plan.keys.items() >= JSON_KEYS.items())
        except MoreKeys as more:
            keys = {**self._plan.keys, **{key: key for key in more.keys}}
            self._plan = replace(self._plan, keys=keys)
            return self.to_pandas()
        if table is None:
            table = self._sifted(chosen)
        if self._expected and not len(table) and not self._conditions:
            self._explain_mismatch(self._expected)
        if columns is None:  # fields that only some formats have
            rare = set(self._plan.extra) & {c for f in Plan().formats for c in f.columns}
            chosen = [c for c in chosen if c not in rare or table[c].null_count < len(table)]
        df = to_pandas(table.select(chosen))
        df.attrs["skipped"] = dict(Counter(self.skipped.reason))
        return df

    def _whole(self, columns: Sequence[str], *, look: bool) -> pa.Table | None:
        """The rows, if the files are clean: then nothing is skipped."""
        import duckdb

        if self._conditions and ("line" not in columns or "line" in self._where):
            return None  # the engine numbers no rows, or has to number all
        clean = clean_files(self._files, self._plan)
        try:
            if not clean:
                return None
            if self._conditions:
                table = sifted_table(clean, self._plan, columns, self._where)
            else:
                table = whole_table(clean, self._plan, columns, look=look)
        except (duckdb.Error, OSError):
            return None  # not so clean after all, or the condition is none: the careful way tells
        if table is not None:
            self._damage = []
            self.skipped = self._skipped_frame(SKIPPED_LINES.arrow(dict.fromkeys(SKIPPED_LINES.column_names, ())))
        return table

    def _sifted(self, columns: Sequence[str]) -> pa.Table:
        """The rows that fulfil the conditions, without the lines that are none."""
        import pyarrow.compute as pc

        carried = list(dict.fromkeys([*columns, "proxy", "file", "line", "reason", "excerpt"]))
        table = self._run(
            f"SELECT {', '.join(map(name, carried))} FROM log WHERE reason IS NOT NULL OR ({self._where})",
            numbered=not self._conditions,
            careful=bool(self._conditions) and "line" in columns and has_blank_lines(self._files),
        )
        bad = pc.is_valid(table["reason"])
        if not pc.any(bad).as_py():
            self.skipped = self._skipped_frame(table.slice(0, 0))
            return table
        self.skipped = self._skipped_frame(table.filter(bad))
        return table.filter(pc.invert(bad))

    def to_parquet(self, path: str | Path, *, columns: Sequence[str] | None = None) -> int:
        """Write the rows to a Parquet file, without holding them in memory.

        Args:
            path: the file; one that is there is replaced.
            columns: only these.

        Returns:
            How many rows there were.

        Raises:
            UsageError: no such column, or a condition is not an expression over the columns.
        """
        chosen = self.columns if columns is None else [self._known(column) for column in columns]
        rows = self._run(
            copy_to(Path(path), chosen),
            where=f"reason IS NULL AND ({self._where})",
            numbered=not self._conditions and "line" in chosen,
            careful=bool(self._conditions) and "line" in chosen and has_blank_lines(self._files),
        )
        return int(rows[0][0].as_py())

    def spill(self, folder: Path, *, columns: Sequence[str]) -> str:
        """Write the rows to Parquet files in an empty folder; returns the SQL of DuckDB that reads them back."""
        return spill(self, folder, [self._known(column) for column in columns])

    def group(self, *by: str) -> pd.DataFrame:
        """Requests, failures and durations per group, most requests first; only the groups are held in memory.

        Args:
            by: columns, for example `"upstream_cluster", "flag_set"`.

        Returns:
            The columns and `requests`, `failed`, `error_rate`, `p50_ms`, `p90_ms`, `p99_ms`, `max_ms`. What counts as
            failed: `meshnb.loaders.log_summaries.failed`.

        Raises:
            UsageError: no such column.
        """
        from meshnb.loaders.log_summaries import summary_sql

        return self._rows_of(summary_sql([self._known(column) for column in by]))

    def rank(self, by: str) -> pd.DataFrame:
        """Who fails more than the rest: the values of a column by their excess of failures.

        Args:
            by: the column, for example `upstream_host`, `route_name`, `user_agent`, `proxy`.

        Returns:
            The column and `requests`, `failed`, `error_rate`, `rest_error_rate` (of all other rows), `excess` (failures
            above what the rest's rate would give), `share_of_failures`, `p50_ms`, `p99_ms`, `first_failure`.

        Raises:
            UsageError: no such column.
        """
        from meshnb.loaders.log_summaries import ranking_sql

        return self._rows_of(ranking_sql(self._known(by)))

    def sample(self, rows: int, *, seed: int = 0) -> pd.DataFrame:
        """Rows drawn at random, the same ones for the same seed.

        Args:
            rows: how many.
            seed: another number draws others.
        """
        names = ", ".join(map(name, self.columns))
        return self._rows_of(
            f"SELECT {names} FROM (SELECT * FROM log ORDER BY hash(file, line, {int(seed)}), file, line "
            f"LIMIT {int(rows)}) ORDER BY file, line"
        )

    def count(self) -> int:
        """Number of rows."""
        return int(self._rows_of("SELECT count(*) AS requests FROM log").requests[0])

    def _rows_of(self, sql: str) -> pd.DataFrame:
        """An SQL query over the rows that fulfil the conditions."""
        return to_pandas(self._run(sql, where=f"reason IS NULL AND ({self._where})"))

    @cached_property
    def skipped(self) -> pd.DataFrame:
        """Lines that are no access log line, with the reason and how they begin. See `SKIPPED_LINES`."""
        columns = ", ".join(SKIPPED_LINES.column_names)
        return self._skipped_frame(self._run(f"SELECT {columns} FROM log WHERE reason IS NOT NULL", careful=True))

    def _explain_mismatch(self, text_format: TextFormat) -> None:
        """Show the first line that looks like one of the format and is not."""
        lines = self.skipped[self.skipped.reason.isin([OTHER_REASONS["text"], OTHER_REASONS["other"]])]
        if lines.empty:
            return
        line = lines.iloc[0]
        at, expected = text_format.mismatch(line.excerpt)
        raise FormatError(
            f"no line has the format given. It expects {expected!r} here:\n    {line.excerpt}\n    {' ' * at}^",
            file=line.file,
            position=f"line {line.line}, character {at + 1}",
            hint="give the accessLogFormat that was in force when these lines were written",
        )

    def _skipped_frame(self, table: pa.Table) -> pd.DataFrame:
        import pyarrow as pa

        table = table.select(SKIPPED_LINES.column_names)
        damage = [
            {
                "proxy": d.file.proxy or None,
                "file": d.file.name,
                "line": d.line,
                "reason": d.reason,
                "excerpt": d.excerpt,
            }
            for d in (*self._left_out, *self._damage)
        ]
        return to_pandas(pa.concat_tables([table, pa.Table.from_pylist(damage, table.schema)]))

    @property
    def _where(self) -> str:
        return " AND ".join(f"({condition})" for condition in self._conditions) or "true"

    def _known(self, column: str) -> str:
        if column not in self.columns:
            ACCESS_LOG.column(column)
        return column

    def _run(self, sql: str, *, where: str = "true", numbered: bool = False, careful: bool = False) -> pa.Table:
        """An SQL query over the lines; see `run`."""
        table, self._damage = run(self._files, self._plan, sql, where=where, numbered=numbered, careful=careful)
        return table
