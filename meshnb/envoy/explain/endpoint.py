"""Endpoints of a cluster: health, priorities, and the panic threshold."""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass, field, replace

from meshnb.envoy.explain.explanation import Endpoint
from meshnb.envoy.explain.fields import Message, child, flag, has, items, number, real, text

_HEALTHY = ("HEALTHY", "UNKNOWN")
_DEGRADED = "DEGRADED"
_DEFAULT_PANIC = 50.0
_OVERPROVISIONING = 140

INTERNAL = "internal listener "
"""How the address of an endpoint begins that is a listener of the same proxy."""


@dataclass(frozen=True, slots=True)
class Host:
    """An endpoint with the metadata subsets are made of."""

    endpoint: Endpoint
    metadata: Message = field(default_factory=dict)
    number: int = 0


@dataclass(frozen=True, slots=True)
class HostChoice:
    """Endpoints with whether each can be used."""

    endpoints: tuple[Endpoint, ...]
    no_host: bool
    because: str = ""
    notes: tuple[str, ...] = ()


def endpoints_of(assignment: Message, draining: Container[str] = ()) -> list[Host]:
    """All endpoints of a `ClusterLoadAssignment`.

    Args:
        assignment: as dumped, which shows draining hosts as unhealthy.
        draining: addresses of hosts that are draining.
    """
    found: list[Host] = []
    for locality in items(assignment, "endpoints"):
        zone = text(child(locality, "locality"), "zone")
        priority = number(locality, "priority")
        for entry in items(locality, "lb_endpoints"):
            address = address_text(child(child(entry, "endpoint"), "address"))
            health = text(entry, "health_status", "UNKNOWN")
            found.append(
                Host(
                    Endpoint(
                        address,
                        "DRAINING" if address in draining else health,
                        number(entry, "load_balancing_weight", 1),
                        priority,
                        zone,
                    ),
                    child(child(child(entry, "metadata"), "filter_metadata"), "envoy.lb"),
                    len(found),
                )
            )
    return found


def address_text(address: Message) -> str:
    """An `Address` as `IP:port`, a pipe's path, or `listener/endpoint` for an internal one.

    Example:
        >>> address_text({"socket_address": {"address": "10.0.0.1", "port_value": 80}})
        '10.0.0.1:80'
    """
    socket = child(address, "socket_address")
    if socket:
        host = text(socket, "address")
        return f"[{host}]:{number(socket, 'port_value')}" if ":" in host else f"{host}:{number(socket, 'port_value')}"
    internal = child(address, "envoy_internal_address")
    if internal:
        name = f"{INTERNAL}{text(internal, 'server_listener_name')}"
        return f"{name} ({text(internal, 'endpoint_id')})" if has(internal, "endpoint_id") else name
    return text(child(address, "pipe"), "path")


def choose_hosts(hosts: Sequence[Host], lb: Message, policy: Message) -> HostChoice:
    """Which hosts can take a request, by health, priority and panic threshold.

    Args:
        hosts: all hosts, or those of the subset.
        lb: the cluster's `common_lb_config`.
        policy: the assignment's `policy`.
    """
    if not hosts:
        return HostChoice((), True, "it has no endpoint")
    threshold = real(child(lb, "healthy_panic_threshold"), "value") if has(lb, "healthy_panic_threshold") else None
    threshold = _DEFAULT_PANIC if threshold is None else min(max(threshold, 0.0), 100.0)
    groups: dict[int, list[Host]] = {}
    for host in hosts:
        groups.setdefault(host.endpoint.priority, []).append(host)
    load = Load.of(groups, int(threshold), number(policy, "overprovisioning_factor", _OVERPROVISIONING))
    fail_on_panic = flag(child(lb, "zone_aware_lb_config"), "fail_traffic_on_panic")
    chosen = []
    for priority in sorted(groups):
        for host in groups[priority]:
            reason = load.why_not(host.endpoint, fail_on_panic=fail_on_panic)
            chosen.append(replace(host.endpoint, eligible=not reason, because=reason))
    chosen = load.shared(chosen)
    usable = any(endpoint.eligible for endpoint in chosen)
    because = ""
    if usable and any(load.panic[p] and load.healthy[p] for p in groups):
        because = f"panic: fewer than {threshold:g} % of the hosts are healthy, so all are used"
    elif len(groups) > 1:
        shares = {p: load.healthy[p] + load.degraded[p] for p in sorted(groups)}
        because = "priorities: " + ", ".join(f"{p} gets {share} %" for p, share in shares.items())
    return HostChoice(tuple(chosen), not usable, because)


