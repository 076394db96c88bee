"""Are access logs on, in JSON, with what the causes need? Judged by what Envoy's listeners really carry.

Telemetry objects and MeshConfig say who is to blame; where they were not captured, the finding names the proxies alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from meshnb.checks.access_log_fix import format_fix, logging_fix
from meshnb.checks.access_log_needs import NEEDS, lacking, undecidable
from meshnb.checks.access_log_wanted import (
    MESH_CONFIG,
    ROOT_NAMESPACE,
    Asked,
    MeshLogging,
    Telemetry,
    by_age,
    levels,
    mesh_logging,
    wanted,
)
from meshnb.checks.access_log_workload import workload
from meshnb.checks.registry import check, passed
from meshnb.checks.states import in_use
from meshnb.model.finding import Evidence, Finding, Fix, Severity, Status, Subject

if TYPE_CHECKING:
    import pandas as pd

ON, FORMAT = "MNB0255", "MNB0256"
_STREAMS = ("/dev/stdout", "/dev/stderr")
# listeners that carry tunnels; the requests in them are logged at the listener inside
_TUNNELS = ("connect_terminate", "connect_originate")
_SHOWN = ["proxy", "listener", "direction", "chain", "type", "target", "encoding", "filter"]
# tables that tell who asks for which logs, as arguments of `_Asking`
_WHO = ("telemetries", "mesh_config", "objects", "pods")
_PROBLEMS = {
    "off": "log no request",
    "partly": "log the requests of some listeners only",
    "elsewhere": "send their access logs elsewhere, and nothing to the standard output",
    "partly elsewhere": "send the access logs of some listeners elsewhere, and nothing of those to the standard output",
    "filtered": "log some requests only",
}


@check(
    ON,
    "Does every proxy log its requests where kubectl logs shows them?",
    requires=("access_loggers",),
    uses=_WHO,
    severity=Severity.WARNING,
)
def access_log_on(*, access_loggers: pd.DataFrame, **who: pd.DataFrame | None) -> list[Finding]:
    """One finding per kind of gap and the object to blame: off, off for some listeners, elsewhere, or filtered."""
    chains = _chains(access_loggers)
    if chains.empty:
        return [_nothing(ON)]
    asked = _Asking(**who)
    found: dict[tuple[str, _Blame], list[str]] = {}
    for proxy, rows in chains.groupby("proxy", sort=True):
        problem, where = _problem(rows)
        if problem:
            found.setdefault((problem, asked.blame(str(proxy), problem, where)), []).append(str(proxy))
    if not found:
        return [passed(ON, f"All {chains.proxy.nunique()} proxies log every request.")]
    return [_gap(*key, proxies, chains, asked) for key, proxies in found.items()]


@check(
    FORMAT,
    "Is the access log in JSON, and does it hold what the causes need?",
    requires=("access_loggers",),
    uses=_WHO,
    severity=Severity.WARNING,
)
def access_log_format(*, access_loggers: pd.DataFrame, **who: pd.DataFrame | None) -> list[Finding]:
    """One finding per format: the operators it lacks with the causes that cannot be told without them, or TEXT."""
    rows = _chains(access_loggers)
    rows = rows[[_readable(row) for row in rows.itertuples()]]
    if rows.empty:
        return [_nothing(FORMAT)]
    asked = _Asking(**who)
    found = []
    for (encoding, text), group in rows.groupby(["encoding", "format"], sort=True, dropna=False):
        if group["columns"].isna().any():
            found.append(_unreadable(str(text), group))
            continue
        lost = lacking(set(group["columns"].iloc[0]))
        if lost or encoding != "JSON":
            found.append(_format(str(encoding), lost, group, asked))
    return found or [passed(FORMAT, "The access logs are in JSON and hold all that the causes need.")]


def _chains(access_loggers: pd.DataFrame) -> pd.DataFrame:
    """The loggers of filter chains that carry requests: not those of Envoy's own pages, tunnels and statistics."""
    rows = in_use(access_loggers)
    rows = rows[(rows.place != "listener") & ~rows.listener.isin(_TUNNELS)]
    # listeners of the bootstrap serve health and statistics, unless there are no others
    sent = rows[rows.dynamic.fillna(False)]
    alone = ~rows.proxy.isin(set(sent.proxy))
    return rows[rows.dynamic.fillna(False) | alone]


def _readable(row: Any) -> bool:
    """Whether a logger writes where `kubectl logs` reads."""
    if not isinstance(row.type, str):
        return False
    return row.type in ("stdout", "stderr") or (row.type == "file" and row.target in _STREAMS)


