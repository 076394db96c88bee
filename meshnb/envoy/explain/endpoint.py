"""Endpoints of a cluster: health, priorities, and the panic threshold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from meshnb.envoy.explain.explanation import Endpoint
from meshnb.envoy.explain.fields import Message, child, flag, has, items, number, real, text

_HEALTHY = ("HEALTHY", "UNKNOWN")
_DEGRADED = "DEGRADED"
_DEFAULT_PANIC = 50.0
_OVERPROVISIONING = 140


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


def endpoints_of(assignment: Message) -> list[Host]:
    """All endpoints of a `ClusterLoadAssignment`."""
    found: list[Host] = []
    for locality in items(assignment, "endpoints"):
        zone = text(child(locality, "locality"), "zone")
        priority = number(locality, "priority")
        for entry in items(locality, "lb_endpoints"):
            endpoint = child(entry, "endpoint")
            found.append(
                Host(
                    Endpoint(
                        address_text(child(endpoint, "address")),
                        text(entry, "health_status", "UNKNOWN"),
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
        name = f"internal listener {text(internal, 'server_listener_name')}"
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
    factor = number(policy, "overprovisioning_factor", _OVERPROVISIONING)
    fail_on_panic = flag(child(lb, "zone_aware_lb_config"), "fail_traffic_on_panic")
    groups: dict[int, list[Host]] = {}
    for host in hosts:
        groups.setdefault(host.endpoint.priority, []).append(host)
    load, panic = _loads(groups, int(threshold), factor)
    chosen: list[Endpoint] = []
    usable = 0
    for priority in sorted(groups):
        in_panic = panic[priority] and not fail_on_panic
        for host in groups[priority]:
            reason = _why_not(host.endpoint, groups[priority], in_panic=in_panic, load=load[priority])
            usable += not reason
            chosen.append(replace(host.endpoint, eligible=not reason, because=reason))
    panicking = [p for p in sorted(groups) if panic[p] and load[p] > 0]
    because = ""
    if panicking and not fail_on_panic:
        because = f"panic: fewer than {threshold:g} % of the hosts are healthy, so all are used"
    elif len(groups) > 1:
        because = "priorities: " + ", ".join(f"{p} gets {load[p]} %" for p in sorted(groups))
    return HostChoice(tuple(chosen), usable == 0, because)


def _why_not(endpoint: Endpoint, group: Sequence[Host], *, in_panic: bool, load: int) -> str:
    if endpoint.health == "DRAINING":
        return "draining"
    if load == 0:
        return f"priority {endpoint.priority} gets no traffic"
    if in_panic or endpoint.health in _HEALTHY:
        return ""
    if endpoint.health == _DEGRADED and not any(host.endpoint.health in _HEALTHY for host in group):
        return ""
    return endpoint.health.lower()


def _loads(groups: dict[int, list[Host]], threshold: int, factor: int) -> tuple[dict[int, int], dict[int, bool]]:
    """Percent of the traffic for each priority, and whether it panics."""
    counts: dict[int, Any] = {}
    for priority, group in groups.items():
        total = len(group)
        good = sum(host.endpoint.health in _HEALTHY for host in group)
        degraded = sum(host.endpoint.health == _DEGRADED for host in group)
        counts[priority] = (total, good, degraded)
    healthy = {p: min(100, factor * good // total) for p, (total, good, _) in counts.items()}
    available = {p: min(100, factor * (good + bad) // total) for p, (total, good, bad) in counts.items()}
    total_available = min(100, sum(available.values()))
    first = min(groups, default=0)
    load = dict.fromkeys(groups, 0)
    panic = dict.fromkeys(groups, False)
    if threshold == 0 and total_available == 0:
        load[first] = 100
        return load, panic
    for priority, (total, good, bad) in counts.items():
        panic[priority] = total_available < 100 and 100 * (good + bad) / total < threshold
    if groups and all(panic.values()):
        hosts = sum(total for total, _, _ in counts.values())
        return {p: 100 * total // hosts for p, (total, _, _) in counts.items()}, panic
    left = 100
    for shares in (healthy, {p: available[p] - healthy[p] for p in groups}):
        for priority in sorted(groups):
            load[priority] += (part := min(left, shares[priority] * 100 // max(total_available, 1)))
            left -= part
    if sum(load.values()):
        load[first] += left
    return load, panic
