"""xDS over gRPC: state-of-the-world ADS that keeps what each proxy was sent, accepted and refused, and SDS."""

from __future__ import annotations

import queue
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import import_module
from typing import Any

from meshnb.errors import LabError
from meshnb.lab.xds.common import CLUSTER, ENDPOINT, LISTENER, PUSH_ORDER, ROUTE, Resource

SHORT = {CLUSTER: "CDS", ENDPOINT: "EDS", LISTENER: "LDS", ROUTE: "RDS"}
"""Type URL -> name of its discovery service."""

# Python's protobuf packs only messages whose modules were imported.
_MESSAGES = (
    "config.cluster.v3.cluster_pb2",
    "config.endpoint.v3.endpoint_pb2",
    "config.listener.v3.listener_pb2",
    "config.route.v3.route_pb2",
    "extensions.access_loggers.file.v3.file_pb2",
    "extensions.access_loggers.stats.v3.stats_pb2",
    "extensions.filters.http.fault.v3.fault_pb2",
    "extensions.filters.http.local_ratelimit.v3.local_rate_limit_pb2",
    "extensions.filters.http.lua.v3.lua_pb2",
    "extensions.filters.http.rbac.v3.rbac_pb2",
    "extensions.filters.http.router.v3.router_pb2",
    "extensions.filters.listener.tls_inspector.v3.tls_inspector_pb2",
    "extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2",
    "extensions.request_id.uuid.v3.uuid_pb2",
    "extensions.retry.host.previous_hosts.v3.previous_hosts_pb2",
    "extensions.transport_sockets.raw_buffer.v3.raw_buffer_pb2",
    "extensions.transport_sockets.tls.v3.tls_pb2",
    "extensions.upstreams.http.v3.http_protocol_options_pb2",
)

_PUSH = object()
_CLOSED = object()


def pack(resource: Resource) -> Any:
    """A resource as protobuf `Any`.

    Raises:
        LabError: a field or type that Envoy's protos do not have.
    """
    from google.protobuf import any_pb2, json_format

    for name in _MESSAGES:
        import_module(f"envoy.{name}")
    try:
        return json_format.ParseDict(resource, any_pb2.Any())
    except (json_format.ParseError, TypeError, ValueError) as error:
        raise LabError(f"not a valid Envoy configuration: {error}", hint="see Envoy's API reference") from error


def resource_name(resource: Mapping[str, Any]) -> str:
    """Name under which a resource is subscribed."""
    return str(resource.get("name") or resource.get("cluster_name"))


@dataclass(slots=True)
class TypeState:
    """What one proxy knows of one type."""

    names: tuple[str, ...] = ()
    version: str = ""
    sent: str = ""
    acked: str = ""
    nacked: str = ""
    error: str = ""
    sent_at: float = 0.0
    answered_at: float = 0.0

    @property
    def status(self) -> str:
        """`ACK`, `NACK` or `WAITING` for the last response."""
        return "ACK" if self.sent == self.acked else "NACK" if self.sent == self.nacked else "WAITING"


@dataclass(slots=True)
class Connection:
    """One connected proxy."""

    proxy: str
    node: str
    version: str
    since: datetime
    queue: queue.SimpleQueue[object]
    types: dict[str, TypeState] = field(default_factory=dict)


@dataclass(slots=True)
class Counters:
    """What `/metrics` shows."""

    pushes: dict[str, int] = field(default_factory=dict)
    rejects: dict[str, int] = field(default_factory=dict)
    convergence: list[float] = field(default_factory=list)


