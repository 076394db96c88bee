"""Clusters of a dump: whether one is there, which endpoints it can use, and what Envoy answers if it cannot."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from meshnb.envoy.explain.endpoint import choose_hosts, endpoints_of
from meshnb.envoy.explain.explanation import Endpoint
from meshnb.envoy.explain.fields import Message, child, text, value
from meshnb.envoy.explain.subset import Subset, choose_subset

_BY_DESTINATION = ("ORIGINAL_DST",)
_NOT_IN_DUMP = ("STRICT_DNS", "LOGICAL_DNS")


@dataclass(slots=True)
class Upstream:
    """What a cluster can do with a request.

    Args:
        name: its name.
        found: whether Envoy has it.
        endpoints: all its endpoints, with whether they are eligible.
        no_host: whether Envoy answers 503 UH for want of a host.
        undecided: why the endpoints are not known, empty if they are.
        because: how endpoints are chosen.
        notes: what else is to know.
    """

    name: str
    found: bool
    endpoints: tuple[Endpoint, ...] = ()
    no_host: bool = False
    undecided: str = ""
    because: str = ""
    notes: list[str] = field(default_factory=list)


class Clusters:
    """The clusters of a dump by name.

    Args:
        clusters: JSON of each active `Cluster` by name.
        warming: names of clusters that are not ready and have no older version.
        assignments: JSON of each `ClusterLoadAssignment` by name; `None` if the dump was taken without endpoints.
        draining: addresses of draining hosts by cluster; a dump shows them as unhealthy.
    """

    def __init__(
        self,
        clusters: Mapping[str, Message],
        *,
        warming: frozenset[str] = frozenset(),
        assignments: Mapping[str, Message] | None = None,
        draining: Mapping[str, set[str]] | None = None,
    ) -> None:
        self.draining = draining or {}
        self.clusters = clusters
        self.warming = warming
        self.assignments = assignments
        self._made: dict[tuple[str, str], Upstream] = {}

    def upstream(self, name: str, *, metadata: Message | None = None) -> Upstream:
        """What the cluster of that name can do.

        Args:
            name: name of the cluster.
            metadata: criteria of a subset, from the route.
        """
        key = (name, repr(metadata) if metadata else "")
        if key not in self._made:
            self._made[key] = self._make(name, metadata or {})
        return self._made[key]

    def _make(self, name: str, metadata: Message) -> Upstream:
        config = self.clusters.get(name)
        if config is None:
            waiting = " (it is still warming: Envoy waits for its endpoints)" if name in self.warming else ""
            near = [other for other in self.clusters if other.endswith(name.rpartition("|")[2])][:3]
            return Upstream(name, False, because=f"no such cluster{waiting}", notes=near)
        kind = text(config, "type", "STATIC")
        if value(config, "cluster_type"):
            kind = text(child(config, "cluster_type"), "name")
        if kind in _BY_DESTINATION:
            return Upstream(name, True, because="the original destination of the connection is the endpoint")
        assignment = self._assignment(name, config)
        if assignment is None:
            return Upstream(name, True, undecided=f"the dump has no endpoints of this {kind} cluster (?include_eds)")
        return self._with_hosts(name, config, assignment, metadata)

    def _assignment(self, name: str, config: Message) -> Message | None:
        service = text(child(config, "eds_cluster_config"), "service_name") or name
        if self.assignments is not None:
            for key in (service, name):
                if key in self.assignments:
                    return self.assignments[key]
        inline = child(config, "load_assignment")
        kind = text(config, "type", "STATIC")
        if kind in ("EDS", *_NOT_IN_DUMP) or value(config, "cluster_type"):
            # Envoy dumps every cluster's hosts; a cluster without any has an empty entry.
            return None
        return inline

    def _with_hosts(self, name: str, config: Message, assignment: Message, metadata: Message) -> Upstream:
        inline = endpoints_of(child(config, "load_assignment"))
        known = {host.endpoint.address for host in inline if host.endpoint.health == "DRAINING"}
        hosts = endpoints_of(assignment, known | self.draining.get(name, set()))
        subset: Subset = choose_subset(child(config, "lb_subset_config"), metadata, hosts)
        choice = choose_hosts(subset.hosts, child(config, "common_lb_config"), child(assignment, "policy"))
        notes = [*subset.notes, *choice.notes]
        outside = [_outside(host.endpoint, subset.because) for host in hosts if host not in subset.hosts]
        because = "; ".join(part for part in (subset.because, choice.because) if part)
        return Upstream(
            name,
            True,
            (*choice.endpoints, *outside),
            no_host=choice.no_host,
            undecided=subset.undecided,
            because=because,
            notes=notes,
        )


def _outside(endpoint: Endpoint, because: str) -> Endpoint:
    from dataclasses import replace

    return replace(endpoint, eligible=False, because=f"not in the {because}")


def lb_policy(config: Mapping[str, Any]) -> str:
    """The load balancing policy of a cluster in words."""
    return text(config, "lb_policy", "ROUND_ROBIN")
