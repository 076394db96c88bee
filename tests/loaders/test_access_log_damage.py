"""Logs as they come: prefixes of kubectl, several pods, compression, damage. Parsed + skipped = lines, always."""

from __future__ import annotations

import gzip
import io
import json
import sys
from pathlib import Path

import pandas as pd
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

import meshnb
from meshnb.loaders.access_log import scan_access_log

DATA = Path(__file__).parents[1] / "data/logs"
GATEWAY = DATA / "access-text-istio-ingressgateway-7d9f8c6b5-lab01.log"
TEXT = GATEWAY.read_text().splitlines()
JSON = (DATA / "slow-gateway-access.jsonl").read_text().splitlines()


def bare(log: pd.DataFrame) -> pd.DataFrame:
    return log.drop(columns=["file", "pod", "container", "proxy", "line"])


def lines_of(data: bytes) -> int:
    return data.count(b"\n") + (not data.endswith(b"\n") and bool(data))


def read(path: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    log = scan_access_log(path)
    return log.to_pandas(), log.skipped


@pytest.mark.parametrize(
    "prefix",
    [
        "[pod/web-0/istio-proxy] ",
        "2026-11-23T09:03:08.730123456Z ",
        "[pod/web-0/istio-proxy] 2026-11-23T10:03:08.730123456+01:00 ",
        "2026-11-23T09:03:08.730123456Z stdout F ",
    ],
)
@pytest.mark.parametrize("lines", [TEXT, JSON], ids=["TEXT", "JSON"])
def test_prefixes_of_kubectl_and_container_runtimes(tmp_path, prefix, lines):
    path = tmp_path / "x.log"
    path.write_text("".join(f"{prefix}{line}\n" for line in lines))
    (tmp_path / "bare.log").write_text("".join(f"{line}\n" for line in lines))
    log = meshnb.read_access_log(path)
    pd.testing.assert_frame_equal(bare(log), bare(meshnb.read_access_log(tmp_path / "bare.log")))
    if "pod/" in prefix:
        assert set(log.pod) == set(log.proxy) == {"web-0"}
        assert set(log.container) == {"istio-proxy"}


def test_several_pods_at_once(tmp_path):
    path = tmp_path / "x.log"
    path.write_text("".join(f"[pod/web-{i % 3}/istio-proxy] {line}\n" for i, line in enumerate(TEXT)))
    log = meshnb.read_access_log(path)
    assert log.pod.tolist() == [f"web-{i % 3}" for i in range(len(TEXT))]


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.compress], ids=["gz", "zst"])
def test_compressed_files(tmp_path, pack):
    data = GATEWAY.read_bytes()
    # a file that was appended to after rotation has two parts
    path = tmp_path / "x.log.packed"
    half = data.index(b"\n", len(data) // 2) + 1
    path.write_bytes(pack(data[:half]) + pack(data[half:]))
    pd.testing.assert_frame_equal(bare(meshnb.read_access_log(path)), bare(meshnb.read_access_log(GATEWAY)))


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.compress], ids=["gz", "zst"])
def test_a_compressed_file_cut_short_gives_what_is_there(tmp_path, pack):
    data = GATEWAY.read_bytes() * 50
    packed = pack(data)
    path = tmp_path / "x.log.packed"
    path.write_bytes(packed[: len(packed) * 2 // 3])
    log, skipped = read(path)
    assert skipped[skipped.line.isna()].reason.str.contains("ends early|damaged").tolist() == [True]
    assert 0 <= len(log) < len(TEXT) * 50
    assert log.attrs["skipped"]


def test_standard_input(monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(GATEWAY.read_bytes())))
    log = scan_access_log("-")
    assert log.count() == len(TEXT)
    assert len(log.to_pandas()) == len(TEXT)


def test_utf16_as_powershell_writes_it(tmp_path):
    path = tmp_path / "x.log"
    path.write_bytes(GATEWAY.read_text().encode("utf-16"))
    pd.testing.assert_frame_equal(bare(meshnb.read_access_log(path)), bare(meshnb.read_access_log(GATEWAY)))


def test_windows_line_ends_and_no_newline_at_the_end(tmp_path):
    path = tmp_path / "x.log"
    path.write_bytes("\r\n".join([*TEXT[:3], *JSON[:3]]).encode())
    log = meshnb.read_access_log(path)
    assert len(log) == 6
    assert log.route_name[0] == "catalog-default"


def test_a_file_that_vanishes_is_named(tmp_path):
    path = tmp_path / "x.log"
    path.write_text(TEXT[0])
    log = scan_access_log(path)
    path.unlink()
    with pytest.raises(meshnb.errors.NotFound, match=r"no log file at .*x\.log"):
        log.to_pandas()


def test_damaged_lines_are_named(tmp_path):
    path = tmp_path / "x.log"
    lines = [
        TEXT[0].encode(),
        TEXT[1].encode()[:50],
        JSON[0].encode()[:50],
        TEXT[2].encode().replace(b"labclient", b"\xff\xfe"),
        JSON[1].encode().replace(b"labclient", b"\0"),
        JSON[2].encode().replace(b'"duration": ', b'"duration": "x"; '),
        json.dumps({**json.loads(JSON[2]), "duration": "soon"}).encode(),
        TEXT[3].encode().replace(b" 200 ", b" OK "),
        JSON[3].encode(),
    ]
    path.write_bytes(b"\n".join(lines))
    log, skipped = read(path)
    assert log.line.tolist() == [1, 9]
    assert dict(zip(skipped.line, skipped.reason, strict=True)) == {
        2: "does not match the access log format",
        3: "not JSON: cut short or damaged",
        4: "not UTF-8",
        5: "holds NUL bytes",
        6: "not JSON: cut short or damaged",
        7: "a field holds no number or time where one belongs",
        8: "a field holds no number or time where one belongs",
    }


def test_a_line_of_a_hundred_megabytes_costs_no_memory(tmp_path):
    path = tmp_path / "x.log"
    with path.open("wb") as file:
        file.write(TEXT[0].encode() + b"\n")
        for _ in range(100):
            file.write(b"x" * (1 << 20))
        file.write(b"\n" + TEXT[1].encode() + b"\n")
    log, skipped = read(path)
    assert log.line.tolist() == [1, 3]
    assert skipped.reason.tolist() == ["longer than 16 MiB"]
    assert len(skipped.excerpt[0]) <= 160


def test_empty_files_and_rotated_ones(tmp_path):
    (tmp_path / "a.log").write_bytes(b"")
    (tmp_path / "a.log.1").write_bytes(GATEWAY.read_bytes())
    other = b"".join(line.encode() + b"\n" for line in TEXT)
    (tmp_path / "a.log.2.gz").write_bytes(gzip.compress(other))
    (tmp_path / "picture.png").write_bytes(b"\x89PNG")
    log = scan_access_log(tmp_path)
    assert log.count() == 2 * len(TEXT)
    assert log.skipped.empty
    assert set(log.to_pandas().file) == {str(tmp_path / "a.log.1"), str(tmp_path / "a.log.2.gz")}


def test_the_same_log_twice_counts_once_and_is_told(tmp_path):
    for name in ("a.log", "copy of a.log"):
        (tmp_path / name).write_bytes(GATEWAY.read_bytes())
    log = scan_access_log(tmp_path)
    assert log.count() == len(TEXT)
    assert log.skipped.reason.tolist() == [f"the same as {tmp_path / 'a.log'}, not read again"]
    assert log.to_pandas().attrs["skipped"] == dict.fromkeys(log.skipped.reason, 1)


def test_a_clock_that_jumps_back_keeps_the_order_of_the_lines(tmp_path):
    path = tmp_path / "x.log"
    path.write_text("\n".join([TEXT[5], TEXT[0], TEXT[9]]))
    log = meshnb.read_access_log(path)
    assert log.line.tolist() == [1, 2, 3]
    assert not log.start_time.is_monotonic_increasing


_PIECES = st.one_of(
    st.sampled_from([line.encode() for line in (*TEXT, *JSON)]),
    st.sampled_from([line.encode() for line in (*TEXT, *JSON)]).flatmap(
        lambda line: st.integers(0, len(line)).map(lambda at: line[:at])
    ),
    st.binary(max_size=40),
    st.text(max_size=40).map(str.encode),
)


@settings(max_examples=30, deadline=None)
@given(pieces=st.lists(_PIECES, max_size=12), end=st.sampled_from([b"", b"\n"]))
def test_parsed_and_skipped_are_all_lines(tmp_path_factory, pieces, end):
    data = b"\n".join(pieces) + end
    path = tmp_path_factory.mktemp("fuzz") / "x.log"
    path.write_bytes(data)
    magic = data[:2] in (b"\x1f\x8b", b"\xff\xfe", b"\xfe\xff") or data[:4] == b"\x28\xb5\x2f\xfd"
    log, skipped = read(path)
    if not magic:
        assert len(log) + len(skipped) == lines_of(data)
        assert sorted([*log.line, *skipped.line]) == list(range(1, lines_of(data) + 1))
