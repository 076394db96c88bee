"""Tables of Kubernetes and Istio objects."""

from __future__ import annotations

from meshnb.model.frame import Column, Frame

_NAMESPACE = Column("namespace", "string", "Namespace, missing for objects of the whole cluster.")
_CREATED = Column("created", "timestamp", "When the object was made.")

OBJECTS = Frame(
    "objects",
    "One row per object of Kubernetes or Istio.",
    (
        Column("kind", "string", "Kind, as in `VirtualService`.", nullable=False),
        Column("api_version", "string", "Group and version it was read in.", nullable=False),
        _NAMESPACE,
        Column("name", "string", "Name.", nullable=False),
        Column("labels", "json", "Labels.", nullable=False),
        Column("annotations", "json", "Annotations.", nullable=False),
        _CREATED,
        Column("generation", "int64", "Counts the changes of the spec."),
        Column("resource_version", "string", "Version of the object in the API server."),
        Column("object", "json", "The whole object.", nullable=False),
    ),
    key=("kind", "namespace", "name"),
)

PODS = Frame(
    "pods",
    "One row per pod.",
    (
        Column("namespace", "string", "Namespace.", nullable=False),
        Column("pod", "string", "Name.", nullable=False),
        Column("proxy", "string", "`POD.NAMESPACE`, the name of its proxy in every other table.", nullable=False),
        Column("workload", "string", "Name of the workload that owns it (`catalog`)."),
        Column("workload_kind", "string", "Kind of the workload (`Deployment`); `Pod` if nothing owns it."),
        Column("app", "string", "Label `app`, or `app.kubernetes.io/name`."),
        Column("version", "string", "Label `version`, or `app.kubernetes.io/version`."),
        Column("ip", "string", "Its address; missing before it has one."),
        Column("node", "string", "Node it runs on."),
        Column("phase", "string", "Pending, Running, Succeeded, Failed or Unknown."),
        Column("ready", "bool", "Whether its condition Ready is true.", nullable=False),
        Column("reason", "string", "Why it is not ready, in Kubernetes' word."),
        Column("ready_since", "timestamp", "Last change of the condition Ready."),
        Column("terminating", "bool", "Whether it is being deleted.", nullable=False),
        Column("service_account", "string", "Service account, part of its mesh identity."),
        Column(
            "containers", "list<string>", "Containers, sidecars started as init containers included.", nullable=False
        ),
        Column("has_sidecar", "bool", "Whether it has a container `istio-proxy`.", nullable=False),
        Column("proxy_type", "string", "sidecar, router, waypoint or ztunnel: what its proxy runs as."),
        Column("proxy_image", "string", "Image of its proxy."),
        Column("proxy_ready", "bool", "Whether the container of its proxy is ready."),
        Column("restarts", "int64", "Restarts of all its containers.", nullable=False),
        Column("revision", "string", "Label `istio.io/rev`: the revision that injected it."),
        Column("labels", "json", "Labels.", nullable=False),
        _CREATED,
    ),
    key=("namespace", "pod"),
)

SERVICES = Frame(
    "services",
    "One row per service.",
    (
        Column("namespace", "string", "Namespace.", nullable=False),
        Column("service", "string", "Name.", nullable=False),
        Column("host", "string", "Full name, as Envoy's clusters carry it.", nullable=False),
        Column("type", "string", "ClusterIP, NodePort, LoadBalancer or ExternalName.", nullable=False),
        Column("cluster_ip", "string", "Virtual address; `None` if headless, missing for ExternalName."),
        Column("headless", "bool", "Whether it has no virtual address.", nullable=False),
        Column("external_name", "string", "Where an ExternalName points."),
        Column("selector", "json", "Labels of the pods behind it; `{}` if it selects none.", nullable=False),
        Column("ports", "json", "List of name, port, targetPort, protocol, appProtocol.", nullable=False),
        Column("labels", "json", "Labels.", nullable=False),
        _CREATED,
    ),
    key=("namespace", "service"),
)

