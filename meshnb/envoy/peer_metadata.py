"""`x-envoy-peer-metadata`: who the other proxy says it is. Base64 of a protobuf `Struct`, decoded without protobuf."""

from __future__ import annotations

import base64
import binascii
import re
import struct
from collections.abc import Iterator, Mapping

_NODE_ID = re.compile(
    r"(?P<type>sidecar|router|waypoint|ztunnel)~(?P<ip>[^~]+)~(?P<pod>[^~]+)\.(?P<namespace>[^.~]+)~(?P<domain>.*)"
)
_HEADER = "x-envoy-peer-metadata"
_SHOWN = ("NAME", "NAMESPACE", "WORKLOAD_NAME", "CLUSTER_ID", "ISTIO_VERSION")


def parse_node_id(text: str) -> dict[str, str]:
    """The parts of a proxy's id (`x-envoy-peer-metadata-id`); empty if it is none.

    Example:
        >>> parse_node_id("router~10.0.0.1~gw-0.istio-system~istio-system.svc.cluster.local")["pod"]
        'gw-0'
    """
    match = _NODE_ID.fullmatch(text.strip())
    return match.groupdict() if match else {}


def decode_peer_metadata(text: str) -> dict[str, object]:
    """The metadata as a mapping; empty if it cannot be decoded.

    Example:
        >>> decode_peer_metadata("Cg4KBE5BTUUSBhoEZ3ctMA==")
        {'NAME': 'gw-0'}
    """
    try:
        return _struct(base64.b64decode(text.strip() + "=" * (-len(text.strip()) % 4), validate=True))
    except (binascii.Error, ValueError, IndexError, struct.error, RecursionError):
        return {}


def hide_peer_metadata(name: str, value: str) -> str:
    """A header's value with peer metadata replaced by the identity in it; every other header as it is."""
    if name.lower() != _HEADER:
        return value
    metadata = decode_peer_metadata(value)
    shown = [f"{key}={metadata[key]}" for key in _SHOWN if metadata.get(key)]
    return f"[peer metadata: {', '.join(shown) or f'{len(value)} characters, not decodable'}]"


def _struct(data: bytes) -> dict[str, object]:
    """A `google.protobuf.Struct`: field 1 is a map entry of key (1) and value (2)."""
    result: dict[str, object] = {}
    for number, entry in _fields(data):
        if number != 1 or not isinstance(entry, bytes):
            raise ValueError("not a Struct")
        fields: Mapping[int, object] = dict(_fields(entry))
        key, value = fields.get(1, b""), fields.get(2, b"")
        if not isinstance(key, bytes) or not isinstance(value, bytes):
            raise ValueError("not a Struct")
        result[key.decode()] = _value(value)
    return result


def _value(data: bytes) -> object:
    """A `google.protobuf.Value`: null (1), number (2), string (3), bool (4), struct (5), list (6)."""
    for number, value in _fields(data):
        if number == 3 and isinstance(value, bytes):
            return value.decode()
        if number == 5 and isinstance(value, bytes):
            return _struct(value)
        if number == 6 and isinstance(value, bytes):
            return [_value(item) for _, item in _fields(value) if isinstance(item, bytes)]
        if number == 4:
            return bool(value)
        return None if number == 1 else value
    return None


def _fields(data: bytes) -> Iterator[tuple[int, object]]:
    """Field numbers and values of a protobuf message."""
    position = 0
    while position < len(data):
        tag, position = _varint(data, position)
        kind = tag & 7
        if kind == 0:
            value, position = _varint(data, position)
            yield tag >> 3, value
        elif kind == 2:
            length, position = _varint(data, position)
            if position + length > len(data):
                raise ValueError("cut short")
            yield tag >> 3, data[position : position + length]
            position += length
        elif kind == 1:
            yield tag >> 3, struct.unpack_from("<d", data, position)[0]
            position += 8
        elif kind == 5:
            yield tag >> 3, struct.unpack_from("<f", data, position)[0]
            position += 4
        else:
            raise ValueError("not a protobuf message")


def _varint(data: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[position]
        value |= (byte & 0x7F) << shift
        position, shift = position + 1, shift + 7
        if byte < 0x80:
            return value, position
        if shift > 63:
            raise ValueError("not a varint")
