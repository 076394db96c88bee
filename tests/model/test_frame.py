"""Frames: one declaration, the same schema whether there are rows or none."""

from __future__ import annotations

import pandas as pd
import pytest

from meshnb.errors import SchemaError, UsageError
from meshnb.model.frame import Column, Frame, returns

PODS = Frame(
    "pods",
    "One row per pod.",
    (
        Column("pod", "string", "Name.", nullable=False),
        Column("restarts", "int64", "Restarts."),
        Column("latency_ms", "float64", "Latency.", unit="ms"),
        Column("ready", "bool", "Ready."),
        Column("started", "timestamp", "Start."),
        Column("images", "list<string>", "Images."),
        Column("labels", "json", "Labels."),
    ),
)


def test_empty_has_the_same_dtypes_as_a_frame_with_rows():
    full = PODS.build({"pod": ["a"], "restarts": [1]})
    assert list(PODS.empty().columns) == PODS.column_names
    assert PODS.empty().dtypes.to_dict() == full.dtypes.to_dict()
    assert str(full.dtypes["started"]) == "timestamp[us, tz=UTC][pyarrow]"


def test_missing_values_stay_missing_and_integers_stay_integers():
    df = PODS.build({"pod": ["a", "b"], "restarts": [None, 2]})
    assert df.restarts.isna().tolist() == [True, False]
    assert df.restarts[1] == 2
    assert df.ready.isna().all()


def test_tables_of_several_proxies_concatenate_without_losing_dtypes():
    both = pd.concat([PODS.build({"pod": ["a"]}), PODS.build({"pod": ["b"], "restarts": [3]})])
    assert both.dtypes.to_dict() == PODS.empty().dtypes.to_dict()


@pytest.mark.parametrize(
    ("columns", "text"),
    [
        ({"pod": ["a"], "nope": [1]}, "no column nope"),
        ({"restarts": [1]}, "needs the column 'pod'"),
        ({"pod": ["a"], "restarts": ["x"]}, "column 'restarts'"),
        ({"pod": ["a"], "restarts": [1, 2]}, "unequal length"),
    ],
)
def test_wrong_columns_are_named(columns, text):
    with pytest.raises(SchemaError, match=text):
        PODS.build(columns)


def test_rows_with_an_unknown_key_are_refused():
    with pytest.raises(SchemaError, match="nope"):
        PODS.rows([{"pod": "a", "nope": 1}])


def test_conform_orders_casts_and_keeps_extras_only_when_asked():
    df = pd.DataFrame({"extra": [1], "restarts": ["7"], "pod": ["a"]})
    with pytest.raises(SchemaError, match="extra"):
        PODS.conform(df)
    kept = PODS.conform(df, extra=True)
    assert list(kept.columns) == [*PODS.column_names, "extra"]
    assert kept.restarts.tolist() == [7]


def test_column_of_another_name_suggests_the_nearest():
    with pytest.raises(UsageError, match="did you mean 'restarts'"):
        PODS.column("restart")


def test_unknown_dtype_is_refused():
    with pytest.raises(UsageError, match="int32"):
        Column("x", "int32", "")


def test_returns_writes_the_columns_into_the_docstring():
    @returns(PODS)
    def pods():
        """Pods."""

    assert "latency_ms  float64 [ms]: Latency." in pods.__doc__
    assert "| latency_ms | float64 | ms | Latency. |" in PODS.markdown()
