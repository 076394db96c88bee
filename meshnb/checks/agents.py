"""Does the agent beside each Envoy play its roles: health, metrics, DNS, probes?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from meshnb.checks.registry import check, passed
from meshnb.checks.states import in_use
from meshnb.checks.sync import proxy_subject
from meshnb.model.finding import Evidence, Finding, Fix, Severity, Status, Subject

if TYPE_CHECKING:
    import pandas as pd


_PROBES = "mesh.probe_replays()"


def of_proxies(proxies: pd.Series, what: str) -> Subject:
    """The proxy a fault is of; of several with the same fault all of them at once, told by what they have in common."""
    names = sorted(set(proxies))
    if len(names) == 1:
        return proxy_subject(names[0])
    spaces = {name.rpartition(".")[2] for name in names}
    return Subject("Proxies", what, spaces.pop() if len(spaces) == 1 else "")


@check("MNB0406", "Is every agent ready?", requires=["agents"])
def ready(agents: pd.DataFrame) -> Iterator[Finding]:
    """Configuration received and identity issued, as the agent itself says."""
    if agents.ready.all():
        yield passed("MNB0406", f"All {len(agents)} agents are ready: their Envoys have configuration and identity.")
    waiting = agents[~agents.ready]
    # counters differ from pod to pod where the reason is one
    for _, rows in waiting.groupby(waiting.reason.str.replace(r"\d+", "#", regex=True), dropna=False):
        lacking = (rows.config_received == False).fillna(False).any()  # noqa: E712 - missing is not false
        reason = rows.reason.iloc[0]
        yield Finding(
            "MNB0406",
            Status.FAIL,
            Severity.ERROR,
            of_proxies(rows.proxy, "not ready"),
            f"Its agent is not ready: {reason}" if len(rows) == 1 else f"{len(rows)} agents are not ready: {reason}",
            cause="Envoy has no clusters or no listeners yet: istiod is not reached, or Envoy rejects what it sends."
            if lacking
            else "The agent says why. Kubernetes keeps the pod out of its Services meanwhile.",
            evidence=(Evidence.of("What they answer.", rows, source="mesh.agents()"),),
            fix=(
                Fix("meshnb run proxy-out-of-sync", kind="command", note="Is it up to date, and what did it reject?"),
            ),
            verify="kubectl exec POD -c istio-proxy -- curl -s localhost:15020/healthz/ready -i",
        )


@check(
    "MNB0407",
    "Do the merged metrics hold those of agent and Envoy?",
    requires=["agent_metrics"],
    severity=Severity.WARNING,
)
def merged(agent_metrics: pd.DataFrame) -> Iterator[Finding]:
    """A source that is missing from the merged answer is missing from Prometheus."""
    import pandas as pd

    counts = agent_metrics.groupby(["proxy", "emitter"]).size().unstack(fill_value=0)
    counts = counts.reindex(columns=sorted({"agent", "app", "envoy", *counts.columns}), fill_value=0)
    without = pd.Series(
        [" and ".join(who for who in ("agent", "envoy") if not row[who]) for _, row in counts.iterrows()], counts.index
    )
    lacking = counts[without != ""]
    for who, group in lacking.groupby(without[without != ""]):
        rows = group.reset_index()
        what = "Its merged metrics hold" if len(rows) == 1 else f"The merged metrics of {len(rows)} agents hold"
        yield Finding(
            "MNB0407",
            Status.FAIL,
            Severity.WARNING,
            of_proxies(rows.proxy, f"without metrics of {who}"),
            f"{what} none of {who}.",
            cause="The agent could not scrape Envoy's port 15090 in time, or metrics were left out by configuration.",
            evidence=(Evidence.of("Samples by emitter.", rows, source="mesh.agent_metrics()"),),
            verify="kubectl exec POD -c istio-proxy -- curl -s localhost:15020/stats/prometheus",
            confidence=0.8,
        )
    if lacking.empty:
        yield passed("MNB0407", f"{agent_metrics.proxy.nunique()} agents merge their own metrics and Envoy's.")


@check(
    "MNB0408",
    "Does every name the DNS proxy answers lead to a cluster?",
    requires=["dns_names", "clusters"],
    severity=Severity.INFO,
)
def names(dns_names: pd.DataFrame, clusters: pd.DataFrame) -> Iterator[Finding]:
    """Names of `ndsz` without a cluster in the same proxy."""
    clean, used = True, in_use(clusters)
    for proxy, rows in dns_names.dropna(subset=["proxy"]).groupby("proxy"):
        own = set(used.fqdn[used.proxy == proxy].dropna())
        lost = rows[~rows.name.isin(own)]
        if not own or lost.empty:
            continue
        clean = False
        yield Finding(
            "MNB0408",
            Status.FAIL,
            Severity.INFO,
            proxy_subject(str(proxy)),
            f"The DNS proxy answers {lost.name.nunique()} names for which its Envoy has no cluster.",
            cause="Pods of headless services have names of their own. For other names requests go to passthrough, or "
            "to nowhere under REGISTRY_ONLY.",
            evidence=(Evidence.of("The names.", lost, source="mesh.dns_names()"),),
            verify="istioctl proxy-config cluster POD",
            confidence=0.6,
        )
    if clean:
        yield passed("MNB0408", "Every name the DNS proxies answer leads to a cluster.")


@check("MNB0409", "Do the applications pass their probes, asked by way of the agent?", requires=["probe_replays"])
def probes(probe_replays: pd.DataFrame) -> Iterator[Finding]:
    """Rewritten probes asked as the kubelet asks them."""
    failed = probe_replays[~probe_replays.passes]
    if failed.empty:
        yield passed("MNB0409", f"All {len(probe_replays)} rewritten probes pass.")
    for row in failed.itertuples():
        pod, _, namespace = row.proxy.rpartition(".")
        yield Finding(
            "MNB0409",
            Status.FAIL,
            Severity.ERROR if row.probe != "startup" else Severity.WARNING,
            Subject("Pod", pod, namespace),
            f"The {row.probe} probe of container {row.container} fails: HTTP {row.status}.",
            cause=f"The application answers: {row.body}"
            if isinstance(row.body, str)
            else "The application says no more.",
            evidence=(
                Evidence.of(
                    "The answer.", probe_replays[probe_replays.proxy == row.proxy], source="mesh.probe_replays()"
                ),
            ),
            verify="kubectl exec POD -c istio-proxy -- curl -si localhost:15020/app-health/CONTAINER/livez",
        )
