"""Is the data plane up to date, and who is missing?"""

from __future__ import annotations

import json

import pytest

from meshnb.checks import registry
from meshnb.loaders.objects import objects_table, pods_table
from meshnb.loaders.syncz import TYPES
from meshnb.model.finding import Severity, Status
from meshnb.model.tables.components import ISTIODS
from meshnb.model.tables.sync import DEBUG_ENDPOINTS, PROXY_STATUS

URLS = {short: f"type.googleapis.com/{long}" for long, short in TYPES.items()}


def status(*rows, **common):
    """Rows `(proxy, type, status)` with more columns by keyword."""
    base = {"istiod": "istiod-1", "version": "1.17.8", "istiod_version": "1.17.8", **common}
    return PROXY_STATUS.rows(
        {**base, "proxy": p, "type": t, "type_url": URLS[t], "status": s, "never_acknowledged": False, **dict(*more)}
        for p, t, s, *more in rows
    )


def run(code, **tables):
    check = registry.find(code)
    return list(check.function(**{**dict.fromkeys(check.uses), **tables}))


SYNCED = status(("a.n", "CDS", "SYNCED"), ("a.n", "LDS", "SYNCED"), ("a.n", "RDS", "NOT SENT"))


@pytest.mark.parametrize("code", ["MNB0310", "MNB0311", "MNB0313", "MNB0314", "MNB0315"])
def test_s10_11_a_synced_mesh_passes(code):
    """S10-11: SYNCED is fine, NOT SENT of routes is nothing to send."""
    (finding,) = run(code, proxy_status=SYNCED)
    assert finding.status is Status.PASS


@pytest.mark.parametrize("code", ["MNB0310", "MNB0311", "MNB0315"])
def test_a_source_that_names_types_alone_is_unknown(code):
    (finding,) = run(code, proxy_status=SYNCED.assign(status=None).astype(SYNCED.dtypes))
    assert finding.status is Status.UNKNOWN
    assert "-v 1" in finding.summary


def test_s10_11_a_stale_proxy_is_found_with_types_and_age():
    """S10-11: per proxy and type, with its age."""
    frame = status(("a.n", "CDS", "STALE", {"age_s": 300.0}), ("a.n", "EDS", "STALE", {"age_s": 20.0}))
    (finding,) = run("MNB0310", proxy_status=frame)
    assert (finding.status, finding.severity) == (Status.FAIL, Severity.ERROR)
    assert str(finding.subject) == "Proxy n/a"
    assert "CDS, EDS is STALE for 5 min" in finding.summary


def test_stale_without_age_is_a_warning_and_just_sent_is_no_alarm():
    (unknown_age,) = run("MNB0310", proxy_status=status(("a.n", "CDS", "STALE")))
    assert unknown_age.severity is Severity.WARNING
    (in_flight,) = run("MNB0310", proxy_status=status(("a.n", "CDS", "STALE", {"age_s": 2.0})))
    assert in_flight.severity is Severity.INFO


@pytest.mark.parametrize(("version", "severity"), [("1.22.1", Severity.INFO), ("1.21.0", Severity.WARNING)])
def test_t24_rds_never_acknowledged_is_a_known_false_alarm_of_one_release(version, severity):
    """T24: STALE is judged with the release in mind."""
    frame = status(("a.n", "RDS", "STALE", {"never_acknowledged": True}), version=version)
    (finding,) = run("MNB0310", proxy_status=frame)
    assert finding.severity is severity
    assert ("51612" in finding.cause) is (severity is Severity.INFO)


def test_many_stale_proxies_of_one_istiod_are_one_finding_about_it():
    rows = [(f"p{i}.n", "CDS", "STALE", {"age_s": 60.0}) for i in range(8)] + [("q.n", "CDS", "SYNCED")]
    (finding,) = run("MNB0310", proxy_status=status(*rows))
    assert str(finding.subject) == "Istiod istiod-1"
    assert finding.summary == "8 of the 9 proxies of istiod istiod-1 are STALE."


