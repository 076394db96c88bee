"""PromQL taken apart; every query of the catalogue and every oddity of the syntax."""

from __future__ import annotations

import pytest

from meshnb.errors import UsageError
from meshnb.tuning.catalogue import queries
from meshnb.tuning.promql import parse, quote


@pytest.mark.parametrize("name", sorted(queries()))
def test_every_query_keeps_its_text(name):
    text = queries()[name].text()
    assert parse(text).text == text


@pytest.mark.parametrize(
    ("expr", "kind", "selectors"),
    [
        ("-x ^ 2", "unary", ["x"]),
        ("x offset -5m", "selector", ["x"]),
        ("x @ end() ", "selector", ["x"]),
        ("x @ 1700000000.5", "selector", ["x"]),
        ("max_over_time(rate(x[5m])[1h:30s])", "call", ["x"]),
        ("max_over_time((x)[1h:])", "call", ["x"]),
        ("a and on (pod) b unless c", "binary", ["a", "b", "c"]),
        ("a / ignoring (code) group_left (team) b", "binary", ["a", "b"]),
        ("a > bool 3", "binary", ["a"]),
        ("sum without (le) (x)", "aggregation", ["x"]),
        ("topk(3, x) by (pod)", "aggregation", ["x"]),
        ('{__name__="x", a!~"b|c"}', "selector", ["x"]),
        ('{"dotted.name", a="b"}', "selector", ["dotted.name"]),
        ("x{a='it\\'s'} # a comment", "selector", ["x"]),
        ("rate(x[$__rate_interval])", "call", ["x"]),
        ("1 - 0x1f + .5e3 + Inf", "binary", []),
        ("'text'", "string", []),
        ("bottomk(1, x{})", "aggregation", ["x"]),
        ("by_the_way", "selector", ["by_the_way"]),
        ("sum_of_all", "selector", ["sum_of_all"]),
    ],
)
def test_syntax(expr, kind, selectors):
    node = parse(expr)
    assert node.kind == kind
    assert [s.name for s in node.selectors] == selectors


@pytest.mark.parametrize(
    "expr", ["", "sum(", "x{a}", "x{a=}", "x[5m", "1 +", "sum by (a x", "x y", "x{a='b'", "§", "()"]
)
def test_what_is_no_promql_says_where(expr):
    with pytest.raises(UsageError, match="position"):
        parse(expr)


def test_values_are_unquoted_and_quoted():
    (matcher,) = parse(r'x{a="b\\.c\"d"}').matchers
    assert matcher.value == r'b\.c"d'
    assert parse(f"x{{a={quote(matcher.value)}}}").matchers[0].value == matcher.value
