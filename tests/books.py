"""Small notebooks for tests: sources to run, and executed ones made from views without a kernel."""

from __future__ import annotations

import json
from pathlib import Path

import nbformat
import pandas as pd

from meshnb.model.finding import Evidence, Finding, Fix, Severity, Status, Subject

DESTINATION_RULE = """apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata:
  name: catalog
  namespace: istioinaction
"""


def markdown(text: str) -> dict:
    return {"cell_type": "markdown", "metadata": {}, "source": text}


def code(source: str, *outputs: dict, tags: tuple[str, ...] = ()) -> dict:
    metadata = {"tags": list(tags)} if tags else {}
    count = 1 if outputs else None
    return {
        "cell_type": "code", "metadata": metadata, "source": source, "execution_count": count, "outputs": list(outputs)
    }  # fmt: skip


def shown(view: object) -> dict:
    """The output a view leaves in a notebook, as stored: keys sorted."""
    data = view if isinstance(view, dict) else view._repr_mimebundle_()
    return {"output_type": "display_data", "metadata": {}, "data": json.loads(json.dumps(data, sort_keys=True))}


def failed(kind: str, message: str) -> dict:
    return {"output_type": "error", "ename": kind, "evalue": message, "traceback": [f"{kind}: {message}"]}


def notebook(*cells: dict, **metadata: object) -> nbformat.NotebookNode:
    cells = tuple({**cell, "id": f"cell-{i}"} for i, cell in enumerate(cells))
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    return nbformat.from_dict(
        {"cells": list(cells), "metadata": {"kernelspec": kernel, **metadata}, "nbformat": 4, "nbformat_minor": 5}
    )


def write(path: Path, *cells: dict) -> Path:
    path.write_text(nbformat.writes(notebook(*cells)), encoding="utf-8")
    return path


def routes() -> pd.DataFrame:
    return pd.DataFrame(
        {"route": ["http.8080"] * 2, "cluster": ["outbound|80|version-v1|catalog", None], "weight": [20, 80]}
    )


def broken(**changes: object) -> Finding:
    """A failing finding with everything in it."""
    values = {
        "code": "MNB0101",
        "status": Status.FAIL,
        "severity": Severity.ERROR,
        "subject": Subject("VirtualService", "catalog-v1-v2", "istioinaction"),
        "summary": "Routes of catalog-v1-v2 lead to version-v1 and version-v2, which are not there.",
        "cause": "No DestinationRule defines the subsets.",
        "evidence": (
            Evidence.of("2 destinations without a cluster", routes(), source="mesh.routes()"),
            Evidence("80 of 100 requests got 503 NC", source="mesh.access_log()"),
        ),
        "fix": (Fix(DESTINATION_RULE, note="Labels are those of the pods."),),
        "verify": "meshnb run 503-no-cluster -p source=lab",
        "share": 0.8,
        "confidence": 0.9,
        "docs": "https://istio.io/latest/docs/",
        "refs": ("IST0101",),
    }
    return Finding(**{**values, **changes})


def passed(code: str = "MNB0102") -> Finding:
    return Finding(code, Status.PASS, Severity.ERROR, Subject("Mesh"), f"Nothing wrong ({code}).")


def unknown() -> Finding:
    return Finding("MNB0301", Status.UNKNOWN, Severity.ERROR, Subject("Mesh"), "Could not look: no istiod_debug")


def requests() -> pd.DataFrame:
    """Twelve requests: three pods, one of them slower than a timeout of 500 ms."""
    start = pd.Timestamp("2026-11-23T09:00:00Z")
    pods = ["catalog-v1-a", "catalog-v2-b", "catalog-v2-slow"]
    rows = [
        {
            "start_time": start + pd.Timedelta(seconds=i),
            "pod": pods[i % 3],
            "response_code": 504 if i % 3 == 2 else 200,
            "response": "504 UT" if i % 3 == 2 else "200",
            "duration_ms": 500 + i if i % 3 == 2 else 5 + i,
        }
        for i in range(12)
    ]
    return pd.DataFrame(rows)