RULE = {
    "apiVersion": "networking.istio.io/v1beta1",
    "kind": "DestinationRule",
    "metadata": {"name": "catalog", "namespace": "n"},
    "spec": {"host": "catalog", "subsets": [{"name": "v1"}]},
}
SERVICE = {
    "apiVersion": "networking.istio.io/v1beta1",
    "kind": "VirtualService",
    "metadata": {"name": "twice", "namespace": "n"},
    "spec": {"hosts": ["catalog.istioinaction.io"]},
}
FILTER = {
    "apiVersion": "networking.istio.io/v1alpha3",
    "kind": "EnvoyFilter",
    "metadata": {"name": "two-routers", "namespace": "n"},
    "spec": {"configPatches": [{"patch": {"value": {"name": "envoy.filters.http.router"}}}]},
}


@pytest.mark.parametrize(
    ("kind", "words", "subject"),
    [
        (
            "CDS",
            "Error adding/updating cluster(s) outbound|80|v1|catalog.n.svc.cluster.local: no such load balancer",
            "DestinationRule n/catalog",
        ),
        (
            "RDS",
            "Only unique values for domains are permitted. Duplicate entry of domain catalog.istioinaction.io in route "
            "http.8080",
            "VirtualService n/twice",
        ),
        (
            "LDS",
            "Error adding/updating listener(s) 0.0.0.0_8080: Error: terminal filter named envoy.filters.http.router of "
            "type envoy.filters.http.router must be the last filter in a http filter chain.",
            "EnvoyFilter n/two-routers",
        ),
    ],
)
def test_a_rejection_is_told_in_envoys_words_with_the_object_they_point_at(kind, words, subject):
    objects = objects_table([RULE, SERVICE, FILTER])
    frame = status(("a.n", kind, "ERROR", {"error": words}), ("b.n", kind, "ERROR", {"error": words}))
    (finding,) = run("MNB0311", proxy_status=frame, objects=objects)
    assert str(finding.subject) == subject
    assert words in finding.summary and "2 proxies" in finding.summary
    assert finding.fix[0].text.startswith("kubectl -n n edit ")


RATE_LIMIT = {
    "apiVersion": "networking.istio.io/v1alpha3",
    "kind": "EnvoyFilter",
    "metadata": {"name": "gateway-rate-limit", "namespace": "istio-system"},
    "spec": {
        "configPatches": [
            {
                "applyTo": "HTTP_FILTER",
                "patch": {"value": {"name": "envoy.filters.http.local_ratelimit", "token_bucket": {"max_tokens": 5}}},
            }
        ]
    },
}


def test_a_rejection_in_envoys_terms_points_at_the_filter_that_uses_them():
    # recorded from Envoy in the lab's scenario rejected-config
    words = "Error adding/updating listener(s) 0.0.0.0_8080: local rate limit token bucket fill timer must be >= 50ms\n"
    objects = objects_table([RATE_LIMIT, FILTER, SERVICE])
    (finding,) = run("MNB0311", proxy_status=status(("a.n", "LDS", "ERROR", {"error": words})), objects=objects)
    assert str(finding.subject) == "EnvoyFilter istio-system/gateway-rate-limit"
    assert "token_bucket" in json.dumps(finding.to_dict())


@pytest.mark.parametrize(("requests", "expected"), [([1, 1], "pass"), ([0, 0], "error"), ([1, 0], "error")])
def test_envoys_that_are_not_connected_are_found_without_istiod(requests, expected):
    from meshnb.model.tables.envoy import ENDPOINTS

    rows = [
        {"proxy": f"p{i}.n", "cluster": "xds-grpc", "port": 15010, "endpoint": "x:15010", "health_status": "HEALTHY"}
        | {"priority": 0, "source": "clusters", "rq_active": count}
        for i, count in enumerate(requests)
    ]
    (finding,) = run("MNB0317", endpoints=ENDPOINTS.rows(rows))
    assert expected == (str(finding.severity) if finding.status is Status.FAIL else str(finding.status))
    if expected == "error":
        assert finding.subject.kind == ("ControlPlane" if sum(requests) == 0 else "Proxy")
    (unknown,) = run("MNB0317", endpoints=ENDPOINTS.empty())
    assert unknown.status is Status.UNKNOWN


