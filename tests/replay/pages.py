"""Small HTTP servers that answer as a pod's Envoy, agent or istiod did when a snapshot was recorded."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class PageServer:
    """Answers recorded pages; use it as a context manager.

    Args:
        pages: path without query → body, (status, body), or a function from the query to the body.
    """

    def __init__(self, pages):
        self.pages = pages
        self.asked: list[str] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self._server.daemon_threads = True
        self._server.owner = self
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})

    @property
    def address(self):
        return self._server.server_address[:2]

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def _answer(self):
        owner = self.server.owner
        owner.asked.append(f"{self.command} {self.path}")
        self.rfile.read(int(self.headers.get("content-length") or 0))
        path, _, query = self.path.partition("?")
        page = owner.pages.get(path, owner.pages.get("*", (404, b"no such page")))
        page = page(query) if callable(page) else page
        status, body = page if isinstance(page, tuple) else (200, page)
        self.send_response(status)
        self.send_header("Connection", "close")  # said, so that no client uses the connection again
        if len(body) > 1000:
            # Envoy sends long answers in chunks
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for start in range(0, len(body), 8192):
                part = body[start : start + 8192]
                self.wfile.write(f"{len(part):x}\r\n".encode() + part + b"\r\n")
            self.wfile.write(b"0\r\n\r\n")
        else:
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
        self.close_connection = True

    def do_GET(self):
        self._answer()

    def do_POST(self):
        self._answer()
