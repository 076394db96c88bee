"""What `istioctl analyze` prints: messages in its three formats, and which analyzers ran."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from meshnb.errors import FormatError
from meshnb.loaders.shape import shaped
from meshnb.loaders.text_table import decode_text
from meshnb.model.frame import returns
from meshnb.model.tables.analysis import ANALYSIS, ANALYZERS

if TYPE_CHECKING:
    import pandas as pd

_LINE = re.compile(
    r"^(?P<level>Error|Warning|Info) \[(?P<code>IST\d{4})\] (?:\[(?P<cluster>[^\]]+)\] )?"
    r"\((?P<origin>[^)]+)\) (?P<message>.*)$"
)
_ORIGIN = re.compile(r"^(?P<kind>\S+) (?P<name>\S+)(?: (?P<file>.+?)(?::(?P<line>\d+))?)?$")
_CLEAN = re.compile(r"No validation issues found")


@cache
def messages() -> Mapping[str, Mapping[str, str]]:
    """The messages by code: name, level, meaning, fix.

    Example:
        >>> messages()["IST0101"]["name"]
        'ReferencedResourceNotFound'
    """
    return tomllib.loads((files("meshnb.model") / "analysis_messages.toml").read_text("utf-8"))


@returns(ANALYSIS)
@shaped("what istioctl analyze prints")
def read_analysis(data: bytes | str, *, file: str = "") -> pd.DataFrame:
    """Messages of `istioctl analyze` in format log, json or yaml; no rows for a run without any.

    Args:
        data: what it printed, errors and hints included.
        file: how to name it in an error.

    Raises:
        FormatError: not what it prints.

    Example:
        >>> text = "Info [IST0102] (Namespace default) The namespace is not enabled for Istio injection."
        >>> read_analysis(text)[["code", "kind", "object"]].values.tolist()
        [['IST0102', 'Namespace', 'default']]
    """
    text = decode_text(data)
    if text.lstrip()[:1] in ("[", "{") or re.match(r"\s*- ", text):
        return ANALYSIS.rows(_row(item) for item in _items(text, file))
    rows = [_row(match.groupdict()) for line in text.splitlines() if (match := _LINE.match(line.strip()))]
    if not rows and not _CLEAN.search(text):
        raise FormatError(
            "not what istioctl analyze prints: neither a message nor that there is none",
            file=file,
            hint="save it with: istioctl analyze -n NAMESPACE -o json > FILE",
        )
    return ANALYSIS.rows(rows)


def _items(text: str, file: str) -> Iterable[Mapping[str, Any]]:
    import yaml

    try:
        items = yaml.safe_load(text)  # JSON is YAML
    except yaml.YAMLError as error:
        raise FormatError(f"neither JSON nor YAML: {error}", file=file) from error
    if not isinstance(items, list) or not all(isinstance(i, dict) and "code" in i for i in items):
        raise FormatError("not what istioctl analyze prints: a list of messages expected", file=file)
    return items


def _row(item: Mapping[str, Any]) -> dict[str, Any]:
    code = str(item["code"])
    known = messages().get(code, {})
    match = _ORIGIN.match(str(item.get("origin") or ""))
    origin = match.groupdict() if match else {}
    # the file stands in `reference` where the format is JSON
    reference, _, line = str(item.get("reference") or "").rpartition(":")
    namespace, _, name = str(origin.get("name") or "").rpartition("/")
    return {
        "code": code,
        "name": known.get("name"),
        "level": str(item.get("level") or known.get("level") or "warning").lower(),
        "cluster": item.get("cluster") or None,
        "kind": origin.get("kind"),
        "namespace": namespace or (name if origin.get("kind") == "Namespace" else None) or None,
        "object": name or None,
        "file": origin.get("file") or reference or None,
        "line": int(origin.get("line") or (line if line.isdigit() else 0)) or None,
        "message": str(item.get("message") or ""),
        "meaning": known.get("meaning"),
        "fix": known.get("fix"),
    }


@returns(ANALYZERS)
def read_analyzers(data: bytes | str, *, file: str = "") -> pd.DataFrame:
    """Which analyzers ran and which were skipped (`istioctl analyze -v`), or which there are (`--list-analyzers`).

    Without this a run that says "no issues" does not say what it looked at: with files alone more than half of the
    analyzers are skipped in silence.

    Raises:
        FormatError: the text names no analyzer.
    """
    rows: list[dict[str, Any]] = []
    state = ""
    for line in decode_text(data).splitlines():
        if re.match(r"(?i)\s*(skipped|executed) analyzers:", line):
            state = line.split()[0].lower()
        elif match := re.match(r"\s*\* ([\w.]+):?\s*(.*)", line):
            rows.append({"analyzer": match[1], "state": "listed", "description": match[2] or None})
            state = "listed"
        elif state in ("skipped", "executed") and (match := re.fullmatch(r"\s+([\w.]+)\s*", line)):
            rows.append({"analyzer": match[1], "state": state})
        elif state == "listed" and line.strip() and rows and rows[-1]["description"] is None:
            rows[-1]["description"] = line.strip()
        elif line.strip():
            state = "" if state != "listed" else state
    if not rows:
        raise FormatError("it names no analyzer", file=file, hint="run: istioctl analyze -v, or --list-analyzers")
    return ANALYZERS.rows(rows)
