"""What must not be in a written notebook: secrets, paths of the machine it ran on, widgets that live no more."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

from meshnb.runbook.parameters import MASK
from meshnb.sources.redact import redact

WIDGET_MEDIA = "application/vnd.jupyter.widget-view+json"
"""Media type of a widget's view; it shows nothing once its kernel is gone."""

_PAPERMILL_TAG = "papermill-error-cell-tag"
_SHORTEST = 4  # shorter values of secret parameters are in too many innocent words to be masked everywhere


def clean(notebook: Any, *, secrets: Iterable[str] = ()) -> Counter[str]:
    """Take out of an executed notebook, in place, what must not be written.

    Args:
        notebook: an `nbformat` notebook.
        secrets: values of secret parameters, to be masked wherever they stand.

    Returns:
        How often each rule struck.
    """
    notebook.metadata.pop("papermill", None)
    notebook.metadata.pop("widgets", None)
    notebook.cells = [c for c in notebook.cells if _PAPERMILL_TAG not in c.metadata.get("tags", ())]
    for cell in notebook.cells:
        cell.metadata.pop("papermill", None)
        for output in cell.get("outputs", ()):
            data = output.get("data", {})
            if WIDGET_MEDIA in data and len(data) > 1:
                del data[WIDGET_MEDIA]
    values = [value for value in secrets if value]
    struck: Counter[str] = Counter()

    def mask(text: str, *, everywhere: bool = True) -> str:
        for value in values:
            if len(value) >= _SHORTEST or not everywhere:
                struck["secret-parameter"] += text.count(value)
                text = text.replace(value, MASK)
        done, rules = redact(text.encode("utf-8", "surrogatepass"))
        struck.update(rules)
        return done.decode("utf-8", "surrogatepass")

    for cell in notebook.cells:
        if "injected-parameters" in cell.metadata.get("tags", ()):
            cell.source = mask(cell.source, everywhere=False)
        else:
            cell.source = mask(cell.source)
        if "outputs" in cell:
            cell.outputs = _each_text(cell.outputs, mask)
    return +struck


def _each_text(value: Any, change: Callable[[str], str]) -> Any:
    """A copy of nested lists and mappings with each text changed, keys too."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, dict):
        return type(value)({change(key): _each_text(item, change) for key, item in value.items()})
    if isinstance(value, list):
        return [_each_text(item, change) for item in value]
    return value
