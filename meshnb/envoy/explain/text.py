"""An explanation as plain text for a terminal."""

from __future__ import annotations

from meshnb.envoy.explain.explanation import Explanation, Outcome, Step

_SHOWN = 6


def as_text(explanation: Explanation) -> str:
    """The steps, one block each, and how the request ends."""
    lines = [str(explanation.request)]
    if explanation.proxy:
        lines[0] += f" at {explanation.proxy}"
    for number, step in enumerate(explanation.steps, 1):
        lines += _step(number, step)
    lines.append("")
    for outcome in explanation.outcomes:
        lines += _outcome(outcome)
    if explanation.undecided:
        lines.append("undecided:")
        lines += [f"  {reason}" for reason in explanation.undecided]
    return "\n".join(lines)


def _step(number: int, step: Step) -> list[str]:
    lines = [f"{number:>2}. {step.stage}: {step.chosen or '(none)'}"]
    if step.because:
        lines.append(f"      {step.because}")
    lines += [f"      {name}: {fact}" for name, fact in step.facts.items()]
    lines += [f"    - {lost.name}: {lost.because}" for lost in step.lost[:_SHOWN]]
    more = step.more + max(len(step.lost) - _SHOWN, 0)
    if more:
        lines.append(f"    - and {more} more")
    if step.undecided:
        lines.append(f"    ? {step.undecided}")
    return lines


def _outcome(outcome: Outcome) -> list[str]:
    lines = [f"=> {outcome}"]
    if outcome.timeout is not None:
        timeout = f"{outcome.timeout:g} s" if outcome.timeout else "none"
        lines.append(f"     timeout {timeout}; retries: {outcome.retries or 'none'}")
    if outcome.path:
        lines.append(f"     sent upstream as {outcome.authority} {outcome.path}")
    lines += [f"     mirrored to {cluster}" for cluster in outcome.mirrors]
    for endpoint in outcome.endpoints[:_SHOWN]:
        state = "" if endpoint.eligible else f", not used: {endpoint.because}"
        lines.append(f"     endpoint {endpoint.address} {endpoint.health}{state}")
    if len(outcome.endpoints) > _SHOWN:
        lines.append(f"     and {len(outcome.endpoints) - _SHOWN} more endpoints")
    return lines + [f"     note: {note}" for note in outcome.notes]
