"""How many questions at once a backend is worth asking, learnt from how long its answers take with so many in flight.

With n in flight and R seconds for each, a backend gives n / R answers a second (Little 1961). More in flight gives more answers
as long as somebody there is idle or larger batches are formed; after that it only gives longer queues. The best n is where
Kleinrock's generalised power, throughput^3 / R (1979), is largest: a step up in n must come back to a quarter as throughput. A
latency compared with the least ever seen (TCP Vegas, Envoy's gradient controller, throughput x least latency) stops far below
the batches that a GPU is quickest with; throughput compared with throughput does not.

Levels of n lie a quarter apart. Each remembers the seconds for one answer, R / n, over its latest answers. Best is the level of
the largest power; `limit` is above it, so that it is seen whether more would be better. While questions are turned away nothing
else varies n, so every few turns the limit goes to the best level itself and, seldom, to the one below. What was not seen for
FORGOTTEN seconds is not known, and what nobody has tried is allowed up to FREE, or twice the best. Told the time, never asks.
"""

from __future__ import annotations

from bisect import bisect_right
from math import inf

FREE = 32  # in flight, of which nothing bad is known
WORTH = 0.25  # the share of a step up that must come back as throughput
KEPT = 16  # answers that a level's mean goes back
FORGOTTEN = 30.0  # seconds
ENOUGH = 3  # answers before a level is taken to be worse than one below: a single one may have had bad luck
CALM, SOON = 64, 8  # answers between two looks: while there is room; while there is none, more than the limit
_STEPS = (*(1, 1, 1, 1, 1, 1, 1, 0) * 3, *(1, 1, 1, 1, 1, 1, 0, -1))  # the limit turn by turn: above, at or below the best
_SMALL = 1024


def _levels(most: int) -> list[int]:
    found = [1]
    while found[-1] < most:
        found.append(max(found[-1] + 1, found[-1] * 5 // 4))
    return found


LEVELS = _levels(100_000)
_LEVEL = [bisect_right(LEVELS, count) - 1 for count in range(_SMALL)]
_PRICE = [count**WORTH for count in LEVELS]


class Concurrency:
    """One limit, between 1 and `ceiling`. `pace`: seconds for one answer at the best level, 0 while nothing is known.

    `quickest`: seconds of the quickest answer in the last FORGOTTEN to 2 x FORGOTTEN seconds, 0 while there is none.
    """

    __slots__ = (
        *("_before", "_ceiling", "_counts", "_due", "_exploring", "_low", "_paces", "_seen", "_since", "_turn"),
        *("limit", "pace", "quickest"),
    )

    def __init__(self, ceiling: int) -> None:
        self._ceiling = ceiling
        self._paces = [0.0] * len(LEVELS)
        self._counts = [0] * len(LEVELS)
        self._seen = [-inf] * len(LEVELS)
        self._turn = 0
        self._due = CALM
        self._exploring = True  # nothing bad is known of anything above the best
        self._low, self._before, self._since = inf, inf, -inf
        self.limit = min(FREE, ceiling)
        self.pace = 0.0
        self.quickest = 0.0

    def took(self, in_flight: int, seconds: float, now: float) -> None:
        """An answer came `seconds` after its question was sent as the last of so many in flight."""
        if seconds < self._low:
            self._low = seconds
            self.quickest = min(seconds, self.quickest or seconds)
        self._learn(_LEVEL[in_flight] if in_flight < _SMALL else _level(in_flight), seconds / in_flight, now)

    def outlasted(self, in_flight: int, seconds: float, now: float) -> None:
        """After so many seconds nobody waited any longer: says something where that is longer than an answer usually takes.

        With so many in flight, or at the best level where that is not known: else a client without patience could have a level
        taken for the best that has never given an answer.
        """
        level = _level(in_flight)
        if seconds > self.quickest and seconds / in_flight > (self._paces[level] or self.pace):
            self._learn(level, seconds / in_flight, now)

    def rejected(self, in_flight: int, now: float) -> None:
        """The backend itself had no room for the last of so many: as bad as if each had taken twice as long as at its best."""
        self.pressed()
        if self.pace:
            self._learn(_level(in_flight), 2 * self.pace, now)

    def pressed(self) -> None:
        """Somebody found no place: the limit is looked at soon."""
        self._due = min(self._due, SOON if self._exploring else SOON + self.limit)

    def _learn(self, level: int, pace: float, now: float) -> None:
        count = self._counts[level]
        if count < KEPT:
            self._counts[level] = count = count + 1
        self._paces[level] += (pace - self._paces[level]) / count
        self._seen[level] = now
        self._due -= 1
        if self._due <= 0:
            self._look(now)

    def _look(self, now: float) -> None:
        self._due = CALM
        if now - self._since > FORGOTTEN:
            self._since, self._before, self._low = now, self._low, inf
            self.quickest = self._before if self._before < inf else 0.0
        known = self._known(now)
        best = min(known, key=lambda level: _PRICE[level] * self._paces[level])
        above = known[known.index(best) + 1 :]
        self._exploring = sum(self._counts[level] for level in above) < ENOUGH
        self.pace = self._paces[best]
        self._turn = (self._turn + 1) % len(_STEPS)
        step = _STEPS[self._turn]
        if self._exploring:
            limit = max(FREE, 2 * LEVELS[best])
        elif step > 0:
            limit = LEVELS[(best + above[0] + 1) // 2]
        else:
            limit = LEVELS[max(0, best + step)]
        self.limit = min(limit, self._ceiling)

    def _known(self, now: float) -> list[int]:
        found = []
        for level, seen in enumerate(self._seen):
            if now - seen < FORGOTTEN:
                found.append(level)
            elif self._counts[level]:
                self._counts[level], self._paces[level] = 0, 0.0
        return found


def _level(in_flight: int) -> int:
    return bisect_right(LEVELS, in_flight) - 1
