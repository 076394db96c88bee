"""Tables from the logs of proxies."""

from __future__ import annotations

from meshnb.model.frame import Column, Frame

ACCESS_LOG = Frame(
    "access_log",
    "One row per line of an access log: one request, or one connection where the listener is not HTTP.",
    (
        Column("proxy", "string", "Proxy that wrote the line, `POD.NAMESPACE`, or the pod alone if no more is known."),
        Column("start_time", "timestamp", "When the request began."),
        Column("method", "string", "HTTP method."),
        Column("path", "string", "Path, as the client asked for it."),
        Column("protocol", "string", "HTTP protocol."),
        Column("response_code", "int64", "HTTP status sent to the client; 0 when nothing was sent."),
        Column("response_flags", "list<string>", "Envoy's response flags in the order written; empty for none."),
        Column("flag_set", "string", "The flags as a set: sorted, joined by commas; missing for none."),
        Column("response_code_details", "string", "Why this status was sent, in Envoy's words."),
        Column("connection_termination_details", "string", "Why Envoy ended the connection."),
        Column("upstream_transport_failure_reason", "string", "Why the connection to the upstream failed (TLS, TCP)."),
        Column("bytes_received", "int64", "Size of the request body.", unit="bytes"),
        Column("bytes_sent", "int64", "Size of the response body.", unit="bytes"),
        Column("duration_ms", "int64", "From the first byte of the request to the last of the response.", unit="ms"),
        Column("upstream_service_time_ms", "int64", "What the upstream took, as the router saw it.", unit="ms"),
        Column("x_forwarded_for", "string", "Header x-forwarded-for."),
        Column("user_agent", "string", "Header user-agent."),
        Column("request_id", "string", "Header x-request-id; joins the two sides of a request."),
        Column("authority", "string", "Host asked for."),
        Column("upstream_host", "string", "Address of the endpoint chosen."),
        Column("upstream_cluster", "string", "Cluster chosen."),
        Column("upstream_local_address", "string", "This side's address of the connection to the upstream."),
        Column("downstream_local_address", "string", "Address the client connected to."),
        Column("downstream_remote_address", "string", "Address of the client."),
        Column("requested_server_name", "string", "SNI the client sent."),
        Column("route_name", "string", "Name of the route chosen."),
        Column("file", "string", "File the line stands in.", nullable=False),
        Column("line", "int64", "Number of the line in it, from 1.", nullable=False),
        Column("pod", "string", "Pod that wrote the line, where a `kubectl logs` prefix or the snapshot says so."),
        Column("container", "string", "Container that wrote the line, where a `kubectl logs` prefix says so."),
    ),
    key=("file", "line"),
)

SKIPPED_LINES = Frame(
    "skipped_lines",
    "One row per line of a log that is no access log line, and per file that could not be read to its end.",
    (
        Column("proxy", "string", "Proxy that wrote the line."),
        Column("file", "string", "File the line stands in.", nullable=False),
        Column("line", "int64", "Number of the line in it, from 1; missing if the reason is about the whole file."),
        Column("reason", "string", "Why it is no access log line.", nullable=False),
        Column("excerpt", "string", "How the line begins."),
    ),
    key=("file", "line"),
)

RESPONSE_FLAGS = Frame(
    "response_flags",
    "One row per response flag of Envoy, or per flag seen in the access log.",
    (
        Column("flag", "string", "Short name, as logged.", nullable=False),
        Column("name", "string", "Long name (`%RESPONSE_FLAGS_LONG%`).", nullable=False),
        Column("since", "string", "First Envoy version that has it; `≤1.5`: that one has it, maybe older ones too."),
        Column("scope", "string", "`http`, or `http,tcp` if TCP connections can carry it too.", nullable=False),
        Column("side", "string", "Who ended the request: downstream, envoy or upstream.", nullable=False),
        Column("meaning", "string", "What happened, in one sentence.", nullable=False),
        Column("likely_causes", "list<string>", "Why it usually happens, likeliest first.", nullable=False),
        Column("next_step", "string", "What to look at next.", nullable=False),
        Column("requests", "int64", "Requests that carry it in the log looked at."),
        Column("share", "float64", "Their share of all requests looked at.", unit="0 to 1"),
    ),
    key=("flag",),
)

