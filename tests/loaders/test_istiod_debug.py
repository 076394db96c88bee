"""istiod's debug answers, in the shapes its releases have."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from meshnb.errors import FormatError
from meshnb.loaders.controlz import read_controlz
from meshnb.loaders.istiod_debug import read_adsz, read_authorizationz, read_push_status, read_watches
from meshnb.loaders.istiod_debug_services import read_edsz, read_endpoint_shards, read_ndsz, read_registryz
from meshnb.loaders.mesh_config import mesh_config_table, read_mesh_config
from meshnb.loaders.sidecarz import read_sidecarz

CDS = "type.googleapis.com/envoy.config.cluster.v3.Cluster"
EDS = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment"
ADSZ = json.dumps(
    {
        "totalClients": 1,
        "clients": [
            {
                "connectionId": "sidecar~10.10.0.16~catalog-1.istioinaction~istioinaction.svc.cluster.local-7",
                "connectedAt": "2026-11-23T09:00:00.123456789Z",
                "address": "10.10.0.16:51234",
                "metadata": {"CLUSTER_ID": "Kubernetes", "ISTIO_VERSION": "1.17.8", "LABELS": {"app": "catalog"}},
                "locality": {"region": "r", "zone": "z"},
                "watches": {CDS: [], EDS: ["outbound|80||a", "outbound|80||bc"]},
            }
        ],
    }
)


def test_sd_27_connections_age_peer_labels_and_what_they_watch():
    """SD-27: connection, age, peer, labels, watched names and their total bytes."""
    row = read_adsz(ADSZ, istiod="istiod-1", now=datetime(2026, 11, 23, 9, 10, tzinfo=UTC)).iloc[0]
    assert (row.proxy, row.istiod, row.address) == ("catalog-1.istioinaction", "istiod-1", "10.10.0.16:51234")
    assert row.age_s == pytest.approx(599.876544)
    assert (row.watched, row.watched_bytes) == (2, 14 + 15)
    assert (row.version, row.locality, json.loads(row.labels)) == ("1.17.8", "r/z", {"app": "catalog"})
    watches = read_watches(ADSZ).set_index("type")
    assert watches["count"].to_dict() == {"CDS": 0, "EDS": 2}
    assert list(watches.names["EDS"]) == ["outbound|80||a", "outbound|80||bc"]


def test_connections_and_an_istiod_without_clients():
    assert read_adsz('[{"connectionId": "a.b-1", "address": "x"}]').proxy.tolist() == ["a.b"]
    assert read_adsz('{"totalClients": 0}').empty


SHARDS = {
    "catalog.n.svc.cluster.local": {
        "n": {
            "Shards": {
                "Kubernetes/Kubernetes": [
                    {
                        "Addresses": ["10.10.0.16", "fd00::16"],
                        "EndpointPort": 3000,
                        "ServicePortName": "http",
                        "HealthStatus": 3,
                        "WorkloadName": "catalog",
                        "ServiceAccount": "spiffe://cluster.local/ns/n/sa/catalog",
                        "Labels": {"version": "v1"},
                        "NodeName": "node-1",
                    }
                ]
            },
            "ServiceAccounts": {},
        }
    }
}


def test_endpoints_istiod_knows_in_every_shape():
    table = read_endpoint_shards(json.dumps(SHARDS), istiod="istiod-1")
    assert table.address.tolist() == ["10.10.0.16", "fd00::16"]
    row = table.iloc[0]
    assert (row.host, row.namespace, row.shard) == ("catalog.n.svc.cluster.local", "n", "Kubernetes/Kubernetes")
    assert (row.port, row.port_name, row.health, row.workload) == (3000, "http", "DRAINING", "catalog")
    old = [
        {"svc": "catalog.n.svc.cluster.local:http", "ep": [{"Endpoint": {"Address": "10.0.0.1", "EndpointPort": 80}}]}
    ]
    assert read_endpoint_shards(json.dumps(old))[["host", "address", "port", "health"]].values.tolist() == [
        ["catalog.n.svc.cluster.local", "10.0.0.1", 80, "HEALTHY"]
    ]


@pytest.mark.parametrize("shape", ["list", "config dump", "snake case"])
def test_sd_29_endpoints_istiod_sends_to_one_proxy(shape):
    """SD-29: edsz before and since 1.25."""
    socket = {"socketAddress": {"address": "10.10.0.16", "portValue": 3000}}
    assignment = {
        "clusterName": "outbound|80|v1|catalog.n.svc.cluster.local",
        "endpoints": [{"lbEndpoints": [{"endpoint": {"address": socket}, "healthStatus": "HEALTHY"}]}],
    }
    if shape == "snake case":
        text = json.dumps(assignment).replace("clusterName", "cluster_name").replace("lbEndpoints", "lb_endpoints")
        text = text.replace("socketAddress", "socket_address").replace("portValue", "port_value")
        answer = [json.loads(text.replace("healthStatus", "health_status"))]
    else:
        answer = [assignment] if shape == "list" else {"configs": [{"@type": "x", **assignment}]}
    row = read_edsz(json.dumps(answer), proxy="a.n").iloc[0]
    assert (row.host, row.cluster, row.address, row.port, row.health, row.proxy) == (
        "catalog.n.svc.cluster.local",
        "outbound|80|v1|catalog.n.svc.cluster.local",
        "10.10.0.16",
        3000,
        "HEALTHY",
        "a.n",
    )


@pytest.mark.parametrize("wrap", [lambda t: t, lambda t: {"configs": [t]}, lambda t: {"resource": {"@type": "x", **t}}])
def test_sd_16_dns_names_in_every_shape(wrap):
    """SD-16: the name table of istiod and of the agent."""
    table = {
        "table": {
            "catalog.n.svc.cluster.local": {
                "ips": ["10.0.0.1", "10.0.0.2"],
                "registry": "Kubernetes",
                "shortname": "catalog",
                "namespace": "n",
            },
            "no.address": {},
        }
    }
    frame = read_ndsz(json.dumps(wrap(table)))
    assert frame.name.tolist() == ["catalog.n.svc.cluster.local"] * 2 + ["no.address"]
    assert frame.address.isna().tolist() == [False, False, True]
    assert frame.short_name[0] == "catalog"


def test_sd_30_policies_by_namespace():
    """SD-30: authorizationz."""
    policies = {
        "istio-system": [{"name": "deny-all", "namespace": "istio-system", "spec": {}}],
        "n": [
            {"name": "some", "spec": {"action": 1, "selector": {"matchLabels": {"app": "catalog"}}, "rules": [{}, {}]}}
        ],
    }
    answer = {"authorization_policies": {"namespace_to_policies": policies, "root_namespace": "istio-system"}}
    table = read_authorizationz(json.dumps(answer)).set_index("policy")
    assert table.action.to_dict() == {"deny-all": "ALLOW", "some": "DENY"}
    assert table.rules.to_dict() == {"deny-all": 0, "some": 2}
    assert table.whole_mesh.to_dict() == {"deny-all": True, "some": False}
    assert json.loads(table.selector["some"]) == {"app": "catalog"}


def test_services_istiod_knows():
    service = {
        "Attributes": {"ServiceRegistry": "Kubernetes", "Name": "catalog", "Namespace": "n"},
        "ports": [{"name": "http", "port": 80, "protocol": "HTTP"}],
        "hostname": "catalog.n.svc.cluster.local",
        "clusterVIPs": {"Addresses": {"Kubernetes": ["10.96.0.1"]}},
        "defaultAddress": "10.96.0.1",
        "Resolution": 0,
    }
    row = read_registryz(json.dumps([service])).iloc[0]
    assert (row.host, row.namespace, row.resolution, list(row.addresses)) == (
        "catalog.n.svc.cluster.local",
        "n",
        "ClientSideLB",
        ["10.96.0.1"],
    )


def test_problems_of_the_last_push_have_a_meaning():
    answer = {
        "pilot_eds_no_instances": {"outbound|80|v9|catalog.n.svc.cluster.local": {}},
        "pilot_no_ip": {"p.n": {"proxy": "p.n", "message": "no address"}},
        "pilot_virt_services": {"x": {}},
        "new_problem": {"y": {"message": "m"}},
    }
    table = read_push_status(json.dumps(answer)).set_index("problem")
    assert set(table.index) == {"pilot_eds_no_instances", "pilot_no_ip", "new_problem"}
    assert table.meaning.isna().to_dict() == {
        "pilot_eds_no_instances": False,
        "pilot_no_ip": False,
        "new_problem": True,
    }
    assert read_push_status("null").empty


def test_s11_58_settings_of_the_mesh_in_force_and_asked_for():
    """S11-58: MeshConfig of istiod, of the ConfigMap and of the IstioOperator."""
    in_force = read_mesh_config(
        '{"accessLogFile": "/dev/stdout", "defaultConfig": {"proxyMetadata": {"A": "b"}}}', istiod="i"
    )
    assert in_force.values.tolist() == [
        ["istiod i", "accessLogFile", '"/dev/stdout"'],
        ["istiod i", "defaultConfig.proxyMetadata.A", '"b"'],
    ]
    operator = {
        "kind": "IstioOperator",
        "metadata": {"name": "installed"},
        "spec": {"profile": "demo", "meshConfig": {"accessLogEncoding": "JSON"}},
    }
    config_map = {"kind": "ConfigMap", "metadata": {"name": "istio"}, "data": {"mesh": "accessLogFile: /dev/stdout\n"}}
    asked = mesh_config_table([operator, config_map, {"kind": "ConfigMap", "metadata": {"name": "other"}}])
    assert asked.values.tolist() == [
        ["IstioOperator installed", "accessLogEncoding", '"JSON"'],
        ["IstioOperator installed", "profile", '"demo"'],
        ["ConfigMap istio", "accessLogFile", '"/dev/stdout"'],
    ]


def test_what_a_sidecar_object_leaves_a_proxy_to_see():
    services = [
        {"hostname": "catalog.shop.svc.cluster.local", "Attributes": {"Namespace": "shop"}, "Resolution": 0},
        {"hostname": "api.example.com"},
    ]
    scope = {"name": "only-catalog", "namespace": "shop", "outboundTrafficPolicy": {}, "services": services}
    found = read_sidecarz(json.dumps({**scope, "sidecar": {"egress": []}}), istiod="istiod-1", proxy="web.shop")
    assert found.values.tolist()[0] == [
        "istiod-1", "web.shop", "only-catalog", "shop", "REGISTRY_ONLY", "catalog.shop.svc.cluster.local", "shop",
    ]  # fmt: skip
    assert found.host.tolist()[1] == "api.example.com" and found.service_namespace.isna().tolist() == [False, True]
    own = read_sidecarz(json.dumps({**scope, "outboundTrafficPolicy": {"mode": 1}, "sidecar": None}))
    assert own.sidecar.isna().all() and set(own.outbound_policy) == {"ALLOW_ANY"}
    assert read_sidecarz('{"name": "default", "namespace": "shop"}').empty


def test_sd_34_controlz():
    """SD-34: scopes, memory, environment, process."""
    scopes = read_controlz('[{"name": "ads", "description": "ads debugging", "output_level": "info"}]', topic="scope")
    assert scopes[["name", "value", "detail"]].values.tolist() == [["ads", "info", "ads debugging"]]
    env = read_controlz('[{"name": "REVISION", "value": "default"}, {"name": "API_TOKEN", "value": "x"}]', topic="env")
    assert env.value.tolist() == ["default", "[redacted:env]"]
    memory = read_controlz('{"Alloc": 1024, "PauseNs": [1, 2]}', topic="memory")
    assert dict(zip(memory.name, memory.value, strict=True)) == {"Alloc": "1024", "PauseNs": "[1,2]"}
    process = read_controlz('{"pid": 1, "hostname": "istiod-1"}', topic="process")
    assert process.value.tolist() == ["1", "istiod-1"]


def test_sd_34_metrics_of_controlz_are_named_as_prometheus_names_them():
    """SD-34: the topic of older releases, in the shape of prom2json."""
    pushes = {"labels": {"type": "cds"}, "value": "3"}
    counter = {"name": "pilot_xds_pushes", "help": "Pushes.", "type": "COUNTER", "metrics": [pushes]}
    times = {"buckets": {"0.1": "2"}, "count": "2", "sum": "0.1"}
    pauses = {"quantiles": {"0.5": "1"}, "count": "4", "sum": "2"}
    families = [counter, {"name": "time", "metrics": [times]}, {"name": "gc", "metrics": [pauses]}, {"name": "none"}]
    found = read_controlz(json.dumps(families), topic="metrics").set_index("name")
    assert found.value.to_dict() == {
        'pilot_xds_pushes{type="cds"}': "3",
        'time_bucket{le="0.1"}': "2",
        "time_count": "2",
        "time_sum": "0.1",
        'gc{quantile="0.5"}': "1",
        "gc_count": "4",
        "gc_sum": "2",
    }
    assert found.detail.iloc[0] == "COUNTER: Pushes."


@pytest.mark.parametrize(
    "read",
    [
        read_adsz,
        read_authorizationz,
        read_push_status,
        read_endpoint_shards,
        read_edsz,
        read_ndsz,
        read_registryz,
        read_sidecarz,
    ],
)
def test_t8_an_answer_in_words_is_an_error_that_repeats_them(read):
    """T8: another istiod may have the proxy."""
    with pytest.raises(FormatError, match="Proxy not connected to this Pilot instance"):
        read("Proxy not connected to this Pilot instance. It may be connected to another instance.", file="x.json")