ENDPOINT_SLICES = Frame(
    "endpoint_slices",
    "One row per address and port Kubernetes counts to a service.",
    (
        Column("namespace", "string", "Namespace.", nullable=False),
        Column("service", "string", "Service the slice belongs to."),
        Column("slice", "string", "Name of the EndpointSlice.", nullable=False),
        Column("address_type", "string", "IPv4, IPv6 or FQDN.", nullable=False),
        Column("address", "string", "Address.", nullable=False),
        Column("port", "int64", "Port; missing if the slice leaves it open."),
        Column("port_name", "string", "Name of the service's port."),
        Column("app_protocol", "string", "Protocol the service declares."),
        Column("ready", "bool", "Condition ready; unset counts as ready, as Kubernetes says.", nullable=False),
        Column("serving", "bool", "Condition serving."),
        Column("terminating", "bool", "Condition terminating."),
        Column("pod", "string", "Pod behind it."),
        Column("node", "string", "Node."),
        Column("zone", "string", "Zone."),
        _CREATED,
    ),
)

VIRTUAL_SERVICES = Frame(
    "virtual_services",
    "One row per destination of a route of a VirtualService; a route without one (redirect, direct response, delegate) "
    "has a row without destination_host.",
    (
        Column("namespace", "string", "Namespace.", nullable=False),
        Column("virtual_service", "string", "Name.", nullable=False),
        Column("hosts", "list<string>", "Hosts it is for, as written.", nullable=False),
        Column("gateways", "list<string>", "Gateways as NAMESPACE/NAME; `mesh` for sidecars.", nullable=False),
        Column("protocol", "string", "http, tls or tcp; missing if it has no route at all."),
        Column("route_index", "int64", "Position of the route among those of its protocol, from 0."),
        Column("route_name", "string", "Name of the route."),
        Column("match", "json", "Conditions, any of which suffices; `[]` matches everything."),
        Column("destination_index", "int64", "Position of the destination in its route, from 0."),
        Column("destination_host", "string", "Full name of the service it leads to."),
        Column("subset", "string", "Subset, defined by a DestinationRule."),
        Column("port", "int64", "Port of the service, if it names one."),
        Column("weight", "int64", "Weight as written; 100 if the only destination has none, else 0."),
        Column(
            "timeout_ms", "float64", "Timeout of the route; 0 means none, missing means Envoy's default.", unit="ms"
        ),
        Column("retry_attempts", "int64", "Retries asked for; missing means the mesh's default."),
        Column("retry_on", "string", "What is retried."),
        Column("per_try_timeout_ms", "float64", "Timeout of each attempt.", unit="ms"),
        Column("action", "string", "route, redirect, direct_response or delegate.", nullable=True),
        Column("fault", "json", "Injected fault."),
        Column("mirror", "json", "Where requests are copied to."),
        Column("export_to", "list<string>", "Namespaces that see it; `*` for all.", nullable=False),
        _CREATED,
    ),
)

DESTINATION_RULES = Frame(
    "destination_rules",
    "One row per subset of a DestinationRule, and one without subset for what holds for its host.",
    (
        Column("namespace", "string", "Namespace.", nullable=False),
        Column("destination_rule", "string", "Name.", nullable=False),
        Column("host", "string", "Full name of the service it is for.", nullable=False),
        Column("subset", "string", "Subset; missing in the row of the whole host."),
        Column("labels", "json", "Labels that pick the subset's pods.", nullable=False),
        Column("tls_mode", "string", "DISABLE, SIMPLE, MUTUAL or ISTIO_MUTUAL; missing leaves it to the mesh."),
        Column("load_balancer", "json", "Load balancing in force here."),
        Column("connection_pool", "json", "Connection limits in force here."),
        Column("outlier_detection", "json", "Ejection of bad endpoints in force here."),
        Column("port_settings", "json", "Settings that hold for single ports."),
        Column("workload_selector", "json", "Labels of the clients it is for; missing for all."),
        Column("export_to", "list<string>", "Namespaces that see it; `*` for all.", nullable=False),
        _CREATED,
    ),
    key=("namespace", "destination_rule", "subset"),
)

