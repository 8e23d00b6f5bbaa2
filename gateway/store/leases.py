"""Leases in the store: of equal questions that several gateways are asked at once, one gateway asks.

    (none) --take--> held by one --renewed every RENEW_SECONDS--> held by one
    held --its flight landed--> landed, for LANDED_MS: who comes or waits then looks for the answer --> (none)
    held --its flight was given up--> (none)      held --its gateway is dead or hangs, for HOLD_MS--> (none)

A lease is a key that expires; its value is a word that only its holder knows, so nobody renews or releases another's. Who waits
asks again and again, because a message that tells him could be lost with whoever was to send it. Answers are written over the
same connection before the lease is released, so whoever sees the one finds the other.
"""

from __future__ import annotations

import asyncio
import random
import secrets
from collections.abc import Callable
from time import monotonic
from typing import Literal

from backends.promise import Promise
from gateway.store.connection import Connection, Word, packed
from gateway.store.link import Link
from gateway.store.trouble import StoreError

PREFIX = "penstock:{lease}:"
HOLD_MS = 150  # with the longest pause and a round trip, a dead gateway is replaced within 200 ms
RENEW_SECONDS = 0.05
LANDED_MS = 500  # long enough for whoever looked for an answer just before it was written, and takes a lease just after
FIRST_PAUSE, LONGEST_PAUSE = 0.005, 0.025
REFUSED_SECONDS = 1.0  # a store that is full or read-only is left alone for so long: each flight would lose a round trip

_FLYING, _LANDED, _TAKEN = 0, 1, 2
# KEYS: the lease. ARGV: the word of whoever would have it, for how many ms, and for how many ms any can last: one that would
# last longer is nobody's. Redis's clock is the wall's, which may have been set back; nobody shall wait for that.
_TAKE = f"""
local held = redis.call('GET', KEYS[1])
local left = held and redis.call('PTTL', KEYS[1]) or 0
if left > 0 and left <= tonumber(ARGV[3]) then return held == '' and {_LANDED} or {_FLYING} end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return {_TAKEN}
"""
# ARGV: ms, then the word for each key.
_RENEW = "for i, key in ipairs(KEYS) do if redis.call('GET', key) == ARGV[i + 1] then redis.call('PEXPIRE', key, ARGV[1]) end end"
# ARGV: the word, and for how many ms others shall see that it has landed; 0: it has not.
_RELEASE = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return end
if ARGV[2] == '0' then redis.call('PEXPIRE', KEYS[1], 0) else redis.call('SET', KEYS[1], '', 'PX', ARGV[2]) end
"""


class StoreLease:
    """One lease that was taken, or is being taken."""

    __slots__ = ("_leases", "key", "word")

    def __init__(self, leases: StoreLeases, key: str, word: bytes) -> None:
        self._leases = leases
        self.key = key
        self.word = word

    def release(self, landed: bool) -> None:
        """Ends it, unless it has passed to another already."""
        self._leases.release(self, landed)


class StoreLeases:
    """Implements policies.coalesce.Leases over the link that also carries the answers."""

    def __init__(
        self,
        link: Link,
        clock: Callable[[], float] = monotonic,
        chance: Callable[[], float] = random.random,
        hold: int = HOLD_MS,
        landed: int = LANDED_MS,
    ) -> None:
        self._link = link
        self._clock = clock
        self._chance = chance
        self._hold = hold
        self._landed = landed
        self._name = secrets.token_bytes(8)  # of this gateway
        self._count = 0
        self._held: set[StoreLease] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._off_until = float("-inf")
        self.sent: Callable[[Callable[[], None]], None] = _at_once  # set by whoever sends answers, if that takes a while

    @property
    def held(self) -> int:
        """How many leases this gateway has."""
        return len(self._held)

    async def take(self, key: bytes, until: float) -> StoreLease | Literal["landed"] | None:
        """As the protocol says. A store that is away, hung or refuses makes everybody ask alone."""
        pause = FIRST_PAUSE
        while True:
            answer = await self._ask(key)
            if answer != _FLYING:
                return "landed" if answer == _LANDED else answer if isinstance(answer, StoreLease) else None
            left = until - self._clock()
            if left <= 0:
                return None
            await asyncio.sleep(min(left, pause * (1 + self._chance()) / 2))
            pause = min(1.5 * pause, LONGEST_PAUSE)

    def release(self, lease: StoreLease, landed: bool) -> None:
        """Ends it, after all that was to be kept has been sent. Where the store is away it ends by itself."""
        if landed:
            self.sent(lambda: self._end(lease, self._landed))
        else:
            self._end(lease, 0)

    def _end(self, lease: StoreLease, landed: int) -> None:
        self._held.discard(lease)
        connection = self._link.connection
        if connection is not None:
            connection.send(packed("EVAL", _RELEASE, 1, lease.key, lease.word, landed), _unheard)

    async def _ask(self, key: bytes) -> StoreLease | int | None:
        """A lease, or what is known of another's; None where nobody can say. Cancelled, it gives back what still comes."""
        connection = self._link.connection
        if connection is None or self._clock() < self._off_until:
            return None
        self._count += 1
        lease = StoreLease(self, PREFIX + key.hex(), self._name + self._count.to_bytes(8, "little"))
        promise: Promise[StoreLease | int | None] = Promise(asyncio.get_running_loop())
        given: StoreLease | int | None = None

        def answered(answer: object) -> None:
            nonlocal given
            found = self._judged(connection, lease, answer)
            if not promise.done():
                given = found
                promise.set_result(found)
            elif isinstance(found, StoreLease):
                found.release(False)

        connection.send(packed("EVAL", _TAKE, 1, lease.key, lease.word, self._hold, max(self._hold, self._landed)), answered)
        try:
            return await promise
        except asyncio.CancelledError:
            if isinstance(given, StoreLease):  # the answer and the cancellation came in the same turn
                given.release(False)
            raise

    def _judged(self, connection: Connection, lease: StoreLease, answer: object) -> StoreLease | int | None:
        if answer == _TAKEN:
            self._held.add(lease)
            if self._timer is None:
                self._timer = asyncio.get_running_loop().call_later(RENEW_SECONDS, self._renew)
            return lease
        if answer in (_FLYING, _LANDED):
            return int(answer == _LANDED)
        if not isinstance(answer, StoreError):
            connection.fail(StoreError("garbled", "it answers something else than was asked"))
        elif not connection.over:
            self._off_until = self._clock() + REFUSED_SECONDS
        return None

    def _renew(self) -> None:
        self._timer = None
        if not self._held:
            return
        self._timer = asyncio.get_running_loop().call_later(RENEW_SECONDS, self._renew)
        connection, held = self._link.connection, list(self._held)
        if connection is not None:
            words: list[Word] = [*[lease.key for lease in held], self._hold, *[lease.word for lease in held]]
            connection.send(packed("EVAL", _RENEW, len(held), *words), _unheard)


def _at_once(then: Callable[[], None]) -> None:
    then()


def _unheard(_: object) -> None:
    """A lease that could not be renewed or released ends by itself."""
