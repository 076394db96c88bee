"""A longer fuzz of the readers of Envoy's configuration than the tests have time for.

    python benchmarks/config_fuzz.py --minutes 10 --seed 1

Every round takes a document recorded from a real Envoy, puts odd values in odd places or damages its bytes, and asks
for every table, for istioctl's text and for the difference to the original. Only meshnb's own errors may come out; any
other is printed with what caused it, and the run ends with 1.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import meshnb
from meshnb.errors import MeshnbError
from meshnb.loaders.istioctl import TABLES, Options, istioctl_text

DATA = Path(__file__).parents[1] / "tests" / "data" / "envoy"
DUMPS = [json.loads(path.read_bytes()) for path in sorted(DATA.glob("*config_dump.json"))]
PAGES = [json.loads(path.read_bytes()) for path in sorted(DATA.glob("*clusters.json"))]
TEXT = (DATA / "odd-clusters.txt").read_bytes()
NAMES = ("listeners", "routes", "clusters", "endpoints", "secrets", "ecds", "authz", "bootstrap", "sizes")
ODD: tuple[Any, ...] = (
    None, True, -1, 0, 2**31, 2**64, 10**40, 1e308, -0.5, "", "x", "1s", "-1s", "1e400s", "\ud800", "\x00", "1" * 5000,
    [], {}, [[]], [None], {"": ""}, {"@type": "type.googleapis.com/u.E"}, "2026-13-45T00:00:00Z",
    "9999-12-31T23:59:59Z",
    {"camelCase": 1, "snake_case": 1}, "outbound|80||a", "|||", "::", "1.2.3.4:99999", "[::1",
)  # fmt: skip


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path to every value of a document."""
    yield path
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in children:
        yield from places(child, (*path, key))


def odd(document: Any, chance: random.Random) -> Any:
    """The document with one to three odd values in it."""
    copy = json.loads(json.dumps(document))
    for _ in range(chance.randrange(1, 4)):
        path = chance.choice([path for path in places(copy) if path])
        target = copy
        for step in path[:-1]:
            target = target[step]
        target[path[-1]] = chance.choice(ODD)
    return copy


def damaged(data: bytes, chance: random.Random) -> bytes:
    """The bytes with some turned, cut out, repeated or cut off."""
    damaged_data = bytearray(data)
    for _ in range(chance.randrange(1, 8)):
        if not damaged_data:
            break
        at, length = chance.randrange(len(damaged_data)), chance.randrange(1, 300)
        match chance.randrange(4):
            case 0:
                damaged_data[at] = chance.randrange(256)
            case 1:
                del damaged_data[at : at + length]
            case 2:
                damaged_data[at:at] = damaged_data[at : at + length]
            case _:
                del damaged_data[at:]
    return bytes(damaged_data)


def readers(chance: random.Random) -> Iterator[tuple[str, Callable[[], object]]]:
    """The calls of one round."""
    original = chance.choice(DUMPS)
    document: Any = odd(original, chance)
    if chance.random() < 0.3:
        document = damaged(json.dumps(document, indent=1, ensure_ascii=True).encode(), chance)
    for name in NAMES:
        yield name, lambda name=name: getattr(meshnb.read_config_dump(document), name)()
    yield "diff", lambda: meshnb.diff(document, original)
    table, output = chance.choice(TABLES), chance.choice(("short", "json", "yaml"))
    yield f"istioctl {table}", lambda: istioctl_text(table, document, Options({}, output=output))
    page: Any = odd(chance.choice(PAGES), chance) if chance.random() < 0.5 else damaged(TEXT, chance)
    yield "clusters page", lambda: meshnb.read_clusters_admin(page)
    yield "istioctl page", lambda: istioctl_text("endpoints", page, Options({}))
    yield "ztunnel", lambda: meshnb.read_ztunnel_dump(page)


def main() -> int:
    """Fuzz until the time is over."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    chance = random.Random(arguments.seed)
    end = time.monotonic() + arguments.minutes * 60
    outcomes: Counter[str] = Counter()
    warnings.simplefilter("error")
    while time.monotonic() < end:
        outcomes["rounds"] += 1
        for name, read in readers(chance):
            try:
                read()
                outcomes["read"] += 1
            except MeshnbError as error:
                outcomes[type(error).__name__] += 1
            except Exception:
                outcomes["other errors"] += 1
                print(f"seed {arguments.seed}, round {outcomes['rounds']}, {name}:\n{traceback.format_exc()}")
    print(", ".join(f"{count:,} {name}" for name, count in outcomes.items()))
    return 1 if outcomes["other errors"] else 0


if __name__ == "__main__":
    sys.exit(main())
