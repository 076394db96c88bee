"""Pages and reports by any command: through `docker exec`, `ssh`, `kubectl exec … pilot-agent request`, or `curl`."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from collections.abc import Collection, Sequence

from meshnb.errors import NotFound, SourceError, SourceTimeout, UsageError

SCHEME = "exec:"
"""What a source begins with that is a command: `exec:docker exec kind kubectl get pods -o json`."""


def output_of(
    command: str | Sequence[str], *, timeout_s: float = 60.0, accept: Collection[int] = (0,), empty: bool = False
) -> bytes:
    """Run a command, without a shell, and return what it prints.

    Args:
        command: program and arguments, or one text that is split as a shell would.
        timeout_s: how long it may take.
        accept: exit statuses that are no failure.
        empty: whether it may print nothing.

    Raises:
        UsageError: no command, or quotes that are not closed.
        NotFound: there is no such program.
        SourceTimeout: it takes too long.
        SourceError: it fails, with its last words, or prints nothing.

    Example:
        >>> output_of("printf '%s' hello")
        b'hello'
    """
    words = _words(command)
    if shutil.which(words[0]) is None:
        raise NotFound(f"no {words[0]} on PATH", hint="save its output elsewhere and load the file")
    shown = shlex.join(words)
    try:
        done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout_s, check=False)
    except subprocess.TimeoutExpired:
        raise SourceTimeout(f"{shown} took more than {timeout_s:g} s") from None
    except OSError as error:
        raise SourceError(f"{shown}: {error.strerror or error}") from error
    said = done.stderr.decode("utf-8", "replace").strip().splitlines()
    if done.returncode not in accept:
        raise SourceError(f"{shown} ended with {done.returncode}: {said[-1] if said else 'no words'}")
    if not done.stdout.strip() and not empty:
        raise SourceError(f"{shown} printed nothing{f': {said[-1]}' if said else ''}")
    return done.stdout


def _words(command: str | Sequence[str]) -> list[str]:
    try:
        words = shlex.split(command) if isinstance(command, str) else [str(word) for word in command]
    except ValueError as error:
        raise UsageError(f"{command!r} is no command: {error}", hint="close the quotes") from error
    if not words:
        raise UsageError("no command", hint=f"as in {SCHEME}curl -s localhost:15000/config_dump")
    return words
