"""YAML and commands that change settings: valid, guarded, in order."""

from __future__ import annotations

import pytest
import yaml

from meshnb.errors import UsageError
from meshnb.tuning.decision import FAMILIES, conclusions, levers
from meshnb.tuning.levers import (
    default_sidecar,
    discovery_selectors,
    env_setting,
    recommendations,
    resources,
    rollout_plan,
    verify_env,
)


def test_s11_35_four_families_of_strategies():
    """S11-35: ignore needless events, batch more, scale istiod up or out, shrink scope with Sidecar.

    Whatever tunes belongs to one; what repairs (a refused object, the API server, scraping) to none.
    """
    families: dict[str, set[str]] = {}
    for lever in levers().values():
        families.setdefault(lever.family, set()).add(lever.name)
    assert families == {
        "ignore events": {"discovery-selectors"},
        "batch events": {"batch-more", "batch-less"},
        "scale istiod": {"scale-up", "scale-out", "push-more", "push-less", "rebalance"},
        "shrink scope": {"sidecar-scope"},
        "": {"fix-config", "api-server", "scrape-istiod"},
    }
    assert set(families) - {""} == set(FAMILIES)
    found = recommendations(conclusions()["saturated-outgoing"])
    assert found["family"].unique().tolist() == ["shrink scope", "ignore events", "batch events", "scale istiod"]


def test_s11_69_the_setting_in_three_forms():
    values = {"PILOT_DEBOUNCE_AFTER": "2500ms"}
    assert '--set values.pilot.env.PILOT_DEBOUNCE_AFTER="2500ms"' in env_setting(values)
    assert yaml.safe_load(env_setting(values, form="helm")) == {"pilot": {"env": values}}
    assert env_setting(values, form="kubectl").endswith("PILOT_DEBOUNCE_AFTER=2500ms")
    assert "PILOT_DEBOUNCE_AFTER" in verify_env("PILOT_DEBOUNCE_AFTER")
    with pytest.raises(UsageError, match="no form"):
        env_setting(values, form="ansible")
    with pytest.raises(UsageError, match="no setting"):
        env_setting({})


def test_s11_74_resources():
    found = yaml.safe_load(resources(cpu="1000m", memory="1Gi", replicas=2))["pilot"]
    assert found["resources"]["requests"] == {"cpu": "1000m", "memory": "1Gi"}
    assert found["replicaCount"] == 2
    with pytest.raises(UsageError, match="fewer than two"):
        resources(replicas=1)


def test_s11_56_s11_57_selectors():
    enabled = yaml.safe_load(discovery_selectors(enabled={"istio-discovery": "enabled"}))
    assert enabled["meshConfig"]["discoverySelectors"] == [{"matchLabels": {"istio-discovery": "enabled"}}]
    excluded = yaml.safe_load(discovery_selectors(excluded={"istio-exclude": "true"}))
    expression = {"key": "istio-exclude", "operator": "NotIn", "values": ["true"]}
    assert excluded["meshConfig"]["discoverySelectors"] == [{"matchExpressions": [expression]}]
    both = yaml.safe_load(discovery_selectors(enabled={"a": "b"}, excluded={"c": "d"}))
    assert len(both["meshConfig"]["discoverySelectors"]) == 1
    with pytest.raises(UsageError, match="no label"):
        discovery_selectors()


def test_s11_50_the_mesh_wide_default():
    """S11-50: only what is named, everything else refused."""
    found = yaml.safe_load(default_sidecar("istio-system/*", "prometheus/*"))
    assert found["metadata"]["namespace"] == "istio-system"
    assert found["spec"]["egress"] == [{"hosts": ["istio-system/*", "prometheus/*"]}]
    assert found["spec"]["outboundTrafficPolicy"] == {"mode": "REGISTRY_ONLY"}


def test_s11_55_specific_sidecars_first_the_default_last():
    """S11-55: agreement, then workload by workload, the default last, each with a gate."""
    plan = rollout_plan(["shop/web", "shop/cart"])
    assert [step["step"] for step in plan] == ["agree", "shop/web", "shop/cart", "default"]
    assert all(step["gate"] for step in plan)
    assert ["mesh.sidecar_what_if(" in step["before"] for step in plan] == [False, True, True, True]


def test_s11_51_why_such_a_default():
    """S11-51: it guides owners, makes each workload declare what it calls, and keeps configuration minimal."""
    end = conclusions()["outgoing"]
    why = recommendations(end).set_index("lever")["why"]
    assert "minimal" in why["sidecar-scope"] and "declare" in why["sidecar-scope"] and "owners" in why["sidecar-scope"]
    assert why["sidecar-scope"].startswith(why["scale-out"])


def test_every_setting_of_every_conclusion_is_yaml_or_a_command():
    for end in conclusions().values():
        for row in recommendations(end).itertuples():
            if "\n" in row.setting:
                assert isinstance(yaml.safe_load(row.setting), dict), row.lever
            else:
                assert row.setting.startswith(("kubectl ", "istioctl ", "meshnb ")), row.lever
