"""Ways in which the lab can be broken, each with its known cause."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from meshnb.errors import UsageError

V1 = "catalog-5d4f7c9b8-v1aaa.istioinaction"
V2A = "catalog-v2-6c8d9f7b6-aaaa1.istioinaction"
V2B = "catalog-v2-6c8d9f7b6-bbbb2.istioinaction"


@dataclass(frozen=True, slots=True)
class Scenario:
    """One way to break the mesh. Everything not named here is as in the healthy lab.

    Args:
        name: what `lab break` takes.
        broken: what is broken, in one sentence.
        gateway: what the gateway logs.
        sidecar: what the sidecar of the destination logs.
        manifest: file in `manifests/` with objects to add or change.
        delete: objects to delete, as (kind, namespace, name).
        apps: pod -> body of its `/blowup`.
        stop: processes to stop.
    """

    name: str
    broken: str
    gateway: str
    sidecar: str
    manifest: str = ""
    delete: tuple[tuple[str, str, str], ...] = ()
    apps: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    stop: tuple[str, ...] = ()


HEALTHY = Scenario("healthy", "nothing", "200", "200")

SCENARIOS = {
    scenario.name: scenario
    for scenario in (
        Scenario(
            "missing-subset",
            "VirtualService catalog-v1-v2 routes to subsets that no DestinationRule defines",
            "503 NC cluster_not_found",
            "nothing",
            delete=(("DestinationRule", "istioinaction", "catalog"),),
        ),
        Scenario(
            "slow-replica",
            "one v2 pod answers every second request a second late; the route's timeout is 0.5 s",
            "504 UT response_timeout",
            "0 DC downstream_remote_disconnect",
            manifest="slow-replica",
            apps={V2B: {"active": True, "type": "latency", "volatile": True}},
        ),
    )
}
"""All scenarios by name."""


def find_scenario(name: str) -> Scenario:
    """A scenario by its name.

    Raises:
        UsageError: there is none; names the nearest.
    """
    if name in SCENARIOS:
        return SCENARIOS[name]
    near = difflib.get_close_matches(name, SCENARIOS, n=1)
    hint = f"did you mean {near[0]!r}?" if near else "see: meshnb lab scenarios"
    raise UsageError(f"no scenario {name!r}; there are {', '.join(SCENARIOS)}", hint=hint)
