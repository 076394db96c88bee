"""Tables of what istiod says it has sent and proxies have accepted."""

from __future__ import annotations

from meshnb.model.frame import Column, Frame

PROXY_STATUS = Frame(
    "proxy_status",
    "One row per proxy and type of configuration (xDS) istiod serves it.",
    (
        Column("proxy", "string", "`POD.NAMESPACE`.", nullable=False),
        Column("cluster", "string", "Kubernetes cluster the proxy says it is in."),
        Column("istiod", "string", "Pod of the istiod that says so."),
        Column("version", "string", "Istio version of the proxy."),
        Column("istiod_version", "string", "Version of that istiod, where it says it."),
        Column("proxy_type", "string", "sidecar, router, waypoint or ztunnel, where istiod says it."),
        Column("type", "string", "CDS, LDS, EDS, RDS, ECDS, SDS, NDS, PCDS, WDS, WADS, or the URL of another type."),
        Column("type_url", "string", "URL of the type."),
        Column(
            "status",
            "string",
            "SYNCED, STALE (sent, not acknowledged), NOT SENT, ERROR (rejected) or IGNORED (not subscribed); missing "
            "where the source names the type alone.",
        ),
        Column("never_acknowledged", "bool", "STALE and nothing was ever acknowledged."),
        Column("age_s", "float64", "Time since the last push of the type, at the time of the capture.", unit="s"),
        Column("last_updated", "timestamp", "When istiod pushed the type last."),
        Column("error", "string", "What Envoy said when it rejected the last push (NACK)."),
        Column("error_at", "timestamp", "When it rejected it."),
        Column("sent", "string", "Nonce sent last; only whether it equals `acked` has a meaning."),
        Column("acked", "string", "Nonce acknowledged last."),
    ),
    key=("proxy", "istiod", "type"),
)

DEBUG_ENDPOINTS = Frame(
    "debug_endpoints",
    "One row per debug endpoint that an istiod was asked.",
    (
        Column("istiod", "string", "Pod of the istiod.", nullable=False),
        Column("endpoint", "string", "Name below `/debug/`.", nullable=False),
        Column("proxy", "string", "Proxy it was asked about."),
        Column("meaning", "string", "What it answers; missing if meshnb does not know it."),
        Column("bytes", "int64", "Size of the answer; missing if there is none.", unit="bytes"),
        Column(
            "state",
            "string",
            "answered, disabled (a setting of istiod), removed (from this release on), absent (404), or failed.",
            nullable=False,
        ),
        Column("error", "string", "Why there is no answer."),
        Column("note", "string", "What to mind."),
        Column("removed", "string", "Release that has it no more."),
        Column("document", "string", "Where the answer lies in the snapshot.", nullable=False),
    ),
    key=("istiod", "endpoint", "proxy"),
)
