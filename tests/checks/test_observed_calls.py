"""What workloads were seen to call, asked of their access logs (S11-52)."""

from __future__ import annotations

from datetime import UTC, datetime

import pandas as pd

from meshnb.checks.observed_calls import log_extent, observed_calls
from meshnb.model.tables.logs import ACCESS_LOG

from .tables import rows

API = "api.shop.svc.cluster.local"
WEB, DB = "web-1.shop", "db-1.data"


def line(proxy: str, minute: int, cluster: str | None, authority: str | None = None) -> dict:
    when = datetime(2026, 1, 1, 12, minute, tzinfo=UTC)
    return {"proxy": proxy, "start_time": when, "upstream_cluster": cluster, "authority": authority}


LOG = rows(
    ACCESS_LOG,
    line(WEB, 1, f"outbound|80|v1|{API}", "api"),
    line(WEB, 5, f"outbound|80|v1|{API}", "api"),
    line(WEB, 3, f"outbound|80|v1|{API}", "api.shop"),
    line(WEB, 2, "PassthroughCluster", "www.example.org"),
    *(line(WEB, 4, name) for name in ("inbound|8080||", "inbound-vip|80|http|x", "InboundPassthroughCluster")),
    *(line(WEB, 6, name) for name in ("prometheus_stats", "agent", None)),
    line(DB, 7, None),
)


def test_s11_52_calls_that_went_out_by_cluster_and_authority():
    """S11-52: what came in, and Envoy's own pages, are no calls of the workload."""
    found = observed_calls(LOG)
    shown = found[["proxy", "host", "port", "authority", "requests"]].astype(object).where(found.notna(), None)
    assert shown.values.tolist() == [
        [WEB, API, 80, "api", 2],
        [WEB, None, None, "www.example.org", 1],
        [WEB, API, 80, "api.shop", 1],
    ]
    assert (found.first_seen[0].minute, found.last_seen[0].minute) == (1, 5)
    assert found.first_seen.dtype.pyarrow_dtype.tz == "UTC"


def test_how_far_a_log_reaches_and_of_how_much_it_tells():
    found = log_extent(LOG).set_index("proxy")
    assert found.loc[WEB, ["lines", "told", "outbound"]].tolist() == [10, 9, 4]
    assert found.loc[DB, ["lines", "told", "outbound"]].tolist() == [1, 0, 0], "a log without clusters tells nothing"
    assert (found["first"][WEB], found["last"][WEB]) == tuple(
        pd.Timestamp(2026, 1, 1, 12, minute, tz="UTC") for minute in (1, 6)
    )


def test_nothing_logged_is_nothing_called():
    assert observed_calls(ACCESS_LOG.empty()).empty and log_extent(ACCESS_LOG.empty()).empty
