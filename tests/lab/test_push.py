"""Debounce, push queue and throttle of the lab's control plane, alone and with real Envoys."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from meshnb.cli import main
from meshnb.errors import UsageError
from meshnb.lab import lab as labs
from meshnb.lab.calls import call
from meshnb.lab.changes import changes
from meshnb.lab.inventory import healthy_objects
from meshnb.lab.plan import PODS, LabHome, Plan
from meshnb.lab.push import Debounce, Debouncer, Push, Pusher, PushQueue, PushRequest
from meshnb.lab.telemetry import HISTOGRAMS, Telemetry, parse
from meshnb.lab.world import World
from meshnb.loaders.istiod_log import read_push_batches

from .conftest import own_subnet
from .test_lab import BAD_REGEX, DESTINATION_RULE

POD = PODS[3]


def config(change: int = 1) -> PushRequest:
    return PushRequest(True, Counter(config=1), change)


def endpoint(change: int = 1) -> PushRequest:
    return PushRequest(False, Counter(endpoint=1), change)


def until(condition: Callable[[], bool], seconds: float = 20.0) -> bool:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.005)
    return condition()


class Batches:
    """What a Debouncer pushed."""

    def __init__(self, settings: Debounce) -> None:
        self.pushed: list[PushRequest] = []
        self.gate = threading.Event()
        self.gate.set()
        self.telemetry = Telemetry()
        self.debouncer = Debouncer(self.push, settings, self.telemetry)

    def push(self, request: PushRequest) -> None:
        self.pushed.append(request)
        assert self.gate.wait(20)


@pytest.fixture
def debounced() -> Iterator[Callable[[Debounce], Batches]]:
    made: list[Batches] = []

    def make(settings: Debounce) -> Batches:
        made.append(Batches(settings))
        return made[-1]

    yield make
    for batches in made:
        batches.gate.set()
        batches.debouncer.stop()


def test_a_burst_is_one_push(debounced: Callable[[Debounce], Batches]):
    """S11-60: changes close together are merged."""
    batches = debounced(Debounce(after_s=0.5))
    for change in range(1, 11):
        batches.debouncer.submit(config(change))
    assert until(lambda: bool(batches.pushed))
    assert batches.pushed[0].reasons == Counter(config=10)
    assert batches.pushed[0].change == 10
    counted = "pilot_debounce_time_count"
    assert until(lambda: parse(batches.telemetry.text()).get(counted) == {(): 1.0})


def test_without_quiet_the_longest_wait_ends_it(debounced: Callable[[Debounce], Batches]):
    """S11-62: PILOT_DEBOUNCE_MAX: there is a push although changes go on coming."""
    batches = debounced(Debounce(after_s=0.3, max_s=0.6))
    change = 0
    deadline = time.monotonic() + 20
    while not batches.pushed and time.monotonic() < deadline:
        change += 1
        batches.debouncer.submit(config(change))
        time.sleep(0.01)
    assert batches.pushed and batches.pushed[0].reasons["config"] > 10


def test_endpoints_go_past_the_debounce_when_it_is_off_for_them(debounced: Callable[[Debounce], Batches]):
    batches = debounced(Debounce(after_s=30, max_s=30, endpoints=False))
    batches.debouncer.submit(config(1))
    batches.debouncer.submit(endpoint(2))
    assert until(lambda: bool(batches.pushed))
    assert [request.full for request in batches.pushed] == [False]


def test_the_next_batch_waits_until_the_push_is_prepared(debounced: Callable[[Debounce], Batches]):
    batches = debounced(Debounce(after_s=0.01, max_s=0.02))
    batches.gate.clear()
    batches.debouncer.submit(config(1))
    assert until(lambda: len(batches.pushed) == 1)
    for change in range(2, 12):
        batches.debouncer.submit(config(change))
    batches.gate.set()
    assert until(lambda: sum(request.reasons["config"] for request in batches.pushed) == 11)
    assert batches.pushed[1].reasons["config"] > 1


def test_the_log_of_the_control_plane_is_read_like_istiods(
    debounced: Callable[[Debounce], Batches], capfd: pytest.CaptureFixture[str]
):
    batches = debounced(Debounce(after_s=0.2))
    for change in (1, 2, 3):
        batches.debouncer.submit(config(change))
    assert until(lambda: bool(batches.pushed))
    (row,) = read_push_batches(capfd.readouterr().err).to_dict("records")
    assert (row["events"], row["full"]) == (3, True)
    assert row["quiet_s"] >= 0.2


def test_a_waiting_client_is_queued_once_and_a_served_one_again_afterwards():
    waiting = PushQueue[str]()
    for client in ("a", "b", "a"):
        waiting.enqueue(client, config())
    assert waiting.dequeue() == ("a", PushRequest(True, Counter(config=2), 1))
    waiting.enqueue("a", endpoint(2))
    waiting.enqueue("a", endpoint(3))
    assert waiting.dequeue()[0] == "b"
    waiting.done("a")
    client, request = waiting.dequeue()
    assert (client, request.full, request.change, request.reasons) == ("a", False, 3, Counter(endpoint=2))


def test_no_more_than_the_throttle_are_served_at_once():
    """S11-64: PILOT_PUSH_THROTTLE."""
    served: list[tuple[str, Push]] = []
    telemetry = Telemetry()
    pusher = Pusher[str](lambda client, push: served.append((client, push)), 2, telemetry)
    pusher.start(list("abcdef"), config())
    for expected in (2, 3, 4, 5, 6, 6):
        assert until(lambda expected=expected: len(served) == expected)
        push = served[max(expected - 2, 0)][1]
        push.done()
        # called twice, as by a stream that ends in the middle, it frees one place only
        push.done()
        assert len(served) <= expected + 1
    assert [client for client, _ in served] == list("abcdef")
    found = parse(telemetry.text())
    assert found["pilot_push_triggers"] == {(("type", "config"),): 6.0}
    assert found["pilot_proxy_queue_time_count"] == {(): 6.0}


def without(world: World, *keys: tuple[str, str, str]) -> World:
    after = World.restore(world.objects())
    assert all(after.drop(key) for key in keys)
    return after


def test_what_is_counted_as_what():
    plan = Plan()
    world = World(healthy_objects(plan))
    service = ("Service", "istioinaction", "webapp")
    rule = ("DestinationRule", "istioinaction", "catalog")

    def told(before: World, after: World) -> list[tuple[tuple[str, ...], str, bool]]:
        return [(c.counted, c.reason, c.full) for c in changes(before, after, plan)]

    assert told(world, without(world, service)) == [(("svcdelete", "config"), "service", True)]
    assert told(without(world, service), world) == [(("svc", "config"), "service", True)]
    assert told(world, without(world, rule)) == [(("config",), "config", True)]
    assert told(world, without(world, ("Deployment", "istioinaction", "catalog"))) == []
    pod = ("Pod", POD.namespace, POD.name)
    assert told(world, without(world, pod)) == [(("eds", "config"), "endpoint", False)]
    # a pod that comes needs its own inbound configuration
    assert told(without(world, pod), world) == [(("eds", "config"), "endpoint", False), ((), "proxy", True)]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"debounce_after_s": -1.0}, "0 to 60"),
        ({"debounce_max_s": 61.0}, "0 to 60"),
        ({"push_throttle": 0}, "throttle"),
    ],
)
def test_settings_out_of_range(settings: dict, words: str, tmp_path: Path):
    with pytest.raises(UsageError, match=words):
        labs.up(LabHome.of(tmp_path / "home"), subnet=own_subnet(1), **settings)


@pytest.mark.parametrize("command", [["up", "--debounce-after", "soon"], ["load", "--delay", "2.5"]])
def test_a_time_that_is_none_exits_64(command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["lab", *command, "--home", str(tmp_path / "home")]) == 64
    assert "is no duration" in capsys.readouterr().err


def metrics(home: LabHome) -> dict[str, dict[tuple[tuple[str, str], ...], float]]:
    return parse(call(home.load_plan().control_plane, 15014, "/metrics")[1].decode())


def by_type(home: LabHome, name: str) -> dict[str, float]:
    return {dict(labels)["type"]: value for labels, value in metrics(home).get(name, {}).items()}


def more(before: dict[str, float], after: dict[str, float]) -> dict[str, float]:
    return {name: rise for name in after if (rise := after[name] - before.get(name, 0))}


@pytest.mark.lab
def test_one_change_is_one_push_to_each_proxy(lab: LabHome, tmp_path: Path):
    """Histograms have istiod's buckets and count every proxy once."""
    file = tmp_path / "rule.yaml"
    file.write_text(DESTINATION_RULE.replace("version-v2", "version-v3"))
    before, pushes = metrics(lab), by_type(lab, "pilot_xds_pushes")
    triggers, updates = by_type(lab, "pilot_push_triggers"), by_type(lab, "pilot_inbound_updates")
    labs.apply(file, lab)
    after = metrics(lab)
    assert more(pushes, by_type(lab, "pilot_xds_pushes"))["cds"] == 5
    assert more(pushes, by_type(lab, "pilot_xds_pushes"))["lds"] == 5
    assert more(triggers, by_type(lab, "pilot_push_triggers")) == {"config": 5}
    assert more(updates, by_type(lab, "pilot_inbound_updates")) == {"config": 1}
    for name in ("pilot_proxy_convergence_time", "pilot_proxy_queue_time"):
        assert after[f"{name}_count"][()] - before.get(f"{name}_count", {}).get((), 0) == 5
    for name, (_, limits) in HISTOGRAMS.items():
        found = {dict(labels)["le"] for labels in after[f"{name}_bucket"]}
        assert found == {f"{limit:g}" for limit in limits} | {"+Inf"}
    assert after["pilot_services"][()] == 3 and after["pilot_virt_services"][()] == 2


