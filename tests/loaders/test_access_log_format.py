"""Formats of access logs: detected ones, custom ones, and printing rows back."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

import meshnb
from meshnb.errors import FormatError, UsageError
from meshnb.loaders.access_log import scan_access_log
from meshnb.loaders.access_log_format import TEXT_FORMATS, TextFormat, parse_format
from meshnb.loaders.access_log_print import to_log_lines

DATA = Path(__file__).parents[1] / "data/logs"
TEXTS = sorted(DATA.glob("access-text-*.log"))


def write(path: Path, *lines: str) -> Path:
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


@pytest.mark.parametrize("path", TEXTS, ids=lambda p: p.stem)
def test_text_lines_print_back_as_they_were(path):
    """S10-43: lossless round trip."""
    assert to_log_lines(meshnb.read_access_log(path), format="istio") == path.read_text().splitlines()


@pytest.mark.parametrize("path", sorted(DATA.glob("slow-*.jsonl")), ids=lambda p: p.stem)
def test_json_lines_print_back_as_they_were(path):
    """S10-45."""
    printed = to_log_lines(meshnb.read_access_log(path), format="json")
    assert [json.loads(line) for line in printed] == [json.loads(line) for line in path.read_text().splitlines()]
    assert [list(json.loads(line)) for line in printed] == [list(json.loads(x)) for x in path.read_text().splitlines()]


def test_old_istio_format(tmp_path):
    line = (
        '[2020-11-25T21:26:18.409Z] "GET /status/418 HTTP/1.1" 418 - "-" "-" 0 135 3 1 "-" "curl/7.73.0-DEV" '
        '"84961386-6d84-929d-98bd-c5aee93b5c88" "httpbin:8000" "127.0.0.1:80" inbound|8000|| 127.0.0.1:41854 '
        "10.44.1.27:80 10.44.1.23:37652 outbound_.8000_._.httpbin.foo.svc.cluster.local default"
    )
    path = write(tmp_path / "x.log", line, line.replace('418 - "-"', '418 - "mixer-said-no"'))
    log = meshnb.read_access_log(path)
    assert log.response_code.tolist() == [418, 418]
    assert log.upstream_cluster[0] == "inbound|8000||"
    assert log.user_agent[0] == "curl/7.73.0-DEV"
    assert log.istio_policy_status[1] == "mixer-said-no"
    assert to_log_lines(log, format="istio-1.8") == path.read_text().splitlines()


def test_envoys_default_format(tmp_path):
    line = (
        '[2016-04-15T20:17:00.310Z] "POST /api/v1/locations HTTP/2" 204 - 154 0 226 100 "10.0.35.28" "nsq2http" '
        '"cc21d9b0-cf5c-432b-8c7e-98aeb7988cd2" "locations" "tcp://10.0.2.1:80"'
    )
    log = meshnb.read_access_log(write(tmp_path / "x.log", line))
    assert (log.method[0], log.response_code[0], log.bytes_received[0], log.duration_ms[0]) == ("POST", 204, 154, 226)
    assert log.upstream_host[0] == "tcp://10.0.2.1:80"
    assert to_log_lines(log, format="envoy") == [line]


def test_several_formats_in_one_file(tmp_path):
    """Mixed JSON and TEXT, and a format that changed between restarts."""
    lines = [TEXTS[0].read_text().splitlines()[0], (DATA / "slow-gateway-access.jsonl").read_text().splitlines()[0]]
    old = to_log_lines(meshnb.read_access_log(TEXTS[0]), format="envoy")[0]
    log = meshnb.read_access_log(write(tmp_path / "x.log", *lines, old))
    assert log.line.tolist() == [1, 2, 3]
    assert log.response_code.notna().all()


def test_a_quote_in_a_header_does_not_break_the_line(tmp_path):
    line = TEXTS[0].read_text().splitlines()[0]
    odd = line.replace('"labclient/1"', '"evil" agent "x/1"')
    assert odd != line
    log = meshnb.read_access_log(write(tmp_path / "x.log", line, odd))
    assert log.user_agent.tolist() == ["labclient/1", 'evil" agent "x/1']
    assert log.drop(columns=["user_agent", "line"]).iloc[1].tolist()[1:6] == log.iloc[0].tolist()[1:6]
    assert to_log_lines(log) == [line, odd]


def test_custom_format_string(tmp_path):
    fmt = (
        "%START_TIME(%Y/%m/%d %H:%M:%S.%3f)% %REQ(X-TENANT)%|%RESPONSE_FLAGS_LONG%|%DURATION%ms 100%% "
        '"%REQ(USER-AGENT):9%"'
    )
    path = write(
        tmp_path / "x.log",
        '2026/11/23 09:03:08.745 acme|UpstreamRetryLimitExceeded,UpstreamConnectionFailure|12ms 100% "curl/8.1"',
        '2026/11/23 09:03:09.000 -|-|0ms 100% "-"',
    )
    log = meshnb.read_access_log(path, format=fmt)
    assert log.start_time[0] == pd.Timestamp("2026-11-23T09:03:08.745Z")
    assert log.req_x_tenant[0] == "acme" and pd.isna(log.req_x_tenant[1])
    assert log["flag_set"][0] == "UF,URX"
    assert [list(flags) for flags in log.response_flags] == [["URX", "UF"], []]
    assert log.duration_ms.tolist() == [12, 0]
    assert log.user_agent[0] == "curl/8.1"


def test_epoch_times_keep_microseconds(tmp_path):
    path = write(tmp_path / "x.log", "1795424588.745123 GET")
    log = meshnb.read_access_log(path, format="%START_TIME(%s.%6f)% %REQ(:METHOD)%")
    assert log.start_time[0] == pd.Timestamp(1795424588745123, unit="us", tz="UTC")


@pytest.mark.parametrize("encoding", ["JSON", "TEXT"])
def test_format_of_a_mesh_config(tmp_path, encoding):
    """S10-45: the MeshConfig that set it; a JSON object printed by the TEXT encoding is common too."""
    config = {
        "accessLogFile": "/dev/stdout",
        "accessLogEncoding": encoding,
        "accessLogFormat": '{"code":"%RESPONSE_CODE%","took":"%DURATION%","who":"%REQ(X-USER)%","t":"%START_TIME%"}',
    }
    path = write(tmp_path / "x.log", '{"code": "503", "took": 7, "who": "-", "t": "2026-11-23T09:03:08.745Z"}')
    log = meshnb.read_access_log(path, format=config)
    assert (log.response_code[0], log.duration_ms[0]) == (503, 7)
    assert pd.isna(log.who[0])
    assert log.start_time[0] == pd.Timestamp("2026-11-23T09:03:08.745Z")


def test_mesh_config_without_a_format_is_istios_default():
    log = meshnb.read_access_log(TEXTS[0], format={"accessLogEncoding": "TEXT"})
    pd.testing.assert_frame_equal(log, meshnb.read_access_log(TEXTS[0]))


def test_a_format_that_does_not_match_shows_the_line_and_the_position():
    with pytest.raises(FormatError, match=r"line 1, character \d+.*expects"):
        meshnb.read_access_log(TEXTS[0], format="[%START_TIME%] %RESPONSE_CODE%|%DURATION%")
    at, expected = TextFormat("x", "[%START_TIME%] %DURATION%ms").mismatch("(2026-11-23T09:03:08.745Z) 12ms")
    assert (at, expected) == (0, "[")


def test_broken_formats_say_where():
    with pytest.raises(FormatError, match=r"character 5.*no operator"):
        parse_format("abc %START_TIME")
    with pytest.raises(UsageError, match="no access log format"):
        scan_access_log(TEXTS[0], format="hello")
    with pytest.raises(FormatError, match="no JSON"):
        scan_access_log(TEXTS[0], format='{"a": ')


def test_known_formats_split_without_a_regular_expression():
    assert all(TextFormat(name, text).segments for name, text in TEXT_FORMATS.items())