GATEWAYS = Frame(
    "gateways",
    "One row per server of an Istio Gateway.",
    (
        Column("namespace", "string", "Namespace.", nullable=False),
        Column("gateway", "string", "Name.", nullable=False),
        Column("selector", "json", "Labels of the pods that serve it.", nullable=False),
        Column("server_index", "int64", "Position of the server, from 0; missing if it has none."),
        Column("port", "int64", "Port."),
        Column("port_name", "string", "Name of the port."),
        Column("protocol", "string", "HTTP, HTTPS, GRPC, HTTP2, MONGO, TCP or TLS."),
        Column("hosts", "list<string>", "Hosts it takes, as written.", nullable=False),
        Column("tls_mode", "string", "PASSTHROUGH, SIMPLE, MUTUAL, AUTO_PASSTHROUGH, ISTIO_MUTUAL or OPTIONAL_MUTUAL."),
        Column("credential_name", "string", "Secret with its certificate."),
        Column("https_redirect", "bool", "Whether HTTP is answered with a redirect to HTTPS.", nullable=False),
        _CREATED,
    ),
    key=("namespace", "gateway", "server_index"),
)

NAMESPACES = Frame(
    "namespaces",
    "One row per namespace, with how it takes part in the mesh.",
    (
        Column("namespace", "string", "Name.", nullable=False),
        Column("injection", "string", "enabled, disabled, `revision REV`, ambient, or none: what its labels ask for."),
        Column("labels", "json", "Labels.", nullable=False),
        Column("pods", "int64", "Pods that run.", nullable=False),
        Column("with_proxy", "int64", "Of them with a proxy.", nullable=False),
        Column("services", "int64", "Services.", nullable=False),
        Column(
            "endpoints",
            "int64",
            "Addresses and ports behind them: what leaves every proxy if it is excluded.",
            nullable=False,
        ),
        Column("proxies_with_them", "int64", "Proxies that have endpoints of it now.", nullable=False),
    ),
    key=("namespace",),
)

RESILIENCE = Frame(
    "resilience",
    "One row per host, subset and setting of proxies: who retries and who ejects bad endpoints.",
    (
        Column("host", "string", "Full name of the service.", nullable=False),
        Column("subset", "string", "Subset; missing for the whole host."),
        Column("proxies", "int64", "Proxies that have it with these settings.", nullable=False),
        Column("outlier_detection", "bool", "Whether bad endpoints are ejected.", nullable=False),
        Column("consecutive_5xx", "int64", "Errors in a row that eject."),
        Column("base_ejection_ms", "float64", "Shortest ejection.", unit="ms"),
        Column("max_ejection_percent", "int64", "Ejected at most.", unit="percent"),
        Column("routes", "int64", "Routes that lead there.", nullable=False),
        Column("routes_with_retries", "int64", "Of them with retries.", nullable=False),
        Column("retry_on", "string", "What is retried, as far as routes agree."),
        Column("retries", "int64", "Most retries of a route."),
    ),
)

TELEMETRIES = Frame(
    "telemetries",
    "One row per entry of `accessLogging` of a Telemetry, or per Telemetry that has none.",
    (
        Column("namespace", "string", "Namespace.", nullable=False),
        Column("telemetry", "string", "Name.", nullable=False),
        Column(
            "selector", "json", "Labels of the workloads it holds for; `{}` for all of the namespace.", nullable=False
        ),
        Column(
            "target_refs", "json", "Gateways or Services it holds for; `[]` for none in particular.", nullable=False
        ),
        Column("entry_index", "int64", "Position of the entry; missing: it says nothing of access logs."),
        Column("providers", "list<string>", "Providers it names; empty: those of the level above."),
        Column("mode", "string", "CLIENT, SERVER or CLIENT_AND_SERVER."),
        Column("disabled", "bool", "Whether it switches them off."),
        Column("filter", "string", "CEL expression of the requests that are logged; missing: all."),
        Column("spec", "json", "The whole spec.", nullable=False),
        _CREATED,
    ),
    key=("namespace", "telemetry", "entry_index"),
)
