"""Counts what happened to the requests of a rollout, cheaply enough for every request, until somebody takes the counts.

What counts is decided by the caller, and it must not depend on the side: one request once, when its answer is known, for the side
that was first drawn. Retries, hedges and a fallback's answer are parts of the request; what a cache or another's flight answered
never reached a side and is not told here at all. Who leaves before the answer is told as far as it was measured.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from routing.rollout.betting import NOTHING, UNMEASURED, Labels, Metric
from routing.rollout.seen import Seen

_ASIDE = UNMEASURED - 1  # measured, and of no weight any more
_CELLS = 2 * -_ASIDE  # where the cells begin in a metric's part of a table
DRAWN = -1  # in place of a metric's index


class Count(msgspec.Struct, frozen=True, array_like=True):
    """So many requests of one cell that were drawn with one chance."""

    metric: int
    cell: int
    weight: float
    labels: Labels


class Reveal(msgspec.Struct, frozen=True, array_like=True):
    """A sticky unit's event."""

    metric: int
    cell: int
    weight: float
    place: float


class Batch(msgspec.Struct, frozen=True):
    """What was counted since the last batch. `looked`: for each metric, on how many requests it was measured."""

    looked: tuple[Labels, ...]
    counts: tuple[Count, ...] = ()
    reveals: tuple[Reveal, ...] = ()

    def __bool__(self) -> bool:
        """Whether it says anything."""
        return bool(self.counts or self.reveals or any(any(each) for each in self.looked))


def together(one: Batch, other: Batch) -> Batch:
    """Both as one; which came first makes no difference to what they say."""
    labels: dict[tuple[int, int, float], Labels] = {}
    for count in (*one.counts, *other.counts):
        stable, candidate = labels.get(key := (count.metric, count.cell, count.weight), (0, 0))
        labels[key] = stable + count.labels[0], candidate + count.labels[1]
    looked = tuple((a + c, b + d) for (a, b), (c, d) in zip(one.looked, other.looked, strict=True))
    return Batch(looked, tuple(Count(*key, each) for key, each in labels.items()), (*one.reveals, *other.reveals))


class Tally:
    """Of one rollout in one process. Not thread-safe: one event loop's."""

    def __init__(self, metrics: Sequence[Metric], sticky: bool) -> None:
        self._metrics = tuple(metrics)
        self._sticky = sticky
        self._seen = [Seen() for _ in (*metrics, None)] if sticky else []  # the last, at DRAWN, is of the draws
        self._reveals: list[Reveal] = []
        self._tables: dict[float, list[int]] = {}
        self._starts: list[int] = []
        self._size = 2  # the draws stand first
        for metric in metrics:
            self._starts.append(self._size + _CELLS)
            self._size += _CELLS + 2 * metric.cells

    def drew(self, place: float, weight: float) -> None:
        """A unit was given its side: the candidate if its place lies below the weight."""
        if self._sticky:
            self._reveal(DRAWN, 0, place, weight)
        else:
            (self._tables.get(weight) or self._table(weight))[place < weight] += 1

    def saw(self, place: float, weight: float, cells: Sequence[int]) -> None:
        """A request ended. `weight`: with which it was drawn. `cells`: of each metric, or UNMEASURED."""
        table = self._tables.get(weight) or self._table(weight)
        candidate = place < weight
        if self._sticky:
            for start, seen, cell in zip(self._starts, self._seen, cells, strict=False):
                if cell > UNMEASURED:  # a sticky unit's events go by name, and nothing of a unit that is known counts
                    if seen.knows(place, weight):
                        cell = _ASIDE
                    elif cell > NOTHING:
                        seen.coin(place, weight)
                        self._reveals.append(Reveal(self._starts.index(start), cell, weight, place))
                        cell = _ASIDE
                table[start + 2 * cell + candidate] += 1
        else:
            for start, cell in zip(self._starts, cells, strict=True):
                table[start + 2 * cell + candidate] += 1

    def beside(self, metric: int, cell: int, weight: float, candidate: bool) -> None:
        """Something that is no request of its own was measured; it was the candidate's with the chance `weight`."""
        table = self._tables.get(weight) or self._table(weight)
        table[self._starts[metric] + 2 * cell + candidate] += 1

    def take(self) -> Batch:
        """All since the last time."""
        looked = [(0, 0)] * len(self._metrics)
        counts = []
        for weight, table in self._tables.items():
            if any(table[:2]):
                counts.append(Count(DRAWN, 0, weight, (table[0], table[1])))
            for index, (metric, start) in enumerate(zip(self._metrics, self._starts, strict=True)):
                for cell in (_ASIDE, *range(metric.cells)):
                    at = start + 2 * cell
                    labels = table[at], table[at + 1]
                    if any(labels):
                        looked[index] = looked[index][0] + labels[0], looked[index][1] + labels[1]
                        if cell != _ASIDE:
                            counts.append(Count(index, cell, weight, labels))
        batch = Batch(tuple(looked), tuple(counts), tuple(self._reveals))
        self._tables.clear()
        self._reveals.clear()
        return batch

    def _table(self, weight: float) -> list[int]:
        return self._tables.setdefault(weight, [0] * self._size)

    def _reveal(self, metric: int, cell: int, place: float, weight: float) -> None:
        if self._seen[metric].coin(place, weight):
            self._reveals.append(Reveal(metric, cell, weight, place))
