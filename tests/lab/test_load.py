"""Load on the lab's control plane, and the simulator against what was measured."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from meshnb.cli import main
from meshnb.errors import UsageError
from meshnb.lab import lab as labs
from meshnb.lab.capture import capture
from meshnb.lab.load import LoadRun, load, quantile
from meshnb.lab.plan import PODS, LabHome
from meshnb.lab.telemetry import parse
from meshnb.lab.world import World
from meshnb.lab.world import parse as parse_objects
from meshnb.runbook.mesh import Mesh
from meshnb.tuning import load_yaml
from meshnb.tuning.simulator import Settings, Simulation, simulate

from .conftest import own_subnet

COUNT = 10


def triples(count: int, start: int = 0) -> list[dict]:
    return parse_objects(load_yaml(count, start=start), file="load")


@pytest.fixture
def patient(tmp_path: Path) -> Iterator[LabHome]:
    """A lab that waits for two quiet seconds, so that a burst is one batch on a busy machine too."""
    home = LabHome.of(tmp_path / "home")
    labs.up(home, subnet=own_subnet(1), prometheus=False, debounce_after_s=2.0)
    yield home
    labs.down(home)


def simulated(run: LoadRun, debounce_after_s: float) -> Simulation:
    """The same changes at the same times, with the time that a push took beside others."""
    events = [at for at in run.times_s for _ in range(run.per_step)]
    cost = sum(run.more("pilot_xds_push_time_sum").values()) / run.pushes
    return simulate(events, Settings(debounce_after_s), proxies=len(PODS), push_cost=cost)


def compare(run: LoadRun, *, debounce_after_s: float = 0.1) -> None:
    """Pushes within 10 %, debounce no shorter than simulated and at most a second longer."""
    model = simulated(run, debounce_after_s)
    assert len(model.pushes) == pytest.approx(run.pushes, rel=0.1)
    # a batch is counted when it is in the queue: from its first change on
    expected = float((model.batches["closed_s"] - model.batches["opened_s"]).mean())
    measured = run.mean_s("pilot_debounce_time")
    assert measured is not None and expected * 0.9 <= measured <= expected + 1


def test_600_objects_of_200_triples_are_what_the_lab_translates():
    """S11-38: 200 Services, Gateways and VirtualServices each."""
    world = World(triples(200))
    assert [len(world.of(kind)) for kind in ("Service", "Gateway", "VirtualService")] == [200] * 3
    # as in Kubernetes, a Service that asks for no address gets one of its own, and keeps it
    addresses = {service["spec"]["clusterIP"] for service in world.of("Service")}
    assert len(addresses) == 200
    assert not [item for item in triples(200) if world.put(item)]


@pytest.mark.lab
def test_s11_41_a_burst_is_pushed_once_to_each_proxy_as_simulated(patient: LabHome):
    run = load(triples(COUNT), patient)
    assert run.changed == 3 * COUNT and not run.refused
    assert run.pushes == len(PODS)
    assert run.more("pilot_inbound_updates") == {"svc": COUNT, "config": 3 * COUNT}
    assert run.more("pilot_push_triggers") == {"service": COUNT * len(PODS), "config": 2 * COUNT * len(PODS)}
    compare(run, debounce_after_s=2.0)


@pytest.mark.lab
def test_s11_41_spaced_changes_are_pushed_each_for_itself_as_simulated(lab: LabHome):
    """S11-41: ten batches times the proxies, as 510 pushes are ten times 51."""
    run = load(triples(COUNT), lab, delay_s=0.5)
    assert run.pushes == pytest.approx(COUNT * len(PODS), rel=0.1)
    compare(run)


@pytest.mark.lab
def test_s11_40_the_command_prints_pushes_before_and_after(lab: LabHome, capsys: pytest.CaptureFixture[str]):
    home = ["--home", str(lab.root)]
    assert main(["lab", "load", "--count", "2", "--delay", "500ms", "--keep", *home]) == 0
    printed = capsys.readouterr().out
    before, after, more = map(int, re.search(r"pilot_xds_pushes\{cds\} +(\d+) +(\d+) +(\d+)", printed).groups())
    assert after - before == more == 2 * len(PODS)
    assert f"pushes of everything to a proxy: {more}" in printed
    assert re.search(r"pilot_proxy_convergence_time: mean \d\.\d+ s, P99 \d\.\d+ s", printed)
    # they are there already
    assert main(["lab", "load", "--count", "2", *home]) == 0
    assert "0 objects changed" in capsys.readouterr().out
    # and now they are not
    assert main(["lab", "load", "--count", "1", *home]) == 0
    assert "3 objects changed" in capsys.readouterr().out


@pytest.mark.lab
def test_the_batches_of_a_run_are_in_the_captured_log(patient: LabHome, tmp_path: Path):
    """What the simulator can be fed with: how many changes came together, by the log of the control plane."""
    load(triples(COUNT), patient, keep=True)
    (batch,) = Mesh(capture(tmp_path / "snapshot", patient)).push_batches().to_dict("records")
    assert (batch["events"], batch["full"]) == (3 * COUNT, True)
    assert batch["waited_s"] >= batch["quiet_s"] >= 2.0


def test_nothing_to_apply(tmp_path: Path):
    with pytest.raises(UsageError, match="nothing to apply"):
        load([], LabHome.of(tmp_path))


def test_quantiles_of_buckets():
    assert quantile({}, 0.99) is None
    assert quantile({0.1: 0, float("inf"): 0}, 0.99) is None
    assert quantile({0.1: 1, 1.0: 1, float("inf"): 4}, 0.99) == 1.0
    assert quantile({0.1: 100, float("inf"): 100}, 0.99) == pytest.approx(0.099)


def test_a_run_counts_only_what_came_during_it():
    before = parse('pilot_xds_pushes{istiod="lab",type="cds"} 5\npilot_debounce_time_sum{istiod="lab"} 1')
    after = parse(
        'pilot_xds_pushes{istiod="lab",type="cds"} 10\npilot_xds_pushes{istiod="lab",type="eds"} 3\n'
        'pilot_debounce_time_sum{istiod="lab"} 1.5\npilot_debounce_time_count{istiod="lab"} 2\n'
        'pilot_debounce_time_bucket{istiod="lab",le="1"} 2\npilot_debounce_time_bucket{istiod="lab",le="+Inf"} 2\n'
    )
    run = LoadRun(1, (0.0,), 3, 3, before, after)
    assert run.more("pilot_xds_pushes") == {"cds": 5, "eds": 3}
    assert (run.pushes, run.mean_s("pilot_debounce_time")) == (5, 0.25)
    assert run.mean_s("pilot_proxy_queue_time") is None
    assert "pilot_xds_pushes{cds}          " in str(run)
