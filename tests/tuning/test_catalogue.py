"""The query catalogue: every query of the notes, valid PromQL, and honest about what a release exports."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from realprom import RealPrometheus

from meshnb.errors import UsageError
from meshnb.model.istiod import release
from meshnb.model.window import Window
from meshnb.runbook.prometheus import Prometheus
from meshnb.tuning.catalogue import metrics, queries, query, wrong_names
from meshnb.tuning.ladder import steps
from meshnb.tuning.linter import lint

T0 = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)

NOTES = {
    "S10-63": 'sort_desc(sum(irate(istio_requests_total{reporter="destination", destination_service=~".+", '
    'response_flags="DC"}[5m])) by (response_code, pod, version))',
    "S11-09": "histogram_quantile(0.5, sum(rate(pilot_proxy_convergence_time_bucket[1m])) by (le))",
    "S11-10": "histogram_quantile(0.999, sum(rate(pilot_proxy_queue_time_bucket[1m])) by (le))",
    "S11-11": "histogram_quantile(0.99, sum(rate(pilot_xds_push_time_bucket[1m])) by (le))",
    "S11-14": 'sum(irate(container_cpu_usage_seconds_total{container="discovery", '
    'pod=~"istiod-.*|istio-pilot-.*"}[1m]))',
    "S11-15": 'irate(process_cpu_seconds_total{app="istiod"}[1m])',
    "S11-21": 'avg(pilot_services{app="istiod"})',
    "S11-22": 'avg(pilot_virt_services{app="istiod"})',
    "S11-23": 'sum(irate(pilot_xds_pushes{type="cds"}[1m]))',
    "S11-24": "pilot_xds",
    "S11-25": 'quantile(.5, rate(envoy_cluster_upstream_cx_tx_bytes_total{cluster_name="xds-grpc"}[1m]))',
    "S11-30": 'sum(pilot_xds_cds_reject{app="istiod"}) or (absent(pilot_xds_cds_reject{app="istiod"}) - 1)',
    "S11-31": 'sum(rate(pilot_xds_write_timeout{app="istiod"}[1m]))',
    "S11-32": 'sum(rate(pilot_total_xds_internal_errors{app="istiod"}[1m]))',
    "S11-33": 'sum(rate(pilot_xds_push_context_errors{app="istiod"}[1m]))',
    "S11-34": 'sum(rate(pilot_total_xds_rejects{app="istiod"}[1m]))',
}


@pytest.mark.parametrize("row", NOTES)
def test_the_notes_queries_are_there_as_written(row):
    """S10-63, S11-09 … S11-34: with default spans the text is the notes'."""
    assert NOTES[row] in {q.text() for q in queries().values() if row in q.rows}


@pytest.mark.parametrize("row", ["S11-05", "S11-06", "S11-07"])
def test_all_four_quantiles(row):
    """S11-09, S11-10, S11-11: 0.5, 0.9, 0.99 and 0.999 of each."""
    texts = [q.text() for q in queries().values() if row in q.rows and q.text().startswith("histogram_quantile")]
    assert {t.partition("(")[2].partition(",")[0] for t in texts} == {"0.5", "0.9", "0.99", "0.999"}


def test_each_of_the_notes_rows_has_a_query():
    wanted = {f"S11-{n:02}" for n in (5, 6, 7, 8, 9, 10, 11, 13, 14, 15, *range(19, 26), *range(29, 35))}
    wanted |= {"S10-60", "S10-61", "S10-63", "S10-65", "S10-66"}
    assert wanted <= {row for q in queries().values() for row in q.rows}
    assert len([q for q in queries().values() if q.rows]) >= 39


def test_every_query_reads_known_metrics_and_is_accepted_by_prometheus():
    """Executed, all of them, by a real Prometheus without data: no syntax error, no row."""
    with RealPrometheus() as server:
        prometheus = Prometheus(server.url)
        for q in queries().values():
            assert q.metrics() or "__name__" in q.expr, q.name
            assert set(q.metrics()) <= set(metrics()), q.name
            frame = prometheus.query(q.text(service="catalog.*"))
            assert len(frame) == (1 if "absent" in q.expr else 0), q.name


