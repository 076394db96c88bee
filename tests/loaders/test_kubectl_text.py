"""What kubectl top and kubectl resource-capacity print."""

from __future__ import annotations

import pytest

from meshnb.errors import FormatError
from meshnb.loaders.kubectl_text import read_resource_capacity, read_top

MI = 2.0**20


def test_s11_16_top_of_containers():
    """S11-16: istiod and the application's namespace."""
    table = read_top(
        "POD                       NAME          CPU(cores)   MEMORY(bytes)   \n"
        "istiod-79679bd66c-wq9bp   discovery     3m           51Mi            \n"
        "catalog-5d4f7c9b8-v1aaa   istio-proxy   1250m        1Gi             \n"
    )
    assert table.pod.tolist() == ["istiod-79679bd66c-wq9bp", "catalog-5d4f7c9b8-v1aaa"]
    assert table.container.tolist() == ["discovery", "istio-proxy"]
    assert table.cpu_m.tolist() == [3.0, 1250.0]
    assert table.memory_bytes.tolist() == [51 * MI, 1024 * MI]


def test_s11_16_top_of_pods_with_namespaces_and_a_sum():
    """S11-16: -A and --sum; what is unknown is missing."""
    table = read_top(
        "NAMESPACE      NAME       CPU(cores)   MEMORY(bytes)   \n"
        "istio-system   istiod-1   <unknown>    51Mi            \n"
        "                          3m           51Mi            \n"
    )
    assert table[["namespace", "pod"]].values.tolist() == [["istio-system", "istiod-1"]]
    assert table.cpu_m.isna().all() and table.container.isna().all()


# the two forms kube-capacity documents, with and without -a
USED = """\
NODE              NAMESPACE     POD                   CONTAINER      CPU REQUESTS    CPU LIMITS    CPU UTIL    MEMORY REQUESTS    MEMORY LIMITS   MEMORY UTIL
*                 *             *                     *              560m (28%)      780m (38%)    340m (17%)  572Mi (9%)         770Mi (13%)     470Mi (8%)
example-node-1    istio-system  istiod-79679bd66c     discovery      10m (0%)        0m (0%)       3m (0%)     100Mi (1%)         0Mi (0%)        51Mi (0%)
"""  # noqa: E501 - as it is printed


def test_s11_17_requests_limits_and_use():
    """S11-17: -c -u."""
    table = read_resource_capacity(USED)
    assert table.node.tolist() == ["*", "example-node-1"]
    assert table.container.tolist() == ["*", "discovery"]
    assert table.cpu_requests_m.tolist() == [560.0, 10.0]
    assert table.memory_used_bytes.tolist() == [470 * MI, 51 * MI]
    assert table.cpu_capacity_m.isna().all()


def test_s11_17_with_a_the_first_number_is_what_is_left():
    """S11-17: -a prints available and capacity; requested is the difference."""
    table = read_resource_capacity("NODE    CPU REQUESTS    MEMORY LIMITS\nn1      1440m/2000m     5923Mi/6144Mi\n")
    assert (table.cpu_requests_m[0], table.cpu_capacity_m[0]) == (560.0, 2000.0)
    assert (table.memory_limits_bytes[0], table.memory_capacity_bytes[0]) == (221 * MI, 6144 * MI)


@pytest.mark.parametrize("read", [read_top, read_resource_capacity])
def test_something_else_is_an_error(read):
    with pytest.raises(FormatError, match="no table"):
        read("error: Metrics API not available", file="top.txt")


def loop(*parts: str) -> str:
    return "\n".join(parts) + "\n"


TOP = "POD        NAME        CPU(cores)   MEMORY(bytes)"


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("Mon Nov 23 09:00:00 UTC 2026", "Mon Nov 23 09:00:05 UTC 2026"),
        ("Mon 23 Nov 2026 09:00:00 AM UTC", "Mon 23 Nov 2026 09:00:05 AM UTC"),
        ("2026-11-23T09:00:00Z", "2026-11-23T09:00:05Z"),
        ("2026-11-23T10:00:00+01:00", "2026-11-23T10:00:05+01:00"),
    ],
)
@pytest.mark.parametrize("before", [True, False])
def test_s11_36_top_in_a_loop_with_the_date(first: str, second: str, before: bool):
    """S11-36: `while true; do date -u; kubectl top …; sleep 5; done`, or the date after each table."""
    one, two = f"{TOP}\nistiod-1   discovery   3m           51Mi", f"{TOP}\nistiod-1   discovery   250m         80Mi"
    text = loop(first, one, second, two) if before else loop(one, first, two, second)
    table = read_top(text)
    assert [at.isoformat() for at in table.time] == ["2026-11-23T09:00:00+00:00", "2026-11-23T09:00:05+00:00"]
    assert table.cpu_m.tolist() == [3.0, 250.0]


def test_s11_36_a_loop_that_was_ended_or_had_no_answer():
    text = loop(
        "Mon Nov 23 09:00:00 UTC 2026",
        f"{TOP}\nistiod-1   discovery   3m           51Mi",
        "Mon Nov 23 09:00:05 UTC 2026",
        "error: metrics not available yet",
        "Mon Nov 23 09:00:10 UTC 2026",
        "^C",
    )
    table = read_top(text)
    assert len(table) == 1 and table.time[0].second == 0
    with pytest.raises(FormatError, match="no table"):
        read_top("Mon Nov 23 09:00:05 UTC 2026\nerror: metrics not available yet\n")


def test_s11_36_a_zone_that_is_a_mere_name_is_refused():
    """CST is three zones; guessing would put the CPU of a push beside the wrong push."""
    with pytest.raises(FormatError, match=r"'Mon Nov 23 09:00:00 CST 2026' has no time zone that is known"):
        read_top(loop("Mon Nov 23 09:00:00 CST 2026", f"{TOP}\nistiod-1   discovery   3m           51Mi"))
    with pytest.raises(FormatError, match="no time zone"):
        read_top(loop("2026-11-23 09:00:00", f"{TOP}\nistiod-1   discovery   3m           51Mi"))
