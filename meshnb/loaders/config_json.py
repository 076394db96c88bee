"""A document of Envoy's admin interface as plain decoded JSON, for what needs all of it (`mesh.explain`)."""

from __future__ import annotations

from typing import Any

from meshnb.errors import FormatError
from meshnb.loaders.documents import Source, read_document, unreadable


def read_config_json(source: Source, *, name: str = "") -> dict[str, Any]:
    """Decode a document whole.

    Args:
        source: a path, bytes, gzipped or not, or the decoded document.
        name: how to name it in errors.

    Raises:
        NotFound: no such file.
        FormatError: not JSON, or no object; says what it looks like and where it breaks.

    Example:
        >>> read_config_json(b'{"configs": []}')
        {'configs': []}
    """
    import msgspec

    data, name = read_document(source, name=name)
    try:
        found = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise unreadable(error, data, file=name) from error
    if not isinstance(found, dict):
        raise FormatError("not a JSON object", file=name, hint="save GET /config_dump?include_eds")
    return found
