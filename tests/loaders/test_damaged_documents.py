"""Damaged and foreign documents are errors that name them, never a crash."""

from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from meshnb.errors import FormatError
from meshnb.loaders import controlz, istiod_debug, istiod_debug_services, mesh_config
from meshnb.loaders.istio_objects import destination_rules_table, gateways_table, virtual_services_table
from meshnb.loaders.istioctl_analyze import read_analysis
from meshnb.loaders.objects import decode_objects, endpoint_slices_table, objects_table, pods_table, services_table
from meshnb.loaders.pod_settings import istiods_table, proxy_metadata_table
from meshnb.loaders.probes import probes_table
from meshnb.loaders.syncz import read_syncz
from meshnb.sources.snapshot import Snapshot


def of_objects(table):
    return lambda data: table(decode_objects(data, file="f"), file="f")


DEMO = Snapshot.open("demo")


def recorded(suffix):
    return json.loads(DEMO.read(next(d for d in DEMO.documents() if d.path.endswith(suffix))))


PROBE = {"httpGet": {"path": "/ready", "port": 8080}, "periodSeconds": 3}
ISTIOD = {
    "kind": "Pod",
    "metadata": {"name": "istiod-1", "namespace": "istio-system", "labels": {"app": "istiod"}},
    "spec": {
        "containers": [
            {
                "name": "discovery",
                "image": "docker.io/istio/pilot:1.17.8",
                "args": ["discovery", "--monitoringAddr=:15014", "--domain", "cluster.local"],
                "env": [{"name": "REVISION", "value": "default"}, {"name": "PILOT_TRACE_SAMPLING", "value": "1"}],
                "readinessProbe": PROBE,
            }
        ]
    },
    "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]},
}
ENDPOINT = {"Addresses": ["1.1.1.1"], "EndpointPort": 1, "Labels": {"a": "b"}, "HealthStatus": 1}
CASES = {
    "syncz": (lambda d: read_syncz(d, file="f"), recorded("syncz.json")),
    "adsz": (lambda d: istiod_debug.read_adsz(d, file="f"), recorded("adsz.json")),
    "watches": (lambda d: istiod_debug.read_watches(d, file="f"), recorded("adsz.json")),
    "authorizationz": (
        lambda d: istiod_debug.read_authorizationz(d, file="f"),
        {"authorization_policies": {"namespace_to_policies": {"n": [{"name": "x", "spec": {"rules": [{}]}}]}}},
    ),
    "push_status": (lambda d: istiod_debug.read_push_status(d, file="f"), {"p": {"s": {"proxy": "a", "message": "m"}}}),
    "shards": (
        lambda d: istiod_debug_services.read_endpoint_shards(d, file="f"),
        {"h.n.svc.cluster.local": {"n": {"Shards": {"Kubernetes/k": [ENDPOINT]}}}},
    ),
    "ndsz": (lambda d: istiod_debug_services.read_ndsz(d, file="f"), {"table": {"a": {"ips": ["1.1.1.1"]}}}),
    "registryz": (
        lambda d: istiod_debug_services.read_registryz(d, file="f"),
        [{"hostname": "h", "Attributes": {"Name": "n"}, "clusterVIPs": {"Addresses": {"k": ["1.1.1.1"]}}, "ports": []}],
    ),
    "mesh": (lambda d: mesh_config.read_mesh_config(d, file="f"), {"defaultConfig": {"concurrency": 2}}),
    "controlz": (
        lambda d: controlz.read_controlz(d, topic="scope", file="f"),
        [{"name": "a", "output_level": "info"}],
    ),
    "objects": (of_objects(objects_table), recorded("virtualservices.json")),
    "pods": (of_objects(pods_table), recorded("pods.json")),
    "istiods": (of_objects(istiods_table), {"kind": "List", "items": [ISTIOD]}),
    "metadata": (of_objects(proxy_metadata_table), recorded("pods.json")),
    "probes": (of_objects(probes_table), {"kind": "List", "items": [ISTIOD]}),
    "services": (of_objects(services_table), recorded("services.json")),
    "slices": (of_objects(endpoint_slices_table), recorded("endpointslices.json")),
    "virtual services": (of_objects(virtual_services_table), recorded("virtualservices.json")),
    "destination rules": (of_objects(destination_rules_table), recorded("destinationrules.json")),
    "gateways": (of_objects(gateways_table), recorded("gateways.json")),
    "analysis": (lambda d: read_analysis(d, file="f"), [{"code": "IST0101", "level": "Error", "origin": "Pod n/x"}]),
}

ODD = st.sampled_from([None, 7, -1.5, True, "text", "", [], {}, [1], {"a": 1}, "2026-13-45", "\ud7ff"])


@st.composite
def damage(draw, document):
    """A copy of a document with one value, at any depth, replaced by an odd one."""
    copy = json.loads(json.dumps(document))
    holder, key = None, None
    value = copy
    while isinstance(value, dict | list) and value and (holder is None or draw(st.booleans())):
        keys = list(value) if isinstance(value, dict) else range(len(value))
        holder, key = value, draw(st.sampled_from(list(keys)))
        value = holder[key]
    odd = draw(ODD)
    if holder is None:
        return odd
    holder[key] = odd
    return copy


@pytest.mark.parametrize("name", CASES)
def test_an_undamaged_document_gives_a_table(name):
    read, document = CASES[name]
    assert len(read(json.dumps(document).encode()))


@pytest.mark.parametrize("name", CASES)
@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_an_odd_value_anywhere_gives_a_table_or_a_format_error(name, data):
    read, document = CASES[name]
    damaged = json.dumps(data.draw(damage(document))).encode()
    try:
        read(damaged)
    except FormatError as error:
        assert error.file == "f"


@pytest.mark.parametrize("name", CASES)
def test_a_document_that_is_cut_gives_a_format_error(name):
    read, document = CASES[name]
    text = json.dumps(document).encode()
    for size in (0, 1, len(text) // 3, len(text) - 1):
        with pytest.raises(FormatError):
            read(text[:size])
