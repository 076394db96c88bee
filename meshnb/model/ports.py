"""The ports of Istio's components, as data: who listens, what for, and where it may be reached from."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Port:
    """One port of a component.

    Args:
        port: number.
        component: `proxy` (sidecar or gateway), `istiod` or `ztunnel`.
        owner: process that listens (`envoy`, `pilot-agent`, `pilot-discovery`, `ztunnel`).
        role: what it is for.
        loopback: whether it must be reachable from the pod alone.
        required: whether a healthy component always listens there.
        risk: what it means if others can reach it, where that matters.
    """

    port: int
    component: str
    owner: str
    role: str
    loopback: bool = False
    required: bool = True
    risk: str = ""


PORTS: tuple[Port, ...] = (
    Port(
        15000, "proxy", "envoy", "Envoy's admin interface", True, True, "Anyone can read its keys' names and stop it."
    ),
    Port(15001, "proxy", "envoy", "outbound traffic", required=False),
    Port(
        15004,
        "proxy",
        "pilot-agent",
        "istiod's debug interface, by way of the agent",
        True,
        False,
        "It shows the mesh.",
    ),
    Port(15006, "proxy", "envoy", "inbound traffic", required=False),
    Port(15008, "proxy", "envoy", "tunnelled inbound traffic (HBONE)", required=False),
    Port(15020, "proxy", "pilot-agent", "merged metrics, health and the agent's debug interface"),
    Port(15021, "proxy", "envoy", "readiness"),
    Port(15053, "proxy", "pilot-agent", "DNS proxy", required=False),
    Port(15090, "proxy", "envoy", "Envoy's metrics"),
    Port(
        8080,
        "istiod",
        "pilot-discovery",
        "debug interface and readiness",
        risk="Its debug pages show the mesh: free to the pod itself, others must prove who they are unless "
        "ENABLE_DEBUG_ENDPOINT_AUTH is false.",
    ),
    Port(
        9876, "istiod", "pilot-discovery", "ControlZ: log levels, memory, environment", True, True, "It shows secrets."
    ),
    Port(15010, "istiod", "pilot-discovery", "xDS and certificates in plain text", required=False, risk="Plain text."),
    Port(15012, "istiod", "pilot-discovery", "xDS and certificates over TLS"),
    Port(15014, "istiod", "pilot-discovery", "metrics and debug interface"),
    Port(15017, "istiod", "pilot-discovery", "webhooks of injection and validation"),
    Port(15000, "ztunnel", "ztunnel", "ztunnel's admin interface", True, True, "It shows the mesh."),
    Port(15001, "ztunnel", "ztunnel", "outbound traffic", required=False),
    Port(15006, "ztunnel", "ztunnel", "inbound traffic in plain text", required=False),
    Port(15008, "ztunnel", "ztunnel", "tunnelled traffic (HBONE)", required=False),
    Port(15020, "ztunnel", "ztunnel", "metrics"),
    Port(15021, "ztunnel", "ztunnel", "readiness"),
    Port(15053, "ztunnel", "ztunnel", "DNS proxy", required=False),
)


def ports_of(component: str) -> dict[int, Port]:
    """The ports of a component by number.

    Example:
        >>> ports_of("istiod")[15014].role
        'metrics and debug interface'
    """
    return {port.port: port for port in PORTS if port.component == component}
