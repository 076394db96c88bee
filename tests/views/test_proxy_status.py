"""Sync status as istioctl prints it."""

from __future__ import annotations

from meshnb.loaders.proxy_status_text import read_proxy_status
from meshnb.views.proxy_status import istioctl_proxy_status, proxy_status_matrix

# istioctl 1.21, its own expected output with several istiods
TEXT = """\
NAME       CLUSTER      CDS                            LDS          EDS                            RDS          ISTIOD      VERSION
proxy1     cluster1     STALE                          SYNCED       SYNCED                         NOT SENT     istiod1     1.1
proxy2     cluster2     STALE                          SYNCED       STALE                          SYNCED       istiod2     1.1
proxy3     cluster3     STALE (Never Acknowledged)     NOT SENT     STALE (Never Acknowledged)     SYNCED       istiod3     1.1
proxy4     cluster4     IGNORED                        IGNORED      IGNORED                        IGNORED      istiod4     1.1
"""  # noqa: E501 - as it is printed


def test_s10_10_what_istioctl_prints_comes_out_as_it_went_in():
    """S10-10: text to table to text."""
    assert istioctl_proxy_status(read_proxy_status(TEXT)) == TEXT


def test_proxies_in_trouble_come_first():
    status = read_proxy_status(
        "NAME  CDS  ISTIOD  VERSION\na.n  SYNCED (5m20s)  i  1.26\nb.n  STALE  i  1.26\nc.n  ERROR  i  1.26\n"
    )
    matrix = proxy_status_matrix(status)
    assert matrix.proxy.tolist() == ["c.n", "b.n", "a.n"]
    assert matrix.CDS.tolist() == ["ERROR", "STALE", "SYNCED (5m20s)"]
