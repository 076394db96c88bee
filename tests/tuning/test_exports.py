"""What `meshnb export` writes, accepted by the tools it is for."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
import yaml
from realprom import RealPrometheus

from meshnb.cli import main
from meshnb.errors import UsageError
from meshnb.runbook.prometheus import Prometheus
from meshnb.tuning.exports import alerts, dashboard
from meshnb.tuning.linter import lint

RULE_TESTS = Path(__file__).parents[1] / "data" / "control-plane" / "alerts.test.yaml"


def promtool(*arguments: object) -> str:
    done = subprocess.run(["promtool", *map(str, arguments)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_s11_13_promtool_accepts_the_rules(tmp_path, capsys):
    rules = tmp_path / "rules.yml"
    assert main(["export", "alerts", "-o", str(rules)]) == 0
    assert "SUCCESS: 19 rules found" in promtool("check", "rules", rules)
    assert main(["export", "alerts"]) == 0
    assert capsys.readouterr().out == rules.read_text()


def test_the_rules_fire_when_they_should_and_only_then(tmp_path):
    """promtool's unit tests: each threshold from both sides, Prometheus 2 and 3 bucket labels."""
    (tmp_path / "rules.yml").write_text(alerts())
    (tmp_path / "test.yaml").write_text(RULE_TESTS.read_text())
    assert "SUCCESS" in promtool("test", "rules", tmp_path / "test.yaml")


def test_s11_13_the_notes_pair_one_and_two_seconds_for_ten_seconds():
    rules = {rule["alert"]: rule for rule in yaml.safe_load(alerts(hold="10s"))["groups"][0]["rules"]}
    slow, very = rules["IstiodConvergenceSlow"], rules["IstiodConvergenceVerySlow"]
    assert (slow["for"], slow["labels"]["severity"], slow["expr"][-4:]) == ("10s", "warning", " > 1")
    assert (very["for"], very["labels"]["severity"], very["expr"][-4:]) == ("10s", "critical", " > 2")
    assert (
        rules["IstiodProxiesRejectConfig"]["annotations"]["summary"]
        == "Proxies refuse {{ $labels.type }} configuration."
    )


def test_no_rule_uses_a_dead_metric_or_a_rate_of_a_gauge():
    for rule in yaml.safe_load(alerts())["groups"][0]["rules"]:
        assert lint(rule["expr"], version="1.31").empty, rule["alert"]
        assert set(lint(rule["expr"], version="1.17")["rule"]) == set(), rule["alert"]


def test_wrong_thresholds_are_refused():
    with pytest.raises(UsageError, match="thresholds"):
        alerts(warning_s=3, critical_s=2)
    with pytest.raises(UsageError, match="not a duration"):
        alerts(rate="often")
    assert main(["export", "alerts", "--warning", "9"]) == 64


def test_s11_12_s11_26_the_dashboard_has_the_lost_panels():
    """Proxy Push Time and its two clones, Pilot Pushes, ADS Monitoring, XDS Requests Size, errors, conflicts."""
    board = dashboard()
    titles = {panel["title"] for panel in board["panels"]}
    assert {"Proxy Push Time", "Proxy Queue Time", "XDS Push Time", "Pilot Pushes", "ADS Monitoring"} <= titles
    assert {"XDS Requests Size", "Pilot Errors", "Conflicts"} <= titles


def test_the_dashboard_is_what_grafana_loads(capsys):
    """Ids unique, panels beside one another and inside 24 columns, every target with source and letter."""
    assert main(["export", "dashboard"]) == 0
    board = json.loads(capsys.readouterr().out)
    assert isinstance(board["schemaVersion"], int)
    assert {variable["type"] for variable in board["templating"]["list"]} == {"datasource"}
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
    taken: set[tuple[int, int]] = set()
    for panel in board["panels"]:
        grid = panel["gridPos"]
        cells = {
            (x, y) for x in range(grid["x"], grid["x"] + grid["w"]) for y in range(grid["y"], grid["y"] + grid["h"])
        }
        assert not cells & taken
        assert max(x for x, _ in cells) < 24
        taken |= cells
        if panel["type"] == "row":
            continue
        assert panel["type"] == "timeseries"
        assert [target["refId"] for target in panel["targets"]] == list("ABCDEFG")[: len(panel["targets"])]
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        steps = panel["fieldConfig"]["defaults"]["thresholds"]["steps"]
        assert steps[0]["value"] is None


def test_prometheus_accepts_every_expression_of_the_dashboard():
    with RealPrometheus() as server:
        prometheus = Prometheus(server.url)
        for panel in dashboard()["panels"]:
            for target in panel.get("targets", []):
                prometheus.query(target["expr"].replace("$__rate_interval", "1m"))
