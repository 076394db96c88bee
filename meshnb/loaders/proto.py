"""Messages of Envoy in JSON: typed structs of the fields that tables need, read in either key style.

Envoy prints `snake_case` keys, istiod and other proto3 printers `camelCase`. Fields at their default are not printed,
64-bit integers come as strings, wrapper types as bare values. A field kept as it came is a `msgspec.Raw`.
"""

from __future__ import annotations

import functools
import operator
import re
import typing
from typing import Any, Generic, TypeVar, get_args, get_origin

import msgspec

T = TypeVar("T", bound="Message")

EMPTY = msgspec.Raw()


class Message(msgspec.Struct, gc=False):
    """Base of all messages: fields we do not name are left unread."""


def camel(name: str) -> str:
    """The proto3 JSON name of a field: `route_config_name` is `routeConfigName`; keys of maps stay."""
    if "." in name:
        return name
    head, *rest = name.split("_")
    return head + "".join(part.capitalize() for part in rest)


class Reader(Generic[T]):
    """Reads one kind of message, noticing by itself which key style it is written in.

    Each resource and extension is looked at on its own. One in `snake_case`, Envoy's style, is read in one pass; one
    with `camelCase` keys, alone or mixed, field by field.
    """

    def __init__(self, message: type[T]) -> None:
        self.message = message
        # a camelCase key of the top level, met while reading snake_case, tells that the style is the other one
        multiword = [one for one in msgspec.structs.fields(message) if camel(one.encode_name) != one.encode_name]
        self._marks = tuple(f"camel_{one.name}" for one in multiword)
        self._marked = operator.attrgetter(*self._marks) if len(self._marks) > 1 else None
        self._unmarked = (EMPTY,) * len(self._marks)
        self._telling = tuple((one.name, one.default) for one in multiword)
        fields = [
            (mark, msgspec.Raw, msgspec.field(name=camel(one.encode_name), default=EMPTY))
            for mark, one in zip(self._marks, multiword, strict=True)
        ]
        marked = msgspec.defstruct(message.__name__, fields, bases=(message,), gc=False)
        self._snake: msgspec.json.Decoder[Any] = msgspec.json.Decoder(marked, strict=False)

    @functools.cached_property
    def _camel_key(self) -> re.Pattern[bytes]:
        """Any key below that is written in camelCase."""
        keys = {camel(name) for name in _names(self.message, set()) if camel(name) != name}
        return re.compile(rb'"(?:%s)"\s*:' % "|".join(sorted(keys)).encode() if keys else rb"(?!)")

    def __call__(self, raw: msgspec.Raw | bytes) -> T:
        """The message.

        Raises:
            msgspec.MsgspecError, ValueError, RecursionError: it is not one.
        """
        value: T = self._snake.decode(raw)
        if self._marked is not None:
            if self._marked(value) != self._unmarked:
                return typing.cast(T, _build(self.message, raw))
        elif self._marks and getattr(value, self._marks[0]) is not EMPTY:
            return typing.cast(T, _build(self.message, raw))
        for name, default in self._telling:
            found = getattr(value, name)
            if found is not default and found != []:
                return value
        # nothing at the top level tells the style, so look at what is below
        if self._camel_key.search(raw if isinstance(raw, bytes) else memoryview(raw)):
            return typing.cast(T, _build(self.message, raw))
        return value

    def maybe(self, raw: msgspec.Raw) -> T | None:
        """The message, or `None` if it is none: for extensions, which may be of any type."""
        if not len(memoryview(raw)):
            return None
        try:
            return self(raw)
        except (msgspec.MsgspecError, ValueError, RecursionError):
            return None


def _build(kind: Any, raw: msgspec.Raw | bytes) -> Any:
    """A value of a type, messages by either name of each field; what stays raw still points into the document."""
    if kind is msgspec.Raw:
        return raw
    if isinstance(kind, type) and issubclass(kind, Message):
        given = msgspec.json.decode(raw, type=dict[str, msgspec.Raw])
        values = {}
        for field in msgspec.structs.fields(kind):
            part = given.get(field.encode_name, given.get(camel(field.encode_name)))
            if part is not None:
                values[field.name] = _build(field.type, part)
        return kind(**values)
    arguments = get_args(kind)
    messages = [one for one in arguments if isinstance(one, type) and issubclass(one, Message | msgspec.Raw)]
    if not messages:
        return msgspec.json.decode(raw, type=kind, strict=False)
    if get_origin(kind) is list:
        return [_build(messages[0], one) for one in msgspec.json.decode(raw, type=list[msgspec.Raw])]
    return None if bytes(raw) == b"null" else _build(messages[0], raw)


def _names(kind: Any, seen: set[Any]) -> set[str]:
    """The JSON names of all fields of a message and of the messages in it."""
    if kind in seen:
        return set()
    seen.add(kind)
    names = set()
    if isinstance(kind, type) and issubclass(kind, Message):
        for field in msgspec.structs.fields(kind):
            names |= {field.encode_name} | _names(field.type, seen)
    for argument in get_args(kind):
        names |= _names(argument, seen)
    return names


