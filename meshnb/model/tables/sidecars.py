"""Tables of Sidecar objects: what they say, for whom they hold, what they would change."""

from __future__ import annotations

from meshnb.model.frame import Column, Frame

_PROXY = Column("proxy", "string", "Proxy, `POD.NAMESPACE`.", nullable=False)
_NAMESPACE = Column("namespace", "string", "Namespace.", nullable=False)
_WORKLOAD = Column("workload", "string", "Workload of its pod.")

SIDECARS = Frame(
    "sidecars",
    "One row per Sidecar object.",
    (
        _NAMESPACE,
        Column("sidecar", "string", "Name.", nullable=False),
        Column("selector", "json", "Labels of the workloads it is for; missing: it has no workloadSelector."),
        Column("egress_hosts", "list<string>", "Hosts of all its egress listeners, as written.", nullable=False),
        Column("egress_ports", "list<string>", "Ports of egress listeners that name one.", nullable=False),
        Column("ingress_ports", "list<string>", "Ports of its ingress listeners; none: those of the pod's Services."),
        Column("outbound_policy", "string", "ALLOW_ANY or REGISTRY_ONLY; missing: what MeshConfig says."),
        Column("proxies", "int64", "Captured proxies it holds for; missing where pods are not known."),
        Column("problems", "list<string>", "What is wrong with it, as MNB0110 to MNB0114 find it."),
        Column("spec", "json", "The whole spec.", nullable=False),
        Column("created", "timestamp", "When it was made."),
    ),
    key=("namespace", "sidecar"),
)

SIDECAR_PROXIES = Frame(
    "sidecar_proxies",
    "One row per proxy: the Sidecar object that holds for it, and what it may know under it.",
    (
        _PROXY,
        _NAMESPACE,
        _WORKLOAD,
        Column("sidecar", "string", "The Sidecar, NAMESPACE/NAME; missing if none holds."),
        Column("level", "string", "workload, namespace, mesh, none, or gateway: no Sidecar holds for those."),
        Column("why", "string", "Why this one.", nullable=False),
        Column("others", "list<string>", "Sidecars that fit as well and lose; Istio leaves it open which one wins."),
        Column("outbound_policy", "string", "ALLOW_ANY or REGISTRY_ONLY; missing where MeshConfig is not known."),
        Column("services", "int64", "Services it may know; missing where Services were not captured."),
        Column("of_services", "int64", "Services exported to its namespace."),
        Column("istiod", "string", "agrees, or how istiod's own scope differs; missing where it was not captured."),
    ),
    key=("proxy",),
)

VISIBLE_SERVICES = Frame(
    "visible_services",
    "One row per proxy and service it may know, with what brings it in.",
    (
        _PROXY,
        Column("host", "string", "Full name of the service.", nullable=False),
        Column("service_namespace", "string", "Namespace of the service.", nullable=False),
        Column("ports", "list<string>", "Ports it may know; empty for all.", nullable=False),
        Column("by", "string", "The egress host or VirtualService that brings it in.", nullable=False),
    ),
    key=("proxy", "host"),
)

OBSERVED_CALLS = Frame(
    "observed_calls",
    "One row per proxy, cluster and authority of calls that its access log has of its own workload.",
    (
        _PROXY,
        Column("cluster", "string", "Cluster it was sent to; missing if none was chosen."),
        Column("host", "string", "Host of the service; missing for what no service is known for."),
        Column("port", "int64", "Port of the service."),
        Column("authority", "string", "Host asked for; missing for TCP."),
        Column("requests", "int64", "Requests or connections.", nullable=False),
        Column("first_seen", "timestamp", "First of them."),
        Column("last_seen", "timestamp", "Last of them."),
    ),
)

LOG_EXTENT = Frame(
    "log_extent",
    "One row per proxy: how far its access log reaches.",
    (
        _PROXY,
        Column("lines", "int64", "Lines.", nullable=False),
        Column(
            "told", "int64", "Of them those with a cluster: the others do not tell where they went.", nullable=False
        ),
        Column("outbound", "int64", "Calls of its own workload.", nullable=False),
        Column("first", "timestamp", "First line."),
        Column("last", "timestamp", "Last line."),
    ),
    key=("proxy",),
)

