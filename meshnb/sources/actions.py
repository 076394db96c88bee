"""The two things meshnb can change in a live mesh, each only with `allow_writes=True` on the call.

Log levels of an Envoy are raised for a time and put back, also after an exception or a killed notebook: the old levels
are on disk before the new ones are set. A push of istiod is asked for once. Nothing else is ever changed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from meshnb.errors import FormatError, SourceError, UsageError
from meshnb.sources.kubernetes import Cluster
from meshnb.sources.pod_streams import forward_request

LEVELS = ("trace", "debug", "info", "warning", "error", "critical", "off")
_LOGGER = re.compile(r"^\s*([\w.]+): (\w+)\s*$", re.MULTILINE)
_ADMIN, _MONITORING = 15000, 15014


def _require(allow_writes: bool, what: str) -> None:
    if not allow_writes:
        raise UsageError(f"{what} changes the mesh", hint="pass allow_writes=True if that is meant")


def log_levels(cluster: Cluster, proxy: str) -> dict[str, str]:
    """Levels of every logger of an Envoy now.

    Args:
        cluster: the cluster.
        proxy: `POD.NAMESPACE`.

    Raises:
        SourceError: Envoy does not tell them.
    """
    body = _logging(cluster, proxy, "/logging")
    levels = dict(_LOGGER.findall(body.partition("active loggers:")[2]))
    if not levels:
        raise SourceError(f"{proxy}: Envoy tells no loggers: {body[:100]!r}")
    return levels


@contextmanager
def raised_log_levels(
    cluster: Cluster, proxy: str, levels: Mapping[str, str], *, journal: Path, allow_writes: bool = False
) -> Iterator[dict[str, str]]:
    """Set log levels of an Envoy for the time of a `with` block, and put the old ones back.

    Args:
        cluster: the cluster.
        proxy: `POD.NAMESPACE`.
        levels: logger → level, as in `{"http": "debug", "router": "debug"}`.
        journal: file that holds the old levels meanwhile; `restore_log_levels` reads it if the process was killed.
        allow_writes: must be true.

    Yields:
        The levels before.

    Raises:
        UsageError: not allowed, no such logger or level, or `journal` holds levels that were not put back.
        SourceError: Envoy refuses.
    """
    _require(allow_writes, "setting log levels")
    wrong = sorted(set(levels.values()) - set(LEVELS))
    if wrong:
        raise UsageError(f"no log level {wrong[0]!r}", hint=f"levels: {', '.join(LEVELS)}")
    if journal.exists():
        raise UsageError(f"{journal} holds levels that were not put back", hint="call restore_log_levels first")
    before = log_levels(cluster, proxy)
    unknown = sorted(set(levels) - set(before))
    if unknown:
        raise UsageError(f"Envoy has no logger {unknown[0]!r}", hint=f"loggers: {', '.join(sorted(before))}")
    old = {name: before[name] for name in levels}
    _write(journal, {"proxy": proxy, "levels": old})
    try:
        _set(cluster, proxy, levels)
        yield old
    finally:
        restore_log_levels(cluster, journal, allow_writes=True)


def restore_log_levels(cluster: Cluster, journal: Path, *, allow_writes: bool = False) -> dict[str, str]:
    """Put back the levels a journal holds, and drop it.

    Args:
        cluster: the cluster.
        journal: file of `raised_log_levels`.
        allow_writes: must be true.

    Returns:
        The levels that are in force again.

    Raises:
        UsageError: not allowed.
        FormatError: no journal.
        SourceError: Envoy does not answer; the journal stays.
    """
    _require(allow_writes, "setting log levels")
    try:
        kept = json.loads(journal.read_text("utf-8"))
        proxy, levels = str(kept["proxy"]), dict(kept["levels"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise FormatError(f"no journal of log levels: {error}", file=journal) from error
    _set(cluster, proxy, levels)
    journal.unlink()
    return levels


def connected_proxies(cluster: Cluster, istiod: str) -> int:
    """How many proxies an istiod (`POD.NAMESPACE`) would push to.

    Raises:
        SourceError: it does not tell.
    """
    pod, _, namespace = istiod.rpartition(".")
    status, body = forward_request(cluster, pod, namespace, _MONITORING, "/debug/connections")
    try:
        return int(json.loads(body)["totalClients"]) if status == 200 else _fail(istiod, status, body)
    except (ValueError, KeyError, TypeError) as error:
        raise SourceError(f"{istiod} does not tell its connections: {error}") from error


def push(cluster: Cluster, istiod: str, *, proxies: int, allow_writes: bool = False) -> str:
    """Let an istiod push everything to all its proxies (`/debug/adsz?push=true`).

    Args:
        cluster: the cluster.
        istiod: `POD.NAMESPACE`.
        proxies: how many it will push to, as `connected_proxies` says; another number refuses.
        allow_writes: must be true.

    Returns:
        istiod's answer, `Pushed to 4 servers`.

    Raises:
        UsageError: not allowed, or `proxies` is not the number there are.
        SourceError: istiod refuses.
    """
    _require(allow_writes, "a push")
    there = connected_proxies(cluster, istiod)
    if there != proxies:
        raise UsageError(f"{istiod} would push to {there} proxies, not {proxies}", hint=f"pass proxies={there}")
    pod, _, namespace = istiod.rpartition(".")
    status, body = forward_request(cluster, pod, namespace, _MONITORING, "/debug/adsz?push=true")
    if status != 200:
        _fail(istiod, status, body)
    return body.decode("utf-8", "replace").strip()


def _fail(who: str, status: int, body: bytes) -> int:
    raise SourceError(f"{who}: HTTP {status} {body[:200].decode('utf-8', 'replace').strip()}")


def _set(cluster: Cluster, proxy: str, levels: Mapping[str, str]) -> None:
    for name, level in levels.items():
        _logging(cluster, proxy, f"/logging?{name}={level}")


def _logging(cluster: Cluster, proxy: str, path: str) -> str:
    pod, _, namespace = proxy.rpartition(".")
    status, body = forward_request(cluster, pod, namespace, _ADMIN, path, method="POST")
    if status != 200:
        _fail(proxy, status, body)
    return body.decode("utf-8", "replace")


def _write(path: Path, document: object) -> None:
    """The journal is on disk before anything is changed."""
    import os

    with path.open("x", encoding="utf-8") as file:
        json.dump(document, file)
        file.flush()
        os.fsync(file.fileno())
