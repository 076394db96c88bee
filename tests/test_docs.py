"""Generated pages are up to date, links lead somewhere, and the README's commands exist."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

from meshnb.cli import build_parser

ROOT = Path(__file__).parents[1]
PAGES = runpy.run_path(str(ROOT / "scripts" / "make_docs.py"))["PAGES"]
TEXTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize("name", sorted(PAGES))
def test_generated_pages_are_up_to_date(name):
    assert (ROOT / "docs" / name).read_text() == PAGES[name](), "run: python scripts/make_docs.py"


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.name)
def test_relative_links_lead_somewhere(path):
    for target in re.findall(r"\]\(([^)#\s]+)", path.read_text()):
        if "://" not in target:
            assert (path.parent / target).exists(), target


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.name)
def test_commands_named_in_the_docs_exist(path):
    commands = next(a.choices for a in build_parser()._actions if a.dest == "command")
    for command in re.findall(r"^\s*meshnb ([a-z]+)", path.read_text(), flags=re.MULTILINE):
        assert command in commands, f"{path.name} names: meshnb {command}"
