"""What is declared to be needed, and for what it is said to work: pyproject.toml and environment.yml agree."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
NAME = re.compile(r"[A-Za-z0-9_.-]+")


def declared():
    """What users need, by name: the core and the extra `all`."""
    extras = PROJECT["optional-dependencies"]
    names = re.search(r"\[(.+)\]", extras["all"][0])[1].split(",")
    specs = [*PROJECT["dependencies"], *(spec for name in names for spec in extras[name])]
    return {NAME.match(spec)[0]: spec for spec in specs}


def test_environment_yml_asks_for_the_same_versions():
    listed = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))["dependencies"]
    conda = [entry for entry in listed if isinstance(entry, str)]
    assert f"python{PROJECT['requires-python']}" in conda
    shared = {NAME.match(entry)[0]: entry for entry in conda if NAME.match(entry)[0] not in ("python", "pip")}
    assert shared and shared.items() <= declared().items()
    # what conda does not bring, pip does
    assert listed[-1] == {"pip": ["-e .[all]"]}


def test_every_dependency_has_a_lowest_version():
    assert [spec for spec in declared().values() if ">=" not in spec] == []
