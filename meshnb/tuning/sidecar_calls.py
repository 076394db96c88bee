"""What would become of the calls a proxy was seen to make, if it knew other services."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from meshnb.envoy.sidecar_scope import ALLOW_ANY, CATCH_ALL, REGISTRY_ONLY, Scope
from meshnb.tuning.sidecar_changes import CATCH_ALL_HOSTS, Config, dynamic_hosts, host_of, namespace_of

if TYPE_CHECKING:
    import pandas as pd

    from meshnb.tuning.sidecar_what_if import Observed, Proxy

STAYS, BREAKS, BYPASSES, CHANGES, FAILS = "stays", "breaks", "bypasses", "loses rules", "fails already"
OPEN = "unknown"
_PASSTHROUGH, _BLACK_HOLE = "PassthroughCluster", "BlackHoleCluster"
_BYPASS = (
    "PassthroughCluster sends it to the address the client looked up: without mutual TLS, rules, retries and subsets; "
    "a workload that takes mutual TLS alone, or asks who calls, refuses it"
)


def calls(
    proxy: Proxy,
    limit: Scope,
    config: Config | None,
    found: list[dict[str, Any]],
    observed: Observed,
    strict: frozenset[str] | None,
) -> list[dict[str, Any]]:
    """The rows of `SIDECAR_CALLS` of one proxy, those that break first.

    Args:
        proxy: the proxy.
        limit: what it would know.
        config: what it has; `None` without a config dump.
        found: what would go and come, as from `changes`.
        observed: what is known of calls.
        strict: namespaces whose pods take mutual TLS alone; `None` if that is not known.
    """
    source = observed.source(proxy)[0]
    if source == "unknown":
        return []
    judge = _Judge(limit, config, found, strict)
    if source == "access log" and observed.calls is not None:
        rows = list(_logged(observed.calls[observed.calls.proxy == proxy.name], judge))
    else:
        rows = list(_measured(observed.rates_of(proxy), judge, config))
    rank = {verdict: place for place, verdict in enumerate((BREAKS, OPEN, BYPASSES, CHANGES, FAILS, STAYS))}
    rows.sort(key=lambda row: (rank[row["verdict"]], -(row.get("requests") or 0), row["host"]))
    return [{"proxy": proxy.name, "source": source, **row} for row in rows]


def _logged(rows: pd.DataFrame, judge: _Judge) -> Iterator[dict[str, Any]]:
    groups: dict[tuple[str, int | None, str, str], list[Any]] = {}
    for row in rows.itertuples():
        authority = row.authority if isinstance(row.authority, str) else ""
        host = row.host if isinstance(row.host, str) else host_of(authority)[0] or str(row.cluster)
        port = int(row.port) if isinstance(row.port, int) else None
        verdict, expects = judge.of(str(row.cluster), host, port, authority)
        groups.setdefault((host, port, verdict, expects), []).append(row)
    for (host, port, verdict, expects), group in groups.items():
        yield {
            "host": host,
            "port": port,
            "verdict": verdict,
            "expects": expects,
            "requests": sum(row.requests for row in group),
            "first_seen": min(row.first_seen for row in group),
            "last_seen": max(row.last_seen for row in group),
        }


def _measured(rates: pd.DataFrame, judge: _Judge, config: Config | None) -> Iterator[dict[str, Any]]:
    """Calls as metrics count them; what the proxy has no cluster of is passed through, or refused, already."""
    rest = "" if config is None else CATCH_ALL.get(config.policy, "")
    for host, rate in rates.groupby("destination_service").rate.sum().items():
        if not rate > 0:
            continue
        if host == "unknown":
            verdict, expects = OPEN, "the metric names no service"
        else:
            known = config is None or host in judge.spaces
            cluster = str(host) if host in (_PASSTHROUGH, _BLACK_HOLE) else "" if known else rest
            verdict, expects = judge.of(cluster, str(host), None, "")
        yield {"host": str(host), "port": None, "verdict": verdict, "expects": expects, "rate": float(rate)}


class _Judge:
    """What would become of single calls.

    Args:
        limit: what the proxy would know.
        config: what it has.
        found: what would go and come.
        strict: namespaces whose pods take mutual TLS alone; `None` if that is not known.
    """

    def __init__(
        self, limit: Scope, config: Config | None, found: list[dict[str, Any]], strict: frozenset[str] | None
    ) -> None:
        self.limit, self.strict = limit, strict
        self.domains = {} if config is None else _domains(config)
        self.spaces = {} if config is None else {str(r.fqdn): namespace_of(r) for r in config.outbound.itertuples()}
        self.gone = {row["name"] for row in found if row["type"] == "virtual_host" and row["change"] == "goes"}
        self.rules = {row["name"]: row["virtual_service"] for row in found if row["change"] == "loses rules"}
        # a port whose route configuration stays answers itself; else the connection ends at the catch-all listener
        stay = {name for names in self.domains.values() for name in names} - self.gone
        self.served = {host_of(name)[1] for name in stay}

    def of(self, cluster: str, host: str, port: int | None, authority: str) -> tuple[str, str]:
        """Verdict and what the caller would see.

        Args:
            cluster: cluster it went to.
            host: host of the service.
            port: its port; `None` if not known.
            authority: host asked for, empty for TCP.
        """
        if cluster == _BLACK_HOLE or host == _BLACK_HOLE:
            return FAILS, "BlackHoleCluster gets it now"
        if cluster == _PASSTHROUGH or host == _PASSTHROUGH:
            if self.limit.policy == REGISTRY_ONLY:
                return BREAKS, self._refused(host_of(authority)[1] or 80, authority)
            return (STAYS, "PassthroughCluster gets it as now") if self.limit.policy else (OPEN, _open())
        named = self._named(authority, port)
        if not named or named <= self.gone:
            if not named and self._known(host, port):
                return STAYS, "it is still known"
        elif lost := sorted({self.rules[name] for name in named if name in self.rules}):
            return CHANGES, f"{authority} is reached without the rules of VirtualService {', '.join(lost)}"
        elif self._known(host, port):
            return STAYS, "it is still known"
        else:
            return BREAKS, "503 NC: its route stays, and the cluster it leads to goes"
        return self._rest(host, port, authority)

    def _rest(self, host: str, port: int | None, authority: str) -> tuple[str, str]:
        """What becomes of a call to what is no longer known."""
        if self.limit.policy == REGISTRY_ONLY:
            return BREAKS, self._refused(port or 80, authority)
        if self.limit.policy != ALLOW_ANY:
            return OPEN, _open()
        if self.strict is None:
            return BYPASSES, f"{_BYPASS}; no PeerAuthentications were captured that would tell"
        if self._space(host) in self.strict:
            return BREAKS, f"{_BYPASS}; a PeerAuthentication of {self._space(host)} takes mutual TLS alone"
        return BYPASSES, _BYPASS

    def _named(self, authority: str, port: int | None) -> set[str]:
        """Virtual hosts that take an authority, those of its port if any do; as Envoy has it the longest wildcard."""
        host = host_of(authority)[0]
        wild = (f"*{host[at:]}" for at in range(1, len(host)) if host[at] in ".-")
        found = next((held for name in (authority, host, *wild) if (held := self.domains.get(name))), set())
        return {name for name in found if host_of(name)[1] == port} or found

    def _known(self, host: str, port: int | None) -> bool:
        return host in self.limit.services if port is None else self.limit.knows(host, port)

    def _space(self, host: str) -> str:
        visible = self.limit.services.get(host)
        parts = host.split(".")
        named = parts[1] if len(parts) > 2 and parts[2] == "svc" else ""
        return visible.service.namespace if visible else self.spaces.get(host, named)

    def _refused(self, port: int, authority: str) -> str:
        if authority and port in self.served:
            return "502 from block_all: the port still serves other hosts"
        return "the connection ends at BlackHoleCluster (502 if the port still has routes)"


def _open() -> str:
    return "refused under REGISTRY_ONLY, passed through under ALLOW_ANY: MeshConfig is not known"


def _domains(config: Config) -> dict[str, set[str]]:
    """Virtual hosts by domain: those that take an authority."""
    found: dict[str, set[str]] = {}
    rows = dynamic_hosts(config).drop_duplicates(["route_config", "virtual_host"])
    for row in rows.itertuples():
        if row.virtual_host not in CATCH_ALL_HOSTS:
            for domain in row.domains:
                found.setdefault(str(domain), set()).add(str(row.virtual_host))
    return found
