"""`istioctl` of this machine, for what only it can do: analyze files and clusters."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from meshnb.errors import NotFound, SourceError, SourceTimeout

FOUND_ISSUES = 79
"""Exit status of `istioctl analyze` when a message is at or above its threshold; its output is complete then."""


def analyze(
    files: Sequence[str | Path] = (),
    *,
    namespace: str = "",
    use_kube: bool = True,
    timeout_s: float = 120.0,
) -> bytes:
    """Run `istioctl analyze -o json` and return the messages.

    Args:
        files: YAML to look at, also before it is applied.
        namespace: of this namespace; empty for all.
        use_kube: with the objects of the cluster; without it more than half of the analyzers are skipped.
        timeout_s: how long it may take.

    Returns:
        JSON for `meshnb.loaders.istioctl_analyze.read_analysis`.

    Raises:
        NotFound: istioctl is not installed.
        SourceTimeout: it takes too long.
        SourceError: it fails; 64 is wrong usage, 65 bad data.
    """
    binary = shutil.which("istioctl")
    if binary is None:
        raise NotFound("no istioctl on PATH", hint="save its output elsewhere and load the file")
    scope = ["-n", namespace] if namespace else ["-A"]
    command = [binary, "analyze", *scope, "-o", "json", f"--use-kube={str(use_kube).lower()}", *map(str, files)]
    try:
        done = subprocess.run(command, capture_output=True, timeout=timeout_s, check=False)
    except subprocess.TimeoutExpired:
        raise SourceTimeout(f"istioctl analyze took more than {timeout_s:.0f} s", hint="give a namespace") from None
    if done.returncode not in (0, FOUND_ISSUES):
        said = done.stderr.decode("utf-8", "replace").strip().splitlines()
        raise SourceError(f"istioctl analyze ended with {done.returncode}: {said[-1] if said else 'no words'}")
    return done.stdout.strip() or b"[]"
