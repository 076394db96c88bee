"""The other key style of proto3 JSON."""


def camel_case(value):
    """A document as proto3 printers write it; names of extensions and what stands in a Struct stay as they are."""
    if isinstance(value, list):
        return [camel_case(one) for one in value]
    if not isinstance(value, dict):
        return value
    renamed = {}
    for key, one in value.items():
        head, *rest = key.split("_")
        plain = "." in key or "@" in key
        renamed[key if plain else head + "".join(map(str.capitalize, rest))] = (
            one if key in ("filter_metadata", "json_format") else camel_case(one)
        )
    return renamed
