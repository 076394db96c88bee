"""Envoy's debug log: records, marks, headers, and the story of one request."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pandas as pd
import pytest

import meshnb
from meshnb.envoy.debug_story import story
from meshnb.envoy.peer_metadata import decode_peer_metadata, hide_peer_metadata, parse_node_id
from meshnb.errors import NotFound, UsageError
from meshnb.loaders.debug_log import debug_log_skipped, read_debug_log, read_log_levels

DATA = Path(__file__).parents[1] / "data/logs"
GATEWAY, SIDECAR = DATA / "gateway-debug-one-slow-request.log", DATA / "sidecar-debug-one-slow-request.log"
REQUEST = "cf0f45fd-8070-4f23-8907-903361bf148d"

# written after the form of Envoy 1.25 (Istio 1.17): marks in brackets, no tags
OLD = """\
2023-08-29T13:59:53.203124Z\tdebug\tenvoy http\t[C63517] new stream\tthread=30
2023-08-29T13:59:53.203201Z\tdebug\tenvoy http\t[C63517][S17632] request headers complete (end_stream=true):
':authority', 'catalog.istioinaction.io:30000'
':path', '/items'
\tthread=30
2023-08-29T13:59:53.203301Z\tdebug\tenvoy router\t[C63514][S999] upstream timeout\tthread=31
2023-08-29T13:59:53.203402Z\tdebug\tenvoy router\t[C63517][S17632] router decoding headers:
'x-request-id', 'aaaa-bbbb'
'x-envoy-expected-rq-timeout-ms', '500'
\tthread=30
2023-08-29T13:59:53.204001Z\tdebug\tenvoy pool\t[C63513] creating stream\tthread=31
2023-08-29T13:59:53.703512Z\tdebug\tenvoy router\t[C63517][S17632] upstream timeout\tthread=30
2023-08-29T13:59:53.703700Z\tdebug\tenvoy http\t[C63517][S17632] Sending local reply with details response_timeout\tthread=30
"""  # noqa: E501

PLAIN = """\
[2026-11-23 09:03:14.480][22077][debug][http] [source/common/http/conn_manager_impl.cc:506] [C105] new stream
[2026-11-23 09:03:14.481][22077][debug][http] [source/common/http/conn_manager_impl.cc:1560] [C105][S42] request headers complete (end_stream=true):
':path', '/items'
'x-request-id', 'r-1'

