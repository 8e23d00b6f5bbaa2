"""Keeps budgets for all gateways that share a store, and for this one alone while the store is away.

Alone, a gateway spends no more of what was left when the store last told it than its own part, one of as many as there are
gateways; of an account of which it never heard, its part of the whole. What it has spent meanwhile, and what it could not settle,
it tells the store when that is back. Whatever is lost on the way (an answer that never came, a settlement on a broken
connection, a gateway that is killed) stays reserved until the period is over: all budgets err on the side of spending less.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence

from msgspec.structs import replace

from backends.promise import Promise
from gateway.store import budget_scripts, scripts
from gateway.store.budget_scripts import AFTER, PREFIX
from gateway.store.connection import Connection, Word, packed
from gateway.store.link import Link
from gateway.store.meter import AWAY, Observer
from gateway.store.trouble import StoreError
from routing.budgets import MOST, Accounts, Grant, Want

_TAKE, _SETTLE = (scripts.digest(each) for each in (budget_scripts.TAKE, budget_scripts.SETTLE))


class SharedTreasury:
    """Implements policies.budget.Treasury over the link. `gateways`: how many share the store now."""

    def __init__(
        self, link: Link, observer: Observer, gateways: Callable[[], int], wall: Callable[[], float] = time.time
    ) -> None:
        self._link = link
        self._observer = observer
        self._gateways = gateways
        self._wall = wall
        self._alone = Accounts()  # what this gateway took while the store was away
        self._left: dict[str, tuple[float, float]] = {}  # by account: what the store last said was left, and when it ends
        self._owed: dict[str, tuple[Want, float, float]] = {}  # by account: what to settle with it, granted and used
        link.greets.append(self._greet)

    def take(self, wants: Sequence[Want]) -> Grant | Awaitable[Grant]:
        """All of the wants or nothing; at once where the store is away, else within its limit of time."""
        connection = self._link.connection
        if connection is None:
            self._observer.stored(AWAY, 0.0)
            return self._take_alone(wants)
        return self._ask(connection, wants)

    def settle(self, wants: Sequence[Want], grant: Grant, used: Sequence[float]) -> None:
        """Of what was granted so much has been used."""
        connection = self._link.connection
        if grant.alone and connection is None:
            self._alone.settle(wants, grant, used, self._wall())
        amounts = (0.0,) * len(wants) if grant.alone else grant.amounts
        if connection is None:
            self._owe(wants, amounts, used)
        else:
            connection.send(self._settlement(wants, amounts, used), connection.heard)

    async def _ask(self, connection: Connection, wants: Sequence[Want]) -> Grant:
        asked = time.monotonic()
        promise: Promise[Grant] = Promise(asyncio.get_running_loop())
        given: Grant | None = None

        def answered(answer: object) -> None:
            nonlocal given
            found = self._judged(connection, wants, answer, time.monotonic() - asked)
            if not promise.done():
                given = found
                promise.set_result(found)
            elif found.refused is None:
                self.settle(wants, found, (0.0,) * len(wants))  # nobody waited for it

        words: list[Word] = []
        for want in wants:
            words += (want.least, want.most, want.amount, self._keep(want))
        connection.send(packed("EVALSHA", _TAKE, len(wants), *map(_stored, wants), *words), answered)
        try:
            return await promise
        except asyncio.CancelledError:
            if given is not None and given.refused is None:  # the answer and the cancellation came in the same turn
                self.settle(wants, given, (0.0,) * len(wants))
            raise

    def _judged(self, connection: Connection, wants: Sequence[Want], answer: object, seconds: float) -> Grant:
        """What the store says, or what is decided here because it does not."""
        try:
            if isinstance(answer, StoreError):
                raise answer
            found = budget_scripts.grant(answer, wants)
        except StoreError as error:
            self._observer.stored(error.reason, seconds)
            connection.fail(error)
            return self._take_alone(wants)
        self._observer.stored("ok", seconds)
        if len(self._left) >= MOST:
            self._left.clear()
        self._left.update({want.key: (left, want.ends) for want, left in zip(wants, found.left, strict=True)})
        return found

    def _take_alone(self, wants: Sequence[Want]) -> Grant:
        """Within this gateway's part of what was left."""
        parts = max(1, self._gateways())
        own = [replace(want, amount=self._left.get(want.key, (want.amount, 0.0))[0] / parts) for want in wants]
        return replace(self._alone.take(own, self._wall()), alone=True)

    def _owe(self, wants: Sequence[Want], amounts: Sequence[float], used: Sequence[float]) -> None:
        for want, amount, spent in zip(wants, amounts, used, strict=True):
            if want.key in self._owed or len(self._owed) < MOST:
                _, before, owed = self._owed.get(want.key, (want, 0.0, 0.0))
                self._owed[want.key] = (want, before + amount, owed + spent)

    def _settlement(self, wants: Sequence[Want], amounts: Sequence[float], used: Sequence[float]) -> bytes:
        words: list[Word] = []
        for want, amount, spent in zip(wants, amounts, used, strict=True):
            words += (amount, spent, self._keep(want))
        return packed("EVALSHA", _SETTLE, len(wants), *map(_stored, wants), *words)

    def _keep(self, want: Want) -> int:
        """Milliseconds."""
        return int(1000 * (max(0.0, want.ends - self._wall()) + AFTER))

    async def _greet(self, connection: Connection) -> None:
        """Teaches it the scripts, and settles what could not be meanwhile. Raises StoreError."""
        for script in (budget_scripts.TAKE, budget_scripts.SETTLE):
            await connection.ask("SCRIPT", "LOAD", script)
        self._alone = Accounts()  # what comes of it from now on is settled with the store
        self._left.clear()
        owed, self._owed = list(self._owed.values()), {}
        for want, amount, spent in owed:
            connection.send(self._settlement((want,), (amount,), (spent,)), connection.heard)


def _stored(want: Want) -> str:
    """The account's name in the store: no tenant's or subject's own words stand there."""
    return PREFIX + scripts.stored(want.key).removeprefix(scripts.PREFIX)
