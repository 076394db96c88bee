"""From the command line to the exit code: a lab, a capture, a runbook."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from meshnb.cli import main
from meshnb.lab.plan import PODS

from .conftest import own_subnet

pytestmark = [pytest.mark.lab, pytest.mark.slow]
GATEWAY, GHOST = PODS[0], PODS[3]
Run = Callable[[str], tuple[int, list[dict]]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    """Capture a lab of its own by `meshnb capture --lab`, run a runbook on it: exit code and failed findings."""
    monkeypatch.setenv("MESHNB_LAB_HOME", str(tmp_path / "home"))
    count = iter(range(9))

    def one(runbook: str) -> tuple[int, list[dict]]:
        number = next(count)
        file, out = tmp_path / f"s{number}.tar.gz", tmp_path / f"report{number}"
        assert main(["capture", "--lab", "--out", str(file)]) == 0
        code = main(["run", runbook, "-p", f"source={file}", "--out", str(out)])
        found = json.loads(next(out.glob("*findings.json")).read_text())["findings"]
        return code, [finding for finding in found if finding["status"] == "fail"]

    assert main(["lab", "up", "--subnet", own_subnet(2), "--no-prometheus"]) == 0
    yield one
    main(["lab", "down"])


def test_endpoint_truth_is_clean_and_then_names_pod_proxy_and_where_the_truth_stopped(run: Run):
    """S11-01, S11-02: exit code 0 for a healthy lab, 79 for frozen endpoints."""
    assert main(["lab", "traffic", "--requests", "40", "--rate", "100"]) == 0
    assert run("endpoint-truth") == (0, [])
    assert main(["lab", "break", "frozen-endpoints"]) == 0
    assert main(["lab", "traffic", "--requests", "40", "--rate", "100"]) == 0
    code, failed = run("endpoint-truth")
    assert code == 79
    (ghost,) = [finding for finding in failed if finding["code"] == "MNB0410"]
    assert GHOST.name in ghost["summary"] and GATEWAY.proxy in ghost["summary"]
    assert "The truth stopped at istiod" in ghost["summary"]
    assert "requests went there" in ghost["summary"]


def test_proxy_out_of_sync_tells_envoys_words_and_the_object_that_caused_them(run: Run):
    """S10-11: a NACK with its text and the EnvoyFilter behind it."""
    assert main(["lab", "break", "rejected-config"]) == 0
    code, failed = run("proxy-out-of-sync")
    assert code == 79
    (rejected,) = [finding for finding in failed if finding["code"] == "MNB0311"]
    assert "token bucket fill timer must be >= 50ms" in rejected["summary"]
    assert rejected["subject"]["kind"] == "EnvoyFilter"
    assert rejected["subject"]["name"] == "gateway-rate-limit"
