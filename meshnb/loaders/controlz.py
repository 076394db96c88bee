"""ControlZ, istiod's own introspection (port 9876): log scopes, memory, environment, process, version, metrics."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from meshnb.errors import FormatError
from meshnb.loaders.istiod_debug import decode
from meshnb.loaders.objects import to_json
from meshnb.loaders.shape import shaped
from meshnb.model.frame import returns
from meshnb.model.tables.istiod import CONTROLZ

if TYPE_CHECKING:
    import pandas as pd

TOPICS = ("scope", "memory", "env", "process", "version", "metrics")
"""Topics that are read; signals are left out on purpose."""

_SECRET = re.compile(r"(?i)password|secret|token|key$")


@returns(CONTROLZ)
@shaped("ControlZ")
def read_controlz(data: bytes | str, *, topic: str, istiod: str = "", file: str = "") -> pd.DataFrame:
    """An answer of ControlZ: `/scopej/`, `/memj/`, `/envj/`, `/procj/`, `/versionj/`, of older releases `/metricj/`.

    Args:
        data: the JSON.
        topic: one of `TOPICS`.
        istiod: pod that answered.
        file: how to name it in an error.

    Raises:
        FormatError: not what ControlZ answers.

    Example:
        >>> read_controlz('[{"name": "ads", "output_level": "info"}]', topic="scope").value[0]
        'info'
    """
    document = decode(data, file=file, what="ControlZ")
    if topic == "scope":
        rows = list(_scopes(document, file))
    elif topic == "metrics":
        rows = [row for family in _list(document, file) for row in _family(family, file)]
    elif isinstance(document, list):
        rows = [_pair(item, file) for item in document]
    elif isinstance(document, Mapping):
        rows = [{"name": str(k), "value": v if isinstance(v, str) else to_json(v)} for k, v in document.items()]
    else:
        raise FormatError("not ControlZ: an object or a list expected", file=file)
    return CONTROLZ.rows({"istiod": istiod or None, "topic": topic, **row} for row in rows)


def _list(document: Any, file: str) -> list[Mapping[str, Any]]:
    if not isinstance(document, list) or not all(isinstance(item, Mapping) for item in document):
        raise FormatError("not ControlZ: a list of objects expected", file=file)
    return document


def _scopes(document: Any, file: str) -> Iterator[dict[str, str]]:
    for scope in _list(document, file):
        level = scope.get("output_level") or scope.get("outputLevel")
        if level is None:
            raise FormatError("not ControlZ: a scope without output_level", file=file)
        yield {"name": str(scope.get("name", "")), "value": str(level), "detail": str(scope.get("description") or "")}


def _pair(item: Any, file: str) -> dict[str, str]:
    """Variables come as `{name, value}` or as `NAME=VALUE`; values of secrets are not kept."""
    if isinstance(item, Mapping) and "name" in item:
        name, value = str(item["name"]), str(item.get("value", ""))
    elif isinstance(item, str) and "=" in item:
        name, _, value = item.partition("=")
    else:
        raise FormatError("not ControlZ: name and value expected", file=file)
    return {"name": name, "value": "[redacted:env]" if _SECRET.search(name) else value}


def _family(family: Mapping[str, Any], file: str) -> Iterator[dict[str, str]]:
    """Samples of a metric, named as Prometheus would."""
    name, detail = str(family.get("name", "")), f"{family.get('type', '')}: {family.get('help', '')}".strip(": ")
    for sample in _list(family.get("metrics") or [], file):
        labels = sample.get("labels") or {}
        if "value" in sample:
            parts = [(name, labels, sample["value"])]
        else:
            extra = [("_bucket", "le", "buckets"), ("", "quantile", "quantiles")]
            parts = [
                (name + suffix, {**labels, label: bound}, count)
                for suffix, label, key in extra
                for bound, count in (sample.get(key) or {}).items()
            ]
            parts += [(f"{name}_{part}", labels, sample[part]) for part in ("count", "sum") if part in sample]
        for named, tags, value in parts:
            text = ",".join(f'{key}="{tags[key]}"' for key in sorted(tags))
            yield {"name": f"{named}{{{text}}}" if text else named, "value": str(value), "detail": detail}