def _problem(rows: pd.DataFrame) -> tuple[str, str]:
    """What is wrong with the loggers of one proxy, and the direction of a listener where it shows."""
    states: dict[str, str] = {}
    for _, chain in rows.groupby(["listener", "position"], sort=False, dropna=False):
        loggers = [row for row in chain.itertuples() if isinstance(row.type, str) and row.type != "stats"]
        readable = [row for row in loggers if _readable(row)]
        if not loggers:
            state = "off"
        elif not readable:
            state = "elsewhere"
        else:
            state = "" if any(not isinstance(row.filter, str) for row in readable) else "filtered"
        direction = chain.direction.iloc[0]
        states.setdefault(state, direction if isinstance(direction, str) else "OUTBOUND")
    some = {"off": "partly", "elsewhere": "partly elsewhere"} if len(states) > 1 else {}
    for state in ("off", "elsewhere", "filtered"):
        if state in states:
            return some.get(state, state), states[state]
    return "", ""


@dataclass(frozen=True, slots=True)
class _Blame:
    """The object to blame, and why; `open` is the one to look at where that cannot be told."""

    subject: Subject
    why: str
    open: Subject | None = None


@dataclass(frozen=True, slots=True)
class _Answer:
    """What is asked of a proxy; `doubt` says why that cannot be told, and `open` the object it hangs on."""

    asked: Sequence[Asked] = ()
    doubt: str = ""
    open: Subject | None = None


@dataclass
class _Asking:
    """Who asks for which access logs, by four tables that may be missing."""

    telemetries: pd.DataFrame | None
    mesh_config: pd.DataFrame | None
    objects: pd.DataFrame | None
    pods: pd.DataFrame | None

    @cached_property
    def mesh(self) -> MeshLogging | None:
        """What MeshConfig says, `None` if not known."""
        return mesh_logging(self.mesh_config, self.objects)

    @cached_property
    def given(self) -> list[Telemetry]:
        """The Telemetry objects."""
        return [] if self.telemetries is None else by_age(self.telemetries)

    @property
    def root(self) -> str:
        """The root namespace."""
        return self.mesh.root_namespace if self.mesh is not None else ROOT_NAMESPACE

    def of(self, proxy: str, direction: str) -> _Answer:
        """What is asked of a proxy."""
        if self.telemetries is None:
            return _Answer(doubt="Telemetry objects were not captured")
        found = levels(self.given, workload(proxy, self.pods, self.objects), root=self.root)
        if found.undecided:
            return _Answer(doubt=f"{found.undecided} may hold for it: {found.doubt}", open=found.undecided)
        if not found.entries and self.mesh is None:
            return _Answer(doubt="MeshConfig was not captured")
        mode = "SERVER" if direction == "INBOUND" else "CLIENT"
        return _Answer(wanted(found.entries, self.mesh or MeshLogging(), mode=mode))

    def blame(self, proxy: str, problem: str, direction: str) -> _Blame:
        """The object to blame."""
        answer = self.of(proxy, direction)
        if answer.doubt:
            return _Blame(Subject("Mesh"), f"Which object is to blame cannot be told: {answer.doubt}.", answer.open)
        on = [one for one in answer.asked if not one.disabled]
        if problem in ("off", "partly"):
            return self._off(proxy, answer.asked, on)
        if problem == "filtered" and any(one.filter for one in on):
            one = next(one for one in on if one.filter)
            return _Blame(one.by, f"Its filter lets only these through: {one.filter}")
        away = [one for one in on if not self._is_readable(one.provider)]
        if problem in ("elsewhere", "partly elsewhere") and away:
            named = f"provider {away[0].provider}"
            return _Blame(away[0].by, f"It asks for {named}, which does not write to the standard output.")
        return self._proxy(proxy, "an EnvoyFilter, or the proxy is not up to date")

    def _is_readable(self, provider: str) -> bool:
        """Whether a provider writes to the standard output, as far as that is known."""
        if self.mesh is None:
            return False
        if provider == "accessLogFile":
            return self.mesh.file in _STREAMS
        own = (self.mesh.providers.get(provider.lower()) or {}).get("envoyFileAccessLog")
        return own is not None and (own.get("path") or _STREAMS[0]) in _STREAMS

    def _off(self, proxy: str, asked: Sequence[Asked], on: Sequence[Asked]) -> _Blame:
        if not asked:
            return _Blame(MESH_CONFIG, "No Telemetry asks for access logs, and accessLogFile of MeshConfig is empty.")
        if not on:
            return _Blame(asked[0].by, "It switches access logs off.")
        known = self.mesh.providers if self.mesh is not None else None
        lost = [one for one in on if known is not None and one.provider.lower() not in known]
        if lost and lost[0].provider != "accessLogFile":
            return _Blame(lost[0].by, f"It names the provider {lost[0].provider}, which MeshConfig does not define.")
        return self._proxy(proxy, f"{on[0].by} asks for them: an EnvoyFilter, or the proxy is not up to date")

    @staticmethod
    def _proxy(proxy: str, why: str) -> _Blame:
        pod, _, namespace = proxy.rpartition(".")
        return _Blame(Subject("Pod", pod, namespace), f"No object explains it ({why}).")