def test_only_the_sentinels_and_the_dead_metric_are_linted():
    """Our own queries hold no mistake; the notes' verbatim ones are reported."""
    found = {name: lint(q.text())["rule"].tolist() for name, q in queries().items()}
    assert {name: rules for name, rules in found.items() if rules} == {
        "cds_rejects": ["absent-as-zero"],
        "eds_rejects": ["absent-as-zero"],
        "lds_rejects": ["absent-as-zero"],
        "rds_rejects": ["absent-as-zero"],
        "push_context_errors": ["dead-metric"],
    }


def test_t2_t3_t4_names_of_the_notes():
    """T2 pilot_inbound_update, T3 pilot_xds-push_time_bucket, T4 the fourth of the rejects is rds."""
    assert query("inbound_updates").metrics() == ("pilot_inbound_updates",)
    assert query("inbound_updates").noted == "pilot_inbound_update"
    assert wrong_names()["pilot_inbound_update"].use == "pilot_inbound_updates"
    assert query("push_p99").metrics() == ("pilot_xds_push_time",)
    with pytest.raises(UsageError):
        lint("rate(pilot_xds-push_time_bucket[1m]")
    assert {f"{t}_rejects" for t in ("cds", "eds", "lds", "rds")} <= set(queries())
    assert {"cds", "eds", "lds", "rds"} <= {q.name[:3] for q in queries().values() if "S11-30" in q.rows}


def test_t6_debounce_time_exists_and_t22_push_context_errors_does_not():
    assert query("debounce_p99").not_in("1.17") == ""
    assert query("push_context_errors").not_in("1.25") == ""
    assert "use pilot_total_xds_internal_errors" in query("push_context_errors").not_in("1.26.1")
    assert metrics()["pilot_debounce_time"].buckets[:3] == (0.01, 0.1, 1.0)


@pytest.mark.parametrize(
    ("expr", "rule", "use"),
    [
        ("rate(pilot_inbound_update[1m])", "dead-metric", "pilot_inbound_updates"),
        ("rate(pilot_xds_cds_reject[5m])", "rate-of-gauge", "max_over_time(pilot_xds_cds_reject[5m])"),
        ("deriv(pilot_xds_pushes[5m])", "delta-of-counter", "increase(pilot_xds_pushes[5m])"),
        ("sum(rate(istio_requests_total[5m])) by (response_flag)", "no-such-label", "response_flags"),
        ("pilot_xds_pushes{kind='cds'}", "no-such-label", None),
        ("histogram_quantile(0.9, sum(rate(pilot_xds_push_time_bucket[1m])) by (type))", "le-aggregated-away", None),
        ("rate(pilot_proxy_convergence_time_bucket{le='2'}[1m])", "no-such-bucket", None),
        ("rate(pilot_proxy_convergence_time_bucket{le='3'}[1m])", "le-of-one-version", 'le=~"3|3.0"'),
        ("pilot_proxy_convergence_time", "bare-histogram", "pilot_proxy_convergence_time_bucket"),
        ("sum(pilot_xds_connections)", "dead-metric", "pilot_xds"),
        ("pilot_xdss", "unknown-metric", "pilot_xds"),
    ],
)
def test_lint(expr, rule, use):
    found = lint(expr).set_index("rule")["use"]
    assert rule in found.index
    if use is not None:
        assert found[rule] == use


PANELS = Path(__file__).parents[2] / "../shared/data/istio-dashboards/panels.json"


@pytest.mark.skipif(not PANELS.exists(), reason="the dashboards of Istio are not beside the repository")
def test_istio_s_own_dashboards_are_read_and_hold_but_the_known_mistake():
    """All of their queries parse; the only finding is the metric of Mixer that they still fall back to."""
    from meshnb.tuning.promql import parse

    found = {expr for panel in json.loads(PANELS.read_text()) for expr in panel["expr"]}
    assert len(found) > 200
    assert all(parse(expr).text == expr.strip() for expr in found)
    rules = {(row.rule, row.use) for expr in found for row in lint(expr, version="").itertuples()}
    assert rules == {("dead-metric", "istio_request_duration_milliseconds")}


