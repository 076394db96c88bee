"""Reading Envoy's configuration as JSON: both key styles, proto3 defaults, and errors that name the field.

Envoy's admin port prints `virtual_hosts`, istioctl prints `virtualHosts`. A field that is missing has its proto3
default. A field of the wrong type is somebody's broken file: `FormatError`, never a Python traceback.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from meshnb.errors import FormatError

Message = Mapping[str, Any]
"""A protobuf message as decoded JSON."""

_DURATION = re.compile(r"(-?)(\d{1,12})(?:\.(\d{1,9}))?s")


@lru_cache(maxsize=4096)
def camel(name: str) -> str:
    """`virtual_hosts` as `virtualHosts`.

    Example:
        >>> camel("virtual_hosts")
        'virtualHosts'
    """
    head, *rest = name.split("_")
    return head + "".join(part.capitalize() for part in rest)


def value(message: Message, name: str) -> Any:
    """The field in either key style, `None` if it is missing."""
    if name in message:
        return message[name]
    return message.get(camel(name)) if "_" in name else None


def child(message: Message, name: str) -> Message:
    """A message field; empty if it is missing."""
    found = value(message, name)
    if found is None:
        return {}
    if not isinstance(found, Mapping):
        raise FormatError(f"{name} is {_kind(found)}, expected an object", position=name)
    return found


def has(message: Message, name: str) -> bool:
    """Whether a message field is set, which in proto3 JSON may be an empty object."""
    return value(message, name) is not None


def items(message: Message, name: str) -> list[Message]:
    """A repeated message field."""
    found = _list(message, name)
    for item in found:
        if not isinstance(item, Mapping):
            raise FormatError(f"{name} holds {_kind(item)}, expected objects", position=name)
    return found


def texts(message: Message, name: str) -> list[str]:
    """A repeated string field."""
    found = _list(message, name)
    for item in found:
        if not isinstance(item, str):
            raise FormatError(f"{name} holds {_kind(item)}, expected strings", position=name)
    return found


def numbers(message: Message, name: str) -> list[int]:
    """A repeated number field."""
    return [_whole(item, name) for item in _list(message, name)]


def text(message: Message, name: str, default: str = "") -> str:
    """A string or enum field."""
    found = value(message, name)
    if found is None:
        return default
    if not isinstance(found, str):
        raise FormatError(f"{name} is {_kind(found)}, expected a string", position=name)
    return found


def flag(message: Message, name: str, *, default: bool = False) -> bool:
    """A bool field, plain or wrapped."""
    found = value(message, name)
    if found is None:
        return default
    if not isinstance(found, bool):
        raise FormatError(f"{name} is {_kind(found)}, expected true or false", position=name)
    return found


def number(message: Message, name: str, default: int = 0) -> int:
    """A whole number; proto3 JSON writes 64-bit ones as strings."""
    found = value(message, name)
    return default if found is None else _whole(found, name)


def real(message: Message, name: str, default: float = 0.0) -> float:
    """A double."""
    found = value(message, name)
    if found is None:
        return default
    if isinstance(found, bool) or not isinstance(found, int | float):
        raise FormatError(f"{name} is {_kind(found)}, expected a number", position=name)
    try:
        return float(found)
    except OverflowError as error:
        raise FormatError(f"{name} is too large", position=name) from error


def seconds(message: Message, name: str) -> float | None:
    """A duration such as `"0.5s"` in seconds, `None` if it is missing."""
    found = value(message, name)
    if found is None:
        return None
    match = _DURATION.fullmatch(found) if isinstance(found, str) else None
    if match is None:
        raise FormatError(f'{name} is {found!r:.60}, expected a duration such as "0.5s"', position=name)
    sign, whole, part = match.groups()
    return float(f"{sign}{whole}.{part or 0}")


def type_name(message: Message) -> str:
    """The last part of `@type`: `HttpConnectionManager`; for a TypedStruct, that of the type it stands for.

    Example:
        >>> type_name({"@type": "type.googleapis.com/envoy.config.listener.v3.Listener"})
        'Listener'
    """
    url = text(message, "@type")
    if url.endswith(".TypedStruct"):
        url = text(message, "type_url")
    return url.rpartition("/")[2].rpartition(".")[2]


def _list(message: Message, name: str) -> list[Any]:
    found = value(message, name)
    if found is None:
        return []
    if not isinstance(found, list):
        raise FormatError(f"{name} is {_kind(found)}, expected a list", position=name)
    return found


def _whole(found: object, name: str) -> int:
    if isinstance(found, str) and len(found) <= 20:
        try:
            return int(found)
        except ValueError:
            pass
    if isinstance(found, float) and math.isfinite(found) and found == int(found):
        return int(found)
    if isinstance(found, bool) or not isinstance(found, int):
        raise FormatError(f"{name} is {_kind(found)}, expected a whole number", position=name)
    if not -(1 << 63) <= found < 1 << 64:
        raise FormatError(f"{name} does not fit into 64 bits", position=name)
    return found


def _kind(found: object) -> str:
    names = {dict: "an object", list: "a list", str: "a string", bool: "true or false", type(None): "null"}
    return names.get(type(found), "a number")
