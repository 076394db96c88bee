"""The Kubernetes objects of the lab: namespaces, Deployments, pods, Services, and the EndpointSlices they make."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.resources import files
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from meshnb.lab.plan import APP_PORT, CONTROL_PLANE_POD, GATEWAY_PORT, PODS, Plan, Pod

Object = dict[str, Any]

CREATED = "2026-01-01T00:00:00Z"
NODE = "lab-node"
_SERVICES = {
    ("istio-system", "istio-ingressgateway"): ("10.96.40.10", GATEWAY_PORT, {"istio": "ingressgateway"}),
    ("istioinaction", "catalog"): ("10.96.40.11", APP_PORT, {"app": "catalog"}),
    ("istioinaction", "webapp"): ("10.96.40.12", APP_PORT, {"app": "webapp"}),
}


def healthy_objects(plan: Plan) -> list[Object]:
    """All objects of the healthy lab, Istio's from `manifests/healthy.yaml`."""
    return [*kubernetes_objects(plan), *manifest("healthy")]


def manifest(name: str) -> list[Object]:
    """Objects of one file in `manifests/`."""
    import yaml

    text = (files("meshnb.lab") / "manifests" / f"{name}.yaml").read_text(encoding="utf-8")
    return [document for document in yaml.safe_load_all(text) if document]


def kubernetes_objects(plan: Plan) -> list[Object]:
    """Namespaces, Deployments, pods and Services."""
    objects: list[Object] = [_namespace(name) for name in ("istio-system", "istioinaction")]
    workloads: dict[tuple[str, str], list[Pod]] = {}
    for pod in PODS:
        workloads.setdefault((pod.namespace, pod.workload), []).append(pod)
    objects += [_deployment(pods) for pods in workloads.values()]
    objects += [_pod(pod, plan.ip(pod)) for pod in PODS]
    objects.append(_control_plane_pod(plan))
    for (namespace, name), (cluster_ip, target, selector) in _SERVICES.items():
        objects.append(
            {
                "apiVersion": "v1",
                "kind": "Service",
                "metadata": _meta(name, namespace, {"app": name}),
                "spec": {
                    "type": "ClusterIP",
                    "clusterIP": cluster_ip,
                    "selector": selector,
                    "ports": [{"name": "http", "port": 80, "protocol": "TCP", "targetPort": target}],
                },
            }
        )
    return objects


def _meta(name: str, namespace: str = "", labels: dict[str, str] | None = None) -> Object:
    meta: Object = {"name": name, "creationTimestamp": CREATED}
    if namespace:
        meta["namespace"] = namespace
    if labels:
        meta["labels"] = labels
    return meta


def _namespace(name: str) -> Object:
    labels = {"kubernetes.io/metadata.name": name}
    if name == "istioinaction":
        labels["istio-injection"] = "enabled"
    return {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": _meta(name, labels=labels),
        "status": {"phase": "Active"},
    }


def _deployment(pods: list[Pod]) -> Object:
    pod, count = pods[0], len(pods)
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": _meta(pod.workload, pod.namespace, pod.all_labels),
        "spec": {
            "replicas": count,
            "selector": {"matchLabels": {"app": pod.app, "version": pod.version}},
            "template": {
                "metadata": {"labels": pod.all_labels},
                "spec": {"serviceAccountName": pod.service_account, "containers": [_container(pod)]},
            },
        },
        "status": {"replicas": count, "readyReplicas": count, "availableReplicas": count},
    }


def _container(pod: Pod) -> Object:
    if pod.is_gateway:
        return {"name": "istio-proxy", "image": "lab/envoy", "ports": [{"containerPort": GATEWAY_PORT}]}
    return {
        "name": pod.app,
        "image": f"lab/{pod.app}:{pod.version}",
        "ports": [{"containerPort": APP_PORT, "name": "http", "protocol": "TCP"}],
    }


