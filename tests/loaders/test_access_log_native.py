"""The fast way and the careful way give the same rows; what looks clean and is not is read carefully."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pandas as pd
import pytest
import zstandard

from meshnb.loaders.access_log import AccessLog, scan_access_log
from meshnb.loaders.access_log_engine import query_rows
from meshnb.loaders.access_log_native import clean_files, native_query

DATA = Path(__file__).parents[1] / "data/logs"
TEXT = (DATA / "access-text-istio-ingressgateway-7d9f8c6b5-lab01.log").read_text().splitlines()
SCENARIOS = json.loads((DATA / "by-scenario.json").read_text())
JSON = [json.dumps(r) for pods in SCENARIOS.values() for rows in pods.values() for r in rows]
LINES = {"text": TEXT * 40, "json": JSON * 3}


def careful(log: AccessLog) -> pd.DataFrame:
    """The rows read line by line, however clean the file looks."""
    slow = scan_access_log([*log._files])
    slow._whole = lambda columns, **_: None  # type: ignore[method-assign]
    slow._run = lambda sql, **more: AccessLog._run(slow, sql, **{**more, "careful": True})  # type: ignore[method-assign]
    return slow.to_pandas()


def is_clean(log: AccessLog) -> bool:
    return bool(clean_files(log._files, log._plan))


@pytest.mark.parametrize("kind", LINES)
def test_both_ways_give_the_same(tmp_path, kind):
    path = tmp_path / "x.log"
    path.write_text("".join(f"{line}\n" for line in LINES[kind]))
    log = scan_access_log(path)
    assert is_clean(log)
    pd.testing.assert_frame_equal(log.to_pandas(), careful(log))
    names = ", ".join(f'"{column}"' for column in log.columns)
    sql = f"SELECT {names} FROM log"
    table = query_rows(log._files, native_query(clean_files(log._files, log._plan), log._plan, sql), sql, "true")
    assert table.num_rows == len(LINES[kind]), "the fast way itself, with nothing to fall back on"


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_a_key_in_the_middle_of_a_large_file_is_found_and_the_file_read_again(tmp_path, pack):
    lines = JSON * (6_000_000 // len("".join(JSON)))
    at = len(lines) * 2 // 5
    late = [json.dumps({**json.loads(JSON[0]), "trace_id": "abc"})] * (len(lines) // 4)
    (tmp_path / "x.log").write_bytes(pack("".join(f"{x}\n" for x in [*lines[:at], *late, *lines[at:]]).encode()))
    log = scan_access_log(tmp_path / "x.log")
    assert is_clean(log) or pack is bytes, "of a file that is not packed the keys are sampled before"
    df = log.to_pandas()
    assert df.trace_id.notna().sum() == len(late) and df.columns[-1] == "trace_id" in log.columns
    assert df.trace_id.first_valid_index() == at and len(df) == len(lines) + len(late)


def packed(path: Path, data: bytes, how: str, *, cut: int = 0) -> Path:
    """The data as a compressed file of two parts, as log rotation makes them, the second one cut short."""
    half = data.index(b"\n", len(data) // 2) + 1
    pack = gzip.compress if how == "gzip" else zstandard.ZstdCompressor().compress
    parts = pack(data[:half]) + pack(data[half:])
    path.write_bytes(parts[: len(parts) - cut])
    return path


@pytest.mark.parametrize("kind", LINES)
@pytest.mark.parametrize("how", ["gzip", "zstd"])
def test_compressed_files_are_read_the_fast_way_too(tmp_path, kind, how):
    data = "".join(f"{line}\n" for line in LINES[kind]).encode()
    log = scan_access_log(packed(tmp_path / "x.log", data, how))
    assert is_clean(log)
    pd.testing.assert_frame_equal(log.to_pandas(), careful(log))
    assert log.group("flag_set").requests.sum() == len(LINES[kind])


@pytest.mark.parametrize("kind", LINES)
@pytest.mark.parametrize("how", ["gzip", "zstd"])
@pytest.mark.parametrize("cut", [1, 40])
def test_a_compressed_file_cut_short_gives_what_is_there_and_says_so(tmp_path, kind, how, cut):
    data = "".join(f"{line}\n" for line in LINES[kind]).encode()
    log = scan_access_log(packed(tmp_path / "x.log", data, how, cut=cut))
    df = log.to_pandas()
    assert len(LINES[kind]) / 2 - 1 <= len(df) <= len(LINES[kind])
    assert any("cut short" in reason for reason in log.skipped.reason)
    grouped = scan_access_log(tmp_path / "x.log")
    assert grouped.group("flag_set").requests.sum() == len(df)
    assert any("cut short" in reason for reason in grouped.skipped.reason)


@pytest.mark.parametrize("how", ["gzip", "zstd"])
def test_a_compressed_file_damaged_in_the_middle_says_so(tmp_path, how):
    data = "".join(f"{line}\n" for line in JSON * 40).encode()
    path = packed(tmp_path / "x.log", data, how)
    damaged = bytearray(path.read_bytes())
    damaged[len(damaged) // 2 + 40 :] = bytes(byte ^ 0x5A for byte in damaged[len(damaged) // 2 + 40 :])
    path.write_bytes(damaged)
    log = scan_access_log(path)
    rows = len(log.to_pandas())
    assert any("damaged" in reason for reason in log.skipped.reason)
    assert scan_access_log(path).group("flag_set").requests.sum() == rows


@pytest.mark.parametrize("how", ["gzip", "zstd"])
def test_a_blank_line_of_a_compressed_file_is_counted(tmp_path, how):
    lines = [*LINES["json"], "", *LINES["json"]]
    log = scan_access_log(packed(tmp_path / "x.log", "".join(f"{line}\n" for line in lines).encode(), how))
    df = log.to_pandas()
    assert df.line.iloc[-1] == len(lines) and log.skipped.reason.tolist() == ["blank line"]


def test_a_key_that_first_appears_in_the_middle_is_kept(tmp_path):
    lines = JSON * 40
    lines[len(lines) // 2 : len(lines) // 2 + 200] = [
        json.dumps({**json.loads(line), "tenant": "a"}) for line in (JSON * 2)[:200]
    ]
    path = tmp_path / "x.log"
    path.write_text("".join(f"{line}\n" for line in lines))
    assert scan_access_log(path).to_pandas().tenant.count() == 200


@pytest.mark.parametrize("kind", LINES)
@pytest.mark.parametrize(
    "odd",
    [
        b"2026-11-23T09:03:07.123456Z\tinfo\tEnvoy proxy is ready",
        b"",
        b"   ",
        b'{"level":"info"}',
        b'{"start_time":"2026-11-23T08:36:16.251Z","duration":"soon"}',
        b'{"start_time":"20',
        b"\xff\xfe",
        b"a\0b",
        b'[2026-11-23T09:03:08.730Z] "GET /items',
        TEXT[0].replace("labclient/1", 'a "quoted" agent').encode(),
        TEXT[0].replace(" 200 ", " OK ").encode(),
    ],
)
def test_an_odd_line_in_the_middle_is_found(tmp_path, kind, odd):
    """The beginning and the end look clean; no line is lost, and none gets another's number."""
    lines = [line.encode() for line in LINES[kind]]
    middle = len(lines) // 2
    path = tmp_path / "x.log"
    path.write_bytes(b"\n".join([*lines[:middle], odd, *lines[middle:]]) + b"\n")
    assert path.stat().st_size > 400_000
    log = scan_access_log(path)
    assert is_clean(log)
    df = log.to_pandas()
    assert len(df) + len(log.skipped) == len(lines) + 1
    expected = [n for n in range(1, len(lines) + 2) if n not in set(log.skipped.line)]
    assert df.line.tolist() == expected
    assert set(log.skipped.line) <= {middle + 1}
    late = scan_access_log(path).filter("duration_ms >= 0").to_pandas(columns=["line"])
    # a field that is not asked for is not looked at, so that a wrong number elsewhere does not count here
    assert set(late.line) - set(expected) <= ({middle + 1} if b" OK " in odd else set())


def test_old_envoys_with_text_in_numbers_are_read(tmp_path):
    """Before 1.13 or so, every JSON value was text and `-` was missing."""
    record = {k: "-" if v is None else str(v) for k, v in json.loads(JSON[0]).items()}
    path = tmp_path / "x.log"
    path.write_text((json.dumps(record) + "\n") * 3 + (json.dumps({**record, "duration": "-"}) + "\n"))
    df = scan_access_log(path).to_pandas()
    assert df.response_code.tolist() == [200] * 4
    assert df.duration_ms.isna().tolist() == [False, False, False, True]


def test_several_clean_files_keep_their_own_numbers(tmp_path):
    for name, kind in (("a.log", "text"), ("b.log", "json")):
        (tmp_path / name).write_text("".join(f"{line}\n" for line in LINES[kind][:50]))
    log = scan_access_log(tmp_path)
    assert is_clean(log)
    df = log.to_pandas()
    assert df.line.tolist() == [*range(1, 51), *range(1, 51)]
    pd.testing.assert_frame_equal(df, careful(log))
