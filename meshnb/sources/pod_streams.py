"""Ports of pods and commands in them, over the API server's websockets."""

from __future__ import annotations

import http.client
import io
import json
import ssl
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote, urlencode

from meshnb.errors import Forbidden, NotFound, SourceError, SourceTimeout, Unreachable
from meshnb.sources.kubernetes import Cluster

# the binary protocol both port-forward and exec speak: the first byte of each frame is its channel
_PROTOCOL = "v4.channel.k8s.io"
_STDOUT, _STDERR, _STATUS = 1, 2, 3


class BrokenError(Unreachable):
    """A connection to a pod ended before the answer did."""


def forward_request(
    cluster: Cluster, pod: str, namespace: str, port: int, path: str, *, method: str = "GET"
) -> tuple[int, bytes]:
    """One HTTP request to a port of a pod, by port-forward.

    Args:
        cluster: the cluster.
        pod: pod.
        namespace: its namespace.
        port: port the process listens on; loopback will do.
        path: path with query.
        method: HTTP method.

    Returns:
        Status and body.

    Raises:
        Forbidden: port-forward is not allowed.
        Unreachable: nothing listens there, or (`BrokenError`) the connection broke.
        SourceTimeout: no answer in time.
    """
    request = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
    received = bytearray()
    greeted: set[int] = set()
    socket = open_forward(cluster, pod, namespace, port)
    try:
        socket.send_binary(b"\x00" + request.encode())
        for channel, data in frames(socket, f"{pod}:{port}{path}"):
            if channel not in greeted:
                # the first frame of each channel repeats the port
                greeted.add(channel)
            elif channel == 1:
                raise Unreachable(f"{pod}:{port}: {data.decode('utf-8', 'replace').strip()}")
            else:
                received += data
                if (answer := _answer(received, ended=False)) is not None:
                    return answer
    finally:
        close_stream(socket)
    answer = _answer(received, ended=True)
    if answer is None:
        raise BrokenError(f"{pod}:{port}{path}: the connection ended before the answer did")
    return answer


def open_forward(cluster: Cluster, pod: str, namespace: str, port: int) -> Any:
    """A websocket to a port of a pod: channel 0 is the connection, channel 1 says what went wrong.

    Raises:
        Forbidden: port-forward is not allowed.
        NotFound: there is no such pod.
        Unreachable, SourceTimeout: the API server does not answer.
    """
    return _open(cluster, f"/api/v1/namespaces/{quote(namespace)}/pods/{quote(pod)}/portforward?ports={port}")


def close_stream(stream: Any) -> None:
    """Say goodbye and free the socket; the library does the second only where it did the first."""
    stream.close()
    stream.shutdown()


def _answer(received: bytearray, *, ended: bool) -> tuple[int, bytes] | None:
    """Status and body once the answer is whole."""
    head, separator, _ = bytes(received[:65536]).partition(b"\r\n\r\n")
    if not separator:
        return None
    size = len(received) - len(head) - 4
    fields = {k.strip().lower(): v.strip() for k, _, v in (line.partition(b":") for line in head.split(b"\r\n")[1:])}
    length = fields.get(b"content-length")
    whole = ended or (size >= int(length) if length and length.isdigit() else received.endswith(b"0\r\n\r\n"))
    if not whole:
        return None
    response = http.client.HTTPResponse(_Buffer(bytes(received)))  # type: ignore[arg-type]
    try:
        response.begin()
        return response.status, response.read()
    except (http.client.HTTPException, ValueError):
        return None
    finally:
        response.close()


