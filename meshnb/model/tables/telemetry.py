"""Tables from Istio's request metrics."""

from __future__ import annotations

from meshnb.model.frame import Column, Frame

REQUEST_RATES = Frame(
    "request_rates",
    "One row per kind of request as Istio's metrics count it.",
    (
        Column("reporter", "string", "Whose proxy counted: source or destination."),
        Column("source_workload", "string", "Who called."),
        Column("source_workload_namespace", "string", "Its namespace."),
        Column("destination_service", "string", "Which service was called."),
        Column("destination_workload", "string", "Which workload answered."),
        Column("destination_workload_namespace", "string", "Its namespace."),
        Column("request_protocol", "string", "http, grpc or tcp."),
        Column("response_code", "string", "HTTP status; 0 for none."),
        Column("grpc_response_status", "string", "gRPC status."),
        Column("response_flags", "string", "Envoy's flags; - for none."),
        Column("pod", "string", "Pod of the reporting proxy, if scraping adds it."),
        Column("version", "string", "Version label of that pod, if scraping adds it."),
        Column("rate", "float64", "Requests a second, mean of the window.", unit="1/s", nullable=False),
    ),
)

REQUEST_SUCCESS = Frame(
    "request_success",
    "One row per service and reporter: how many requests succeeded, as each side counts.",
    (
        Column("destination_service", "string", "The service."),
        Column("reporter", "string", "source: the callers' proxies; destination: the proxies of the service."),
        Column("rate", "float64", "Requests a second.", unit="1/s", nullable=False),
        Column(
            "success",
            "float64",
            "Share that is no 5xx: the dashboards' success rate, where code 0 is a success.",
            unit="0 to 1",
        ),
        Column(
            "success_strict", "float64", "Share that is neither 5xx nor without a code: Kiali's view.", unit="0 to 1"
        ),
        Column("dc", "float64", "Share with flag DC: the caller went away.", unit="0 to 1"),
    ),
    key=("destination_service", "reporter"),
)

REQUEST_GAP = Frame(
    "request_gap",
    "One row per service that callers and its own proxies count.",
    (
        Column("destination_service", "string", "The service."),
        Column(
            "client_success", "float64", "Success rate as the callers' proxies count.", unit="0 to 1", nullable=False
        ),
        Column(
            "server_success", "float64", "Success rate as the service's proxies count.", unit="0 to 1", nullable=False
        ),
        Column("gap", "float64", "How much better the service's proxies judge.", unit="0 to 1", nullable=False),
        Column(
            "dc",
            "float64",
            "Share at the service's proxies whose caller went away (DC).",
            unit="0 to 1",
            nullable=False,
        ),
        Column("explained", "float64", "Share of the gap that DC accounts for.", unit="0 to 1"),
        Column("client_rate", "float64", "Requests a second, callers.", unit="1/s", nullable=False),
        Column("server_rate", "float64", "Requests a second, service.", unit="1/s", nullable=False),
    ),
    key=("destination_service",),
)

REQUEST_PODS = Frame(
    "request_pods",
    "One row per pod, version and code, as the service's proxies count; most callers gone first.",
    (
        Column("destination_service", "string", "The service."),
        Column("pod", "string", "Pod, or its workload where scraping adds no pod."),
        Column("version", "string", "Its version, if scraping adds it."),
        Column("response_code", "string", "Code."),
        Column("dc_rate", "float64", "Requests a second with flag DC.", unit="1/s", nullable=False),
        Column("rate", "float64", "All requests a second with this code.", unit="1/s", nullable=False),
        Column("dc_share", "float64", "Share of all requests of the pod that have DC.", unit="0 to 1"),
    ),
)

REQUEST_HEALTH = Frame(
    "request_health",
    "One row per workload, direction, protocol and tolerance, by Kiali's formula; worst first.",
    (
        Column("namespace", "string", "Namespace of the workload."),
        Column("workload", "string", "The workload."),
        Column("direction", "string", "inbound or outbound.", nullable=False),
        Column("protocol", "string", "http or grpc.", nullable=False),
        Column("errors", "string", "Which codes count as errors.", nullable=False),
        Column("status", "string", "healthy, degraded or failure.", nullable=False),
        Column("error_percent", "float64", "Errors of all requests.", unit="%", nullable=False),
        Column("error_rate", "float64", "Errors a second.", unit="1/s", nullable=False),
        Column("rate", "float64", "Requests a second.", unit="1/s", nullable=False),
        Column("degraded_from", "float64", "Degraded from here on.", unit="%", nullable=False),
        Column("failure_from", "float64", "Failure from here on.", unit="%", nullable=False),
    ),
)
