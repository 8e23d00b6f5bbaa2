"""The purges that hold for all replicas: which answers of the store they are about, and which the store does not know yet.

    ordered here --> pending --the store has it--> numbered        heard of from the store --> numbered
    numbered --the store has lost it (flushed, failed over)--> pending

Numbers count up in the store. An answer says how far they had come, as its gateway knew, when it was asked; so what a purge is
about is gone if its own number is smaller, on whatever machine and whenever it was written. A pending one is about all there is.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping

from gateway.store.answer_scripts import MOST_PURGES, Agreed, numbered
from policies.call import Kept
from policies.local_store import meant
from routing.cache.caching import Purge

MOST_MOMENTS = 1024  # that are remembered: what was asked before them counts as asked before everything
PENDING = 1 << 62


class Orders:
    """What one gateway knows. Moments are its own clock's."""

    def __init__(self) -> None:
        self.stamp = b""  # as the store last said
        self.number = 0
        self._purges: dict[Purge, tuple[int, str]] = {}
        self._newest = 0
        self._moments: list[float] = []  # from which on a number was known
        self._numbers: list[int] = []
        self._count = 0

    @property
    def pending(self) -> Mapping[Purge, str]:
        """Those that the store does not know, and their orders."""
        return {which: order for which, (number, order) in self._purges.items() if number == PENDING}

    @property
    def generation(self) -> bytes:
        """Another after each purge; the same at all gateways that know the same of the store."""
        return self.stamp if self._newest < PENDING else self.stamp + b" %d" % self._count

    def order(self, which: Purge, name: str) -> None:
        """Throws away, at all replicas, what was asked before now. The same name twice is one order."""
        if self._purges.get(which, (0, ""))[1] == name:
            return
        if which not in self._purges and len(self._purges) >= MOST_PURGES:
            self._purges, which = {}, Purge()
        self._count += 1
        self._purges[which] = (PENDING, name)
        self._newest = PENDING

    def learn(self, agreed: Agreed, now: float) -> list[Purge]:
        """What the store says; those of its purges that are new here."""
        news: list[Purge] = []
        if agreed.purges is not None:
            news = self._merge(agreed.purges)
        self.stamp = agreed.stamp
        number = numbered(agreed.stamp)
        if number != self.number or not self._moments:
            self.number = number
            self._moments.append(now)
            self._numbers.append(number)
            del self._moments[:-MOST_MOMENTS], self._numbers[:-MOST_MOMENTS]
        return news

    def known_at(self, asked: float) -> int:
        """The number that was known when something was asked."""
        place = bisect_left(self._moments, asked)
        return self._numbers[place - 1] if place else 0

    def gone(self, kept: Kept, number: int) -> bool:
        """Whether an answer that was asked at this number is thrown away."""
        if number >= self._newest:
            return False
        return any(number < at and meant(which, kept) for which, (at, _) in self._purges.items())

    def _merge(self, there: Mapping[Purge, tuple[int, str]]) -> list[Purge]:
        news = []
        everything = there.get(Purge(), (0, ""))[0]
        for which, (number, _) in list(self._purges.items()):
            if which not in there and number <= everything:
                del self._purges[which]
            elif which not in there:
                self._order_again(which)
        for which, (number, order) in there.items():
            known = self._purges.get(which)
            if known is None or known[1] != order:
                news.append(which)
            if known is None or known[1] == order or known[0] < number:
                self._purges[which] = (number, order)
            else:  # the store has an earlier one of the kind: it went back to before the one that is known here
                self._order_again(which)
        self._newest = max((number for number, _ in self._purges.values()), default=0)
        return news

    def _order_again(self, which: Purge) -> None:
        number, order = self._purges[which]
        if number != PENDING:
            self._count += 1  # else the generation of an earlier time with this stamp would come back
            self._purges[which] = (PENDING, order)
