"""What is failing, and why: every failed or slow request assigned to one cause, causes ranked by requests explained."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from meshnb.checks.causes_assign import Assigned, assign
from meshnb.checks.causes_baseline import baselines_of, duration_clusters
from meshnb.checks.causes_fix import STOPGAPS, repairs
from meshnb.checks.causes_log import AnyLog, open_log
from meshnb.checks.causes_objects import Failure
from meshnb.checks.causes_requests import ranking
from meshnb.checks.causes_rows import UNKNOWN
from meshnb.checks.causes_subjects import pods_of, service_of, subjects_of, virtual_services
from meshnb.checks.questions import question
from meshnb.checks.registry import check, passed
from meshnb.envoy.names import ClusterName
from meshnb.model.finding import Evidence, Finding, Fix, Severity, Status, Subject
from meshnb.model.frame import returns, to_pandas
from meshnb.model.tables.logs import CAUSE_SHARES, FAILED_REQUESTS

if TYPE_CHECKING:
    import ibis.expr.types as ir
    import pandas as pd

CODE = "MNB0210"
_SHOWN = [
    "start_time", "outer_proxy", "response_code", "flag_set", "response_code_details", "duration_ms", "path",
    "upstream_host", "proxy", "request_id",
]  # fmt: skip

# what findings read of the requests, and what of that has few values
_READ = list(dict.fromkeys((*_SHOWN, "confidence", "why", "upstream_cluster", "service", "authority", "path")))
_FEW = (
    "outer_proxy", "flag_set", "response_code_details", "upstream_host", "proxy", "why", "upstream_cluster", "service",
    "authority", "client", "route_name",
)  # fmt: skip

# causes that the client's and the server's side count differently
_SEEN_FROM_BOTH_SIDES = ("slow_replica", "slow_upstream", "client_gave_up")


@dataclass(frozen=True, slots=True)
class Cause:
    """What is known of a cause beforehand. `{service}`, `{name}`, `{namespace}`, `{pod}` … are filled in."""

    key: str
    code: str
    title: str
    subject: str
    severity: str
    explanation: str
    rival: str
    tell_apart: str
    fix: str
    note: str
    verify: str


@cache
def known_causes() -> Mapping[str, Cause]:
    """All causes by name.

    Example:
        >>> known_causes()["slow_replica"].code
        'MNB0221'
    """
    data = json.loads((files("meshnb.checks") / "causes.json").read_text(encoding="utf-8"))
    return {each["key"]: Cause(**each) for each in data}


@check(
    CODE,
    "What is failing, and why?",
    requires=("access_log",),
    scans=("access_log",),
    uses=("routes", "endpoints", "pods", "objects"),
)
def causes(
    *,
    access_log: AnyLog,
    routes: pd.DataFrame | None,
    endpoints: pd.DataFrame | None,
    pods: pd.DataFrame | None,
    objects: pd.DataFrame | None = None,
) -> list[Finding]:
    """One finding per cause and subject, most requests first."""
    found = assign(access_log, routes=routes, endpoints=endpoints)
    failed = found.rows()
    total = int(failed.attrs["requests"])
    if not total:
        return [Finding(CODE, Status.UNKNOWN, Severity.ERROR, Subject("Mesh"), "No request was logged in the window.")]
    if failed.empty:
        saved = int(failed.attrs["recovered"])
        retried = f" {saved} failed on the way and were saved by a retry." if saved else ""
        return [passed(CODE, f"None of {total} requests failed or was slow.{retried}")]
    by_ip = {} if pods is None else {row.ip: row for row in pods[pods.ip.notna()].itertuples()}
    cases = _cases(found, failed, by_ip, virtual_services(routes))
    return [_finding(case, found.sides.gap, objects) for case in cases]


@returns(CAUSE_SHARES)
def shares(failed: pd.DataFrame) -> pd.DataFrame:
    """How many requests each cause explains.

    Args:
        failed: as from `failed_requests`.
    """
    log = open_log(failed, FAILED_REQUESTS.column_names)
    total = failed.attrs.get("requests") or len(failed)
    rows = to_pandas(log.ask(by_cause, log.table, total=total))
    titles = [known_causes()[cause].title for cause in rows.cause]
    return CAUSE_SHARES.conform(rows.assign(title=titles))


@question("failed", numbers=["total"])
def by_cause(failed: ir.Table, total: float) -> ir.Table:
    """How many requests each cause explains."""
    return ranking(failed, ["cause"], total=total)


@dataclass(frozen=True)
class _Case:
    """The requests of one cause and subject, where they are more frequent than elsewhere, and examples on all sides.

    `failing` are all pods at which requests to the same services fail for this cause, those of other subjects too.
    """

    cause: Cause
    subject: Subject
    rows: pd.DataFrame
    excess: pd.DataFrame | None
    examples: pd.DataFrame
    failing: frozenset[Subject]
    total: int
    by_ip: Mapping[str, Any]


def _cases(
    found: Assigned,
    failed: pd.DataFrame,
    by_ip: Mapping[str, Any],
    virtual: Mapping[tuple[str, str], set[Subject]],
) -> Iterator[_Case]:
    """The failed requests by cause and subject."""
    import numpy as np

    # to take rows of texts is what costs here: those of few values are taken as categories
    coded = failed.assign(**{column: _categories(failed[column]) for column in _FEW})
    numbers = np.zeros(len(failed), dtype=np.int64)
    kinds: list[tuple[Cause, Subject]] = []
    failing: dict[str, dict[str, set[Subject]]] = {}
    for key, rows in sorted(failed.groupby("cause").indices.items()):
        cause = known_causes()[str(key)]
        failing[cause.key] = pods_of(coded.iloc[rows], by_ip)
        for subject, places in subjects_of(cause.subject, coded, rows, by_ip, virtual).items():
            numbers[places] = len(kinds)
            kinds.append((cause, subject))
    excess = baselines_of(found, failed.request_id, numbers.tolist())
    ordered = coded[_READ].iloc[np.argsort(numbers, kind="stable")]
    ends = np.cumsum(np.bincount(numbers, minlength=len(kinds))).tolist()
    parts = [ordered.iloc[start:end] for start, end in zip([0, *ends], ends, strict=False)]
    examples = _examples(found, [id for part in parts for id in part.request_id.dropna().head(3)])
    for (cause, subject), number, part in zip(kinds, range(len(kinds)), parts, strict=True):
        some = examples[examples.request_id.isin(part.request_id.dropna().head(3).tolist())]
        pods = frozenset().union(*(failing[cause.key].get(each, ()) for each in part.service.dropna().unique()))
        yield _Case(cause, subject, part, excess.get(number), some, pods, int(failed.attrs["requests"]), by_ip)


def _categories(texts: pd.Series) -> pd.Categorical:
    import pandas as pd

    return pd.Categorical.from_codes(*texts.factorize(sort=True))


def _examples(found: Assigned, ids: list[str]) -> pd.DataFrame:
    """All rows of some requests."""
    import pyarrow as pa

    asked = found.log.lend(pa.table({"of": pa.array(ids, pa.string())}))
    return to_pandas(found.log.ask(rows_of, found.suspects, found.partners, asked))


@question("suspects", "partners", "asked_ids")
def rows_of(suspects: ir.Table, partners: ir.Table, asked_ids: ir.Table) -> ir.Table:
    """Rows of some requests in trouble, in order of time."""
    import ibis

    rows = ibis.union(suspects, partners)
    rows = rows.semi_join(asked_ids, rows.request_id == asked_ids.of)
    shown = ["request_id", "proxy", "response_code", "flag_set", "response_code_details", "duration_ms"]
    return rows.order_by("request_id", "start_time", "file", "line").select(*shown)


def _finding(case: _Case, gap: str, objects: pd.DataFrame | None) -> Finding:
    cause, count = case.cause, len(case.rows)
    status = Status.UNKNOWN if cause.key == UNKNOWN else Status.FAIL
    onset, last = case.rows.start_time.min(), case.rows.start_time.max()
    durations = case.rows.duration_ms.dropna()
    spread = f", after {int(durations.min())} to {int(durations.max())} ms" if len(durations) else ""
    codes = case.rows.response_code.value_counts()
    seen = " and ".join(f"{n} times {int(code)}" for code, n in codes.items())
    summary = (
        f"{count} of {case.total} requests ({count / case.total:.1%}): {cause.title}{_of(case)}. "
        f"Callers got {seen}{spread}; from {onset:%H:%M:%S} to {last:%H:%M:%S} UTC."
    )
    explanation = [cause.explanation]
    if cause.key == UNKNOWN:
        explanation = [f"{reason}." for reason in case.rows.why.drop_duplicates().head(3)]
    if cause.key in _SEEN_FROM_BOTH_SIDES and gap:
        explanation.append(gap)
    if cause.rival:
        explanation.append(f"It could also be: {cause.rival} To tell them apart: {cause.tell_apart}")
    names = _names(case)
    return Finding(
        cause.code,
        status,
        Severity.parse(cause.severity),
        case.subject,
        summary,
        cause=" ".join(explanation),
        evidence=_evidence(case),
        fix=_with_objects(case, objects, _fix(cause, names)),
        verify="meshnb run what-is-failing -p source=NEW_SNAPSHOT",
        confidence=float(case.rows.confidence.median()),
        share=count / case.total,
        refs=_REFS.get(cause.key, ()),
    )


_PODS = ("Pod", "Proxy")
_REFS = {"missing_cluster": ("MNB0101",), "slow_replica": ("MNB0201",), "slow_upstream": ("MNB0201",)}


def _of(case: _Case) -> str:
    """Where it happens, beyond the subject."""
    clusters = case.rows.upstream_cluster.dropna().unique()
    hosts = case.rows.upstream_host.dropna().unique()
    version = next((v for v in (_version(case, host) for host in hosts) if v), "") if len(hosts) == 1 else ""
    parts = [f"at {hosts[0]}" if len(hosts) == 1 else "", f"version {version}" if version else ""]
    parts.append(f"cluster {clusters[0]}" if len(clusters) == 1 else "")
    text = ", ".join(part for part in parts if part)
    return f" ({text})" if text else ""


def _version(case: _Case, host: str) -> str:
    pod = case.by_ip.get(host.rpartition(":")[0].strip("[]"))
    version = getattr(pod, "version", None)
    return version if isinstance(version, str) else ""


def _evidence(case: _Case) -> tuple[Evidence, ...]:
    evidence = [Evidence.of("requests it explains", case.rows[_SHOWN], source="mesh.failed_requests()")]
    why = case.rows.groupby("why", observed=True).size().sort_values(ascending=False).reset_index(name="requests")
    evidence.append(Evidence.of("what the decision rests on", why, source="mesh.failed_requests().why"))
    both = case.examples
    if len(both) > both.request_id.nunique():
        evidence.append(Evidence.of("both sides of the same requests", both, source="mesh.access_log()"))
    if case.excess is not None:
        evidence.append(
            Evidence.of("where it is more frequent than elsewhere", case.excess, source="mesh.access_log()")
        )
    clusters = duration_clusters(case.rows)
    if len(clusters):
        evidence.append(Evidence.of("durations gather at", clusters, source="mesh.failed_requests().duration_ms"))
    return tuple(evidence)


def _names(case: _Case) -> dict[str, str]:
    row = case.rows.iloc[0]
    service = service_of(row.service)
    subject = case.subject
    cluster = ClusterName.parse(row.upstream_cluster) if isinstance(row.upstream_cluster, str) else None
    return {
        "service": (cluster.fqdn if cluster else "") or str(row.service),
        "name": subject.name if subject.kind in ("AuthorizationPolicy", "Service") else service.name,
        "namespace": subject.namespace or service.namespace or "NAMESPACE",
        "pod": next((each.name for each in (subject, *sorted(case.failing, key=str)) if each.kind in _PODS), "POD"),
        "authority": str(row.authority),
        "path": str(row.path),
    }


def _with_objects(case: _Case, objects: pd.DataFrame | None, usual: tuple[Fix, ...]) -> tuple[Fix, ...]:
    """The objects that repair it, and what is usual, unless that is an object as well; a stopgap comes last."""
    made = repairs(_failure(case), objects)
    usual = tuple(fix for fix in usual if not made or fix.kind != "yaml")
    return (*usual, *made) if case.cause.key in STOPGAPS else (*made, *usual)


def _failure(case: _Case) -> Failure:
    row = case.rows.iloc[0]
    clusters = [ClusterName.parse(each) for each in case.rows.upstream_cluster.dropna().unique()]
    authority, path = (text if isinstance(text, str) else "" for text in (row.authority, row.path))
    details, codes = case.rows.response_code_details.mode(), case.rows.response_code.mode()
    return Failure(
        case.cause.key,
        case.subject,
        (clusters[0].fqdn if clusters else None) or "",
        authority,
        path,
        code=int(codes.iloc[0]) if len(codes) else 0,
        details=str(details.iloc[0]) if len(details) else "",
        subsets=tuple(sorted({cluster.subset or "" for cluster in clusters if cluster.fqdn == clusters[0].fqdn})),
        failing=case.failing,
    )


def _fix(cause: Cause, names: Mapping[str, str]) -> tuple[Fix, ...]:
    if not cause.fix:
        return ()
    text = re.sub(r"\{(\w+)\}", lambda match: names.get(match[1], match[0]), cause.fix)
    return (Fix(text, kind="yaml" if text.startswith("apiVersion") else "command", note=cause.note),)
