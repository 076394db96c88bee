"""Tables of istiod's and the agent's debug answers."""

from __future__ import annotations

from meshnb.model.frame import Column, Frame

_ISTIOD = Column("istiod", "string", "Pod of the istiod that says so.")

XDS_CLIENTS = Frame(
    "xds_clients",
    "One row per connection of a proxy to istiod (`/debug/adsz`, `/debug/connections`).",
    (
        _ISTIOD,
        Column("proxy", "string", "`POD.NAMESPACE`.", nullable=False),
        Column("connection", "string", "Id of the connection.", nullable=False),
        Column("connected", "timestamp", "Since when."),
        Column("age_s", "float64", "How long, at the time of the capture.", unit="s"),
        Column("address", "string", "Address it comes from."),
        Column("cluster", "string", "Kubernetes cluster the proxy says it is in."),
        Column("version", "string", "Istio version of the proxy."),
        Column("locality", "string", "region/zone/subzone."),
        Column("labels", "json", "Labels of its pod.", nullable=False),
        Column("types", "list<string>", "Types of configuration it watches.", nullable=False),
        Column("watched", "int64", "Number of resources it names in all.", nullable=False),
        Column("watched_bytes", "int64", "Length of all those names.", unit="bytes", nullable=False),
        Column("metadata", "json", "Node metadata.", nullable=False),
    ),
    key=("istiod", "connection"),
)

XDS_WATCHES = Frame(
    "xds_watches",
    "One row per proxy and type of configuration it watches, with the resources it names (`/debug/adsz`).",
    (
        _ISTIOD,
        Column("proxy", "string", "`POD.NAMESPACE`.", nullable=False),
        Column("type", "string", "CDS, LDS, EDS, RDS …, or the URL of another type.", nullable=False),
        Column("count", "int64", "Number of resources named; 0 where it takes all there are.", nullable=False),
        Column("bytes", "int64", "Length of those names.", unit="bytes", nullable=False),
        Column("names", "list<string>", "Their names.", nullable=False),
    ),
    key=("istiod", "proxy", "type"),
)

ISTIOD_ENDPOINTS = Frame(
    "istiod_endpoints",
    "One row per endpoint istiod knows (`endpointShardz`, `endpointz`) or sends to a proxy (`edsz`).",
    (
        _ISTIOD,
        Column("source", "string", "`shards`: what istiod knows; `edsz`: what it sends to `proxy`.", nullable=False),
        Column("proxy", "string", "Proxy it sends it to."),
        Column("host", "string", "Full name of the service.", nullable=False),
        Column("namespace", "string", "Namespace of the service."),
        Column("shard", "string", "Registry and cluster it comes from, `Kubernetes/CLUSTER`."),
        Column("cluster", "string", "Envoy's cluster it is of (`edsz`)."),
        Column("address", "string", "Address.", nullable=False),
        Column("port", "int64", "Port.", nullable=False),
        Column("port_name", "string", "Name of the service's port."),
        Column("health", "string", "HEALTHY, UNHEALTHY, DRAINING, TERMINATING or UNKNOWN.", nullable=False),
        Column("weight", "int64", "Load balancing weight."),
        Column("workload", "string", "Workload behind it."),
        Column("service_account", "string", "Identity istiod expects of it, as a SPIFFE URI."),
        Column("node", "string", "Node."),
        Column("labels", "json", "Labels of its pod.", nullable=False),
    ),
)

DNS_NAMES = Frame(
    "dns_names",
    "One row per name and address the agent's DNS proxy answers (`ndsz`).",
    (
        Column("proxy", "string", "Proxy that was asked about."),
        Column("name", "string", "Name.", nullable=False),
        Column("address", "string", "Address; missing if the name has none."),
        Column("registry", "string", "Kubernetes or External."),
        Column("namespace", "string", "Namespace of the service."),
        Column("short_name", "string", "Name without namespace and domain."),
    ),
)

SIDECAR_SCOPES = Frame(
    "sidecar_scopes",
    "One row per service istiod lets a proxy see (`sidecarz`): with a Sidecar object only those it names.",
    (
        _ISTIOD,
        Column("proxy", "string", "Proxy that was asked about."),
        Column("sidecar", "string", "Sidecar object in force; missing if there is none, and istiod uses its own."),
        Column("namespace", "string", "Namespace of the scope."),
        Column("outbound_policy", "string", "What becomes of traffic to unknown hosts: ALLOW_ANY or REGISTRY_ONLY."),
        Column("host", "string", "Full name of a service it sees.", nullable=False),
        Column("service_namespace", "string", "Namespace of the service."),
    ),
)

