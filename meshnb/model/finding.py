"""What a check says: a `Finding` with evidence, cause, fix and the command that verifies it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from enum import IntEnum, StrEnum
from typing import TYPE_CHECKING, Any, overload

from meshnb.errors import FormatError, UsageError

if TYPE_CHECKING:
    import pandas as pd

FINDINGS_VERSION = 1
"""Version of the JSON form; readers keep reading older ones."""


class Severity(IntEnum):
    """How bad it is. Ordered, so `max()` and `>=` work."""

    INFO = 1
    WARNING = 2
    ERROR = 3

    @classmethod
    def parse(cls, text: str) -> Severity:
        """A severity from its name, in any case.

        Raises:
            UsageError: no such severity.
        """
        try:
            return cls[text.upper()]
        except KeyError:
            raise UsageError(f"{text!r} is not a severity", hint="info, warning or error") from None

    def __str__(self) -> str:
        return self.name.lower()


class Status(StrEnum):
    """Outcome of a check. `unknown` is what could not be looked at: never a pass."""

    FAIL = "fail"
    PASS = "pass"  # noqa: S105 - not a password
    UNKNOWN = "unknown"


class FailOn(StrEnum):
    """What makes a run fail. Each level counts what the levels before it count.

    `error` and `warning` are failing findings of that severity; `unknown` adds what could not be looked at, `info`
    adds failing findings that are only notes: then all that has not passed counts.
    """

    ERROR = "error"
    WARNING = "warning"
    UNKNOWN = "unknown"
    INFO = "info"

    @classmethod
    def parse(cls, text: FailOn | Severity | str) -> FailOn:
        """A level from its name, in any case, or from a severity.

        Raises:
            UsageError: no such level.
        """
        try:
            return cls(str(text).lower())
        except ValueError:
            raise UsageError(f"{str(text)!r} is no level to fail on", hint="error, warning, unknown or info") from None


@dataclass(frozen=True, slots=True)
class Subject:
    """The object a finding is about, in Kubernetes' words.

    Args:
        kind: `VirtualService`, `Pod`, `Proxy`, `Route` …
        name: name of the object; the whole subject may be a mesh (`kind="Mesh"`, no name).
        namespace: namespace, empty if it has none.
        cluster: Kubernetes cluster, empty if there is just one.
    """

    kind: str
    name: str = ""
    namespace: str = ""
    cluster: str = ""

    def __str__(self) -> str:
        name = f"{self.namespace}/{self.name}" if self.namespace else self.name
        return f"{self.kind} {name}".strip()


@dataclass(frozen=True, slots=True)
class Evidence:
    """Rows that show it, and where they come from.

    Args:
        statement: one sentence: what the rows show.
        rows: the rows, as plain JSON values; at most a screenful (`total` says how many there were).
        source: table or query that gave them, as one would type it (`mesh.routes()`, PromQL).
        total: number of rows there were in all.
    """

    statement: str
    rows: tuple[Mapping[str, Any], ...] = ()
    source: str = ""
    total: int = 0

    @classmethod
    def of(cls, statement: str, df: pd.DataFrame, *, source: str = "", limit: int = 10) -> Evidence:
        """Evidence from a frame: its first `limit` rows as JSON values."""
        rows = tuple(json.loads(df.head(limit).to_json(orient="records", date_format="iso", date_unit="us")))
        return cls(statement, rows, source, len(df))


@dataclass(frozen=True, slots=True)
class Fix:
    """What repairs it.

    Args:
        text: the YAML document or the command.
        kind: `yaml` (for `kubectl apply -f -` or `meshnb lab apply`) or `command`.
        note: what to mind when applying it.
    """

    text: str
    kind: str = "yaml"
    note: str = ""


@dataclass(frozen=True, slots=True)
class Link:
    """A page of another tool that shows the object.

    Args:
        name: the tool: `Kiali`, `Grafana`, `Prometheus`.
        url: the page.
        note: what to do first, as `after: istioctl dashboard kiali`.
    """

    name: str
    url: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing a check says about the mesh.

    Args:
        code: `MNB` and four digits, never reused.
        status: fail, pass or unknown.
        severity: how bad a failure is; of a pass, how bad it would have been.
        subject: the object it is about.
        summary: one sentence with the names and numbers in it.
        cause: why it happens, for someone who has not seen it before.
        evidence: what shows it.
        fix: what repairs it, best first.
        verify: command that shows it is repaired.
        confidence: 0 to 1; how sure the check is of the cause.
        share: share of the requests looked at that it explains, 0 to 1, if it can be said.
        docs: page to read.
        refs: the same fault in other tools' codes (`IST0101`, `KIA1107`).
        links: pages of Kiali, Grafana and Prometheus about the object.
    """

    code: str
    status: Status
    severity: Severity
    subject: Subject
    summary: str
    cause: str = ""
    evidence: tuple[Evidence, ...] = ()
    fix: tuple[Fix, ...] = ()
    verify: str = ""
    confidence: float = 1.0
    share: float | None = None
    docs: str = ""
    refs: tuple[str, ...] = ()
    links: tuple[Link, ...] = ()

    @property
    def key(self) -> tuple[str, str, str, str, str]:
        """Findings of one key are the same fault, however many sources show it."""
        return (self.code, self.subject.kind, self.subject.cluster, self.subject.namespace, self.subject.name)

    def to_dict(self) -> dict[str, Any]:
        """The finding as plain JSON values."""
        result = asdict(self)
        result["severity"] = str(self.severity)
        result["status"] = str(self.status)
        for evidence in result["evidence"]:
            # notebooks are stored with sorted keys; this keeps the columns in their order
            evidence["columns"] = list(dict.fromkeys(name for row in evidence["rows"] for name in row))
        return json.loads(json.dumps(result))  # type: ignore[no-any-return]

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Finding:
        """The finding from plain JSON values.

        Raises:
            FormatError: not a finding.
        """
        try:
            values = dict(data)
            values["status"] = Status(values["status"])
            values["severity"] = Severity.parse(values["severity"])
            values["subject"] = Subject(**values["subject"])
            values["evidence"] = tuple(
                Evidence(e["statement"], tuple(_ordered(e["rows"], e.get("columns", ()))), e["source"], e["total"])
                for e in values["evidence"]
            )
            values["fix"] = tuple(Fix(**fix) for fix in values["fix"])
            values["links"] = tuple(Link(**link) for link in values.get("links", ()))
            values["refs"] = tuple(values["refs"])
            return cls(**values)
        except (KeyError, TypeError, ValueError) as error:
            raise FormatError(f"not a finding: {error}") from error

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        """What IPython and Jupyter print of one finding: what a person needs, line by line."""
        lines = [str(self)]
        lines += [f"  why     {self.cause}"] if self.cause else []
        lines += [f"  shown   {evidence.statement}" for evidence in self.evidence]
        for fix in self.fix[:1]:
            first, *rest = fix.text.strip().splitlines() or [""]
            lines += [f"  fix     {first}", *(f"          {line}" for line in rest)]
        lines += [f"  verify  {self.verify}"] if self.verify else []
        printer.text("\n".join(lines))

    def __str__(self) -> str:
        state = str(self.severity) if self.status is Status.FAIL else str(self.status)
        return f"{state:<8} {self.code}  {self.subject}: {self.summary}"


