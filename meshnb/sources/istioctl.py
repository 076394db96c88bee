"""`istioctl`, for what only it can do: analyze files and clusters."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from meshnb.sources.command import output_of

FOUND_ISSUES = 79
"""Exit status of `istioctl analyze` when a message is at or above its threshold; its output is complete then."""


def analyze(
    files: Sequence[str | Path] = (),
    *,
    namespace: str = "",
    use_kube: bool = True,
    prefix: Sequence[str] = (),
    timeout_s: float = 120.0,
) -> bytes:
    """Run `istioctl analyze -o json` and return the messages.

    Args:
        files: YAML to look at, also before it is applied.
        namespace: of this namespace; empty for all.
        use_kube: with the objects of the cluster; without it more than half of the analyzers are skipped.
        prefix: command that reaches istioctl where it is not on this machine: `("docker", "exec", "kind")`; the files
            are those there.
        timeout_s: how long it may take.

    Returns:
        JSON for `meshnb.loaders.istioctl_analyze.read_analysis`.

    Raises:
        NotFound: istioctl is not installed.
        SourceTimeout: it takes too long.
        SourceError: it fails; 64 is wrong usage, 65 bad data.
    """
    scope = ["-n", namespace] if namespace else ["-A"]
    asked = ["istioctl", "analyze", *scope, "-o", "json", f"--use-kube={str(use_kube).lower()}", *map(str, files)]
    said = output_of([*prefix, *asked], timeout_s=timeout_s, accept=(0, FOUND_ISSUES), empty=True)
    return said.strip() or b"[]"