class Discovery:
    """The ADS and SDS services.

    Args:
        secrets: the secrets of a proxy by name.
    """

    def __init__(self, secrets: Callable[[str], Mapping[str, Resource]]) -> None:
        self.changed = threading.Condition()
        self.connections: dict[str, Connection] = {}
        self.counters = Counters()
        self.version = ""
        self._resources: dict[str, dict[str, dict[str, Any]]] = {}
        self._held: set[str] = set()
        self._secrets = secrets

    def push(self, resources: dict[str, dict[str, dict[str, Any]]], version: str) -> None:
        """Make `resources` (by proxy, type and name) what the proxies get, and send it to all that are connected."""
        with self.changed:
            self._resources, self.version = resources, version
            for connection in self.connections.values():
                if connection.proxy not in self._held:
                    connection.queue.put(_PUSH)

    def hold(self, proxies: Iterable[str]) -> None:
        """Send nothing more to these proxies: as an update that is lost on its way."""
        with self.changed:
            self._held = set(proxies)

    def wait(self, version: str, *, seconds: float) -> None:
        """Wait until every connected proxy has accepted or refused everything of a version, or time is up."""
        deadline = time.monotonic() + seconds
        with self.changed:
            while any(self._pending(c, version) for c in self.connections.values() if c.proxy not in self._held):
                left = deadline - time.monotonic()
                if left <= 0:
                    return
                self.changed.wait(left)

    @staticmethod
    def _pending(connection: Connection, version: str) -> bool:
        states = [s for t, s in connection.types.items() if s.names or t in (CLUSTER, LISTENER)]
        return any(s.version != version or s.status == "WAITING" for s in states)

    # Streams

    def stream_aggregated_resources(self, requests: Iterable[Any], context: Any) -> Iterator[Any]:
        """One ADS stream: requests of the proxy and pushes, in the order they come."""
        inbox: queue.SimpleQueue[object] = queue.SimpleQueue()
        threading.Thread(target=_read, args=(requests, inbox), daemon=True).start()
        connection: Connection | None = None
        try:
            while (item := inbox.get()) is not _CLOSED:
                if item is _PUSH:
                    if connection is not None:
                        yield from self._push_all(connection)
                    continue
                request: Any = item
                if connection is None:
                    connection = self._connect(request, inbox)
                yield from self._answer(connection, request)
        finally:
            if connection is not None:
                with self.changed:
                    if self.connections.get(connection.proxy) is connection:
                        del self.connections[connection.proxy]
                    self.changed.notify_all()

    def stream_secrets(self, requests: Iterable[Any], context: Any) -> Iterator[Any]:
        """One SDS stream; secrets never change while the lab runs, so each name is sent once."""
        from envoy.service.discovery.v3 import discovery_pb2

        proxy, known = "", set[str]()
        for request in requests:
            proxy = proxy or _proxy_of(request.node.id)
            new = set(request.resource_names) - known
            if not new:
                continue
            known |= new
            found = self._secrets(proxy)
            yield discovery_pb2.DiscoveryResponse(
                version_info="1",
                type_url=request.type_url,
                nonce=uuid.uuid4().hex,
                resources=[pack(found[name]) for name in request.resource_names if name in found],
            )

    def _connect(self, request: Any, inbox: queue.SimpleQueue[object]) -> Connection:
        node = request.node
        version = node.user_agent_build_version.version
        number = f"{version.major_number}.{version.minor_number}.{version.patch}"
        connection = Connection(_proxy_of(node.id), node.id, number, datetime.now(UTC), inbox)
        with self.changed:
            self.connections[connection.proxy] = connection
            self.changed.notify_all()
        return connection

    def _answer(self, connection: Connection, request: Any) -> Iterator[Any]:
        kind = request.type_url
        if kind not in SHORT:
            return
        with self.changed:
            state = connection.types.get(kind)
            first = state is None or not request.response_nonce
            state = connection.types.setdefault(kind, TypeState())
            if not first and request.response_nonce != state.sent:
                # an answer to something older; what counts is on its way
                return
            known, state.names = set(state.names), tuple(request.resource_names)
            if not first:
                self._record(kind, state, request)
            self.changed.notify_all()
        if first or set(request.resource_names) - known:
            yield self._response(connection, kind, state)

    def _record(self, kind: str, state: TypeState, request: Any) -> None:
        if state.status == "WAITING":
            state.answered_at = time.time()
            self.counters.convergence.append(state.answered_at - state.sent_at)
        if request.HasField("error_detail"):
            state.nacked, state.error = request.response_nonce, request.error_detail.message
            self.counters.rejects[kind] = self.counters.rejects.get(kind, 0) + 1
        else:
            state.acked, state.error = request.response_nonce, ""

    def _push_all(self, connection: Connection) -> Iterator[Any]:
        for kind in PUSH_ORDER:
            state = connection.types.get(kind)
            if state is not None and (state.names or kind in (CLUSTER, LISTENER)):
                yield self._response(connection, kind, state)

    def _response(self, connection: Connection, kind: str, state: TypeState) -> Any:
        from envoy.service.discovery.v3 import discovery_pb2

        with self.changed:
            found = self._resources.get(connection.proxy, {}).get(kind, {})
            names = found if kind in (CLUSTER, LISTENER) else [n for n in state.names if n in found]
            state.version, state.sent, state.sent_at = self.version, f"{self.version}-{uuid.uuid4()}", time.time()
            self.counters.pushes[kind] = self.counters.pushes.get(kind, 0) + 1
            return discovery_pb2.DiscoveryResponse(
                version_info=self.version,
                type_url=kind,
                nonce=state.sent,
                resources=[found[name] for name in names],
            )


def _read(requests: Iterable[Any], inbox: queue.SimpleQueue[object]) -> None:
    import grpc

    try:
        for request in requests:
            inbox.put(request)
    except grpc.RpcError:
        # the proxy went away
        pass
    finally:
        inbox.put(_CLOSED)


def _proxy_of(node_id: str) -> str:
    """`POD.NAMESPACE` from an id such as `sidecar~ADDRESS~POD.NAMESPACE~DOMAIN`."""
    parts = node_id.split("~")
    return parts[2] if len(parts) > 2 else node_id


def serve(discovery: Discovery, address: str, port: int) -> Any:
    """Start the gRPC server.

    Raises:
        LabError: it cannot bind.
    """
    from concurrent.futures import ThreadPoolExecutor

    import grpc
    from envoy.service.discovery.v3 import ads_pb2_grpc
    from envoy.service.secret.v3 import sds_pb2_grpc

    # one thread per stream, and each proxy has one for ADS and a few for secrets
    server = grpc.server(ThreadPoolExecutor(max_workers=128), options=[("grpc.so_reuseport", 0)])
    ads = type("Ads", (ads_pb2_grpc.AggregatedDiscoveryServiceServicer,), {})()
    ads.StreamAggregatedResources = discovery.stream_aggregated_resources
    ads_pb2_grpc.add_AggregatedDiscoveryServiceServicer_to_server(ads, server)
    sds = type("Sds", (sds_pb2_grpc.SecretDiscoveryServiceServicer,), {})()
    sds.StreamSecrets = discovery.stream_secrets
    sds_pb2_grpc.add_SecretDiscoveryServiceServicer_to_server(sds, server)
    try:
        server.add_insecure_port(f"{address}:{port}")
    except RuntimeError as error:
        raise LabError(f"cannot serve xDS on {address}:{port}: {error}") from error
    server.start()
    return server