@dataclass(frozen=True)
class Findings(Sequence[Finding]):
    """Findings in the order they matter: failures first, worst first, then unknown, then passes.

    Example:
        >>> found = Findings([Finding("MNB0000", Status.PASS, Severity.ERROR, Subject("Mesh"), "all is well")])
        >>> found.failed(Severity.WARNING)
        False
        >>> Findings.from_json(found.to_json()) == found
        True
    """

    items: tuple[Finding, ...] = field(default=())

    def __init__(self, items: Iterable[Finding] = ()) -> None:
        object.__setattr__(self, "items", tuple(sorted(merge(items), key=_order)))

    @overload
    def __getitem__(self, index: int) -> Finding: ...
    @overload
    def __getitem__(self, index: slice) -> Findings: ...
    def __getitem__(self, index: int | slice) -> Finding | Findings:
        return type(self)(self.items[index]) if isinstance(index, slice) else self.items[index]

    def __len__(self) -> int:
        return len(self.items)

    def __iter__(self) -> Iterator[Finding]:
        return iter(self.items)

    def __repr__(self) -> str:
        return "\n".join(map(str, self.items)) or "no findings"

    def status(self, status: Status | str) -> Findings:
        """Those of one status."""
        return type(self)(finding for finding in self if finding.status == Status(status))

    def failed(self, threshold: FailOn | Severity | str = FailOn.WARNING) -> bool:
        """Whether one counts as failed at this level.

        Raises:
            UsageError: no such level.
        """
        level = FailOn.parse(threshold)
        unknown = not self.items or any(f.status is Status.UNKNOWN for f in self)
        if unknown and level in (FailOn.UNKNOWN, FailOn.INFO):
            return True
        least = Severity.WARNING if level is FailOn.UNKNOWN else Severity.parse(level)
        return any(f.status is Status.FAIL and f.severity >= least for f in self)

    @property
    def verdict(self) -> Status:
        """`fail` if one fails, else `unknown` if something could not be looked at or nothing was, else `pass`."""
        found = {finding.status for finding in self}
        for status in (Status.FAIL, Status.UNKNOWN, Status.PASS):
            if status in found:
                return status
        return Status.UNKNOWN

    @property
    def frame(self) -> pd.DataFrame:
        """One row per finding."""
        from meshnb.model.tables.findings import FINDINGS

        return FINDINGS.rows(
            {
                "code": f.code,
                "status": str(f.status),
                "severity": str(f.severity),
                "kind": f.subject.kind,
                "namespace": f.subject.namespace or None,
                "name": f.subject.name or None,
                "summary": f.summary,
                "cause": f.cause or None,
                "share": f.share,
                "confidence": f.confidence,
                "fix": f.fix[0].text if f.fix else None,
                "verify": f.verify or None,
            }
            for f in self
        )

    def to_json(self) -> str:
        """The versioned JSON form, as in `findings.json`."""
        return json.dumps({"version": FINDINGS_VERSION, "findings": [f.to_dict() for f in self]}, indent=1)

    @classmethod
    def from_json(cls, text: str | bytes) -> Findings:
        """Findings from their JSON form.

        Raises:
            FormatError: not findings, or of a version this meshnb does not know.
        """
        try:
            data = json.loads(text)
            version, items = data["version"], data["findings"]
        except (ValueError, KeyError, TypeError) as error:
            raise FormatError(f"not findings: {error}") from error
        if version > FINDINGS_VERSION:
            raise FormatError(f"findings of version {version}", hint="upgrade meshnb: pip install -U meshnb")
        return cls(Finding.from_dict(item) for item in items)


