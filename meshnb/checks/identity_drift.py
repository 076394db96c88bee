"""Do subsets and identities still fit the pods behind a service?"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING

from meshnb.checks.registry import check, passed
from meshnb.model.finding import Evidence, Finding, Severity, Status, Subject

if TYPE_CHECKING:
    import pandas as pd


def behind(service_labels: str, namespace: str, pods: pd.DataFrame) -> pd.DataFrame:
    """Live pods a selector picks; none if there is no selector."""
    selector = json.loads(service_labels)
    own = pods[(pods.namespace == namespace) & (pods.phase == "Running") & ~pods.terminating]
    if not selector:
        return own.iloc[:0]
    return own[[selector.items() <= json.loads(text).items() for text in own.labels]]


@check(
    "MNB0415",
    "Does every subset have a pod?",
    requires=["destination_rules", "services", "pods"],
    severity=Severity.WARNING,
)
def subsets(destination_rules: pd.DataFrame, services: pd.DataFrame, pods: pd.DataFrame) -> Iterator[Finding]:
    """Subsets whose labels no running pod of the service carries: the labels drifted, or the version is gone."""
    clean, count = True, 0
    by_host = {service.host: service for service in services.itertuples()}
    for rule in destination_rules[destination_rules.subset.notna()].itertuples():
        service = by_host.get(rule.host)
        if service is None:
            continue
        count += 1
        labels = json.loads(rule.labels)
        chosen = behind(service.selector, service.namespace, pods)
        if any(labels.items() <= json.loads(text).items() for text in chosen.labels):
            continue
        clean = False
        found = sorted({f"{k}={json.loads(t)[k]}" for k in labels for t in chosen.labels if k in json.loads(t)})
        there = f"; the pods have {', '.join(found)}" if found else f"; none of its {len(chosen)} pods has such a label"
        yield Finding(
            "MNB0415",
            Status.FAIL,
            Severity.WARNING,
            Subject("DestinationRule", f"{rule.destination_rule} {rule.subset}", rule.namespace),
            f"No running pod of {rule.host} has the labels of subset {rule.subset}, {rule.labels}{there}.",
            cause="Requests routed to the subset fail with UH, no healthy upstream: its cluster is there and empty.",
            evidence=(Evidence.of("The pods of the service.", chosen[["pod", "labels"]], source="mesh.pods()"),),
            verify=f"kubectl -n {service.namespace} get pods --show-labels",
        )
    if clean:
        yield passed("MNB0415", f"Each of the {count} subsets has a running pod.")


@check(
    "MNB0416",
    "Do proxies accept the identities of the pods behind a service?",
    requires=["clusters", "services", "pods"],
)
def identities(clusters: pd.DataFrame, services: pd.DataFrame, pods: pd.DataFrame) -> Iterator[Finding]:
    """Service accounts of pods against the names (SANs) the clusters of a service accept."""
    clean = True
    hosts = {service.host: service for service in services.itertuples()}
    own = clusters[clusters.fqdn.isin(list(hosts)) & (clusters.direction == "outbound") & (clusters.state == "active")]
    own = own[[names is not None and len(names) > 0 for names in own.sans]]
    for host, rows in own.groupby("fqdn"):
        service = hosts[str(host)]
        chosen = behind(service.selector, service.namespace, pods)
        chosen = chosen[chosen.has_sidecar]
        for accepted, group in rows.groupby(["\n".join(sorted(names)) for names in rows.sans]):
            names = str(accepted).split("\n")
            ends = {f"/ns/{p.namespace}/sa/{p.service_account}": p.pod for p in chosen.itertuples()}
            refused = {end: pod for end, pod in ends.items() if not any(str(san).endswith(end) for san in names)}
            if not refused:
                continue
            clean = False
            proxies = sorted(set(group.proxy))
            accounts = ", ".join(end.rpartition("/")[2] for end in sorted(refused))
            yield Finding(
                "MNB0416",
                Status.FAIL,
                Severity.ERROR,
                Subject("Service", service.service, service.namespace),
                f"{len(proxies)} proxies accept other identities than that of its pods: service account {accounts} "
                "is not among them.",
                cause="The workload's service account was changed and the proxies were not told, or a DestinationRule "
                "pins subjectAltNames. The TLS handshake fails: 503 with UF and CERTIFICATE_VERIFY_FAILED.",
                evidence=(
                    Evidence(
                        "Accepted names.",
                        tuple({"san": san} for san in accepted[:10]),
                        "mesh.clusters()",
                        len(accepted),
                    ),
                    Evidence.of("The pods.", chosen[["pod", "service_account"]], source="mesh.pods()"),
                    Evidence.of("The proxies.", group[["proxy", "cluster"]], source="mesh.clusters()"),
                ),
                verify="istioctl proxy-config cluster POD -o json | grep -A3 san",
                confidence=0.9,
            )
    if clean:
        yield passed("MNB0416", f"Clusters of {own.fqdn.nunique()} services accept the identities of their pods.")
