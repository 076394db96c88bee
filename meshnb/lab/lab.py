"""Start, look at, change and stop the lab."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from meshnb.errors import LabError
from meshnb.lab.calls import call, call_json
from meshnb.lab.envoy import bootstrap, find_envoy, require_packages
from meshnb.lab.inventory import Object, healthy_objects, manifest
from meshnb.lab.pki import make_pki
from meshnb.lab.plan import (
    ADMIN_PORT,
    APP_PORT,
    MONITOR_PORT,
    PODS,
    SUBNET,
    LabHome,
    Plan,
    find_pod,
)
from meshnb.lab.process import end, has_ended, is_free, is_running, owner, start_detached, start_time
from meshnb.lab.prometheus import configuration, find_prometheus
from meshnb.lab.scenarios import HEALTHY, Scenario, find_scenario
from meshnb.lab.status import is_up, look, require_up
from meshnb.lab.supervisor import commands
from meshnb.lab.world import parse

_READY_S = 30.0
_TICK_S = 0.05
_ENDING_S = 3.0


@dataclass(frozen=True, slots=True)
class Change:
    """What a change of objects led to.

    Args:
        version: version of the push.
        changed: `Kind namespace/name` of each object that changed.
        proxies: proxy -> xDS type -> `ACK`, `NACK` or `WAITING`.
        errors: `PROXY TYPE: text` of each refusal.
    """

    version: str
    changed: tuple[str, ...] = ()
    proxies: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    errors: tuple[str, ...] = ()


def up(
    home: LabHome | None = None,
    *,
    subnet: str = SUBNET,
    log_format: str = "json",
    stats: str = "istio",
    prometheus: bool = True,
    debounce_after_s: float = 0.1,
    debounce_max_s: float = 10.0,
    eds_debounce: bool = True,
    push_throttle: int = 100,
) -> bool:
    """Start the lab and wait until every part is ready.

    Args:
        home: its folder; by default one per subnet in the cache.
        subnet: first three numbers of its addresses, all of them loopback.
        log_format: `json` or `text`, the encoding of the access log.
        stats: `istio` keeps the metrics a mesh keeps by default, `all` keeps everything.
        prometheus: start Prometheus if one is found.
        debounce_after_s: quiet time of the control plane before a push, as `PILOT_DEBOUNCE_AFTER`.
        debounce_max_s: longest wait, as `PILOT_DEBOUNCE_MAX`.
        eds_debounce: whether changes of endpoints alone wait too, as `PILOT_ENABLE_EDS_DEBOUNCE`.
        push_throttle: proxies served at once, as `PILOT_PUSH_THROTTLE`.

    Returns:
        True if it was started, false if it already runs.

    Raises:
        MissingExtra: the extra `lab` is not installed.
        UsageError: a setting out of range.
        LabError: no Envoy for this platform, an address is taken, or a part does not start.
    """
    require_packages()
    home = home or LabHome.of(subnet=subnet)
    plan = Plan(
        subnet,
        log_format,
        stats,
        debounce_after_s=debounce_after_s,
        debounce_max_s=debounce_max_s,
        eds_debounce=eds_debounce,
        push_throttle=push_throttle,
    )
    home.root.mkdir(parents=True, exist_ok=True, mode=0o700)
    with _locked(home):
        if is_up(home):
            return False
        _end_leftovers(home)
        envoy, version = find_envoy()
        found = find_prometheus() if prometheus else ""
        _start(home, replace(plan, envoy=str(envoy), envoy_version=version, prometheus=found))
    return True


def _start(home: LabHome, plan: Plan) -> None:
    _require_free(plan)
    _write(home, plan)
    supervisor = 0
    try:
        supervisor = _start_supervisor(home)
        _wait_until_ready(home, plan, supervisor)
    except BaseException:
        # also when interrupted, and before it has written down what it is: nothing may be left behind
        end([(supervisor, start_time(supervisor))], grace=10.0)
        _stop(home)
        raise


def down(home: LabHome | None = None) -> bool:
    """Stop the lab. Ends only processes that it started itself.

    Returns:
        Whether anything ran.
    """
    home = home or LabHome.of()
    if not home.root.is_dir():
        return False
    return _stop(home)


def apply(path: str | Path, home: LabHome | None = None) -> Change:
    """Change objects from a YAML file and wait until every proxy has accepted or refused the result.

    Args:
        path: the file, with one or more documents.
        home: the lab.

    Raises:
        LabError: no lab, no such file, not YAML, or something that the lab does not translate.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise LabError(f"{path}: {error}", hint="give a YAML file of Istio objects") from error
    return apply_objects(parse(text, file=str(path)), home)


def apply_objects(
    objects: list[Object], home: LabHome | None = None, *, delete: list[tuple[str, str, str]] | None = None
) -> Change:
    """Change objects; see `apply`.

    Args:
        objects: what to add or change.
        home: the lab.
        delete: kind, namespace and name of objects to delete.
    """
    home = home or LabHome.of()
    plan = require_up(home)
    mark(home, scenario=home.read(home.marks).get("scenario", "healthy"))
    return send(plan, {"apply": objects, "delete": delete or []})


