"""The summaries as Ibis expressions: what DuckDB says of them, and that other engines' SQL can be made."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

import meshnb
from meshnb.loaders.log_summaries import (
    compile_ranking,
    compile_summary,
    log_table,
    ranking,
    ranking_sql,
    summary,
    summary_sql,
    to_sql,
)

DATA = Path(__file__).parents[1] / "data/logs"
GATEWAY = DATA / "access-text-istio-ingressgateway-7d9f8c6b5-lab01.log"


def slow(path: Path, by: list[str]) -> pd.DataFrame:
    """The same summary by pandas."""
    log = meshnb.read_access_log(path)
    keys = [log[column].fillna("-") for column in by]
    bad = (log.response_code >= 500) | log["flag_set"].notna() | (log.response_code == 0)
    grouped = log.assign(bad=bad.fillna(False).astype(bool)).groupby(keys)
    return pd.DataFrame(
        {
            "requests": grouped.size(),
            "failed": grouped.bad.sum(),
            "p50_ms": grouped.duration_ms.quantile(0.5),
            "p99_ms": grouped.duration_ms.quantile(0.99),
        }
    )


def test_group_is_what_pandas_says():
    by = ["upstream_cluster", "flag_set"]
    ours = meshnb.scan_access_log(GATEWAY).group(*by)
    ours = ours.fillna({"upstream_cluster": "-", "flag_set": "-"}).set_index(by).sort_index()
    expected = slow(GATEWAY, by).sort_index()
    for column in expected:
        assert ours[column].astype(float).tolist() == pytest.approx(expected[column].astype(float).tolist())
    assert ours.requests.sum() == len(meshnb.read_access_log(GATEWAY))


def test_rank_puts_the_failing_endpoint_first(tmp_path):
    """S10-46: excess over the rest, not the share alone."""
    scenario = json.loads((DATA / "by-scenario.json").read_text())["3a2-503-app"]
    rows = [r for records in scenario.values() for r in records if r["upstream_cluster"].startswith("outbound")]
    path = tmp_path / "x.log"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    first = meshnb.scan_access_log(path).rank("upstream_host").iloc[0]
    assert first.upstream_host == "127.0.0.43:3000"
    assert first.error_rate == 1.0 and first.rest_error_rate == 0.0
    assert first.excess == first.failed == sum(r["response_code"] == 503 for r in rows)
    assert first.share_of_failures == 1.0


def test_filter_count_and_sample():
    log = meshnb.scan_access_log(GATEWAY)
    assert log.filter("flag_set = 'UT'").count() == GATEWAY.read_text().count(" 504 UT ")
    assert log.filter("response_code = 200").filter("duration_ms > 5").count() == len(
        meshnb.read_access_log(GATEWAY, where="response_code = 200 and duration_ms > 5")
    )
    sample = log.sample(5)
    pd.testing.assert_frame_equal(sample, log.sample(5))
    assert len(sample) == 5
    assert sample.line.tolist() != log.sample(5, seed=1).line.tolist()


@pytest.mark.parametrize("dialect", ["duckdb", "clickhouse", "bigquery", "trino"])
def test_the_same_expressions_are_sql_of_other_engines(dialect):
    log = log_table()
    for expression in (
        summary(log, ["upstream_cluster", "flag_set"]),
        ranking(log, "upstream_host"),
    ):
        text = to_sql(expression, dialect=dialect)
        assert "upstream_" in text and "GROUP BY" in text


@pytest.mark.parametrize(
    ("stored", "compiled", "by"),
    [
        (summary_sql, compile_summary, ["method"]),
        (summary_sql, compile_summary, ["upstream_cluster", "flag_set"]),
        (summary_sql, compile_summary, ["upstream_host", "response_code_details", "method"]),
        (ranking_sql, compile_ranking, "upstream_host"),
        (ranking_sql, compile_ranking, 'a "key"'),
    ],
)
def test_the_stored_sql_says_what_the_expressions_say(tmp_path, stored, compiled, by):
    """Else: `python scripts/make_sql.py`."""
    scenarios = json.loads((DATA / "by-scenario.json").read_text())
    rows = [row for pods in scenarios.values() for records in pods.values() for row in records]
    path = tmp_path / "all.log"
    path.write_text("".join(json.dumps({**row, 'a "key"': str(i % 3)}) + "\n" for i, row in enumerate(rows)))
    log = meshnb.scan_access_log(path)
    expected = log._rows_of(compiled(by))
    assert len(expected) > 1
    pd.testing.assert_frame_equal(log._rows_of(stored(by)), expected)
