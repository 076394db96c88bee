"""From golden signals to one bottleneck: the decision tree of `decision.toml`, walked with evidence at every node."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from meshnb.model.frame import returns
from meshnb.model.tables.control_plane import BOTTLENECK
from meshnb.tuning.signals import CRITICAL, OK, QUIET, SEEN, UNKNOWN, WARNING, Thresholds

if TYPE_CHECKING:
    import pandas as pd

START = "visible"
FAMILIES = ("ignore events", "batch events", "scale istiod", "shrink scope")
"""The four strategies: fewer events, fewer pushes, more room, smaller pushes."""
YES, NO = "yes", "no"

_BAD = (WARNING, CRITICAL)
_HALF = 0.5


@dataclass(frozen=True, slots=True)
class Question:
    """A node of the tree, and where each answer leads."""

    name: str
    text: str
    yes: str
    no: str
    unknown: str
    stage: str = ""


@dataclass(frozen=True, slots=True)
class Conclusion:
    """A leaf of the tree.

    Args:
        name: its name.
        text: what is the matter.
        why: why that is so.
        status: fail, pass or unknown.
        levers: what to try, in this order.
        severity: how bad it is, if it fails.
        participant: whose fault it is: control plane, data plane or API server.
    """

    name: str
    text: str
    why: str
    status: str
    levers: tuple[str, ...]
    severity: str = ""
    participant: str = ""


@dataclass(frozen=True, slots=True)
class Lever:
    """Something to change, when it helps, what to mind, and the query that shows whether it did.

    Args:
        name: its name.
        what: what to do.
        condition: when it helps.
        guard: what to mind.
        verify: query of the catalogue that shows whether it did.
        family: strategy it belongs to, one of `FAMILIES`; empty for what repairs instead of tuning.
        why: what it is good for besides.
    """

    name: str
    what: str
    condition: str
    guard: str
    verify: str
    family: str = ""
    why: str = ""


@cache
def questions() -> Mapping[str, Question]:
    """The questions by name."""
    return {name: Question(name, **entry) for name, entry in _load()["question"].items()}


@cache
def conclusions() -> Mapping[str, Conclusion]:
    """The conclusions by name."""
    entries = _load()["conclusion"]
    return {name: Conclusion(name, **{**entry, "levers": tuple(entry["levers"])}) for name, entry in entries.items()}


@cache
def levers() -> Mapping[str, Lever]:
    """The levers by name."""
    return {name: Lever(name, **entry) for name, entry in _load()["lever"].items()}


@cache
def _load() -> dict[str, Any]:
    return tomllib.loads((files("meshnb.tuning") / "decision.toml").read_text(encoding="utf-8"))


@dataclass(frozen=True, slots=True)
class Answer:
    """yes, no or unknown, and what it rests on."""

    answer: str
    evidence: str
    measures: tuple[str, ...]


class Signals:
    """The golden signals by measure.

    Args:
        frame: as `control_plane` gives it.
        thresholds: what the verdicts rest on.
    """

    def __init__(self, frame: pd.DataFrame, thresholds: Thresholds) -> None:
        self.thresholds = thresholds
        self._rows = {row["measure"]: row for row in frame.to_dict("records")}

    def verdict(self, measure: str) -> str:
        """Its verdict."""
        return str(self._rows[measure]["verdict"])

    def peak(self, measure: str) -> float | None:
        """Its largest value, `None` if there is none."""
        value = self._rows[measure]["peak"]
        return float(value) if value == value and value is not None and str(value) != "<NA>" else None

    def said(self, *measures: str) -> str:
        """The verdicts in words."""
        return "; ".join(f"{self._rows[name]['what']}: {self._rows[name]['statement']}" for name in measures)

    def any_bad(self, *measures: str) -> Answer:
        """Yes if one is above its threshold, no if one was measured and none is, else unknown."""
        verdicts = {name: self.verdict(name) for name in measures}
        bad = tuple(name for name, verdict in verdicts.items() if verdict in _BAD)
        if bad:
            return Answer(YES, self.said(*bad), measures)
        fine = tuple(name for name, verdict in verdicts.items() if verdict in (OK, QUIET, SEEN))
        if fine:
            return Answer(NO, self.said(*fine), measures)
        return Answer(UNKNOWN, self.said(*measures), measures)

    def part(self, measure: str, whole: str) -> Answer:
        """Whether a measure is half of another or more."""
        one, all_ = self.peak(measure), self.peak(whole)
        if one is None or not all_:
            return Answer(UNKNOWN, self.said(measure, whole), (measure, whole))
        text = f"{self.said(measure, whole)}; that is {one / all_ * 100:.0f} %"
        return Answer(YES if one / all_ >= _HALF else NO, text, (measure, whole))


def _visible(s: Signals) -> Answer:
    seen = ("istiods", "connections_by_istiod", "convergence_p99", "updates_by_istiod", "pushes")
    there = [name for name in seen if s.verdict(name) != UNKNOWN]
    if there:
        return Answer(YES, s.said(*there[:2]), seen)
    return Answer(NO, s.said(*seen[:2]), seen)


def _rejected(s: Signals) -> Answer:
    return s.any_bad("rejects")


def _late(s: Signals) -> Answer:
    return s.any_bad("convergence_p99", "slow_pushes", "total_delay")


def _api_slow(s: Signals) -> Answer:
    return s.any_bad("apiserver_p99", "event_queue_p99")


def _uneven(s: Signals) -> Answer:
    return s.any_bad("imbalance")


def _saturated(s: Signals) -> Answer:
    return s.any_bad("cpu_of_limit", "cpu_throttled", "memory_of_limit")


def _pushing(s: Signals) -> Answer:
    large = s.any_bad("push_p99", "config_size_p99")
    if large.answer == YES:
        return large
    part = s.part("push_p99", "convergence_p99")
    if part.answer == YES and (s.peak("push_p99") or 0) <= s.thresholds.push_s:
        return Answer(NO, large.evidence, large.measures)
    return Answer(
        large.answer if part.answer == UNKNOWN else part.answer, part.evidence, (*large.measures, "convergence_p99")
    )


def _changing(s: Signals) -> Answer:
    return s.any_bad("updates_by_istiod")


def _gathering(s: Signals) -> Answer:
    if s.verdict("convergence_p99") in _BAD or s.verdict("slow_pushes") in _BAD:
        text = f"the delivery alone is late; {s.said('convergence_p99')}"
        return Answer(NO, text, ("convergence_p99", "debounce_p99"))
    return s.part("debounce_p99", "total_delay")


def _waiting(s: Signals) -> Answer:
    part = s.part("queue_p99", "convergence_p99")
    if part.answer == YES and s.verdict("cpu_of_limit") == UNKNOWN and s.verdict("cpu_throttled") == UNKNOWN:
        text = f"{part.evidence}; but whether CPU is left is not measured: {s.said('cpu_of_limit')}"
        return Answer(UNKNOWN, text, (*part.measures, "cpu_of_limit"))
    return part


ANSWERS: Mapping[str, Callable[[Signals], Answer]] = {
    "visible": _visible,
    "rejected": _rejected,
    "late": _late,
    "api-slow": _api_slow,
    "uneven": _uneven,
    "saturated": _saturated,
    "full-out": _pushing,
    "full-in": _changing,
    "gathering": _gathering,
    "heavy": _pushing,
    "busy": _changing,
    "waiting": _waiting,
}
"""How each question is answered from the golden signals."""


@returns(BOTTLENECK)
def bottleneck(signals: pd.DataFrame, thresholds: Thresholds | None = None) -> pd.DataFrame:
    """Walk the tree and write down every answer, its evidence and the branches not taken.

    Args:
        signals: as `control_plane` gives it.
        thresholds: those it was made with.
    """
    s = Signals(signals, thresholds or Thresholds())
    rows: list[dict[str, Any]] = []
    name = START
    while name in questions():
        question = questions()[name]
        answer = ANSWERS[name](s)
        ways = {YES: question.yes, NO: question.no, UNKNOWN: question.unknown}
        other: dict[str, list[str]] = {}
        for word, to in ways.items():
            if to != ways[answer.answer]:
                other.setdefault(to, []).append(word)
        rows.append(
            {
                "step": len(rows) + 1,
                "node": name,
                "stage": question.stage or None,
                "question": question.text,
                "answer": answer.answer,
                "evidence": answer.evidence,
                "measures": list(answer.measures),
                "next": ways[answer.answer],
                "not_taken": "; ".join(f"{' or '.join(words)} → {_title(to)}" for to, words in other.items()) or None,
            }
        )
        name = ways[answer.answer]
    end = conclusions()[name]
    rows.append(
        {
            "step": len(rows) + 1,
            "node": name,
            "question": end.text,
            "answer": end.status,
            "evidence": end.why,
            "measures": [],
        }
    )
    return BOTTLENECK.rows(rows)


def conclusion(steps: pd.DataFrame) -> Conclusion:
    """The conclusion a walk ended in."""
    return conclusions()[str(steps["node"].iloc[-1])]


def _title(name: str) -> str:
    return questions()[name].text if name in questions() else name
