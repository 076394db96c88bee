"""Tables of Envoy's configuration. `cluster` is the key that joins them."""

from __future__ import annotations

from meshnb.model.frame import Column, Frame

PROXY = Column("proxy", "string", "Proxy it comes from, POD.NAMESPACE; missing for a file without one.")

STATUS = (
    Column("state", "string", "active, warming, draining, or rejected: a version that Envoy refused."),
    Column("dynamic", "bool", "Whether it came over xDS; otherwise it is from the bootstrap."),
    Column("version_info", "string", "Version given by the control plane."),
    Column("last_updated", "timestamp", "When Envoy took this version.", unit="UTC"),
    Column("error_state", "string", "Why Envoy rejected the newest version, in its words; missing if it did not."),
    Column("client_status", "string", "ACKED, NACKED, REQUESTED … where Envoy says so."),
)

CONFIG = Column("config", "string", "Path of the Istio object it was made from, as in the metadata.")

LISTENERS = Frame(
    "listeners",
    "One row per filter chain of a listener, and per weighted cluster of its TCP proxy.",
    (
        PROXY,
        Column("listener", "string", "Name of the listener; empty for some static ones."),
        Column("address", "string", "IP address or path; missing for an internal listener."),
        Column("port", "int64", "Port; 0 where there is none.", nullable=False),
        Column("additional_addresses", "list<string>", "Further addresses as IP:PORT."),
        Column("internal", "bool", "Whether it is an internal listener.", nullable=False),
        Column("direction", "string", "INBOUND, OUTBOUND or missing."),
        Column("type", "string", "HTTP, TCP, HTTP+TCP or UNKNOWN, from the filters of all its chains."),
        Column("chain", "string", "Name of the filter chain."),
        Column("position", "int64", "Order of the chain; the default chain comes last."),
        Column("default_chain", "bool", "Whether it is the default filter chain."),
        Column("match", "string", "What the chain matches, in istioctl's words; ALL for everything."),
        Column("match_config", "json", "The whole filter_chain_match."),
        Column("sni", "list<string>", "Server names the chain matches."),
        Column("transport_protocol", "string", "Transport protocol the chain matches."),
        Column("application_protocols", "list<string>", "Application protocols (ALPN) the chain matches."),
        Column("destination_port", "int64", "Original destination port the chain matches."),
        Column("destination", "string", "Where it leads, in istioctl's words."),
        Column("route_config", "string", "Route configuration of its HTTP connection manager."),
        Column("route_source", "string", "rds, inline or scoped."),
        Column("cluster", "string", "Cluster of its TCP proxy, or of an inline route with a single cluster."),
        Column("weight", "int64", "Weight of that cluster; missing if it is the only one."),
        Column("total_weight", "int64", "Sum of the weights of the TCP proxy's clusters."),
        Column("filters", "list<string>", "Network filters in order."),
        Column("http_filters", "list<string>", "HTTP filters in order."),
        Column("listener_filters", "list<string>", "Listener filters in order."),
        Column("listener_matcher", "json", "filter_chain_matcher of the listener, where it has one."),
        Column(
            "tls", "string", "TLS, mTLS (the client must show a certificate), another transport socket, or missing."
        ),
        Column("tls_secrets", "list<string>", "Certificates and trust anchors it takes by name (SDS)."),
        Column("alpn", "list<string>", "Application protocols offered to the client."),
        Column("stat_prefix", "string", "Prefix of its statistics."),
        Column("access_logs", "list<string>", "Access loggers of the chain in order."),
        Column("idle_timeout_ms", "float64", "Idle timeout of a connection; missing if not set.", unit="ms"),
        Column("stream_idle_timeout_ms", "float64", "Idle timeout of a stream; missing: 5 minutes.", unit="ms"),
        Column("request_timeout_ms", "float64", "Time to receive the whole request; missing: none.", unit="ms"),
        CONFIG,
        *STATUS,
        Column("bytes", "int64", "Size of the listener in the document.", unit="bytes"),
    ),
)

