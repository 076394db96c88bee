"""What is failing, and why: every failed or slow request assigned to one cause, causes ranked by requests explained."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from meshnb.checks.causes_assign import failed_requests
from meshnb.checks.causes_baseline import baselines_of, duration_clusters
from meshnb.checks.causes_fix import STOPGAPS, repairs
from meshnb.checks.causes_gap import reporter_gap
from meshnb.checks.causes_log import AnyLog, Log, open_log
from meshnb.checks.causes_objects import Failure
from meshnb.checks.causes_requests import ranking
from meshnb.checks.causes_rows import UNKNOWN
from meshnb.checks.registry import check, passed
from meshnb.checks.states import in_use
from meshnb.envoy.details import parse_details
from meshnb.envoy.names import ClusterName
from meshnb.model.finding import Evidence, Finding, Fix, Severity, Status, Subject
from meshnb.model.frame import returns, to_pandas
from meshnb.model.tables.logs import CAUSE_SHARES, FAILED_REQUESTS

if TYPE_CHECKING:
    import pandas as pd

CODE = "MNB0210"
_SHOWN = [
    "start_time", "outer_proxy", "response_code", "flag_set", "response_code_details", "duration_ms", "path",
    "upstream_host", "proxy", "request_id",
]  # fmt: skip

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
    log = open_log(access_log)
    failed = failed_requests(log, routes=routes, endpoints=endpoints)
    total = int(failed.attrs["requests"])
    if not total:
        return [Finding(CODE, Status.UNKNOWN, Severity.ERROR, Subject("Mesh"), "No request was logged in the window.")]
    if failed.empty:
        saved = int(failed.attrs["recovered"])
        retried = f" {saved} failed on the way and were saved by a retry." if saved else ""
        return [passed(CODE, f"None of {total} requests failed or was slow.{retried}")]
    by_ip = {} if pods is None else {row.ip: row for row in pods[pods.ip.notna()].itertuples()}
    gap = reporter_gap(log) if failed.cause.isin(_SEEN_FROM_BOTH_SIDES).any() else ""
    return [_finding(case, gap, objects) for case in _cases(log, failed, by_ip, _virtual_services(routes))]


@returns(CAUSE_SHARES)
def shares(failed: pd.DataFrame) -> pd.DataFrame:
    """How many requests each cause explains.

    Args:
        failed: as from `failed_requests`.
    """
    log = open_log(failed, FAILED_REQUESTS.column_names)
    total = failed.attrs.get("requests") or len(failed)
    rows = to_pandas(log.run(ranking(log.table, ["cause"], total=total)))
    titles = [known_causes()[cause].title for cause in rows.cause]
    return CAUSE_SHARES.conform(rows.assign(title=titles))


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
    log: Log,
    failed: pd.DataFrame,
    by_ip: Mapping[str, Any],
    virtual: Mapping[tuple[str, str], set[Subject]],
) -> Iterator[_Case]:
    """The failed requests by cause and subject."""
    import numpy as np

    numbers = np.zeros(len(failed), dtype=np.int64)
    kinds: list[tuple[Cause, Subject]] = []
    failing: dict[str, dict[str, set[Subject]]] = {}
    for key, group in failed.groupby("cause"):
        cause = known_causes()[str(key)]
        failing[cause.key] = _failing(group, by_ip)
        for subject, places in _subjects(cause, group, by_ip, virtual).items():
            numbers[places] = len(kinds)
            kinds.append((cause, subject))
    excess = baselines_of(log, failed.request_id, numbers.tolist())
    parts = dict(iter(failed.groupby(numbers)))
    examples = _examples(log, [id for part in parts.values() for id in part.request_id.dropna().head(3)])
    for number, (cause, subject) in enumerate(kinds):
        rows = parts[number]
        some = examples[examples.request_id.isin(rows.request_id.dropna().head(3).tolist())]
        pods = frozenset().union(*(failing[cause.key].get(each, ()) for each in rows.service.dropna().unique()))
        yield _Case(cause, subject, rows, excess.get(number), some, pods, int(failed.attrs["requests"]), by_ip)


def _failing(rows: pd.DataFrame, by_ip: Mapping[str, Any]) -> dict[str, set[Subject]]:
    """The pods at which requests fail, by service."""
    found: dict[str, set[Subject]] = {}
    reached = rows[rows.service.notna() & rows.upstream_host.notna()]
    for row in reached.drop_duplicates(["service", "upstream_host", "proxy", "outer_proxy"]).itertuples():
        found.setdefault(str(row.service), set()).add(_subject("host", row, by_ip))
    return found


def _examples(log: Log, ids: list[str]) -> pd.DataFrame:
    """All rows of some requests."""
    import pyarrow as pa

    wanted = log.lend(pa.table({"wanted": pa.array(ids, pa.string())}))
    rows = log.table.semi_join(wanted, log.table.request_id == wanted.wanted)
    shown = ["request_id", "proxy", "response_code", "flag_set", "response_code_details", "duration_ms"]
    return to_pandas(log.run(rows.order_by("request_id", "start_time", "file", "line").select(*shown)))


# what the subject of a cause is told from, beside the service
_TOLD_BY = {
    "host": ["upstream_host", "proxy", "outer_proxy"],
    "client": ["client"],
    "route": ["route_name", "proxy", "authority"],
    "policy": ["response_code_details"],
    "proxy": ["proxy"],
    "authority": ["authority"],
}


def _subjects(
    cause: Cause, rows: pd.DataFrame, by_ip: Mapping[str, Any], virtual: Mapping[tuple[str, str], set[Subject]]
) -> dict[Subject, list[int]]:
    """Which object each request is about; requests that are alike are looked at once."""
    subjects: dict[Subject, list[int]] = {}
    alike = rows.groupby(["service", *_TOLD_BY.get(cause.subject, [])], dropna=False, sort=False).ngroup()
    for _, places in alike.groupby(alike, sort=False).groups.items():
        row = next(rows.loc[places[:1]].itertuples())
        made_by = virtual.get((str(row.proxy), _host(row.authority)), set()) if cause.subject == "route" else set()
        subject = next(iter(made_by)) if len(made_by) == 1 else _subject(cause.subject, row, by_ip)
        subjects.setdefault(subject, []).extend(places)
    return subjects


def _virtual_services(routes: pd.DataFrame | None) -> dict[tuple[str, str], set[Subject]]:
    """VirtualServices behind the routes of a proxy and host."""
    found: dict[tuple[str, str], set[Subject]] = {}
    if routes is None:
        return found
    for row in in_use(routes[routes.virtual_service.notna()]).itertuples():
        namespace = row.virtual_service_namespace if isinstance(row.virtual_service_namespace, str) else ""
        for domain in row.domains:
            found.setdefault((str(row.proxy), _host(domain)), set()).add(
                Subject("VirtualService", row.virtual_service, namespace)
            )
    return found


def _host(authority: Any) -> str:
    return str(authority).partition(":")[0]


def _subject(kind: str, row: Any, by_ip: Mapping[str, Any]) -> Subject:
    service = _service(row.service)
    if kind == "host" and isinstance(row.upstream_host, str):
        pod = by_ip.get(row.upstream_host.rpartition(":")[0].strip("[]"))
        if pod is not None:
            return Subject("Pod", pod.pod, pod.namespace)
        if isinstance(row.proxy, str) and row.proxy != row.outer_proxy:
            name, _, namespace = row.proxy.rpartition(".")
            return Subject("Pod", name or namespace, namespace if name else "")
        return Subject("Endpoint", row.upstream_host, service.namespace)
    if kind == "client":
        return Subject("Client", row.client if isinstance(row.client, str) else "unknown")
    if kind == "route" and isinstance(row.route_name, str) and row.route_name != "default":
        return Subject("Route", row.route_name, service.namespace)
    if kind == "policy":
        details = parse_details(row.response_code_details)
        if details and details.policy:
            namespace, _, name = details.policy.partition("/")
            return Subject("AuthorizationPolicy", name, namespace)
    if kind == "proxy" and isinstance(row.proxy, str):
        name, _, namespace = row.proxy.rpartition(".")
        return Subject("Proxy", name or namespace, namespace if name else "")
    if kind == "authority":
        return Subject("Host", row.authority if isinstance(row.authority, str) else "none")
    return service


def _service(service: Any) -> Subject:
    if not isinstance(service, str):
        return Subject("Mesh")
    host = service.rpartition(":")[0] or service if service.count(":") == 1 else service
    name, _, rest = host.partition(".")
    if ".svc" not in rest:
        return Subject("Host", host)
    return Subject("Service", name, rest.partition(".")[0])


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
    why = case.rows.groupby("why").size().sort_values(ascending=False).reset_index(name="requests")
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
    service = _service(row.service)
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
