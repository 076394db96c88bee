"""Tables of explanations."""

from __future__ import annotations

from meshnb.model.frame import Column, Frame

EXPLANATION = Frame(
    "explanation",
    "One row for each thing that was chosen or lost on the path of one request.",
    (
        Column("step", "int64", "Number of the step, from 1.", nullable=False),
        Column("stage", "string", "listener, filter chain, virtual host, route, cluster, endpoint …", nullable=False),
        Column("result", "string", "`chosen` or `lost`.", nullable=False),
        Column("name", "string", "Name of what was compared; missing if nothing was chosen."),
        Column("because", "string", "The comparison it won or lost."),
        Column("undecided", "string", "What cannot be decided at this step; missing if all can."),
    ),
)

UNREACHABLE_ROUTES = Frame(
    "unreachable_routes",
    "One row per route that no request can reach, with the earlier route that takes them all.",
    (
        Column("proxy", "string", "Proxy, `POD.NAMESPACE`; missing if the dump is of no named one."),
        Column("route_config", "string", "Name of the route configuration, or LISTENER/CHAIN of an inline one."),
        Column("virtual_host", "string", "Name of the virtual host.", nullable=False),
        Column("route_index", "int64", "Position of the route in the virtual host, from 0.", nullable=False),
        Column("route", "string", "Position, name and path rule of the route."),
        Column("source", "string", "Istio object the route comes from."),
        Column("shadowed_by_index", "int64", "Position of the route that takes its requests; missing if none does."),
        Column("shadowed_by", "string", "Position, name and path rule of that route."),
        Column("shadowed_by_source", "string", "Istio object that route comes from."),
        Column("because", "string", "Why every request of the one matches the other first."),
    ),
    key=("proxy", "route_config", "virtual_host", "route_index"),
)

LISTENER_CONFLICTS = Frame(
    "listener_conflicts",
    "One row per pair of listeners or filter chains that stand in each other's way.",
    (
        Column("proxy", "string", "Proxy, `POD.NAMESPACE`; missing if the dump is of no named one."),
        Column("kind", "string", "rejected, same_address, same_chain_match, wildcard_takes_rest or unreachable_chain."),
        Column("listener", "string", "Name of the listener.", nullable=False),
        Column("item", "string", "The listener or chain that loses."),
        Column("other", "string", "The listener or chain that stands in its way."),
        Column("because", "string", "What happens.", nullable=False),
    ),
)
