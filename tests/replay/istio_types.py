"""Istio's own types as a second opinion on its objects: a small Go program, `istio_types`, reads them strictly."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

SOURCE = Path(__file__).with_name("istio_types")


class IstioTypes:
    """The program, built.

    Args:
        folder: where to put it.
    """

    def __init__(self, folder: Path) -> None:
        self._program = folder / "istio_types"
        done = subprocess.run(
            ["go", "build", "-o", str(self._program), "."], cwd=SOURCE, capture_output=True, text=True, timeout=600
        )
        assert done.returncode == 0, done.stderr

    @staticmethod
    def possible() -> bool:
        """Whether there is a Go to build it with."""
        return shutil.which("go") is not None

    def problems(self, items: Iterable[Any]) -> list[str]:
        """What is wrong with each object; empty for nothing."""
        lines = "".join(json.dumps(item) + "\n" for item in items)
        done = subprocess.run([str(self._program)], input=lines, capture_output=True, text=True, timeout=60, check=True)
        return done.stdout.split("\n")[:-1]
