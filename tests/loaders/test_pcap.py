"""Packet captures against Wireshark's own reading of them."""

from __future__ import annotations

import struct
import subprocess
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import meshnb
from meshnb.errors import FormatError, MeshnbError, NotFound
from meshnb.loaders.pcap import LEGEND, read_packets, read_pcap

SLOW = Path(__file__).parents[1] / "data/logs/slow.pcap"


def tshark(path: Path, *fields: str) -> list[list[str]]:
    command = ["tshark", "-r", str(path), "-o", "tcp.relative_sequence_numbers:TRUE", "-T", "fields"]
    done = subprocess.run(
        [*command, *(part for f in fields for part in ("-e", f))], capture_output=True, text=True, check=True
    )
    return [line.split("\t") for line in done.stdout.splitlines()]


def test_packets_are_those_of_tshark():
    """S10-56: pcap. The oracle is tshark; it is part of what the tests need."""
    packets = read_packets(SLOW)
    expected = tshark(SLOW, "frame.number", "tcp.stream", "tcp.len", "tcp.seq", "tcp.srcport", "frame.time_epoch")
    ours = packets.assign(port=packets.source.str.rpartition(":")[2])
    assert ours[["number", "stream", "payload", "seq", "port"]].astype(str).values.tolist() == [
        row[:5] for row in expected
    ]
    assert [t.value for t in packets.time] == [
        int(row[5].split(".")[0]) * 10**9 + int(row[5].split(".")[1]) for row in expected
    ]


def test_flags_are_those_of_tshark():
    packets = read_packets(SLOW)
    bits = {"FIN": 1, "SYN": 2, "RST": 4, "PSH": 8, "ACK": 16}
    ours = [sum(bits[name] for name in text.split()) for text in packets["tcp_flags"]]
    assert ours == [int(f, 16) for (f,) in tshark(SLOW, "tcp.flags")]


def test_the_reading_of_the_notes():
    """S10-57, S10-58: handshake, request, silence of half a second, FIN of the client, late answer refused."""
    (stream,) = [row for row in read_pcap(SLOW, http="GET /items").to_dict("records") if row["stream"] == 5]
    assert stream["http_request"] == "GET /items HTTP/1.1"
    assert stream["handshake_ms"] < 1
    assert pd.isna(stream["first_byte_ms"])
    assert 490 < stream["gap_ms"] < 505
    assert stream["waited_ms"] == pytest.approx(496.974)
    assert (stream["closed_by"], stream["close_how"]) == ("client", "FIN")
    assert stream["late_answer_ms"] == pytest.approx(503.775)
    assert stream["reset_by"] == "client"
    assert stream["retransmissions"] == 0


def test_encrypted_connections_are_read_too():
    streams = meshnb.read_pcap(SLOW).set_index("stream")
    assert streams.http_request.isna()[3]
    # 31 bytes of TLS goodbye are no answer
    assert pd.isna(streams.late_answer_ms[3])
    assert 490 < streams.waited_ms[4] < 505


def test_legend_explains_every_packet():
    """S10-59."""
    packets = read_packets(SLOW, stream=5)
    assert packets.meaning.tolist()[:3] == [LEGEND["SYN"], LEGEND["SYN ACK"], LEGEND["ACK"]]
    assert packets.meaning.tolist()[-1] == LEGEND["RST"]
    assert packets.http.dropna().tolist() == ["GET /items HTTP/1.1", "HTTP/1.1 200 OK"]


def test_pcapng_is_the_same(tmp_path):
    """S10-56: pcapng, written by Wireshark's own editcap."""
    other = tmp_path / "slow.pcapng"
    subprocess.run(["editcap", "-F", "pcapng", str(SLOW), str(other)], check=True)
    pd.testing.assert_frame_equal(read_pcap(other).drop(columns="file"), read_pcap(SLOW).drop(columns="file"))


def packet(seq: int, data: bytes, flags: int = 24, *, ours: bool = True) -> bytes:
    """An Ethernet frame with a VLAN tag, IPv6 with a hop-by-hop header, TCP."""
    ends = (b"\0" * 15 + b"\1", b"\0" * 15 + b"\2")
    source, destination = ends if ours else ends[::-1]
    ports = (1234, 80) if ours else (80, 1234)
    tcp = struct.pack(">HHIIBBHHH", *ports, seq, 0, 5 << 4, flags, 0, 0, 0) + data
    hop = bytes([6, 0]) + b"\0" * 6
    ip = struct.pack(">IHBB", 6 << 28, len(hop) + len(tcp), 0, 64) + source + destination + hop + tcp
    return b"\0" * 12 + struct.pack(">HHH", 0x8100, 7, 0x86DD) + ip


def capture(*frames: bytes, order: str = "<", nano: bool = False) -> bytes:
    magic = 0xA1B23C4D if nano else 0xA1B2C3D4
    head = struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, 65535, 1)
    step = 1000 if nano else 1
    return head + b"".join(
        struct.pack(order + "IIII", 10, i * 1000 * step, len(f), len(f)) + f for i, f in enumerate(frames)
    )


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("nano", [False, True])
def test_vlan_ipv6_and_both_byte_orders(order, nano):
    data = capture(packet(1, b"", 2), packet(9, b"", 18, ours=False), packet(2, b"", 16), order=order, nano=nano)
    (stream,) = read_pcap(data).to_dict("records")
    assert (stream["client"], stream["server"]) == ("[::1]:1234", "[::2]:80")
    assert stream["handshake_ms"] == 2.0


def test_retransmissions_and_reset():
    """S10-59: RST and retransmission."""
    get = b"GET / HTTP/1.1\r\n\r\n"
    frames = [packet(1, b"", 2), packet(2, get), packet(2, get), packet(2, get), packet(9, b"", 4, ours=False)]
    (stream,) = read_pcap(capture(*frames)).to_dict("records")
    assert stream["retransmissions"] == 2
    assert (stream["closed_by"], stream["close_how"], stream["reset_by"]) == ("server", "RST", "server")
    assert stream["bytes_sent"] == len(get)


def test_the_same_ports_again_are_another_connection():
    frames = [packet(1, b"", 2), packet(2, b"x"), packet(3, b"", 17), packet(7000, b"", 2), packet(7001, b"y")]
    assert read_pcap(capture(*frames)).packets.tolist() == [3, 2]


def test_a_capture_cut_short_says_so():
    data = SLOW.read_bytes()
    streams = read_pcap(data[: len(data) // 2], name="half.pcap")
    assert "cut short at byte" in streams.attrs["damage"]
    assert 0 < streams.packets.sum() < 64


def test_not_a_capture():
    with pytest.raises(FormatError, match=r"x\.txt, byte 0: not a packet capture"):
        read_pcap(b"hello world", name="x.txt")
    with pytest.raises(NotFound):
        read_pcap("/nowhere.pcap")
    assert len(read_pcap(capture())) == 0


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_damaged_captures_raise_only_our_errors(data):
    good = bytearray(SLOW.read_bytes()[:4000])
    for _ in range(data.draw(st.integers(1, 20))):
        good[data.draw(st.integers(0, len(good) - 1))] = data.draw(st.integers(0, 255))
    try:
        read_pcap(bytes(good))
    except MeshnbError as error:
        assert isinstance(error, FormatError)
