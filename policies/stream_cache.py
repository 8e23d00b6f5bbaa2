"""Keeps what was answered on a stream once all of it has come, and gives it again as a stream; never half of one.

    asking --an answer--> asking: it is passed on first, and noted then
    asking --the end--> kept    asking --an error, the deadline, the client leaves, too much to note--> nothing is kept

The key is that of the question with another kind: what is asked for one answer and what is asked for many are not the same.
Streams have no rows, and equal ones in flight are asked each for itself: who joins late would hear the beginning late.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import aclosing

import msgspec
from msgspec.structs import replace

from backends.deadline import Deadline
from backends.errors import InferenceError
from backends.inference import InferenceResponse
from policies.call import Answer, Cached, CacheStatus, Call, Kept, StreamAsk
from policies.keeping import (
    FAILURES,
    INLINE,
    Around,
    Renewals,
    Store,
    anonymous,
    as_planned,
    lasts,
    measured,
    plain,
    sized,
    unlooked,
    wished,
)
from routing.cache.caching import Caching
from routing.cache.key import Keys
from routing.cache.worth import Worth

MOST_ANSWERS = 4096  # of one stream: with more, or more bytes, nothing of it is kept
MOST_BYTES = 4 << 20
MOST_AT_ONCE = 64 << 20  # bytes that are noted of all streams under way; beyond, further ones are only passed on


class StreamCachePolicy:
    """Stands behind limit, so that hits count, and before the core of a stream. `told` hears of each question how it went."""

    def __init__(self, store: Store, keys: Keys, told: Callable[[str, str], None], around: Around) -> None:
        self._store = store
        self._keys = keys
        self._told = told
        self._around = around
        self._worth: dict[str, Worth] = {}
        self._renewals = Renewals(around.spawn)
        self._noted = 0  # bytes

    def __call__(self, call: Call, ask: StreamAsk) -> AsyncGenerator[Answer, None]:
        """All answers that are kept, or those from below as they come; the first says which. Plans without a cache pass."""
        caching = call.plan.cache
        if caching is None:
            return ask(call)
        start, wishes = self._around.clock(), wished(call)
        worth = self._worth.get(call.model) or self._worth.setdefault(call.model, Worth())
        past = unlooked(call.request, wishes, worth.on(start))
        if past is None and call.drawn:
            past, call = measured(call, self._around.chance)
        if past:
            return self._past(ask(call), call.model, past)
        search = _Search(call, ask, caching, worth, "request" if "no-cache" in wishes else "miss")
        return self._looked_up(search, start)

    async def _looked_up(self, search: _Search, start: float) -> AsyncGenerator[Answer, None]:
        call, caching = search.call, search.caching
        search.key = await asyncio.to_thread(self._key, call) if call.size > INLINE else self._key(call)
        kept = None if search.status == "request" else await self._find(search.key)
        now = self._around.clock()
        if search.status == "miss":
            search.worth.looked(now - start, now)
        if kept is not None and kept.until > now - caching.stale_while_revalidate:
            search.worth.saved(kept.seconds)
            if kept.until <= now:
                self._renew(search)
            for answer in self._again(call, kept, now):
                yield answer
            return
        given, generation = False, self._store.generation
        try:
            async with aclosing(self._past(self._asked(search), call.model, Cached(search.status))) as answers:
                async for answer in answers:
                    given = True
                    yield answer
            return
        except InferenceError as error:
            now = self._around.clock()
            if given or error.kind not in FAILURES or kept is None or kept.until <= now - caching.stale_if_error:
                raise
            if generation != self._store.generation:  # it may have been thrown away meanwhile
                raise
            reason = error.reason
            error.ended()
        for answer in self._again(call, kept, now, reason):
            yield answer

    async def _asked(self, search: _Search) -> AsyncGenerator[Answer, None]:
        """From below, with nothing of the client in the question; kept when the last has come."""
        call, asked, notes, served = search.call, self._around.clock(), _Notes(), self._keys.served(search.call.plan)
        below = replace(call, request=anonymous(call.request, call.request.payload.tensors()))
        try:
            async with aclosing(search.ask(below)) as answers:
                async for answer in answers:
                    yield answer
                    start, before = self._around.clock(), notes.size
                    notes.add(answer, MOST_AT_ONCE - self._noted)
                    self._noted += notes.size - before
                    search.worth.spent(self._around.clock() - start)
            if notes.last is not None and served == self._keys.served(call.plan) and as_planned(notes.last, call, served):
                self._keep(search, notes, asked)
        finally:
            self._noted -= notes.size

    async def _past(self, answers: AsyncGenerator[Answer, None], model: str, cached: Cached) -> AsyncGenerator[Answer, None]:
        """The same, and the first says what the cache had to do with them."""
        first = True
        async with aclosing(answers):
            async for answer in answers:
                if first:
                    self._told(model, cached.status)
                yield replace(answer, cached=cached) if first else answer
                first = False

    def _again(self, call: Call, kept: Kept, now: float, detail: str = "") -> Iterator[Answer]:
        cached = Cached("hit" if kept.until > now else "stale", kept.until - now, detail=detail)
        self._told(call.model, cached.status)
        yield Answer(kept.response, kept.shares, 0.0, 0.0, kept.escalation, cached=cached)
        for response in kept.more:
            yield Answer(response, kept.shares, 0.0, 0.0, kept.escalation)

    def _keep(self, search: _Search, notes: _Notes, asked: float) -> None:
        caching, now = search.caching, self._around.clock()
        until, ends = lasts(caching, now, self._around.chance())
        first, *more = [replace(response, model=search.call.model) for response in notes.responses]
        answer = notes.last
        assert answer is not None
        kept = Kept(
            search.key,
            first,
            answer.shares,
            answer.escalation,
            (),
            answer.backend_seconds,
            asked=asked,
            until=until,
            tag=caching.tag,
            size=notes.size,
            more=tuple(more),
        )
        self._store.keep((kept,), ends)

    def _renew(self, search: _Search) -> None:
        """Asks again in the background, for as long as the route allows."""
        now = self._around.clock()
        again = replace(search, call=replace(search.call, deadline=Deadline(now + search.call.plan.timeout), received=now))

        async def renew() -> None:
            async with aclosing(self._asked(again)) as answers:
                async for _ in answers:
                    pass

        self._renewals.begin(search.key, renew, f"renew a stream of {search.call.model}")

    async def _find(self, key: bytes) -> Kept | None:
        found = self._store.find((key,))
        (kept,) = await found if isinstance(found, Awaitable) else found
        return kept if kept is not None and kept.key == key else None

    def _key(self, call: Call) -> bytes:
        return self._keys.stream(call.plan, call.principal, call.model, call.request)


class _Search(msgspec.Struct):
    """One question on its way."""

    call: Call
    ask: StreamAsk
    caching: Caching
    worth: Worth
    status: CacheStatus
    key: bytes = b""


class _Notes:
    """What came so far, to be kept when it was all; nothing any more once it was too much, or could not be read."""

    def __init__(self) -> None:
        self.responses: list[InferenceResponse] = []
        self.last: Answer | None = None
        self.size = 0
        self._over = False

    def add(self, answer: Answer, room: int) -> None:
        """One more, which its client has already. `room`: bytes that there are for it."""
        if self._over:
            return
        try:
            response = plain(answer.response)
        except InferenceError:
            self._end()
            return
        size = sized(response)
        if len(self.responses) == MOST_ANSWERS or self.size + size > MOST_BYTES or size > room:
            self._end()
            return
        self.size += size
        self.responses.append(response)
        self.last = answer

    def _end(self) -> None:
        self._over, self.last, self.size = True, None, 0
        self.responses.clear()
