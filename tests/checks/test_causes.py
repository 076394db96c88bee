"""Causes of failed requests: on rows recorded from Envoy in known scenarios, and on the demo snapshots."""

from __future__ import annotations

import json
import tempfile
from functools import cache
from pathlib import Path

import pandas as pd
import pytest

import meshnb
from meshnb.checks import registry
from meshnb.checks.causes import causes, known_causes, shares
from meshnb.checks.causes_assign import assign, failed_requests
from meshnb.checks.causes_baseline import baselines, duration_clusters
from meshnb.checks.causes_requests import ranking
from meshnb.checks.causes_rows import row_cause
from meshnb.errors import UsageError
from meshnb.loaders.access_log import scan_access_log
from meshnb.model.finding import Status
from meshnb.model.tables.envoy import ENDPOINTS
from meshnb.model.tables.objects import PODS

from .tables import route, routes, rows

DATA = Path(__file__).parents[1] / "data/logs"
SCENARIOS = json.loads((DATA / "by-scenario.json").read_text())


@cache
def scenario(name: str) -> pd.DataFrame:
    """The access log of all proxies in a scenario."""
    with tempfile.TemporaryDirectory() as folder:
        for pod, records in SCENARIOS[name].items():
            path = Path(folder) / "logs" / f"{pod}.shop" / "istio-proxy.log"
            path.parent.mkdir(parents=True)
            path.write_text("".join(json.dumps(record) + "\n" for record in records))
        return meshnb.read_access_log(folder)


def edited(log: pd.DataFrame, **columns: object) -> pd.DataFrame:
    return log.assign(**{name: pd.array([value] * len(log), log[name].dtype) for name, value in columns.items()})


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("1-missing-subsets", {"missing_cluster": 4}),
        ("2b-client-gone", {"client_gave_up": 1}),
        ("3a-500-no-outlier", {"application_error": 4}),
        ("3a2-503-app", {"application_error": 4}),
        ("3d-app-down", {"connection_refused": 4}),
        ("3f-only-dead-endpoint URX", {"connection_refused": 2}),
        ("3g-dead-endpoint no retries UF", {"connection_refused": 4}),
        ("3h-empty-endpoints UH", {"no_healthy_upstream": 3}),
        ("3i-app-drops-connection UC", {"connection_closed": 4}),
        ("4-NR", {"unknown_host": 2}),
        ("5a-gateway-plaintext-to-STRICT", {"plaintext_to_strict": 4}),
        ("5b-gateway-mTLS-to-plaintext", {"mtls_to_plaintext": 4}),
        ("5c-SAN-mismatch", {"certificate_wrong_name": 4}),
        ("5d-server-cert-from-other-CA", {"certificate_unknown_authority": 4}),
        ("5e-expired-server-cert", {"certificate_expired": 4}),
        ("0-healthy", {}),
        ("3e-pod-down(retries save)", {}),
    ],
)
def test_one_cause_per_request_as_recorded(name, expected):
    failed = failed_requests(scenario(name))
    assert failed.cause.value_counts().to_dict() == expected
    assert failed.request_id.is_unique


def test_a_gateway_that_passes_an_error_on_is_innocent():
    """S10-44: 503 via_upstream at the gateway, the refused connection at the sidecar."""
    failed = failed_requests(scenario("3d-app-down"))
    assert (failed.proxy != failed.outer_proxy).any()
    assert failed.proxy.str.startswith("catalog-v2").all()
    both = failed[failed.proxy != failed.outer_proxy].iloc[0]
    assert both.response_code == 503 and both.upstream_host == "127.0.0.43:3000"


def test_plaintext_to_strict_is_joined_by_the_connection_itself():
    failed = failed_requests(scenario("5a-gateway-plaintext-to-STRICT"))
    assert (failed.confidence > 0.9).all()
    log = scenario("5a-gateway-plaintext-to-STRICT")
    alone = failed_requests(log[log.method.notna()])
    assert set(alone.cause) == {"unknown"}, "without the server's log nothing tells it from a crashing application"
    assert (alone.confidence < 0.5).all()


def test_the_server_side_alone_does_not_tell_why_its_caller_left():
    """A 0 DC whose caller is a proxy of the mesh, that proxy's log missing."""
    failed = failed_requests(scenario("2-slow"))
    assert set(failed.cause) == {"unknown"}
    assert failed.why.str.contains("whose log is missing").all()


