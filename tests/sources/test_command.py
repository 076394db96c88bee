"""Any command prefix as a way to the mesh (S10-22): a stand-in for docker passes on what follows it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

import meshnb
from meshnb.cli import main
from meshnb.errors import NotFound, SourceError, SourceTimeout, UsageError
from meshnb.sources.command import output_of
from meshnb.sources.istioctl import analyze

DUMP = Path(__file__).parents[1] / "data/envoy/gateway-config_dump.json"


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """`docker exec NODE …` runs `…` here, `kubectl exec … -- pilot-agent request GET config_dump` prints a dump."""
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    scripts = {
        "docker": 'shift; shift; exec "$@"',
        "kubectl": f'case "$*" in *"-- pilot-agent request GET config_dump") cat {DUMP};; *) echo no >&2; exit 3; esac',
        "istioctl": f'echo "$@" > {tmp_path}/asked; exit 79',
    }
    for name, script in scripts.items():
        path = tmp_path / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
    return tmp_path


AGENT = "docker exec kind-control-plane kubectl -n istio-system exec gw -- pilot-agent request GET config_dump"


def test_envoys_page_through_a_prefix_is_read_like_a_file(docker: Path, capsys: pytest.CaptureFixture[str]):
    """S10-22."""
    assert len(meshnb.read_config_dump(output_of(AGENT)).routes()) == len(meshnb.read_config_dump(DUMP).routes())
    assert main(["table", "clusters", f"exec:{AGENT}", "-o", "json"]) == 0
    through = json.loads(capsys.readouterr().out)
    assert main(["table", "clusters", str(DUMP), "-o", "json"]) == 0
    assert through == json.loads(capsys.readouterr().out)


def test_istioctl_through_a_prefix(docker: Path):
    """S10-22, S10-16: 79 means findings, behind a prefix as well."""
    assert analyze(["/a.yaml"], namespace="shop", prefix=("docker", "exec", "kind")) == b"[]"
    assert (docker / "asked").read_text() == "analyze -n shop -o json --use-kube=true /a.yaml\n"


def test_errors_name_the_command_and_its_last_words(docker: Path):
    with pytest.raises(SourceError, match=r"kubectl get pods ended with 3: no"):
        output_of("kubectl get pods")
    with pytest.raises(SourceError, match="true printed nothing"):
        output_of(["true"])
    with pytest.raises(NotFound, match="no podman on PATH"):
        output_of("podman exec a b")
    with pytest.raises(SourceTimeout, match="took more than"):
        output_of(["sleep", "60"], timeout_s=0.2)


@pytest.mark.parametrize("command", ["", "  ", "echo 'open", ()])
def test_no_command_is_an_error_of_use(command):
    with pytest.raises(UsageError):
        output_of(command)


def test_no_shell_is_between(docker: Path):
    printed = output_of([sys.executable, "-c", "import sys; print(sys.argv[1:])", "$HOME; echo *"])
    assert printed.decode().strip() == repr(["$HOME; echo *"])
