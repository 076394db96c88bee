"""Explanations against a real Envoy: same configuration, same requests, no difference allowed (S10-25)."""

from __future__ import annotations

import json

import explain_chains as chains
import explain_differential as differential
import explain_upstreams as upstreams
import pytest

pytestmark = pytest.mark.lab


def disagreement(result: differential.Result) -> str:
    """What differs, in words; empty if nothing does and all of it was decided."""
    if result.mismatches:
        shown = json.dumps(result.mismatches[:3], indent=1, default=str)[:6000]
        return f"{len(result.mismatches)} of {result.requests} differ: {shown}"
    return f"{result.undecided} are undecided" if result.undecided else ""


@pytest.mark.parametrize("seed", [11, 12])
def test_routes_agree_with_envoy(seed):
    result = differential.compare_routes(seed, configurations=25, requests=60)
    assert not disagreement(result)
    assert result.requests >= 1500
    # No request took one of them: that would be a mismatch.
    assert result.unreachable > 5
    # A comparison that only ever sees 404 proves nothing.
    for kind in ("cluster", "cluster_not_found", "redirect", "direct_response", "reply"):
        assert result.kinds[kind] > 20, result.kinds


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 105))
def test_many_routes_agree_with_envoy(seed):
    result = differential.compare_routes(seed, configurations=40, requests=400)
    assert not disagreement(result)
    assert result.requests >= 16_000


def test_the_comparison_notices_a_wrong_explanation(monkeypatch):
    """The judge is not blind: an explainer that ignores header matchers is caught."""
    from meshnb.envoy.explain import route

    original = route.Route.__init__

    def wrong(self, config, index, **more):
        original(self, config, index, **more)
        self.headers = []

    monkeypatch.setattr(route.Route, "__init__", wrong)
    assert differential.compare_routes(11, configurations=10, requests=60).mismatches


def test_filter_chains_agree_with_envoy():
    """Ports, IPs, SNI, ALPN, transport, sources, by PROXY protocol and with real ClientHellos."""
    result = chains.compare_chains(21, listeners=30, connections=50)
    assert not disagreement(result)
    assert result.requests >= 1500
    assert result.kinds["chain"] > 300
    assert result.kinds["filter_chain_not_found"] > 150


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(200, 203))
def test_many_filter_chains_agree_with_envoy(seed):
    result = chains.compare_chains(seed, listeners=60, connections=200)
    assert not disagreement(result)
    assert result.requests >= 12_000


def test_redirected_traffic_reaches_the_listener_explained():
    """`use_original_dst`: exact address, wildcard of the family, else the listener where it arrives."""
    result = chains.compare_hand_off(31, connections=300)
    assert not disagreement(result)
    assert result.requests >= 300
    assert len(result.kinds) == len(chains.HAND_OFF) + 1


def test_endpoints_agree_with_envoy():
    """Priorities, health, panic threshold and subsets: hosts used and UH."""
    result = upstreams.compare_clusters(41, clusters=40)
    assert not disagreement(result)
    assert result.requests >= 40
    assert result.kinds["UH"] > 5
    assert result.kinds["hosts"] > 15


@pytest.mark.slow
def test_many_endpoints_agree_with_envoy():
    result = upstreams.compare_clusters(42, clusters=400)
    assert not disagreement(result)
    assert result.requests >= 400