DEBUG_LOG = Frame(
    "debug_log",
    "One row per record of Envoy's application log; a record may span several lines.",
    (
        Column("proxy", "string", "Proxy that wrote it, `POD.NAMESPACE`."),
        Column("time", "timestamp", "When it was written."),
        Column("level", "string", "trace, debug, info, warning, error or critical.", nullable=False),
        Column("component", "string", "Logger: http, router, connection, pool …", nullable=False),
        Column("source", "string", "Source file of Envoy that wrote it."),
        Column("source_line", "int64", "Line in it."),
        Column("connection", "int64", "Connection it is about, as marked in the record."),
        Column("stream", "string", "Stream (request) it is about, as marked in the record."),
        Column("upstream_connection", "int64", "Connection to the upstream that the record attaches to `connection`."),
        Column("message", "string", "What it says, without header lines.", nullable=False),
        Column("headers", "json", "Headers printed with it, as a list of pairs."),
        Column("request_id", "string", "x-request-id, if it is among the headers."),
        Column("thread", "int64", "Thread that wrote it."),
        Column("file", "string", "File it stands in.", nullable=False),
        Column("line", "int64", "Number of its first line, from 1.", nullable=False),
    ),
    key=("file", "line"),
)

STORY = Frame(
    "story",
    "One row per step in the life of one request, in order of time.",
    (
        Column("time", "timestamp", "When."),
        Column("offset_ms", "float64", "Since the first step.", unit="ms"),
        Column("proxy", "string", "Where."),
        Column("side", "string", "On which connection: downstream (from the client) or upstream.", nullable=False),
        Column("connection", "int64", "Connection."),
        Column("stream", "string", "Stream."),
        Column("component", "string", "Logger.", nullable=False),
        Column("message", "string", "What Envoy wrote.", nullable=False),
        Column("meaning", "string", "What that means; missing where the message says it itself."),
        Column("file", "string", "File the record stands in.", nullable=False),
        Column("line", "int64", "Line in it.", nullable=False),
    ),
    key=("file", "line"),
)

LOG_LEVELS = Frame(
    "log_levels",
    "One row per logger of a proxy.",
    (
        Column("proxy", "string", "Proxy, `POD.NAMESPACE`."),
        Column("logger", "string", "Name of the logger.", nullable=False),
        Column("level", "string", "trace, debug, info, warning, error, critical or off.", nullable=False),
    ),
    key=("proxy", "logger"),
)

TCP_STREAMS = Frame(
    "tcp_streams",
    "One row per TCP connection in a capture, in order of its first packet.",
    (
        Column("proxy", "string", "Pod the capture was taken in, `POD.NAMESPACE`, where the snapshot says so."),
        Column("stream", "int64", "Number of the connection in the capture, from 0 as in Wireshark.", nullable=False),
        Column("client", "string", "Address and port that opened it.", nullable=False),
        Column("server", "string", "Address and port it was opened to.", nullable=False),
        Column("start", "timestamp", "First packet.", nullable=False),
        Column("packets", "int64", "Packets in both directions.", nullable=False),
        Column("handshake_ms", "float64", "From SYN to the client's ACK; missing if it was not captured.", unit="ms"),
        Column("bytes_sent", "int64", "Payload from the client, without TLS alerts.", unit="bytes", nullable=False),
        Column("bytes_received", "int64", "Payload from the server, likewise.", unit="bytes", nullable=False),
        Column("request_at_ms", "float64", "First payload of the client, since the first packet.", unit="ms"),
        Column("first_byte_ms", "float64", "From the end of the first request to the first answer.", unit="ms"),
        Column("gap_ms", "float64", "Longest silence between two packets.", unit="ms"),
        Column("gap_at_ms", "float64", "When it began, since the first packet.", unit="ms"),
        Column("closed_by", "string", "Who closed first: client or server; missing if nobody did."),
        Column("close_how", "string", "FIN (in order) or RST (refused)."),
        Column("waited_ms", "float64", "From the last request to the close; missing if it was answered.", unit="ms"),
        Column("late_answer_ms", "float64", "From the client's close to the server's next payload.", unit="ms"),
        Column("reset_by", "string", "Who sent an RST at any time: client or server."),
        Column("retransmissions", "int64", "Payload sent again.", nullable=False),
        Column("http_request", "string", "First line of the first HTTP/1 request."),
        Column("http_status", "string", "First line of the first HTTP/1 response."),
        Column("file", "string", "Capture it was read from.", nullable=False),
    ),
    key=("file", "stream"),
)

PACKETS = Frame(
    "packets",
    "One row per TCP packet of a capture.",
    (
        Column("number", "int64", "Number in the capture, from 1 as in Wireshark.", nullable=False),
        Column("time", "timestamp", "When it was captured.", nullable=False),
        Column("stream", "int64", "Connection it belongs to.", nullable=False),
        Column("direction", "string", "`client` or `server`: who sent it.", nullable=False),
        Column("source", "string", "Address and port of the sender.", nullable=False),
        Column("destination", "string", "Address and port of the receiver.", nullable=False),
        Column("tcp_flags", "string", "TCP flags: SYN, ACK, FIN, RST, PSH.", nullable=False),
        Column("seq", "int64", "Sequence number, counted from the first of its direction.", nullable=False),
        Column("payload", "int64", "Length of the payload.", unit="bytes", nullable=False),
        Column("retransmission", "bool", "Whether this payload was sent before.", nullable=False),
        Column("meaning", "string", "What the flags mean here."),
        Column("http", "string", "First line, where an HTTP/1 message begins."),
        Column("file", "string", "Capture it was read from.", nullable=False),
    ),
    key=("file", "number"),
)

