"""Keeps answers on two levels: this process's memory, and behind it the store, which all replicas share.

A question that finds everything fresh in memory never learns that there is a second level. For the others one trip asks for what
is missing, and what comes lies in memory from then on. Whatever the store does costs a question its time limit at most, once: it
is never an error, only nothing found. A store that refuses to write is still read.

All that replicas must agree on they agree on before anything is asked over a connection, and again every half second: the secret
of the keys, and the purges (orders.py). Moments in the store are times left: each reader counts them from its own clock's now.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable, Generator, Sequence
from contextlib import suppress
from typing import Any, Protocol

from backends.promise import Promise
from gateway.store import answer_scripts, same, written
from gateway.store.connection import Answered, Connection, packed
from gateway.store.link import Link
from gateway.store.meter import AWAY
from gateway.store.orders import Orders
from gateway.store.same import Same
from gateway.store.scripts import digest
from gateway.store.trouble import StoreError, refused
from policies.call import Kept
from policies.keeping import Around
from policies.local_store import LocalStore
from routing.cache.caching import Purge
from routing.cache.key import Keys

AGREE_SECONDS = 0.5  # a purge is heard of within a second
PAUSE_SECONDS = 1.0  # without writing, after the store has refused it
SAY_AGAIN = 60.0
LOOK_SECONDS = 10.0  # between connections to a store that is a replica
ASIDE = 128 << 10  # bytes of answers from which on a thread of its own packs them, or unpacks them: 0.3 ms on the loop
AT_ONCE = 64  # answers, before others have a turn: each takes some 10 µs
MOST_SENDING = 4 << 20  # bytes that the store has not taken in yet: more would make it late, and everybody wait

_FIND, _AGREE = digest(answer_scripts.FIND), digest(answer_scripts.AGREE)
_log = logging.getLogger(__name__)


class Observer(Protocol):
    """Who is told how it went; metrics are one."""

    def stored(self, outcome: str, seconds: float) -> None:
        """One question to the store: `ok`, a word of trouble.ADVICE, or `away`: it was not asked."""
        ...

    def shared(self, outcome: str, count: int) -> None:
        """So many answers were `found` there or `missing`, `refused` because they cannot be trusted, `sent` there, or `left`."""
        ...


class SharedAnswers:
    """Implements policies.keeping.Store: `near` in front of what is at the end of the link.

    The secret of `keys` becomes the one that all replicas have.
    """

    def __init__(self, link: Link, near: LocalStore, keys: Keys, observer: Observer, around: Around) -> None:
        self._link = link
        self._near = near
        self._keys = keys
        self.nearest = near.nearest  # of what is kept here; the store is not asked, nor is it counted
        self._observer = observer
        self._clock, self._spawn = around.clock, around.spawn
        self._orders = Orders()
        self._asked_again = same.Around(link, near, self._orders, observer, around.clock)
        self._news = asyncio.Event()  # there is something to agree on
        self._sending = 0
        self._aside: set[asyncio.Future[None]] = set()  # answers that are being packed
        self._looking: dict[tuple[bytes, ...], list[Promise[list[Kept | None] | None]]] = {}  # who waits for the same answers
        self._paused = float("-inf")  # until then nothing is written
        self._said: dict[str, float] = {}
        self._looked = float("-inf")
        link.greets.append(self._greet)

    @property
    def generation(self) -> bytes:
        """Another after each purge, and the same at replicas that have heard of the same purges."""
        return self._orders.generation

    def find(self, keys: Sequence[bytes]) -> Sequence[Kept | None] | Awaitable[Sequence[Kept | None]]:
        """What is kept under each key: at once if all of it is fresh here, or the store is away."""
        near, now = self._near.find(keys), self._clock()
        for each in near:
            if each is None or each.until <= now:
                break
        else:
            return near
        connection = self._link.connection
        if connection is None:
            self._observer.stored(AWAY, 0.0)
            return near
        return _Further(self, connection, keys, near)

    def same(self, kept: Kept, generation: bytes) -> Same | None:
        """How to ask once more for what was found in that generation, if it came from the store and lies nowhere nearer."""
        if not kept.seal or generation != self.generation or self._near.nearest(kept.key) is not None:
            return None
        return Same(kept, self._asked_again)

    def keep(self, several: Sequence[Kept], ends: float) -> bool:
        """Takes them in here and sends them there; whether there is room for them here or there."""
        near = self._near.keep(several, ends)
        size = sum([kept.size for kept in several])
        if self._link.connection is None or self._clock() < self._paused or self._sending + size > MOST_SENDING:
            self._observer.shared("left", len(several))
            return near
        if size <= ASIDE and len(several) <= AT_ONCE:
            return self._send(several, ends, self._packed(several, ends)) or near
        self._sending += size
        over = asyncio.get_running_loop().create_future()
        with suppress(RuntimeError):  # there is too much to do in the background already
            self._spawn(self._send_aside(several, ends, size, over), "answers to the store")
            self._aside.add(over)
            return True
        self._sending -= size
        return near

    def after(self, then: Callable[[], None]) -> None:
        """Calls it when all that has been kept so far is on its way; nearly always that is at once."""
        if self._aside:
            asyncio.gather(*self._aside).add_done_callback(lambda _: then())
        else:
            then()

    def purge(self, which: Purge, now: float, order: str = "") -> None:
        """From now on nothing is found that was asked before and is meant here; soon at no replica. `order` names it once."""
        self._near.purge(which, now)
        self._orders.order(which, order or secrets.token_hex(8))
        self._news.set()

    async def told(self) -> bool:
        """Whether the store knows of all purges that were ordered here, so that other replicas hear of them within a second."""
        connection = self._link.connection
        if connection is not None and self._orders.pending:
            with suppress(StoreError):
                await self._agree(connection)
        return not self._orders.pending

    async def renew(self) -> None:
        """Agrees with the others every half second, and whenever there is news; until cancelled."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(AGREE_SECONDS):
                    await self._news.wait()
            self._news.clear()
            connection = self._link.connection
            if connection is not None:
                with suppress(StoreError):  # told by the link
                    await self._agree(connection)

    async def further(self, connection: Connection, keys: Sequence[bytes], near: Sequence[Kept | None]) -> list[Kept | None]:
        """What is near, and of what is missing or stale there what the store has. Never raises.

        Equal questions that come together look once; should whoever looks leave, another does.
        """
        asked = self._clock()
        missing = [place for place, each in enumerate(near) if each is None or each.until <= asked]
        wanted = (self.generation, *[keys[place] for place in missing])  # who comes after a purge looks again
        while (waiting := self._looking.get(wanted)) is not None:
            promise: Promise[list[Kept | None] | None] = Promise(asyncio.get_running_loop())
            waiting.append(promise)
            there = await promise
            if there is not None:
                found = list(near)
                for place, each in zip(missing, there, strict=True):
                    found[place] = each
                return found
        waiting = self._looking[wanted] = []
        there = None
        try:
            found = await self._look(connection, keys, near, missing)
            there = [found[place] for place in missing]
            return found
        finally:
            del self._looking[wanted]
            for promise in waiting:
                if not promise.done():
                    promise.set_result(there)

    async def _look(
        self, connection: Connection, keys: Sequence[bytes], near: Sequence[Kept | None], missing: Sequence[int]
    ) -> list[Kept | None]:
        found, asked = list(near), self._clock()
        names = [answer_scripts.stored(keys[place]) for place in missing]
        bounds = (self._link.most, answer_scripts.MOST_FOUND)
        try:
            answer = await connection.ask("EVALSHA", _FIND, 1 + len(names), answer_scripts.STATE, *names, *bounds)
            stamp, values = answer_scripts.found(answer, len(names))
            number = answer_scripts.numbered(stamp)
        except StoreError as error:
            self._observer.stored(error.reason, self._clock() - asked)
            connection.fail(error)
            return self._since(found, missing, keys)
        self._observer.stored("ok", self._clock() - asked)
        least = 0
        if stamp != self._orders.stamp:
            self._news.set()
            least = number  # of a purge; until it is known which, only what was asked after it counts
        bodies = await self._read([(keys[missing[place]], value) for place, value, _ in values])
        taken = 0
        for (place, value, left), body in zip(values, bodies, strict=True):
            if body is not None and left > 0 and body.generation >= least:
                ends = asked + left / 1000
                kept = body.kept(keys[missing[place]], self._clock(), ends - body.stale, written.seal(value))
                taken += self._take(found, missing[place], kept, (body.generation, ends))
            if place % AT_ONCE == AT_ONCE - 1:
                await asyncio.sleep(0)
        self._count(found=taken, missing=len(missing) - len(values), refused=len(values) - taken)
        return self._since(found, missing, keys)

    def _since(self, found: list[Kept | None], missing: Sequence[int], keys: Sequence[bytes]) -> list[Kept | None]:
        """With what came to lie here while the store was asked: else it would be asked for once more."""
        for place in missing:
            if found[place] is None:
                (found[place],) = self._near.find((keys[place],))
        return found

    def _take(self, found: list[Kept | None], place: int, kept: Kept, of: tuple[int, float]) -> bool:
        """Whether it is what was looked for; it lies here from now on, unless there is something better. `of`: number and end."""
        number, ends = of
        before = found[place]
        if self._orders.gone(kept, number):
            return False
        if before is None or before.until < kept.until:
            found[place] = kept
            self._near.keep((kept,), ends)
        return True

    async def _read(self, values: Sequence[tuple[bytes, bytes]]) -> list[written.Body | None]:
        """What is written in each value, by its key."""
        secret = self._keys.secret

        def read() -> list[written.Body | None]:
            return [written.read(value, key, secret) for key, value in values]

        if sum([written.work(value) for _, value in values]) > ASIDE:
            return await asyncio.to_thread(read)
        return read()

    def _packed(self, several: Sequence[Kept], ends: float) -> list[bytes | None]:
        secret, known_at = self._keys.secret, self._orders.known_at
        return [written.written(kept, ends, known_at(kept.asked), secret) for kept in several]

    async def _send_aside(self, several: Sequence[Kept], ends: float, size: int, over: asyncio.Future[None]) -> None:
        try:
            try:
                values = await asyncio.to_thread(self._packed, several, ends)
            finally:
                self._sending -= size
            for start in range(0, len(several), AT_ONCE):
                stop = start + AT_ONCE
                self._send(several[start:stop], ends, values[start:stop])
                await asyncio.sleep(0)
        finally:
            self._aside.discard(over)
            over.set_result(None)

    def _send(self, several: Sequence[Kept], ends: float, values: Sequence[bytes | None]) -> bool:
        """Whether all of them are on their way."""
        connection, sent = self._link.connection, 0
        left = int(1000 * (ends - self._clock()))
        if connection is not None and left > 0:
            for kept, value in zip(several, values, strict=True):
                if value is not None and len(value) <= self._link.most:
                    sent += 1
                    self._sending += len(value)
                    command = packed("SET", answer_scripts.stored(kept.key), value, "PX", left)
                    connection.send(command, self._taken(connection, len(value)))
        self._count(sent=sent, left=len(several) - sent)
        return sent == len(several)

    def _taken(self, connection: Connection, size: int) -> Answered:
        def answered(answer: object) -> None:
            self._sending -= size
            if isinstance(answer, StoreError) and not connection.over:
                self._refused(answer)

        return answered

    def _refused(self, error: StoreError) -> None:
        """Redis lives and takes no writes; what is there is found all the same."""
        now = self._clock()
        self._observer.stored(error.reason, 0.0)
        self._paused = now + PAUSE_SECONDS
        if now - self._said.get(error.reason, float("-inf")) >= SAY_AGAIN:
            self._said[error.reason] = now
            _log.warning("the store takes no answers; those that it has are found: %s", error)
        if error.reason == "read-only" and now - self._looked >= LOOK_SECONDS:
            self._looked = now  # for who is at its address: after a failover another is
            with suppress(RuntimeError):
                self._spawn(self._link.again(), "another connection to the store")

    def _count(self, **outcomes: int) -> None:
        for outcome, count in outcomes.items():
            if count:
                self._observer.shared(outcome, count)

    async def _greet(self, connection: Connection) -> None:
        """Teaches it the scripts, and agrees: nothing is asked before it knows the purges ordered here. Raises StoreError."""
        for script in (answer_scripts.FIND, answer_scripts.SAME, answer_scripts.AGREE):
            await connection.ask("SCRIPT", "LOAD", script)
        await self._agree(connection)
        if self._orders.pending:  # it had forgotten some
            await self._agree(connection)

    async def _agree(self, connection: Connection) -> None:
        """Tells and hears what all replicas must know. Raises StoreError, and then the connection has ended."""
        try:
            purges = answer_scripts.words(self._orders.pending)
            state = (answer_scripts.STATE, self._keys.secret, self._orders.stamp)
            agreed = answer_scripts.agreed(await connection.ask("EVALSHA", _AGREE, 1, *state, *purges))
        except StoreError as error:
            connection.fail(error)
            raise
        now = self._clock()
        for which in self._orders.learn(agreed, now):
            self._near.purge(which, now)
        if agreed.secret and agreed.secret != self._keys.secret:  # keys lean on it being the same object while it is the same
            self._keys.secret = agreed.secret
        if agreed.refused:
            self._refused(refused(agreed.refused))


class _Further:
    """Asks the store when it is awaited, and not before: whoever only wants what is near need not wait."""

    __slots__ = ("_answers", "_connection", "_keys", "_near")

    def __init__(
        self, answers: SharedAnswers, connection: Connection, keys: Sequence[bytes], near: Sequence[Kept | None]
    ) -> None:
        self._answers = answers
        self._connection = connection
        self._keys = keys
        self._near = near

    def __await__(self) -> Generator[Any, None, list[Kept | None]]:
        return self._answers.further(self._connection, self._keys, self._near).__await__()
