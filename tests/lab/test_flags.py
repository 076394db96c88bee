"""The dictionary of response flags against the Envoy of the lab."""

from __future__ import annotations

import mmap

import pytest

from meshnb.envoy.flags import known_flags
from meshnb.lab.envoy import find_envoy

pytestmark = pytest.mark.lab


def test_envoy_has_every_flag_by_its_long_name():
    """The lab's Envoy is newer than the newest flag: each long name is a string of its binary."""
    binary, version = find_envoy()
    newest = max(tuple(map(int, (flag.since or "0").lstrip("≤").split("."))) for flag in known_flags().values())
    assert tuple(map(int, version.split(".")[:2])) >= newest
    with binary.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        assert [flag.name for flag in known_flags().values() if data.find(flag.name.encode()) < 0] == []