FAILED_REQUESTS = Frame(
    "failed_requests",
    "One row per request that failed or was slow for its caller, with the one cause it is assigned to.",
    (
        Column("request_id", "string", "x-request-id; missing where none was logged."),
        Column("start_time", "timestamp", "When it began, as the outermost proxy saw it."),
        Column("cause", "string", "Name of the cause; `unknown` where none can be told.", nullable=False),
        Column("confidence", "float64", "How sure that is.", unit="0 to 1", nullable=False),
        Column("why", "string", "What the decision rests on.", nullable=False),
        Column("ended_by", "string", "Who ended the request: client, proxy, upstream or nobody.", nullable=False),
        Column("response_code", "int64", "Status the caller got; 0 for none."),
        Column("flag_set", "string", "Flags of the row that decides."),
        Column("response_code_details", "string", "Details of the row that decides."),
        Column("duration_ms", "int64", "Duration as the outermost proxy saw it.", unit="ms"),
        Column("authority", "string", "Host asked for."),
        Column("path", "string", "Path asked for."),
        Column("route_name", "string", "Route taken to what failed."),
        Column("service", "string", "Service meant, as its cluster names it; the authority if no cluster was reached."),
        Column("upstream_cluster", "string", "Cluster of what failed, as its caller's proxy chose it."),
        Column("upstream_host", "string", "Endpoint of it, likewise."),
        Column("outer_proxy", "string", "Outermost proxy that logged it."),
        Column("proxy", "string", "Proxy whose row decides."),
        Column("client", "string", "Address of the caller, without its port."),
        Column("user_agent", "string", "Header user-agent."),
        Column("file", "string", "File of the row that decides.", nullable=False),
        Column("line", "int64", "Its line.", nullable=False),
    ),
    key=("file", "line"),
)

CAUSE_SHARES = Frame(
    "cause_shares",
    "One row per cause, most requests first.",
    (
        Column("cause", "string", "Name of the cause.", nullable=False),
        Column("title", "string", "The cause in words.", nullable=False),
        Column("requests", "int64", "Requests it explains.", nullable=False),
        Column("share", "float64", "Their share of all requests.", unit="0 to 1", nullable=False),
        Column("share_of_failures", "float64", "Their share of those in trouble.", unit="0 to 1", nullable=False),
        Column("onset", "timestamp", "The first of them."),
        Column("last", "timestamp", "The last of them."),
        Column("p50_ms", "float64", "Median of their durations.", unit="ms"),
        Column("p99_ms", "float64", "99th percentile of their durations.", unit="ms"),
        Column("confidence", "float64", "How sure the cause is, median.", unit="0 to 1", nullable=False),
    ),
    key=("cause",),
)

PROBE = Frame(
    "probe",
    "One row per request of a probe, as its caller saw it.",
    (
        Column("number", "int64", "Position, from 1.", nullable=False),
        Column("time", "timestamp", "When it was sent.", nullable=False),
        Column("status", "int64", "HTTP status; 0 if no answer came.", nullable=False),
        Column("duration_ms", "float64", "Until the last byte of the answer.", unit="ms", nullable=False),
        Column("request_id", "string", "x-request-id it carried; joins with `access_log`.", nullable=False),
        Column("error", "string", "Why no answer came."),
    ),
    key=("number",),
)

WORKLOADS = Frame(
    "workloads",
    "One row per workload and reporter: rate, success and latency of its requests.",
    (
        Column("workload", "string", "Workload that answered.", nullable=False),
        Column("namespace", "string", "Its namespace."),
        Column("reporter", "string", "source: its callers' proxies; destination: its own.", nullable=False),
        Column("requests", "int64", "Requests in the log; missing where metrics were counted."),
        Column("rate", "float64", "Requests a second.", unit="1/s"),
        Column(
            "success",
            "float64",
            "Share below 500; code 0 counts as a success, as in Istio's dashboards.",
            unit="0 to 1",
        ),
        Column("p50_ms", "float64", "Median duration; missing where metrics were counted.", unit="ms"),
        Column("p90_ms", "float64", "90th percentile of the duration.", unit="ms"),
        Column("p99_ms", "float64", "99th percentile of the duration.", unit="ms"),
    ),
    key=("workload", "namespace", "reporter"),
)
