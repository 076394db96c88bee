"""What runs where, and whether it is ready."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from meshnb.errors import LabError
from meshnb.lab.calls import call
from meshnb.lab.plan import (
    ADMIN_PORT,
    APP_PORT,
    GATEWAY_PORT,
    MONITOR_PORT,
    OUTBOUND_PORT,
    PROMETHEUS_PORT,
    LabHome,
    Plan,
    find_pod,
)
from meshnb.lab.process import is_running
from meshnb.lab.supervisor import commands


@dataclass(frozen=True, slots=True)
class Part:
    """One process of the lab.

    Args:
        name: `controlplane`, `app:POD.NAMESPACE`, `envoy:POD.NAMESPACE` or `prometheus`.
        where: its address.
        pid: its process id, 0 if it does not run.
        state: `ready`, `starting`, `stopped`, `paused`, or `exited N`.
    """

    name: str
    where: str
    pid: int
    state: str


@dataclass(frozen=True, slots=True)
class Status:
    """What runs where.

    Args:
        running: whether the lab runs.
        parts: its processes.
        missing: what the lab does without, and what to do about it.
        scenario: what is broken, `healthy` if nothing.
    """

    running: bool
    parts: tuple[Part, ...] = ()
    missing: tuple[str, ...] = ()
    scenario: str = ""


def is_up(home: LabHome | None = None) -> bool:
    """Whether the supervisor of the lab runs."""
    home = home or LabHome.of()
    me = home.read(home.state).get("supervisor", {})
    return is_running(me.get("pid", 0), me.get("start", ""))


def require_up(home: LabHome) -> Plan:
    """The plan of the running lab.

    Raises:
        LabError: it does not run.
    """
    if not is_up(home):
        raise LabError(f"no lab runs in {home.root}", hint="start one: meshnb lab up")
    return home.load_plan()


def status(home: LabHome | None = None) -> Status:
    """What runs where, and what the lab does without."""
    home = home or LabHome.of()
    if not is_up(home):
        return Status(running=False)
    plan = home.load_plan()
    processes = home.read(home.state).get("processes", {})
    parts = tuple(look(plan, name, processes.get(name)) for name in commands(plan, home))
    missing = (
        []
        if plan.prometheus
        else ["no Prometheus, so no history of metrics; if this machine has none: meshnb lab prometheus"]
    )
    return Status(True, parts, tuple(missing), home.read(home.marks).get("scenario", "healthy"))


def ports(plan: Plan) -> dict[str, str]:
    """Where to send requests and look, by what it is for."""
    return {
        "gateway": f"http://{plan.gateway}:{GATEWAY_PORT}",
        "control plane": f"http://{plan.control_plane}:{MONITOR_PORT}",
        "outbound port of sidecars": str(OUTBOUND_PORT),
        **({"prometheus": f"http://{plan.prometheus_address}:{PROMETHEUS_PORT}"} if plan.prometheus else {}),
    }


def look(plan: Plan, name: str, process: Mapping[str, Any] | None) -> Part:
    """What a process says of itself, asked now."""
    address, port, path = _probe(plan, name)
    where = f"{address}:{port}"
    if process is None:
        return Part(name, where, 0, "stopped")
    if process["exit"] is not None:
        return Part(name, where, 0, f"exited {process['exit']}")
    if process.get("paused"):
        return Part(name, where, process["pid"], "paused")
    try:
        code, _ = call(address, port, path, timeout=2.0)
    except LabError:
        code = 0
    return Part(name, where, process["pid"], "ready" if code == 200 else "starting")


def _probe(plan: Plan, name: str) -> tuple[str, int, str]:
    kind, _, proxy = name.partition(":")
    if kind == "app":
        return plan.app_ip(find_pod(proxy)), APP_PORT, "/ready"
    if kind == "envoy":
        return plan.ip(find_pod(proxy)), ADMIN_PORT, "/ready"
    if kind == "prometheus":
        return plan.prometheus_address, PROMETHEUS_PORT, "/-/ready"
    return plan.control_plane, MONITOR_PORT, "/ready"
