"""The cases where istioctl goes blank or wrong, on one real Envoy that has them all."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from camel import camel_case

import meshnb
from meshnb.errors import FormatError
from meshnb.loaders.clusters_admin import read_clusters_admin

DATA = Path(__file__).parents[1] / "data" / "envoy"
ODD = "outbound|80|v1|odd.shop.svc.cluster.local"
API = "outbound|443||api.example.com"


@pytest.fixture(scope="module")
def dump():
    return meshnb.read_config_dump(DATA / "odd-config_dump.json")


def test_tcp_weighted_clusters_are_rows(dump):
    listeners = dump.listeners()
    split = listeners[listeners.chain == "split"]
    assert split[["cluster", "weight", "total_weight"]].values.tolist() == [[ODD, 30, 100], [API, 70, 100]]
    assert set(split.idle_timeout_ms) == {60_000}


def test_chain_matches_and_destinations(dump):
    listeners = dump.listeners().drop_duplicates(["listener", "chain"]).set_index("chain")
    assert listeners.match.to_dict() == {
        "tcp": "ALL",
        "split": "SNI: a.example,b.example; Trans: tls; App: TCP TLS",
        "ranges": "Addr: 10.0.0.0/8,192.168.1.1/32:8443",
        "hole": "Addr: *:15001",
        "web": "App: HTTP",
        "rest": "ALL",
    }
    assert listeners.loc["hole", "cluster"] == "BlackHoleCluster"
    assert listeners.loc["ranges", "destination"] == "PassthroughCluster"
    assert listeners.loc["web", "cluster"] == "inbound|8080||"
    assert listeners.loc["rest", "default_chain"]
    assert listeners.loc["rest", "position"] == 4


def test_an_internal_listener_is_one(dump):
    inside = dump.listeners().set_index("chain").loc["tcp"]
    assert (inside.listener, inside.internal, inside.port) == ("inside", True, 0)
    assert inside.isna()["address"]


def test_matches_on_headers_methods_and_queries_are_shown(dump):
    routes = dump.routes()
    row = routes[routes.route == "by-header"].iloc[0]
    assert (row.match, row.method, row.action, row.cluster_header) == (
        "regex .*",
        "POST",
        "cluster_header",
        "x-cluster",
    )
    assert [header["name"] for header in json.loads(row.match_headers)] == [":method", "x-user"]
    assert json.loads(row.match_query)[0]["name"] == "debug"
    assert row.timeout_ms == 250
    # the virtual host's policy holds where the route has none
    assert (row.retry_on, row.num_retries) == ("5xx", 4)


def test_every_action_of_a_route(dump):
    rules = dump.routes().query("route_config == 'rules'")
    assert rules.action.tolist() == [
        "cluster_header",
        "weighted_clusters",
        "weighted_clusters",
        "redirect",
        "direct_response",
        "cluster",
        "none",
    ]
    assert rules.position.fillna(-1).tolist() == [0, 1, 1, 2, 3, 4, -1]
    grpc = rules[rules.route == "grpc"].iloc[0]
    assert (grpc.match, grpc.weight, grpc.total_weight, grpc.timeout_ms) == ("PathPrefix:/svc", 1, 4, 0)
    assert (grpc.per_try_timeout_ms, grpc.num_retries, list(grpc.retriable_status_codes)) == (100, 2, ["503"])
    assert list(grpc.mirrors) == ["inbound|8080||"]
    assert (grpc.virtual_service, grpc.virtual_service_namespace) == ("odd", "shop")
    last = rules.iloc[5]
    assert (last.host_rewrite, last.prefix_rewrite, last.idle_timeout_ms) == ("odd", "/x", 5_000)
    assert (last.timeout_ms, last.max_stream_duration_ms) == (15_000, 9_000)
    assert rules.iloc[6].require_tls == "ALL"
    assert rules.iloc[4].direct_response_status == 404
    assert json.loads(rules.iloc[3].redirect)["path_redirect"] == "/new"


def test_s10_32_s10_35_cluster_settings_and_defaults(dump):
    clusters = dump.clusters().set_index("cluster")
    odd = clusters.loc[ODD]
    assert (odd.max_connections, odd.max_pending_requests, odd.max_requests, odd.max_retries) == (10, 1, 20, 2)
    assert (odd.outlier_consecutive_5xx, odd.outlier_max_ejection_percent) == (3, 100)
    assert (odd.outlier_interval_ms, odd.outlier_base_ejection_ms) == (1_000, 60_000)
    assert (odd.health_checks, odd.lb_policy, odd.origin) == (1, "LEAST_REQUEST", "DestinationRule odd.shop")
    assert (odd.service, odd.service_namespace) == ("odd", "shop")
    api = clusters.loc[API]
    assert (api.tls_mode, api.sni, api.protocol) == ("SIMPLE", "api.example.com", "http2")
    assert list(api.sans) == ["api.example.com", "suffix:.example.com"]
    assert (api.idle_timeout_ms, api.max_requests_per_connection) == (30_000, 7)
    assert (api.max_connections, api.max_retries, api.connect_timeout_ms) == (1024, 3, 5_000)
    assert not api.outlier_detection
    assert clusters.loc["dynamic_forward_proxy", "type"] == "envoy.clusters.dynamic_forward_proxy"
    assert clusters.loc["encap", "tls_mode"] == "DISABLE"
    assert clusters.loc["inbound|8080||", "type"] == "ORIGINAL_DST"


def test_endpoints_of_every_address_kind(dump):
    endpoints = dump.endpoints().set_index("endpoint")
    assert set(endpoints.index) == {"127.0.0.1:9", "[::1]:9", "unix:///run/odd.sock", "envoy://inside/10.0.0.7:80"}
    first = endpoints.loc["127.0.0.1:9"]
    assert (first.weight, first.locality, first.locality_weight) == (5, "eu/eu-1/rack-1", 3)
    assert (first.workload, first.workload_namespace, first.canonical_revision) == ("odd-v1", "shop", "v1")
    assert (first.tls_mode, first.hostname) == ("istio", "odd-1")
    assert endpoints.loc["[::1]:9", "priority"] == 1


def test_a_secret_without_certificate_is_a_row(dump):
    secrets = dump.secrets()
    assert secrets[["secret", "kind"]].values.tolist() == [["keys", "generic"]]
    assert secrets.serial.isna().all()


def test_s10_36_the_text_page_and_the_json_page_say_the_same():
    by = ["cluster", "endpoint"]
    text = read_clusters_admin(DATA / "odd-clusters.txt").sort_values(by, ignore_index=True)
    page = read_clusters_admin(DATA / "odd-clusters.json").sort_values(by, ignore_index=True)
    assert len(text) == 4
    assert text.equals(page)
    assert text.attrs["skipped"] == 0
    checked = text.set_index("endpoint")
    assert list(checked.loc["127.0.0.1:9", "health_flags"]) == ["failed_active_hc"]
    assert checked.loc["127.0.0.1:9", "active_health_failed"]
    assert (checked.loc["127.0.0.1:9", "locality"], checked.loc["127.0.0.1:9", "weight"]) == ("eu/eu-1/rack-1", 5)


def test_counters_are_read_in_both_key_styles():
    host = {
        "address": {"socket_address": {"address": "10.0.0.1", "port_value": 80}},
        "stats": [{"name": "rq_total", "value": "12345678901"}, {"name": "rq_error"}, {"name": "future_stat"}],
        "health_status": {"failed_outlier_check": True, "eds_health_status": "HEALTHY"},
        "success_rate": {"value": 50.5},
    }
    camel = {
        "address": {"socketAddress": {"address": "10.0.0.1", "portValue": 80}},
        "stats": host["stats"],
        "healthStatus": {"failedOutlierCheck": True, "edsHealthStatus": "HEALTHY"},
        "successRate": {"value": 50.5},
    }
    snake = read_clusters_admin({"cluster_statuses": [{"name": "a", "host_statuses": [host]}]})
    assert snake[["rq_total", "rq_error", "outlier_failed", "success_rate"]].values.tolist() == [
        [12345678901, 0, True, 50.5]
    ]
    for page in ({"cluster_statuses": [{"name": "a", "hostStatuses": [camel]}]},
                 {"clusterStatuses": [{"name": "a", "hostStatuses": [camel]}]}):  # fmt: skip
        assert read_clusters_admin(page).equals(snake)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b'{"configs": []}', "a config dump"),
        (b"<html>", "an HTML"),
        (b"hello\nworld\n", "not JSON"),
        (b'{"cluster_statuses": [', "cut short"),
        (b'{"cluster_statuses": [{"name": 5}]}', "Expected"),
        (b"a::1.2.3.4:80::rq_total::many\n", "not a /clusters page"),
        (b"[1]", "Expected|not"),
    ],
)
def test_other_documents_are_named(data, says):
    with pytest.raises(FormatError, match=says) as caught:
        read_clusters_admin(data, name="page")
    assert "page" in str(caught.value)


def test_foreign_lines_are_counted():
    page = b"Defaulted container istio-proxy\n" + (DATA / "odd-clusters.txt").read_bytes()
    assert read_clusters_admin(page).attrs["skipped"] == 1


def test_what_resource_answers_is_read(dump):
    asked = meshnb.read_config_dump(DATA / "odd-config_dump-resource-static_clusters.json")
    assert asked.kinds == ["clusters"]
    assert asked.notes == []
    rest = ["proxy", "last_updated", "bytes"]  # another start of the same Envoy, one level of indentation less
    ours, theirs = (
        one.clusters().drop(columns=rest).sort_values("cluster", ignore_index=True) for one in (asked, dump)
    )
    assert ours.equals(theirs)
    assert asked.sizes().bytes.sum() == asked.bytes


def test_a_secret_that_was_never_sent_is_told():
    secret = {"name": "kubernetes://web", "tls_certificate": {"certificate_chain": {}, "private_key": {}}}
    entry = {"name": "kubernetes://web", "version_info": "uninitialized", "secret": secret}
    kind = "type.googleapis.com/envoy.admin.v3.SecretsConfigDump"
    for name, state in (("dynamic_active_secrets", "active"), ("dynamic_warming_secrets", "warming")):
        row = meshnb.read_config_dump({"configs": [{"@type": kind, name: [entry]}]}).secrets().iloc[0]
        assert (row.state, row.problem) == (state, "the control plane has not sent it yet")
    empty = meshnb.read_config_dump(
        {"configs": [{"@type": kind, "dynamic_active_secrets": [{"name": "a", "secret": {}}]}]}
    )
    assert empty.secrets()[["secret", "kind", "problem"]].values.tolist() == [
        ["a", "unknown", "the control plane has not sent it yet"]
    ]


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ({"filename": "/etc/certs/cert.pem"}, "in the file /etc/certs/cert.pem of the proxy"),
        ({"environment_variable": "CERT"}, "in the environment variable CERT of the proxy"),
        ({"inline_bytes": "***"}, "not base64"),
        ({"inline_string": "text"}, "no certificate in it"),
        (
            {"inline_string": "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----"},
            "not a readable certificate",
        ),
    ],
)
def test_a_certificate_that_is_not_there_says_why(source, problem):
    kind = "type.googleapis.com/envoy.admin.v3.SecretsConfigDump"
    entry = {"name": "a", "secret": {"name": "a", "tls_certificate": {"certificate_chain": source}}}
    row = meshnb.read_config_dump({"configs": [{"@type": kind, "static_secrets": [entry]}]}).secrets().iloc[0]
    assert row.problem.startswith(problem)
    assert row.isna()["serial"]


def test_every_state_of_a_listener_is_a_row():
    def state(version, port):
        listener = {"name": "web", "address": {"socket_address": {"address": "0.0.0.0", "port_value": port}}}
        return {"version_info": version, "listener": listener, "last_updated": "2026-11-23T09:00:00Z"}

    states = {"active_state": state("1", 80), "warming_state": state("2", 81), "draining_state": state("0", 79)}
    error = {"details": "cannot bind", "version_info": "3", "last_update_attempt": "2026-11-23T10:00:00Z"}
    section = {
        "@type": "type.googleapis.com/envoy.admin.v3.ListenersConfigDump",
        "dynamic_listeners": [{"name": "web", **states, "error_state": error, "client_status": "NACKED"}],
    }
    for document in ({"configs": [section]}, camel_case({"configs": [section]}), section):
        listeners = meshnb.read_config_dump(document).listeners()
        assert listeners[["state", "version_info", "port"]].values.tolist() == [
            ["active", "1", 80],
            ["warming", "2", 81],
            ["draining", "0", 79],
        ]
        assert set(listeners.error_state) == {"cannot bind"}
        assert set(listeners.client_status) == {"NACKED"}


def test_warming_and_refused_clusters_are_rows_and_istioctl_shows_neither():
    from meshnb.errors import NotFound
    from meshnb.loaders.istioctl import Options, istioctl_text

    error = {"details": "no such type", "failed_configuration": {"name": "bad"}, "version_info": "3"}
    section = {
        "@type": "type.googleapis.com/envoy.admin.v3.ClustersConfigDump",
        "dynamic_warming_clusters": [{"version_info": "2", "cluster": {"name": "soon"}}],
        "dynamic_active_clusters": [{"error_state": error}],
    }
    clusters = meshnb.read_config_dump({"configs": [section]}).clusters()
    assert clusters[["cluster", "state", "version_info"]].values.tolist() == [
        ["bad", "rejected", "3"],
        ["soon", "warming", "2"],
    ]
    assert clusters.error_state.fillna("").tolist() == ["no such type", ""]
    with pytest.raises(NotFound, match="no clusters found"):
        istioctl_text("clusters", {"configs": [section]}, Options({}))


def test_unknown_extensions_are_kept_and_hurt_nothing():
    odd = {"@type": "type.googleapis.com/future.v9.Socket", "sni": 5, "common_tls_context": "text"}
    cluster = {
        "name": "a",
        "transport_socket": {"name": "future.socket", "typed_config": odd},
        "typed_extension_protocol_options": {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": [1]},
    }
    listener = {
        "name": "l",
        "filter_chains": [
            {
                "filters": [{"name": "future.filter", "typed_config": odd}],
                "transport_socket": {"name": "future.socket", "typed_config": odd},
            }
        ],
    }
    admin = "type.googleapis.com/envoy.admin.v3."
    document = {
        "configs": [
            {"@type": admin + "ClustersConfigDump", "static_clusters": [{"cluster": cluster}]},
            {"@type": admin + "ListenersConfigDump", "static_listeners": [{"listener": listener}]},
        ]
    }
    dump = meshnb.read_config_dump(document)
    assert dump.clusters().tls_mode.tolist() == ["OTHER"]
    row = dump.listeners().iloc[0]
    assert (list(row.filters), row.tls, row.destination) == (["future.filter"], "future.socket", "Non-HTTP/Non-TCP")
    assert [one.name for one in dump.resources("clusters")] == [""]
    assert dump.decode(next(dump.resources("clusters")))["transport_socket"]["typed_config"] == odd
