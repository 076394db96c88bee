"""A bounded fuzz of whole logs: any mixture, any damage, any packing. Parsed + skipped = lines, always.

Hypothesis makes small logs (`test_access_log_damage.py`); here they are long enough for every way of reading them.
`MESHNB_FUZZ_ROUNDS` asks for more rounds.
"""

from __future__ import annotations

import gzip
import os
import random
from pathlib import Path

import pytest
import zstandard

from meshnb.loaders.access_log import scan_access_log

DATA = Path(__file__).parents[1] / "data/logs"
TEXT = (DATA / "access-text-istio-ingressgateway-7d9f8c6b5-lab01.log").read_bytes().splitlines()
JSON = (DATA / "slow-gateway-access.jsonl").read_bytes().splitlines()
FOREIGN = (
    b"2026-11-23T09:03:08.745Z\tinfo\tReadiness succeeded in 1.2s",
    b"[2026-11-23 09:03:08.745][1][info][main] [source/server/server.cc:1] all clusters initialized",
    b"{}",
    b"[]",
    b"null",
    b'"',
    b"",
    b"   ",
    b"\t",
)
PREFIXES = (b"[pod/web-0/istio-proxy] ", b"2026-11-23T09:03:08.730123456Z ", b"2026-11-23T09:03:08.7Z stdout F ", b"")


def damaged(line: bytes, dice: random.Random) -> bytes:
    """One line with one thing wrong."""
    at = dice.randint(0, len(line))
    change = dice.choice(["cut", "tail", "nul", "utf8", "bytes", "quote", "twice", "number", "escape"])
    return {
        "cut": line[:at],
        "tail": line[at:],
        "nul": line[:at] + b"\0" + line[at:],
        "utf8": line[:at] + b"\xff\xfe" + line[at:],
        "bytes": line[:at] + dice.randbytes(3).replace(b"\n", b"x").replace(b"\r", b"x") + line[at:],
        "quote": line[:at] + b'"' + line[at:],
        "twice": line + line,
        "number": line.replace(b"200", b"2OO").replace(b":5", b":-"),
        "escape": line[:at] + b"\\u12" + line[at:],
    }[change]


def log_of(dice: random.Random) -> bytes:
    """A log with foreign and damaged lines, prefixes, either encoding or both, and either line end."""
    pool = dice.choice([TEXT, JSON, [*TEXT, *JSON]])
    prefix, harm = dice.choice(PREFIXES), dice.choice([0.0, 0.01, 0.2, 1.0])
    lines = []
    for _ in range(dice.choice([0, 1, 3, 100, 3000])):
        line = dice.choice(pool)
        if dice.random() < harm:
            line = damaged(line, dice) if dice.random() < 0.7 else dice.choice(FOREIGN)
        lines.append(prefix + line)
    end = dice.choice([b"\n", b"\n", b"\r\n"])
    return end.join(lines) + (end if dice.random() < 0.7 else b"")


def numbers_of(data: bytes) -> list[int]:
    return list(range(1, data.count(b"\n") + (not data.endswith(b"\n") and bool(data)) + 1))


@pytest.mark.parametrize("seed", range(int(os.environ.get("MESHNB_FUZZ_ROUNDS", "16"))))
def test_every_line_is_parsed_or_skipped_and_none_is_both(tmp_path, seed):
    dice = random.Random(seed)
    written: dict[str, bytes] = {}
    for number in range(dice.randint(1, 3)):
        data = log_of(dice)
        pack = dice.choice([lambda given: given, gzip.compress, zstandard.compress])
        path = tmp_path / f"{number}.log"
        path.write_bytes(pack(data))
        # the same bytes under another name are one log, and an empty one has no lines
        if data not in written.values():
            written[str(path)] = data
    scan = scan_access_log(tmp_path)
    log, skipped = scan.to_pandas(), scan.skipped
    for file, data in written.items():
        if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
            continue  # what looks like UTF-16 is read as that
        parsed = log.line[log.file == file].tolist()
        left = skipped.line[(skipped.file == file) & skipped.line.notna()].tolist()
        assert sorted([*parsed, *left]) == numbers_of(data), file
        assert parsed == sorted(parsed)
    assert scan.count() == len(log)
    # neither fewer columns nor a filter changes what was skipped
    few = scan_access_log(tmp_path).filter("response_code >= 500")
    assert len(few.to_pandas(columns=["response_code", "line"])) == int((log.response_code >= 500).sum())
    assert few.skipped.reason.value_counts().to_dict() == skipped.reason.value_counts().to_dict()