def test_a_rejection_that_points_at_nothing_is_about_the_proxy():
    frame = status(("a.n", "LDS", "ERROR", {"error": "no"}), ("a.n", "CDS", "ERROR"))
    (finding,) = run("MNB0311", proxy_status=frame, objects=objects_table([RULE]))
    assert str(finding.subject) == "Proxy n/a"
    assert "LDS: no" in finding.summary and "CDS: istiod does not say why" in finding.summary


def test_clusters_never_sent_are_a_warning():
    (finding,) = run("MNB0315", proxy_status=status(("a.n", "CDS", "NOT SENT")))
    assert finding.severity is Severity.WARNING


def pod(name, *, labels=None, proxy=True, phase="Running"):
    containers = [{"name": "app"}, {"name": "istio-proxy"}] if proxy else [{"name": "app"}]
    return {
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "n", "labels": labels or {}},
        "spec": {"containers": containers},
        "status": {"phase": phase},
    }


ASKED = DEBUG_ENDPOINTS.rows([{"istiod": "istiod-1", "endpoint": "syncz", "bytes": 2, "document": "x"}])


def test_a_pod_no_istiod_lists_is_found():
    pods = pods_table([pod("a"), pod("lost"), pod("plain", proxy=False), pod("done", phase="Succeeded")])
    (finding,) = run("MNB0312", proxy_status=SYNCED, pods=pods, debug_endpoints=ASKED)
    assert (finding.status, str(finding.subject)) == (Status.FAIL, "Proxy n/lost")


def test_while_an_istiod_was_not_asked_nothing_is_said_to_be_missing():
    pods = pods_table([pod("lost"), pod("istiod-2", labels={"app": "istiod"}, proxy=False)])
    (finding,) = run("MNB0312", proxy_status=SYNCED, pods=pods, debug_endpoints=ASKED)
    assert finding.status is Status.UNKNOWN
    assert "istiod-2" in finding.summary


def test_every_pod_known_passes():
    (finding,) = run("MNB0312", proxy_status=SYNCED, pods=pods_table([pod("a")]), debug_endpoints=ASKED)
    assert finding.status is Status.PASS


def test_a_proxy_at_two_istiods_and_one_without_pod_are_found():
    import pandas as pd

    other = status(("a.n", "CDS", "STALE"), istiod="istiod-2")
    found = run("MNB0313", proxy_status=pd.concat([SYNCED, other]), pods=pods_table([pod("b")]))
    assert [f.summary for f in found] == [
        "2 istiods list it: istiod-1, istiod-2.",
        "istiod lists it and there is no such pod.",
    ]


@pytest.mark.parametrize(
    ("proxy", "istiod", "expected"),
    [
        ("1.17.8", "1.17.8", "pass"),
        ("1.16.7", "1.17.8", "pass"),
        ("1.15.0", "1.17.8", "warning"),
        ("1.18.0", "1.17.8", "error"),
        ("unknown", "1.17.8", "unknown"),
        ("1-19-alpha", None, "unknown"),
        ("lab", "lab", "pass"),
    ],
)
def test_sd_35_versions_that_do_not_fit_are_found(proxy, istiod, expected):
    """SD-35: proxy against istiod."""
    (finding,) = run("MNB0314", proxy_status=status(("a.n", "CDS", "SYNCED"), version=proxy, istiod_version=istiod))
    assert expected == (str(finding.severity) if finding.status is Status.FAIL else str(finding.status))


def test_sd_35_the_version_of_istiod_is_taken_from_its_image_where_syncz_does_not_say_it():
    """SD-35: the HTTP shape names no istiod version."""
    settings = {name: [] for name in ISTIODS.column_names}
    row = dict.fromkeys(settings) | {"namespace": "istio-system", "istiod": "istiod-1", "version": "1.19.0"}
    flags = [
        "ready",
        "sniffing_inbound",
        "sniffing_outbound",
        "analysis",
        "debug_on_http",
        "debug_auth",
        "plaintext_xds",
    ]
    row |= dict.fromkeys(flags, True) | {"trace_sampling": 1.0, "args": [], "env": json.dumps({})}
    frame = status(("a.n", "CDS", "SYNCED"), istiod_version=None)
    (finding,) = run("MNB0314", proxy_status=frame, istiods=ISTIODS.rows([row]))
    assert finding.severity is Severity.WARNING and "1.19.0" in finding.summary
