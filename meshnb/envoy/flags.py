"""Response flags of Envoy: what each means, why it usually happens, what to look at next."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

from meshnb.model.frame import returns
from meshnb.model.tables.logs import RESPONSE_FLAGS

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True)
class Flag:
    """One response flag.

    Args:
        flag: short name, as logged by `%RESPONSE_FLAGS%`.
        name: long name, as logged by `%RESPONSE_FLAGS_LONG%`.
        since: first Envoy version that has it, by its release notes, or by the change that added it and the release
            after that; `≤1.5` where that version has it and none before was looked at. `None` for an unknown flag.
        scope: `http` or `http,tcp`.
        side: who ended the request: downstream, envoy or upstream.
        meaning: what happened.
        likely_causes: why it usually happens, likeliest first.
        next_step: what to look at next.
    """

    flag: str
    name: str
    since: str | None
    scope: str
    side: str
    meaning: str
    likely_causes: tuple[str, ...]
    next_step: str

    def __str__(self) -> str:
        return f"{self.flag} ({self.name}): {self.meaning}"


@cache
def known_flags() -> Mapping[str, Flag]:
    """All flags by short name, in Envoy's order."""
    data = json.loads((files("meshnb.envoy") / "response_flags.json").read_text(encoding="utf-8"))
    return {d["flag"]: Flag(**{**d, "likely_causes": tuple(d["likely_causes"])}) for d in data}


def parse_flags(text: str | None) -> tuple[str, ...]:
    """The flags of a line in the order written, by short name; long names are translated, `-` is none.

    Example:
        >>> parse_flags("UpstreamRetryLimitExceeded,UF"), parse_flags("-")
        (('URX', 'UF'), ())
    """
    if text is None or text in ("", "-"):
        return ()
    return tuple(_short().get(flag.strip(), flag.strip()) for flag in text.split(","))


@cache
def _short() -> Mapping[str, str]:
    return {flag.name: flag.flag for flag in known_flags().values()}


def explain_flags(text: str | None) -> list[Flag]:
    """The flags of a line explained, in the order written.

    A flag this version does not know (a newer Envoy's, or one an extension registered) is explained as such.

    Args:
        text: flags as logged, in any order: `URX,UF`, `UF`, `-`.

    Example:
        >>> [flag.name for flag in explain_flags("URX,UF")]
        ['UpstreamRetryLimitExceeded', 'UpstreamConnectionFailure']
    """
    return [known_flags().get(flag) or _unknown(flag) for flag in parse_flags(text)]


def _unknown(flag: str) -> Flag:
    return Flag(
        flag,
        flag,
        None,
        "http",
        "envoy",
        "A flag that this version of meshnb does not know.",
        ("a newer Envoy, or an extension that registered its own flag",),
        "The documentation of the proxy's Envoy version.",
    )


@returns(RESPONSE_FLAGS)
def frame() -> pd.DataFrame:
    """All response flags as a table.

    Example:
        >>> frame().set_index("flag").name["NC"]
        'NoClusterFound'
    """
    return RESPONSE_FLAGS.rows(_row(flag) for flag in known_flags().values())


@returns(RESPONSE_FLAGS)
def count_flags(flags: Iterable[object] | Mapping[object, int]) -> pd.DataFrame:
    """The flags that occur in a log, most frequent first, with their meaning.

    Args:
        flags: the column `flag_set` of an access log, or how many rows there are of each value of it.

    Example:
        >>> count_flags(["UF,URX", "UF", None])[["flag", "requests"]].values.tolist()
        [['UF', 2], ['URX', 1]]
    """
    sets = Counter(flags)
    counts: Counter[str] = Counter()
    for text, requests in sets.items():
        for flag in parse_flags(text) if isinstance(text, str) else ():
            counts[flag] += requests
    order = sorted(counts, key=lambda flag: (-counts[flag], flag))
    return RESPONSE_FLAGS.rows(
        {
            **_row(known_flags().get(flag) or _unknown(flag)),
            "requests": counts[flag],
            "share": counts[flag] / sets.total(),
        }
        for flag in order
    )


def _row(flag: Flag) -> dict[str, object]:
    return {
        "flag": flag.flag,
        "name": flag.name,
        "since": flag.since,
        "scope": flag.scope,
        "side": flag.side,
        "meaning": flag.meaning,
        "likely_causes": list(flag.likely_causes),
        "next_step": flag.next_step,
    }