VIRTUAL_HOST_SIZES = Frame(
    "virtual_host_sizes",
    "One row per virtual host of a dynamic route configuration: its exact bytes in the document.",
    (
        Column("proxy", "string", "Proxy, `POD.NAMESPACE`."),
        Column("route_config", "string", "Name of the route configuration.", nullable=False),
        Column("virtual_host", "string", "Name of the virtual host.", nullable=False),
        Column("bytes", "int64", "Exact size.", unit="bytes", nullable=False),
    ),
)

SIDECAR_WHAT_IF = Frame(
    "sidecar_what_if",
    "One row per proxy that the Sidecars tried would hold for: what it has, and what it would have.",
    (
        _PROXY,
        _NAMESPACE,
        _WORKLOAD,
        Column("sidecar_before", "string", "Sidecar that holds now; missing if none."),
        Column("sidecar", "string", "Sidecar that would hold; missing if none."),
        Column("why", "string", "Why this one.", nullable=False),
        Column("outbound_policy", "string", "ALLOW_ANY or REGISTRY_ONLY, as it would be."),
        Column("catch_all", "string", "Cluster that would get what is no longer known."),
        Column(
            "ingress_ports", "list<string>", "Ports of its ingress listeners; missing: those of the pod's Services."
        ),
        Column("clusters_before", "int64", "Clusters; missing without a config dump, as all that follows."),
        Column("clusters_after", "int64", "Clusters that stay or come."),
        Column("endpoints_before", "int64", "Endpoints; missing if the dump has none (`?include_eds`)."),
        Column("endpoints_after", "int64", "Endpoints that stay; missing also if clusters come."),
        Column("virtual_hosts_before", "int64", "Virtual hosts that came over RDS."),
        Column("virtual_hosts_after", "int64", "Of them, those that stay."),
        Column("listeners_before", "int64", "Listeners that came over LDS."),
        Column("listeners_after", "int64", "Of them, those that stay."),
        Column("bytes_before", "int64", "Size of the dump with endpoints; missing if it has none.", unit="bytes"),
        Column("bytes_after", "int64", "Predicted; missing if clusters come whose size is not known.", unit="bytes"),
        Column("bytes_before_without_eds", "int64", "Size of the dump without endpoints.", unit="bytes"),
        Column("bytes_after_without_eds", "int64", "Predicted.", unit="bytes"),
        Column("calls", "string", "access log, metrics, or unknown: where calls were looked for.", nullable=False),
        Column("requests", "int64", "Calls seen; missing where they are unknown or only rates are known."),
        Column("requests_lost", "int64", "Calls seen that would fail; missing likewise."),
        Column("hosts_lost", "int64", "Hosts called that could no longer be reached; missing where unknown."),
        Column("last_lost", "timestamp", "Last of the calls that would fail."),
        Column("unknown", "list<string>", "What could not be said, and why.", nullable=False),
    ),
    key=("proxy",),
)

SIDECAR_CHANGES = Frame(
    "sidecar_changes",
    "One row per resource of a proxy that would go or come with the Sidecars tried.",
    (
        _PROXY,
        Column("change", "string", "goes, comes, or loses rules: it stays without those of a VirtualService."),
        Column("type", "string", "cluster, endpoints, virtual_host or listener.", nullable=False),
        Column("name", "string", "Its name.", nullable=False),
        Column("host", "string", "Host of the service."),
        Column("service_namespace", "string", "Namespace of the service."),
        Column("port", "int64", "Port."),
        Column("subset", "string", "Subset."),
        Column("route_config", "string", "Route configuration of a virtual host."),
        Column("virtual_service", "string", "VirtualService whose rules are lost, NAMESPACE/NAME."),
        Column("endpoints", "list<string>", "Endpoints, for type endpoints."),
        Column("bytes", "int64", "Exact size in the document; missing for what comes.", unit="bytes"),
    ),
)

SIDECAR_CALLS = Frame(
    "sidecar_calls",
    "One row per host a proxy was seen to call: what would become of the call.",
    (
        _PROXY,
        Column("host", "string", "Host called: of the service, else as asked for."),
        Column("port", "int64", "Port."),
        Column(
            "verdict",
            "string",
            "stays, breaks, bypasses (the mesh), loses rules, fails already, or unknown.",
            nullable=False,
        ),
        Column("expects", "string", "What the caller would see.", nullable=False),
        Column("requests", "int64", "Calls seen; missing where only a rate is known."),
        Column("rate", "float64", "Calls a second, of the workload, where only metrics tell.", unit="1/s"),
        Column("first_seen", "timestamp", "First of them."),
        Column("last_seen", "timestamp", "Last of them."),
        Column("source", "string", "access log or metrics.", nullable=False),
    ),
)

