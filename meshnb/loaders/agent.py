"""Answers of the agent's port 15020: readiness, merged metrics, replayed probes."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from meshnb.errors import FormatError
from meshnb.loaders.objects import to_json
from meshnb.model.frame import returns
from meshnb.model.tables.components import AGENT_METRICS, AGENTS, PROBE_REPLAYS

if TYPE_CHECKING:
    import pandas as pd

_SAMPLE = re.compile(r"^([a-zA-Z_:][\w:]*)(?:\{(.*)\})?\s+(\S+)(?:\s+-?\d+)?$")
_LABEL = re.compile(r'([a-zA-Z_]\w*)="((?:[^"\\]|\\.)*)"')
_UPDATES = re.compile(r"(cds|lds) updates: (\d+) successful")
_PROBES = {"readyz": "readiness", "livez": "liveness", "startupz": "startup"}


@returns(AGENTS)
def read_agent_ready(data: bytes | str, *, proxy: str = "") -> pd.DataFrame:
    """Whether the agent is ready: an empty answer is yes, words are the reason why not.

    Example:
        >>> read_agent_ready("Envoy proxy is NOT ready: cds updates: 1 successful, 0 rejected; lds updates: 0 "
        ...                  "successful, 0 rejected").config_received.tolist()
        [False]
    """
    text = (data.decode("utf-8", "replace") if isinstance(data, bytes) else data).strip()
    updates = {kind: int(count) for kind, count in _UPDATES.findall(text)}
    received = None if not updates else all(updates.get(kind, 0) > 0 for kind in ("cds", "lds"))
    return AGENTS.rows(
        [{"proxy": proxy, "ready": not text, "reason": text or None, "config_received": True if not text else received}]
    )


def emitter(metric: str) -> str:
    """Who a metric of the merged answer comes from, told by its name.

    The agent's own Go runtime (`go_`, `process_`) cannot be told from that of an app written in Go; it counts to the
    agent, which always emits it.

    Example:
        >>> emitter("istio_agent_pilot_xds"), emitter("istio_requests_total"), emitter("http_requests_total")
        ('agent', 'envoy', 'app')
    """
    if metric.startswith(("istio_agent_", "go_", "process_")):
        return "agent"
    return "envoy" if metric.startswith(("envoy_", "istio_")) else "app"


@returns(AGENT_METRICS)
def read_agent_metrics(data: bytes | str, *, proxy: str = "", file: str = "") -> pd.DataFrame:
    """Samples of the merged metrics.

    Raises:
        FormatError: a line is no sample; names it.
    """
    text = data.decode("utf-8", "replace") if isinstance(data, bytes) else data
    columns: dict[str, list[object]] = {"emitter": [], "metric": [], "labels": [], "value": []}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        match = _SAMPLE.match(line.strip())
        if match is None:
            raise FormatError(f"no metric: {line[:80]!r}", file=file, position=f"line {number}")
        try:
            columns["value"].append(float(match[3]))
        except ValueError:
            raise FormatError(f"no number: {match[3]!r}", file=file, position=f"line {number}") from None
        columns["emitter"].append(emitter(match[1]))
        columns["metric"].append(match[1])
        columns["labels"].append(to_json(dict(_LABEL.findall(match[2] or ""))))
    return AGENT_METRICS.build({"proxy": [proxy] * len(columns["value"]), **columns})


@returns(PROBE_REPLAYS)
def read_probe_replay(data: bytes | str, *, name: str, proxy: str = "", file: str = "") -> pd.DataFrame:
    r"""One replayed probe.

    Args:
        data: `HTTP STATUS`, a line break, the body.
        name: `CONTAINER.livez`, `.readyz` or `.startupz`.
        proxy: pod it was asked of.
        file: how to name the document in an error.

    Raises:
        FormatError: it does not begin with a status.

    Example:
        >>> read_probe_replay("HTTP 200\nok", name="web.livez")[["container", "probe", "passes"]].values.tolist()
        [['web', 'liveness', True]]
    """
    text = data.decode("utf-8", "replace") if isinstance(data, bytes) else data
    head, _, body = text.partition("\n")
    match = re.fullmatch(r"HTTP (\d{3})", head.strip())
    if match is None:
        raise FormatError("no replayed probe: it does not begin with HTTP and a status", file=file)
    container, _, suffix = name.rpartition(".")
    status = int(match[1])
    row = {
        "proxy": proxy,
        "container": container,
        "probe": _PROBES.get(suffix, suffix),
        "status": status,
        "passes": 200 <= status < 400,
        "body": body.strip() or None,
    }
    return PROBE_REPLAYS.rows([row])
