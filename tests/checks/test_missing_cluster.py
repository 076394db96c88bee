"""MNB0101: a route whose cluster its proxy does not have (S10-02, S10-13, S10-31, S10-33)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

import meshnb
from meshnb.checks.missing_cluster import missing_cluster
from meshnb.model.finding import Finding, Status

from .tables import GATEWAY, HOST, cluster, clusters, log, pods, request, route, routes, rules, services

DATA = Path(__file__).parents[1] / "data" / "envoy"
V1, V2 = (f"outbound|80|version-{v}|{HOST}" for v in ("v1", "v2"))
PODS = ("catalog-v1", "catalog-v2-a", "catalog-v2-b")


def look(routes, clusters, **more) -> list[Finding]:
    tables = {"access_log": None, "services": services(), "pods": pods(*PODS), "destination_rules": rules()}
    return missing_cluster(routes=routes, clusters=clusters, **(tables | more))


def test_subsets_without_a_destination_rule_are_named_with_their_virtual_service():
    """S10-02: names VirtualService, subset and host, with the share of requests; KIA1107 is the same (S10-13)."""
    nc = {"upstream_host": None, "upstream_cluster": None, "response_code_details": "cluster_not_found"}
    requests = log(*(request(503, "NC", **nc) for _ in range(3)), request(200))
    (finding,) = look(routes(route(V1, weight=20), route(V2, weight=80)), clusters(cluster()), access_log=requests)
    assert finding.status is Status.FAIL
    assert str(finding.subject) == "VirtualService istioinaction/catalog-v1-v2"
    for name in ("version-v1", "version-v2", HOST, "3 of 4 requests (75%)"):
        assert name in finding.summary
    assert finding.share == 0.75
    assert "KIA1107" in finding.refs
    assert "No DestinationRule exists" in finding.cause


def test_the_fix_is_the_destination_rule_the_pods_labels_ask_for():
    """S10-33: exactly this YAML, from the broken VirtualService and the labels of the pods."""
    (finding,) = look(routes(route(V1), route(V2)), clusters(cluster()))
    assert yaml.safe_load(finding.fix[0].text) == {
        "apiVersion": "networking.istio.io/v1beta1",
        "kind": "DestinationRule",
        "metadata": {"name": "catalog", "namespace": "istioinaction"},
        "spec": {
            "host": HOST,
            "subsets": [
                {"name": "version-v1", "labels": {"version": "v1"}},
                {"name": "version-v2", "labels": {"version": "v2"}},
            ],
        },
    }


def test_a_subset_no_pod_fits_is_said_not_invented():
    canary = f"outbound|80|canary|{HOST}"
    (finding,) = look(routes(route(V1), route(canary)), clusters(cluster()))
    assert "canary" in finding.fix[0].note
    assert "canary" not in finding.fix[0].text
    (finding,) = look(routes(route(canary)), clusters(cluster()))
    assert [fix.kind for fix in finding.fix] == ["command"]


def test_an_existing_destination_rule_is_patched_not_replaced():
    (finding,) = look(
        routes(route(V1), route(V2)), clusters(cluster(), cluster("version-v1")), destination_rules=rules("version-v1")
    )
    assert "does not define them" in finding.cause
    command = finding.fix[0].text
    assert command.startswith("kubectl -n istioinaction patch destinationrule catalog --type json")
    (patch,) = json.loads(command.partition("-p '")[2].rstrip("'"))
    assert patch["path"] == "/spec/subsets/-"
    assert patch["value"] == {"name": "version-v2", "labels": {"version": "v2"}}


def test_a_rule_without_any_subset_gets_the_list():
    (finding,) = look(routes(route(V1)), clusters(cluster()), destination_rules=rules(None))
    (patch,) = json.loads(finding.fix[0].text.partition("-p '")[2].rstrip("'"))
    assert patch["path"] == "/spec/subsets"
    assert patch["value"] == [{"name": "version-v1", "labels": {"version": "v1"}}]


def test_a_wrong_port_and_an_unknown_host_are_told_apart():
    (finding,) = look(routes(route(f"outbound|81||{HOST}")), clusters(cluster()))
    assert "no port 81; the proxy knows it on 80" in finding.cause
    (finding,) = look(routes(route("outbound|80||nope.default.svc.cluster.local")), clusters(cluster()))
    assert "no cluster of nope.default.svc.cluster.local at all" in finding.cause


def test_a_cluster_counts_only_for_the_proxy_that_has_it():
    elsewhere = clusters(cluster(), cluster("version-v1", proxy="webapp.istioinaction"))
    (finding,) = look(routes(route(V1)), elsewhere)
    assert finding.status is Status.FAIL
    assert GATEWAY in finding.summary


def test_all_clusters_there_passes():
    (finding,) = look(routes(route(V1), route(V2)), clusters(cluster("version-v1"), cluster("version-v2")))
    assert finding.status is Status.PASS


def test_routes_that_lead_to_no_cluster_are_not_a_pass():
    (finding,) = look(routes(route(None)), clusters(cluster()))
    assert finding.status is Status.UNKNOWN


def test_a_proxy_whose_clusters_are_not_known_is_not_accused():
    (finding,) = look(routes(route(V1)), clusters(cluster(proxy="other.default")))
    assert finding.status is not Status.FAIL


@pytest.mark.parametrize("table", ["access_log", "services", "pods", "destination_rules"])
def test_each_optional_table_may_be_absent(table):
    (finding,) = look(routes(route(V1)), clusters(cluster()), **{table: None})
    assert finding.status is Status.FAIL


@pytest.mark.parametrize("state", ["warming", "rejected", "draining"])
def test_a_route_that_is_not_in_use_accuses_nobody(state):
    (finding,) = look(routes(route(V1, state="active"), route(V2, state=state)), clusters(cluster("version-v1")))
    assert finding.status is Status.PASS
    assert "All 1 route destinations" in finding.summary


def test_a_cluster_that_still_warms_is_missing_but_not_the_fault_of_the_virtual_service():
    """Envoy's workers do not know a cluster before it is warm: NC, cluster_not_found."""
    warming = cluster("version-v1") | {"state": "warming"}
    (finding,) = look(
        routes(route(V1)), clusters(cluster(), warming), access_log=log(request(503, "NC", upstream_cluster=None))
    )
    assert finding.status is Status.FAIL
    assert str(finding.subject) == f"Cluster {V1}"
    assert "still warming; 1 of 1 requests (100%) failed with 503 NC." in finding.summary
    assert "waits for its endpoints" in finding.cause
    assert finding.share == 1.0
    assert [row["state"] for row in finding.evidence[1].rows] == ["warming"]


