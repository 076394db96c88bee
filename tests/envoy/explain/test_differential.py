"""Explanations against a real Envoy: same configuration, same requests, no difference allowed (S10-25)."""

from __future__ import annotations

import json

import explain_differential as differential
import pytest

pytestmark = pytest.mark.lab


def assert_agreement(result: differential.Result, *, at_least: int) -> None:
    shown = json.dumps(result.mismatches[:3], indent=1, default=str)[:6000]
    assert not result.mismatches, f"{len(result.mismatches)} of {result.requests} differ: {shown}"
    assert result.requests >= at_least
    assert result.undecided == 0


@pytest.mark.parametrize("seed", [11, 12])
def test_routes_agree_with_envoy(seed):
    result = differential.compare_routes(seed, configurations=25, requests=60)
    assert_agreement(result, at_least=1500)
    # A comparison that only ever sees 404 proves nothing.
    for kind in ("cluster", "cluster_not_found", "redirect", "direct_response", "reply"):
        assert result.kinds[kind] > 20, result.kinds


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 105))
def test_many_routes_agree_with_envoy(seed):
    assert_agreement(differential.compare_routes(seed, configurations=40, requests=400), at_least=16_000)


def test_the_comparison_notices_a_wrong_explanation(monkeypatch):
    """The judge is not blind: an explainer that ignores header matchers is caught."""
    from meshnb.envoy.explain import route

    original = route.Route.__init__

    def wrong(self, config, index, **more):
        original(self, config, index, **more)
        self.headers = []

    monkeypatch.setattr(route.Route, "__init__", wrong)
    assert differential.compare_routes(11, configurations=10, requests=60).mismatches
