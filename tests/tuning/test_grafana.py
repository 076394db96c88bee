"""The exported dashboard in Grafana's own types, which are made from its schema."""

from __future__ import annotations

import json
import typing
from collections.abc import Iterator
from enum import Enum
from types import NoneType, UnionType
from typing import Any

import pytest
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

from meshnb.tuning.exports import dashboard, dashboard_json

_MODELS = "grafana_foundation_sdk.models"


@pytest.fixture(scope="module", autouse=True)
def plugins() -> None:
    """Panels and queries of each plugin are read with its own types, not as any mapping."""
    register_default_plugins()


def lost(given: Any, kept: Any, path: str = "") -> Iterator[str]:
    """What Grafana's types have no place for, or hold otherwise than it was given."""
    if isinstance(given, dict) and isinstance(kept, dict):
        for key, value in given.items():
            if key in kept:
                yield from lost(value, kept[key], f"{path}.{key}")
            else:
                yield f"{path}.{key} is not in the schema"
    elif isinstance(given, list) and isinstance(kept, list) and len(given) == len(kept):
        for number, (one, other) in enumerate(zip(given, kept, strict=True)):
            yield from lost(one, other, f"{path}[{number}]")
    elif given != kept:
        yield f"{path}: {given!r} became {kept!r}"


def wrong(value: Any, hint: Any, path: str = "") -> Iterator[str]:
    """Values of another type than the schema asks for."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, UnionType):
        if not any(not list(wrong(value, option)) for option in arguments):
            yield f"{path}: {value!r} is no {hint}"
    elif origin is typing.Literal:
        if value not in arguments:
            yield f"{path}: {value!r} is none of {arguments}"
    elif origin is list and isinstance(value, list):
        for number, one in enumerate(value):
            yield from wrong(one, arguments[0], f"{path}[{number}]")
    elif origin is dict and isinstance(value, dict):
        for key, one in value.items():
            yield from wrong(one, arguments[1], f"{path}.{key}")
    elif hint is None or hint is NoneType:
        if value is not None:
            yield f"{path}: {value!r}"
    elif isinstance(hint, type) and issubclass(hint, Enum):
        if value not in [member.value for member in hint] and value not in list(hint):
            yield f"{path}: {value!r} is none of {[member.value for member in hint]}"
    elif hint is float:
        if not isinstance(value, (int, float)) or isinstance(value, bool):
            yield f"{path}: {value!r} is no number"
    elif isinstance(origin or hint, type) and not isinstance(value, origin or hint):
        yield f"{path}: {value!r} is no {hint}"
    if type(value).__module__.startswith(_MODELS) and not isinstance(value, Enum):
        for name, of in typing.get_type_hints(type(value)).items():
            yield from wrong(getattr(value, name), of, f"{path}.{name}")


def faults(board: dict[str, Any]) -> list[str]:
    read = Dashboard.from_json(json.loads(json.dumps(board)))
    return [*lost(board, json.loads(json.dumps(read, cls=JSONEncoder))), *wrong(read, Dashboard)]


def test_s11_12_grafana_knows_every_field_of_the_dashboard():
    """Nothing is lost or changed on the way through Grafana's types, and every value has the type they ask for."""
    assert faults(json.loads(dashboard_json())) == []


def test_panels_and_queries_are_read_by_their_plugins():
    board = Dashboard.from_json(dashboard())
    panels = [panel for panel in board.panels or [] if getattr(panel, "targets", None)]
    assert len(panels) > 10
    assert {type(panel.options).__module__ for panel in panels} == {f"{_MODELS}.timeseries"}
    assert {type(target).__module__ for panel in panels for target in panel.targets} == {f"{_MODELS}.prometheus"}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda board: board.update(titel="x"), ".titel is not in the schema"),
        (lambda board: board.update(title=7), ".title: 7 is no"),
        (lambda board: board["panels"][1].update(datasorce="x"), ".panels[1].datasorce is not in the schema"),
        (lambda board: board["panels"][1]["gridPos"].update(w="wide"), ".panels: "),
        (lambda board: board["panels"][1]["targets"][0].update(exprs="up"), "exprs is not in the schema"),
        (lambda board: board["panels"][1]["options"]["tooltip"].update(mode="all"), ".panels: "),
    ],
)
def test_a_slip_would_be_found(change, words):
    board = dashboard()
    change(board)
    assert any(words in fault for fault in faults(board)), faults(board)