AUTHORIZATION_POLICIES = Frame(
    "authorization_policies",
    "One row per AuthorizationPolicy istiod holds (`authorizationz`).",
    (
        _ISTIOD,
        Column("namespace", "string", "Namespace.", nullable=False),
        Column("policy", "string", "Name.", nullable=False),
        Column(
            "whole_mesh", "bool", "Whether it stands in the root namespace and so holds everywhere.", nullable=False
        ),
        Column("action", "string", "ALLOW, DENY, AUDIT or CUSTOM.", nullable=False),
        Column("selector", "json", "Labels of the workloads it is for; `{}` for all.", nullable=False),
        Column("rules", "int64", "Number of its rules; ALLOW without any denies everything.", nullable=False),
        Column("dry_run", "bool", "Whether it is only tried.", nullable=False),
        Column("spec", "json", "The whole spec.", nullable=False),
    ),
    key=("istiod", "namespace", "policy"),
)

ISTIOD_SERVICES = Frame(
    "istiod_services",
    "One row per service istiod knows (`registryz`).",
    (
        _ISTIOD,
        Column("host", "string", "Full name.", nullable=False),
        Column("service", "string", "Name."),
        Column("namespace", "string", "Namespace."),
        Column("registry", "string", "Registry it comes from."),
        Column("resolution", "string", "How its endpoints are found: ClientSideLB (EDS), DNSLB, Passthrough …"),
        Column("mesh_external", "bool", "Whether it lies outside the mesh.", nullable=False),
        Column("addresses", "list<string>", "Its virtual addresses.", nullable=False),
        Column("ports", "json", "List of name, port and protocol.", nullable=False),
    ),
    key=("istiod", "host", "namespace"),
)

PUSH_STATUS = Frame(
    "push_status",
    "One row per problem istiod met when it built its last push (`push_status`).",
    (
        _ISTIOD,
        Column("problem", "string", "Its name, that of the metric which counts it.", nullable=False),
        Column("subject", "string", "Service, cluster or object it is about.", nullable=False),
        Column("proxy", "string", "Proxy it was met for."),
        Column("message", "string", "istiod's words."),
        Column("meaning", "string", "What it means; missing if meshnb does not know the name."),
    ),
)

MESH_CONFIG = Frame(
    "mesh_config",
    "One row per setting of the mesh, by the place it was read from.",
    (
        Column(
            "source",
            "string",
            "`istiod POD` (in force), `ConfigMap NAME` or `IstioOperator NAME` (asked for).",
            nullable=False,
        ),
        Column("setting", "string", "Its path, `accessLogFile` or `defaultConfig.proxyMetadata.NAME`.", nullable=False),
        Column("value", "json", "Its value.", nullable=False),
    ),
    key=("source", "setting"),
)

CONTROLZ = Frame(
    "controlz",
    "One row per value of istiod's ControlZ (port 9876).",
    (
        _ISTIOD,
        Column("topic", "string", "scope, memory, env, process, version or metrics.", nullable=False),
        Column(
            "name",
            "string",
            "Name of the scope, counter, variable or property; of a metric with its labels.",
            nullable=False,
        ),
        Column("value", "string", "Its value; of a scope the log level.", nullable=False),
        Column("detail", "string", "Of a scope: what it logs; of a metric: its type and what it means."),
    ),
    key=("istiod", "topic", "name"),
)

CONFIG_DRIFT = Frame(
    "config_drift",
    "One row per cluster, listener or route configuration that istiod would send a proxy and Envoy lacks, or the other "
    "way round.",
    (
        Column("proxy", "string", "`POD.NAMESPACE`.", nullable=False),
        Column("type", "string", "CDS, LDS or RDS.", nullable=False),
        Column("name", "string", "Name of the resource.", nullable=False),
        Column("only_in", "string", "`istiod`: Envoy lacks it; `envoy`: istiod would not send it.", nullable=False),
    ),
    key=("proxy", "type", "name"),
)
