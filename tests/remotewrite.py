"""Prometheus' remote write, as far as tests need it: one native histogram, in protobuf and snappy, written by hand.

The fields are those of `prompb/types.proto`; snappy is used without compressing, as one literal.
"""

from __future__ import annotations

import struct
import urllib.request
from collections.abc import Mapping, Sequence


def write_histogram(
    url: str,
    labels: Mapping[str, str],
    samples: Sequence[tuple[int, Sequence[int], int, float]],
    *,
    schema: int,
    offset: int,
) -> None:
    """Send a series of native histograms.

    Args:
        url: the server, started with `--web.enable-remote-write-receiver`.
        labels: labels of the series, with `__name__`.
        samples: of each histogram the time in milliseconds, the counts of neighbouring positive buckets, the count of
            zeros and the sum.
        schema: resolution; 0 doubles the bound from bucket to bucket.
        offset: index of the first bucket; of schema 0 the one of index 1 is (1, 2].
    """
    series = b"".join(_field(1, _text(1, name) + _text(2, labels[name])) for name in sorted(labels))
    for at, counts, zeros, total in samples:
        series += _field(4, _histogram(at, counts, zeros, total, schema=schema, offset=offset))
    body = _field(1, series)
    headers = {
        "Content-Type": "application/x-protobuf",
        "Content-Encoding": "snappy",
        "X-Prometheus-Remote-Write-Version": "0.1.0",
    }
    with urllib.request.urlopen(urllib.request.Request(f"{url}/api/v1/write", _snappy(body), headers), timeout=30):
        pass


def _histogram(at: int, counts: Sequence[int], zeros: int, total: float, *, schema: int, offset: int) -> bytes:
    deltas = [count - before for count, before in zip(counts, [0, *counts[:-1]], strict=True)]
    span = _number(1, _zigzag(offset)) + _number(2, len(counts))
    return b"".join(
        (
            _number(1, sum(counts) + zeros),
            _double(3, total),
            _number(4, _zigzag(schema)),
            _double(5, 1e-9),
            _number(6, zeros),
            _field(11, span),
            _field(12, b"".join(_varint(_zigzag(delta)) for delta in deltas)),
            _number(15, at),
        )
    )


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def _zigzag(value: int) -> int:
    return value << 1 if value >= 0 else -value * 2 - 1


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _double(field: int, value: float) -> bytes:
    return _varint(field << 3 | 1) + struct.pack("<d", value)


def _field(field: int, body: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(body)) + body


def _text(field: int, text: str) -> bytes:
    return _field(field, text.encode())


def _snappy(body: bytes) -> bytes:
    # a literal of up to 64 KiB: tag 61, its length less one in two bytes
    return _varint(len(body)) + bytes([61 << 2]) + struct.pack("<H", len(body) - 1) + body