def test_the_notes_case_one_slow_replica():
    """S10-39, S10-42, S10-46, S10-61, S10-62: the pod first, the pair explained, the gap sized."""
    mesh = meshnb.open("demo/slow-replica")
    found = mesh.causes()
    first = found[0]
    assert (first.code, first.subject.kind) == ("MNB0221", "Pod")
    pods = mesh.pods().set_index("pod")
    assert pods.version[first.subject.name] == "v2"
    log = mesh.access_log()
    timeouts = log[log["flag_set"] == "UT"]
    assert first.share == pytest.approx(len(timeouts) / (~log.upstream_cluster.str.startswith("inbound")).sum())
    assert f"{len(timeouts)} requests that failed for the client" in first.cause
    assert "100% of the gap" in first.cause
    statements = {e.statement: e for e in first.evidence}
    (cluster,) = statements["durations gather at"].rows
    assert cluster["timeout_ms"] == 500
    excess = statements["where it is more frequent than elsewhere"].rows
    hosts = {row["value"] for row in excess if row["property"] == "upstream_host"}
    assert hosts == set(timeouts.upstream_host)
    assert mesh.verdict().verdict is Status.FAIL


def test_healthy_and_missing_subset_demo():
    healthy = meshnb.open("demo").causes()
    assert [finding.status for finding in healthy] == [Status.PASS]
    missing = meshnb.open("demo/missing-subset")
    assert missing.causes()[0].code == "MNB0211"
    assert missing.cause_shares().share.tolist() == [1.0]


def test_window_limits_what_is_looked_at():
    mesh = meshnb.open("demo/slow-replica")
    begin = mesh.access_log().start_time.min()
    found = mesh.causes(window=f"{begin.isoformat()}/5s")
    assert sum(f.share or 0 for f in found) > 0
    assert len(found) and mesh.verdict()[0].summary == found[0].summary
    before = mesh.causes(window="2001-01-01T00:00/1h")
    assert [f.status for f in before] == [Status.UNKNOWN]


def test_keep_alive_race_needs_a_connection_that_was_used():
    log = scenario("3i-app-drops-connection UC")
    bad = log[log["flag_set"] == "UC"].iloc[:1]
    good = edited(bad, flag_set=None, response_code=200, response_code_details="via_upstream", request_id="before")
    good = good.assign(start_time=good.start_time - pd.Timedelta("60s"), line=good.line + 500)
    calm = log[(log["flag_set"] != "UC") | (log.request_id == bad.request_id.iloc[0])]
    raced = failed_requests(pd.concat([calm, good], ignore_index=True))
    assert raced.cause[raced.request_id == bad.request_id.iloc[0]].tolist() == ["keepalive_race"]
    # fresh connections are closed too: the application hangs up, whatever the connection did before
    both = failed_requests(pd.concat([log, good], ignore_index=True))
    assert set(both.cause) == {"connection_closed"}


def test_slow_service_against_slow_replica():
    mesh = meshnb.open("demo/slow-replica")
    log = mesh.access_log()
    assert set(failed_requests(log).cause) == {"slow_replica"}
    hosts = log.upstream_host[~log.upstream_cluster.str.startswith("inbound")].unique()
    late = log["flag_set"] == "UT"
    mixed = log.copy()
    spread = [hosts[i % len(hosts)] for i in range(int(late.sum()))]
    mixed.loc[late, "upstream_host"] = pd.array(spread, log.upstream_host.dtype)
    assert "slow_upstream" in set(failed_requests(mixed).cause)


def test_ejection_against_missing_endpoints():
    """`UH` after errors of the same cluster, and with the endpoints known."""
    log = scenario("3h-empty-endpoints UH")
    bad = log[log["flag_set"] == "UH"]
    error = edited(bad.iloc[:1], flag_set=None, response_code=500, response_code_details="via_upstream",
                   upstream_host="127.0.0.42:3000", request_id="first")  # fmt: skip
    error = error.assign(start_time=error.start_time - pd.Timedelta("1s"), line=error.line + 500)
    both = pd.concat([log, error], ignore_index=True)
    assert failed_requests(both).cause.value_counts().to_dict() == {"outlier_ejection": 3, "application_error": 1}
    assert set(failed_requests(both, endpoints=ENDPOINTS.empty()).cause) == {"no_healthy_upstream", "application_error"}


