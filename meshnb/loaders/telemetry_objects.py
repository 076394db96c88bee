"""Istio's Telemetry objects: what they ask of access logs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from meshnb.loaders.objects import Object, metadata, section, sequence, to_json
from meshnb.loaders.shape import shaped
from meshnb.model.frame import returns
from meshnb.model.tables.objects import TELEMETRIES
from meshnb.model.times import timestamp

if TYPE_CHECKING:
    import pandas as pd

_BOTH = "CLIENT_AND_SERVER"


@returns(TELEMETRIES)
@shaped("Telemetry objects")
def telemetries_table(objects: Sequence[Object], *, file: str = "") -> pd.DataFrame:
    """Telemetry objects, one row per entry of `accessLogging`; other kinds are left out.

    Raises:
        FormatError: a Telemetry that is not shaped like one.

    Example:
        >>> quiet = {"kind": "Telemetry", "apiVersion": "telemetry.istio.io/v1", "metadata": {"name": "quiet"},
        ...          "spec": {"accessLogging": [{"disabled": True}]}}
        >>> telemetries_table([quiet])[["namespace", "telemetry", "mode", "disabled"]].values.tolist()
        [['default', 'quiet', 'CLIENT_AND_SERVER', True]]
    """
    rows: list[dict[str, Any]] = []
    for thing in objects:
        if thing.get("kind") != "Telemetry" or not str(thing.get("apiVersion", "")).startswith("telemetry.istio.io/"):
            continue
        meta = metadata(thing, file=file)
        where = f"Telemetry {meta.get('namespace', 'default')}/{meta['name']}"
        spec = section(thing, "spec", file, where)
        refs = spec.get("targetRefs") or ([spec["targetRef"]] if spec.get("targetRef") else [])
        common = {
            "namespace": meta.get("namespace", "default"),
            "telemetry": meta["name"],
            "selector": to_json((spec.get("selector") or {}).get("matchLabels") or {}),
            "target_refs": to_json(refs),
            "spec": to_json(spec),
            "created": timestamp(meta.get("creationTimestamp")),
        }
        entries = sequence(spec.get("accessLogging"), file=file, where=f"{where} spec.accessLogging")
        rows += [{**common, "entry_index": i, **_entry(one)} for i, one in enumerate(entries)] or [common]
    return TELEMETRIES.rows(rows)


def _entry(entry: Object) -> dict[str, Any]:
    return {
        "providers": [str(provider["name"]) for provider in entry.get("providers") or ()],
        "mode": (entry.get("match") or {}).get("mode") or _BOTH,
        "disabled": bool(entry.get("disabled")),
        "filter": (entry.get("filter") or {}).get("expression"),
    }
