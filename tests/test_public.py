"""The public names, pinned: adding or removing one is a decision, and shows here."""

from __future__ import annotations

import pytest

import meshnb

PUBLIC = {
    "Column",
    "Finding",
    "Findings",
    "Frame",
    "Mesh",
    "Prometheus",
    "Severity",
    "Snapshot",
    "Status",
    "Subject",
    "Window",
    "__version__",
    "connect",
    "diff",
    "errors",
    "form",
    "open",
    "read_access_log",
    "read_clusters_admin",
    "read_config_dump",
    "read_debug_log",
    "read_pcap",
    "read_sync_status",
    "read_ztunnel_dump",
    "runbooks",
    "scan_access_log",
    "to_log_lines",
    "tuning",
    "views",
}


def test_public_names():
    assert set(meshnb.__all__) == PUBLIC


@pytest.mark.parametrize("name", sorted(PUBLIC))
def test_every_public_name_is_there_and_documented(name):
    value = getattr(meshnb, name)
    assert name == "__version__" or value.__doc__


def test_an_unknown_name_lists_the_public_ones():
    with pytest.raises(AttributeError, match="read_access_log"):
        meshnb.nope  # noqa: B018
