"""The performance test: its load, its runs, the panel and the what-if."""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import ipywidgets
import pandas as pd
import pytest
import yaml
from realprom import RealPrometheus

import meshnb
from meshnb.errors import UsageError
from meshnb.runbook.performance import push_runs
from meshnb.runbook.prometheus import Prometheus
from meshnb.runbook.tuning_panel import tuning_panel
from meshnb.tuning import Settings, load_yaml, noted_runs, simulate
from meshnb.tuning.levers import Facts
from meshnb.tuning.what_if import what_if

SNAPSHOTS = Path(__file__).parents[1] / "data" / "control-plane"


def test_s11_38_600_resources_of_200_triples():
    documents = list(yaml.safe_load_all(load_yaml(200, namespace="perf")))
    kinds = pd.Series([document["kind"] for document in documents]).value_counts().to_dict()
    assert kinds == {"Service": 200, "Gateway": 200, "VirtualService": 200}
    names = {(document["kind"], document["metadata"]["name"]) for document in documents}
    assert len(names) == 600
    assert {document["metadata"]["namespace"] for document in documents} == {"perf"}
    with pytest.raises(UsageError, match="1 to 10,000"):
        load_yaml(0)


def test_s11_41_s11_54_s11_70_the_notes_runs_beside_the_model():
    """S11-54: 510 and 51 come out exactly; with Sidecars 88 is about nine proxies a batch, P99 0.10 s, not 0.45 s."""
    runs = noted_runs().set_index("name")
    assert runs.loc["delay 2.5 s", ["pushes", "p99_s"]].tolist() == [510, 0.45]
    assert runs.loc["delay 2.5 s, Sidecars", ["pushes", "p99_s"]].tolist() == [88, 0.10]
    notebook = (Path(__file__).parents[2] / "notebooks" / "control-plane-tuning.ipynb").read_text(encoding="utf-8")
    assert 'loc[[\\"delay 2.5 s\\", \\"delay 2.5 s, Sidecars\\"]]' in notebook
    noted = runs["pushes"]
    spaced, burst = [n * 2.5 for n in range(10)], [n * 0.01 for n in range(10)]
    assert len(simulate(spaced, Settings(), 51).pushes) == noted["delay 2.5 s"]
    assert len(simulate(burst, Settings(), 51).pushes) == noted["no delay"]
    assert abs(len(simulate(spaced, Settings(), 9).pushes) - noted["delay 2.5 s, Sidecars"]) <= 2


def test_s11_40_s11_42_a_run_measured_by_prometheus():
    """Push count, P99 and the counts of objects, as the notes' script takes them."""
    sys.path.insert(0, str(SNAPSHOTS))
    from generate import END, SCENARIOS, series

    with RealPrometheus(series(SCENARIOS["healthy"])) as server:
        run = Prometheus(server.url).push_run("before", END - timedelta(minutes=5), END).iloc[0]
        early = f"{END - timedelta(minutes=10):%Y-%m-%dT%H:%M:%S}/{END - timedelta(minutes=5):%Y-%m-%dT%H:%M:%S}"
        late = f"{END - timedelta(minutes=5):%Y-%m-%dT%H:%M:%S}/{END:%Y-%m-%dT%H:%M:%S}"
        both = push_runs(server.url, before=early, after=late, third="")
        with pytest.raises(UsageError, match="no run to measure"):
            push_runs(server.url, before="")
    assert 5_500 < run["pushes"] < 7_500  # 0.2 batches a second for 100 proxies, faster in between
    assert run["p99_s"] == pytest.approx(0.42, abs=0.01)
    assert (run["services"], run["virtual_services"]) == (42, 17)
    assert both["name"].tolist() == ["before", "after"]
    assert both["pushes"].tolist()[1] == run["pushes"]
    assert both["end"][0] == both["start"][1]


def test_what_if_is_calibrated_with_what_was_measured():
    """`now` gives back the pushes Prometheus counted; a longer debounce saves most of them and adds delay."""
    found = meshnb.open(SNAPSHOTS / "incoming").what_if(debounce_after_s=1.0).set_index("name")
    assert found["pushes"]["now"] == pytest.approx(found["pushes"]["measured"], rel=0.02)
    assert found["pushes"]["changed"] < found["pushes"]["now"] / 10
    assert found["delay_p99_s"]["changed"] > found["delay_p99_s"]["now"]
    assert meshnb.open(SNAPSHOTS / "no-data").what_if().empty


def test_the_panel_has_a_slider_for_every_setting():
    panel = meshnb.open(SNAPSHOTS / "incoming").tuning_panel()
    sliders = panel.sliders(ipywidgets)
    assert set(sliders) == set(Settings.__dataclass_fields__)
    assert {name: slider.value for name, slider in sliders.items()}["debounce_after_s"] == 0.1
    moved = panel.table(Settings(debounce_after_s=1.0, istiods=2))
    assert moved["name"].tolist() == ["at the start", "moved"]
    assert moved["pushes"][1] < moved["pushes"][0]


def test_the_panel_is_a_picture_where_nobody_can_move_it():
    shown = tuning_panel([0, 2.5, 5.0], proxies=51)._repr_mimebundle_()
    assert set(shown) == {"text/plain", "text/html"}
    assert "3 batches, 153 pushes" in shown["text/html"]


def test_settings_are_compared_and_it_is_said_how_far_the_model_is_off():
    """What other settings would have done stands beside what was measured; a model far off says so itself."""
    shown = meshnb.open(SNAPSHOTS / "incoming").settings_compared(debounce_after_s=1.0)
    assert shown.df.columns.tolist() == ["what", "measured", "now", "changed"]
    rows = shown.df.set_index("what")
    assert rows["measured"]["pushes to one proxy each"] == rows["now"]["pushes to one proxy each"] == "159,000"
    assert rows["measured"]["change to last proxy, p99, s"] == ""
    assert shown.title == (
        "Measured and modelled: the convergence of the model is 5 % of the measured, so do not trust its delays"
    )
    healthy = meshnb.open(SNAPSHOTS / "healthy").settings_compared()
    assert "do not trust" not in healthy.title and "changed" in healthy.df
    nothing = meshnb.open(SNAPSHOTS / "no-data").settings_compared()
    assert nothing.df.empty and "not measured" in nothing.title


def test_as_many_batches_are_simulated_as_were_counted():
    """The rates of a short recording lag behind what was counted; the events are as many as the batches."""
    at = [datetime(2026, 11, 23, 9, 0, n, tzinfo=UTC) for n in (0, 15, 30)]
    rates = pd.DataFrame({"time": at, "value": [0.0, 0.1, 0.2]})
    one = {"time": at[-1:]}
    frames = {
        "batches": rates,
        "batch_count": pd.DataFrame(one | {"value": [10.0]}),
        "connections_by_istiod": pd.DataFrame(one | {"value": [5.0]}),
        "push_seconds": pd.DataFrame(one | {"value": [1.0]}),
        "convergence_count": pd.DataFrame(one | {"value": [50.0]}),
        "convergence_seconds": pd.DataFrame(one | {"value": [1.1]}),
    }
    found = what_if(frames, Facts(), {"push_throttle": 1}).set_index("name")
    assert found["batches"].tolist() == [10, 10, 10]
    assert found["pushes"].tolist() == [50, 50, 50]
    assert found["convergence_mean_s"].round(3).tolist() == [0.022, 0.02, 0.06]
