"""Tables of how the components are set up: istiod, sidecars, probes, ports."""

from __future__ import annotations

from meshnb.model.frame import Column, Frame

ISTIODS = Frame(
    "istiods",
    "One row per pod of istiod: what each that runs was started with. Settings in effect in the control plane as a "
    "whole, with their defaults, are in `istiod_settings`.",
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
        Column(
            "debug_auth",
            "bool",
            "ENABLE_DEBUG_ENDPOINT_AUTH; true if unset: who asks from elsewhere than the pod must prove who they are.",
            nullable=False,
        ),
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

LISTENING_PORTS = Frame(
    "listening_ports",
    "One row per socket a pod listens on, with the process that has it and what the port is for.",
    (
        Column("proxy", "string", "`POD.NAMESPACE`."),
        Column("protocol", "string", "tcp, tcp6, udp or udp6.", nullable=False),
        Column("address", "string", "Address it is bound to.", nullable=False),
        Column("port", "int64", "Port.", nullable=False),
        Column("loopback", "bool", "Whether only the pod itself reaches it.", nullable=False),
        Column("process", "string", "Process; missing if it was not shown."),
        Column("pid", "int64", "Its number."),
        Column(
            "component", "string", "proxy, istiod or ztunnel: whose ports these are, told by the processes and ports."
        ),
        Column("role", "string", "What the port is for; missing if it is none of the component's."),
        Column("expected_process", "string", "Process that should have it."),
    ),
)

POD_USAGE = Frame(
    "pod_usage",
    "One row per container and time, as `kubectl top pod` printed it, once or again and again.",
    (
        Column("time", "timestamp", "When; missing if no date was printed."),
        Column("namespace", "string", "Namespace; missing if it was not printed."),
        Column("pod", "string", "Pod.", nullable=False),
        Column("container", "string", "Container; missing if the pod was printed as a whole."),
        Column("cpu_m", "float64", "CPU in use.", unit="millicores"),
        Column("memory_bytes", "float64", "Memory in use.", unit="bytes"),
    ),
)

RESOURCE_CAPACITY = Frame(
    "resource_capacity",
    "One row per line of `kubectl resource-capacity`: totals, nodes, pods, containers.",
    (
        Column("node", "string", "Node; `*` for the whole cluster.", nullable=False),
        Column("namespace", "string", "Namespace; `*` in the lines of a whole node."),
        Column("pod", "string", "Pod; `*` in the lines of a whole node."),
        Column("container", "string", "Container; `*` in the lines of a whole pod."),
        Column("cpu_requests_m", "float64", "CPU requested.", unit="millicores"),
        Column("cpu_limits_m", "float64", "CPU limit.", unit="millicores"),
        Column("cpu_used_m", "float64", "CPU in use.", unit="millicores"),
        Column("cpu_capacity_m", "float64", "CPU there is, of `a/b` cells (option -a).", unit="millicores"),
        Column("memory_requests_bytes", "float64", "Memory requested.", unit="bytes"),
        Column("memory_limits_bytes", "float64", "Memory limit.", unit="bytes"),
        Column("memory_used_bytes", "float64", "Memory in use.", unit="bytes"),
        Column("memory_capacity_bytes", "float64", "Memory there is, of `a/b` cells (option -a).", unit="bytes"),
    ),
)

AGENTS = Frame(
    "agents",
    "One row per agent asked whether it is ready (`/healthz/ready` of port 15020).",
    (
        Column("proxy", "string", "`POD.NAMESPACE`.", nullable=False),
        Column("ready", "bool", "Whether it is.", nullable=False),
        Column("reason", "string", "Why it is not, in its words."),
        Column("config_received", "bool", "Whether its Envoy has clusters and listeners; missing if it does not say."),
    ),
    key=("proxy",),
)

AGENT_METRICS = Frame(
    "agent_metrics",
    "One row per sample of an agent's merged metrics (`/stats/prometheus` of port 15020), with who emitted it.",
    (
        Column("proxy", "string", "`POD.NAMESPACE`.", nullable=False),
        Column("emitter", "string", "agent, envoy or app.", nullable=False),
        Column("metric", "string", "Name.", nullable=False),
        Column("labels", "json", "Labels.", nullable=False),
        Column("value", "float64", "Value.", nullable=False),
    ),
)

PROBE_REPLAYS = Frame(
    "probe_replays",
    "One row per rewritten probe that was asked of the agent, as the kubelet does (`/app-health/…` of port 15020).",
    (
        Column("proxy", "string", "`POD.NAMESPACE`.", nullable=False),
        Column("container", "string", "Container it is for.", nullable=False),
        Column("probe", "string", "readiness, liveness or startup.", nullable=False),
        Column("status", "int64", "HTTP status.", nullable=False),
        Column("passes", "bool", "Whether the kubelet takes it as healthy: 200 to 399.", nullable=False),
        Column("body", "string", "What the application answered."),
    ),
    key=("proxy", "container", "probe"),
)