ROUTES = Frame(
    "routes",
    "One row per route, and per weighted cluster of it; also per virtual host without routes.",
    (
        PROXY,
        Column("route_config", "string", "Name of the route configuration; empty for some static ones."),
        Column("virtual_host", "string", "Name of the virtual host; missing if the configuration has none."),
        Column("virtual_host_position", "int64", "Order of the virtual host, from 0."),
        Column("domains", "list<string>", "Domains of the virtual host."),
        Column("require_tls", "string", "EXTERNAL_ONLY or ALL, where plain text is redirected to https."),
        Column("position", "int64", "Order in the virtual host, from 0; the first match wins."),
        Column("route", "string", "Name of the route."),
        Column("match", "string", "What path it matches, in istioctl's words; empty if any."),
        Column("match_headers", "json", "Header conditions."),
        Column("match_query", "json", "Query parameter conditions."),
        Column("method", "string", "Method it asks for, where that is one exact word."),
        Column("match_config", "json", "The whole match."),
        Column(
            "action",
            "string",
            "cluster, weighted_clusters, cluster_header, redirect, direct_response, cluster_specifier_plugin, "
            "filter_action, non_forwarding_action or none.",
        ),
        Column("cluster", "string", "Cluster it leads to; missing where no cluster is named."),
        Column("cluster_header", "string", "Request header that names the cluster."),
        Column("weight", "int64", "Weight of that cluster; missing if it is the only one."),
        Column("total_weight", "int64", "Sum of the weights of the route."),
        Column("timeout_ms", "float64", "Route timeout; 15,000 where not set, 0 for none.", unit="ms"),
        Column("idle_timeout_ms", "float64", "Idle timeout of a stream; missing: the listener's.", unit="ms"),
        Column("max_stream_duration_ms", "float64", "Longest life of a stream.", unit="ms"),
        Column("retry_on", "string", "Conditions of a retry, comma-separated."),
        Column("num_retries", "int64", "Retries at most; 1 where a retry policy does not say."),
        Column("per_try_timeout_ms", "float64", "Timeout of one try; missing: the route timeout.", unit="ms"),
        Column("retriable_status_codes", "list<string>", "Status codes that are retried."),
        Column("redirect", "json", "The redirect."),
        Column("direct_response_status", "int64", "Status of the direct response."),
        Column("host_rewrite", "string", "New host, or where it is taken from."),
        Column("prefix_rewrite", "string", "New path prefix."),
        Column("regex_rewrite", "json", "Rewrite of the path by a regular expression."),
        Column("mirrors", "list<string>", "Clusters that get a copy of the request."),
        Column("metadata_match", "json", "Subset of endpoints it asks for."),
        Column("per_filter_config", "json", "typed_per_filter_config of the route (faults, CORS …)."),
        Column("virtual_service", "string", "VirtualService it was made from."),
        Column("virtual_service_namespace", "string", "Namespace of it."),
        CONFIG,
        *STATUS,
    ),
)