[2026-11-23 09:03:14.482][22077][info][main] [source/server/server.cc:9] all clusters initialized
{"start_time":"2026-11-23T09:03:14.480Z","response_code":200}
"""  # noqa: E501


def test_records_as_recorded_from_envoy():
    """S10-50, S10-51: time, level, component, source, connection, stream, thread, message."""
    log = read_debug_log(GATEWAY)
    heads = [line for line in GATEWAY.read_text().splitlines() if line.startswith("2026-")]
    assert len(log) == len(heads)
    assert log.attrs["skipped"] == 0
    first = log.iloc[0]
    assert first.time == pd.Timestamp("2026-11-23T09:03:14.480850Z")
    assert (first.level, first.component, first.connection, first.message) == ("debug", "http", 105, "new stream")
    assert (first.source, first.source_line) == ("source/common/http/conn_manager_impl.cc", 506)
    (reply,) = log[log.message.str.startswith("Sending local reply with details response_timeout")].index
    assert log.stream[reply] == "2980688090102552524"
    assert log.thread.eq(22077).all()


def test_records_of_several_lines():
    """S10-53."""
    log = read_debug_log(GATEWAY)
    (record,) = log[log.message.str.startswith("router decoding headers")].to_dict("records")
    headers = dict(json.loads(record["headers"]))
    assert headers["x-envoy-expected-rq-timeout-ms"] == "500"
    assert record["request_id"] == REQUEST
    assert record["message"] == "router decoding headers:"


def test_several_pods_and_gzip(tmp_path):
    """S10-50."""
    packed = tmp_path / "gateway.log.gz"
    packed.write_bytes(gzip.compress(GATEWAY.read_bytes()))
    log = read_debug_log([packed, SIDECAR])
    expected = pd.concat([read_debug_log(GATEWAY), read_debug_log(SIDECAR)], ignore_index=True)
    pd.testing.assert_frame_equal(log.drop(columns="file"), expected.drop(columns="file"))


def test_story_of_the_slow_request_across_both_proxies():
    """S10-52, S10-55: from the first stream to the close, followed by id."""
    steps = story(meshnb.read_debug_log([GATEWAY, SIDECAR]), request_id=REQUEST)
    gateway = steps[steps.file == str(GATEWAY)]
    assert gateway.message.tolist()[0] == "new stream"
    order = [
        "cluster 'outbound|80|version-v2|catalog.istioinaction.svc.cluster.local' match",
        "x-envoy-expected-rq-timeout-ms: 500",
        "connecting to 127.0.0.42:3000",
        "Attached upstream connection [C106] to downstream connection [C105]",
        "upstream timeout",
        "resetting pool request",
        "client disconnected",
        "Sending local reply with details response_timeout",
        ":status: 504",
    ]
    found = [next(i for i, m in enumerate(gateway.message) if text in m) for text in order]
    assert found == sorted(found)
    assert set(gateway.connection) == {105, 106}
    assert set(gateway[gateway.side == "upstream"].connection) == {106}
    timeout = gateway[gateway.message == "upstream timeout"].iloc[0]
    assert 499 <= timeout.offset_ms <= 505
    sidecar = steps[steps.file == str(SIDECAR)]
    assert set(sidecar.connection) == {8, 3}
    assert "remote close" in sidecar.message.tolist()


@pytest.mark.parametrize("key", [{"connection": 105}, {"connection": 106}, {"stream": "2980688090102552524"}])
def test_story_by_connection_or_stream(key):
    log = read_debug_log(GATEWAY)
    pd.testing.assert_frame_equal(story(log, **key), story(log, request_id=REQUEST))


def test_nearness_is_no_correlation(tmp_path):
    """T18: an excerpt that mixes connections; only what carries the id belongs to the request."""
    path = tmp_path / "old.log"
    path.write_text(OLD)
    log = read_debug_log(path)
    assert log.connection.tolist() == [63517, 63517, 63514, 63517, 63513, 63517, 63517]
    steps = story(log, request_id="aaaa-bbbb")
    # no line attaches C63513 to C63517, so it is left out however near it stands
    assert set(steps.connection) == {63517}
    assert len(steps) == 5
    assert steps.offset_ms.iloc[-1] == pytest.approx(500.576)


def test_requests_on_a_kept_alive_connection_do_not_mix():
    log = read_debug_log(GATEWAY)
    later = log.copy()
    later["line"] += 1000
    later["time"] += pd.Timedelta("2s")
    later["stream"] = later.stream.str.replace("2980688090102552524", "77")
    later["request_id"] = later.request_id.str.replace(REQUEST, "other")
    both = pd.concat([log, later], ignore_index=True)
    pd.testing.assert_frame_equal(story(both, request_id=REQUEST), story(log, request_id=REQUEST))
    assert len(story(both, request_id="other")) == len(story(log, request_id=REQUEST))


def test_plain_envoy_with_foreign_lines(tmp_path):
    path = tmp_path / "plain.log"
    path.write_text(PLAIN)
    log = read_debug_log(path)
    assert log.component.tolist() == ["http", "http", "main"]
    assert log.stream.tolist()[1] == "42"
    assert log.request_id[1] == "r-1"
    assert log.attrs["skipped"] == 1
    assert debug_log_skipped(path).line.tolist() == [7]


def test_story_of_nothing():
    log = read_debug_log(GATEWAY)
    with pytest.raises(NotFound, match="does not mention nobody"):
        story(log, request_id="nobody")
    with pytest.raises(UsageError, match="one of"):
        story(log)
    assert len(story(log.head(1), connection=105)) == 1


def test_peer_metadata_is_decoded_and_hidden():
    """S10-54: the id always, the blob to identity fields, redacted by default."""

    def field(number: int, data: bytes) -> bytes:
        return bytes([number << 3 | 2, len(data)]) + data

    def entry(key: str, value: bytes) -> bytes:
        return field(1, field(1, key.encode()) + field(2, value))

    import base64

    labels = field(5, entry("app", field(3, b"catalog")))
    blob = base64.b64encode(
        entry("NAME", field(3, b"catalog-0")) + entry("NAMESPACE", field(3, b"shop")) + entry("LABELS", labels)
    ).decode()
    assert decode_peer_metadata(blob) == {"NAME": "catalog-0", "NAMESPACE": "shop", "LABELS": {"app": "catalog"}}
    hidden = hide_peer_metadata("x-envoy-peer-metadata", blob)
    assert hidden == "[peer metadata: NAME=catalog-0, NAMESPACE=shop]"
    assert hide_peer_metadata("accept", "x") == "x"
    assert decode_peer_metadata("%%%") == decode_peer_metadata("AAAA") == {}
    node = parse_node_id("sidecar~10.1.0.7~catalog-68666d4988-q6w42.istioinaction~istioinaction.svc.cluster.local")
    assert (node["pod"], node["namespace"], node["ip"]) == ("catalog-68666d4988-q6w42", "istioinaction", "10.1.0.7")


def test_log_levels():
    """S10-47."""
    text = "active loggers:\n  admin: warning\n  alternate_protocols_cache: warning\n  http: debug\n"
    assert {row["logger"]: row["level"] for row in read_log_levels(text, proxy="a.b")}["http"] == "debug"
