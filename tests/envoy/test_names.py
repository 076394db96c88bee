"""Names of clusters, both ways (S10-30)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshnb.envoy.names import ClusterName

HOST = "catalog.istioinaction.svc.cluster.local"


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        (f"outbound|80||{HOST}", ("outbound", 80, "", HOST)),
        (f"outbound|80|version-v1|{HOST}", ("outbound", 80, "version-v1", HOST)),
        ("inbound|8080||", ("inbound", 8080, "", "")),
        (f"inbound|80|http|{HOST}", ("inbound", 80, "http", HOST)),
        (f"inbound-vip|8000|http|{HOST}", ("inbound-vip", 8000, "http", HOST)),
        ("outbound|443||*.example.com", ("outbound", 443, "", "*.example.com")),
    ],
)
def test_s10_30_a_name_has_four_parts_and_is_written_back(text, parts):
    name = ClusterName.parse(text)
    assert (name.direction, name.port, name.subset, name.fqdn) == parts
    assert str(name) == text
    assert name.own == ""


def test_s10_30_the_sni_form_is_read_and_written():
    name = ClusterName.parse(f"outbound_.80_.version-v1_.{HOST}")
    assert name == ClusterName("outbound", 80, "version-v1", HOST)
    assert str(name) == f"outbound|80|version-v1|{HOST}"
    assert name.sni == f"outbound_.80_.version-v1_.{HOST}"
    assert ClusterName("outbound", 80, "", HOST).sni == f"outbound_.80_._.{HOST}"


@pytest.mark.parametrize(
    "text",
    [
        "BlackHoleCluster",
        "PassthroughCluster",
        "InboundPassthroughCluster",
        "prometheus_stats",
        "",
        "outbound|http||a.b",
        "outbound|080||a.b",
        "outbound|80|a|b|c",
        "outbound|80",
        "|80||a.b",
    ],
)
def test_s10_30_a_name_without_parts_stays_whole(text):
    name = ClusterName.parse(text)
    assert name.own == text
    assert str(name) == name.sni == text


def test_a_name_says_what_it_means():
    assert "known ones" in ClusterName.parse("BlackHoleCluster").meaning
    assert ClusterName.parse(f"outbound|80|v1|{HOST}").meaning == f"outbound to {HOST}, port 80, subset v1"
    assert ClusterName.parse("inbound|8080||").meaning == "inbound to port 8080 of the workload"


@given(st.text(st.characters(codec="utf-8"), max_size=60) | st.from_regex(r"[a-z-]{1,8}\|\d{1,6}\|[a-z0-9]*\|[a-z.|]*"))
def test_every_text_is_written_back(text):
    name = ClusterName.parse(text)
    if "_." not in text:
        assert str(name) == text
    assert ClusterName.parse(str(name)) == name


@given(
    st.sampled_from(["outbound", "inbound", "inbound-vip"]),
    st.integers(0, 65535),
    st.from_regex(r"[a-z0-9.-]{0,10}", fullmatch=True),
    st.from_regex(r"[a-z0-9.*-]{0,30}", fullmatch=True),
)
def test_both_forms_hold_the_same(direction, port, subset, fqdn):
    name = ClusterName(direction, port, subset, fqdn)
    assert ClusterName.parse(str(name)) == name
    assert ClusterName.parse(name.sni) == name
