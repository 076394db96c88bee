"""Pods behind Services → endpoints of the clusters, and the secrets of a proxy."""

from __future__ import annotations

from pathlib import Path

from meshnb.lab.inventory import Object, workload_of
from meshnb.lab.pki import VALID
from meshnb.lab.plan import CLUSTER_ID, Pod
from meshnb.lab.scope import scope_of
from meshnb.lab.xds.clusters import cluster_name
from meshnb.lab.xds.common import ENDPOINT, SECRET, Proxy, Resource


def endpoints(proxy: Proxy) -> list[Resource]:
    """One load assignment per outbound cluster."""
    found = []
    for host, service in scope_of(proxy.world, proxy.pod).services.items():
        rule = proxy.world.destination_rule(host)
        subsets = (rule["spec"].get("subsets") or []) if rule else []
        for name, labels in [("", {}), *((s["name"], s.get("labels") or {}) for s in subsets)]:
            pods = proxy.world.endpoints(host, labels)
            port = service["spec"]["ports"][0].get("targetPort", service["spec"]["ports"][0]["port"])
            found.append(_assignment(proxy, cluster_name(host, name), pods, port))
    return found


def _assignment(proxy: Proxy, name: str, pods: list[Object], port: int) -> Resource:
    result: Resource = {"@type": ENDPOINT, "cluster_name": name}
    if pods:
        result["endpoints"] = [
            {
                "locality": {"region": "lab", "zone": "lab-a"},
                "load_balancing_weight": len(pods),
                "lb_endpoints": [_endpoint(proxy, pod, port) for pod in pods],
            }
        ]
    return result


def _endpoint(proxy: Proxy, pod: Object, port: int) -> Resource:
    meta = pod["metadata"]
    labels, namespace = meta.get("labels") or {}, meta["namespace"]
    # as istiod: clients choose plain text for pods that take no mutual TLS
    mutual = proxy.world.mtls_mode(namespace, labels) != "DISABLE"
    app, version = labels.get("app", ""), labels.get("version", "")
    workload = workload_of(pod)
    return {
        "endpoint": {"address": {"socket_address": {"address": pod["status"]["podIP"], "port_value": port}}},
        "health_status": "HEALTHY",
        "load_balancing_weight": 1,
        "metadata": {
            "filter_metadata": {
                "istio": {"workload": f"{workload};{namespace};{app};{version};{CLUSTER_ID}"},
                # read by the stats access logger, which stands in for Istio's metadata exchange
                "lab": {"workload": workload, "namespace": namespace, "app": app, "version": version},
                **({"envoy.transport_socket_match": {"tlsMode": "istio"}} if mutual else {}),
            }
        },
    }


def secrets(pod: Pod, folder: Path, *, kind: str = VALID) -> dict[str, Resource]:
    """The secrets of a pod by name: its own certificate `default`, and the lab's CA `ROOTCA`.

    Args:
        pod: the pod.
        folder: where the certificates lie.
        kind: `valid`, `expired` or `foreign`.
    """
    root = (folder / "root-cert.pem").read_text(encoding="ascii")
    chain = (folder / f"{pod.proxy}.{kind}.crt").read_text(encoding="ascii")
    key = (folder / f"{pod.proxy}.{kind}.key").read_text(encoding="ascii")
    return {
        "default": {
            "@type": SECRET,
            "name": "default",
            "tls_certificate": {
                "certificate_chain": {"inline_string": chain},
                "private_key": {"inline_string": key},
            },
        },
        "ROOTCA": {
            "@type": SECRET,
            "name": "ROOTCA",
            "validation_context": {"trusted_ca": {"inline_string": root}},
        },
    }
