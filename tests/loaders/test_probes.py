"""Probes: spec, text of kubectl describe, originals of rewritten ones."""

from __future__ import annotations

import json

import pytest

from meshnb.errors import FormatError
from meshnb.loaders.probes import PROBERS, probes_table, read_probe_text

REWRITTEN = {
    "kind": "Pod",
    "metadata": {"name": "web", "namespace": "n"},
    "spec": {
        "containers": [
            {
                "name": "liveness-http",
                "livenessProbe": {
                    "httpGet": {"path": "/app-health/liveness-http/livez", "port": 15020, "scheme": "HTTP"},
                    "initialDelaySeconds": 5,
                    "periodSeconds": 5,
                },
            },
            {
                "name": "istio-proxy",
                "readinessProbe": {
                    "httpGet": {"path": "/healthz/ready", "port": 15021},
                    "initialDelaySeconds": 1,
                    "timeoutSeconds": 3,
                    "periodSeconds": 2,
                    "failureThreshold": 30,
                },
                "env": [
                    {
                        "name": PROBERS,
                        "value": json.dumps(
                            {
                                "/app-health/liveness-http/livez": {
                                    "httpGet": {"path": "/foo", "port": 8001, "scheme": "HTTP"},
                                    "timeoutSeconds": 1,
                                }
                            }
                        ),
                    }
                ],
            },
        ]
    },
}


def test_sd_07_the_readiness_probe_of_the_proxy():
    """SD-07: port, path, delay, timeout, period and thresholds."""
    row = probes_table([REWRITTEN]).set_index("container").loc["istio-proxy"]
    assert (row.probe, row.port, row.path) == ("readiness", "15021", "/healthz/ready")
    assert (row.delay_s, row.timeout_s, row.period_s, row.success, row.failure) == (1, 3, 2, 1, 30)
    assert not row.rewritten


def test_sd_09_sd_10_a_rewritten_probe_stands_beside_its_original():
    """SD-09, SD-10: what the pod has, and what the app's author wrote."""
    row = probes_table([REWRITTEN]).set_index("container").loc["liveness-http"]
    assert bool(row.rewritten) and row.path == "/app-health/liveness-http/livez"
    assert json.loads(row.original)["httpGet"] == {"path": "/foo", "port": 8001, "scheme": "HTTP"}
    assert row.original_text == ("http-get http://:8001/foo delay=5s timeout=1s period=5s #success=1 #failure=3")


DESCRIBE = """\
Name:             catalog-1
Namespace:        istioinaction
Containers:
  catalog:
    Liveness:       tcp-socket :3000 delay=0s timeout=1s period=10s #success=1 #failure=3
    Startup:        exec [cat /tmp/ready] delay=0s timeout=1s period=10s #success=1 #failure=3
  istio-proxy:
    Readiness:      http-get http://:15021/healthz/ready delay=1s timeout=3s period=2s #success=1 #failure=30
"""


def test_sd_07_probes_are_read_from_what_kubectl_describe_prints():
    """SD-07: the same from text."""
    table = read_probe_text(DESCRIBE)
    assert table.proxy.unique().tolist() == ["catalog-1.istioinaction"]
    assert table[["container", "probe", "type", "port", "path"]].astype(object).where(
        lambda df: df.notna(), None
    ).values.tolist() == [
        ["catalog", "liveness", "tcp-socket", "3000", None],
        ["catalog", "startup", "exec", None, "cat /tmp/ready"],
        ["istio-proxy", "readiness", "http-get", "15021", "/healthz/ready"],
    ]
    assert table.failure.tolist() == [3, 3, 30]


def test_text_without_a_probe_and_broken_originals_are_errors():
    with pytest.raises(FormatError, match="no probe"):
        read_probe_text("Name: x", file="describe.txt")
    broken = json.loads(json.dumps(REWRITTEN))
    broken["spec"]["containers"][1]["env"][0]["value"] = "{"
    with pytest.raises(FormatError, match=PROBERS):
        probes_table([broken], file="pods.json")
