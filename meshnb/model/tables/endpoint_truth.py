"""What Kubernetes, istiod and every Envoy say of each endpoint of a service."""

from __future__ import annotations

from meshnb.model.frame import Column, Frame

ENDPOINT_TRUTH = Frame(
    "endpoint_truth",
    "One row per endpoint of a Kubernetes service that Kubernetes, istiod or any Envoy knows.",
    (
        Column("host", "string", "Full name of the service.", nullable=False),
        Column("namespace", "string", "Its namespace.", nullable=False),
        Column("address", "string", "Address.", nullable=False),
        Column("port", "int64", "Port.", nullable=False),
        Column("verdict", "string", "agrees, ghost, missing, not ready or ejected.", nullable=False),
        Column(
            "stopped_at", "string", "Who has not followed: istiod, Envoy, or `istiod or Envoy` where nothing tells."
        ),
        Column("since", "timestamp", "Since when at the latest the sides differ, as far as they tell."),
        Column("pod", "string", "Pod that has the address now."),
        Column("pod_ready", "bool", "Whether that pod is ready."),
        Column("pod_created", "timestamp", "When that pod was made."),
        Column("workload", "string", "Workload Envoy or istiod name for it; of a ghost, what used to be there."),
        Column(
            "was_pod", "string", "Of a ghost: the one pod of that workload that was there and is gone, if it is one."
        ),
        Column("kubernetes", "bool", "Whether an EndpointSlice lists it.", nullable=False),
        Column("kubernetes_ready", "bool", "Whether the EndpointSlice lists it as ready.", nullable=False),
        Column("istiod", "bool", "Whether istiod knows it; missing if istiod was not asked."),
        Column("proxies", "int64", "Proxies that have the service.", nullable=False),
        Column("configured", "int64", "Of them, those that have this endpoint.", nullable=False),
        Column("healthy", "int64", "Of those, the ones that would send requests there.", nullable=False),
        Column("ejected", "int64", "Proxies whose outlier detection or health check has taken it out.", nullable=False),
        Column("in_proxies", "list<string>", "Proxies that have it.", nullable=False),
        Column(
            "not_in_proxies", "list<string>", "Proxies that have the service and not this endpoint.", nullable=False
        ),
        Column("requests", "int64", "Requests the captured logs show there; missing without logs."),
        Column("last_request", "timestamp", "The last of them."),
    ),
    key=("host", "address", "port"),
)
