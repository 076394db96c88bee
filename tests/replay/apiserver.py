"""A Kubernetes API server that replays objects over real HTTP, with the faults real ones have.

Lists are paged, continue tokens expire, answers are refused, slow or cut; changes are watched; logs are served;
port-forward and exec run over websockets into other sockets of this machine. The official client and kubectl both read
from it.
"""

from __future__ import annotations

import base64
import contextlib
import json
import socket
import ssl
import struct
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import chain
from urllib.parse import parse_qs, unquote, urlparse

from replay.history import History
from replay.websocket_server import ServerWebsocket, accept_key

from meshnb.model.resources import RESOURCES

_BY_PLURAL = {r.plural: r for r in RESOURCES}


@dataclass
class Fault:
    """What goes wrong with requests whose path and query hold `match`, `times` times."""

    match: str
    status: int = 500
    message: str = "replayed fault"
    times: int = 1 << 30
    headers: dict[str, str] = field(default_factory=dict)
    cut: bool = False
    hang: threading.Event | None = None
    after: int | None = None
    """Bytes of the answer of a port-forward or command after which the connection breaks."""


class ReplayApiServer:
    """The server; use it as a context manager.

    Args:
        lists: plural → objects.
        backends: (pod, namespace, port) → (host, port) that a port-forward reaches.
        commands: (pod, namespace, first word) → function from the command to what it prints; raises to fail.
        logs: (pod, namespace, container) → text.
        denied: (verb, resource) that access reviews refuse. Set `roles` to have all requests judged by roles.
        certificate: PEM file with key and certificate; it speaks TLS then.
    """

    def __init__(self, lists=None, *, backends=None, commands=None, logs=None, denied=(), certificate=None):
        self.history = History(lists or {})
        self.backends, self.commands, self.logs = backends or {}, commands or {}, logs or {}
        self.denied = set(denied)
        self.roles = None
        self.faults: list[Fault] = []
        self.requests: list[str] = []
        self.expire_tokens = 0
        self.hide_tokens = False
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self._server.daemon_threads = True
        self._server.replay = self
        self._scheme = "http"
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
            self._scheme = "https"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self._lock = threading.Lock()

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self.history.end()
        for fault in self.faults:
            if fault.hang:
                fault.hang.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def lists(self):
        return self.history.lists

    @property
    def url(self):
        return f"{self._scheme}://127.0.0.1:{self._server.server_address[1]}"

    def configuration(self):
        """The official client's configuration for it."""
        from kubernetes.client import Configuration

        configuration = Configuration()
        configuration.host = self.url
        configuration.api_key = {"authorization": "Bearer replayed"}
        return configuration

    def kubeconfig(self, path):
        """A kubeconfig for it, as a file."""
        cluster = {"name": "replay", "cluster": {"server": self.url}}
        context = {"name": "replay", "context": {"cluster": "replay", "user": "u"}}
        user = {"name": "u", "user": {"token": "replayed"}}
        text = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [cluster],
            "contexts": [context],
            "users": [user],
            "current-context": "replay",
        }
        path.write_text(json.dumps(text))
        return path

    def fault_of(self, target):
        with self._lock:
            self.requests.append(target)
            for fault in self.faults:
                if fault.match in target and fault.times > 0:
                    fault.times -= 1
                    return fault
        return None


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1

    def log_message(self, *_):
        pass

    def do_GET(self):
        replay = self.server.replay
        url = urlparse(self.path)
        query = {k: v[0] for k, v in parse_qs(url.query).items()}
        fault = replay.fault_of(unquote(self.path))
        if fault and fault.after is None and self._break(fault):
            return
        self._left = fault.after if fault else None
        parts = [unquote(p) for p in url.path.strip("/").split("/")]
        if replay.roles is not None and (reason := self._refusal(parts)):
            return self._status(403, "Forbidden", reason)
        if parts[-1] == "portforward":
            self._port_forward(parts[3], parts[5], [int(p) for p in query["ports"].split(",")])
        elif parts[-1] == "exec":
            self._exec(parts[3], parts[5], parse_qs(url.query)["command"])
        elif parts[-1] == "log" and len(parts) > 5:
            self._log(parts[3], parts[5], query)
        elif parts == ["version"]:
            self._json(200, {"major": "1", "minor": "29", "gitVersion": "v1.29.2", "platform": "linux/amd64"})
        elif parts[0] in ("api", "apis"):
            self._api(parts, query)
        else:
            self._status(404, "NotFound", "the server could not find the requested resource")

    def do_POST(self):
        replay = self.server.replay
        body = json.loads(self.rfile.read(int(self.headers["content-length"] or 0)))
        fault = replay.fault_of(self.path)
        if fault and self._break(fault):
            return
        wanted = body["spec"]["resourceAttributes"]
        resource = wanted["resource"] + (f"/{wanted['subresource']}" if wanted.get("subresource") else "")
        allowed = (wanted["verb"], resource) not in replay.denied
        if replay.roles is not None:
            place = {"namespace": wanted.get("namespace", ""), "name": wanted.get("name", "")}
            allowed = replay.roles.allows(wanted["verb"], wanted.get("group", ""), resource, **place)
        body["status"] = {"allowed": allowed, **({} if allowed else {"reason": "RBAC: no role allows it"})}
        self._json(201, body)

    def _refusal(self, parts):
        """Why roles refuse to read an object, a list or a part of a pod; discovery is open to everyone."""
        group, rest = ("", parts[2:]) if parts[0] == "api" else (parts[1] if len(parts) > 1 else "", parts[3:])
        if parts[0] not in ("api", "apis") or not rest:
            return ""
        namespace = ""
        if rest[0] == "namespaces" and len(rest) > 2:
            namespace, rest = rest[1], rest[2:]
        resource = "/".join(rest[::2])
        verb, name = ("get", rest[1]) if len(rest) > 1 else ("list", "")
        if self.server.replay.roles.allows(verb, group, resource, namespace=namespace, name=name):
            return ""
        return f'{resource}.{group} is forbidden: User "u" cannot {verb} it in namespace "{namespace}"'

    def _break(self, fault):
        if fault.hang:
            fault.hang.wait()
            self.close_connection = True
            return True
        if fault.cut:
            self.wfile.write(b'HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{"items": [')
            self.wfile.flush()
            self.close_connection = True
            return True
        self._status(fault.status, "Fault", fault.message, headers=fault.headers)
        return True

    def _api(self, parts, query):
        if parts == ["api"]:
            return self._json(200, {"kind": "APIVersions", "versions": ["v1"]})
        if parts == ["apis"]:
            groups = [
                {
                    "name": group,
                    "versions": [{"groupVersion": f"{group}/{v}", "version": v} for v in versions],
                    "preferredVersion": {"groupVersion": f"{group}/{versions[0]}", "version": versions[0]},
                }
                for group, versions in self._groups().items()
            ]
            return self._json(200, {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
        group, version, rest = ("", parts[1], parts[2:]) if parts[0] == "api" else (parts[1], parts[2], parts[3:])
        if group and version not in self._groups().get(group, ()):
            return self._status(404, "NotFound", "the server could not find the requested resource")
        if not rest:
            return self._json(200, self._resources(group, version))
        namespace = ""
        if rest[0] == "namespaces" and len(rest) > 2:
            namespace, rest = rest[1], rest[2:]
        resource = _BY_PLURAL.get(rest[0])
        if resource is None or resource.group != group or rest[0] not in self.server.replay.lists:
            return self._status(404, "NotFound", "the server could not find the requested resource")
        now, items = self.server.replay.history.now(rest[0])
        items = [item for item in items if not namespace or item["metadata"].get("namespace") == namespace]
        if wanted := query.get("labelSelector"):
            pairs = [part.split("=", 1) for part in wanted.split(",")]
            items = [i for i in items if all((i["metadata"].get("labels") or {}).get(k) == v for k, v in pairs)]
        if len(rest) > 1:
            found = [item for item in items if item["metadata"]["name"] == rest[1]]
            return (
                self._json(200, found[0]) if found else self._status(404, "NotFound", f"{rest[0]} {rest[1]} not found")
            )
        api_version = f"{group}/{version}" if group else version
        if query.get("watch") in ("true", "1"):
            return self._watch(resource, api_version, namespace, (now, items), query)
        return self._list(resource, api_version, (now, items), query)

    def _groups(self):
        groups = {}
        for plural in self.server.replay.lists:
            resource = _BY_PLURAL[plural]
            if resource.group:
                versions = groups.setdefault(resource.group, [])
                versions += [v for v in resource.versions[1:] or resource.versions if v not in versions]
        return groups

    def _resources(self, group, version):
        listed = [
            {
                "name": r.plural,
                "singularName": r.kind.lower(),
                "namespaced": r.namespaced,
                "kind": r.kind,
                "verbs": ["get", "list", "watch"],
                "shortNames": list(r.short),
            }
            for r in RESOURCES
            if r.group == group and r.plural in self.server.replay.lists
        ]
        return {
            "kind": "APIResourceList",
            "apiVersion": "v1",
            "groupVersion": f"{group}/{version}" if group else version,
            "resources": listed,
        }

    def _list(self, resource, api_version, state, query):
        replay, (now, items) = self.server.replay, state
        start = 0
        if token := query.get("continue"):
            start = int(base64.b64decode(token))
            if replay.expire_tokens > 0:
                replay.expire_tokens -= 1
                fresh = "" if replay.hide_tokens else token
                return self._status(
                    410, "Expired", "the provided continue parameter is too old", meta={"continue": fresh}
                )
        limit = int(query.get("limit") or 0) or len(items)
        page, left = items[start : start + limit], len(items) - start - limit
        meta = {"resourceVersion": str(now)}
        if left > 0:
            meta |= {"continue": base64.b64encode(str(start + limit).encode()).decode(), "remainingItemCount": left}
        # items of a typed list carry neither kind nor apiVersion, as with a real server
        bare = [{k: v for k, v in item.items() if k not in ("kind", "apiVersion")} for item in page]
        full = page if resource.group.endswith("istio.io") else bare
        return self._json(
            200, {"kind": f"{resource.kind}List", "apiVersion": api_version, "metadata": meta, "items": full}
        )

    def _watch(self, resource, api_version, namespace, state, query):
        """Events as lines of JSON, each in a chunk; without a version what there is comes first, as added."""
        history, (now, items) = self.server.replay.history, state
        wanted = int(query.get("resourceVersion") or 0)
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        try:
            if wanted and wanted < history.oldest:
                message = f"too old resource version: {wanted} ({history.oldest})"
                # the answer has begun: real servers, too, tell it as an event
                self._event("ERROR", _status_object(410, "Expired", message))
            else:
                known = {"apiVersion": api_version, "kind": resource.kind}
                changes = history.after(resource.plural, wanted or now, float(query.get("timeoutSeconds") or 60))
                for what, item in chain((("ADDED", i) for i in items if not wanted), changes):
                    if not namespace or item["metadata"].get("namespace") == namespace:
                        self._event(what, {**item, **known})
            self.wfile.write(b"0\r\n\r\n")
        except ConnectionError:
            # whoever watched has seen enough
            self.close_connection = True

    def _event(self, kind, item):
        line = json.dumps({"type": kind, "object": item}).encode() + b"\n"
        self.wfile.write(f"{len(line):x}\r\n".encode() + line + b"\r\n")
        self.wfile.flush()

    def _log(self, namespace, pod, query):
        text = self.server.replay.logs.get((pod, namespace, query.get("container", "")))
        if text is None:
            return self._status(400, "BadRequest", f"container {query.get('container')} is not valid for pod {pod}")
        lines = text.splitlines(keepends=True)
        if query.get("tailLines"):
            lines = lines[-int(query["tailLines"]) :]
        return self._bytes(200, "".join(lines).encode(), "text/plain")

    def _upgrade(self):
        self.wfile.write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            + f"Sec-WebSocket-Accept: {accept_key(self.headers['Sec-WebSocket-Key'])}\r\n".encode()
            + b"Sec-WebSocket-Protocol: v4.channel.k8s.io\r\n\r\n"
        )
        self.wfile.flush()
        self.close_connection = True
        return ServerWebsocket(self.rfile, self.wfile)

    def _port_forward(self, namespace, pod, ports):
        websocket = self._upgrade()
        for index, port in enumerate(ports):
            number = port.to_bytes(2, "little")
            websocket.send(bytes([2 * index]) + number)
            websocket.send(bytes([2 * index + 1]) + number)
        backend = self.server.replay.backends.get((pod, namespace, ports[0]))
        if backend is None:
            websocket.send(b"\x01" + f"failed to connect to localhost:{ports[0]} inside the pod".encode())
            return websocket.close()
        with socket.create_connection(backend) as connection:
            threading.Thread(target=_pass_on, args=(websocket, connection), daemon=True).start()
            with contextlib.suppress(ConnectionError):
                while data := connection.recv(1 << 16):
                    if self._cut(websocket, b"\x00", data):
                        return None
                websocket.close()
        return None

    def _exec(self, namespace, pod, command):
        websocket = self._upgrade()
        run = self.server.replay.commands.get((pod, namespace, command[0]))
        status = {"metadata": {}, "status": "Success"}
        try:
            if run is None:
                raise FileNotFoundError(f'exec: "{command[0]}": executable file not found in $PATH')
            if self._cut(websocket, b"\x01", run(command)):
                return None
        except Exception as error:
            websocket.send(b"\x02" + str(error).encode())
            status = {"metadata": {}, "status": "Failure", "message": "command terminated with exit code 1"}
        websocket.send(b"\x03" + json.dumps(status).encode())
        return websocket.close()

    def _cut(self, websocket, channel, data):
        """Send what an answer holds, or as much of it as the fault lets through; whether it broke."""
        if self._left is None or len(data) <= self._left:
            self._left = None if self._left is None else self._left - len(data)
            websocket.send(channel + data)
            return False
        websocket.send(channel + data[: self._left])
        self.connection.shutdown(socket.SHUT_RDWR)
        return True

    def _status(self, code, reason, message, *, meta=None, headers=None):
        body = _status_object(code, reason, message, meta)
        self._bytes(code, json.dumps(body).encode(), "application/json", headers)

    def _json(self, code, document):
        self._bytes(code, json.dumps(document).encode(), "application/json")

    def _bytes(self, code, body, kind, headers=None):
        self.send_response(code)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


def _pass_on(websocket, connection):
    """What the client sends, to the pod, until either has gone."""
    with contextlib.suppress(OSError, ValueError, struct.error):
        while (frame := websocket.receive()) is not None:
            connection.sendall(frame[1:])
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


def _status_object(code, reason, message, meta=None):
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": meta or {},
        "status": "Failure",
        "message": message,
        "reason": reason,
        "code": code,
    }
