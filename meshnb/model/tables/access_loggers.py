"""What Envoy's listeners log of their requests."""

from __future__ import annotations

from meshnb.model.frame import Column, Frame
from meshnb.model.tables.envoy import PROXY, STATUS

ACCESS_LOGGERS = Frame(
    "access_loggers",
    "One row per access logger of a listener, and per filter chain for HTTP or TCP that has none.",
    (
        PROXY,
        Column("listener", "string", "Name of the listener; empty for some static ones."),
        Column("direction", "string", "INBOUND, OUTBOUND or missing."),
        Column("chain", "string", "Name of the filter chain; missing for loggers of the listener itself."),
        Column("position", "int64", "Order of the chain; missing for loggers of the listener itself."),
        Column("place", "string", "listener (refused connections), http or tcp.", nullable=False),
        Column("logger", "string", "Name of the access logger; missing: the chain has none."),
        Column("type", "string", "file, stdout, stderr, http_grpc, tcp_grpc, open_telemetry, stats, or its own type."),
        Column("target", "string", "Where it writes: path of the file, or cluster of the gRPC service."),
        Column("encoding", "string", "JSON or TEXT; missing where the logger has no format."),
        Column("format", "string", "Format string, or the JSON format; missing: Envoy's default."),
        Column("columns", "list<string>", "Columns of `access_log` that its format fills; missing if not known."),
        Column("filter", "json", "What it leaves out; missing: every request is logged."),
        *STATUS,
    ),
)
