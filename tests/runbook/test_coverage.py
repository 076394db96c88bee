"""Who takes part, and how hosts are protected."""

from __future__ import annotations

import pytest

import meshnb
from meshnb.checks.coverage import injection, namespaces_table, resilience_table


@pytest.fixture(scope="module")
def demo():
    return meshnb.open("demo")


def test_s11_59_namespaces_with_what_would_leave_every_proxy(demo):
    """S11-59: labels of injection, and services and endpoints that go if a namespace is excluded."""
    table = demo.namespaces().set_index("namespace")
    row = table.loc["istioinaction"]
    assert (row.injection, row.pods, row.with_proxy, row.services, row.endpoints) == ("enabled", 4, 4, 2, 4)
    assert row.proxies_with_them == 5


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ({"istio-injection": "disabled", "istio.io/rev": "x"}, "disabled"),
        ({"istio.io/rev": "1-19"}, "revision 1-19"),
        ({"istio.io/dataplane-mode": "ambient"}, "ambient"),
        ({}, "none"),
    ],
)
def test_what_labels_ask_for(labels, expected):
    assert injection(labels) == expected


def test_only_routes_and_clusters_in_use_count(demo):
    clusters, routes = demo.clusters(), demo.routes()
    warm = resilience_table(clusters, routes)
    assert warm.routes.sum() > 0
    cold = resilience_table(clusters, routes.assign(state="warming"))
    assert cold.routes.sum() == 0
    tables = {"pods": demo.pods(), "services": demo.services(), "endpoint_slices": demo.endpoint_slices()}
    namespaces = namespaces_table(demo.objects("Namespace"), **tables, clusters=clusters.assign(state="rejected"))
    assert set(namespaces.proxies_with_them) == {0}


def test_s11_02_which_hosts_have_retries_and_outlier_detection(demo):
    """S11-02: coverage with values."""
    table = demo.resilience()
    catalog = table[table.host == "catalog.istioinaction.svc.cluster.local"]
    clusters = demo.clusters()
    own = clusters[(clusters.fqdn == "catalog.istioinaction.svc.cluster.local") & (clusters.direction == "outbound")]
    assert set(catalog.subset.dropna()) == {"version-v1", "version-v2"}
    assert catalog.proxies.sum() == len(own)
    assert set(catalog.outlier_detection) == set(own.outlier_detection)
    routes = demo.routes()
    assert (catalog.routes_with_retries <= catalog.routes).all()
    assert (
        catalog.routes_with_retries.sum()
        == routes[
            routes.cluster.str.endswith("|catalog.istioinaction.svc.cluster.local").fillna(False)
            & routes.retry_on.notna()
        ].shape[0]
    )