@pytest.mark.parametrize(
    ("state", "cause"), [("active", "no_route"), ("warming", "unknown_host"), ("rejected", "unknown_host")]
)
def test_a_host_is_known_only_by_routes_in_use(state, cause):
    log = edited(scenario("4-NR"), authority="odd.example")
    known = routes(route(None, domains=["odd.example"], state=state))
    assert set(failed_requests(log, routes=known).cause) == {cause}


def test_an_unknown_flag_is_unknown_with_what_is_missing():
    log = edited(scenario("4-NR"), flag_set="ZZ", response_code=503, response_code_details="something_new")
    found = causes(access_log=log, routes=None, endpoints=None, pods=None)
    assert {(finding.status, finding.code) for finding in found} == {(Status.UNKNOWN, "MNB0299")}
    assert all("something_new" in finding.cause for finding in found)


@pytest.mark.parametrize(
    ("code", "flags", "details", "cause"),
    [
        (200, "UPE", "upstream_reset_after_response_started{protocol_error}", "protocol_error"),
        (503, None, "direct_response", "direct_response"),
        (503, "NC", "cluster_not_found", "missing_cluster"),
        (503, "NR", "cluster_not_found", "missing_cluster"),
        (503, "FI", "fault_filter_abort", "fault_abort"),
        (200, "DI", "via_upstream", "fault_delay"),
        (429, "RL", "local_rate_limited", "rate_limited"),
        (403, None, "rbac_access_denied_matched_policy[none]", "rbac_denied"),
        (403, "UAEX", "ext_authz_denied", "external_authorization"),
        (401, None, "jwt_authn_access_denied{Jwt_is_missing}", "jwt_denied"),
        (504, None, "max_duration_timeout", "max_duration"),
        (0, "DT", "duration_timeout", "max_duration"),
        (503, "UO", "upstream_reset_before_response_started{overflow}", "circuit_breaker"),
        (503, "URX", "via_upstream", "retries_exhausted"),
        (503, "URX,UF", "upstream_reset_before_response_started{connection_timeout}", "connection_timed_out"),
        (0, "DC", "downstream_local_disconnect(max_connection_duration_reached)", "max_duration"),
        (503, "UC", "upstream_reset_before_response_started{connection_termination}", "connection_closed"),
        (404, None, "via_upstream", "client_error"),
        (200, "RFCF", "via_upstream", None),
        (0, None, None, None),
    ],
)
def test_code_flags_and_details_together(code, flags, details, cause):
    """T19, T21: neither code nor flag alone; a set of flags in any order."""
    for text in {flags, ",".join(reversed(flags.split(","))) if flags else None}:
        said = row_cause(code, text, details, None, False)
        assert (said.cause if said else None) == cause


def test_gap_between_reporters():
    """S10-60 to S10-63."""
    assert "explains 100% of the gap" in assign(meshnb.open("demo/slow-replica").access_log()).sides.gap
    assert assign(meshnb.open("demo").access_log()).sides.gap == ""


def test_baselines_and_duration_clusters():
    mesh = meshnb.open("demo/slow-replica")
    found = baselines(assign(mesh.access_log()), mesh.failed_requests())
    assert found.iloc[0].property in ("upstream_host", "upstream_cluster")
    assert (found.rate > found.rest_rate).all()
    spread = pd.DataFrame({"duration_ms": [*range(50, 5000, 200), 15000, 15001, 15004]})
    assert duration_clusters(spread).empty
    assert duration_clusters(pd.DataFrame({"duration_ms": [15000, 15001, 15004]})).timeout_ms.tolist() == [15000]


def test_shares_add_up():
    failed = meshnb.open("demo/slow-replica").failed_requests()
    table = shares(failed)
    assert table.requests.sum() == len(failed)
    assert table.share_of_failures.sum() == pytest.approx(1)


def test_no_log_is_unknown_never_a_pass(tmp_path):
    from meshnb.sources.snapshot import SnapshotWriter

    with SnapshotWriter(tmp_path / "s", source="test") as writer:
        writer.add("envoy/a.b/ready.txt", "ready", b"LIVE", proxy="a.b")
    assert [f.status for f in meshnb.open(writer.folder).check("MNB0210")] == [Status.UNKNOWN]


