"""Rows written out to be asked many questions are those that are read, with the same numbers of lines."""

from __future__ import annotations

import gzip
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

from meshnb.errors import UsageError
from meshnb.loaders.access_log import scan_access_log

GATEWAY = Path(__file__).parents[1] / "data/logs/access-text-istio-ingressgateway-7d9f8c6b5-lab01.log"
COLUMNS = ["file", "line", "proxy", "start_time", "response_code", "request_id", "flag_set"]


@pytest.mark.parametrize("where", ["", "response_code >= 500", "duration_ms >= 0 AND path LIKE '/%'"])
@pytest.mark.parametrize("kind", ["clean", "blank", "foreign", "gzip"])
def test_spilled_rows_are_those_read(tmp_path, kind, where):
    text = GATEWAY.read_text()
    lines = text.splitlines(keepends=True)
    first = {"blank": lines[0] + "\n" + "".join(lines[1:]), "foreign": "Envoy proxy is ready\n" + text}.get(kind, text)
    if kind == "gzip":
        (tmp_path / "a.log.gz").write_bytes(gzip.compress(first.encode()))
    else:
        (tmp_path / "a.log").write_text(first)
    (tmp_path / "b.log").write_text("".join(lines[:5]))
    scan = scan_access_log(tmp_path).filter(where)
    folder = tmp_path / "rows"
    folder.mkdir()
    with duckdb.connect() as connection:
        sql = scan.spill(folder, columns=COLUMNS)
        found = connection.sql(f"SELECT {', '.join(COLUMNS)} FROM ({sql}) ORDER BY file, line").fetchall()
    rows = scan.to_pandas(columns=COLUMNS).sort_values(["file", "line"])
    assert len(found) == len(rows) > 0
    for column, values in zip(COLUMNS, zip(*found, strict=True), strict=True):
        expected = rows[column].dt.tz_localize(None) if column == "start_time" else rows[column]
        assert list(values) == expected.astype(object).where(expected.notna(), None).tolist(), column


def test_rows_of_a_window_are_written_by_all_processors(tmp_path):
    """Numbered by their place in the file, which a condition before it would hide."""
    scan = scan_access_log(GATEWAY).filter("start_time > TIMESTAMP '2020-01-01'").filter("upstream_cluster IS NULL")
    sql = scan.spill(tmp_path, columns=["line"])
    assert [path.name for path in tmp_path.iterdir()] == ["part-0.parquet"]
    lines = [line for (line,) in duckdb.sql(sql).fetchall()]
    assert 0 < len(lines) < max(lines) <= len(GATEWAY.read_text().splitlines())


def test_a_wrong_condition_is_refused(tmp_path):
    with pytest.raises(UsageError, match="not an expression over the access log"):
        scan_access_log(GATEWAY).filter("respnse_code > 1").spill(tmp_path, columns=["line"])


def test_no_progress_bar_gets_into_a_notebook():
    """DuckDB shows one where it thinks somebody watches, and reports would keep it."""
    code = """
import duckdb
from meshnb.checks.causes_log import DuckDbLog
from meshnb.loaders.access_log_engine import connected
for connection in (duckdb.connect(), connected(), DuckDbLog().connection):
    print(connection.sql("SELECT current_setting('enable_progress_bar')").fetchall())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["[(True,)]", "[(False,)]", "[(False,)]"]
