"""The fast way and the careful way give the same rows; what looks clean and is not is read carefully."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from meshnb.loaders.access_log import AccessLog, scan_access_log
from meshnb.loaders.access_log_native import clean_files, native_query

DATA = Path(__file__).parents[1] / "data/logs"
TEXT = (DATA / "access-text-istio-ingressgateway-7d9f8c6b5-lab01.log").read_text().splitlines()
SCENARIOS = json.loads((DATA / "by-scenario.json").read_text())
JSON = [json.dumps(r) for pods in SCENARIOS.values() for rows in pods.values() for r in rows]
LINES = {"text": TEXT * 40, "json": JSON * 3}


def careful(log: AccessLog) -> pd.DataFrame:
    """The rows read line by line, however clean the file looks."""
    slow = scan_access_log([*log._files])
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
    table = log._query(native_query(clean_files(log._files, log._plan), log._plan, sql), sql, "true")
    assert table.num_rows == len(LINES[kind]), "the fast way itself, with nothing to fall back on"


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
