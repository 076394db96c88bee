"""Extension configurations that came on their own (ECDS)."""

from __future__ import annotations

from typing import Any

import msgspec

from meshnb.loaders.proto import EMPTY, Message, Reader, text
from meshnb.loaders.sections import Resource


class TypedExtensionConfig(Message):
    """`core.v3.TypedExtensionConfig`."""

    name: str = ""
    typed_config: msgspec.Raw = EMPTY


class TypedConfig(Message):
    """Any message: its type, and in a `TypedStruct` the type of what it holds."""

    type: str = msgspec.field(name="@type", default="")
    type_url: str = ""


read_extension = Reader(TypedExtensionConfig)
_read_type = Reader(TypedConfig)


def extension_type(config: msgspec.Raw) -> str | None:
    """Type of a typed configuration without its prefix, `None` if it has none."""
    typed = _read_type.maybe(config)
    return typed.type.rpartition("/")[2] or None if typed is not None else None


def ecds_row(resource: Resource) -> dict[str, Any]:
    """The row of one extension configuration, see `meshnb.model.tables.envoy.ECDS`.

    Raises:
        msgspec.MsgspecError, ValueError: not an extension configuration.
    """
    extension = read_extension(resource.raw) if resource.size else TypedExtensionConfig()
    return {
        "name": extension.name or resource.name,
        "type": extension_type(extension.typed_config),
        "typed_config": text(extension.typed_config),
        **resource.status,
        "bytes": resource.size,
    }
