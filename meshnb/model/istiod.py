"""istiod's environment variables that shape its performance, with the default of each release."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

_AUTOMATIC_SINCE = (1, 21)


@dataclass(frozen=True, slots=True)
class Variable:
    """An environment variable of istiod.

    Args:
        name: its name.
        default: its default, where it is one of all releases.
        meaning: what it does.
        boolean: whether it is a switch.
    """

    name: str
    default: str
    meaning: str
    boolean: bool = False

    def default_of(self, release: tuple[int, ...], cpus: float | None) -> tuple[str | None, str | None]:
        """Its default in a release, and what to mind; `None` where it depends on what is not known.

        Args:
            release: major and minor number, empty if not known.
            cpus: CPU limit of istiod, `None` if it has none or it is not known.
        """
        if self.name != "PILOT_PUSH_THROTTLE":
            return self.default, None
        if not release:
            return None, "100 up to Istio 1.20, since then min(15 + 5 x CPUs, 100); the release is not known"
        if release < _AUTOMATIC_SINCE:
            return "100", None
        if cpus is None:
            return None, "min(15 + 5 x CPUs, 100) by the CPUs of the node, as istiod has no CPU limit"
        return str(automatic_throttle(cpus)), "min(15 + 5 x CPUs, 100) by the CPU limit"

    def effective(self, given: str | None, default: str | None) -> str | None:
        """The value in effect; istiod reads 0 as: choose by the CPUs."""
        if given is None or given == "":
            return default
        if self.name == "PILOT_PUSH_THROTTLE" and re.fullmatch(r"-?\d+", given) and int(given) <= 0:
            return default
        return given.lower() if self.boolean else given


ENVIRONMENT = (
    Variable("PILOT_DEBOUNCE_AFTER", "100ms", "Quiet time before a push."),
    Variable("PILOT_DEBOUNCE_MAX", "10s", "Longest time changes are gathered."),
    Variable("PILOT_ENABLE_EDS_DEBOUNCE", "true", "Whether changes of endpoints are gathered too.", boolean=True),
    Variable("PILOT_PUSH_THROTTLE", "", "Proxies served at once."),
    Variable("PILOT_TRACE_SAMPLING", "1", "Percent of requests traced, where MeshConfig says nothing."),
    Variable("ENABLE_DEBUG_ON_HTTP", "true", "Whether debug endpoints are open on port 8080.", boolean=True),
)


def automatic_throttle(cpus: float) -> int:
    """Proxies istiod serves at once if `PILOT_PUSH_THROTTLE` is not set, from Istio 1.21.

    Example:
        >>> [automatic_throttle(cpus) for cpus in (1, 2, 4, 32)]
        [20, 25, 35, 100]
    """
    return min(15 + 5 * max(1, math.ceil(cpus)), 100)


def release(version: str) -> tuple[int, ...]:
    """Major and minor number of a release; empty if it names none.

    Example:
        >>> release("1.22.3-distroless"), release("latest")
        ((1, 22), ())
    """
    numbers = version.strip().lstrip("v").split("-")[0].split(".")[:2]
    return tuple(map(int, numbers)) if len(numbers) == 2 and all(n.isdigit() for n in numbers) else ()
