"""What changed between two states of the objects, as istiod would hear of it."""

from __future__ import annotations

from dataclasses import dataclass

from meshnb.lab.plan import PODS, Plan, Pod
from meshnb.lab.world import Key, World
from meshnb.lab.xds import TRANSLATORS
from meshnb.lab.xds.common import ENDPOINT, Proxy

# istiod does not watch them, or what it takes from them is not in the lab
_UNHEARD = {"Deployment", "Namespace"}


@dataclass(frozen=True, slots=True)
class Change:
    """One change.

    Args:
        counted: types under which `pilot_inbound_updates` counts it.
        reason: why it is pushed, as in `pilot_push_triggers`; empty if it is not.
        full: whether more than endpoints is pushed.
    """

    counted: tuple[str, ...]
    reason: str = ""
    full: bool = True


def changes(before: World, after: World, plan: Plan) -> list[Change]:
    """Changes from one state to the other.

    A Service is counted as `svc` or `svcdelete`, changed endpoints of a Service as `eds`, everything that is pushed as
    `config`. Endpoints alone make a push of endpoints, unless the configuration of a proxy depends on them.

    Example:
        >>> from meshnb.lab.inventory import healthy_objects
        >>> before = World(healthy_objects(Plan()))
        >>> after = World.restore(before.objects())
        >>> after.drop(("Pod", "istioinaction", "catalog-v2-6c8d9f7b6-bbbb2"))
        True
        >>> changes(before, after, Plan())
        [Change(counted=('eds', 'config'), reason='endpoint', full=False)]
    """
    old, new = dict.fromkeys(before.keys()), dict.fromkeys(after.keys())
    keys = [key for key in {**old, **new} if before.get(*key) != after.get(*key)]
    found = [_change(key, gone=key not in new) for key in sorted(keys) if key[0] not in _UNHEARD and key[0] != "Pod"]
    if any(key[0] == "Pod" for key in keys):
        found += _endpoints(before, after)
        # without the proxies of pods that are gone: nobody needs their configuration
        here = [pod for pod in PODS if ("Pod", pod.namespace, pod.name) in new]
        if not any(change.full for change in found) and _differ(before, after, plan, here):
            found.append(Change((), "proxy"))
    return found


def _change(key: Key, *, gone: bool) -> Change:
    if key[0] == "Service":
        return Change(("svcdelete" if gone else "svc", "config"), "service")
    return Change(("config",), "config")


def _endpoints(before: World, after: World) -> list[Change]:
    hosts = before.services().keys() & after.services().keys()
    return [
        Change(("eds", "config"), "endpoint", full=False)
        for host in sorted(hosts)
        if before.endpoints(host) != after.endpoints(host)
    ]


def _differ(before: World, after: World, plan: Plan, pods: list[Pod]) -> bool:
    kinds = [kind for kind in TRANSLATORS if kind != ENDPOINT]
    return any(
        TRANSLATORS[kind](Proxy(pod, plan, before)) != TRANSLATORS[kind](Proxy(pod, plan, after))
        for pod in pods
        for kind in kinds
    )
