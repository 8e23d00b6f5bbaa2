"""The state of every limit in one process: how full each bucket is, and how many requests of each are in flight.

A pure object that is told the time. Bounded whatever principals come: a count that is back at 0 is forgotten, so there are no
more of these than requests in flight. Of buckets those unused for long make room for a new one: what has leaked empty among the
`LOOKS` oldest, which is the same as never used, or else the oldest. Whoever asks on keeps his bucket, and no request pays for
the whole table.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence

from routing.demand import COME_BACK, Demand, Level, Verdict, verdict
from routing.gcra import left, wait

MOST = 65_536  # buckets: about 15 MB
LOOKS = 8


class Buckets:
    """Takes demands all or nothing."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._tats: OrderedDict[str, float] = OrderedDict()
        self._counts: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._tats) + len(self._counts)

    @property
    def counts(self) -> Mapping[str, int]:
        """How many requests of each key are in flight."""
        return self._counts

    def take(self, demands: Sequence[Demand], now: float) -> Verdict:
        """Everything that the request demands, or nothing. `now` in seconds, never less than before."""
        if len(demands) == 1 and demands[0].rate:
            return self.pour(demands[0], now)
        tats: list[float] = []
        levels: list[Level] = []
        for demand in demands:
            tat = self._tats.get(demand.key, now)
            levels.append(_level(demand, tat, now) if demand.rate else self._free(demand))
            tats.append(tat if tat > now else now)
        found = verdict(demands, levels)
        if found.limited is None:
            for demand, tat in zip(demands, tats, strict=True):
                if demand.rate:
                    self._keep(demand.key, tat + demand.cost / demand.rate, now)
                else:
                    self._counts[demand.key] = self._counts.get(demand.key, 0) + 1
        else:
            for demand in demands:
                if demand.key in self._tats:
                    self._tats.move_to_end(demand.key)
        return found

    def pour(self, demand: Demand, now: float) -> Verdict:
        """As take, of one with a rate, as most requests demand: no lists."""
        key, cost, interval, burst, tats = demand.key, demand.cost, 1 / demand.rate, demand.burst, self._tats
        tat = tats.get(key)
        if tat is None:
            tat = now
            self._room(now)
        over = wait(tat, now, cost, interval, burst)
        if not over:
            tat = (tat if tat > now else now) + cost * interval
        tats[key] = tat
        tats.move_to_end(key)  # also of who is refused: he is not forgotten
        return Verdict(0 if over else None, over, left(tat, now, interval, burst), tat - now, 0)

    def note(self, demands: Sequence[Demand], now: float) -> None:
        """Takes what somebody else has let through already; a bucket is never owed more than it holds."""
        for demand in demands:
            if demand.kind == "concurrency":
                self._counts[demand.key] = self._counts.get(demand.key, 0) + 1
            else:
                tat = max(self._tats.get(demand.key, now), now) + demand.cost / demand.rate
                self._keep(demand.key, min(tat, now + demand.burst / demand.rate), now)

    def give_back(self, demands: Sequence[Demand]) -> None:
        """The request has ended: what it held at the same time as others is free. Its other costs stay paid."""
        for demand in demands:
            if demand.kind != "concurrency":
                continue
            count = self._counts.get(demand.key, 0) - 1
            if count > 0:
                self._counts[demand.key] = count
            else:
                self._counts.pop(demand.key, None)

    def _free(self, demand: Demand) -> Level:
        free = demand.burst - self._counts.get(demand.key, 0)
        return Level(0.0, free - 1, COME_BACK) if free > 0 else Level(COME_BACK, 0, COME_BACK)

    def _keep(self, key: str, tat: float, now: float) -> None:
        if key not in self._tats:
            self._room(now)
        self._tats[key] = tat
        self._tats.move_to_end(key)

    def _room(self, now: float) -> None:
        """Makes room where there is none: those of the longest unused that are empty go, or else the one unused for longest."""
        if len(self._tats) < self._most:
            return
        oldest = [key for key, _ in zip(self._tats, range(LOOKS), strict=False)]
        for key in [key for key in oldest if self._tats[key] <= now] or oldest[:1]:
            del self._tats[key]


def _level(demand: Demand, tat: float, now: float) -> Level:
    interval, burst = 1 / demand.rate, demand.burst
    over = wait(tat, now, demand.cost, interval, burst)
    if not over:
        tat = (tat if tat > now else now) + demand.cost * interval
    return Level(over, left(tat, now, interval, burst), tat - now)
