"""A capture of the lab holds what its Prometheus knows, and the control-plane runbooks run on it."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from meshnb.cli import main
from meshnb.lab import lab as labs
from meshnb.lab.calls import call
from meshnb.lab.load import load
from meshnb.lab.plan import PODS, PROMETHEUS_PORT, LabHome
from meshnb.lab.status import status
from meshnb.lab.world import parse
from meshnb.runbook.mesh import Mesh
from meshnb.runbook.mesh import open as open_mesh
from meshnb.sources.snapshot import Snapshot
from meshnb.tuning import load_yaml

from .conftest import own_subnet


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LabHome]:
    """A lab with Prometheus (needs one on PATH), where `source=lab` finds it."""
    home = LabHome.of(tmp_path / "home")
    labs.up(home, subnet=own_subnet(2))
    monkeypatch.setenv("MESHNB_LAB_HOME", str(home.root))
    yield home
    labs.down(home)


def scraped(home: LabHome, query: str, wanted: float) -> None:
    """Wait until Prometheus, which scrapes every second, has at least so many."""
    found, deadline = 0.0, time.monotonic() + 30
    while found < wanted:
        assert time.monotonic() < deadline, f"{query} is {found}"
        _, body = call(home.load_plan().prometheus_address, PROMETHEUS_PORT, f"/api/v1/query?query={quote(query)}")
        found = max((float(row["value"][1]) for row in json.loads(body)["data"]["result"]), default=0.0)
        time.sleep(0.1)


@pytest.mark.lab
@pytest.mark.slow
def test_the_runbooks_show_golden_signals_of_the_lab(home: LabHome, tmp_path: Path):
    """S11-05 to S11-26: latency, saturation and traffic measured: the CPU and memory of the process that pushes."""
    # Prometheus scrapes from its fifth second on; what it has not seen before the load is no increase
    scraped(home, "sum(pilot_xds)", len(PODS))
    run = load(parse(load_yaml(5), file="load"), home, delay_s=0.5, keep=True)
    scraped(home, "sum(pilot_proxy_convergence_time_count)", run.pushes)
    findings = {}
    for runbook in ("control-plane", "mesh-health"):
        out = tmp_path / runbook
        assert main(["run", runbook, "-p", "source=lab", "--out", str(out)]) == 0
        found = json.loads((out / "findings.json").read_text())["findings"]
        findings |= {finding["code"]: finding["status"] for finding in found}
    codes = ("MNB0350", "MNB0351", "MNB0352", "MNB0354")
    assert [findings[code] for code in codes] == ["pass", "pass", "pass", "pass"]
    mesh = Mesh(Snapshot.open(sorted((home.root / "captures").iterdir())[-1]))
    signals = mesh.control_plane().set_index("measure")
    times = ["convergence_p99", "queue_p99", "push_p99", "debounce_p99", "slow_pushes"]
    measured = [*times, "updates_by_istiod", "pushes"]
    assert set(signals["verdict"][measured]) <= {"ok", "seen"}
    assert (signals["peak"][["convergence_p99", "debounce_p99", "updates_by_istiod", "pushes"]] > 0).all()
    assert signals["peak"]["connections_by_istiod"] == len(PODS)
    room = ["cpu_of_limit", "memory_of_limit", "cpu_container", "cpu_process"]
    assert set(signals["verdict"][room]) <= {"ok", "seen"}
    assert (signals["peak"][room] > 0).all() and (signals["peak"][room[:2]] < 1).all()
    assert signals["peak"]["services"] == 3 + 5 and signals["peak"]["virtual_services"] == 2 + 5
    # labelled as the lab's, not as Istio's
    assert 'labelled istiod="lab"' in mesh.overview().facts["notes"]
    # Prometheus extrapolates an increase to the ends of the window: by a sixth or more where it has seen few scrapes
    (pushed,) = mesh.samples("push_count")["value"]
    assert pushed == pytest.approx(sum(run.more("pilot_xds_pushes").values()), rel=0.4)


@pytest.mark.lab
def test_every_way_to_capture_records_prometheus_and_one_that_is_gone_is_no_failure(home: LabHome, tmp_path: Path):
    # points of a range lie on whole seconds: three scrapes have one between them
    scraped(home, "count_over_time(pilot_xds[1m])", 3)
    assert main(["lab", "capture", str(tmp_path / "first"), "--home", str(home.root)]) == 0
    assert main(["capture", "--lab", "--out", str(tmp_path / "second.tar.gz")]) == 0
    for mesh in (open_mesh(tmp_path / "first"), open_mesh(tmp_path / "second.tar.gz"), open_mesh("lab")):
        assert not mesh.snapshot.failed()
        asked = mesh.recorded_queries()
        assert not asked["error"].notna().any()
        assert asked["start"].min().timestamp() >= home.plan.stat().st_mtime - 1
        assert mesh.samples("connections_by_istiod")["value"].max() == len(PODS)
    (prometheus,) = [part for part in status(home).parts if part.name == "prometheus"]
    os.kill(prometheus.pid, signal.SIGKILL)
    assert main(["lab", "capture", str(tmp_path / "third"), "--home", str(home.root)]) == 0
    gone = open_mesh(tmp_path / "third")
    assert [document.kind for document in gone.snapshot.failed()] == ["prometheus"]
    assert "no answer from" in gone.absent("control_plane")
    assert len(gone.proxies) == len(PODS)
