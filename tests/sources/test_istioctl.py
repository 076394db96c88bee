"""Running istioctl: a stand-in that prints what it printed and ends as it ended."""

from __future__ import annotations

import pytest

from meshnb.errors import NotFound, SourceError, SourceTimeout
from meshnb.loaders.istioctl_analyze import read_analysis
from meshnb.sources.istioctl import analyze

MESSAGE = (
    '[{"code": "IST0101", "level": "Error", "origin": "VirtualService n/catalog", "message": "not found", '
    '"documentationUrl": "https://istio.io/latest/docs/reference/config/analysis/ist0101/"}]'
)


@pytest.fixture
def istioctl(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))

    def make(script):
        path = tmp_path / "istioctl"
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    return make


def test_s10_14_s10_16_79_means_findings(istioctl, tmp_path):
    """S10-14, S10-16: run and load; 79 is no failure."""
    istioctl(f"""echo "$@" > {tmp_path}/asked; echo '{MESSAGE}'; exit 79""")
    table = read_analysis(analyze(["a.yaml"], namespace="istioinaction"))
    assert table.code.tolist() == ["IST0101"]
    assert (tmp_path / "asked").read_text() == "analyze -n istioinaction -o json --use-kube=true a.yaml\n"


def test_s10_16_0_means_clean(istioctl):
    """S10-16."""
    istioctl("exit 0")
    assert read_analysis(analyze(use_kube=False)).empty


@pytest.mark.parametrize("status", [64, 65, 1])
def test_s10_16_other_exits_are_errors_with_its_words(istioctl, status):
    """S10-16: 64 usage, 65 bad data, 1 unknown."""
    istioctl(f"echo 'Error: it failed' >&2; exit {status}")
    with pytest.raises(SourceError, match=f"ended with {status}: Error: it failed"):
        analyze()


def test_without_istioctl_and_one_that_hangs(istioctl, tmp_path):
    with pytest.raises(NotFound, match="no istioctl"):
        analyze()
    istioctl("exec /bin/sleep 60")
    with pytest.raises(SourceTimeout):
        analyze(timeout_s=0.2)
