"""A running lab for the tests: one per session and xdist worker, on addresses of its own."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from meshnb.lab import lab as labs
from meshnb.lab.plan import LabHome


def own_subnet(offset: int = 0) -> str:
    """Addresses that no other test run on this machine uses: taken from the process id."""
    number = os.getpid() * 4 + offset
    return f"127.{100 + number // 250 % 150}.{number % 250}"


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabHome]:
    home = LabHome.of(tmp_path_factory.mktemp("lab") / "home")
    assert labs.up(home, subnet=own_subnet(), prometheus=False)
    yield home
    labs.down(home)


@pytest.fixture
def lab(running: LabHome) -> LabHome:
    """The running lab, healthy."""
    labs.heal(running)
    return running