@dataclass(slots=True)
class Load:
    """Percent of the traffic of each priority for its healthy and its degraded hosts, and which are in panic."""

    healthy: dict[int, int]
    degraded: dict[int, int]
    panic: dict[int, bool]

    @classmethod
    def of(cls, groups: dict[int, list[Host]], threshold: int, factor: int) -> Load:
        """Envoy's arithmetic: whole percents, draining hosts do not count, what rounding leaves goes to the first."""
        states = {p: [host.endpoint.health for host in group] for p, group in groups.items()}
        # Draining hosts are left out of the count, as if they were gone already.
        total = {p: sum(state != "DRAINING" for state in found) for p, found in states.items()}
        good = {p: sum(state in _HEALTHY for state in found) for p, found in states.items()}
        poor = {p: found.count(_DEGRADED) for p, found in states.items()}
        health = {p: min(100, factor * good[p] // total[p]) if total[p] else 0 for p in groups}
        rest = {p: min(100, factor * poor[p] // total[p]) if total[p] else 0 for p in groups}
        available = min(100, sum(health.values()) + sum(rest.values()))
        none = dict.fromkeys(groups, 0)
        calm = dict.fromkeys(groups, False)
        if threshold == 0 and available == 0:
            return cls({**none, min(groups): 100}, none, calm)
        panic = {
            p: available < 100 and (100.0 * (good[p] + poor[p]) / total[p] if total[p] else 0.0) < threshold
            for p in groups
        }
        if all(panic.values()):
            everyone = sum(len(group) for group in groups.values())
            shares = {p: 100 * len(groups[p]) // everyone for p in groups}
            shares[min(groups)] += 100 - sum(shares.values())
            return cls(shares, none, panic)
        healthy, left = _distribute(health, 100, available)
        degraded, left = _distribute(rest, left, available)
        for load, found in ((healthy, health), (degraded, rest)):
            first = next((p for p in sorted(groups) if found[p] > 0), None)
            if left and first is not None:
                load[first] += left
                left = 0
        return cls(healthy, degraded, panic)

    def shared(self, endpoints: list[Endpoint]) -> list[Endpoint]:
        """The endpoints with the share of the requests each can expect."""
        weights: dict[tuple[int, bool], int] = {}
        for endpoint in endpoints:
            if endpoint.eligible:
                key = self._group(endpoint)
                weights[key] = weights.get(key, 0) + endpoint.weight
        found = []
        for endpoint in endpoints:
            key = self._group(endpoint)
            load = (self.degraded if key[1] else self.healthy)[endpoint.priority]
            share = load / 100 * endpoint.weight / (weights.get(key) or 1) if endpoint.eligible else 0.0
            found.append(replace(endpoint, share=share))
        return found

    def _group(self, endpoint: Endpoint) -> tuple[int, bool]:
        return endpoint.priority, endpoint.health == _DEGRADED and not self.panic[endpoint.priority]

    def why_not(self, endpoint: Endpoint, *, fail_on_panic: bool) -> str:
        """Why an endpoint takes no request; empty if it takes some."""
        priority = endpoint.priority
        if self.healthy[priority] + self.degraded[priority] == 0:
            return f"priority {priority} gets no traffic"
        if self.panic[priority] and self.healthy[priority]:
            return "panic, and the cluster fails on it" if fail_on_panic else ""
        if endpoint.health in _HEALTHY:
            return "" if self.healthy[priority] else "healthy hosts of this priority get no traffic"
        if endpoint.health == _DEGRADED:
            return "" if self.degraded[priority] else "degraded, and the healthy hosts suffice"
        return endpoint.health.lower()


def _distribute(availability: dict[int, int], left: int, available: int) -> tuple[dict[int, int], int]:
    load = {}
    for priority in sorted(availability):
        load[priority] = min(left, availability[priority] * 100 // available)
        left -= load[priority]
    return load, left
