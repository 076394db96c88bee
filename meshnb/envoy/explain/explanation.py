"""What an explanation is made of: steps, what lost at each, and how the request can end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from meshnb.envoy.explain.request import Request

if TYPE_CHECKING:
    import pandas as pd

STAGES = (
    "listener",
    "filter chain",
    "network filter",
    "request",
    "route configuration",
    "virtual host",
    "http filter",
    "route",
    "cluster",
    "endpoint",
    "reply",
)
"""Stages of a request in order; `http filter` may also come after `route`."""


@dataclass(frozen=True, slots=True)
class Lost:
    """Something that was not chosen, and the comparison it lost."""

    name: str
    because: str


@dataclass(frozen=True, slots=True)
class Step:
    """One decision.

    Args:
        stage: one of `STAGES`.
        chosen: what was chosen; empty if nothing was.
        because: the comparison it won.
        lost: what was not chosen, in Envoy's order of comparison.
        more: how many more lost and are not listed.
        undecided: what cannot be decided here, empty if all can.
        facts: what else is known about it, by name.
    """

    stage: str
    chosen: str
    because: str = ""
    lost: tuple[Lost, ...] = ()
    more: int = 0
    undecided: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An endpoint of the cluster chosen.

    Args:
        address: `IP:port`, path of a pipe, or name of an internal listener.
        health: `HEALTHY`, `UNHEALTHY`, `DEGRADED`, `DRAINING`, `TIMEOUT` or `UNKNOWN`, as in the dump.
        weight: load balancing weight.
        priority: 0 is used first.
        zone: zone of its locality.
        share: expected share of the cluster's requests, by health, priority and weight; least request, hashing and
            locality weights shift it.
        eligible: whether a request can go there now.
        because: why not, empty if it can.
    """

    address: str
    health: str = "HEALTHY"
    weight: int = 1
    priority: int = 0
    zone: str = ""
    share: float = 0.0
    eligible: bool = True
    because: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """One way the request can end.

    Args:
        kind: `cluster`, `direct_response`, `redirect`, `reply` (Envoy answers itself with an error), `closed`
            (Envoy closes the connection) or `undecided`.
        probability: how likely; `None` if that cannot be known.
        condition: what must be so for this to happen, empty if nothing.
        virtual_host: name of the virtual host.
        route: name of the route as logged; empty if it has none.
        route_index: position of the route in its virtual host, -1 for none.
        cluster: name of the cluster.
        endpoints: where the request can go.
        response_code: status Envoy answers itself; `None` if the upstream decides.
        response_flags: as Envoy logs them, `-` for none.
        response_code_details: as Envoy logs them; empty if the upstream decides.
        location: where a redirect leads.
        path: path sent upstream.
        authority: Host header sent upstream.
        timeout: seconds until 504 UT; 0 for none, `None` if there is no upstream request.
        retries: how often and on what it is tried again, empty if never.
        mirrors: clusters that get a copy.
        notes: what else happens.
    """

    kind: str
    probability: float | None = 1.0
    condition: str = ""
    virtual_host: str = ""
    route: str = ""
    route_index: int = -1
    cluster: str = ""
    endpoints: tuple[Endpoint, ...] = ()
    response_code: int | None = None
    response_flags: str = "-"
    response_code_details: str = ""
    location: str = ""
    path: str = ""
    authority: str = ""
    timeout: float | None = None
    retries: str = ""
    mirrors: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        chance = "" if self.probability == 1 else "?  " if self.probability is None else f"{self.probability:.2%}  "
        end = {
            "cluster": f"cluster {self.cluster}",
            "redirect": f"{self.response_code} to {self.location}",
            "direct_response": f"{self.response_code} answered by Envoy",
            "reply": f"{self.response_code} {self.response_flags} {self.response_code_details}",
            "closed": f"connection closed {self.response_flags} {self.response_code_details}".rstrip(" -"),
        }.get(self.kind, "undecided")
        if self.kind == "cluster" and self.response_code is not None:
            end += f": {self.response_code} {self.response_flags} {self.response_code_details}"
        return chance + end + (f"  if {self.condition}" if self.condition else "")


@dataclass(frozen=True, slots=True)
class Explanation:
    """What Envoy does with one request, step by step.

    Args:
        request: the request explained.
        steps: every decision in order.
        outcomes: every way the request can end; the likely ones first. One, if all is decided.
        proxy: `POD.NAMESPACE` of the proxy, empty if not known.
    """

    request: Request
    steps: tuple[Step, ...]
    outcomes: tuple[Outcome, ...]
    proxy: str = ""

    @property
    def undecided(self) -> list[str]:
        """What could not be decided, in the order of the steps; empty if everything could."""
        return [f"{step.stage} {step.chosen}: {step.undecided}" for step in self.steps if step.undecided]

    @property
    def clusters(self) -> dict[str, float | None]:
        """Name of each cluster with its probability, `None` where that cannot be known."""
        found: dict[str, float | None] = {}
        for outcome in self.outcomes:
            if outcome.cluster:
                before = found.get(outcome.cluster, 0.0)
                known = before is not None and outcome.probability is not None
                found[outcome.cluster] = (before or 0.0) + (outcome.probability or 0.0) if known else None
        return found

    @property
    def outcome(self) -> Outcome:
        """The likeliest outcome."""
        return self.outcomes[0]

    def step(self, stage: str) -> Step | None:
        """The first step of a stage, `None` if the request did not get there."""
        return next((step for step in self.steps if step.stage == stage), None)

    @property
    def frame(self) -> pd.DataFrame:
        """The steps as a table, one row for what was chosen and one for each loser.

        The columns are those of `meshnb.model.tables.explain.EXPLANATION`.
        """
        from meshnb.model.tables.explain import EXPLANATION

        rows: list[dict[str, Any]] = []
        for number, step in enumerate(self.steps, 1):
            row = {"step": number, "stage": step.stage, "undecided": step.undecided or None}
            rows.append({**row, "name": step.chosen or None, "result": "chosen", "because": step.because or None})
            rows += [{**row, "name": lost.name, "result": "lost", "because": lost.because} for lost in step.lost]
        return EXPLANATION.rows(rows)

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain Python values, ready for JSON."""
        request = {k: v for k, v in asdict(self.request).items() if v not in ("", None, (), 0, False)}
        return {
            "proxy": self.proxy,
            "request": {**request, "headers": dict(self.request.headers)},
            "steps": [{**asdict(step), "facts": dict(step.facts)} for step in self.steps],
            "outcomes": [asdict(outcome) for outcome in self.outcomes],
            "undecided": self.undecided,
        }

    def __str__(self) -> str:
        from meshnb.envoy.explain.text import as_text

        return as_text(self)

    def __repr__(self) -> str:
        return f"<Explanation of {self.request}: {'; '.join(str(outcome) for outcome in self.outcomes[:3])}>"

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(str(self))
