"""The server's side of a websocket: handshake and frames, as far as port-forward and exec need them."""

from __future__ import annotations

import base64
import hashlib
import struct

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
BINARY, CLOSE, PING = 0x2, 0x8, 0x9


class ServerWebsocket:
    """One connection, after the handshake.

    Args:
        rfile: where frames come from.
        wfile: where frames go.
    """

    def __init__(self, rfile, wfile):
        self.rfile, self.wfile = rfile, wfile

    def send(self, data: bytes, opcode: int = BINARY) -> None:
        """Write one frame; the server's are not masked."""
        size = len(data)
        if size < 126:
            head = struct.pack("!BB", 0x80 | opcode, size)
        elif size < 1 << 16:
            head = struct.pack("!BBH", 0x80 | opcode, 126, size)
        else:
            head = struct.pack("!BBQ", 0x80 | opcode, 127, size)
        self.wfile.write(head + data)
        self.wfile.flush()

    def receive(self) -> bytes | None:
        """The next binary frame; `None` when the client closes."""
        while True:
            head = self.rfile.read(2)
            if len(head) < 2:
                return None
            opcode, size = head[0] & 0xF, head[1] & 0x7F
            if size == 126:
                (size,) = struct.unpack("!H", self.rfile.read(2))
            elif size == 127:
                (size,) = struct.unpack("!Q", self.rfile.read(8))
            mask = self.rfile.read(4) if head[1] & 0x80 else b"\0\0\0\0"
            data = bytes(byte ^ mask[i % 4] for i, byte in enumerate(self.rfile.read(size)))
            if opcode == CLOSE:
                return None
            if opcode == BINARY:
                return data

    def close(self) -> None:
        """Say goodbye."""
        self.send(struct.pack("!H", 1000), CLOSE)


def accept_key(key: str) -> str:
    """What the handshake answers to a key."""
    return base64.b64encode(hashlib.sha1(key.encode() + _GUID).digest()).decode()