def _ordered(rows: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> list[dict[str, Any]]:
    return [{name: row[name] for name in dict.fromkeys((*columns, *row)) if name in row} for row in rows]


def merge(findings: Iterable[Finding]) -> list[Finding]:
    """One finding for each fault, however many sources show it.

    Findings of one code and subject are the same fault: the worse status wins, evidence and references are joined. So
    is a failing finding that names another failing finding's code, about the same subject, in its `refs`: it is folded
    into the one it names.
    """
    merged: dict[tuple[str, ...], Finding] = {}
    for finding in findings:
        seen = merged.get(finding.key)
        merged[finding.key] = finding if seen is None else _join(*sorted((seen, finding), key=_order))
    for finding in list(merged.values()):
        for code in finding.refs:
            other = merged.get((code, *finding.key[1:]))
            if other is not None and other is not finding and other.status == finding.status == Status.FAIL:
                merged[other.key] = _join(other, finding)
                del merged[finding.key]
                break
    return list(merged.values())


def _join(first: Finding, second: Finding) -> Finding:
    """The first finding with what the second adds to it."""
    same = first.status == second.status
    extra = tuple(e for e in second.evidence if e not in first.evidence) if same else ()
    refs = (ref for ref in (*first.refs, *second.refs, second.code) if ref != first.code)
    return replace(first, evidence=first.evidence + extra, refs=tuple(dict.fromkeys(refs)))


def _order(finding: Finding) -> tuple[Any, ...]:
    rank = {Status.FAIL: 0, Status.UNKNOWN: 1, Status.PASS: 2}[finding.status]
    return (
        rank,
        -finding.severity,
        -(finding.share or 0.0),
        -finding.confidence,
        finding.code,
        str(finding.subject),
    )
