"""The apps behind the sidecars: `catalog` and `webapp`, small HTTP servers of the standard library.

`POST /blowup` makes a pod misbehave:

    {"active": true, "type": "latency", "volatile": true}   about a second late; volatile: every second request only
    {"active": true, "type": "error", "status": 500}        answers with the status
    {"active": true, "type": "close"}                       closes the connection instead of answering
    {"active": true, "type": "close", "reused": true}       … only a connection that has served a request before
    {"active": true, "type": "reset"}                       resets the connection instead of answering
    {"active": true, "type": "garbage"}                     answers what is no HTTP
    {"active": true, "rules": [{"path": "/items/4", …} …]}  each rule for the paths that begin so; the first one holds
    {"active": false}                                       behaves again
"""

from __future__ import annotations

import argparse
import http.client
import itertools
import json
import socket
import struct
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

ITEMS = [
    {"id": 1, "color": "amber", "department": "Eyewear", "name": "Elinor Glasses", "price": "282.00"},
    {"id": 2, "color": "cyan", "department": "Clothing", "name": "Atlas Shirt", "price": "127.00"},
    {"id": 3, "color": "teal", "department": "Clothing", "name": "Small Metal Shoes", "price": "232.00"},
    {"id": 4, "color": "red", "department": "Watches", "name": "Red Dragon Watch", "price": "232.00"},
]
PROPAGATED = ("x-request-id", "x-forwarded-for", "traceparent", "x-b3-traceid", "x-b3-spanid", "x-b3-sampled")
LATENCY_S = 1.0


class App(ThreadingHTTPServer):
    """One app.

    Args:
        address: where it listens.
        version: `v1` or `v2`; v2 of the catalog adds pictures.
        outbound: `HOST:PORT` of the sidecar's outbound listener, for webapp.
    """

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], *, version: str, outbound: str) -> None:
        super().__init__(address, Handler)
        self.version = version
        self.outbound = outbound
        self.blowup: dict[str, Any] = {"active": False}
        self.counter = itertools.count()
        self.lock = threading.Lock()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A proxy that hangs up is part of the lab; anything else is a fault of the app."""
        if not isinstance(sys.exc_info()[1], ConnectionError | TimeoutError):
            super().handle_error(request, client_address)


class Handler(BaseHTTPRequestHandler):
    """Requests of one connection."""

    server: App
    protocol_version = "HTTP/1.1"
    # header and body in one segment; two would wait 40 ms for each other and look like a slow mesh
    wbufsize = -1
    # requests answered on this connection
    served = 0

    def do_GET(self) -> None:
        """`/items`, `/items/N`, `/api/catalog`, `/ready`."""
        path = self.path.partition("?")[0].rstrip("/")
        if path == "/ready":
            self.answer(200, {"status": "ok"})
            return
        if self._blown_up():
            return
        if path == "/api/catalog" and self.server.outbound:
            self.forward("/items")
        elif path == "/items" and not self.server.outbound:
            self.answer(200, self.items())
        elif path.startswith("/items/") and not self.server.outbound:
            found = [item for item in self.items() if str(item["id"]) == path.rpartition("/")[2]]
            self.answer(200 if found else 404, found[0] if found else {"error": "no such item"})
        else:
            self.answer(404, {"error": f"no {path or '/'} here"})

    def do_POST(self) -> None:
        """`/blowup` changes behaviour; `/items` takes an item and gives it back."""
        length = int(self.headers.get("content-length") or 0)
        body = self.rfile.read(length)
        if self.path == "/blowup":
            self.server.blowup = json.loads(body)
            self.answer(200, self.server.blowup)
        elif not self._blown_up():
            self.answer(201, {"bytes": length})

    def _blown_up(self) -> bool:
        """Misbehave if told to; true if the request is done with."""
        blowup = self.server.blowup
        if not blowup.get("active"):
            return False
        fitting = (rule for rule in blowup.get("rules", [blowup]) if self.path.startswith(rule.get("path", "/")))
        blowup = next(fitting, {})
        with self.server.lock:
            turn = next(self.server.counter)
        if blowup.get("volatile") and turn % 2:
            return False
        kind = blowup.get("type")
        if kind == "latency":
            time.sleep(float(blowup.get("seconds", LATENCY_S)))
        elif kind == "error":
            self.answer(int(blowup.get("status", 500)), {"error": "blown up"})
            return True
        elif kind == "close":
            if blowup.get("reused") and self.served == 0:
                return False
            self.close_connection = True
            return True
        elif kind == "reset":
            # lingering for no time turns the close into a reset
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close_connection = True
            return True
        elif kind == "garbage":
            self.wfile.write(b"220 this is no HTTP\r\n\r\n")
            self.close_connection = True
            return True
        return False

    def items(self) -> list[dict[str, Any]]:
        """The catalog; v2 adds pictures."""
        if self.server.version == "v1":
            return ITEMS
        return [{**item, "imageUrl": f"/images/{item['id']}.png"} for item in ITEMS]

    def forward(self, path: str) -> None:
        """Ask the catalog through this pod's sidecar, as the headers of the request are passed on."""
        host, _, port = self.server.outbound.partition(":")
        connection = http.client.HTTPConnection(host, int(port), timeout=30)
        headers = {name: self.headers[name] for name in PROPAGATED if name in self.headers}
        try:
            sent = {"Host": "catalog.istioinaction", "User-Agent": "webapp", **headers}
            connection.request("GET", path, headers=sent)
            response = connection.getresponse()
            body = response.read()
            status = response.status
        except (OSError, http.client.HTTPException) as error:
            status, body = 500, str(error).encode()
        finally:
            connection.close()
        if status == 200:
            self.answer(200, json.loads(body))
        else:
            self.answer(500, {"error": f"catalog answered {status}: {body.decode(errors='replace')}"})

    def answer(self, status: int, body: object) -> None:
        """Send one JSON answer."""
        self.served += 1
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:
        """One line per request in the container log; `/ready` and `/blowup` are the lab's own."""
        if self.path in ("/ready", "/blowup"):
            return
        stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        print(stamp, self.server.version, format % args, self.headers.get("x-request-id", "-"), flush=True)  # noqa: T201


def main() -> None:
    """Serve until stopped."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--address", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--version", required=True)
    parser.add_argument("--outbound", default="")
    arguments = parser.parse_args()
    App((arguments.address, arguments.port), version=arguments.version, outbound=arguments.outbound).serve_forever()


if __name__ == "__main__":
    main()
