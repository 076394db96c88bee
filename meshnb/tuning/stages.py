"""The five stages of a change on its way to a proxy: what each waits for, what measures it, what sets it.

The simulator gives each event its times by stage, the decision tree says of each question which stage it asks about,
and `mesh.stages()` has what was measured of each.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from meshnb.model.frame import returns
from meshnb.model.tables.control_plane import STAGES_MEASURED

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage.

    Args:
        name: event, debounce, queue, push or proxy.
        what: what happens in it.
        measures: measures of `control_plane` that tell of it, the time it takes first.
        settings: what sets it.
    """

    name: str
    what: str
    measures: tuple[str, ...]
    settings: tuple[str, ...] = ()


STAGES = (
    Stage(
        "event",
        "An object changes; the API server tells istiod's DiscoveryServer.",
        ("event_queue_p99", "apiserver_p99", "updates_by_istiod"),
        ("discoverySelectors",),
    ),
    Stage(
        "debounce",
        "Changes that come close together are gathered and merged.",
        ("debounce_p99",),
        ("PILOT_DEBOUNCE_AFTER", "PILOT_DEBOUNCE_MAX", "PILOT_ENABLE_EDS_DEBOUNCE"),
    ),
    Stage(
        "queue",
        "Each proxy concerned waits for its push; updates of one that waits already are merged.",
        ("queue_p99", "connections_by_istiod", "imbalance"),
        ("PILOT_PUSH_THROTTLE", "replicas"),
    ),
    Stage(
        "push",
        "Configuration is built, for so many proxies at once as the throttle allows.",
        ("push_p99", "cpu_of_limit", "cpu_throttled", "memory_of_limit"),
        ("PILOT_PUSH_THROTTLE", "limits.cpu", "limits.memory"),
    ),
    Stage(
        "proxy",
        "It goes over the wire; Envoy takes or refuses it.",
        ("config_size_p99", "xds_rx_max", "rejects", "write_timeouts", "expired_nonces"),
    ),
)
"""The stages in their order. `pilot_proxy_convergence_time` is queue and push together, without event and debounce."""


def stage_names() -> tuple[str, ...]:
    """Names of the stages in their order.

    Example:
        >>> stage_names()
        ('event', 'debounce', 'queue', 'push', 'proxy')
    """
    return tuple(stage.name for stage in STAGES)


@returns(STAGES_MEASURED)
def stages_measured(signals: pd.DataFrame, settings: Mapping[str, str] | None = None) -> pd.DataFrame:
    """What was measured of each stage, and what sets it.

    Args:
        signals: as `control_plane` gives it.
        settings: settings of istiod in effect, by name.
    """
    settings = settings or {}
    rows = signals.set_index("measure")
    return STAGES_MEASURED.rows(
        {
            "stage": stage.name,
            "what": stage.what,
            "measure": measure,
            "verdict": rows["verdict"][measure],
            "peak": _value(rows["peak"][measure]),
            "unit": _value(rows["unit"][measure]),
            "measured": rows["statement"][measure],
            "settings": [f"{name}={settings[name]}" if settings.get(name) else name for name in stage.settings],
        }
        for stage in STAGES
        for measure in stage.measures
    )


def _value(cell: Any) -> Any:
    """The cell of a frame; `None` where it is missing."""
    import pandas as pd

    return None if pd.isna(cell) else cell
