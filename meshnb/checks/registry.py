"""The checks by code, and how one is run.

A check is a pure function whose keyword arguments are tables. It says which tables it `requires` (absent: the check
is `unknown`, by itself) and which it only `uses` (absent: it is given `None` and must say less).
"""

from __future__ import annotations

import difflib
import pkgutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Protocol

from meshnb.errors import UsageError
from meshnb.model.finding import Finding, Severity, Status, Subject

CheckFunction = Callable[..., Iterable[Finding]]


@dataclass(frozen=True, slots=True)
class Check:
    """A check: its code, what it asks, and the tables it looks at.

    Args:
        code: `MNB` and four digits: 01xx data-plane configuration, 02xx requests, 03xx sync and control plane,
            04xx components, ports and endpoints.
        question: what it asks, as in "does every route lead to a cluster?".
        requires: tables without which it is `unknown`.
        uses: tables that sharpen it.
        severity: how bad a failure is at its worst.
        function: the pure function.
        scans: of these tables, those it only asks questions of: it is given them without their rows in memory.
    """

    code: str
    question: str
    requires: tuple[str, ...]
    uses: tuple[str, ...]
    severity: Severity
    function: CheckFunction
    scans: tuple[str, ...] = ()


class Tables(Protocol):
    """What checks are run on; `Mesh` is one."""

    def table(self, name: str) -> Any:
        """The table of that name, a DataFrame."""

    def scan(self, name: str) -> Any:
        """The table of that name, to be asked without its rows in memory: what `causes_log.open_log` takes."""

    def absent(self, name: str) -> str:
        """Why the table cannot be made at all, empty if it can."""

    def gaps(self, name: str) -> Sequence[str]:
        """What the table lacks though it can be made: documents not captured or not readable, one reason each."""


_CHECKS: dict[str, Check] = {}


def check(
    code: str,
    question: str,
    *,
    requires: Sequence[str],
    uses: Sequence[str] = (),
    severity: Severity = Severity.ERROR,
    scans: Sequence[str] = (),
) -> Callable[[CheckFunction], CheckFunction]:
    """Register a check. See `Check` for the arguments."""

    def decorate(function: CheckFunction) -> CheckFunction:
        if code in _CHECKS:
            raise UsageError(f"check {code} is registered twice")
        _CHECKS[code] = Check(code, question, tuple(requires), tuple(uses), severity, function, tuple(scans))
        return function

    return decorate


def registered() -> dict[str, Check]:
    """All checks by code, in order."""
    import meshnb.checks as package

    for module in pkgutil.iter_modules(package.__path__):
        import_module(f"{package.__name__}.{module.name}")
    return dict(sorted(_CHECKS.items()))


def find(code: str) -> Check:
    """The check of a code.

    Raises:
        UsageError: there is none; names the nearest.
    """
    checks = registered()
    if code in checks:
        return checks[code]
    near = difflib.get_close_matches(code, checks, n=1)
    raise UsageError(f"no check {code!r}", hint=f"did you mean {near[0]}?" if near else f"checks: {', '.join(checks)}")


def run(check: Check, tables: Tables) -> list[Finding]:
    """Run one check; what it could not look at comes out as `unknown`, never as a pass."""
    frames = {name: _made(name, tables, name in check.scans) for name in (*check.requires, *check.uses)}
    reasons = {name: tables.absent(name) for name in check.requires if frames[name] is None}
    if reasons:
        named: dict[str, list[str]] = {}
        for name, reason in reasons.items():
            named.setdefault(reason, []).append(name)
        why = "; ".join(f"no {' and no '.join(names)}: {reason}" for reason, names in named.items())
        return [_unknown(check, Subject("Mesh"), f"{check.question} Could not look: {why}")]
    findings = list(check.function(**frames))
    gaps = sorted({gap for name in check.requires for gap in tables.gaps(name)})
    if gaps:
        findings.append(_unknown(check, Subject("Snapshot"), f"{check.question} Not looked at: {'; '.join(gaps)}"))
    return findings


def _made(name: str, tables: Tables, scan: bool) -> Any:
    """The table, or `None` if it is absent; that no document of it can be read shows only once it is made."""
    make = tables.scan if scan else tables.table
    frame = None if tables.absent(name) else make(name)
    return None if tables.absent(name) else frame


def passed(code: str, summary: str, *, subject: Subject | None = None) -> Finding:
    """The finding of a check that looked at everything and found nothing wrong."""
    return Finding(code, Status.PASS, find(code).severity, subject or Subject("Mesh"), summary)


def _unknown(check: Check, subject: Subject, summary: str) -> Finding:
    return Finding(check.code, Status.UNKNOWN, check.severity, subject, summary)