class _Buffer:
    """Bytes where `http.client` expects a socket."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def makefile(self, *_: Any, **__: Any) -> io.BytesIO:
        return io.BytesIO(self._data)


def run_in_pod(cluster: Cluster, pod: str, namespace: str, container: str, command: Sequence[str]) -> bytes:
    """What a command in a container prints.

    Raises:
        Forbidden: exec is not allowed.
        Unreachable: no such container, or the connection broke.
        SourceError: the command failed; the error says what it printed.
    """
    query = [("container", container), ("stdout", "true"), ("stderr", "true"), *(("command", part) for part in command)]
    target = f"/api/v1/namespaces/{quote(namespace)}/pods/{quote(pod)}/exec?{urlencode(query)}"
    channels: dict[int, bytearray] = {_STDOUT: bytearray(), _STDERR: bytearray(), _STATUS: bytearray()}
    socket = _open(cluster, target)
    try:
        for channel, data in frames(socket, f"{pod}: {command[0]}"):
            channels.setdefault(channel, bytearray()).extend(data)
            if channel == _STATUS:
                break
    finally:
        close_stream(socket)
    if not channels[_STATUS]:
        raise BrokenError(f"{pod}: {' '.join(command)}: the connection ended before the command did")
    status = _status(bytes(channels[_STATUS]))
    if status.get("status") == "Failure":
        printed = bytes(channels[_STDERR] or channels[_STDOUT])[:300].decode("utf-8", "replace").strip()
        raise SourceError(f"{pod}: {' '.join(command)}: {printed or status.get('message', 'failed')}")
    return bytes(channels[_STDOUT])


def _status(text: bytes) -> Mapping[str, Any]:
    try:
        status = json.loads(text) if text else {}
    except ValueError:
        return {}
    return status if isinstance(status, dict) else {}


def _open(cluster: Cluster, target: str) -> Any:
    from websocket import WebSocketBadStatusException, WebSocketException, WebSocketTimeoutException

    what = target.partition("?")[0]
    try:
        return _connect(cluster, target)
    except WebSocketBadStatusException as error:
        if error.status_code in (401, 403):
            hint = "grant it with docs/rbac.yaml"
            raise Forbidden(f"{what}: HTTP {error.status_code}", hint=hint) from error
        if error.status_code == 404:
            raise NotFound(f"{what}: HTTP 404") from error
        raise Unreachable(f"{what}: HTTP {error.status_code}") from error
    except (TimeoutError, WebSocketTimeoutException) as error:
        raise SourceTimeout(f"{what}: no connection in {cluster.timeout_s:g} s") from error
    except (OSError, WebSocketException) as error:
        raise Unreachable(f"{cluster.name}: {error}") from error


def _connect(cluster: Cluster, target: str) -> Any:
    """A websocket to the API server; the client's own function would wait for the handshake without end."""
    from kubernetes.stream.ws_client import websocket_proxycare
    from websocket import WebSocket

    configuration = cluster.configuration
    url = "ws" + configuration.host.rstrip("/").removeprefix("http") + target
    authorization = cluster.authorization()
    header = [f"sec-websocket-protocol: {_PROTOCOL}", *(f"{name}: {value}" for name, value in authorization.items())]
    options: dict[str, Any] = {"header": header, "timeout": cluster.timeout_s}
    if configuration.proxy or configuration.proxy_headers:
        options = websocket_proxycare(options, configuration, url, authorization)
    socket: Any = WebSocket(sslopt=_tls(configuration))
    socket.connect(url, **options)
    return socket


def _tls(configuration: Any) -> dict[str, Any]:
    """TLS as the client's configuration asks for it, in the words of the websocket's."""
    import certifi

    if not configuration.verify_ssl:
        options: dict[str, Any] = {"cert_reqs": ssl.CERT_NONE, "check_hostname": False}
    else:
        options = {"cert_reqs": ssl.CERT_REQUIRED, "ca_certs": configuration.ssl_ca_cert or certifi.where()}
        if configuration.assert_hostname is not None:
            options["check_hostname"] = configuration.assert_hostname
    given = {
        "certfile": configuration.cert_file,
        "keyfile": configuration.key_file,
        "server_hostname": configuration.tls_server_name,
    }
    return options | {name: value for name, value in given.items() if value}


def frames(socket: Any, what: str) -> Iterator[tuple[int, bytes]]:
    """Channel and bytes of each frame until the other side closes."""
    from websocket import ABNF, WebSocketConnectionClosedException, WebSocketException, WebSocketTimeoutException

    while True:
        try:
            opcode, data = socket.recv_data()
        except WebSocketTimeoutException as error:
            raise SourceTimeout(f"{what}: no answer in time") from error
        except WebSocketConnectionClosedException:
            return
        except (OSError, WebSocketException) as error:
            raise BrokenError(f"{what}: {error}") from error
        if opcode == ABNF.OPCODE_CLOSE:
            return
        if data:
            yield data[0], data[1:]
