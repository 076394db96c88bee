"""xDS over gRPC: state-of-the-world ADS that keeps what each proxy was sent, accepted and refused, and SDS."""

from __future__ import annotations

import itertools
import json
import queue
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from importlib import import_module
from typing import Any

from meshnb.errors import LabError
from meshnb.lab.push import Push, PushRequest
from meshnb.lab.telemetry import Telemetry
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
    "extensions.access_loggers.filters.cel.v3.cel_pb2",
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

_CLOSED = object()


def pack(resource: Resource) -> Any:
    """A resource as protobuf `Any`.

    Raises:
        LabError: a field or type that Envoy's protos do not have.
    """
    return _packed(json.dumps(resource))


@lru_cache(maxsize=20_000)
def _packed(text: str) -> Any:
    """What did not change since the last push is not encoded again, as in istiod's cache."""
    from google.protobuf import any_pb2, json_format

    for name in _MESSAGES:
        import_module(f"envoy.{name}")
    try:
        return json_format.Parse(text, any_pb2.Any())
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


@dataclass(slots=True, eq=False)
class Connection:
    """One connected proxy."""

    proxy: str
    node: str
    version: str
    since: datetime
    queue: queue.SimpleQueue[object]
    number: int = 0
    types: dict[str, TypeState] = field(default_factory=dict)
    pushed: int = 0
    """Last change whose endpoints it was sent."""
    pushed_full: int = 0
    """Last change it was sent all of."""
    closed: bool = False


