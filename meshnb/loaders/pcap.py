"""Packet captures as tables: one row per TCP connection, or per packet."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from meshnb.errors import NotFound, Unreachable
from meshnb.loaders.pcap_packets import ACK, FIN, PSH, RST, SYN, Capture, Segment
from meshnb.model.frame import returns
from meshnb.model.tables.logs import PACKETS, TCP_STREAMS

if TYPE_CHECKING:
    import pandas as pd

LEGEND = {
    "SYN": "asks to open the connection",
    "SYN ACK": "agrees to open it",
    "ACK": "has received everything up to here",
    "FIN": "has nothing more to send and closes its side",
    "RST": "refuses: nobody here wants this any more",
    "PSH": "data to be handed on at once",
}
"""What TCP flags mean."""

_NAMES = ((SYN, "SYN"), (FIN, "FIN"), (RST, "RST"), (PSH, "PSH"), (ACK, "ACK"))
_HTTP = re.compile(rb"(?:[A-Z]{3,10} [^ \r\n]+ HTTP/1\.[01]|HTTP/1\.[01] \d{3}[^\r\n]*)(?=\r?\n)")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(slots=True)
class _Stream:
    number: int
    client: tuple[bytes, int]
    server: tuple[bytes, int]
    segments: list[tuple[Segment, bool, bool]] = field(default_factory=list)  # segment, from client, sent before
    next_seq: dict[bool, int] = field(default_factory=dict)
    first_seq: dict[bool, int] = field(default_factory=dict)
    closed: bool = False


@returns(TCP_STREAMS)
def read_pcap(source: str | Path | bytes, *, http: str = "", name: str = "", proxy: str = "") -> pd.DataFrame:
    """Read a packet capture (pcap or pcapng) as TCP connections.

    What is not TCP over IP is counted in `.attrs["other_packets"]`; a capture cut short is read to where it ends and
    `.attrs["damage"]` says so.

    Args:
        source: the file, or its bytes.
        http: only connections whose first HTTP/1 request contains this text, for example `GET /items`.
        name: how to name the capture, if bytes are given.
        proxy: `POD.NAMESPACE` of the pod it was taken in.

    Returns:
        One row per connection, numbered as Wireshark does.

    Raises:
        NotFound: no such file.
        FormatError: not a packet capture.
    """
    capture, streams = _read(source, name)
    rows = [{"proxy": proxy or None, **_row(stream, capture)} for stream in streams]
    df = (
        TCP_STREAMS.rows(row for row in rows if http in str(row["http_request"] or "")) if rows else TCP_STREAMS.empty()
    )
    df.attrs.update(other_packets=capture.other, damage=capture.damage)
    return df


@returns(PACKETS)
def read_packets(source: str | Path | bytes, *, stream: int | None = None, name: str = "") -> pd.DataFrame:
    """Read the TCP packets of a capture.

    Args:
        source: the file, or its bytes.
        stream: only those of one connection.
        name: how to name the capture, if bytes are given.

    Raises:
        NotFound: no such file.
        FormatError: not a packet capture.
    """
    capture, streams = _read(source, name)
    rows = []
    for each in streams:
        if stream in (None, each.number):
            rows += [_packet(each, *segment, capture) for segment in each.segments]
    return PACKETS.rows(sorted(rows, key=lambda row: int(str(row["number"]))))


def _read(source: str | Path | bytes, name: str) -> tuple[Capture, list[_Stream]]:
    if isinstance(source, bytes):
        data = source
    else:
        try:
            data = Path(source).expanduser().read_bytes()
        except FileNotFoundError as error:
            raise NotFound(f"no capture at {source}") from error
        except OSError as error:
            raise Unreachable(f"cannot read {source}: {error.strerror}") from error
    capture = Capture(data, name=name or ("capture" if isinstance(source, bytes) else str(source)))
    return capture, list(_streams(capture))


def _streams(capture: Capture) -> Iterator[_Stream]:
    """Connections in order of their first packet; the same four numbers used again are another connection."""
    streams: list[_Stream] = []
    open_ones: dict[frozenset[tuple[bytes, int]], _Stream] = {}
    for segment in capture.segments():
        key = frozenset((segment.source, segment.destination))
        stream = open_ones.get(key)
        opens = segment.flags & (SYN | ACK) == SYN
        again = stream is not None and opens and segment.seq != stream.first_seq.get(segment.source == stream.client)
        if stream is None or again:
            client_first = opens or not segment.flags & SYN
            client, server = (segment.source, segment.destination)[:: 1 if client_first else -1]
            stream = _Stream(len(streams), client, server)
            streams.append(stream)
            open_ones[key] = stream
        _add(stream, segment)
    yield from streams


def _add(stream: _Stream, segment: Segment) -> None:
    ours = segment.source == stream.client
    # the SYN is number 0; in a connection captured from its middle, the first packet is number 1
    stream.first_seq.setdefault(ours, segment.seq if segment.flags & SYN else segment.seq - 1)
    end = (segment.seq + segment.length) & 0xFFFFFFFF
    expected = stream.next_seq.get(ours)
    behind = expected is not None and (expected - end) & 0xFFFFFFFF < 1 << 31
    sent_before = bool(segment.length) and behind
    if not behind:
        stream.next_seq[ours] = end + (1 if segment.flags & (SYN | FIN) else 0)
    stream.segments.append((segment, ours, sent_before))


def _row(stream: _Stream, capture: Capture) -> dict[str, object]:
    segments = stream.segments
    start = segments[0][0].time_us
    asked = [s for s, ours, again in segments if ours and s.length and not again and not _alert(s)]
    answered = [s for s, ours, again in segments if not ours and s.length and not again and not _alert(s)]
    first_answer = answered[0].time_us if answered else None
    # the first request ends where the client stops sending before the first answer
    request = [s for s in asked if first_answer is None or s.time_us <= first_answer]
    sent = request[-1].time_us if request else None
    close = next(((s, ours) for s, ours, _ in segments if s.flags & (FIN | RST)), None)
    late = unanswered = None
    if close:
        last = next((s for s in reversed(asked) if s.number < close[0].number), None)
        if last and not any(last.number < s.number < close[0].number for s in answered):
            unanswered = last.time_us
        late = next((s.time_us for s in answered if close[1] and s.number > close[0].number), None)
    in_time = first_answer is not None and (late is None or first_answer < late)
    gap, gap_at = max(
        ((b[0].time_us - a[0].time_us, a[0].time_us) for a, b in pairwise(segments)),
        default=(None, None),
    )
    reset = next((ours for s, ours, _ in segments if s.flags & RST), None)
    return {
        "stream": stream.number,
        "client": _address(stream.client),
        "server": _address(stream.server),
        "start": _time(start),
        "packets": len(segments),
        "handshake_ms": _handshake(stream),
        "bytes_sent": sum(s.length for s in asked),
        "bytes_received": sum(s.length for s in answered),
        "request_at_ms": _ms(asked[0].time_us if asked else None, start),
        "first_byte_ms": _ms(first_answer if in_time else None, sent),
        "gap_ms": None if gap is None else gap / 1000,
        "gap_at_ms": _ms(gap_at, start),
        "closed_by": None if close is None else "client" if close[1] else "server",
        "close_how": None if close is None else "RST" if close[0].flags & RST else "FIN",
        "waited_ms": _ms(close[0].time_us if close else None, unanswered),
        "late_answer_ms": _ms(late, close[0].time_us if close else None),
        "reset_by": None if reset is None else "client" if reset else "server",
        "retransmissions": sum(again for _, _, again in segments),
        "http_request": next(filter(None, map(_http, asked)), None),
        "http_status": next(filter(None, map(_http, answered)), None),
        "file": capture.name,
    }


def _handshake(stream: _Stream) -> float | None:
    """From SYN to the client's ACK of the server's SYN."""
    asks = next((s for s, ours, _ in stream.segments if ours and s.flags & SYN), None)
    agrees = next((s for s, ours, _ in stream.segments if not ours and s.flags & SYN and s.flags & ACK), None)
    if asks is None or agrees is None:
        return None
    done = (s for s, ours, _ in stream.segments if ours and s.flags & ACK and s.number > agrees.number)
    last = next(done, None)
    return _ms(last.time_us if last else None, asks.time_us)


def _packet(stream: _Stream, segment: Segment, ours: bool, again: bool, capture: Capture) -> dict[str, object]:
    flags = [name for bit, name in _NAMES if segment.flags & bit]
    told = "SYN ACK" if {"SYN", "ACK"} <= set(flags) else next((f for f in ("SYN", "RST", "FIN") if f in flags), "")
    told = told or ("ACK" if not segment.length else "")
    return {
        "number": segment.number,
        "time": _time(segment.time_us),
        "stream": stream.number,
        "direction": "client" if ours else "server",
        "source": _address(segment.source),
        "destination": _address(segment.destination),
        "tcp_flags": " ".join(flags),
        "seq": (segment.seq - stream.first_seq[ours]) & 0xFFFFFFFF,
        "payload": segment.length,
        "retransmission": again,
        "meaning": "the same data again" if again else LEGEND.get(told, "data"),
        "http": _http(segment),
        "file": capture.name,
    }


def _http(segment: Segment) -> str | None:
    match = _HTTP.match(segment.data)
    return match.group().decode(errors="replace") if match else None


def _alert(segment: Segment) -> bool:
    """Whether it is a TLS alert: a goodbye, no answer."""
    return segment.data[:2] == b"\x15\x03"


def _address(address: tuple[bytes, int]) -> str:
    ip = ipaddress.ip_address(address[0])
    return f"[{ip}]:{address[1]}" if ip.version == 6 else f"{ip}:{address[1]}"


def _ms(later: int | None, earlier: int | None) -> float | None:
    return None if later is None or earlier is None else (later - earlier) / 1000


def _time(microseconds: int) -> datetime:
    return _EPOCH + timedelta(microseconds=microseconds)