def break_(name: str, home: LabHome | None = None) -> Change:
    """Break the lab in a known way; whatever was broken before is healed.

    Args:
        name: a scenario; `meshnb lab scenarios` lists them.
        home: the lab.

    Raises:
        UsageError: no such scenario.
        LabError: no lab runs.
    """
    return _set(home or LabHome.of(), find_scenario(name))


def heal(home: LabHome | None = None) -> Change:
    """Make the lab healthy again."""
    return _set(home or LabHome.of(), HEALTHY)


def mark(home: LabHome, *, scenario: str) -> None:
    """Remember where all logs stand, so that a capture can begin at this change."""
    now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    sizes = {path.name: path.stat().st_size for path in sorted(home.logs.glob("*.log"))}
    home.write(home.marks, {"scenario": scenario, "time": now, "sizes": sizes})


def blowup(plan: Plan, pod: str, body: Mapping[str, Any]) -> None:
    """Make the app of a pod behave as `meshnb.lab.app` describes."""
    call_json(plan.app_ip(find_pod(pod)), APP_PORT, "/blowup", method="POST", body=dict(body))


def _set(home: LabHome, scenario: Scenario) -> Change:
    """First everything as it was, then the objects, and last what stops: a proxy must have got what it is to keep."""
    plan = require_up(home)
    certificates = dict(scenario.certificates)
    before = home.read(home.wanted).get("certificates", {})
    # a proxy asks for its certificate once, when it starts
    renewed = [f"envoy:{p.proxy}" for p in PODS if before.get(p.proxy) != certificates.get(p.proxy)]
    if renewed:
        _run_processes(home, plan, {"stopped": renewed, "certificates": certificates})
    _run_processes(home, plan, {"certificates": certificates})
    _wait_until_connected(plan)
    for pod in PODS:
        if not pod.is_gateway:
            blowup(plan, pod.name, scenario.apps.get(pod.proxy, {"active": False}))
    change = send(plan, {"apply": healthy_objects(plan), "replace": True, "hold": []})
    if scenario.manifest or scenario.delete:
        # from the healthy state, and not from what was broken before: a proxy that refuses keeps what it had
        objects = manifest(scenario.manifest) if scenario.manifest else []
        change = send(plan, {"apply": objects, "delete": list(scenario.delete)})
    if scenario.hold:
        later = send(plan, {"delete": list(scenario.gone), "hold": list(scenario.hold)})
        change = replace(change, changed=change.changed + later.changed)
    wanted = {"stopped": list(scenario.stop), "paused": list(scenario.pause), "flapping": list(scenario.flap)}
    _run_processes(home, plan, {**wanted, "certificates": certificates})
    mark(home, scenario=scenario.name)
    return change


def _run_processes(home: LabHome, plan: Plan, wanted: Mapping[str, Any]) -> None:
    """Have exactly these processes `stopped`, `paused` and `flapping`, and all others ready."""
    home.write(home.wanted, wanted)
    states = {"stopped": ("stopped",), "paused": ("paused",), "flapping": ("stopped", "starting", "ready")}
    allowed = {name: states[kind] for kind in states for name in wanted.get(kind, [])}
    names = list(commands(plan, home))
    deadline = time.monotonic() + _READY_S
    while True:
        processes = home.read(home.state).get("processes", {})
        parts = [look(plan, name, processes.get(name)) for name in names]
        wrong = [part for part in parts if part.state not in allowed.get(part.name, ("ready",))]
        if not wrong:
            return
        if time.monotonic() > deadline or wrong[0].state.startswith("exited"):
            raise LabError(
                f"{wrong[0].name} is {wrong[0].state}, not {allowed.get(wrong[0].name, ('ready',))[0]}",
                hint=f"meshnb lab down, then up; {_tail(home, wrong[0].name)}",
            )
        time.sleep(_TICK_S)


def _wait_until_connected(plan: Plan) -> None:
    """A proxy comes back to its control plane only after a while."""
    deadline = time.monotonic() + _READY_S
    while True:
        answers = call_json(plan.control_plane, MONITOR_PORT, "/debug/adsz")
        if answers["totalClients"] == len(PODS):
            return
        if time.monotonic() > deadline:
            raise LabError(f"{answers['totalClients']} of {len(PODS)} proxies are connected to the control plane")
        time.sleep(_TICK_S)


def send(plan: Plan, body: Mapping[str, Any]) -> Change:
    """Ask the control plane for a change, as its `/lab/apply` takes it, and wait until it is in force."""
    answer = call_json(plan.control_plane, MONITOR_PORT, "/lab/apply", method="POST", body=body)
    _wait_until_in_force(plan, list(answer["proxies"]))
    proxies = {p: {t: s["status"] for t, s in types.items()} for p, types in answer["proxies"].items()}
    errors = [
        f"{proxy} {kind}: {state['error']}"
        for proxy, types in answer["proxies"].items()
        for kind, state in types.items()
        if state["error"]
    ]
    changed = tuple(f"{kind} {namespace}/{name}" for kind, namespace, name in answer["changed"])
    return Change(answer["version"], changed, proxies, tuple(errors))