def test_t20_pod_and_version_come_from_relabelling():
    """S10-66: the labels are checked before the query is asked; T20: `pod` and `version` may be absent."""
    text = query("dc_by_pod").text()
    assert lint(text).empty
    found = lint(text, labels=["reporter", "destination_service", "response_flags", "response_code"])
    assert found["rule"].tolist() == ["label-missing-here"] * 2
    assert set(found["use"]) == {"destination_workload", "destination_version"}


def test_lint_names_what_the_version_lacks():
    found = lint("rate(pilot_worker_queue_latency_count[1m])", version="1.18.2")
    assert found["rule"].tolist() == ["not-in-version"]
    assert "since 1.19 only; absent is not zero" in found["message"][0]
    assert lint("rate(pilot_worker_queue_latency_count[1m])", version="1.22").empty


def test_a_service_pattern_is_escaped():
    text = query("dc_by_pod").text(service=r'a\.b"} or vector(1)')
    assert r'destination_service=~"a\\.b\"} or vector(1)"' in text


def test_minor_versions():
    assert [release(v) for v in ("1.9", "v1.22.3", "1.31-alpha", "unknown", "")] == [(1, 9), (1, 22), (1, 31), (), ()]


def test_s10_64_the_ladder_of_the_notes():
    """Raw, filtered, DC only, range, irate, sum, by, sort."""
    found = [step.query for step in steps(query("dc_by_pod").text(service="catalog.*"))]
    assert found[0] == "istio_requests_total"
    assert found[3].endswith('response_flags="DC"}')
    assert found[4].endswith("[5m]")
    assert [text.partition("(")[0] for text in found[5:]] == ["irate", "sum", "sum", "sort_desc"]
    assert found[-1] == query("dc_by_pod").text(service="catalog.*")


def test_a_ladder_shows_where_the_result_is_lost():
    """S10-64: executed step by step; the flag DC is the one that empties it."""
    lines = ["# TYPE istio_requests_total gauge"]
    for code, flags in (("200", "-"), ("504", "UT")):
        labels = f'reporter="destination",destination_service="catalog",response_code="{code}",response_flags="{flags}"'
        lines += [f"istio_requests_total{{{labels}}} {i} {T0.timestamp() + 15 * i:.0f}" for i in range(41)]
    with RealPrometheus("\n".join([*lines, "# EOF", ""])) as server:
        prometheus = Prometheus(server.url)
        end = T0 + timedelta(minutes=10)
        ladder = prometheus.ladder(query("dc_by_pod").text(service="catalog"), end)
        assert ladder["rows"].tolist() == [2, 2, 2, 0, 0, 0, 0, 0, 0]
        assert ladder["note"].tolist()[3] == "empty from here on"
        full = prometheus.ladder("sum(irate(istio_requests_total[1m])) by (response_code)", end)
        samples = full["rows"][1]  # Prometheus 3 leaves the start of a range out
        assert samples in (8, 10)
        assert full["rows"].tolist() == [2, samples, 2, 1, 2]


def test_recorded_queries_run_again_without_prometheus(tmp_path):
    lines = [
        "# TYPE pilot_xds gauge",
        *(f"pilot_xds {i} {T0.timestamp() + 15 * i:.0f}" for i in range(121)),
        "# EOF",
        "",
    ]
    window = Window(T0, T0 + timedelta(minutes=30))
    with RealPrometheus("\n".join(lines)) as server:
        prometheus = Prometheus(server.url)
        live = prometheus.query_range("pilot_xds * 2", window, step=15)
        snapshot = prometheus.record(
            tmp_path / "s", window=window, step=15, queries={"doubled": "pilot_xds * 2", "bad": "sum("}
        )
    from meshnb.loaders.prometheus_record import read_recording

    (document,) = [d for d in snapshot.documents("prometheus") if d.path == "prometheus/own.json"]
    recorded = {one.name: one for one in read_recording(snapshot.read(document), file=document.path)}
    assert recorded["doubled"].frame().equals(live)
    assert "unclosed left parenthesis" in recorded["bad"].error
    assert recorded["bad"].frame().empty
    assert len(snapshot.documents("prometheus")) == 8
