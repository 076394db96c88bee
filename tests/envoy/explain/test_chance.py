"""Probabilities of fractions and weights against counting every remainder."""

from __future__ import annotations

from math import lcm

from hypothesis import given, settings
from hypothesis import strategies as st

from meshnb.envoy.explain.chance import Chance

FRACTION = st.sampled_from([100, 10_000]).flatmap(lambda d: st.tuples(st.integers(0, d), st.just(d)))


@given(st.lists(FRACTION, max_size=3), st.integers(1, 60), st.integers(0, 60), st.integers(0, 60))
@settings(max_examples=60, deadline=None)
def test_shares_are_those_of_counting(fractions, total, first, second):
    begin, end = sorted((min(first, total), min(second, total)))
    chance, expected = Chance(), set(range(lcm(total, *[denominator for _, denominator in fractions])))
    whole = len(expected)
    for numerator, denominator in fractions:
        hit, chance = chance.split(numerator, denominator)
        assert abs(hit.probability - sum(n % denominator < numerator for n in expected) / whole) < 1e-9
        expected = {n for n in expected if n % denominator >= numerator}
    assert abs(chance.probability - len(expected) / whole) < 1e-9
    counted = sum(begin <= n % total < end for n in expected) / whole
    assert abs(chance.share(begin, end, total) - counted) < 1e-9


@given(st.integers(0, 2**64 - 1), FRACTION, st.integers(1, 1000))
def test_a_known_number_leaves_no_chance(random, fraction, total):
    hit, rest = Chance.known(random).split(*fraction)
    assert (hit.probability, rest.probability) in ((1.0, 0.0), (0.0, 1.0))
    assert (hit.probability == 1.0) == (random % fraction[1] < fraction[0])
    chosen = [hit if hit.spans else rest][0]
    assert [chosen.share(n, n + 1, total) for n in range(total)].index(1.0) == random % total


def test_the_quirk_of_one_random_number():
    hit, rest = Chance().split(20, 100)
    assert (hit.share(0, 50, 100), hit.share(50, 100, 100)) == (0.2, 0.0)
    assert (rest.share(0, 50, 100), rest.share(50, 100, 100)) == (0.3, 0.5)
