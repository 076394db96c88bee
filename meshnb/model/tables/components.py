"""Tables of how the components are set up: istiod, sidecars, probes, ports."""

from __future__ import annotations

from meshnb.model.frame import Column, Frame

ISTIODS = Frame(
    "istiods",
    "One row per pod of istiod, with its settings from the pod's spec.",
    (
        Column("namespace", "string", "Namespace.", nullable=False),
        Column("istiod", "string", "Pod.", nullable=False),
        Column("ready", "bool", "Whether its condition Ready is true.", nullable=False),
        Column("revision", "string", "Revision it serves (REVISION)."),
        Column("image", "string", "Image."),
        Column("version", "string", "Release, from the image's tag or the label."),
        Column("log_level", "string", "`--log_output_level`."),
        Column("monitoring_addr", "string", "`--monitoringAddr`."),
        Column("domain", "string", "`--domain`."),
        Column(
            "max_connection_age",
            "string",
            "`--keepaliveMaxServerConnectionAge`: every proxy reconnects, to any istiod, this often.",
        ),
        Column("readiness", "string", "Readiness probe, as kubectl describe writes it."),
        Column("cluster_id", "string", "CLUSTER_ID."),
        Column("jwt_policy", "string", "JWT_POLICY."),
        Column("cert_provider", "string", "PILOT_CERT_PROVIDER."),
        Column("istiod_addr", "string", "ISTIOD_ADDR."),
        Column("trace_sampling", "float64", "PILOT_TRACE_SAMPLING; 1 if unset.", unit="percent", nullable=False),
        Column(
            "sniffing_inbound", "bool", "PILOT_ENABLE_PROTOCOL_SNIFFING_FOR_INBOUND; true if unset.", nullable=False
        ),
        Column(
            "sniffing_outbound", "bool", "PILOT_ENABLE_PROTOCOL_SNIFFING_FOR_OUTBOUND; true if unset.", nullable=False
        ),
        Column("analysis", "bool", "PILOT_ENABLE_ANALYSIS; false if unset.", nullable=False),
        Column("debug_on_http", "bool", "ENABLE_DEBUG_ON_HTTP; true if unset.", nullable=False),
        Column("plaintext_xds", "bool", "Whether port 15010 is open: `--grpcAddr` is not empty.", nullable=False),
        Column("args", "list<string>", "Arguments.", nullable=False),
        Column(
            "env",
            "json",
            "Environment; values taken from elsewhere are null unless the pod tells them.",
            nullable=False,
        ),
    ),
    key=("namespace", "istiod"),
)

PROXY_METADATA = Frame(
    "proxy_metadata",
    "One row per pod with a proxy: what its environment tells istiod about it.",
    (
        Column("proxy", "string", "`POD.NAMESPACE`.", nullable=False),
        Column("workload", "string", "ISTIO_META_WORKLOAD_NAME."),
        Column("owner", "string", "ISTIO_META_OWNER."),
        Column("cluster_id", "string", "ISTIO_META_CLUSTER_ID."),
        Column("mesh_id", "string", "ISTIO_META_MESH_ID."),
        Column("network", "string", "ISTIO_META_NETWORK."),
        Column("node_name", "string", "ISTIO_META_NODE_NAME."),
        Column("interception_mode", "string", "ISTIO_META_INTERCEPTION_MODE: REDIRECT, TPROXY or NONE."),
        Column("trust_domain", "string", "TRUST_DOMAIN."),
        Column("app_containers", "list<string>", "ISTIO_META_APP_CONTAINERS.", nullable=False),
        Column("pod_ports", "json", "ISTIO_META_POD_PORTS: ports the app declares.", nullable=False),
        Column("dns_capture", "bool", "ISTIO_META_DNS_CAPTURE: the agent answers DNS.", nullable=False),
        Column("ca_address", "string", "CA_ADDR."),
        Column("env", "json", "The whole environment of the proxy's container.", nullable=False),
    ),
    key=("proxy",),
)

PROBES = Frame(
    "probes",
    "One row per probe of a container, with what the sidecar injector made of it.",
    (
        Column("proxy", "string", "`POD.NAMESPACE`.", nullable=False),
        Column("container", "string", "Container.", nullable=False),
        Column("probe", "string", "readiness, liveness or startup.", nullable=False),
        Column("type", "string", "http-get, tcp-socket, exec or grpc.", nullable=False),
        Column("scheme", "string", "HTTP or HTTPS."),
        Column("host", "string", "Host, if the probe names one."),
        Column("port", "string", "Port, number or name."),
        Column("path", "string", "Path, or the command of exec."),
        Column("delay_s", "int64", "Wait before the first.", unit="s"),
        Column("timeout_s", "int64", "How long an answer may take.", unit="s"),
        Column("period_s", "int64", "How often.", unit="s"),
        Column("success", "int64", "Successes in a row that make it good again."),
        Column("failure", "int64", "Failures in a row that make it bad."),
        Column(
            "rewritten", "bool", "Whether it asks the agent (`:15020/app-health/…`) instead of the app.", nullable=False
        ),
        Column("original", "json", "The probe as the app's author wrote it, of a rewritten one."),
        Column("original_text", "string", "The same as kubectl describe would write it."),
    ),
    key=("proxy", "container", "probe"),
)
