"""Golden signals and decision tree, on answers recorded from a real Prometheus and on made-up numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest

import meshnb
from meshnb.model.finding import Status
from meshnb.tuning.decision import ANSWERS, START, bottleneck, conclusion, conclusions, levers, questions
from meshnb.tuning.levers import Facts, recommendations
from meshnb.tuning.signals import MEASURES, Recorded, Thresholds, control_plane, istio_version
from meshnb.tuning.stages import STAGES, stage_names, stages_measured

SNAPSHOTS = Path(__file__).parents[1] / "data" / "control-plane"
T0 = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)

BRANCHES = {
    "healthy": "healthy",
    "incoming": "incoming",
    "outgoing": "outgoing",
    "saturated": "saturated-only",
    "saturated-incoming": "saturated-incoming",
    "saturated-outgoing": "saturated-outgoing",
    "throttled": "throttled",
    "rejects": "rejects",
    "unbalanced": "unbalanced",
    "api-server": "api-server",
    "debounce": "debounce",
    "undecided": "undecided",
    "no-data": "no-data",
    "reporters": "healthy",
}


@pytest.mark.parametrize("name", BRANCHES)
def test_each_snapshot_takes_its_branch(name):
    """S11-27, S11-28, S11-65 … S11-68, S11-73, S11-77: the right end, the way there written down."""
    mesh = meshnb.open(SNAPSHOTS / name)
    steps = mesh.bottleneck()
    assert steps["node"].iloc[-1] == BRANCHES[name]
    assert (steps["evidence"].str.len() > 0).all()
    assert steps["not_taken"].iloc[:-1].notna().all()
    assert steps["next"].iloc[:-1].tolist() == steps["node"].iloc[1:].tolist()


@pytest.mark.parametrize("name", BRANCHES)
def test_the_verdict_follows_the_branch(name):
    end = conclusions()[BRANCHES[name]]
    mesh = meshnb.open(SNAPSHOTS / name)
    (finding,) = mesh.check("MNB0354")
    assert finding.status == Status(end.status)
    if end.status == "fail":
        assert len(finding.fix) == len(end.levers) > 0
        assert finding.verify


def test_no_data_is_unknown_never_healthy():
    mesh = meshnb.open(SNAPSHOTS / "no-data")
    found = mesh.check("MNB0350", "MNB0351", "MNB0352", "MNB0353", "MNB0354")
    assert {finding.status for finding in found} == {Status.UNKNOWN}
    assert not found.failed()


def test_every_branch_of_the_tree_is_reached():
    seen = {node for name in BRANCHES for node in meshnb.open(SNAPSHOTS / name).bottleneck()["node"]}
    assert seen == set(questions()) | (set(conclusions()) - {"not-measured"})


def test_the_tree_hangs_together():
    """Each way leads on, each question has its rule, each lever exists, no two ways lead round."""
    nodes = set(questions()) | set(conclusions())
    assert set(questions()) == set(ANSWERS)
    for question in questions().values():
        assert {question.yes, question.no, question.unknown} <= nodes
    for end in conclusions().values():
        assert set(end.levers) <= set(levers())
        assert end.status in ("fail", "pass", "unknown")
        assert bool(end.severity) == (end.status == "fail")
    assert {name for end in conclusions().values() for name in end.levers} == set(levers())

    def depth(name: str, above: tuple[str, ...] = ()) -> int:
        assert name not in above
        if name not in questions():
            return 0
        question = questions()[name]
        return 1 + max(depth(to, (*above, name)) for to in (question.yes, question.no, question.unknown))

    assert depth(START) == 10


def _frame(values: list[float] | float, step: int = 30, **labels: str) -> pd.DataFrame:
    values = values if isinstance(values, list) else [values] * 21
    times = [T0 + timedelta(seconds=step * n) for n in range(len(values))]
    return pd.DataFrame({"time": pd.Series(times).astype("timestamp[us, tz=UTC][pyarrow]"), "value": values, **labels})


QUIET = {
    "metric_names": pd.DataFrame({"__name__": ["pilot_xds"], "value": [1.0]}),
    "istiods": _frame(2),
    "connections_by_istiod": _frame(50),
    "convergence_p99": _frame(0.2),
    "slow_pushes": _frame(0.0),
    "debounce_p99": _frame(0.2),
    "queue_p99": _frame(0.05),
    "push_p99": _frame(0.05),
    "apiserver_p99": _frame(0.1),
    "event_queue_p99": _frame(0.01),
    "imbalance": _frame(1.1),
    "cpu_of_limit": _frame(0.2),
    "cpu_throttled": _frame(0.0),
    "memory_of_limit": _frame(0.2),
    "updates_by_istiod": _frame(1),
    "config_size_p99": _frame(1e5),
    "pushes": _frame(10),
    "rejects": _frame([]),
}


def _walk(changed: Mapping[str, object], **thresholds: float) -> str:
    frames = {**QUIET, **{name: _frame(value) if value is not None else _frame([]) for name, value in changed.items()}}
    limits = Thresholds(**thresholds)
    return conclusion(bottleneck(control_plane(Recorded(frames, {}, "1.24"), limits), limits)).name


LATE = {"convergence_p99": 1.5}


@pytest.mark.parametrize(
    ("below", "above", "end"),
    [
        ({"convergence_p99": 1.0}, {"convergence_p99": 1.001}, "undecided"),
        ({"slow_pushes": 0.01}, {"slow_pushes": 0.0101}, "undecided"),
        ({"debounce_p99": 4.8}, {"debounce_p99": 4.81}, "debounce"),
        ({"rejects": 0.0}, {"rejects": 0.001}, "rejects"),
        (LATE | {"apiserver_p99": 1.0}, LATE | {"apiserver_p99": 1.01}, "api-server"),
        (LATE | {"event_queue_p99": 1.0}, LATE | {"event_queue_p99": 1.01}, "api-server"),
        (LATE | {"imbalance": 1.5}, LATE | {"imbalance": 1.51}, "unbalanced"),
        (LATE | {"cpu_of_limit": 0.8}, LATE | {"cpu_of_limit": 0.81}, "saturated-only"),
        (LATE | {"cpu_throttled": 0.1}, LATE | {"cpu_throttled": 0.11}, "saturated-only"),
        (LATE | {"memory_of_limit": 0.8}, LATE | {"memory_of_limit": 0.81}, "saturated-only"),
        (LATE | {"push_p99": 0.5}, LATE | {"push_p99": 0.51}, "outgoing"),
        (LATE | {"config_size_p99": 4e6}, LATE | {"config_size_p99": 4.1e6}, "outgoing"),
        (LATE | {"updates_by_istiod": 10}, LATE | {"updates_by_istiod": 10.1}, "incoming"),
        (LATE | {"queue_p99": 0.74}, LATE | {"queue_p99": 0.76}, "throttled"),
    ],
)
def test_each_threshold_from_both_sides(below, above, end):
    before = "healthy" if "convergence_p99" not in below or below["convergence_p99"] == 1.0 else "undecided"
    assert _walk(below) == before
    assert _walk(above) == end


@pytest.mark.parametrize(
    ("missing", "end"),
    [
        ({"convergence_p99": None, "slow_pushes": None}, "not-measured"),
        (LATE | {"apiserver_p99": None, "event_queue_p99": None, "queue_p99": 1.2}, "throttled"),
        (LATE | {"imbalance": None, "queue_p99": 1.2}, "throttled"),
        (LATE | {"cpu_of_limit": None, "cpu_throttled": None, "memory_of_limit": None, "queue_p99": 1.2}, "undecided"),
        (LATE | {"cpu_of_limit": None, "cpu_throttled": None, "queue_p99": 1.2}, "undecided"),
        (LATE | {"updates_by_istiod": None}, "undecided"),
        (LATE | {"queue_p99": None}, "undecided"),
    ],
)
def test_what_is_missing_is_unknown_and_does_not_decide(missing, end):
    """Not knowing whether CPU is left forbids the advice to push more (T11: only when not saturated)."""
    assert _walk(missing) == end


def test_thresholds_are_parameters():
    assert _walk({"convergence_p99": 0.9}) == "healthy"
    assert _walk({"convergence_p99": 0.9}, convergence_warning_s=0.5) == "undecided"
    mesh = meshnb.open(SNAPSHOTS / "throttled")
    mesh.thresholds = Thresholds(convergence_warning_s=5, convergence_critical_s=5, slow_share=0.5, total_delay_s=9)
    assert mesh.bottleneck()["node"].iloc[-1] == "healthy"


def test_s11_13_one_second_for_ten_seconds():
    """Warning above 1 s for 10 s, critical above 2 s for 10 s; shorter is neither."""

    def verdict(values: list[float], step: int = 5) -> str:
        frame = control_plane(Recorded({"convergence_p99": _frame(values, step)}, {}), Thresholds())
        return str(frame.set_index("measure")["verdict"]["convergence_p99"])

    assert verdict([0.5, 1.5, 0.5, 0.5]) == "ok"
    assert verdict([0.5, 1.5, 1.5, 0.5]) == "warning"
    assert verdict([1.5, 2.5, 1.5, 0.5]) == "warning"
    assert verdict([1.5, 2.5, 2.5, 0.5]) == "critical"
    assert verdict([0.5, 2.0, 2.0, 0.5]) == "warning"
    assert verdict([0.5, 1.5, 0.5], step=30) == "warning"  # one point stands for its step


def test_s11_03_the_tree_asks_along_the_stages():
    """S11-03: the questions name the stage they are about, and each of the five is asked about."""
    asked = {question.stage for question in questions().values()}
    assert asked == {"", *stage_names()}
    steps = meshnb.open(SNAPSHOTS / "throttled").bottleneck()
    assert steps.set_index("node")["stage"].dropna()["waiting"] == "queue"


def test_s11_03_each_stage_as_measured():
    """S11-03: every stage has its measures, those of the golden signals, and its settings."""
    mesh = meshnb.open(SNAPSHOTS / "throttled")
    found = mesh.stages()
    assert found["stage"].unique().tolist() == list(stage_names())
    signals = mesh.control_plane().set_index("measure")
    rows = found.set_index("measure")
    assert rows["verdict"]["queue_p99"] == signals["verdict"]["queue_p99"] == "warning"
    assert "PILOT_PUSH_THROTTLE" in list(rows["settings"]["queue_p99"])
    settings = stages_measured(mesh.control_plane(), {"PILOT_DEBOUNCE_AFTER": "1s"}).set_index("measure")["settings"]
    assert settings["debounce_p99"][0] == "PILOT_DEBOUNCE_AFTER=1s"
    assert {m for stage in STAGES for m in stage.measures} <= set(signals.index)


def test_s11_71_total_delay_is_debounce_and_convergence():
    frames = {"debounce_p99": _frame([3.0, 1.0]), "convergence_p99": _frame([0.5, 4.5])}
    row = control_plane(Recorded(frames, {})).set_index("measure").loc["total_delay"]
    assert row["peak"] == 5.5
    assert row["verdict"] == "warning"


def test_nan_is_nothing_to_count_and_not_zero():
    """histogram_quantile without a push gives NaN: nothing was late, and no number is made up."""
    row = control_plane(Recorded({"convergence_p99": _frame([math.nan] * 5)}, {})).set_index("measure")
    assert row["verdict"]["convergence_p99"] == "quiet"
    assert pd.isna(row["peak"]["convergence_p99"])


def test_s11_33_s11_34_t22_absent_is_not_zero():
    """push_context_errors: unknown with the right name in 1.26, quiet before; rejects: quiet, never 0."""
    empty = {"push_context_errors": _frame([]), "rejects": _frame([]), "metric_names": QUIET["metric_names"]}
    old = control_plane(Recorded(empty, {}, "1.20")).set_index("measure")
    new = control_plane(Recorded(empty, {}, "1.26")).set_index("measure")
    assert old["verdict"]["push_context_errors"] == "quiet"
    assert new["verdict"]["push_context_errors"] == "unknown"
    assert "use pilot_total_xds_internal_errors" in new["statement"]["push_context_errors"]
    assert new["verdict"]["rejects"] == "quiet"
    assert pd.isna(new["peak"]["rejects"])
    unseen = control_plane(Recorded({"rejects": _frame([])}, {}, "1.26")).set_index("measure")
    assert unseen["verdict"]["rejects"] == "unknown"


def test_a_failed_query_is_unknown():
    row = control_plane(Recorded({"convergence_p99": _frame([])}, {"convergence_p99": "timed out"})).set_index(
        "measure"
    )
    assert row["statement"]["convergence_p99"] == "the query failed: timed out"


def test_the_oldest_release_counts():
    frames = {"istio_versions": pd.DataFrame({"tag": ["1.26.0", "1.9.2", "unknown"], "value": [1, 1, 1]})}
    assert istio_version(frames) == "1.9.2"
    assert istio_version({}) == ""


def test_every_measure_has_its_query():
    from meshnb.tuning.catalogue import queries
    from meshnb.tuning.signals import DERIVED

    for measure in MEASURES:
        for name in DERIVED.get(measure.name, (measure.name,)):
            assert queries()[name].record, name


def test_s11_73_less_work_comes_before_more_room():
    """Sidecar, selectors, batching, then resources; what is in place is said, not skipped."""
    end = conclusions()["saturated-incoming"]
    rows = recommendations(end, Facts({"discoverySelectors": "[{}]", "PILOT_DEBOUNCE_AFTER": "100ms"}, sidecars=0))
    assert rows["lever"].tolist() == ["sidecar-scope", "discovery-selectors", "batch-more", "scale-up"]
    assert rows["done"].tolist() == [False, True, False, None] or rows["done"].isna().tolist() == [False] * 3 + [True]
    assert bool(rows["done"][1])
    for name in ("saturated-only", "saturated-outgoing"):
        order = list(conclusions()[name].levers)
        assert order.index("sidecar-scope") < order.index("batch-more") < order.index("scale-out")


def test_s11_72_s11_78_small_steps_and_two_istiods():
    """T14: not below two replicas; settings move by 10 to 30 %."""
    facts = Facts(
        {"PILOT_DEBOUNCE_AFTER": "1s", "PILOT_DEBOUNCE_MAX": "10s", "PILOT_PUSH_THROTTLE": "100", "replicas": "1"}
    )
    settings = {
        row.lever: row.setting
        for end in conclusions().values()
        for row in recommendations(end, facts).itertuples()
    }  # fmt: skip
    assert "PILOT_DEBOUNCE_AFTER=1300ms" in settings["batch-more"]
    assert "PILOT_DEBOUNCE_MAX=7000ms" in settings["batch-less"]
    assert "PILOT_PUSH_THROTTLE=130" in settings["push-more"]
    assert "PILOT_PUSH_THROTTLE=70" in settings["push-less"]
    assert "replicaCount: 2" in settings["scale-out"]
    for lever in levers().values():
        if lever.name.startswith(("batch", "push")):
            assert "10 to 30 %" in lever.guard


def test_s11_66_s11_67_s11_68_t11_when_to_push_more():
    """Row 4 of the guide: more concurrent pushes only if *not* saturated, or scaled up."""
    for end in conclusions().values():
        if end.name.startswith("saturated"):
            assert not {"push-more", "batch-less"} & set(end.levers)
    assert "push-more" in conclusions()["throttled"].levers
    assert "push-less" in conclusions()["saturated-outgoing"].levers
    assert "not saturated" in levers()["push-more"].condition


def test_the_picture_tells_the_way():
    mesh = meshnb.open(SNAPSHOTS / "outgoing")
    shown = mesh.decision_path()._repr_mimebundle_()
    assert "⇒ Outgoing traffic is the bottleneck" in shown["text/plain"]
    assert "(not taken: yes → rejects)" in shown["text/plain"]
    assert shown["text/html"].count("<rect") == len(mesh.bottleneck())