class Discovery:
    """The ADS and SDS services.

    Args:
        resources: resources by name of a proxy and type, made anew at each call.
        secrets: the secrets of a proxy by name.
        telemetry: where pushes and refusals are counted.
    """

    def __init__(
        self,
        resources: Callable[[str, str], Mapping[str, Any]],
        secrets: Callable[[str], Mapping[str, Resource]],
        telemetry: Telemetry,
    ) -> None:
        self.changed = threading.Condition()
        self.connections: dict[str, Connection] = {}
        self.telemetry = telemetry
        self.version = ""
        self._change = self._change_full = 0
        self._resources = resources
        self._held: set[str] = set()
        self._secrets = secrets
        self._numbers = itertools.count(1)

    def begin(self, version: str, request: PushRequest) -> list[Connection]:
        """From now on the proxies get this version.

        Returns:
            The connections to push it to.
        """
        with self.changed:
            self.version, self._change = version, max(request.change, self._change)
            if request.full:
                self._change_full = self._change
            return self.receivers()

    def receivers(self) -> list[Connection]:
        """Connected proxies that may be sent something."""
        with self.changed:
            return [c for c in self.connections.values() if c.proxy not in self._held]

    def hold(self, proxies: Iterable[str]) -> bool:
        """Send nothing more to these proxies: as an update that is lost on its way.

        Returns:
            Whether a proxy that was held is so no more.
        """
        with self.changed:
            before, self._held = self._held, set(proxies)
            return bool(before - self._held)

    def deliver(self, connection: Connection, push: Push) -> None:
        """Hand a push to the stream of its proxy; if that has ended, the push is over."""
        with self.changed:
            if not connection.closed:
                connection.queue.put(push)
                return
        push.done()

    def wait(self, change: int, *, full: bool, seconds: float) -> None:
        """Wait until every connected proxy was sent a change and has accepted or refused it, or time is up.

        Args:
            change: its number.
            full: whether more than endpoints changed.
            seconds: how long at most.
        """
        deadline = time.monotonic() + seconds
        with self.changed:
            while any(_pending(connection, change, full) for connection in self.receivers()):
                left = deadline - time.monotonic()
                if left <= 0:
                    return
                self.changed.wait(left)

    # Streams

    def stream_aggregated_resources(self, requests: Iterable[Any], context: Any) -> Iterator[Any]:
        """One ADS stream: requests of the proxy and pushes, in the order they come."""
        inbox: queue.SimpleQueue[object] = queue.SimpleQueue()
        threading.Thread(target=_read, args=(requests, inbox), daemon=True).start()
        connection: Connection | None = None
        try:
            while (item := inbox.get()) is not _CLOSED:
                if isinstance(item, Push):
                    if connection is not None:
                        yield from self._push(connection, item)
                    continue
                request: Any = item
                if connection is None:
                    connection = self._connect(request, inbox)
                yield from self._answer(connection, request)
        finally:
            if connection is not None:
                self._disconnect(connection)

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
        connection = Connection(_proxy_of(node.id), node.id, number, datetime.now(UTC), inbox, next(self._numbers))
        with self.changed:
            # what it asks for now is answered at once, from what was pushed last
            connection.pushed, connection.pushed_full = self._change, self._change_full
            self.connections[connection.proxy] = connection
            self.changed.notify_all()
        self.telemetry.count("pilot_xds", version="lab")
        return connection

    def _disconnect(self, connection: Connection) -> None:
        with self.changed:
            connection.closed = True
            if self.connections.get(connection.proxy) is connection:
                del self.connections[connection.proxy]
            self.changed.notify_all()
        self.telemetry.count("pilot_xds", -1, version="lab")
        while not connection.queue.empty():
            item = connection.queue.get()
            if isinstance(item, Push):
                item.done()

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
                self._record(connection, kind, state, request)
            self.changed.notify_all()
        if first or set(request.resource_names) - known:
            yield from self._response(connection, kind, state)

    def _record(self, connection: Connection, kind: str, state: TypeState, request: Any) -> None:
        if state.status == "WAITING":
            state.answered_at = time.time()
        if request.HasField("error_detail"):
            state.nacked, state.error = request.response_nonce, request.error_detail.message
            short = SHORT[kind].lower()
            self.telemetry.count("pilot_total_xds_rejects", type=short)
            # istiod's label err is the code of gRPC; Envoy refuses with INVALID_ARGUMENT
            self.telemetry.count(f"pilot_xds_{short}_reject", node=connection.proxy, err="InvalidArgument")
        else:
            state.acked, state.error = request.response_nonce, ""

    def _push(self, connection: Connection, push: Push) -> Iterator[Any]:
        request = push.request
        try:
            for kind in PUSH_ORDER if request.full else (ENDPOINT,):
                state = connection.types.get(kind)
                if state is not None and (state.names or kind in (CLUSTER, LISTENER)):
                    yield from self._response(connection, kind, state)
            self._pushed(connection, request)
        finally:
            push.done()

    def _pushed(self, connection: Connection, request: PushRequest) -> None:
        self.telemetry.observe("pilot_proxy_convergence_time", time.monotonic() - request.start)
        with self.changed:
            connection.pushed = max(connection.pushed, request.change)
            if request.full:
                connection.pushed_full = connection.pushed
            self.changed.notify_all()

    def _response(self, connection: Connection, kind: str, state: TypeState) -> Iterator[Any]:
        """One response. Goes on when gRPC has taken it, so the time until then is counted."""
        from envoy.service.discovery.v3 import discovery_pb2

        begin = time.monotonic()
        found = self._resources(connection.proxy, kind)
        with self.changed:
            names = found if kind in (CLUSTER, LISTENER) else [n for n in state.names if n in found]
            version, state.sent, state.sent_at = self.version, f"{self.version}-{uuid.uuid4()}", time.time()
            state.version = version
        yield discovery_pb2.DiscoveryResponse(
            version_info=version,
            type_url=kind,
            nonce=state.sent,
            resources=[found[name] for name in names],
        )
        short = SHORT[kind].lower()
        self.telemetry.observe("pilot_xds_push_time", time.monotonic() - begin, type=short)
        self.telemetry.count("pilot_xds_pushes", type=short)


def _pending(connection: Connection, change: int, full: bool) -> bool:
    if (connection.pushed_full if full else connection.pushed) < change:
        return True
    return any(state.sent and state.status == "WAITING" for state in connection.types.values())


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
