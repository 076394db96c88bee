"""Access loggers of listeners, as real Envoy and istiod print them (S10-45)."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from meshnb.errors import FormatError
from meshnb.loaders.config_dump import read_config_dump
from meshnb.loaders.listener_logs import filled
from meshnb.loaders.telemetry_objects import telemetries_table

DATA = Path(__file__).parents[1] / "data/envoy"
FILE = "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog"
HCM = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"


def loggers(*access_log: dict, style: str = "access_log", filters: list | None = None) -> pd.DataFrame:
    manager = {"name": "envoy.filters.network.http_connection_manager", "typed_config": {"@type": HCM}}
    manager["typed_config"][style] = list(access_log)
    listener = {"name": "web", "filter_chains": [{"filters": [manager] if filters is None else filters}]}
    state = {"name": "web", "active_state": {"listener": listener}}
    section = {"@type": "type.googleapis.com/envoy.admin.v3.ListenersConfigDump", "dynamic_listeners": [state]}
    return read_config_dump(json.dumps({"configs": [section]}).encode()).access_loggers()


def test_what_real_envoy_carries():
    frame = read_config_dump(DATA / "gateway-config_dump.json").access_loggers()
    first = frame.iloc[0]
    assert (first.listener, first.place, first.type, first.encoding) == ("0.0.0.0_8080", "http", "file", "JSON")
    assert first.target == "access-istio-ingressgateway-7d9f8c6b5-lab01.log"
    assert len(first["columns"]) == 24 and "response_code_details" in first["columns"]
    assert frame.type.tolist()[1] == "stats"
    # the listener of the bootstrap that serves statistics logs nothing, and that is a row too
    assert frame[frame.dynamic == False].logger.isna().all()  # noqa: E712


def test_a_chain_for_http_or_tcp_without_a_logger_is_a_row_and_others_are_none():
    frame = read_config_dump(DATA / "odd-config_dump.json").access_loggers()
    assert frame.logger.isna().all() and set(frame.place) == {"http", "tcp"}
    assert loggers(filters=[{"name": "envoy.filters.network.echo"}]).empty


@pytest.mark.parametrize(
    ("config", "encoding", "columns"),
    [
        ({}, "TEXT", 15),  # Envoy's own default
        ({"log_format": {"text_format": "%RESPONSE_CODE% %RESPONSE_FLAGS%\n"}}, "TEXT", 2),
        ({"logFormat": {"textFormatSource": {"inlineString": "%DURATION%"}}}, "TEXT", 1),
        ({"format": "%DURATION% %REQ(X-TENANT)%"}, "TEXT", 1),
        ({"log_format": {"json_format": {"ms": "%DURATION%", "t": "%REQ(X-TENANT)%"}}}, "JSON", 1),
        ({"json_format": {"code": "%RESPONSE_CODE%"}}, "JSON", 1),
    ],
)
def test_every_way_to_write_a_format_old_and_new(config, encoding, columns):
    given = {"name": "envoy.access_loggers.file", "typed_config": {"@type": FILE, "path": "/dev/stdout", **config}}
    (row,) = loggers(given).itertuples(index=False)
    assert (row.type, row.target, row.encoding) == ("file", "/dev/stdout", encoding)
    assert len(loggers(given)["columns"][0]) == columns


def test_istiods_own_key_style_is_read_and_the_filter_kept():
    only = {"responseFlagFilter": {"flags": ["NR"]}}
    (row,) = loggers(
        {"name": "envoy.access_loggers.file", "filter": only, "typedConfig": {"@type": FILE, "path": "/dev/stdout"}},
        style="accessLog",
    ).itertuples()
    assert json.loads(row.filter) == only and row.target == "/dev/stdout"


@pytest.mark.parametrize(
    ("name", "type_", "more", "word", "target"),
    [
        ("envoy.http_grpc_access_log", "grpc.v3.HttpGrpcAccessLogConfig", "common_config", "http_grpc", "als"),
        ("otel", "open_telemetry.v3.OpenTelemetryAccessLogConfig", "common_config", "open_telemetry", "als"),
        ("stdout", "stream.v3.StdoutAccessLog", "", "stdout", None),
        ("mine", "fluentd.v3.FluentdAccessLogConfig", "", "fluentd", None),
    ],
)
def test_loggers_that_write_elsewhere(name, type_, more, word, target):
    config = {"@type": f"type.googleapis.com/envoy.extensions.access_loggers.{type_}"}
    if more:
        config[more] = {"log_name": "x", "grpc_service": {"envoy_grpc": {"cluster_name": "als"}}}
    (row,) = loggers({"name": name, "typed_config": config}).itertuples()
    assert row.type == word
    assert row.target == target if target else pd.isna(row.target)


def test_a_format_that_cannot_be_read_fills_nobody_knows_what():
    assert filled("100 % of it") is None and filled("{nope") is None
    broken = {"name": "f", "typed_config": {"@type": FILE, "log_format": {"text_format": "% %DURATION%"}}}
    assert pd.isna(loggers(broken)["columns"][0])


def test_a_logger_that_is_none_is_an_error_that_names_the_listener():
    with pytest.raises(FormatError, match="listener web"):
        loggers({"name": "f", "typed_config": {"@type": FILE, "path": {"no": "path"}}})


def test_telemetries_one_row_per_entry():
    entries = [{"providers": [{"name": "envoy"}], "match": {"mode": "SERVER"}}, {"filter": {"expression": "x == 1"}}]
    telemetry = {
        "apiVersion": "telemetry.istio.io/v1",
        "kind": "Telemetry",
        "metadata": {"name": "t", "namespace": "shop"},
        "spec": {"selector": {"matchLabels": {"app": "a"}}, "accessLogging": entries, "targetRef": {"name": "gw"}},
    }
    silent = {**telemetry, "metadata": {"name": "metrics"}, "spec": {"metrics": []}}
    other = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}}
    frame = telemetries_table([telemetry, silent, other])
    assert frame.telemetry.tolist() == ["t", "t", "metrics"]
    assert frame["mode"].tolist()[:2] == ["SERVER", "CLIENT_AND_SERVER"]
    assert frame["filter"].tolist()[1] == "x == 1" and pd.isna(frame.entry_index[2])
    assert json.loads(frame.target_refs[0]) == [{"name": "gw"}]


def test_a_telemetry_of_an_odd_shape_is_an_error():
    odd = {"apiVersion": "telemetry.istio.io/v1", "kind": "Telemetry", "metadata": {"name": "t"}}
    with pytest.raises(FormatError):
        telemetries_table([{**odd, "spec": {"accessLogging": [{"providers": "envoy"}]}}], file="t.yaml")
