"""The summaries on a Spark cluster of two workers, against DuckDB row by row. See `scripts/spark-cluster`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import meshnb
from meshnb.loaders.log_summaries import ranking, summary

pytestmark = [pytest.mark.spark, pytest.mark.filterwarnings("ignore")]

GATEWAY = Path(__file__).parents[1] / "data/logs/access-text-istio-ingressgateway-7d9f8c6b5-lab01.log"


@pytest.fixture(scope="module")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    import ibis
    from pyspark.sql import SparkSession

    parquet = tmp_path_factory.mktemp("spark") / "log.parquet"
    meshnb.read_access_log(GATEWAY).to_parquet(parquet)
    builder = SparkSession.builder.master(os.environ["SPARK_MASTER"]).config("spark.ui.enabled", "false")
    for key in ("spark.driver.host", "spark.driver.bindAddress"):
        builder = builder.config(key, "127.0.0.1")
    session = builder.config("spark.sql.session.timeZone", "UTC").config("spark.executor.memory", "512m").getOrCreate()
    session.read.parquet(f"file://{parquet}").createOrReplaceTempView("log")
    yield ibis.pyspark.connect(session)
    session.stop()


def rows(df: Any) -> list[tuple[Any, ...]]:
    """Rows as plain values: numbers rounded, missing as None."""

    def plain(value: Any) -> Any:
        if value is None or type(value).__name__ in ("NAType", "NaTType") or value != value:
            return None
        if hasattr(value, "timestamp"):
            return value.replace(tzinfo=None).isoformat()
        return round(float(value), 6) if isinstance(value, int | float) or hasattr(value, "dtype") else value

    return [tuple(plain(value) for value in row) for row in df.itertuples(index=False)]


def test_summary_is_the_same_on_both(spark):
    by = ["upstream_cluster", "flag_set"]
    theirs = spark.to_pandas(summary(spark.table("log"), by))
    ours = meshnb.scan_access_log(GATEWAY).group(*by)
    assert list(theirs.columns) == list(ours.columns)
    assert sorted(map(str, rows(theirs))) == sorted(map(str, rows(ours)))


def test_ranking_is_the_same_on_both(spark):
    theirs = spark.to_pandas(ranking(spark.table("log"), "upstream_host"))
    ours = meshnb.scan_access_log(GATEWAY).rank("upstream_host")
    assert sorted(map(str, rows(theirs))) == sorted(map(str, rows(ours)))