@dataclass(frozen=True)
class _Where:
    """Where it shows."""

    proxies: list[str]

    def __str__(self) -> str:
        more = f" and {len(self.proxies) - 3} more" if len(self.proxies) > 3 else ""
        return ", ".join(self.proxies[:3]) + more

    @property
    def verify(self) -> str:
        """The command that shows the log."""
        pod, _, namespace = self.proxies[0].rpartition(".")
        return f"kubectl -n {namespace} logs {pod} -c istio-proxy --tail=5"


def _gap(problem: str, blame: _Blame, proxies: list[str], chains: pd.DataFrame, asked: _Asking) -> Finding:
    where, subject = _Where(proxies), blame.subject
    rows = chains[chains.proxy.isin(proxies)]
    share = len(proxies) / chains.proxy.nunique()
    return Finding(
        ON,
        Status.FAIL,
        Severity.WARNING,
        subject,
        f"{len(proxies)} of {chains.proxy.nunique()} proxies {_PROBLEMS[problem]}: {where}. {blame.why}",
        cause="Without the line of the side that failed, most causes of failed requests cannot be told. Istio takes "
        "the Telemetry nearest to the workload: its own, the namespace's, the mesh's. Where one speaks of access logs, "
        "accessLogFile of MeshConfig counts no more.",
        evidence=(Evidence.of("access loggers of their listeners", rows[_SHOWN], source="mesh.access_loggers()"),),
        fix=_look_at(blame.open)
        if blame.open
        else logging_fix(subject, asked.telemetries, asked.mesh, root=asked.root, proxy=proxies[0]),
        verify=where.verify,
        confidence=0.9 if subject.kind in ("Telemetry", "ConfigMap") else 0.7,
        share=None if problem == "filtered" else share,
    )


def _look_at(telemetry: Subject) -> tuple[Fix, ...]:
    """Another Telemetry would change nothing where this one holds."""
    command = f"kubectl -n {telemetry.namespace} get telemetry {telemetry.name} -o yaml"
    return (Fix(command, kind="command", note="Does it hold for these proxies? If so, change it; if not, look again."),)


def _format(encoding: str, lost: list[str], rows: pd.DataFrame, asked: _Asking) -> Finding:
    where = _Where(sorted(rows.proxy.unique()))
    by = _decides(rows, asked)
    if lost:
        names = ", ".join(NEEDS[column].operator for column in lost)
        summary = f"The access log of {where} lacks {names}. Cannot be told without: {undecidable(lost)}."
    else:
        summary = f"The access log of {where} is in TEXT: it is read as well, but other tools need a pattern for it."
    return Finding(
        FORMAT,
        Status.FAIL,
        Severity.WARNING if lost else Severity.INFO,
        by[0] if by else Subject("Mesh"),
        summary,
        cause="A cause rests on code, flags, details and addresses together; a field the format leaves out is lost for "
        "good. In JSON every value has its name, and a newer Istio may add fields without breaking readers.",
        evidence=(
            Evidence.of("what lacks, and what for", _lack(lost), source="mesh.access_loggers().columns"),
            Evidence.of("loggers with this format", rows[[*_SHOWN, "format"]], source="mesh.access_loggers()"),
        )
        if lost
        else (Evidence.of("loggers with this format", rows[_SHOWN], source="mesh.access_loggers()"),),
        fix=format_fix(by[1] if by else "", asked.mesh, keep=rows.format.iloc[0], encoding=encoding, lacking=lost),
        verify=where.verify,
    )


def _decides(rows: pd.DataFrame, asked: _Asking) -> tuple[Subject, str] | None:
    """MeshConfig, which holds the format, and the provider that has it."""
    for row in rows.itertuples():
        direction = row.direction if isinstance(row.direction, str) else "OUTBOUND"
        for one in asked.of(str(row.proxy), direction).asked:
            if not one.disabled:
                return MESH_CONFIG, one.provider
    return None


def _lack(lost: Iterable[str]) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame(
        [
            {"column": column, "operator": NEEDS[column].operator, "causes": ", ".join(NEEDS[column].causes)}
            for column in lost
        ]
    )


def _unreadable(text: str, rows: pd.DataFrame) -> Finding:
    return Finding(
        FORMAT,
        Status.UNKNOWN,
        Severity.WARNING,
        Subject("Mesh"),
        f"The format of the access log of {_Where(sorted(rows.proxy.unique()))} cannot be read: {text[:80]}",
    )


def _nothing(code: str) -> Finding:
    what = "No listener of any proxy was captured." if code == ON else "No proxy writes an access log to look at."
    return Finding(code, Status.UNKNOWN, Severity.WARNING, Subject("Mesh"), what)
