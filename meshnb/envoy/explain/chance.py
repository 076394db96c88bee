"""Which random numbers are still possible, and how likely that is.

Envoy draws one random number for a request and uses its remainder for every runtime fraction and for the choice among
weighted clusters. So these choices are not independent: behind a fraction of 20 %, weights of 50 and 50 always pick the
first cluster.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import gcd

_MOST_SPANS = 20_000


@dataclass(frozen=True, slots=True)
class Chance:
    """Random numbers still possible: those whose remainder by `modulus` lies in one of `spans`.

    Example:
        >>> hit, rest = Chance().split(20, 100)
        >>> float(hit.probability), hit.share(0, 50, 100), rest.share(0, 50, 100)
        (0.2, 0.2, 0.3)
    """

    modulus: int = 1
    spans: tuple[tuple[int, int], ...] = ((0, 1),)

    @classmethod
    def known(cls, random: int | None) -> Chance:
        """All random numbers, or the one Envoy drew."""
        return cls() if random is None else cls(1 << 64, ((random, random + 1),))

    @property
    def is_known(self) -> bool:
        """Whether the random number is given."""
        return self.modulus == 1 << 64

    @property
    def probability(self) -> float:
        """How likely the random number is one of these; 1 for a known one."""
        if self.is_known:
            return 1.0 if self.spans else 0.0
        return sum(end - start for start, end in self.spans) / self.modulus

    def split(self, numerator: int, denominator: int) -> tuple[Chance, Chance]:
        """Those below a fraction, and the rest."""
        if self.is_known:
            below = bool(self.spans) and self.spans[0][0] % denominator < numerator
            return (self, Chance(self.modulus, ())) if below else (Chance(self.modulus, ()), self)
        modulus = max(self.modulus, denominator)
        spans = self._repeated(modulus)
        hit: list[tuple[int, int]] = []
        rest: list[tuple[int, int]] = []
        for start, end in spans:
            for base in range(start - start % denominator, end, denominator):
                edge = base + numerator
                low, high = max(start, base), min(end, base + denominator)
                if low < min(high, edge):
                    hit.append((low, min(high, edge)))
                if max(low, edge) < high:
                    rest.append((max(low, edge), high))
        return Chance(modulus, tuple(hit)), Chance(modulus, tuple(rest))

    def share(self, begin: int, end: int, total: int) -> float:
        """How likely the number is one of these and its remainder by `total` lies in `[begin, end)`."""
        if self.is_known:
            return 1.0 if self.spans and begin <= self.spans[0][0] % total < end else 0.0
        common = gcd(self.modulus, total)
        if common == 1 or self.spans == ((0, self.modulus),):
            return self.probability * (end - begin) / total
        mine, theirs = _residues(self.spans, common), _residues(((begin, end),), common)
        pairs = sum(a * b for a, b in zip(mine, theirs, strict=True))
        return pairs * common / (self.modulus * total)

    def _repeated(self, modulus: int) -> list[tuple[int, int]]:
        if modulus == self.modulus:
            return list(self.spans)
        if self.spans == ((0, self.modulus),):
            return [(0, modulus)]
        times = min(modulus // self.modulus, _MOST_SPANS)
        return [(s + i * self.modulus, e + i * self.modulus) for i in range(times) for s, e in self.spans]


def _residues(spans: tuple[tuple[int, int], ...], modulus: int) -> list[int]:
    """How many numbers of the spans have each remainder."""
    count = [0] * (modulus + 1)
    whole = 0
    for start, end in spans:
        turns, rest = divmod(end - start, modulus)
        whole += turns
        low = start % modulus
        count[low] += 1
        if low + rest <= modulus:
            count[low + rest] -= 1
        else:
            count[modulus] -= 1
            count[0] += 1
            count[low + rest - modulus] -= 1
    found, running = [], whole
    for change in count[:modulus]:
        running += change
        found.append(running)
    return found