def text(raw: msgspec.Raw | bytes) -> str | None:
    """JSON on one line, `None` if there is none."""
    view = memoryview(raw)
    if not len(view):
        return None
    return msgspec.json.format(bytes(view), indent=-1).decode()


def texts(raws: list[msgspec.Raw]) -> str | None:
    """A JSON list on one line, `None` if it is empty."""
    if not raws:
        return None
    return "[" + ",".join(text(raw) or "null" for raw in raws) + "]"


@functools.lru_cache(maxsize=4096)
def ms(duration: str | None) -> float | None:
    """A proto3 duration (`0.250s`) in milliseconds.

    Raises:
        ValueError: not a duration.
    """
    if duration is None or duration == "":
        return None
    if duration.endswith("s"):
        try:
            return round(float(duration[:-1]) * 1000, 6)
        except ValueError:
            pass
    raise ValueError(f"{duration[:40]!r} is not a duration")


class SocketAddress(Message):
    """`core.v3.SocketAddress`."""

    address: str = ""
    port_value: int = 0


class Pipe(Message):
    """`core.v3.Pipe`."""

    path: str = ""


class InternalAddress(Message):
    """`core.v3.EnvoyInternalAddress`."""

    server_listener_name: str = ""
    endpoint_id: str = ""


class Address(Message):
    """`core.v3.Address`."""

    socket_address: SocketAddress | None = None
    pipe: Pipe | None = None
    envoy_internal_address: InternalAddress | None = None

    @property
    def host(self) -> str | None:
        """IP address, path of a pipe, name of an internal listener, or missing."""
        if self.socket_address is not None:
            return self.socket_address.address
        if self.pipe is not None:
            return self.pipe.path
        return self.envoy_internal_address.server_listener_name if self.envoy_internal_address is not None else None

    @property
    def port(self) -> int:
        """Port, 0 where there is none."""
        return self.socket_address.port_value if self.socket_address is not None else 0

    def __str__(self) -> str:
        """`IP:PORT`, `unix://PATH`, `envoy://LISTENER/ID` or `unknown`; IPv6 in brackets."""
        if self.socket_address is not None:
            return host_port(self.socket_address.address, self.socket_address.port_value)
        if self.pipe is not None:
            return f"unix://{self.pipe.path}"
        if self.envoy_internal_address is not None:
            internal = self.envoy_internal_address
            return f"envoy://{internal.server_listener_name}/{internal.endpoint_id}"
        return "unknown"


def host_port(host: str, port: int) -> str:
    """`IP:PORT` as Envoy logs it, with IPv6 in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class AdditionalAddress(Message):
    """An element of `additional_addresses`."""

    address: Address | None = None


class Locality(Message):
    """`core.v3.Locality`."""

    region: str = ""
    zone: str = ""
    sub_zone: str = ""

    def __str__(self) -> str:
        """`region/zone/subzone`, up to the first that is empty."""
        if not self.region:
            return ""
        if not self.zone:
            return self.region
        return f"{self.region}/{self.zone}/{self.sub_zone}" if self.sub_zone else f"{self.region}/{self.zone}"


class IstioMetadata(Message):
    """`filter_metadata.istio`: a Struct, so anything may stand in it."""

    config: Any = None
    services: Any = None
    workload: Any = None


class SocketMatchMetadata(Message):
    """`filter_metadata["envoy.transport_socket_match"]`."""

    tls_mode: Any = msgspec.field(name="tlsMode", default=None)


class FilterMetadata(Message):
    """`filter_metadata` of `core.v3.Metadata`, the parts Istio writes."""

    istio: IstioMetadata | None = None
    socket_match: SocketMatchMetadata | None = msgspec.field(name="envoy.transport_socket_match", default=None)


class Metadata(Message):
    """`core.v3.Metadata`."""

    filter_metadata: FilterMetadata | None = None

    @property
    def istio(self) -> IstioMetadata | None:
        """What Istio wrote into it."""
        return self.filter_metadata.istio if self.filter_metadata is not None else None


def config_path(metadata: Metadata | None) -> str | None:
    """Path of the Istio object a resource was made from (`filter_metadata.istio.config`)."""
    istio = metadata.istio if metadata is not None else None
    return istio.config if istio is not None and isinstance(istio.config, str) and istio.config else None


def istio_object(path: str | None, kind: str) -> tuple[str | None, str | None]:
    """Name and namespace from a path `/apis/GROUP/VERSION/namespaces/NAMESPACE/KIND/NAME`, if it is of that kind.

    Example:
        >>> istio_object("/apis/networking.istio.io/v1/namespaces/shop/virtual-service/catalog", "virtual-service")
        ('catalog', 'shop')
    """
    pieces = (path or "").split("/")
    if len(pieces) == 8 and pieces[1] == "apis" and pieces[6].replace("-", "").lower() == kind.replace("-", ""):
        return pieces[7], pieces[5]
    return None, None


class NamedConfig(Message):
    """A filter, access logger or other extension: a name and a configuration of any type."""

    name: str = ""
    typed_config: msgspec.Raw = EMPTY
    config: msgspec.Raw = EMPTY

    @property
    def any_config(self) -> msgspec.Raw:
        """The configuration; Envoys before 1.14 print it untyped."""
        return self.typed_config if self.typed_config is not EMPTY else self.config