CLUSTERS = Frame(
    "clusters",
    "One row per cluster and state.",
    (
        PROXY,
        Column("cluster", "string", "Full name, as in routes and endpoints.", nullable=False),
        Column("direction", "string", "outbound, inbound, inbound-vip …; missing if the name has no parts."),
        Column("port", "int64", "Port of the service."),
        Column("subset", "string", "Subset of the DestinationRule; missing if none."),
        Column("fqdn", "string", "Host of the service; missing if the name has no parts."),
        Column("type", "string", "STATIC, STRICT_DNS, LOGICAL_DNS, EDS, ORIGINAL_DST, or the name of a custom type."),
        Column("eds_service_name", "string", "Name under which the endpoints are asked for, if not the cluster's."),
        Column("origin", "string", "DestinationRule NAME.NAMESPACE, service discovery, or bootstrap."),
        Column("destination_rule", "string", "DestinationRule it was made with."),
        Column("destination_rule_namespace", "string", "Namespace of it."),
        CONFIG,
        Column("service", "string", "First service of the metadata; the host for a ServiceEntry."),
        Column("service_namespace", "string", "Namespace of it."),
        Column("connect_timeout_ms", "float64", "Connect timeout; 5,000 where not set.", unit="ms"),
        Column("idle_timeout_ms", "float64", "Idle timeout of upstream connections; missing: 1 hour.", unit="ms"),
        Column("lb_policy", "string", "Load balancing; ROUND_ROBIN where not set."),
        Column("max_connections", "int64", "Circuit breaker; 1024 where not set."),
        Column("max_pending_requests", "int64", "Circuit breaker; 1024 where not set."),
        Column("max_requests", "int64", "Circuit breaker; 1024 where not set."),
        Column("max_retries", "int64", "Circuit breaker; 3 where not set."),
        Column("max_requests_per_connection", "int64", "Requests before a connection is closed; missing: no limit."),
        Column("outlier_detection", "bool", "Whether failing endpoints are ejected.", nullable=False),
        Column("outlier_consecutive_5xx", "int64", "5xx in a row before ejection; 5 where not set."),
        Column("outlier_consecutive_gateway_failure", "int64", "502, 503, 504 in a row before ejection."),
        Column("outlier_interval_ms", "float64", "Time between sweeps; 10,000 where not set.", unit="ms"),
        Column("outlier_base_ejection_ms", "float64", "Shortest ejection; 30,000 where not set.", unit="ms"),
        Column("outlier_max_ejection_percent", "int64", "Ejected at most; 10 where not set.", unit="percent"),
        Column("panic_threshold_percent", "float64", "Health below it is ignored; 50 where not set.", unit="percent"),
        Column("health_checks", "int64", "Number of active health checks.", nullable=False),
        Column(
            "tls_mode", "string", "DISABLE, SIMPLE, MUTUAL, ISTIO_MUTUAL, AUTO (an endpoint's label decides), OTHER."
        ),
        Column("sni", "string", "Server name sent upstream."),
        Column("sans", "list<string>", "Names accepted in the server's certificate; patterns as KIND:TEXT."),
        Column("protocol", "string", "http1, http2, auto, downstream, or missing if not said."),
        Column("filters", "list<string>", "Upstream network filters in order."),
        Column("lb_subset_selectors", "json", "Selectors of subset load balancing."),
        Column("dns_lookup_family", "string", "V4_ONLY, V6_ONLY, … for DNS clusters."),
        Column("dns_refresh_ms", "float64", "Time between DNS look-ups.", unit="ms"),
        Column("stat_name", "string", "Name in the statistics, where it differs."),
        *STATUS,
        Column("bytes", "int64", "Size in the document.", unit="bytes"),
    ),
)

COUNTERS = (
    "cx_active",
    "cx_connect_fail",
    "cx_total",
    "rq_active",
    "rq_pending_active",
    "rq_error",
    "rq_success",
    "rq_timeout",
    "rq_total",
)
"""Counters and gauges per endpoint of `/clusters`; columns of `ENDPOINTS`."""

ENDPOINTS = Frame(
    "endpoints",
    "One row per endpoint of a cluster.",
    (
        PROXY,
        Column("cluster", "string", "Full name of the cluster.", nullable=False),
        Column("address", "string", "IP address, path of a pipe, or name of an internal listener."),
        Column("port", "int64", "Port; 0 where there is none.", nullable=False),
        Column("endpoint", "string", "IP:PORT, unix://PATH or envoy://LISTENER/ID.", nullable=False),
        Column("additional_addresses", "list<string>", "Further addresses of the same endpoint."),
        Column("hostname", "string", "Host name of the endpoint."),
        Column(
            "health_status", "string", "UNKNOWN, HEALTHY, UNHEALTHY, DRAINING, TIMEOUT or DEGRADED.", nullable=False
        ),
        Column("outlier_failed", "bool", "Whether outlier detection has ejected it; missing in a config dump."),
        Column("active_health_failed", "bool", "Whether active health checks fail; missing in a config dump."),
        Column("health_flags", "list<string>", "All flags that are set; missing in a config dump."),
        Column("weight", "int64", "Load balancing weight; 1 where not set."),
        Column("priority", "int64", "Priority; 0 is used first.", nullable=False),
        Column("locality", "string", "region/zone/subzone."),
        Column("locality_weight", "int64", "Weight of the locality."),
        Column("workload", "string", "Workload behind it, from Istio's metadata."),
        Column("workload_namespace", "string", "Namespace of it."),
        Column("canonical_service", "string", "Canonical service of the workload."),
        Column("canonical_revision", "string", "Canonical revision (version) of the workload."),
        Column("workload_cluster", "string", "Cluster (Kubernetes) the workload runs in."),
        Column("tls_mode", "string", "istio where the endpoint takes mutual TLS, as labelled."),
        Column("success_rate", "float64", "Success rate seen by outlier detection.", unit="percent"),
        *(Column(name, "int64", f"Envoy's {name} of this endpoint.") for name in COUNTERS),
        Column(
            "source", "string", "clusters (the /clusters page), or eds: it is in the config dump alone.", nullable=False
        ),
        *STATUS,
    ),
)