@pytest.mark.lab
def test_a_pod_that_goes_is_a_push_of_endpoints_alone(lab: LabHome):
    pushes = by_type(lab, "pilot_xds_pushes")
    labs.apply_objects([], lab, delete=[("Pod", POD.namespace, POD.name)])
    assert set(more(pushes, by_type(lab, "pilot_xds_pushes"))) == {"eds"}
    _, body = call(lab.load_plan().gateway, 15000, "/clusters")
    assert f"{lab.load_plan().ip(POD)}:3000" not in body.decode()


@pytest.mark.lab
def test_a_refusal_is_counted_by_type_and_node(lab: LabHome, tmp_path: Path):
    """Rejects by type as gauges, with the node."""
    file = tmp_path / "bad.yaml"
    file.write_text(BAD_REGEX)
    before = by_type(lab, "pilot_total_xds_rejects")
    labs.apply(file, lab)
    assert more(before, by_type(lab, "pilot_total_xds_rejects")) == {"rds": 1}
    nodes = {dict(labels)["node"] for labels in metrics(lab)["pilot_xds_rds_reject"]}
    assert PODS[0].proxy in nodes


@pytest.mark.lab
def test_settings_of_lab_up_reach_the_control_plane(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    home = ["--home", str(tmp_path / "home")]
    options = ["--debounce-after", "1ms", "--debounce-max", "50ms", "--no-eds-debounce", "--push-throttle", "1"]
    try:
        assert main(["lab", "up", *home, "--subnet", own_subnet(1), "--no-prometheus", *options]) == 0
        lab = LabHome.of(tmp_path / "home")
        plan = lab.load_plan()
        assert (plan.debounce_after_s, plan.debounce_max_s) == (0.001, 0.05)
        assert (plan.eds_debounce, plan.push_throttle) == (False, 1)
        change = labs.apply_objects([], lab, delete=[("Pod", POD.namespace, POD.name)])
        assert {answer for types in change.proxies.values() for answer in types.values()} == {"ACK"}
        # went past the debounce
        assert "pilot_debounce_time_count" not in metrics(lab)
        assert by_type(lab, "pilot_push_triggers") == {"endpoint": 5}
    finally:
        main(["lab", "down", *home])
