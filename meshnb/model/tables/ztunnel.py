"""Tables of ztunnel's configuration (ambient mesh)."""

from __future__ import annotations

from meshnb.model.frame import Column, Frame

PROXY = Column("proxy", "string", "ztunnel it comes from, POD.NAMESPACE; missing for a file without one.")

ZTUNNEL_WORKLOAD = Frame(
    "ztunnel_workload",
    "One row per workload that ztunnel knows.",
    (
        PROXY,
        Column("uid", "string", "Unique id: CLUSTER/GROUP/KIND/NAMESPACE/NAME."),
        Column("namespace", "string", "Namespace."),
        Column("name", "string", "Name, usually of the pod."),
        Column("addresses", "list<string>", "IP addresses."),
        Column("hostname", "string", "Host name, where there is no address."),
        Column("node", "string", "Node it runs on."),
        Column("waypoint", "string", "Service of its waypoint; missing if none, or if ztunnel does not know it."),
        Column("waypoint_destination", "string", "Waypoint as written: NETWORK/IP or NAMESPACE/HOST; missing if none."),
        Column("protocol", "string", "HBONE, TCP …"),
        Column("status", "string", "Healthy or Unhealthy."),
        Column("service_account", "string", "Service account."),
        Column("workload", "string", "Deployment or other owner."),
        Column("workload_type", "string", "Kind of the owner."),
        Column("canonical_service", "string", "Canonical service."),
        Column("canonical_revision", "string", "Canonical revision (version)."),
        Column("trust_domain", "string", "Trust domain."),
        Column("network", "string", "Network."),
        Column("cluster_id", "string", "Cluster (Kubernetes)."),
        Column("authorization_policies", "list<string>", "Policies that select it."),
    ),
)

ZTUNNEL_SERVICE = Frame(
    "ztunnel_service",
    "One row per service that ztunnel knows.",
    (
        PROXY,
        Column("namespace", "string", "Namespace."),
        Column("service", "string", "Name."),
        Column("hostname", "string", "Host."),
        Column("vips", "list<string>", "Virtual IP addresses, without their network."),
        Column("waypoint", "string", "Service of its waypoint; missing if none, or if ztunnel does not know it."),
        Column("waypoint_destination", "string", "Waypoint as written; missing if none."),
        Column("ports", "json", "Service port to target port."),
        Column("endpoints", "int64", "Number of endpoints.", nullable=False),
        Column("endpoints_healthy", "int64", "Those whose workload is known and healthy.", nullable=False),
    ),
)

ZTUNNEL_POLICY = Frame(
    "ztunnel_policy",
    "One row per authorization policy that ztunnel enforces.",
    (
        PROXY,
        Column("namespace", "string", "Namespace."),
        Column("policy", "string", "Name."),
        Column("action", "string", "Allow or Deny."),
        Column("scope", "string", "Global, Namespace or WorkloadSelector."),
        Column("rules", "json", "Its rules."),
    ),
)

ZTUNNEL_CERTIFICATE = Frame(
    "ztunnel_certificate",
    "One row per certificate of an identity, in the order of its chain.",
    (
        PROXY,
        Column("identity", "string", "SPIFFE id."),
        Column("type", "string", "Leaf, Intermediate or Root; missing if there is no certificate."),
        Column("state", "string", "Available, Initializing or Unavailable."),
        Column("state_text", "string", "The state as ztunnel writes it, with the error."),
        Column("serial", "string", "Serial number, hexadecimal."),
        Column("not_before", "timestamp", "Valid from.", unit="UTC"),
        Column("not_after", "timestamp", "Valid until.", unit="UTC"),
        Column("valid", "bool", "Whether it is valid at the time asked for.", nullable=False),
        Column("days_left", "float64", "Days until it expires, negative afterwards.", unit="days"),
    ),
)

ZTUNNEL_CONNECTIONS = Frame(
    "ztunnel_connections",
    "One row per open connection of a workload.",
    (
        PROXY,
        Column("workload", "string", "Workload, NAME.NAMESPACE."),
        Column("namespace", "string", "Namespace of it."),
        Column("direction", "string", "Inbound or Outbound."),
        Column("source", "string", "Who connects, IP:PORT."),
        Column("destination", "string", "Where it goes, IP:PORT."),
        Column("destination_name", "string", "Service or workload behind the destination."),
        Column("original_destination", "string", "Where the application wanted to go."),
        Column("protocol", "string", "HBONE, TCP …"),
    ),
)
