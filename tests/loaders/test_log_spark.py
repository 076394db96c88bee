"""Summaries and causes on a Spark cluster of two workers, against DuckDB row by row. See `scripts/spark-cluster`."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import meshnb
from meshnb.checks.causes_assign import assign
from meshnb.checks.causes_baseline import baselines_of
from meshnb.checks.causes_requests import ranking as cause_ranking
from meshnb.loaders.log_summaries import ranking, summary

pytestmark = [pytest.mark.spark, pytest.mark.filterwarnings("ignore")]

DATA = Path(__file__).parents[1] / "data/logs"
GATEWAY = DATA / "access-text-istio-ingressgateway-7d9f8c6b5-lab01.log"


@pytest.fixture(scope="module")
def scenarios(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The logs of all scenarios recorded from Envoy, as one log, some requests of it closed on used connections."""
    folder = tmp_path_factory.mktemp("scenarios")
    for name, pods in json.loads((DATA / "by-scenario.json").read_text()).items():
        for pod, records in pods.items():
            path = folder / "".join(c if c.isalnum() else "-" for c in name) / f"{pod}.shop" / "istio-proxy.log"
            path.parent.mkdir(parents=True)
            path.write_text("".join(json.dumps(record) + "\n" for record in records + used_before(records)))
    return meshnb.scan_access_log(folder)


def used_before(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A good answer over the connection of a request that found it closed, before it."""
    closed = [record for record in records if record["response_flags"] == "UC"][:1]
    good = {"response_code": 200, "response_flags": "-", "response_code_details": "via_upstream"}
    return [{**r, **good, "request_id": "before", "start_time": "2020-01-01T00:00:00.000Z"} for r in closed]


@pytest.fixture(scope="module")
def spark(tmp_path_factory: pytest.TempPathFactory, scenarios: Any) -> Iterator[Any]:
    import ibis
    from pyspark.sql import SparkSession

    parquet = tmp_path_factory.mktemp("spark") / "log.parquet"
    meshnb.read_access_log(GATEWAY).to_parquet(parquet)
    everything = tmp_path_factory.mktemp("spark") / "scenarios.parquet"
    scenarios.to_parquet(everything)
    builder = SparkSession.builder.master(os.environ["SPARK_MASTER"]).config("spark.ui.enabled", "false")
    for key in ("spark.driver.host", "spark.driver.bindAddress"):
        builder = builder.config(key, "127.0.0.1")
    session = builder.config("spark.sql.session.timeZone", "UTC").config("spark.executor.memory", "512m").getOrCreate()
    session.conf.set("spark.sql.shuffle.partitions", "4")
    session.read.parquet(f"file://{parquet}").createOrReplaceTempView("log")
    session.read.parquet(f"file://{everything}").createOrReplaceTempView("scenarios")
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


def test_causes_are_the_same_on_both(spark, scenarios):
    theirs, ours = assign(spark.table("scenarios")), assign(scenarios)
    assert (theirs.requests, theirs.recovered) == (ours.requests, ours.recovered)
    found = [sorted(map(str, rows(one.log.run(one.table).to_pandas()))) for one in (theirs, ours)]
    assert found[0] == found[1]
    assert len({row.split(", ")[2] for row in found[0]}) > 12, "many causes"
    for by in (["cause"], ["cause", "upstream_host"], ["cause", "service"]):
        ranked = [
            rows(one.log.run(cause_ranking(one.table, by, total=one.requests)).to_pandas()) for one in (theirs, ours)
        ]
        assert sorted(map(str, ranked[0])) == sorted(map(str, ranked[1]))
        assert [row[len(by)] for row in ranked[0]] == [row[len(by)] for row in ranked[1]], "most requests first"


def test_gap_and_baselines_are_the_same_on_both(spark, scenarios):
    found = []
    for one in (assign(spark.table("scenarios")), assign(scenarios)):
        failed = one.rows()
        excess = baselines_of(one, failed.request_id, [i % 2 for i in range(len(failed))])
        found.append((one.sides, {group: sorted(map(str, rows(df))) for group, df in excess.items()}))
    assert found[0] == found[1]
    assert found[0][0].failed and set(found[0][1]) == {0, 1}
