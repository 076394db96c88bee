"""Names of Envoy's clusters as Istio writes them.

Istio names a cluster `DIRECTION|PORT|SUBSET|FQDN`, and the same cluster in a TLS server name (SNI) as
`DIRECTION_.PORT_.SUBSET_.FQDN`. Some clusters have a name of their own, such as `BlackHoleCluster`.
"""

from __future__ import annotations

from dataclasses import dataclass

CLUSTER_DOMAIN = "cluster.local"

OWN_NAMES = {
    "BlackHoleCluster": "drops the connection: nothing is known of the destination and only known ones are allowed",
    "PassthroughCluster": "sends the connection on to where it was going: nothing is known of the destination",
    "InboundPassthroughCluster": "sends an inbound connection on to a port that no Service names",
    "InboundPassthroughClusterIpv4": "sends an inbound connection on to a port that no Service names (IPv4)",
    "InboundPassthroughClusterIpv6": "sends an inbound connection on to a port that no Service names (IPv6)",
    "agent": "the Istio agent beside Envoy",
    "prometheus_stats": "Envoy's own statistics page",
    "sds-grpc": "the Istio agent, asked for certificates",
    "xds-grpc": "the Istio agent, which passes on what istiod says",
    "zipkin": "the tracing collector",
    "encap": "the internal listener that wraps a connection in HBONE",
    "main_internal": "the internal listener of a waypoint",
    "connect_originate": "the internal listener that opens HBONE tunnels",
}
"""Clusters with a name of their own, and what they do."""


@dataclass(frozen=True, slots=True)
class ClusterName:
    """A cluster's name in its parts.

    Args:
        direction: `outbound`, `inbound`, `inbound-vip`.
        port: port of the service, or of the workload for an inbound cluster.
        subset: subset of the DestinationRule; empty if none.
        fqdn: host of the service; empty for an inbound cluster of today.
        own: the whole name, if it has no parts.

    Example:
        >>> name = ClusterName.parse("outbound|80|version-v1|catalog.istioinaction.svc.cluster.local")
        >>> name.port, name.subset, name.fqdn
        (80, 'version-v1', 'catalog.istioinaction.svc.cluster.local')
        >>> name.sni
        'outbound_.80_.version-v1_.catalog.istioinaction.svc.cluster.local'
        >>> ClusterName.parse(name.sni) == name
        True
        >>> str(ClusterName("inbound", 8080))
        'inbound|8080||'
        >>> ClusterName.parse("BlackHoleCluster").own
        'BlackHoleCluster'
    """

    direction: str = ""
    port: int = 0
    subset: str = ""
    fqdn: str = ""
    own: str = ""

    @classmethod
    def parse(cls, name: str) -> ClusterName:
        """The parts of a name in either form; a name that has no parts comes back as `own`.

        Nothing is guessed: `str()` of the result is the name again, for the SNI form the same with `|`.
        """
        parts = name.split("|", 3)
        if len(parts) != 4 and name.startswith(("outbound_.", "inbound_.", "inbound-vip_.")):
            parts = name.split("_.", 3)
        if len(parts) != 4:
            return cls(own=name)
        direction, port, subset, fqdn = parts
        # only what is written back the same way counts as a port: not "080", not "٣"
        if not (port.isascii() and port.isdigit() and str(int(port[:6])) == port) or not direction or "|" in fqdn:
            return cls(own=name)
        return cls(direction, int(port), subset, fqdn)

    def __str__(self) -> str:
        return f"{self.direction}|{self.port}|{self.subset}|{self.fqdn}" if self.direction else self.own

    @property
    def sni(self) -> str:
        """The name as Istio writes it into a TLS server name; a name without parts stays as it is."""
        return f"{self.direction}_.{self.port}_.{self.subset}_.{self.fqdn}" if self.direction else self.own

    @property
    def meaning(self) -> str:
        """What the cluster is, in one sentence."""
        if not self.direction:
            return OWN_NAMES.get(self.own, "a cluster with a name of its own")
        subset = f", subset {self.subset}" if self.subset else ""
        if self.fqdn:
            return f"{self.direction} to {self.fqdn}, port {self.port}{subset}"
        return f"{self.direction} to port {self.port} of the workload{subset}"


def full_host(host: str, namespace: str, domain: str = CLUSTER_DOMAIN) -> str:
    """The full name Istio makes of a host: only a name without a dot is looked up in the namespace of its object.

    Example:
        >>> full_host("catalog", "istioinaction"), full_host("catalog.prod", "istioinaction"), full_host("*", "x")
        ('catalog.istioinaction.svc.cluster.local', 'catalog.prod', '*')
    """
    return host if "." in host or host in ("", "*") else f"{host}.{namespace}.svc.{domain}"