def test_every_cause_is_described_and_has_a_code_of_its_own():
    known = known_causes()
    codes = [cause.code for cause in known.values()]
    assert len(codes) == len(set(codes))
    assert not set(codes) & (set(registry.registered()) - {"MNB0210"})
    from meshnb.checks import causes_rows

    named = {cause for _, cause, _ in causes_rows._BY_FLAG} | set(causes_rows._BY_DETAILS.values())
    named |= set(causes_rows._BY_TRANSPORT.values())
    assert named - {"upstream_timeout"} <= set(known), "a timeout is always told apart: one replica or all"


def test_every_cause_says_in_a_sentence_what_repairs_it_and_has_a_command_or_object():
    assert [cause.key for cause in known_causes().values() if not cause.fix or not cause.note.endswith(".")] == []


def test_commands_about_a_service_name_a_pod_at_which_it_fails():
    """Of an expired certificate one looks at the secrets of the proxy that shows it."""
    log = scenario("5e-expired-server-cert")
    host = log.upstream_host.dropna().iloc[0].partition(":")[0]
    pod = {"pod": "catalog-v1-1", "namespace": "shop", "proxy": "catalog-v1-1.shop", "ip": host, "labels": "{}"}
    found = causes(access_log=log, routes=None, endpoints=None, pods=rows(PODS, pod))
    (expired,) = [one for one in found if one.code == "MNB0231"]
    assert expired.fix[0].text.startswith("istioctl proxy-config secret catalog-v1-1.")


def test_rows_in_memory_and_in_files_have_the_same_causes(tmp_path):
    """A scan is never loaded; clean files and files with foreign lines, in one log."""
    for i, pods in enumerate(SCENARIOS.values()):
        for pod, records in pods.items():
            path = tmp_path / f"{i:02}" / f"{pod}.shop" / "istio-proxy.log"
            path.parent.mkdir(parents=True)
            first = "Envoy proxy is ready\n" if i % 3 == 0 else ""
            path.write_text(first + "".join(json.dumps(record) + "\n" for record in records))
    loaded, scanned = failed_requests(meshnb.read_access_log(tmp_path)), failed_requests(scan_access_log(tmp_path))
    assert len(loaded) > 50 and scanned.equals(loaded) and scanned.attrs == loaded.attrs
    found = causes(access_log=scan_access_log(tmp_path), routes=None, endpoints=None, pods=None)
    assert sum(round((finding.share or 0) * loaded.attrs["requests"]) for finding in found) == len(loaded)


def test_a_snapshot_is_asked_without_its_rows_in_memory():
    """S10-39: the same findings as from the rows; the table of all rows is never made."""
    mesh, loaded = meshnb.open("demo/slow-replica"), meshnb.open("demo/slow-replica")
    loaded.access_log()
    assert mesh.causes().frame.equals(loaded.causes().frame)
    assert mesh.failed_requests().equals(loaded.failed_requests()) and mesh.reporter_gap() == loaded.reporter_gap()
    assert not [key for key in mesh._made if isinstance(key, tuple) and key[0] == "access_log"]
    with pytest.raises(UsageError, match="cannot be scanned"):
        mesh.scan("routes")


def test_when_most_requests_fail_each_has_its_cause(tmp_path):
    """An outage: the rules look at what is distinct, so a thousand refused requests are one decision."""
    record = SCENARIOS["3g-dead-endpoint no retries UF"]["istio-ingressgateway-7d9f8c6b5-lab01"][0]
    lines = [json.dumps({**record, "request_id": f"r{i}", "path": f"/{i}"}) + "\n" for i in range(1000)]
    (tmp_path / "gateway.log").write_text("".join(lines))
    assigned = assign(scan_access_log(tmp_path))
    (row,) = assigned.log.run(ranking(assigned.table, ["cause"], total=assigned.requests)).to_pylist()
    assert (row["cause"], row["requests"], row["share"]) == ("connection_refused", 1000, 1.0)
    assert row["onset"] == row["last"] and row["p50_ms"] == row["p99_ms"] == record["duration"]


def test_a_client_that_left_without_a_duration():
    log = edited(scenario("2b-client-gone"), duration_ms=None)
    assert failed_requests(log).why.tolist() == ["it left"]
