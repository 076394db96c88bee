"""Settings of istiod in effect, by release."""

from __future__ import annotations

import pytest

from meshnb.errors import FormatError
from meshnb.loaders.istiod_settings import istiod_settings


def deployment(image: str = "docker.io/istio/pilot:1.17.8", env: dict | None = None, **resources) -> dict:
    container = {"name": "discovery", "image": image, "resources": resources}
    container["env"] = [{"name": n, "value": v} for n, v in (env or {}).items()]
    container["env"].append({"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}})
    template = {"metadata": {"labels": {"app": "istiod"}}, "spec": {"containers": [container]}}
    return {"kind": "Deployment", "metadata": {"name": "istiod"}, "spec": {"replicas": 2, "template": template}}


def config_map(mesh: str) -> dict:
    return {"kind": "ConfigMap", "metadata": {"name": "istio"}, "data": {"mesh": mesh}}


def settings(*objects: dict, version: str = "") -> dict:
    return istiod_settings(list(objects), version=version).set_index("setting").to_dict("index")


def test_s11_61_to_s11_64_defaults_of_1_17():
    """PILOT_DEBOUNCE_AFTER 100ms, PILOT_DEBOUNCE_MAX 10s, PILOT_ENABLE_EDS_DEBOUNCE true, PILOT_PUSH_THROTTLE 100."""
    found = settings(deployment())
    wanted = {"PILOT_DEBOUNCE_AFTER": "100ms", "PILOT_DEBOUNCE_MAX": "10s", "PILOT_ENABLE_EDS_DEBOUNCE": "true"}
    wanted |= {"PILOT_PUSH_THROTTLE": "100", "version": "1.17.8", "replicas": "2"}
    assert {name: found[name]["value"] for name in wanted} == wanted
    assert found["PILOT_DEBOUNCE_AFTER"]["changed"] is False
    assert found["PILOT_DEBOUNCE_AFTER"]["source"] == "default of 1.17.8"


@pytest.mark.parametrize(
    ("version", "cpu", "given", "value"),
    [
        ("1.20.3", "4", None, "100"),
        ("1.21.0", "1", None, "20"),
        ("1.24.1", "2", None, "25"),
        ("1.24.1", "1500m", None, "25"),
        ("1.24.1", "100m", None, "20"),
        ("1.24.1", "32", None, "100"),
        ("1.24.1", "2", "0", "25"),
        ("1.24.1", "2", "60", "60"),
        ("1.24.1", None, None, None),
        ("latest", "2", None, None),
    ],
)
def test_t5_the_throttle_is_automatic_since_1_21(version, cpu, given, value):
    env = {"PILOT_PUSH_THROTTLE": given} if given else {}
    limits = {"limits": {"cpu": cpu}} if cpu else {}
    found = settings(deployment(f"istio/pilot:{version}", env, **limits), version=version)["PILOT_PUSH_THROTTLE"]
    assert found["value"] == value or (value is None and found["value"] != found["value"]) or value is None
    assert isinstance(found["value"], str) == (value is not None)
    assert isinstance(found["note"], str) == (value not in ("100", "60") or cpu == "32" or given == "60")


def test_s11_69_a_changed_setting():
    found = settings(deployment(env={"PILOT_DEBOUNCE_AFTER": "2500ms"}))["PILOT_DEBOUNCE_AFTER"]
    assert (found["value"], found["default"], found["changed"]) == ("2500ms", "100ms", True)
    assert found["source"] == "Deployment env PILOT_DEBOUNCE_AFTER=2500ms"


def test_s11_74_resources_and_replicas():
    requests = {"cpu": "1000m", "memory": "1Gi"}
    found = settings(deployment(requests=requests, limits={"cpu": "2", "memory": "2Gi"}))
    assert found["requests.cpu"]["value"] == "1000m"
    assert found["limits.memory"]["value"] == "2Gi"


def test_s11_58_selectors_and_sampling_of_the_mesh_config():
    mesh = """
accessLogFile: /dev/stdout
defaultConfig: {tracing: {sampling: 100}}
discoverySelectors:
- matchLabels: {istio-discovery: enabled}
"""
    found = settings(deployment(), config_map(mesh))
    assert found["discoverySelectors"]["value"] == '[{"matchLabels": {"istio-discovery": "enabled"}}]'
    assert found["tracing.sampling"]["value"] == "100"
    assert found["tracing.sampling"]["note"] == "every request is traced"
    assert settings(deployment(), config_map("{}"))["discoverySelectors"]["value"] == ""


def test_bad_documents():
    assert istiod_settings([]).empty
    with pytest.raises(FormatError, match="not YAML"):
        settings(deployment(), config_map("a: [b"))
    with pytest.raises(FormatError, match="no mapping"):
        settings(deployment(), config_map("- a"))
    broken = deployment()
    broken["spec"]["template"]["spec"]["containers"][0]["name"] = "other"
    with pytest.raises(FormatError, match="no container discovery"):
        settings(broken)