def _pod(pod: Pod, address: str) -> Object:
    containers = [_container(pod)]
    if not pod.is_gateway:
        containers.append({"name": "istio-proxy", "image": "lab/envoy"})
    template_hash = pod.name.removeprefix(f"{pod.workload}-").rpartition("-")[0]
    meta = _meta(pod.name, pod.namespace, {**pod.all_labels, "pod-template-hash": template_hash})
    owner = pod.name.rpartition("-")[0]
    uid = str(uuid5(NAMESPACE_URL, f"ReplicaSet/{pod.namespace}/{owner}"))
    meta["ownerReferences"] = [
        {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": owner, "uid": uid, "controller": True}
    ]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": meta,
        "spec": {"nodeName": NODE, "serviceAccountName": pod.service_account, "containers": containers},
        "status": _running(address, containers),
    }


def _control_plane_pod(plan: Plan) -> Object:
    container = {"name": "controlplane", "image": "lab/controlplane"}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": _meta(CONTROL_PLANE_POD, "istio-system", {"app": "lab-controlplane"}),
        "spec": {"nodeName": NODE, "serviceAccountName": "lab-controlplane", "containers": [container]},
        "status": _running(plan.control_plane, [container]),
    }


def _running(address: str, containers: Iterable[Object]) -> Object:
    return {
        "phase": "Running",
        "podIP": address,
        "podIPs": [{"ip": address}],
        "hostIP": "127.0.0.1",
        "startTime": CREATED,
        "conditions": [{"type": "Ready", "status": "True"}],
        "containerStatuses": [
            {
                "name": container["name"],
                "image": container["image"],
                # nothing is pulled in the lab
                "imageID": "",
                "ready": True,
                "restartCount": 0,
                "state": {"running": {"startedAt": CREATED}},
            }
            for container in containers
        ],
    }


def endpoint_slices(services: Iterable[Object], pods: Iterable[Object]) -> list[Object]:
    """What the endpoint controller of Kubernetes would make of Services and pods."""
    pods = list(pods)
    return [_endpoint_slice(service, pods) for service in services]


def _endpoint_slice(service: Object, pods: list[Object]) -> Object:
    meta, spec = service["metadata"], service["spec"]
    selected = [
        pod
        for pod in pods
        if pod["metadata"].get("namespace") == meta["namespace"] and matches(spec.get("selector") or {}, pod)
    ]
    labels = {
        "kubernetes.io/service-name": meta["name"],
        "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
    }
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": _meta(f"{meta['name']}-lab", meta["namespace"], labels),
        "addressType": "IPv4",
        "ports": [
            {"name": port.get("name", ""), "port": port.get("targetPort", port["port"]), "protocol": "TCP"}
            for port in spec["ports"]
        ],
        "endpoints": [
            {
                "addresses": [pod["status"]["podIP"]],
                "conditions": {"ready": is_ready(pod), "serving": is_ready(pod), "terminating": False},
                "nodeName": pod["spec"].get("nodeName", NODE),
                "targetRef": {
                    "kind": "Pod",
                    "name": pod["metadata"]["name"],
                    "namespace": pod["metadata"]["namespace"],
                },
                "zone": "lab-a",
            }
            for pod in selected
        ],
    }


def matches(selector: dict[str, str], pod: Object) -> bool:
    """Whether a pod has all labels of a selector; an empty selector selects nothing, as in a Service."""
    labels = pod["metadata"].get("labels") or {}
    return bool(selector) and all(labels.get(key) == value for key, value in selector.items())


def workload_of(pod: Object) -> str:
    """The workload of a pod, from the name of the ReplicaSet that owns it; without one its own name."""
    name = str(pod["metadata"]["name"])
    owner = (pod["metadata"].get("ownerReferences") or [{"name": name}])[0]["name"]
    return str(owner).rpartition("-")[0] or name


def is_ready(pod: Object) -> bool:
    """Whether the pod's condition `Ready` is true."""
    conditions = pod.get("status", {}).get("conditions", [])
    return any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)
