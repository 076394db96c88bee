"""Levels of Envoy's loggers."""

import pytest

from meshnb.envoy.levels import LEVELS, parse_level, parse_levels
from meshnb.errors import UsageError


def test_levels_are_those_of_envoy():
    """S10-48, T17: trace and critical and off exist, none does not."""
    assert [parse_level(level) for level in LEVELS] == list(LEVELS)
    with pytest.raises(UsageError, match="belongs to istiod"):
        parse_level("none")
    with pytest.raises(UsageError, match="did you mean debug"):
        parse_level("debg")


def test_levels_as_istioctl_takes_them():
    """S10-49."""
    text = "http:debug,router:debug,connection:debug,pool:debug"
    assert parse_levels(text) == dict.fromkeys(("http", "router", "connection", "pool"), "debug")
    with pytest.raises(UsageError, match="names no logger"):
        parse_levels(":debug")