SECRETS = Frame(
    "secrets",
    "One row per certificate of a secret, in the order of its file; never a private key.",
    (
        PROXY,
        Column("secret", "string", "Name of the secret.", nullable=False),
        Column("kind", "string", "certificate, validation, session_ticket_keys, generic or unknown."),
        Column("position", "int64", "Order in the chain, 0 is the certificate itself; missing if there is none."),
        Column("type", "string", "Cert Chain, or CA for a certificate that may sign others."),
        Column("subject", "string", "Subject, RFC 4514; often empty in a mesh."),
        Column("issuer", "string", "Issuer, RFC 4514."),
        Column("spiffe_id", "string", "SPIFFE id."),
        Column("trust_domain", "string", "Trust domain: of the SPIFFE bundle, or of the SPIFFE id."),
        Column("sans", "list<string>", "All subject alternative names."),
        Column("serial", "string", "Serial number, hexadecimal."),
        Column("key", "string", "Algorithm and size of the public key."),
        Column("not_before", "timestamp", "Valid from.", unit="UTC"),
        Column("not_after", "timestamp", "Valid until.", unit="UTC"),
        Column("valid", "bool", "Whether it is valid at the time asked for."),
        Column("days_left", "float64", "Days until it expires, negative afterwards.", unit="days"),
        Column("problem", "string", "Why there is no certificate, where there should be one."),
        *STATUS,
    ),
)

ECDS = Frame(
    "ecds",
    "One row per extension configuration that came on its own (ECDS).",
    (
        PROXY,
        Column("name", "string", "Name of it.", nullable=False),
        Column("type", "string", "Type of the configuration, without its prefix; missing if none is given."),
        Column("typed_config", "json", "The configuration."),
        *STATUS,
        Column("bytes", "int64", "Size in the document.", unit="bytes"),
    ),
)

BOOTSTRAP = Frame(
    "bootstrap",
    "One row per proxy: who it is and which versions it runs.",
    (
        PROXY,
        Column("node_id", "string", "Id with which it calls the control plane."),
        Column("node_cluster", "string", "Cluster of the node, usually APP.NAMESPACE."),
        Column("pod", "string", "Pod, from the node metadata."),
        Column("namespace", "string", "Namespace, from the node metadata."),
        Column("workload", "string", "Workload, from the node metadata."),
        Column("kubernetes_cluster", "string", "CLUSTER_ID of the node metadata."),
        Column("network", "string", "NETWORK of the node metadata."),
        Column("istio_version", "string", "ISTIO_VERSION of the node metadata."),
        Column("istio_proxy_version", "string", "Revision of the proxy build."),
        Column("envoy_version", "string", "Envoy's version and build."),
        Column("locality", "string", "region/zone/subzone."),
        Column("admin", "string", "Address of the admin page."),
        Column("discovery_address", "string", "Address of istiod, from the proxy configuration."),
        Column("trust_domain", "string", "Trust domain, from the mesh configuration in the metadata."),
        Column("labels", "json", "Labels of the pod, from the node metadata."),
        Column("metadata", "json", "All node metadata."),
        Column("last_updated", "timestamp", "When Envoy started.", unit="UTC"),
        Column("bytes", "int64", "Size in the document.", unit="bytes"),
    ),
)

SIZES = Frame(
    "sizes",
    "One row per resource, and per envelope around them; the bytes add up to the document.",
    (
        PROXY,
        Column(
            "section",
            "string",
            "bootstrap, clusters, endpoints, …; document for what holds the sections.",
            nullable=False,
        ),
        Column(
            "part", "string", "resource, or envelope: names, versions, times and spaces around them.", nullable=False
        ),
        Column("resource", "string", "Name of the resource."),
        Column("state", "string", "State of the resource."),
        Column("dynamic", "bool", "Whether it came over xDS."),
        Column("bytes", "int64", "Exact size in the document.", unit="bytes", nullable=False),
        Column("lines", "int64", "Line breaks in it.", nullable=False),
        Column("share", "float64", "Share of the document.", unit="0 to 1", nullable=False),
    ),
)
