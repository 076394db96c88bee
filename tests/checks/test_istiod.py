"""Settings of istiod, what it holds, what it would send, and probes."""

from __future__ import annotations

import pandas as pd
import pytest

from meshnb.checks import registry
from meshnb.loaders.istiod_debug import read_push_status
from meshnb.loaders.objects import objects_table, pods_table
from meshnb.loaders.pod_settings import istiods_table
from meshnb.loaders.probes import probes_table
from meshnb.model.finding import Severity, Status
from meshnb.model.tables.istiod import CONFIG_DRIFT


def run(code, **tables):
    return list(registry.find(code).function(**tables))


def istiod(**env):
    container = {"name": "discovery", "env": [{"name": k, "value": v} for k, v in env.items()]}
    meta = {"name": "istiod-1", "namespace": "istio-system", "labels": {"app": "istiod"}}
    return istiods_table([{"kind": "Pod", "metadata": meta, "spec": {"containers": [container]}}])


@pytest.mark.parametrize(
    ("env", "severity", "word"),
    [
        ({"PILOT_TRACE_SAMPLING": "100", "ENABLE_DEBUG_ON_HTTP": "false"}, Severity.WARNING, "traced"),
        ({}, Severity.INFO, "Debug pages"),
        (
            {"ENABLE_DEBUG_ON_HTTP": "false", "PILOT_ENABLE_PROTOCOL_SNIFFING_FOR_INBOUND": "false"},
            Severity.INFO,
            "not detected",
        ),
    ],
)
def test_sd_23_sd_26_settings_to_be_wary_of(env, severity, word):
    """SD-23: 100 % tracing, sniffing; SD-26: ENABLE_DEBUG_ON_HTTP."""
    (finding,) = run("MNB0401", istiods=istiod(**env))
    assert finding.severity is severity and word in finding.summary


def test_t10_debug_pages_that_ask_nobody_who_they_are_are_found():
    """T10: localhost is free, others need authentication, unless ENABLE_DEBUG_ENDPOINT_AUTH is false."""
    (finding,) = run("MNB0401", istiods=istiod(ENABLE_DEBUG_ON_HTTP="false", ENABLE_DEBUG_ENDPOINT_AUTH="false"))
    assert (finding.severity, finding.fix[0].text) == (Severity.WARNING, "ENABLE_DEBUG_ENDPOINT_AUTH=true")


def test_sd_26_a_closed_istiod_passes_and_none_is_unknown():
    """SD-26."""
    (finding,) = run("MNB0401", istiods=istiod(ENABLE_DEBUG_ON_HTTP="false"))
    assert finding.status is Status.PASS
    (finding,) = run("MNB0401", istiods=istiod().iloc[:0])
    assert finding.status is Status.UNKNOWN


def test_sd_09_a_probe_that_was_not_rewritten_is_found():
    """SD-09: rewritten or not."""

    def pod(path, port):
        probe = {"httpGet": {"path": path, "port": port}}
        containers = [{"name": "app", "livenessProbe": probe}, {"name": "istio-proxy"}]
        return [{"kind": "Pod", "metadata": {"name": "p", "namespace": "n"}, "spec": {"containers": containers}}]

    plain, moved = pod("/foo", 8001), pod("/app-health/app/livez", 15020)
    (finding,) = run("MNB0402", probes=probes_table(plain), pods=pods_table(plain))
    assert (finding.status, str(finding.subject)) == (Status.FAIL, "Pod n/p")
    (finding,) = run("MNB0402", probes=probes_table(moved), pods=pods_table(moved))
    assert finding.status is Status.PASS


def test_sd_32_what_istiod_would_send_against_what_envoy_has():
    """SD-32: expected against actual."""
    rows = [{"proxy": "a.n", "type": "CDS", "name": "outbound|80||x", "only_in": "istiod"}]
    (finding,) = run("MNB0316", config_drift=CONFIG_DRIFT.rows(rows))
    assert finding.status is Status.FAIL and "lacks 1 resources" in finding.summary
    (finding,) = run("MNB0316", config_drift=CONFIG_DRIFT.empty())
    assert finding.status is Status.PASS


def virtual_service(name, version):
    return {
        "apiVersion": "networking.istio.io/v1",
        "kind": "VirtualService",
        "metadata": {"name": name, "namespace": "n", "resourceVersion": version},
    }


def test_sd_32_objects_istiod_does_not_hold_are_found():
    """SD-32: configz against the API server."""
    cluster = objects_table([virtual_service(n, "2") for n in ("same", "older", "missing")])
    held = objects_table([virtual_service("same", "2"), virtual_service("older", "1")])
    found = run("MNB0321", istiod_objects=held, objects=cluster)
    assert {f.subject.name: f.severity for f in found} == {"missing": Severity.ERROR, "older": Severity.WARNING}
    (finding,) = run("MNB0321", istiod_objects=cluster, objects=cluster)
    assert finding.status is Status.PASS


def test_problems_of_a_push_are_findings_with_their_meaning():
    status = read_push_status('{"pilot_vservice_dup_domain": {"catalog.io": {"message": "duplicate domain"}}}')
    (finding,) = run("MNB0320", push_status=status)
    assert finding.severity is Severity.WARNING and "ignored" in finding.cause
    (finding,) = run("MNB0320", push_status=pd.DataFrame(status.iloc[:0]))
    assert finding.status is Status.PASS