SIDECAR_COMPARED = Frame(
    "sidecar_compared",
    "One row per proxy: what was predicted of a Sidecar, and what was measured after it was applied.",
    (
        _PROXY,
        Column("measured_proxy", "string", "Proxy it is compared with: itself, or one of its workload."),
        Column("clusters_before", "int64", "Clusters before."),
        Column("clusters_predicted", "int64", "Clusters predicted."),
        Column("clusters_measured", "int64", "Clusters measured; missing if there is no such proxy."),
        Column("stayed", "list<string>", "Clusters predicted to go that are still there.", nullable=False),
        Column("gone", "list<string>", "Clusters that are gone and were predicted to stay.", nullable=False),
        Column(
            "bytes_before", "int64", "Size before, without endpoints where one of the dumps has none.", unit="bytes"
        ),
        Column("bytes_predicted", "int64", "Size predicted.", unit="bytes"),
        Column("bytes_measured", "int64", "Size measured.", unit="bytes"),
        Column("error", "float64", "How far the prediction is off, of what was measured.", unit="0 to 1"),
    ),
    key=("proxy",),
)

SIDECAR_PROPOSALS = Frame(
    "sidecar_proposals",
    "One row per workload: the Sidecar that names what it was seen to call.",
    (
        _NAMESPACE,
        Column("workload", "string", "Workload.", nullable=False),
        Column("selector", "json", "Labels that pick its pods and no others; missing if no labels do."),
        Column("hosts", "list<string>", "Egress hosts; missing where calls are unknown."),
        Column("requests", "int64", "Calls they rest on."),
        Column("first", "timestamp", "Since when the log tells of its calls."),
        Column("last", "timestamp", "Until when."),
        Column("caveats", "list<string>", "What to mind.", nullable=False),
        Column("yaml", "string", "The Sidecar; missing where calls are unknown."),
    ),
    key=("namespace", "workload"),
)

FLEET_SIZE = Frame(
    "fleet_size",
    "Configuration of all proxies together, estimated from captured config dumps: with endpoints, without.",
    (
        Column("what", "string", "with endpoints, or without endpoints.", nullable=False),
        Column("sampled", "int64", "Proxies measured.", nullable=False),
        Column("proxies", "int64", "Proxies there are.", nullable=False),
        Column("mean_bytes", "float64", "Mean of those measured.", unit="bytes"),
        Column("smallest", "int64", "Smallest of them.", unit="bytes"),
        Column("largest", "int64", "Largest of them.", unit="bytes"),
        Column("total_bytes", "float64", "Estimate for all.", unit="bytes"),
        Column(
            "error_bytes",
            "float64",
            "The true total is at most this far off 19 times of 20, if those measured were drawn at random; 0 if all "
            "were measured, missing for one alone.",
            unit="bytes",
        ),
    ),
    key=("what",),
)

DISCOVERY = Frame(
    "discovery",
    "One row per namespace: whether istiod looks at it, and what would change with other selectors or labels.",
    (
        _NAMESPACE,
        Column("labels", "json", "Labels, as they would be.", nullable=False),
        Column("now", "bool", "Whether istiod looks at it now; missing where MeshConfig is not known."),
        Column("then", "bool", "Whether it would.", nullable=False),
        Column("change", "string", "leaves, joins, stays, or stays out.", nullable=False),
        Column("services", "int64", "Services in it.", nullable=False),
        Column("endpoints", "int64", "Addresses and ports behind them.", nullable=False),
        Column("pods_with_proxy", "int64", "Pods with a proxy in it.", nullable=False),
        Column("proxies_with_them", "int64", "Proxies that have clusters of it now; missing without config dumps."),
        Column("proxy_endpoints", "int64", "Its endpoints in all those proxies together."),
        Column("calls", "int64", "Calls to it in the access logs; missing without logs."),
        Column("last_call", "timestamp", "Last of them."),
        Column("notes", "list<string>", "What to mind.", nullable=False),
    ),
    key=("namespace",),
)