def test_a_warming_cluster_as_envoy_shows_it():
    """Recorded while Envoy answered 503 NC, cluster_not_found, to a request on the way to that cluster."""
    dump = meshnb.read_config_dump(DATA / "warming-config_dump.json", proxy="a.shop")
    assert dict(dump.clusters()[["cluster", "state"]].values) == {"warm": "warming", "xds": "active"}
    (finding,) = look(dump.routes(), dump.clusters())
    assert (finding.status, str(finding.subject)) == (Status.FAIL, "Cluster warm")


def test_a_cluster_that_warms_again_is_there_in_its_old_version():
    warming = cluster("version-v1") | {"state": "warming"}
    (finding,) = look(routes(route(V1)), clusters(cluster("version-v1") | {"state": "active"}, warming))
    assert finding.status is Status.PASS


def test_a_cluster_envoy_refused_is_told_with_its_words():
    refused = cluster("version-v1") | {"state": "rejected", "error_state": "Unknown TLS file"}
    unready, missing = look(routes(route(V1), route(V2)), clusters(cluster(), refused))
    assert (str(unready.subject), str(missing.subject)) == (
        f"Cluster {V1}",
        "VirtualService istioinaction/catalog-v1-v2",
    )
    assert "Unknown TLS file" in unready.cause
    assert "version-v1" not in missing.summary
    # what is evidence of clusters the proxy has is of those in use
    assert "version-v1" not in str(missing.evidence[1].rows)
