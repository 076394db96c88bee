"""discoverySelectors against namespaces, and what leaves every proxy (S11-56, S11-57, S11-59)."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pandas as pd
import pytest

from meshnb.errors import UsageError
from meshnb.model.tables.objects import NAMESPACES
from meshnb.tuning.discovery import discovery, selected, selectors_of
from meshnb.tuning.levers import discovery_selectors

from ..checks.tables import rows

ENABLED = discovery_selectors(enabled={"istio-discovery": "enabled"})
EXCLUDED = discovery_selectors(excluded={"istio-exclude": "true"})


def test_s11_56_57_the_two_styles_of_the_study_notes():
    """S11-56, S11-57: matchLabels that are asked for, and a label that excludes."""
    enabled, excluded = selectors_of(ENABLED), selectors_of(EXCLUDED)
    assert selected(enabled, {"istio-discovery": "enabled"}) and not selected(enabled, {})
    assert selected(excluded, {}) and not selected(excluded, {"istio-exclude": "true"})
    assert selected(excluded, {"istio-exclude": "false"})


@pytest.mark.parametrize(
    ("selector", "labels", "expected"),
    [
        ({"matchLabels": {"a": "1", "b": "2"}}, {"a": "1"}, False),
        ({"matchLabels": {"a": "1"}, "matchExpressions": [{"key": "b", "operator": "Exists"}]}, {"a": "1"}, False),
        ({"matchExpressions": [{"key": "a", "operator": "In", "values": ["1", "2"]}]}, {"a": "2"}, True),
        ({"matchExpressions": [{"key": "a", "operator": "In", "values": ["1"]}]}, {}, False),
        ({"matchExpressions": [{"key": "a", "operator": "DoesNotExist"}]}, {"a": ""}, False),
        ({}, {"any": "thing"}, True),
    ],
)
def test_conditions_as_kubernetes_has_them(selector, labels, expected):
    assert selected([selector], labels) is expected
    assert selected([selector, {"matchLabels": {"never": "so"}}], labels) is expected  # one of several is enough


def test_no_selectors_look_at_all_and_what_is_none_is_refused():
    assert selected([], {})
    with pytest.raises(UsageError, match="no operator 'Is'"):
        selected([{"matchExpressions": [{"key": "a", "operator": "Is"}]}], {})
    wrong = (
        {"matchLabels": ["a"]}, {"matchExpressions": ["a"]}, {"matchLabel": {"a": "b"}},
        {"matchExpressions": [{"operator": "Exists"}]},
        {"matchExpressions": [{"key": "a", "operator": "In", "values": "abc"}]},
    )  # fmt: skip
    for selector in wrong:
        with pytest.raises(UsageError, match=r"no selector|no condition"):
            selected([selector], {"a": "b"})
    for text in ("a: 1", "- text", "discoverySelectors: {}", ": [", "- 2026-13-45"):
        with pytest.raises(UsageError):
            selectors_of(text)
    operator = "kind: IstioOperator\nspec:\n  meshConfig:\n    discoverySelectors:\n      - matchLabels: {a: b}\n"
    assert selectors_of(operator) == [{"matchLabels": {"a": "b"}}]


def space(name: str, **labels: str) -> dict:
    counts = {"pods": 1, "with_proxy": 1, "services": 1, "endpoints": 1}
    return {"namespace": name, "labels": json.dumps({k.replace("_", "-"): v for k, v in labels.items()}), **counts}


NAMESPACES_TABLE = rows(NAMESPACES, space("istio-system"), space("new-ns", istio_injection="enabled"), space("shop"))
ENDPOINTS = pd.DataFrame(
    {
        "proxy": ["gateway.istio-system", "gateway.istio-system", "web.shop"],
        "service_namespace": ["new-ns", "shop", "new-ns"],
        "endpoint": ["10.10.0.27:80", "10.10.0.28:80", None],
    }
)
CALLS = {"new-ns": (7, datetime(2026, 1, 1, tzinfo=UTC))}


def look(labels: dict | None = None, text: str = EXCLUDED, **more: object) -> pd.DataFrame:
    given = {"now": [], "endpoints": ENDPOINTS, "calls": CALLS} | more
    return discovery(NAMESPACES_TABLE, then=selectors_of(text), labels=labels or {}, **given)


def test_s11_59_what_leaves_every_proxy_before_a_namespace_is_labelled():
    """S11-59: the endpoint 10.10.0.27 is at the gateway; with the label it, and what it serves, leaves."""
    assert set(look().change) == {"stays"}
    found = look({"new-ns": {"istio-exclude": "true"}})
    first = found.iloc[0]
    assert (first.namespace, first.change, first.now, first.then) == ("new-ns", "leaves", True, False)
    assert (first.services, first.endpoints, first.proxies_with_them, first.proxy_endpoints) == (1, 1, 2, 1)
    assert (first.calls, first.last_call) == CALLS["new-ns"]
    assert any("7 calls" in note for note in first.notes) and any("watches" in note for note in first.notes)
    assert json.loads(first.labels) == {"istio-injection": "enabled", "istio-exclude": "true"}
    assert found.change.tolist() == ["leaves", "stays", "stays"]


def test_selectors_that_leave_out_the_root_namespace_are_warned_of():
    found = look(text=ENABLED, labels={"shop": {"istio-discovery": "enabled"}}).set_index("namespace")
    assert found.change.to_dict() == {"istio-system": "leaves", "new-ns": "leaves", "shop": "stays"}
    assert any("root namespace" in note for note in found.notes["istio-system"])


def test_a_label_taken_away_lets_a_namespace_in():
    out = discovery(
        rows(NAMESPACES, space("shop", istio_exclude="true")), now=selectors_of(EXCLUDED), then=selectors_of(EXCLUDED),
        labels={"shop": {"istio-exclude": None}}, endpoints=None, calls=None,
    )  # fmt: skip
    (row,) = out.itertuples()
    assert (row.now, row.then, row.change) == (False, True, "joins")


def test_what_was_not_captured_is_unknown():
    first = look({"new-ns": {"istio-exclude": "true"}}, now=None, endpoints=None, calls=None).iloc[0]
    assert first.now is pd.NA and first.proxies_with_them is pd.NA and first.calls is pd.NA
    assert any("MeshConfig was not captured, or is unreadable" in note for note in first.notes)
    assert any("unknown" in note for note in first.notes)
    with pytest.raises(UsageError, match="no namespace nws"):
        look({"nws": {}})
    with pytest.raises(UsageError, match="labels of new-ns are no mapping"):
        look({"new-ns": "istio-exclude=true"})
