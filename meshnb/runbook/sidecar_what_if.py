"""What Sidecars would change, as a notebook shows it, and compared with what was measured after they were applied."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from meshnb.checks.sidecar_yaml import Slip, findings_of, object_slips, text_slips
from meshnb.envoy.sidecar_scope import Key
from meshnb.errors import FormatError, NotFound, UsageError
from meshnb.model.finding import Finding, Severity
from meshnb.model.frame import returns
from meshnb.model.tables.sidecars import SIDECAR_COMPARED
from meshnb.tuning.sidecar_what_if import Known, Predicted
from meshnb.views.tables import Facts, Table, facts, table

if TYPE_CHECKING:
    import pandas as pd

    from meshnb.runbook.tables_sidecars import SidecarTables

Object = Mapping[str, Any]
Source = str | Path | Object
_UNSAID = "What could not be said"
# the proxies that lose most calls first, then those of which nothing is known
_WORST = {"requests_lost": False, "hosts_lost": False, "calls": False, "proxy": True}
_CALLS = ("proxy", "host", "port", "verdict", "requests", "rate", "last_seen", "expects")
NO_PROXIES = "no proxies were captured: it needs pods, config dumps and access logs (meshnb capture)"
_ENDS = {
    "breaks": "would fail",
    "unknown": "may fail",
    "bypasses": "would go past the mesh",
    "loses rules": "would lose the rules of a VirtualService",
    "fails already": "fail already",
}
_SHOWN = {
    "proxy": "proxy",
    "sidecar": "sidecar",
    "catch_all": "gets the rest",
    "clusters": "clusters",
    "endpoints": "endpoints",
    "bytes": "bytes",
    "requests_lost": "calls lost",
}


def _read(source: Source) -> tuple[str, list[Slip], Sequence[Object]]:
    """Name of a source, what is wrong with it, and the Sidecars in it."""
    if isinstance(source, Mapping):
        try:
            thing = json.loads(json.dumps(source))
        except (TypeError, ValueError, RecursionError) as error:
            raise FormatError(f"it is no object of Kubernetes: {error}", file="the object") from error
        found = [thing] if thing.get("kind") == "Sidecar" else []
        return "the object", [slip for one in found for slip in object_slips(one)], found
    if not isinstance(source, str | Path):
        raise UsageError(f"{type(source).__name__} is no Sidecar", hint="give a path, the YAML itself, or an object")
    if isinstance(source, str) and ("\n" in source or source.lstrip().startswith("{")):
        return "YAML", *text_slips(source)
    path = Path(source).expanduser()
    try:
        if not path.is_file():
            raise NotFound(f"no file {path}", hint="give a path, the YAML itself, or an object")
        return str(path), *text_slips(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        if isinstance(error, NotFound):
            raise
        raise FormatError(f"it cannot be read: {error}", file=str(path)[:200]) from error


def read_sidecars(sources: Sequence[Source]) -> list[Object]:
    r"""The Sidecar objects of YAML texts, files and objects; of two with one name the last, as `kubectl` leaves it.

    Args:
        sources: YAML text, paths, or objects.

    Raises:
        NotFound: a file that is not there.
        FormatError: something in it that Istio would not read; names file and line, and the line as it should be.
        UsageError: no Sidecar in it.

    Example:
        >>> read_sidecars(["kind: Sidecar\nspec:\n  egress:\n  -hosts: [./*]"])
        Traceback (most recent call last):
        meshnb.errors.FormatError: YAML, line 4: there is no space after the dash
          → write: - hosts: [./*]
    """
    found: dict[Key, Object] = {}
    for source in sources:
        name, slips, read = _read(source)
        for slip in slips:
            if slip.severity >= Severity.ERROR:
                position = f"line {slip.line}" if slip.line else slip.path
                hint = f"write: {slip.better.strip()}" if slip.better else ""
                raise FormatError(slip.what, file=name, position=position, hint=hint)
        found |= {key_of(one, file=name): one for one in read}
    if not found:
        raise UsageError("no Sidecar to try", hint="give YAML, a path or an object of kind Sidecar")
    return list(found.values())


def key_of(thing: Object, *, file: str = "") -> Key:
    """Namespace and name of a Sidecar.

    Raises:
        FormatError: it has none.
    """
    meta = thing.get("metadata")
    name, namespace = (meta.get("name"), meta.get("namespace") or "default") if isinstance(meta, Mapping) else ("", "")
    if not isinstance(name, str) or not name or not isinstance(namespace, str):
        hint = "metadata: {name: NAME, namespace: NAMESPACE}"
        raise FormatError("a Sidecar without metadata.name, or with a name that is no text", file=file, hint=hint)
    return namespace, name


def lint_files(sources: Sequence[Source]) -> list[Finding]:
    """What is wrong with Sidecars as they are written, source by source."""
    read = [_read(source) for source in sources]
    return [finding for name, slips, things in read for finding in findings_of(slips, things, file=name)]


class SidecarWhatIf:
    """What Sidecars would change. Made by `mesh.sidecar_what_if`.

    Args:
        predicted: the rows.
        names: the Sidecars tried, NAMESPACE/NAME.
        known: what is known of the mesh.
    """

    def __init__(self, predicted: Predicted, names: Sequence[str], known: Known) -> None:
        self.predicted, self.names, self._known = predicted, list(names), known

    @property
    def proxies(self) -> pd.DataFrame:
        """A row per proxy they would hold for: see `meshnb.model.tables.sidecars.SIDECAR_WHAT_IF`."""
        return self.predicted.proxies

    @property
    def changes(self) -> pd.DataFrame:
        """A row per resource that would go or come: see `SIDECAR_CHANGES`."""
        return self.predicted.changes

    @property
    def calls(self) -> pd.DataFrame:
        """A row per proxy and host called: see `SIDECAR_CALLS`."""
        return self.predicted.calls

    @property
    def verdict(self) -> str:
        """In one sentence: how many proxies, what they would lose, and whether calls that were seen would break."""
        rows = self.proxies
        if not self._known.proxies:
            return NO_PROXIES
        if not self.names:
            return "no Sidecar to try: of no workload the calls are known"
        if rows.empty:
            return f"{self._tried} would hold for none of {len(self._known.proxies)} proxies"
        return f"{self._lost_clusters()}; {self._calls()}"

    def _lost_clusters(self) -> str:
        """How many proxies would lose how many clusters each; those of proxies without a config dump are not known."""
        lost = (self.proxies.proxy.map(self._goes("cluster").proxy.value_counts()).fillna(0)).astype(int)
        lost = lost[self.proxies.clusters_before.notna()]
        blind = len(self.proxies) - len(lost)
        unknown = f"what {_count(blind, 'proxy')} would lose is unknown"
        if lost.empty:
            return unknown
        low, high = int(lost.min()), int(lost.max())
        text = _count(high, "cluster") if low == high else f"{low:,} to {high:,} clusters"
        text = f"{_count(len(lost), 'proxy')} would lose {text}{' each' if len(lost) > 1 else ''}"
        return f"{text}, {unknown}" if blind else text

    def _goes(self, kind: str) -> pd.DataFrame:
        return self.changes[(self.changes.change == "goes") & (self.changes.type == kind)]

    def _calls(self) -> str:
        """What becomes of the calls that were seen; what was not seen is never said to go on."""
        unknown = int((self.proxies.calls == "unknown").sum())
        if unknown == len(self.proxies):
            return "which calls would fail is unknown"
        ends = {verdict: self.calls[self.calls.verdict == verdict] for verdict in _ENDS}
        parts = [f"{_seen(rows)} {_ENDS[verdict]}" for verdict, rows in ends.items() if len(rows)]
        if self.calls.empty:
            parts = ["no call of theirs was seen"]
        elif ends["breaks"].empty:
            parts.insert(0, f"none of {_seen(self.calls)} is known to fail by it")
        return ", ".join(parts + ([f"the calls of {_count(unknown, 'proxy')} are unknown"] if unknown else []))

    @property
    def _tried(self) -> str:
        shown = ", ".join(self.names[:3])
        return f"{shown} and {len(self.names) - 3} more" if len(self.names) > 3 else shown

    def summary(self) -> Table:
        """A row per proxy, as one reads it: before → after; those that lose most calls first."""
        import pandas as pd

        rows = [
            {
                "proxy": row.proxy,
                "sidecar": f"{_text(row.sidecar_before)} → {_text(row.sidecar)}",
                "catch_all": row.catch_all if isinstance(row.catch_all, str) else "unknown",
                "clusters": _both(row.clusters_before, row.clusters_after),
                "endpoints": _both(row.endpoints_before, row.endpoints_after),
                "bytes": _both(*_bytes(row)),
                "requests_lost": _lost(row),
            }
            for row in self.proxies.sort_values(list(_WORST), ascending=list(_WORST.values())).itertuples()
        ]
        frame = pd.DataFrame(rows, columns=list(_SHOWN)).rename(columns=_SHOWN)
        title = f"What {self._tried} would change: {self.verdict}" if self.names else self.verdict.capitalize()
        return table(frame, title=title)

    def lost_calls(self) -> Table:
        """Calls that were seen and would not go on as now: that fail, go past the mesh, or lose rules."""
        rows = self.calls[self.calls.verdict != "stays"]
        rows = rows.assign(place=rows.verdict.map({verdict: place for place, verdict in enumerate(_ENDS)}))
        rows = rows.sort_values(["place", "requests", "rate"], ascending=[True, False, False], ignore_index=True)
        shown = [name for name in _CALLS if name not in ("requests", "rate", "last_seen") or rows[name].notna().any()]
        return table(rows[shown], title=f"Calls that would not go on as now: {len(rows)}")

    def gone(self) -> Table:
        """What goes and comes, resource by resource, the largest first; `.changes` has it proxy by proxy."""
        groups = self.changes.groupby(["change", "type", "name"], sort=False, as_index=False)
        rows = groups.agg(proxies=("proxy", "nunique"), bytes=("bytes", "sum"))
        rows["bytes"] = rows.bytes.where(rows.change == "goes")
        rows = rows.sort_values(["change", "bytes", "name"], ascending=[False, False, True], ignore_index=True)
        return table(rows, title=f"Resources that change, with the bytes of all proxies: {len(rows)}", limit=40)

    def next_steps(self) -> Facts:
        """What to do next, by what was found."""
        broken = self.calls[self.calls.verdict == "breaks"]
        goes = self._goes("cluster").dropna(subset=["service_namespace"])
        spaces = dict(zip(goes.host, goes.service_namespace, strict=True))
        hosts = list(dict.fromkeys(map(str, broken.host)))
        own = [f"{spaces[host]}/{host}" for host in hosts if host in spaces]
        rest = [host for host in hosts if host not in spaces]
        steps = {}
        if own:
            steps["Add to egress hosts"] = ", ".join(own)
        if rest:
            steps["Needs a ServiceEntry that is imported, or an egress host"] = ", ".join(rest)
        blind = self.proxies.proxy[(self.proxies.calls == "unknown") | self.proxies.clusters_before.isna()]
        if len(blind):
            shown = ", ".join(blind[:3]) + (" …" if len(blind) > 3 else "")
            steps["Capture config dumps, access logs"] = f"meshnb capture, then ask again: {shown}"
        if self.calls.empty and len(blind) < len(self.proxies):
            steps["Capture a longer log"] = "of none that could be looked at a call was seen; quiet is no proof"
        elif not own and not rest and len(self.proxies):
            wait = "when those are known, " if len(blind) else ""
            steps["Apply it"] = f"{wait}one workload first; capture again and compare: .measured(meshnb.open(AFTER))"
        return facts(steps, title="What to do next")

    def unknowns(self) -> Facts:
        """What could not be said, and of how many proxies."""
        counts: dict[str, int] = {}
        for reasons in self.proxies.unknown:
            for reason in reasons:
                counts[reason] = counts.get(reason, 0) + 1
        of = len(self.proxies)
        return facts({reason: f"{count} of {_count(of, 'proxy')}" for reason, count in counts.items()}, title=_UNSAID)

    @returns(SIDECAR_COMPARED)
    def measured(self, after: SidecarTables) -> pd.DataFrame:
        """The prediction beside what another snapshot has, taken after the Sidecars were applied.

        A proxy whose pod is gone is compared with another pod of its workload.

        Args:
            after: the mesh after the change.

        Example:
            >>> import meshnb
            >>> mesh = meshnb.open("demo")
            >>> everything = {"kind": "Sidecar", "metadata": {"name": "all", "namespace": "istioinaction"}, "spec": {}}
            >>> set(mesh.sidecar_what_if(everything).measured(mesh).error)
            {0.0}
        """
        known, config_of = after._known, after._config_of
        there = {one.name: one for one in known.proxies}
        rows = []
        for row in self.proxies[self.proxies.clusters_before.notna()].itertuples():
            names = [row.proxy] if row.proxy in there else []
            names += [n for n, one in there.items() if (one.namespace, one.workload) == (row.namespace, row.workload)]
            config = next(((name, found) for name in names if (found := config_of(name)) is not None), None)
            rows.append(_compared(row, self.predicted.clusters[row.proxy], config))
        return SIDECAR_COMPARED.rows(rows)

    def __repr__(self) -> str:
        return f"<SidecarWhatIf {self._tried or 'of nothing'}: {self.verdict}>"

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, Any]:
        parts: list[Table | Facts] = [self.summary()]
        parts += [shown for shown in (self.lost_calls(), self.gone()) if len(shown)]
        parts += [shown for shown in (self.unknowns(), self.next_steps()) if shown.facts]
        bundles = [part._repr_mimebundle_() for part in parts]
        return {name: "\n\n".join(bundle[name] for bundle in bundles) for name in ("text/plain", "text/html")}


def _compared(row: Any, clusters: tuple[frozenset[str], frozenset[str]], config: Any) -> dict[str, Any]:
    before, predicted = clusters
    result: dict[str, Any] = {
        "proxy": row.proxy,
        "clusters_before": row.clusters_before,
        "clusters_predicted": row.clusters_after,
        "stayed": [],
        "gone": [],
    }
    if config is None:
        return result
    name, found = config
    measured = frozenset(map(str, found.clusters.cluster))
    with_eds = _int(row.bytes_before) is not None and found.has_endpoints
    suffix = "" if with_eds else "_without_eds"
    total = found.sizes if with_eds else found.sizes[found.sizes.section != "endpoints"]
    size = int(total.bytes.sum())
    guess = _int(getattr(row, f"bytes_after{suffix}"))
    return result | {
        "measured_proxy": name,
        "clusters_measured": len(measured),
        "stayed": sorted((before - predicted) & measured),
        "gone": sorted(predicted - measured),
        "bytes_before": _int(getattr(row, f"bytes_before{suffix}")),
        "bytes_predicted": guess,
        "bytes_measured": size,
        "error": None if guess is None else guess / size - 1,
    }


def _bytes(row: Any) -> tuple[Any, Any]:
    if _int(row.bytes_before) is not None:
        return row.bytes_before, row.bytes_after
    return row.bytes_before_without_eds, row.bytes_after_without_eds


def _int(value: Any) -> int | None:
    import pandas as pd

    return None if pd.isna(value) else int(value)


def _both(before: Any, after: Any) -> str:
    texts = ["unknown" if _int(value) is None else f"{int(value):,}" for value in (before, after)]
    return " → ".join(texts)


def _count(number: int, what: str) -> str:
    plural = f"{what[:-1]}ies" if what.endswith("y") else f"{what}s"
    return f"{number:,} {what if number == 1 else plural}"


def _seen(calls: pd.DataFrame) -> str:
    """How many calls, to how many hosts; rates have no number of calls."""
    hosts = _count(calls.host.nunique(), "host")
    told = calls.requests.dropna()
    return f"{_count(int(told.sum()), 'call')} seen to {hosts}" if len(told) else f"calls to {hosts}"


def _text(value: Any) -> str:
    return value if isinstance(value, str) else "none"


def _lost(row: Any) -> str:
    if row.calls == "unknown":
        return "unknown"
    if row.calls == "metrics":
        return f"those to {_count(row.hosts_lost, 'host')}"
    return f"{row.requests_lost:,} of {row.requests:,}" if row.requests else "none seen"
