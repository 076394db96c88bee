"""Rows written out to be asked many questions are those that are read, with the same numbers of lines."""

from __future__ import annotations

import gzip
from pathlib import Path

import duckdb
import pytest

from meshnb.loaders.access_log import scan_access_log

GATEWAY = Path(__file__).parents[1] / "data/logs/access-text-istio-ingressgateway-7d9f8c6b5-lab01.log"
COLUMNS = ["file", "line", "proxy", "start_time", "response_code", "request_id", "flag_set"]


@pytest.mark.parametrize("where", ["", "response_code >= 500"])
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
