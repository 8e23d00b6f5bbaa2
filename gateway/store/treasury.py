"""Keeps budgets for all gateways that share a store, and for this one alone while the store is away.

Alone, a gateway spends no more of what was left when the store last told it than its own part, one of as many as there are
gateways; of an account of which it never heard, its part of the whole. What it has spent meanwhile, and what it could not settle,
it tells the store when that is back: also of grants whose answer never came, and of settlements that nobody has confirmed, for
the store does each once. What a gateway that is killed had reserved stays so until the period is over: budgets err on the side
of spending less.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable, Sequence
from itertools import count

from msgspec.structs import replace

from backends.promise import Promise
from gateway.store import budget_scripts, scripts
from gateway.store.budget_scripts import AFTER, PREFIX
from gateway.store.connection import Connection, Word, packed
from gateway.store.link import Link
from gateway.store.meter import AWAY, Observer
from gateway.store.trouble import StoreError
from routing.budgets import MOST, Accounts, Grant, Want

ANSWER_SECONDS = 0.25  # longer than limits wait: who decides alone about money may spend what another spends, too
_AGAIN = frozenset({"late", "closed", "forgotten"})  # what it refuses for another reason it would refuse each time
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
        self._owed: dict[str, tuple[Want, float]] = {}  # by account: what was spent of it alone
        self._unsettled: dict[str, tuple[Sequence[Want], Sequence[float]]] = {}  # by the grant's name: what it has used
        self._names = map(f"{secrets.token_hex(6)}.{{}}".format, count())
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
        if grant.name:
            self._settle(connection, grant.name, wants, used)
        elif connection is not None:
            connection.send(self._settlement("", wants, used), connection.heard)
        else:
            self._alone.settle(wants, grant, used, self._wall())
            self._owe(wants, used)

    def _settle(self, connection: Connection | None, name: str, wants: Sequence[Want], used: Sequence[float]) -> None:
        """At once, or when the store is back; and again, if nobody says whether it was done."""
        if connection is None:
            if len(self._unsettled) < MOST:
                self._unsettled[name] = (wants, used)
            return

        def heard(answer: object) -> None:
            if isinstance(answer, StoreError) and answer.reason in _AGAIN:
                self._settle(None, name, wants, used)
            connection.heard(answer)

        connection.send(self._settlement(name, wants, used), heard)

    async def _ask(self, connection: Connection, wants: Sequence[Want]) -> Grant:
        asked = time.monotonic()
        promise: Promise[Grant] = Promise(asyncio.get_running_loop())
        given: Grant | None = None
        name = next(self._names)

        def answered(answer: object) -> None:
            nonlocal given
            found = self._judged(connection, (name, wants), answer, time.monotonic() - asked)
            if not promise.done():
                given = found
                promise.set_result(found)
            elif found.refused is None:
                self.settle(wants, found, (0.0,) * len(wants))  # nobody waited for it

        words: list[Word] = []
        for want in wants:
            words += (want.least, want.bound, want.most, want.amount, self._keep(want))
        connection.send(packed("EVALSHA", _TAKE, len(wants), *map(_stored, wants), *words, name), answered)
        try:
            return await promise
        except asyncio.CancelledError:
            if given is not None and given.refused is None:  # the answer and the cancellation came in the same turn
                self.settle(wants, given, (0.0,) * len(wants))
            raise

    def _judged(self, connection: Connection, asked: tuple[str, Sequence[Want]], answer: object, seconds: float) -> Grant:
        """What the store says, or what is decided here because it does not."""
        name, wants = asked
        try:
            if isinstance(answer, StoreError):
                raise answer
            found = budget_scripts.grant(answer, wants)
        except StoreError as error:
            self._observer.stored(error.reason, seconds)
            self._settle(None, name, wants, (0.0,) * len(wants))  # it may have been granted
            connection.fail(error)
            return self._take_alone(wants)
        self._observer.stored("ok", seconds)
        if len(self._left) >= MOST:
            self._left.clear()
        self._left.update({want.key: (left, want.ends) for want, left in zip(wants, found.left, strict=True)})
        return replace(found, name=name)

    def _take_alone(self, wants: Sequence[Want]) -> Grant:
        """Within this gateway's part of what was left."""
        parts = max(1, self._gateways())
        own = [replace(want, amount=self._left.get(want.key, (want.amount, 0.0))[0] / parts) for want in wants]
        return self._alone.take(own, self._wall())

    def _owe(self, wants: Sequence[Want], used: Sequence[float]) -> None:
        for want, spent in zip(wants, used, strict=True):
            if want.key in self._owed or len(self._owed) < MOST:
                self._owed[want.key] = (want, self._owed.get(want.key, (want, 0.0))[1] + spent)

    def _settlement(self, name: str, wants: Sequence[Want], used: Sequence[float]) -> bytes:
        words: list[Word] = []
        for want, spent in zip(wants, used, strict=True):
            words += (spent, self._keep(want))
        return packed("EVALSHA", _SETTLE, len(wants), *map(_stored, wants), *words, name)

    def _keep(self, want: Want) -> int:
        """Milliseconds."""
        return int(1000 * (max(0.0, want.ends - self._wall()) + AFTER))

    async def _greet(self, connection: Connection) -> None:
        """Teaches it the scripts, and settles what could not be meanwhile. Raises StoreError."""
        for script in (budget_scripts.TAKE, budget_scripts.SETTLE):
            await connection.ask("SCRIPT", "LOAD", script)
        await connection.ask("EVALSHA", _SETTLE, 1, PREFIX + "nobody", 0, 1, "")  # who may not write is of no use
        self._alone = Accounts()  # what comes of it from now on is settled with the store
        self._left.clear()
        owed, self._owed = list(self._owed.values()), {}
        for want, spent in owed:
            connection.send(self._settlement("", (want,), (spent,)), connection.heard)
        unsettled, self._unsettled = list(self._unsettled.items()), {}
        for name, (wants, used) in unsettled:
            self._settle(connection, name, wants, used)


def _stored(want: Want) -> str:
    """The account's name in the store: no tenant's or subject's own words stand there."""
    return PREFIX + scripts.stored(want.key).removeprefix(scripts.PREFIX)
