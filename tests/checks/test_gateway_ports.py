"""MNB0102: Gateway, Service, pod and listener, link by link (S10-04, S10-27)."""

from __future__ import annotations

import json

import meshnb
from meshnb.checks.gateway_ports import gateway_ports
from meshnb.model.finding import Finding, Status
from meshnb.model.tables.envoy import LISTENERS
from meshnb.model.tables.objects import GATEWAYS, PODS, SERVICES

from .tables import GATEWAY, rows

LABELS = json.dumps({"istio": "ingressgateway"})


def look(*, port=80, selector=LABELS, service_port=80, target=8080, listener=8080, state="active") -> list[Finding]:
    pod, _, namespace = GATEWAY.partition(".")
    ports = json.dumps([{"port": service_port, "targetPort": target}])
    common = {"gateway": "catalog-gateway", "namespace": "istioinaction", "protocol": "HTTP"}
    return gateway_ports(
        gateways=rows(GATEWAYS, common | {"selector": selector, "port": port}),
        services=rows(
            SERVICES, {"namespace": namespace, "service": "gw", "host": "gw", "selector": LABELS, "ports": ports}
        ),
        pods=rows(PODS, {"pod": pod, "namespace": namespace, "proxy": GATEWAY, "labels": LABELS}),
        listeners=rows(LISTENERS, {"proxy": GATEWAY, "port": listener, "state": state}),
    )


def test_a_whole_chain_passes_also_on_the_lab():
    assert [f.status for f in look()] == [Status.PASS]
    assert meshnb.open("demo").check("MNB0102").verdict is Status.PASS


def test_no_pod_with_the_labels():
    (finding,) = look(selector=json.dumps({"istio": "other"}))
    assert "no pod has the labels istio=other" in finding.summary
    assert str(finding.subject) == "Gateway istioinaction/catalog-gateway"


def test_a_port_the_service_does_not_have():
    (finding,) = look(port=443)
    assert "no Service in front of its pods has port 443" in finding.summary


def test_a_target_port_nobody_listens_on():
    (finding,) = look(target=8081)
    assert "sends port 80 on to 8081" in finding.summary
    assert finding.evidence[0].rows[0]["port"] == 8080


def test_a_rejected_listener_is_no_listener():
    (finding,) = look(state="rejected")
    assert finding.status is Status.FAIL


def test_a_named_target_port_accuses_nobody():
    assert [f.status for f in look(target="http2")] == [Status.PASS]
