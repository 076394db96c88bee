"""What is in the wheel: all that `meshnb run` needs beside the code."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from meshnb.sources.snapshot import DEMOS

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    if not (ROOT / "pyproject.toml").is_file():
        pytest.fail(f"{ROOT} is no checkout")
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    with zipfile.ZipFile(next(folder.glob("*.whl"))) as archive:
        yield archive


def test_holds_the_runbooks_as_they_are_in_git(wheel):
    for path in (ROOT / "runbooks").glob("*.ipynb"):
        assert wheel.read(f"meshnb/_runbooks/{path.name}") == path.read_bytes()


def test_holds_the_demo_snapshots_whole(wheel):
    inside = set(wheel.namelist())
    for demo in DEMOS:
        files = [p.relative_to(ROOT).as_posix() for p in (ROOT / "meshnb" / "demo" / demo).rglob("*") if p.is_file()]
        assert files and set(files) <= inside


def test_holds_what_reports_are_made_with(wheel):
    assert {"meshnb/report/report.css", "meshnb/report/report.js", "meshnb/views/style.css", "meshnb/py.typed"} <= set(
        wheel.namelist()
    )


def test_holds_no_caches_and_no_tests(wheel):
    assert not [n for n in wheel.namelist() if "__pycache__" in n or n.startswith("tests") or ".ipynb_checkpoints" in n]