def _wait_until_in_force(plan: Plan, proxies: list[str]) -> None:
    """What was accepted may not hold yet: a cluster waits for certificates, old connections have their old listener."""
    deadline = time.monotonic() + _READY_S
    for name in proxies:
        while time.monotonic() < deadline and not _in_force(plan.ip(find_pod(name))):
            time.sleep(_TICK_S)


def _in_force(address: str) -> bool:
    _, warming = call(address, ADMIN_PORT, "/config_dump?resource=dynamic_warming_clusters")
    _, draining = call(address, ADMIN_PORT, "/stats?filter=^listener_manager.total_(filter_chains|listeners)_draining")
    return b'"configs"' not in warming and all(line.endswith(b" 0") for line in draining.splitlines())


@contextmanager
def _locked(home: LabHome) -> Iterator[None]:
    """One `up` at a time."""
    import fcntl

    with (home.root / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise LabError(f"the lab in {home.root} is being started by someone else", hint="wait for it") from None
        yield


def _require_free(plan: Plan) -> None:
    for address, port, what in plan.listening():
        why = is_free(address, port, wait_s=_ENDING_S)
        if why == "taken":
            by = owner(address, port)
            raise LabError(
                f"{address}:{port} is taken{f' by {by}' if by else ''}; the lab needs it for {what}",
                hint="stop that, or start on other addresses: meshnb lab up --subnet 127.0.41",
            )
        if why == "absent":
            raise LabError(
                f"this machine has no address {address}",
                hint="Linux has all of 127.0.0.0/8; elsewhere add loopback aliases first",
            )
        if why:
            raise LabError(f"{address}:{port} cannot be bound for {what}: {why}")


def _write(home: LabHome, plan: Plan) -> None:
    """A fresh folder: nothing of an earlier lab is left but the lock."""
    entries = list(home.root.iterdir())
    if not home.plan.exists() and not all(entry.name.startswith(("lock", "plan.json")) for entry in entries):
        raise LabError(f"{home.root} holds something else than a lab", hint="give an empty or new folder")
    # the plan is what makes it a lab's folder, so it is there first and never gone
    home.write(home.plan, asdict(plan))
    for entry in entries:
        if entry.is_dir():
            shutil.rmtree(entry)
        elif entry not in (home.plan, home.root / "lock"):
            entry.unlink()
    home.logs.mkdir()
    (home.root / "bootstrap").mkdir()
    make_pki(home.pki)
    for pod in PODS:
        home.write(home.root / "bootstrap" / f"{pod.proxy}.json", bootstrap(plan, pod))
    # JSON is YAML
    home.write(home.root / "prometheus.yml", configuration(plan))
    home.write(home.wanted, {})
    mark(home, scenario="healthy")


def _start_supervisor(home: LabHome) -> int:
    argv = [sys.executable, "-m", "meshnb.lab.supervisor", str(home.root)]
    return start_detached(argv, log=home.log("supervisor"))


def _wait_until_ready(home: LabHome, plan: Plan, supervisor: int) -> None:
    deadline = time.monotonic() + _READY_S
    names = list(commands(plan, home))
    while True:
        processes = home.read(home.state).get("processes", {})
        parts = [look(plan, name, processes.get(name)) for name in names]
        if all(part.state == "ready" for part in parts):
            return
        ended = [part for part in parts if part.state.startswith("exited")]
        if has_ended(supervisor):
            raise LabError("the lab's supervisor ended", hint=_tail(home, "supervisor"))
        if ended:
            raise LabError(f"{ended[0].name} {ended[0].state}", hint=_tail(home, ended[0].name))
        if time.monotonic() > deadline:
            late = [part.name for part in parts if part.state != "ready"]
            raise LabError(f"not ready after {_READY_S:.0f} s: {', '.join(late)}", hint=_tail(home, late[0]))
        time.sleep(_TICK_S)


def _tail(home: LabHome, name: str) -> str:
    try:
        lines = home.log(name).read_text(encoding="utf-8", errors="replace").splitlines()[-8:]
    except OSError:
        lines = []
    return "its last words: " + (" / ".join(lines) or "none")


def _stop(home: LabHome) -> bool:
    state = home.read(home.state)
    me = state.get("supervisor", {})
    ran = is_running(me.get("pid", 0), me.get("start", ""))
    if ran:
        end([(me["pid"], me["start"])], grace=10.0)
        has_ended(me["pid"])
    return _end_leftovers(home, state) or ran


def _end_leftovers(home: LabHome, state: Mapping[str, Any] | None = None) -> bool:
    """End what a killed supervisor left behind, where the system could not do it by itself."""
    processes = (state or home.read(home.state)).get("processes", {}).values()
    left = [(p["pid"], p["start"]) for p in processes if is_running(p["pid"], p["start"])]
    end(left)
    home.state.unlink(missing_ok=True)
    return bool(left)
