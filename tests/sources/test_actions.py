"""The actions that change something: refused by default, undone always."""

from __future__ import annotations

import json
import subprocess
import sys
from urllib.parse import parse_qsl

import pytest
from replay.apiserver import Fault, ReplayApiServer
from replay.pages import PageServer

from meshnb.errors import FormatError, SourceError, UsageError
from meshnb.sources.actions import connected_proxies, log_levels, push, raised_log_levels, restore_log_levels
from meshnb.sources.kubernetes import Cluster


class Envoy(PageServer):
    """Envoy's `/logging`, with its state."""

    def __init__(self):
        super().__init__({})
        self.levels = {"http": "warning", "router": "info", "pool": "warning"}

    @property
    def pages(self):
        return {"/logging": self.logging}

    @pages.setter
    def pages(self, _):
        pass

    def logging(self, query):
        self.levels |= dict(parse_qsl(query))
        return b"active loggers:\n" + "".join(f"  {k}: {v}\n" for k, v in self.levels.items()).encode()


@pytest.fixture
def mesh():
    istiod = {
        "/debug/connections": b'{"totalClients": 4}',
        "/debug/adsz": b"Pushed to 4 servers",
    }
    with Envoy() as envoy, PageServer(istiod) as pages, ReplayApiServer() as api:
        api.backends = {("a", "n", 15000): envoy.address, ("istiod-1", "istio-system", 15014): pages.address}
        cluster = Cluster(api.configuration(), name="replay", timeout_s=10, sleep=lambda _: None)
        yield cluster, envoy, pages, api


def test_t23_levels_are_raised_for_a_time_and_put_back(mesh, tmp_path):
    """T23: levels persist, so they are stored and restored."""
    cluster, envoy, _, _ = mesh
    journal = tmp_path / "levels.json"
    with raised_log_levels(cluster, "a.n", {"http": "debug"}, journal=journal, allow_writes=True) as old:
        assert envoy.levels["http"] == "debug" and old == {"http": "warning"}
        assert json.loads(journal.read_text())["levels"] == {"http": "warning"}
    assert envoy.levels["http"] == "warning" and not journal.exists()


def test_t23_also_after_an_exception(mesh, tmp_path):
    """T23."""
    cluster, envoy, _, _ = mesh
    raised = raised_log_levels(cluster, "a.n", {"router": "trace"}, journal=tmp_path / "j", allow_writes=True)
    with pytest.raises(ZeroDivisionError), raised:
        raise ZeroDivisionError
    assert envoy.levels["router"] == "info"


KILLED = """
import os, sys
from pathlib import Path
from kubernetes.client import Configuration
from meshnb.sources.actions import raised_log_levels
from meshnb.sources.kubernetes import Cluster
configuration = Configuration()
configuration.host = sys.argv[1]
cluster = Cluster(configuration)
with raised_log_levels(cluster, "a.n", {"http": "debug"}, journal=Path(sys.argv[2]), allow_writes=True):
    os._exit(9)
"""


def kill_while_raised(api, journal):
    done = subprocess.run([sys.executable, "-c", KILLED, api.url, str(journal)], timeout=60, check=False)
    assert done.returncode == 9


def test_t23_also_after_a_killed_notebook(mesh, tmp_path):
    """T23: the journal outlives the process that raised the levels."""
    cluster, envoy, _, api = mesh
    journal = tmp_path / "j"
    kill_while_raised(api, journal)
    assert envoy.levels["http"] == "debug"
    with pytest.raises(UsageError, match="not put back"):
        raised_log_levels(cluster, "a.n", {"http": "debug"}, journal=journal, allow_writes=True).__enter__()
    assert restore_log_levels(cluster, journal, allow_writes=True) == {"http": "warning"}
    assert envoy.levels["http"] == "warning" and not journal.exists()
    with pytest.raises(FormatError):
        restore_log_levels(cluster, journal, allow_writes=True)


def test_a_journal_stays_while_envoy_does_not_answer(mesh, tmp_path):
    cluster, _, _, api = mesh
    journal = tmp_path / "j"
    kill_while_raised(api, journal)
    api.faults = [Fault("/portforward", status=500)]
    with pytest.raises(SourceError):
        restore_log_levels(cluster, journal, allow_writes=True)
    assert journal.exists()


def test_nothing_is_changed_without_leave(mesh, tmp_path):
    cluster, envoy, pages, _ = mesh
    with pytest.raises(UsageError, match="allow_writes=True"):
        raised_log_levels(cluster, "a.n", {"http": "debug"}, journal=tmp_path / "j").__enter__()
    with pytest.raises(UsageError, match="allow_writes=True"):
        push(cluster, "istiod-1.istio-system", proxies=4)
    for levels in ({"nothing": "debug"}, {"http": "loud"}):
        with pytest.raises(UsageError):
            raised_log_levels(cluster, "a.n", levels, journal=tmp_path / "j", allow_writes=True).__enter__()
    assert envoy.levels["http"] == "warning" and not (tmp_path / "j").exists()
    assert not [r for r in pages.asked if "push" in r]


def test_sd_28_a_push_names_the_number_of_proxies_first(mesh):
    """SD-28: the proxy count is shown and confirmed before."""
    cluster, _, pages, _ = mesh
    assert connected_proxies(cluster, "istiod-1.istio-system") == 4
    with pytest.raises(UsageError, match="would push to 4 proxies, not 3"):
        push(cluster, "istiod-1.istio-system", proxies=3, allow_writes=True)
    assert not [r for r in pages.asked if "push" in r]
    assert push(cluster, "istiod-1.istio-system", proxies=4, allow_writes=True) == "Pushed to 4 servers"
    assert "GET /debug/adsz?push=true" in pages.asked


def test_levels_are_read(mesh):
    cluster, envoy, _, _ = mesh
    assert log_levels(cluster, "a.n") == envoy.levels
