"""What Envoy would do with one request, and why nothing else.

    >>> from meshnb.envoy.explain import Config, Request, explain
    >>> explain({"configs": []}, Request.to("http://shop.example/")).outcome.kind
    'undecided'

A module for each decision, in the order of a request: `listener`, `filter_chain` or `matcher`, `connection_manager` and
`path`, `virtual_host`, `route` with `match` and `regex`, `filters` and `rbac`, `action` with `chance`, `rewrite` and
`policy`, `cluster`, `subset` and `endpoint`. `walk` and `routing` put them together, `config` indexes a dump once.
`unreachable` and `conflicts` find what no request reaches.
"""

from __future__ import annotations

from meshnb.envoy.explain.config import Config
from meshnb.envoy.explain.conflicts import listener_conflicts
from meshnb.envoy.explain.explanation import Endpoint, Explanation, Lost, Outcome, Step
from meshnb.envoy.explain.request import Request
from meshnb.envoy.explain.row import request_of_row
from meshnb.envoy.explain.unreachable import unreachable_routes
from meshnb.envoy.explain.walk import explain

__all__ = [
    "Config",
    "Endpoint",
    "Explanation",
    "Lost",
    "Outcome",
    "Request",
    "Step",
    "explain",
    "listener_conflicts",
    "request_of_row",
    "unreachable_routes",
]
