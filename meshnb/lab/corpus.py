"""A labelled corpus: snapshots of the lab in every scenario and in mixtures, with the cause of each failed request.

    OUT/corpus.json            seed, cases, versions
    OUT/truth.jsonl            one line per request: case, request_id, path, status, seconds, cause
    OUT/CASE/…                 a snapshot: logs of all proxies, dumps, objects

A request that went well has the cause `none`. In a case of one scenario every failed request has that scenario as its
cause; in a mixture each cause has paths of its own, so the cause of a failed request is known from its path.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from meshnb.errors import UsageError
from meshnb.lab import lab as labs
from meshnb.lab.capture import capture
from meshnb.lab.inventory import manifest
from meshnb.lab.plan import PODS, LabHome
from meshnb.lab.scenarios import SCENARIOS, V2B, Scenario
from meshnb.lab.status import require_up
from meshnb.lab.traffic import HOST, Answer, Request, TrafficResult, send

NONE = "none"
MIXTURES = 3

# cause -> path that meets it in `manifests/mixed.yaml`
_PATHS = {
    "missing-subset": "/recommended",
    "port-mismatch": "/legacy",
    "direct-response": "/closed",
    "fault-abort": "/chaos",
    "no-route": "/nowhere",
    "rbac-denied": "/items/prices",
    "slow-replica": "/items/1",
    "client-gives-up": "/items/2",
    "failing-replica": "/items/3",
    "connection-closed": "/items/4",
}
_CLIENTS = ("203.0.113.7", "203.0.113.21", "198.51.100.4")
_AGENTS = ("meshnb-lab/1", "shop-mobile/4.2", "crawler/0.9")


@dataclass(frozen=True, slots=True)
class Case:
    """One case of a corpus: its name, how many requests were sent, and how many failed by each cause."""

    name: str
    requests: int
    causes: Mapping[str, int]


def record_corpus(
    out: str | Path,
    home: LabHome | None = None,
    *,
    seed: int = 0,
    requests: int = 80,
    scenarios: Sequence[str] = tuple(SCENARIOS),
    mixtures: int = MIXTURES,
) -> Iterator[Case]:
    """Record a corpus with the running lab; each case is yielded when it is written.

    Args:
        out: folder to write; made if missing, must be empty.
        home: the lab.
        seed: decides paths, clients, rates and shares; the proxies' own choices stay their own.
        requests: about how many requests per case.
        scenarios: which scenarios.
        mixtures: how many mixtures.

    Raises:
        LabError: no lab runs.
        UsageError: the folder is not empty.
    """
    home = home or LabHome.of()
    plan = require_up(home)
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise UsageError(f"{folder} is not empty", hint="give a new folder")
    dice = random.Random(seed)  # noqa: S311 - for repeatable traffic, not for secrets
    cases = []
    with (folder / "truth.jsonl").open("w", encoding="utf-8") as truth:
        for name in (*scenarios, *(f"mixture-{number}" for number in range(1, mixtures + 1))):
            if name in SCENARIOS:
                result, cause_of = _single(SCENARIOS[name], home, dice, requests)
            else:
                result, cause_of = _mixture(home, dice, requests * 3)
            capture(folder / name, home)
            causes: Counter[str] = Counter()
            for answer in result.answers:
                cause = cause_of(answer)
                causes[cause] += 1
                truth.write(json.dumps(_line(name, answer, cause)) + "\n")
            case = Case(name, len(result.answers), dict(sorted(causes.items())))
            cases.append(case)
            yield case
    labs.heal(home)
    facts = {"seed": seed, "envoy": plan.envoy_version, "log_format": plan.log_format}
    listed = [{"name": c.name, "requests": c.requests, "causes": c.causes} for c in cases]
    (folder / "corpus.json").write_text(json.dumps({**facts, "cases": listed}, indent=1) + "\n", encoding="utf-8")


def _line(case: str, answer: Answer, cause: str) -> dict[str, Any]:
    return {
        "case": case,
        "request_id": answer.request_id,
        "host": answer.request.host,
        "path": answer.request.path,
        "status": answer.status,
        "seconds": round(answer.seconds, 3),
        "cause": cause,
    }


def _headers(dice: random.Random) -> dict[str, str]:
    return {"X-Forwarded-For": dice.choice(_CLIENTS), "User-Agent": dice.choice(_AGENTS)}


def _single(
    scenario: Scenario, home: LabHome, dice: random.Random, count: int
) -> tuple[TrafficResult, Callable[[Answer], str]]:
    """Requests for items and one of them, and a few that go through the webapp."""
    labs.break_(scenario.name, home)
    timeout = float(scenario.traffic.get("timeout", 15.0))
    wanted = []
    for _ in range(round(count * dice.uniform(0.7, 1.3))):
        if dice.random() < 0.15:
            wanted.append(Request("webapp.istioinaction.io", "/api/catalog", headers=_headers(dice), timeout=timeout))
        else:
            path = dice.choice(("/items", "/items/1", "/items/2", "/items/3"))
            wanted.append(Request(HOST, path, headers=_headers(dice), timeout=timeout))
    result = send(wanted, home, rate=float(scenario.traffic.get("rate", dice.uniform(10.0, 30.0))))
    # a delay on purpose does not fail the request, and is a cause all the same; Envoy's timers are exact to a
    # millisecond or two only, so an answer may come just under the 0.3 s
    slow = 0.29 if scenario.name == "fault-delay" else 1e9

    def cause_of(answer: Answer) -> str:
        return scenario.name if answer.status != 200 or answer.seconds >= slow else NONE

    return result, cause_of


def _mixture(home: LabHome, dice: random.Random, count: int) -> tuple[TrafficResult, Callable[[Answer], str]]:
    """Three to five causes at once, with shares of their own, in healthy traffic."""
    labs.heal(home)
    chosen = dice.sample(sorted(_PATHS), dice.randint(3, 5))
    shares = {cause: dice.uniform(0.04, 0.2) for cause in chosen}
    late = {"type": "latency", "seconds": 1.0}
    rules: dict[str, list[dict[str, Any]]] = {
        V2B: [
            {"path": "/items/1", **late},
            {"path": "/items/3", "type": "error", "status": 500},
            {"path": "/items/4", "type": "close"},
        ]
    }
    plan = require_up(home)
    for pod in (pod for pod in PODS if pod.app == "catalog"):
        own = [*rules.get(pod.proxy, []), {"path": "/items/2", **late}]
        labs.blowup(plan, pod.name, {"active": True, "rules": own})
    labs.apply_objects(manifest("mixed"), home)
    causes = dice.choices([NONE, *chosen], [1 - sum(shares.values()), *shares.values()], k=count)
    wanted = [
        Request(
            HOST,
            _PATHS.get(cause, "/items"),
            headers=_headers(dice),
            timeout=0.3 if cause == "client-gives-up" else 15.0,
        )
        for cause in causes
    ]
    result = send(wanted, home, rate=dice.uniform(20.0, 30.0))
    by_path = {path: cause for cause, path in _PATHS.items()}

    def cause_of(answer: Answer) -> str:
        return NONE if answer.status == 200 else by_path[answer.request.path]

    return result, cause_of
