"""Settings of istiod and of proxies that stand in their pods."""

from __future__ import annotations

import json

from meshnb.loaders.pod_settings import istiods_table, proxy_metadata_table

ISTIOD = {
    "kind": "Pod",
    "metadata": {
        "name": "istiod-7d4f8b9c6-lab01",
        "namespace": "istio-system",
        "labels": {"app": "istiod", "istio": "pilot", "istio.io/rev": "default"},
    },
    "spec": {
        "serviceAccountName": "istiod",
        "containers": [
            {
                "name": "discovery",
                "image": "docker.io/istio/pilot:1.17.8",
                "args": [
                    "discovery",
                    "--monitoringAddr=:15014",
                    "--log_output_level=default:info",
                    "--domain",
                    "cluster.local",
                    "--keepaliveMaxServerConnectionAge",
                    "30m",
                ],
                "readinessProbe": {
                    "httpGet": {"path": "/ready", "port": 8080},
                    "initialDelaySeconds": 1,
                    "timeoutSeconds": 5,
                    "periodSeconds": 3,
                },
                "env": [
                    {"name": "REVISION", "value": "default"},
                    {"name": "JWT_POLICY", "value": "third-party-jwt"},
                    {"name": "PILOT_CERT_PROVIDER", "value": "istiod"},
                    {"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
                    {"name": "SERVICE_ACCOUNT", "valueFrom": {"fieldRef": {"fieldPath": "spec.serviceAccountName"}}},
                    {"name": "KUBECONFIG", "value": "/var/run/secrets/remote/config"},
                    {"name": "PILOT_TRACE_SAMPLING", "value": "100"},
                    {"name": "PILOT_ENABLE_PROTOCOL_SNIFFING_FOR_OUTBOUND", "value": "true"},
                    {"name": "PILOT_ENABLE_PROTOCOL_SNIFFING_FOR_INBOUND", "value": "false"},
                    {"name": "ISTIOD_ADDR", "value": "istiod.istio-system.svc:15012"},
                    {"name": "PILOT_ENABLE_ANALYSIS", "value": "false"},
                    {"name": "CLUSTER_ID", "value": "Kubernetes"},
                    {"name": "LIMIT", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}},
                ],
            }
        ],
    },
    "status": {"conditions": [{"type": "Ready", "status": "True"}]},
}


def test_sd_21_sd_22_arguments_of_istiod():
    """SD-21, SD-22: image, arguments, readiness probe, keep-alive."""
    row = istiods_table([ISTIOD]).iloc[0]
    assert (row.version, row.monitoring_addr, row.log_level, row.domain) == (
        "1.17.8",
        ":15014",
        "default:info",
        "cluster.local",
    )
    assert row.max_connection_age == "30m"
    assert row.readiness == "http-get http://:8080/ready delay=1s timeout=5s period=3s #success=1 #failure=3"
    assert bool(row.plaintext_xds) and bool(row.ready)


def test_sd_23_environment_of_istiod():
    """SD-23: every variable, those of fields read from the pod, unset ones at istiod's default."""
    row = istiods_table([ISTIOD]).iloc[0]
    assert (row.revision, row.jwt_policy, row.cert_provider, row.cluster_id) == (
        "default",
        "third-party-jwt",
        "istiod",
        "Kubernetes",
    )
    assert row.trace_sampling == 100.0
    assert (row.sniffing_outbound, row.sniffing_inbound, row.analysis, row.debug_on_http) == (True, False, False, True)
    env = json.loads(row.env)
    assert env["POD_NAME"] == "istiod-7d4f8b9c6-lab01" and env["SERVICE_ACCOUNT"] == "istiod"
    assert env["LIMIT"] is None


def test_plaintext_xds_is_closed_by_an_empty_address():
    container = {**ISTIOD["spec"]["containers"][0], "args": ["discovery", "--grpcAddr", "", "--domain=x"]}
    assert not istiods_table([{**ISTIOD, "spec": {"containers": [container]}}]).plaintext_xds[0]


def test_pods_that_are_no_istiod_are_left_out():
    other = {
        "kind": "Pod",
        "metadata": {"name": "x", "namespace": "n"},
        "spec": {"containers": [{"name": "discovery"}]},
    }
    assert istiods_table([other, {"kind": "Service"}]).empty


def test_sd_11_what_a_proxys_environment_tells_istiod():
    """SD-11: the ISTIO_META_ variables of the injector."""
    env = {
        "ISTIO_META_POD_PORTS": '[\n    {"name":"http","containerPort":3000,"protocol":"TCP"}\n]',
        "ISTIO_META_APP_CONTAINERS": "catalog",
        "ISTIO_META_CLUSTER_ID": "Kubernetes",
        "ISTIO_META_INTERCEPTION_MODE": "REDIRECT",
        "ISTIO_META_WORKLOAD_NAME": "catalog",
        "ISTIO_META_OWNER": "kubernetes://apis/apps/v1/namespaces/istioinaction/deployments/catalog",
        "ISTIO_META_MESH_ID": "cluster.local",
        "TRUST_DOMAIN": "cluster.local",
        "ISTIO_META_DNS_CAPTURE": "true",
    }
    variables = [{"name": k, "value": v} for k, v in env.items()]
    variables.append(
        {"name": "ISTIO_META_NODE_NAME", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
    )
    pod = {
        "kind": "Pod",
        "metadata": {"name": "catalog-1", "namespace": "istioinaction"},
        "spec": {"nodeName": "node-1", "containers": [{"name": "istio-proxy", "env": variables}]},
    }
    row = proxy_metadata_table([pod]).iloc[0]
    assert row.proxy == "catalog-1.istioinaction"
    assert json.loads(row.pod_ports) == [{"name": "http", "containerPort": 3000, "protocol": "TCP"}]
    assert (row.workload, row.node_name, row.interception_mode, row.mesh_id) == (
        "catalog",
        "node-1",
        "REDIRECT",
        "cluster.local",
    )
    assert list(row.app_containers) == ["catalog"] and bool(row.dns_capture)
