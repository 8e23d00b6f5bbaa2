"""How long backends take, as recorded times by model and size, and what that makes of asks that nobody has made yet."""

from __future__ import annotations

from collections.abc import Iterable
from math import exp, log

from gateway.review.traffic.forecast import Demand
from gateway.review.traffic.weights import Weights

_STEP = log(1.02)  # buckets 2 % apart: what a quantile may be wrong by
_LEAST = 1e-3  # ms
Sized = tuple[tuple[str, int], ...]  # asked models, each with the size of its question


def size(rows: int) -> int:
    """Questions of one size have between 2^(n-1) and 2^n - 1 rows."""
    return rows.bit_length()


def sized(asked: Demand) -> Sized:
    """The same, by size."""
    return tuple([(target, rows.bit_length()) for target, rows in asked])


class Spread:
    """Times in ms, each with a weight: their mean exactly, their quantiles within 2 %."""

    __slots__ = ("buckets", "total", "weight")

    def __init__(self) -> None:
        self.weight = 0.0
        self.total = 0.0
        self.buckets = Weights[int]()

    def add(self, ms: float, weight: float = 1.0) -> None:
        """One time."""
        self.weight += weight
        self.total += ms * weight
        self.buckets[int(log(ms if ms > _LEAST else _LEAST) // _STEP)] += weight

    def take(self, other: Spread, weight: float) -> None:
        """Another's times, as if they weighed so much together."""
        if other.weight:
            share = weight / other.weight
            self.weight += weight
            self.total += other.total * share
            self.buckets.take(other.buckets, share)

    @property
    def mean(self) -> float:
        """0 where there is none."""
        return self.total / self.weight if self.weight else 0.0

    def quantile(self, share: float) -> float | None:
        """The time that so much of the weight does not exceed; None if there is less than that."""
        wanted, seen = share * self.weight, 0.0
        for bucket in sorted(self.buckets):
            seen += self.buckets[bucket]
            if seen >= wanted * (1 - 1e-12):
                return exp((bucket + 0.5) * _STEP)
        return None


def after(first: Spread, second: Spread) -> Spread:
    """One after the other, taken to be independent."""
    found = Spread()
    if first.weight and second.weight:
        for one, each in first.buckets.items():
            for other, weight in second.buckets.items():
                found.add(exp((one + 0.5) * _STEP) + exp((other + 0.5) * _STEP), each * weight / second.weight)
        found.total = (first.mean + second.mean) * found.weight
    return found


class Timetable:
    """Recorded times. `strange` counts, by weight, what had to be told from questions of another size."""

    def __init__(self) -> None:
        self._asks: dict[tuple[str, int], Spread] = {}
        self._chains: dict[Sized, Spread] = {}
        self._known: dict[Sized, Spread | None] = {}

    def asked(self, target: str, rows: int, ms: float, weight: float) -> None:
        """One ask that was answered."""
        key = (target, rows.bit_length())
        spread = self._asks.get(key)
        if spread is None:
            spread = self._asks[key] = Spread()
        spread.add(ms, weight)

    def chained(self, asked: Sized, ms: float, weight: float) -> None:
        """Several asks of one request, one after the other, and what they took together."""
        spread = self._chains.get(asked)
        if spread is None:
            spread = self._chains[asked] = Spread()
        spread.add(ms, weight)

    def expected(self, asked: Sized) -> Spread | None:
        """What such asks take, to be called when all is recorded; None if one of the models was never asked."""
        if asked not in self._known:
            self._known[asked] = self._chains.get(asked) or self._together(asked)
        return self._known[asked]

    def _together(self, asked: Sized) -> Spread | None:
        found: Spread | None = None
        for target, each in asked:
            one = self._asks.get((target, each)) or self._any_size(target, each)
            if one is None:
                return None
            found = one if found is None else after(found, one)
        return found

    def _any_size(self, target: str, wanted: int) -> Spread | None:
        """The nearest size there is."""
        sizes: Iterable[int] = [each for name, each in self._asks if name == target]
        nearest = min(sizes, key=lambda each: (abs(each - wanted), -each), default=None)
        return None if nearest is None else self._asks[target, nearest]
