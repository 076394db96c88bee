"""Kubernetes objects as tables."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from meshnb.errors import FormatError
from meshnb.loaders.objects import (
    decode_objects,
    endpoint_slices_table,
    objects_table,
    pods_table,
    services_table,
)

POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {
        "name": "catalog-5d4f7c9b8-v1aaa",
        "namespace": "istioinaction",
        "creationTimestamp": "2026-11-23T09:00:00Z",
        "labels": {"app": "catalog", "version": "v1", "pod-template-hash": "5d4f7c9b8"},
        "ownerReferences": [{"kind": "ReplicaSet", "name": "catalog-5d4f7c9b8", "controller": True}],
    },
    "spec": {
        "nodeName": "node-1",
        "serviceAccountName": "catalog",
        "containers": [
            {"name": "catalog", "image": "istioinaction/catalog"},
            {"name": "istio-proxy", "image": "docker.io/istio/proxyv2:1.17.8", "args": ["proxy", "sidecar"]},
        ],
    },
    "status": {
        "phase": "Running",
        "podIP": "10.10.0.16",
        "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": "2026-11-23T09:00:09Z"}],
        "containerStatuses": [
            {"name": "catalog", "ready": True, "restartCount": 2},
            {"name": "istio-proxy", "ready": True, "restartCount": 1},
        ],
    },
}


def test_s10_37_a_pod_carries_address_labels_node_and_the_name_of_its_proxy():
    """S10-37: the pod behind an address, with labels and node."""
    pods = pods_table([POD]).set_index("ip")
    pod = pods.loc["10.10.0.16"]
    assert pod.proxy == "catalog-5d4f7c9b8-v1aaa.istioinaction"
    assert (pod.app, pod.version, pod.node, pod.workload, pod.workload_kind) == (
        "catalog",
        "v1",
        "node-1",
        "catalog",
        "Deployment",
    )
    assert json.loads(pod.labels)["pod-template-hash"] == "5d4f7c9b8"
    assert bool(pod.ready) and bool(pod.has_sidecar) and pod.proxy_type == "sidecar"
    assert pod.restarts == 3
    assert pod.created == datetime(2026, 11, 23, 9, tzinfo=UTC)


def test_a_native_sidecar_is_a_sidecar():
    spec = {
        "containers": [{"name": "catalog"}],
        "initContainers": [
            {"name": "istio-init"},
            {"name": "istio-proxy", "restartPolicy": "Always", "args": ["proxy", "router"]},
        ],
    }
    status = {"initContainerStatuses": [{"name": "istio-proxy", "ready": False, "restartCount": 0}]}
    pod = pods_table([{**POD, "spec": spec, "status": status}]).iloc[0]
    assert bool(pod.has_sidecar) and pod.proxy_type == "router"
    assert list(pod.containers) == ["catalog", "istio-proxy"]
    assert not pod.proxy_ready and not pod.ready


def test_a_pod_without_owner_address_or_status_has_missing_values():
    pod = pods_table([{"kind": "Pod", "metadata": {"name": "p", "namespace": "n"}}]).iloc[0]
    assert pod.workload == "p" and pod.workload_kind == "Pod"
    assert pods_table([{"kind": "Pod", "metadata": {"name": "p", "namespace": "n"}}]).ip.isna().all()
    assert not pod.has_sidecar and not pod.ready


@pytest.mark.parametrize("form", ["list", "typed list", "object", "yaml", "yaml documents"])
def test_every_form_of_objects_gives_the_same_table(form):
    import yaml

    bare = {key: value for key, value in POD.items() if key not in ("kind", "apiVersion")}
    text = {
        "list": lambda: json.dumps({"kind": "List", "apiVersion": "v1", "items": [POD]}),
        "typed list": lambda: json.dumps({"kind": "PodList", "apiVersion": "v1", "items": [bare]}),
        "object": lambda: json.dumps(POD),
        "yaml": lambda: yaml.safe_dump({"kind": "List", "apiVersion": "v1", "items": [POD]}, sort_keys=False),
        "yaml documents": lambda: yaml.safe_dump_all([POD, None], sort_keys=False),
    }[form]()
    assert pods_table(decode_objects(text)).equals(pods_table([POD]))
    assert (
        objects_table(decode_objects(text)).drop(columns="object").equals(objects_table([POD]).drop(columns="object"))
    )


@pytest.mark.parametrize(
    ("text", "position"),
    [
        ('{"kind": "PodList", "items": [{}, 7]}', "items[1]"),
        ('{"kind": "PodList", "items": {}}', "items"),
        ("[1, 2", ""),
        ("[]", ""),
        ("a: [", ""),
        ("just text", ""),
    ],
)
def test_what_is_no_object_is_an_error_that_names_the_place(text, position):
    with pytest.raises(FormatError) as caught:
        decode_objects(text, file="pods.json")
    assert caught.value.file == "pods.json"
    assert caught.value.position == position


def test_a_field_of_the_wrong_shape_is_an_error_that_names_the_object():
    with pytest.raises(FormatError, match="Pod istioinaction/catalog-5d4f7c9b8-v1aaa"):
        pods_table([{**POD, "spec": "text"}])


def test_a_service_knows_its_full_name():
    service = {
        "kind": "Service",
        "metadata": {"name": "catalog", "namespace": "istioinaction"},
        "spec": {"clusterIP": "None", "selector": {"app": "catalog"}, "ports": [{"name": "http", "port": 80}]},
    }
    row = services_table([service, POD]).iloc[0]
    assert row.host == "catalog.istioinaction.svc.cluster.local"
    assert bool(row.headless) and row.type == "ClusterIP"


def test_an_endpoint_slice_gives_a_row_for_each_address_and_port():
    endpoints = [
        {
            "addresses": ["10.10.0.16"],
            "conditions": {"ready": True, "serving": True, "terminating": False},
            "nodeName": "node-1",
            "targetRef": {"kind": "Pod", "name": "catalog-5d4f7c9b8-v1aaa"},
        },
        {"addresses": ["10.10.0.17"], "conditions": {"ready": False}},
        {"addresses": ["10.10.0.18"], "conditions": {}},
    ]
    thing = {
        "kind": "EndpointSlice",
        "metadata": {
            "name": "catalog-x",
            "namespace": "istioinaction",
            "labels": {"kubernetes.io/service-name": "catalog"},
        },
        "addressType": "IPv4",
        "endpoints": endpoints,
        "ports": [{"name": "http", "port": 3000}, {"name": "metrics", "port": 9090}],
    }
    table = endpoint_slices_table([thing])
    assert len(table) == 6
    first = table[table.port_name == "http"].set_index("address")
    assert first.ready.tolist() == [True, False, True]  # unset counts as ready
    assert first.loc["10.10.0.16", "pod"] == "catalog-5d4f7c9b8-v1aaa"
    assert first.service.unique().tolist() == ["catalog"]
