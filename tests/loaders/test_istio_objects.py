"""Istio's objects as tables."""

from __future__ import annotations

import json

import pytest

from meshnb.errors import FormatError
from meshnb.loaders.istio_objects import destination_rules_table, gateways_table, virtual_services_table
from meshnb.loaders.objects import decode_objects

YAML = """
apiVersion: networking.istio.io/v1beta1
kind: VirtualService
metadata: {name: catalog, namespace: istioinaction, creationTimestamp: 2026-11-23T09:00:00Z}
spec:
  hosts: [catalog.istioinaction.io]
  gateways: [catalog-gateway, istio-system/other, mesh]
  http:
  - name: beta
    match: [{headers: {x-beta: {exact: "yes"}}}]
    route:
    - destination: {host: catalog, subset: version-v2}
  - timeout: 0.5s
    retries: {attempts: 3, perTryTimeout: 250ms, retryOn: "5xx,connect-failure"}
    route:
    - destination: {host: catalog, subset: version-v1, port: {number: 80}}
      weight: 20
    - destination: {host: catalog.istioinaction.svc.cluster.local, subset: version-v2}
      weight: 80
  - match: [{uri: {prefix: /old}}]
    redirect: {uri: /new}
  tcp:
  - route: [{destination: {host: db.prod.svc.cluster.local}}]
---
apiVersion: networking.istio.io/v1beta1
kind: DestinationRule
metadata: {name: catalog, namespace: istioinaction}
spec:
  host: catalog
  trafficPolicy: {tls: {mode: ISTIO_MUTUAL}, outlierDetection: {consecutive5xxErrors: 5}}
  subsets:
  - {name: version-v1, labels: {version: v1}}
  - {name: version-v2, labels: {version: v2}, trafficPolicy: {outlierDetection: {consecutive5xxErrors: 1}}}
---
apiVersion: networking.istio.io/v1beta1
kind: Gateway
metadata: {name: catalog-gateway, namespace: istioinaction}
spec:
  selector: {istio: ingressgateway}
  servers:
  - {port: {number: 80, name: http, protocol: HTTP}, hosts: [catalog.istioinaction.io], tls: {httpsRedirect: true}}
  - {port: {number: 443, name: https, protocol: HTTPS}, hosts: ["*"], tls: {mode: SIMPLE, credentialName: cert}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: not-istio, namespace: istioinaction}
spec: {gatewayClassName: istio, listeners: []}
"""


def test_a_virtual_service_gives_a_row_per_destination():
    table = virtual_services_table(decode_objects(YAML))
    assert table[["protocol", "route_index", "destination_host", "subset", "weight"]].astype(object).where(
        lambda df: df.notna(), None
    ).values.tolist() == [
        ["http", 0, "catalog.istioinaction.svc.cluster.local", "version-v2", 100],
        ["http", 1, "catalog.istioinaction.svc.cluster.local", "version-v1", 20],
        ["http", 1, "catalog.istioinaction.svc.cluster.local", "version-v2", 80],
        ["http", 2, None, None, None],
        ["tcp", 0, "db.prod.svc.cluster.local", None, 100],
    ]
    assert list(table.gateways[0]) == ["istioinaction/catalog-gateway", "istio-system/other", "mesh"]
    assert table.action[3] == "redirect"
    assert json.loads(table.match[0]) == [{"headers": {"x-beta": {"exact": "yes"}}}]
    assert table.port[1] == 80


def test_s11_02_timeouts_and_retries_of_a_route_are_columns():
    """S11-02: retries with their values."""
    row = virtual_services_table(decode_objects(YAML)).iloc[1]
    assert (row.timeout_ms, row.retry_attempts, row.per_try_timeout_ms) == (500.0, 3, 250.0)
    assert row.retry_on == "5xx,connect-failure"


def test_a_virtual_service_without_gateways_or_routes_is_a_row_for_the_mesh():
    thing = {
        "apiVersion": "networking.istio.io/v1",
        "kind": "VirtualService",
        "metadata": {"name": "empty", "namespace": "n"},
        "spec": {"hosts": ["a"]},
    }
    table = virtual_services_table([thing])
    assert len(table) == 1
    assert list(table.gateways[0]) == ["mesh"]
    assert table.protocol.isna().all()


def test_s11_02_a_subset_inherits_the_settings_it_does_not_make():
    """S11-02: outlier detection in force for each subset."""
    table = destination_rules_table(decode_objects(YAML))
    assert table.subset.isna().tolist() == [True, False, False]
    assert table.host.unique().tolist() == ["catalog.istioinaction.svc.cluster.local"]
    assert [json.loads(o)["consecutive5xxErrors"] for o in table.outlier_detection] == [5, 5, 1]
    assert table.tls_mode.tolist() == ["ISTIO_MUTUAL"] * 3
    assert [json.loads(text) for text in table.labels] == [{}, {"version": "v1"}, {"version": "v2"}]


def test_a_gateway_gives_a_row_per_server_and_the_gateway_api_is_left_alone():
    table = gateways_table(decode_objects(YAML))
    assert table.gateway.tolist() == ["catalog-gateway"] * 2
    assert table.port.tolist() == [80, 443]
    assert table.https_redirect.tolist() == [True, False]
    assert table.tls_mode.isna().tolist() == [True, False]
    assert table.credential_name[1] == "cert"


def test_a_route_of_the_wrong_shape_is_an_error_that_names_the_place():
    thing = {
        "apiVersion": "networking.istio.io/v1",
        "kind": "VirtualService",
        "metadata": {"name": "bad", "namespace": "n"},
        "spec": {"http": [{"route": "catalog"}]},
    }
    with pytest.raises(FormatError, match=r"VirtualService n/bad spec.http\[0\].route"):
        virtual_services_table([thing])
