"""istiod's debug endpoints by release, as data: which exist, what they hold, and which change something."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class DebugEndpoint:
    """One endpoint below `/debug/` of istiod.

    Args:
        name: last part of its path.
        meaning: what it answers.
        since: first release that has it; empty if all do.
        removed: first release that has it no more; empty if it is still there.
        per_proxy: whether it needs `?proxyID=POD.NAMESPACE`.
        mutating: whether asking changes something; meshnb never asks these by itself.
        note: what to mind.
    """

    name: str
    meaning: str
    since: str = ""
    removed: str = ""
    per_proxy: bool = False
    mutating: bool = False
    note: str = ""

    def in_release(self, version: str) -> bool:
        """Whether a release has it; an unknown release counts as the newest.

        Example:
            >>> find("config_distribution").in_release("1.17.8"), find("config_distribution").in_release("1.23.0")
            (True, False)
        """
        number = minor(version)
        if number is None:
            return not self.removed
        first, last = minor(self.since), minor(self.removed)
        return (first is None or number >= first) and (last is None or number < last)


def minor(version: str) -> tuple[int, int] | None:
    """Major and minor number of a release; nothing if the text names none.

    Example:
        >>> minor("1.17.8"), minor("docker.io/istio/pilot:1.22-alpha"), minor("latest")
        ((1, 17), (1, 22), None)
    """
    match = re.search(r"(?:^|[:/v])(\d{1,2})\.(\d{1,3})(?:\.|\b)", version or "")
    return (int(match[1]), int(match[2])) if match else None


_SUBSTRING = "The proxyID is matched as a part of the connection id: a short one can hit another proxy."

DEBUG_ENDPOINTS: tuple[DebugEndpoint, ...] = (
    DebugEndpoint("adsz", "Connected proxies, their node metadata and what each watches."),
    DebugEndpoint("connections", "Connected proxies, address and since when.", "1.10"),
    DebugEndpoint("syncz", "What each proxy was sent and has accepted."),
    DebugEndpoint("config_dump", "What istiod would send a proxy now.", per_proxy=True, note=_SUBSTRING),
    DebugEndpoint("edsz", "Endpoints istiod sends a proxy.", per_proxy=True, note=_SUBSTRING),
    DebugEndpoint("ndsz", "DNS names istiod sends a proxy.", "1.8", per_proxy=True, note=_SUBSTRING),
    DebugEndpoint("ecdsz", "Extensions istiod sends a proxy.", "1.14", per_proxy=True, note=_SUBSTRING),
    DebugEndpoint("cdsz", "Clusters istiod sends a proxy.", removed="1.8", per_proxy=True, note="Use config_dump."),
    DebugEndpoint("endpointShardz", "Endpoints istiod knows, by service and by source."),
    DebugEndpoint("endpointz", "Endpoints istiod knows; since 1.20 the same as endpointShardz."),
    DebugEndpoint("registryz", "Services istiod knows."),
    DebugEndpoint("instancesz", "Services each proxy is part of.", "1.7"),
    DebugEndpoint("configz", "Istio objects istiod holds."),
    DebugEndpoint("resourcesz", "Kinds of objects istiod watches.", "1.6"),
    DebugEndpoint("push_status", "Problems istiod met when it built the last push."),
    DebugEndpoint("pushcontext", "Policies and network gateways of the last push.", "1.10"),
    DebugEndpoint("authorizationz", "Authorization policies by namespace."),
    DebugEndpoint("telemetryz", "Telemetry objects by namespace.", "1.10"),
    DebugEndpoint("sidecarz", "What a Sidecar object leaves a proxy to see.", "1.9", per_proxy=True, note=_SUBSTRING),
    DebugEndpoint("cachez", "Entries of the cache of xDS; `?clear=true` empties it.", "1.8"),
    DebugEndpoint("mesh", "MeshConfig in force.", "1.9"),
    DebugEndpoint("inject", "Templates of the sidecar injector."),
    DebugEndpoint("clusterz", "Remote clusters and their state.", "1.11"),
    DebugEndpoint("networkz", "Gateways between networks.", "1.10"),
    DebugEndpoint("mcsz", "Services shared between clusters.", "1.12"),
    DebugEndpoint("ambientz", "Workloads, services and policies of ambient mode.", "1.23"),
    DebugEndpoint("krtz", "Internal state of istiod's collections.", "1.25"),
    DebugEndpoint("list", "Names of the endpoints there are.", "1.11"),
    DebugEndpoint("force_disconnect", "Ends the connection of a proxy.", "1.8", per_proxy=True, mutating=True),
    DebugEndpoint(
        "config_distribution",
        "Which proxies hold a version of an object.",
        "1.5",
        "1.23",
        note="Answered only with PILOT_ENABLE_CONFIG_DISTRIBUTION_TRACKING=true; `istioctl x wait` is gone with it.",
    ),
)

_BY_NAME = {endpoint.name: endpoint for endpoint in DEBUG_ENDPOINTS}


def find(name: str) -> DebugEndpoint | None:
    """The endpoint of that name, if it is known."""
    return _BY_NAME.get(name)
