"""Access loggers of listeners: what Envoy really logs, where to and in which format."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import msgspec

from meshnb.errors import MeshnbError
from meshnb.loaders.access_log_format import TEXT_FORMATS, parse_log_format
from meshnb.loaders.listeners import HCM, TCP_PROXY, FilterChain, Listener, read_listener
from meshnb.loaders.proto import EMPTY, Message, Reader, text
from meshnb.loaders.sections import Resource
from meshnb.model.tables.logs import ACCESS_LOG

# last part of the type (v2 and v3), or well-known name -> word of the table
_TYPES = {
    "FileAccessLog": "file",
    "StdoutAccessLog": "stdout",
    "StderrAccessLog": "stderr",
    "HttpGrpcAccessLogConfig": "http_grpc",
    "TcpGrpcAccessLogConfig": "tcp_grpc",
    "OpenTelemetryAccessLogConfig": "open_telemetry",
    "envoy.access_loggers.file": "file",
    "envoy.file_access_log": "file",
}
_WITH_FORMAT = ("file", "stdout", "stderr")


class DataSource(Message):
    """`core.v3.DataSource`."""

    inline_string: str = ""


class FormatString(Message):
    """`core.v3.SubstitutionFormatString`."""

    text_format: str = ""
    text_format_source: DataSource | None = None
    json_format: msgspec.Raw = EMPTY


class EnvoyGrpc(Message):
    """`core.v3.GrpcService.EnvoyGrpc`."""

    cluster_name: str = ""


class GrpcService(Message):
    """`core.v3.GrpcService`."""

    envoy_grpc: EnvoyGrpc | None = None


class CommonConfig(Message):
    """`grpc.v3.CommonGrpcAccessLogConfig`."""

    grpc_service: GrpcService | None = None


class LoggerConfig(Message):
    """What the configurations of all access loggers hold that the table shows."""

    type: str = msgspec.field(name="@type", default="")
    path: str = ""
    log_format: FormatString | None = None
    format: str = ""
    json_format: msgspec.Raw = EMPTY
    typed_json_format: msgspec.Raw = EMPTY
    common_config: CommonConfig | None = None
    grpc_service: GrpcService | None = None


class AccessLog(Message):
    """`accesslog.v3.AccessLog`."""

    name: str = ""
    filter: msgspec.Raw = EMPTY
    typed_config: msgspec.Raw = EMPTY
    config: msgspec.Raw = EMPTY


class Logging(Message):
    """The part that listener, HTTP connection manager and TCP proxy share."""

    access_log: list[AccessLog] = []


read_logging = Reader(Logging)
read_logger = Reader(LoggerConfig)


def logger_rows(resource: Resource) -> Iterator[dict[str, Any]]:
    """The rows of one listener, see `meshnb.model.tables.access_loggers.ACCESS_LOGGERS`.

    Raises:
        msgspec.MsgspecError, ValueError: not a listener, or an access logger that is none.
    """
    listener = read_listener(resource.raw) if resource.size else Listener()
    shared = {
        "listener": listener.name or resource.name,
        "direction": str(listener.traffic_direction) or None,
        **resource.status,
    }
    own = read_logging(resource.raw) if resource.size else Logging()
    for one in own.access_log:
        yield {**shared, "place": "listener", **_logger(one)}
    chains = [*listener.filter_chains]
    chains += [listener.default_filter_chain] if listener.default_filter_chain is not None else []
    for position, chain in enumerate(chains):
        place, found = _of_chain(chain)
        row = {**shared, "chain": chain.name or None, "position": position, "place": place}
        if place:
            yield from ({**row, **_logger(one)} for one in found.access_log)
            if not found.access_log:
                yield row


def _of_chain(chain: FilterChain) -> tuple[str, Logging]:
    for one in chain.filters:
        if one.name in HCM or one.name in TCP_PROXY:
            return "http" if one.name in HCM else "tcp", read_logging.maybe(one.any_config) or Logging()
    return "", Logging()


def _logger(one: AccessLog) -> dict[str, Any]:
    raw = one.typed_config if one.typed_config is not EMPTY else one.config
    config = read_logger(raw) if raw is not EMPTY else LoggerConfig()
    name = config.type.rpartition("/")[2]
    kind = _TYPES.get(name.rpartition(".")[2]) or _TYPES.get(one.name) or _own_type(name) or one.name
    row: dict[str, Any] = {
        "logger": one.name,
        "type": kind,
        "target": config.path or _cluster(config),
        "filter": text(one.filter),
    }
    return row | _format(config) if kind in _WITH_FORMAT else row


def _own_type(name: str) -> str:
    """`envoy.extensions.access_loggers.stats.v3.Config` is stats."""
    parts = name.split(".")
    return parts[parts.index("access_loggers") + 1] if "access_loggers" in parts[:-1] else name


def _cluster(config: LoggerConfig) -> str | None:
    service = config.grpc_service or (config.common_config.grpc_service if config.common_config else None)
    return service.envoy_grpc.cluster_name if service is not None and service.envoy_grpc is not None else None


def _format(config: LoggerConfig) -> dict[str, Any]:
    given = config.log_format or FormatString()
    source = given.text_format_source.inline_string if given.text_format_source is not None else ""
    line = given.text_format or source or config.format
    for raw in (given.json_format, config.json_format, config.typed_json_format):
        if raw is not EMPTY:
            return {"encoding": "JSON", "format": text(raw), "columns": filled(text(raw) or "")}
    return {"encoding": "TEXT", "format": line or None, "columns": filled(line or TEXT_FORMATS["envoy"])}


def filled(log_format: str) -> list[str] | None:
    """Columns of `access_log` that a format fills; `None` if the format cannot be read.

    Args:
        log_format: Envoy's format string, or a JSON format as text.

    Example:
        >>> filled("%RESPONSE_CODE% %DURATION% %REQ(X-TENANT)%")
        ['response_code', 'duration_ms']
    """
    try:
        line, keys = parse_log_format(json.loads(log_format) if log_format.lstrip().startswith("{") else log_format)
    except (MeshnbError, ValueError):
        return None
    found = line.columns if line is not None else list(keys.values())
    return list(dict.fromkeys(column for column in found if column in ACCESS_LOG.column_names))
