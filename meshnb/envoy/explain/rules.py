"""Rules that differ between versions of Envoy."""

from __future__ import annotations

from dataclasses import dataclass

from meshnb.envoy.explain.fields import Message, child, has, number

_CHANGED = (1, 39)


@dataclass(frozen=True, slots=True)
class Rules:
    """Which rules a version follows; without arguments those of the newest.

    Measured with Envoy 1.36, 1.37, 1.38.3, 1.39.3 and 1.40: all three changed between 1.38.3 and 1.39.3.

    Args:
        headers_one_by_one: each of several headers of one name is compared; before, all joined by commas were.
        parameters_by_segment: where `;parameters` are ignored, they are in every segment; before, the path was cut at
            the first `;`.
        dots_with_parameters: `/..;x/` is a dot segment when paths are normalized; before, it was a name.
    """

    headers_one_by_one: bool = True
    parameters_by_segment: bool = True
    dots_with_parameters: bool = True

    @classmethod
    def of(cls, bootstrap: Message) -> Rules:
        """The rules of the Envoy that wrote a dump, as its bootstrap tells its version."""
        version = child(child(child(bootstrap, "node"), "user_agent_build_version"), "version")
        if not has(version, "major_number"):
            return cls()
        new = (number(version, "major_number"), number(version, "minor_number")) >= _CHANGED
        return cls(new, new, new)
