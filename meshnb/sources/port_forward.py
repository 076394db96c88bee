"""A port of a pod as a port of this machine, for clients that bring their own connection."""

from __future__ import annotations

import contextlib
import socket
import threading
from types import TracebackType
from typing import Any

from meshnb.errors import MeshnbError, Unreachable
from meshnb.sources.kubernetes import Cluster
from meshnb.sources.pod_streams import close_stream, frames, open_forward

_CHUNK = 1 << 16


class PortForward:
    """Listens on a free port of loopback and passes each connection on to a pod; use it as a context manager.

    Args:
        cluster: the cluster.
        pod: pod.
        namespace: its namespace.
        port: port the process in it listens on.

    What a connection fails of, such as a refused port-forward, is kept in `error`; the client sees it closed.
    """

    def __init__(self, cluster: Cluster, pod: str, namespace: str, port: int) -> None:
        self.cluster, self.pod, self.namespace, self.port = cluster, pod, namespace, port
        self.error: MeshnbError | None = None
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._accept, daemon=True)

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens."""
        host, port = self._listener.getsockname()[:2]
        return str(host), int(port)

    def __enter__(self) -> PortForward:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # shutdown wakes the thread that accepts; close alone would not
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            left = list(self._open)
        for connection in left:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self._thread.join()

    def _accept(self) -> None:
        workers = []
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                break
            with self._lock:
                self._open.add(connection)
            workers.append(threading.Thread(target=self._serve, args=(connection,), daemon=True))
            workers[-1].start()
        for worker in workers:
            worker.join()

    def _serve(self, connection: socket.socket) -> None:
        """One connection: a thread sends what the client says, this one returns what the pod answers."""
        try:
            stream = open_forward(self.cluster, self.pod, self.namespace, self.port)
        except MeshnbError as error:
            self._end(connection, error)
            connection.close()
            return
        sender = threading.Thread(target=self._send, args=(connection, stream), daemon=True)
        sender.start()
        failure: MeshnbError | None = None
        try:
            self._receive(connection, stream)
        except MeshnbError as error:
            failure = error
        except (OSError, ValueError):
            pass  # the client has gone, and the stream with it
        self._end(connection, failure)
        sender.join()
        close_stream(stream)
        connection.close()

    def _end(self, connection: socket.socket, error: MeshnbError | None) -> None:
        """Let a connection end; what went wrong is known before the client sees it closed."""
        self.error = error or self.error
        with self._lock:
            self._open.discard(connection)
        with contextlib.suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)

    def _send(self, connection: socket.socket, stream: Any) -> None:
        try:
            while data := connection.recv(_CHUNK):
                stream.send_binary(b"\x00" + data)
        except OSError:
            pass
        except Exception:  # noqa: S110 - websocket's own errors: the receiving side meets and tells them
            pass
        finally:
            # the client is done: wake the receiving side, which closes the stream
            with contextlib.suppress(OSError, AttributeError):
                stream.sock.shutdown(socket.SHUT_RDWR)

    def _receive(self, connection: socket.socket, stream: Any) -> None:
        greeted: set[int] = set()
        for channel, data in frames(stream, f"{self.pod}:{self.port}"):
            if channel not in greeted:
                greeted.add(channel)  # the first frame of each channel repeats the port
            elif channel == 0:
                connection.sendall(data)
            else:
                raise Unreachable(f"{self.pod}:{self.port}: {data.decode('utf-8', 'replace').strip()}")
