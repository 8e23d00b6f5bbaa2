"""Counts limits for all gateways that share a store, and for this one alone while the store is away.

What the store lets through is noted here as well. So when it goes away, each gateway goes on from buckets as full as its own
share of the traffic made them, and knows how many requests it has in flight; when it comes back, it is told that number. A
gateway counts its permits in the store under a name of one connection: whatever became of a question that was never answered,
its permit is gone with that name.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from time import monotonic
from typing import Protocol

from backends.promise import Promise
from gateway.store import scripts
from gateway.store.connection import Connection, Word, packed
from gateway.store.link import Link
from gateway.store.trouble import StoreError
from routing.buckets import Buckets
from routing.demand import Demand, Verdict, verdict

RENEW_SECONDS = 1.0
TOUCH = 20  # renewals; what is in flight for longer than the store keeps it is named again
ALONE_IN_ALL = 2  # times a limit that all gateways together let through at most while each decides alone
AWAY = "away"

_TAKE, _GIVE_BACK, _RENEW = (scripts.digest(each) for each in (scripts.TAKE, scripts.GIVE_BACK, scripts.RENEW))


class Observer(Protocol):
    """Who is told how asking the store went; metrics are one."""

    def stored(self, outcome: str, seconds: float) -> None:
        """One question: `ok`, a word of trouble.ADVICE, or `away`: it was not asked."""
        ...


class SharedMeter:
    """Implements policies.limit.Meter over the link. `gateways`: how many decide alone where the store never said."""

    def __init__(self, link: Link, observer: Observer, gateways: int = 1, clock: Callable[[], float] = monotonic) -> None:
        self._link = link
        self._observer = observer
        self.gateways = gateways
        self._clock = clock
        self._buckets = Buckets()
        self._name = ""  # of the connection that counts
        self._next = secrets.token_hex(8)
        link.greets.append(self._greet)

    @property
    def in_flight(self) -> Mapping[str, int]:
        """What this gateway holds of concurrency, by key."""
        return self._buckets.counts

    def take(self, demands: Sequence[Demand]) -> Verdict | Awaitable[Verdict]:
        """All of the demands or none; at once where the store is away, else within its limit of time."""
        connection = self._link.connection
        if connection is None:
            self._observer.stored(AWAY, 0.0)
            return self._alone(demands)
        return self._ask(connection, demands)

    def give_back(self, demands: Sequence[Demand]) -> None:
        """Their request has ended."""
        self._buckets.give_back(demands)
        connection = self._link.connection
        keys = [scripts.stored(demand.key) for demand in demands if demand.kind == "concurrency"]
        if connection is not None and keys:
            connection.send(packed("EVALSHA", _GIVE_BACK, len(keys), *keys, self._name), connection.heard)

    async def renew(self) -> None:
        """Keeps the lease, until cancelled. A store that has forgotten it has lost more: the connection begins anew."""
        turn = 0
        while True:
            await asyncio.sleep(RENEW_SECONDS)
            connection, turn = self._link.connection, turn + 1
            if connection is None:
                continue
            try:
                if not await self._lease(connection, self._name, self._name):
                    connection.fail(StoreError("forgotten", "it has forgotten this gateway"))
            except StoreError:
                continue  # told by the link; the permits are named again when it is back
            if turn % TOUCH == 0 and connection is self._link.connection:
                for key in self.in_flight:
                    self._keep(connection, key, "PEXPIRE", scripts.KEPT_MS)

    async def _ask(self, connection: Connection, demands: Sequence[Demand]) -> Verdict:
        asked = self._clock()
        promise: Promise[Verdict] = Promise(asyncio.get_running_loop())
        given: Verdict | None = None

        def answered(answer: object) -> None:
            nonlocal given
            found = self._judged(connection, demands, answer, asked)
            if not promise.done():
                given = found
                promise.set_result(found)
            elif found.limited is None:
                self.give_back(demands)  # nobody waited for it

        connection.send(self._command(demands), answered)
        try:
            return await promise
        except asyncio.CancelledError:
            if given is not None and given.limited is None:  # the answer and the cancellation came in the same turn
                self.give_back(demands)
            raise

    def _command(self, demands: Sequence[Demand]) -> bytes:
        keys = [scripts.stored(demand.key) for demand in demands]
        words: list[Word] = [self._name]
        for demand in demands:
            words += (demand.kind, demand.cost, 1e6 / demand.rate if demand.rate else 0, demand.burst)
        return packed("EVALSHA", _TAKE, 1 + len(keys), scripts.LEASES, *keys, *words)

    def _judged(self, connection: Connection, demands: Sequence[Demand], answer: object, asked: float) -> Verdict:
        """What the store says, or what is decided here because it does not."""
        now = self._clock()
        try:
            if isinstance(answer, StoreError):
                raise answer
            found = verdict(demands, scripts.levels(answer, demands))
        except StoreError as error:
            self._observer.stored(error.reason, now - asked)
            connection.fail(error)
            return self._alone(demands)
        self._observer.stored("ok", now - asked)
        if found.limited is None:
            self._buckets.note(self._shared_out(demands), now)
        return found

    def _alone(self, demands: Sequence[Demand]) -> Verdict:
        return self._buckets.take(self._shared_out(demands), self._clock())

    def _shared_out(self, demands: Sequence[Demand]) -> Sequence[Demand]:
        """What of each limit is this gateway's while it decides alone: all of it for two gateways, half of it for four."""
        if self.gateways <= ALONE_IN_ALL:
            return demands
        return [each.part(self.gateways / ALONE_IN_ALL) for each in demands]

    async def _greet(self, connection: Connection) -> None:
        """Teaches it the scripts, takes a lease and names what is in flight. Raises StoreError."""
        for script in (scripts.TAKE, scripts.GIVE_BACK, scripts.RENEW):
            await connection.ask("SCRIPT", "LOAD", script)
        await self._lease(connection, self._next, self._name or "nobody")
        self._name, self._next = self._next, secrets.token_hex(8)
        for key, count in self.in_flight.items():  # in this turn of the loop: whatever comes or goes later is sent later
            self._keep(connection, key, "HSET", self._name, count)
            self._keep(connection, key, "PEXPIRE", scripts.KEPT_MS)

    async def _lease(self, connection: Connection, name: str, before: str) -> bool:
        """Whether the gateway of this name had one. Raises StoreError."""
        match await connection.ask("EVALSHA", _RENEW, 1, scripts.LEASES, name, before):
            case [int(had), int(alive)]:
                self.gateways = max(1, alive)
                return had == 1
        raise StoreError("garbled", "it answers something else than was asked")

    def _keep(self, connection: Connection, key: str, command: str, *words: Word) -> None:
        connection.send(packed(command, scripts.stored(key), *words), connection.heard)
