"""The control plane: its queries, golden signals, the decision tree, the simulator, settings to change.

tuning.simulate(events, settings, proxies, push_cost)   what debounce and push queue do to a stream of events
tuning.compare(events, {name: settings}, …)             the same under several settings
tuning.queries(), tuning.query(name)                    the catalogue of PromQL
tuning.lint(expr)                                       mistakes in a query
tuning.buckets(frame), tuning.quantiles(buckets)        histograms, with what is certain of them
tuning.env_setting(…), resources(…), …                  YAML and commands for the settings
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from meshnb.tuning.catalogue import queries as queries
    from meshnb.tuning.catalogue import query as query
    from meshnb.tuning.events import events_of_batches as events_of_batches
    from meshnb.tuning.events import events_of_changes as events_of_changes
    from meshnb.tuning.events import events_of_rates as events_of_rates
    from meshnb.tuning.histograms import buckets as buckets
    from meshnb.tuning.histograms import quantiles as quantiles
    from meshnb.tuning.levers import default_sidecar as default_sidecar
    from meshnb.tuning.levers import discovery_selectors as discovery_selectors
    from meshnb.tuning.levers import env_setting as env_setting
    from meshnb.tuning.levers import resources as resources
    from meshnb.tuning.levers import rollout_plan as rollout_plan
    from meshnb.tuning.linter import lint as lint
    from meshnb.tuning.performance import load_yaml as load_yaml
    from meshnb.tuning.performance import noted_runs as noted_runs
    from meshnb.tuning.sidecar_proposals import sidecar_yaml as sidecar_yaml
    from meshnb.tuning.signals import Thresholds as Thresholds
    from meshnb.tuning.simulator import Event as Event
    from meshnb.tuning.simulator import Settings as Settings
    from meshnb.tuning.simulator import compare as compare
    from meshnb.tuning.simulator import simulate as simulate

_PUBLIC = {
    "Event": "simulator",
    "Settings": "simulator",
    "Thresholds": "signals",
    "buckets": "histograms",
    "compare": "simulator",
    "default_sidecar": "levers",
    "discovery_selectors": "levers",
    "env_setting": "levers",
    "events_of_batches": "events",
    "events_of_changes": "events",
    "events_of_rates": "events",
    "lint": "linter",
    "load_yaml": "performance",
    "noted_runs": "performance",
    "quantiles": "histograms",
    "queries": "catalogue",
    "query": "catalogue",
    "resources": "levers",
    "rollout_plan": "levers",
    "sidecar_yaml": "sidecar_proposals",
    "simulate": "simulator",
}

__all__ = sorted(_PUBLIC)


def __getattr__(name: str) -> object:
    """Import a name on first use."""
    if name not in _PUBLIC:
        raise AttributeError(f"module 'meshnb.tuning' has no attribute {name!r}; names: {', '.join(__all__)}")
    value = getattr(import_module(f"{__name__}.{_PUBLIC[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return list(__all__)
