"""Packet captures taken apart: pcap and pcapng, down to TCP segments. No dependency, some 300,000 packets a second."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from meshnb.errors import FormatError

FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16
_IPV4, _IPV6, _VLAN = 0x0800, 0x86DD, (0x8100, 0x88A8)
_EXTENSIONS = (0, 43, 44, 60)  # IPv6 headers between the fixed one and TCP
_MAGICS = {
    b"\xd4\xc3\xb2\xa1": ("<", 1e-6),
    b"\xa1\xb2\xc3\xd4": (">", 1e-6),
    b"\x4d\x3c\xb2\xa1": ("<", 1e-9),
    b"\xa1\xb2\x3c\x4d": (">", 1e-9),
}
_NEXT_GENERATION = b"\x0a\x0d\x0d\x0a"


@dataclass(frozen=True, slots=True)
class Segment:
    """One TCP segment.

    Args:
        number: number of the packet, from 1.
        time_us: microseconds since 1970.
        source: address and port of the sender.
        destination: address and port of the receiver.
        flags: TCP flags.
        seq: sequence number.
        length: length of the payload on the wire.
        data: the payload as far as it was captured.
    """

    number: int
    time_us: int
    source: tuple[bytes, int]
    destination: tuple[bytes, int]
    flags: int
    seq: int
    length: int
    data: bytes


class Capture:
    """The packets of a capture.

    Args:
        data: the file.
        name: how to name it to the user.

    Attributes:
        packets: packets seen so far, of any protocol.
        other: packets that are not TCP over IP, or of an unknown link type.
        damage: why reading ended early, empty if it did not.
    """

    def __init__(self, data: bytes, *, name: str) -> None:
        self._data, self.name = data, name
        self.packets = self.other = 0
        self.damage = ""
        if data[:4] not in _MAGICS and data[:4] != _NEXT_GENERATION:
            raise FormatError(
                "not a packet capture",
                file=name,
                position="byte 0",
                hint="write one with: tcpdump -w FILE, or ksniff with -o FILE (pcap or pcapng)",
            )

    def segments(self) -> Iterator[Segment]:
        """TCP segments in order."""
        frames = self._pcapng() if self._data[:4] == _NEXT_GENERATION else self._pcap()
        for link, time_us, frame in frames:
            self.packets += 1
            segment = _segment(self.packets, link, time_us, frame)
            if segment is None:
                self.other += 1
            else:
                yield segment

    def _pcap(self) -> Iterator[tuple[int, int, memoryview]]:
        order, unit = _MAGICS[self._data[:4]]
        data = memoryview(self._data)
        if len(data) < 24:
            self.damage = "cut short in its header"
            return
        link = struct.unpack_from(order + "I", data, 20)[0] & 0xFFFF
        head = struct.Struct(order + "IIII")
        position, factor = 24, 1 if unit == 1e-6 else 1000
        while position + 16 <= len(data):
            seconds, fraction, captured, _ = head.unpack_from(data, position)
            position += 16
            if position + captured > len(data):
                self.damage = f"cut short at byte {position}"
                return
            yield link, seconds * 1_000_000 + fraction // factor, data[position : position + captured]
            position += captured
        if position != len(data):
            self.damage = f"cut short at byte {position}"

    def _pcapng(self) -> Iterator[tuple[int, int, memoryview]]:
        data, position, order = memoryview(self._data), 0, "<"
        links: list[tuple[int, int]] = []  # of each interface: link type, ticks per second
        while position + 12 <= len(data):
            kind = bytes(data[position : position + 4])
            if kind == _NEXT_GENERATION:
                order = "<" if bytes(data[position + 8 : position + 12]) == b"\x4d\x3c\x2b\x1a" else ">"
                links = []
            size = struct.unpack_from(order + "I", data, position + 4)[0]
            if size < 12 or position + size > len(data):
                self.damage = f"cut short at byte {position}"
                return
            body = data[position + 8 : position + size - 4]
            number = struct.unpack(order + "I", kind)[0]
            if number == 1 and len(body) >= 8:
                links.append((struct.unpack_from(order + "H", body)[0], _resolution(body[8:], order)))
            elif number == 6 and len(body) >= 20:
                interface, high, low, captured, _ = struct.unpack_from(order + "IIIII", body)
                if interface < len(links):
                    link, ticks = links[interface]
                    yield link, ((high << 32) + low) * 1_000_000 // ticks, body[20 : 20 + captured]
            position += size
        if position != len(data):
            self.damage = f"cut short at byte {position}"


def _resolution(options: memoryview, order: str) -> int:
    """Ticks per second of an interface (option `if_tsresol`), a million unless it says otherwise."""
    position = 0
    while position + 4 <= len(options):
        code, size = struct.unpack_from(order + "HH", options, position)
        if code == 9 and size and position + 4 < len(options):
            value = options[position + 4]
            return int(2 ** (value & 0x7F)) if value & 0x80 else int(10**value)
        if code == 0:
            break
        position += 4 + (size + 3) // 4 * 4
    return 1_000_000


def _segment(number: int, link: int, time_us: int, frame: memoryview) -> Segment | None:
    try:
        packet = _network(link, frame)
        return None if packet is None else _tcp(number, time_us, packet)
    except (struct.error, IndexError):
        return None


def _network(link: int, frame: memoryview) -> memoryview | None:
    """The IP packet in a frame of a link type."""
    if link == 1:  # Ethernet
        kind, offset = struct.unpack_from(">H", frame, 12)[0], 14
    elif link == 113:  # Linux cooked, what `-i any` gave
        kind, offset = struct.unpack_from(">H", frame, 14)[0], 16
    elif link == 276:  # Linux cooked, version 2
        kind, offset = struct.unpack_from(">H", frame, 0)[0], 20
    elif link in (0, 108):  # loopback of BSD and macOS
        return frame[4:]
    elif link in (12, 14, 101, 228, 229):  # raw IP
        return frame
    else:
        return None
    while kind in _VLAN:
        kind, offset = struct.unpack_from(">H", frame, offset + 2)[0], offset + 4
    return frame[offset:] if kind in (_IPV4, _IPV6) else None


def _tcp(number: int, time_us: int, packet: memoryview) -> Segment | None:
    version = packet[0] >> 4
    if version == 4:
        size, protocol = (packet[0] & 15) * 4, packet[9]
        if struct.unpack_from(">H", packet, 6)[0] & 0x1FFF:  # a later fragment has no TCP header
            return None
        total = struct.unpack_from(">H", packet, 2)[0] or len(packet)  # 0: segmentation was left to the card
        source, destination = bytes(packet[12:16]), bytes(packet[16:20])
    elif version == 6:
        size, protocol = 40, packet[6]
        total = 40 + (struct.unpack_from(">H", packet, 4)[0] or len(packet) - 40)
        source, destination = bytes(packet[8:24]), bytes(packet[24:40])
        while protocol in _EXTENSIONS:
            protocol, size = packet[size], size + (8 if protocol == 44 else 8 + packet[size + 1] * 8)
    else:
        return None
    if protocol != 6:
        return None
    sport, dport, seq, _, offset, flags = struct.unpack_from(">HHIIBB", packet, size)
    begin = size + (offset >> 4) * 4
    return Segment(
        number,
        time_us,
        (source, sport),
        (destination, dport),
        flags,
        seq,
        max(total - begin, 0),
        bytes(packet[begin : min(total, len(packet))]),
    )
