"""Answers questions that were answered before, whole or row by row, from what is kept; never one tenant's to another.

What a question is kept under is routing/cache/key.py's; docs/cache.md is the contract. A batch by rows is as many questions of
one row, of which those not found go down together; without rows it is one question. Below this layer a question carries nothing
of its client that is not in its key: no id, no form of the answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from operator import is_
from typing import Protocol

import msgspec
from msgspec.structs import replace

from backends.deadline import Deadline
from backends.errors import InferenceError
from backends.inference import InferenceRequest, InferenceResponse, Tensors
from backends.tensors import Tensor, of_rows, row_parts
from policies.call import Afar, Answer, Ask, Cached, CacheStatus, Call, Kept
from policies.keeping import (
    FAILURES,
    INLINE,
    Around,
    Before,
    Found,
    FoundAfar,
    Off,
    Renewals,
    Store,
    anonymous,
    apart,
    as_planned,
    complete,
    counted_up,
    escalation,
    lasts,
    measured,
    plain,
    sized,
    unlooked,
    wished,
)
from routing.cache.caching import Caching
from routing.cache.key import Keys, Made, derived
from routing.cache.worth import Worth

MOST_ROWS = 512  # of a batch that is looked up row by row: each row costs some 10 µs, and others wait meanwhile


class CachePolicy:
    """Stands behind authorize and limit: no hit for a stranger, and hits count.

    `told` hears of each question how it went. What the store finds must say itself that it belongs to the key.
    """

    def __init__(self, store: Store, keys: Keys, told: Callable[[str, str], None], around: Around) -> None:
        self._store = store
        self._keys = keys
        self._told = told
        self._around = around
        self._worth: dict[str, Worth] = {}
        self._renewals = Renewals(around.spawn)

    def __call__(self, call: Call, ask: Ask) -> Awaitable[Answer]:
        """What is kept, or the answer from below. Questions on plans without a cache pass as they are."""
        if call.plan.cache is None:
            return ask(call)
        start, wishes = self._around.clock(), wished(call)
        worth = self._worth.get(call.model) or self._worth.setdefault(call.model, Worth())
        past = unlooked(call.request, wishes, worth.on(start))
        if past is None and call.drawn:
            past, call = measured(call, self._around.chance)
        return self._past(call, ask, past) if past else self._looked_up(call, ask, worth, start, "no-cache" in wishes)

    async def _past(self, call: Call, ask: Ask, cached: Cached) -> Answer:
        past = Off(call.model, self._worth[call.model], self._told) if cached.status == "off" else None
        answer = replace(await ask(call), cached=replace(cached, past=past))
        self._told(call.model, cached.status)
        return answer

    async def _looked_up(self, call: Call, ask: Ask, worth: Worth, start: float, anew: bool) -> Answer:
        parts = await asyncio.to_thread(self._divided, call) if call.size > INLINE else self._divided(call)
        search = _Search(call, ask, worth, parts)
        if anew:
            search.kept = [None] * len(parts.keys)
            answer = await self._fetch(search, search.kept, "request")
        else:
            found = self._store.find(parts.keys)  # a list nearly always, and whether it can be awaited takes 0.4 µs to know
            if not isinstance(found, list) and isinstance(found, Awaitable):
                known = derived(call.request) is not None
                search.before = Before(Made(self._keys, call.plan), self._store.generation) if known else None
                search.kept = await found
            else:
                search.kept = found
            now = self._around.clock()
            worth.looked(now - start, now)
            answer = self._hit(search, now, found is search.kept) or await self._searched(search, now)
        cached = answer.cached
        assert cached is not None
        self._told(call.model, "collapsed" if cached.collapsed else cached.status)
        return answer

    def _hit(self, search: _Search, now: float, at_once: bool) -> Answer | None:
        """The answer if all of it is kept, under these very keys, and fresh; `at_once`: their keys were made just now."""
        there: list[Kept] = []
        soonest, seconds = float("inf"), 0.0
        for each, key in zip(search.kept, search.parts.keys, strict=True):
            if each is None or each.key != key or each.until <= now:
                return None
            there.append(each)
            seconds += each.seconds
            if each.until < soonest:
                soonest = each.until
        call, still, afar = search.call, None, None
        if at_once and derived(call.request) is not None:
            made, around = Made(self._keys, call.plan), self._around
            kept = tuple(zip(search.parts.keys, there, strict=True))
            still = Found(call.model, made, kept, soonest, seconds, self._store, search.worth, around.clock, self._told)
        elif search.before is not None and len(there) == 1:
            afar = self._afar(search, there[0], search.before)
        answer = search.parts.joined(there, Cached("hit", soonest - now, still=still, afar=afar))
        if answer is not None:
            search.worth.saved(seconds)
        return answer

    def _afar(self, search: _Search, kept: Kept, before: Before) -> Afar | None:
        same = self._store.same(kept, before.generation)
        of = (kept.until, kept.seconds, search.worth, self._around.clock, self._told)
        return None if same is None else FoundAfar(search.call.model, before.made, same, *of)

    async def _searched(self, search: _Search, now: float) -> Answer:
        """What is stale may do; what is missing is asked for."""
        parts = search.parts
        search.kept = [each if each and each.key == key else None for each, key in zip(search.kept, parts.keys, strict=True)]
        fresh = now - search.caching.stale_while_revalidate
        have = [each if each is not None and each.until > fresh else None for each in search.kept]
        if None in have:
            return await self._fetch(search, have, "miss")
        usable = [each for each in have if each is not None]
        left = min([each.until for each in usable]) - now
        answer = parts.joined(usable, Cached("stale", left))
        if answer is None:
            return await _unfit(search)
        self._renew(search, [None if each.until <= now else each for each in usable])
        search.worth.saved(sum([each.seconds for each in usable]))
        return answer

    async def _fetch(self, search: _Search, have: Sequence[Kept | None], status: CacheStatus) -> Answer:
        """Asks about what is missing, keeps what comes, and puts it together with what there is."""
        call, parts = search.call, search.parts
        missing = [index for index, each in enumerate(have) if each is None]
        asked, about, generation = self._around.clock(), self._keys.about(call.plan), self._store.generation
        below = replace(
            call,
            request=parts.question(missing),
            key=b"" if status == "request" else parts.key(missing) + generation + apart(call.request),
            again=partial(self._again, search, missing, asked),
        )
        try:
            answer = await search.ask(below)
            answer = replace(answer, response=plain(answer.response))
        except InferenceError as error:
            rescued = self._rescued(search, have, error)
            if rescued is None or generation != self._store.generation:  # it may have been thrown away meanwhile
                raise
            return rescued
        start = self._around.clock()
        pieces = parts.pieces(answer, missing)
        sound = answer.cached is None and about == self._keys.about(call.plan) and as_planned(answer, call, about[0])
        stored = (
            sound and pieces is not None and complete(answer.response, call.request) and self._keep(search, answer, pieces, asked)
        )
        search.worth.spent(self._around.clock() - start)
        if answer.collapsed:
            search.worth.saved(answer.backend_seconds)
        if len(missing) == len(have):
            return replace(answer, cached=Cached(status, stored=stored, collapsed=answer.collapsed))
        whole = None
        if pieces is not None:
            fresh = dict(zip(missing, pieces, strict=True))
            whole = parts.joined([fresh[index] if each is None else each for index, each in enumerate(have)])
        if whole is None:
            return await _unfit(search)
        search.worth.saved(sum([each.seconds for each in have if each is not None]))
        detail = f"{len(have) - len(missing)} of {len(have)} rows"
        cached = Cached("partial", stored=stored, collapsed=answer.collapsed, detail=detail, kept=1 - len(missing) / len(have))
        return replace(whole, cost=answer.cost, backend_seconds=answer.backend_seconds, cached=cached)

    async def _again(self, search: _Search, missing: Sequence[int], asked: float) -> Answer | None:
        """What another process has kept since it was `asked`, if it is all that is missing here."""
        keys = [search.parts.keys[index] for index in missing]
        found = self._store.find(keys)
        there = await found if isinstance(found, Awaitable) else found
        now = self._around.clock()
        kept = [each for each, key in zip(there, keys, strict=True) if each is not None and each.key == key and each.until > now]
        answer = search.parts.joined(kept) if len(kept) == len(keys) else None
        return None if answer is None else replace(answer, backend_seconds=now - asked, collapsed=True, cached=Cached("hit"))

    def _keep(self, search: _Search, answer: Answer, pieces: Sequence[Kept], asked: float) -> bool:
        """Whether they are kept now; of an answer that many waited for the first who comes keeps it."""
        caching, now = search.caching, self._around.clock()
        if answer.collapsed:
            there = self._store.find([each.key for each in pieces])
            if not isinstance(there, Awaitable) and all(each is not None and each.until > now for each in there):
                return False
        until, ends = lasts(caching, now, self._around.chance())
        return self._store.keep([replace(each, asked=asked, until=until) for each in pieces], ends)

    def _rescued(self, search: _Search, have: Sequence[Kept | None], error: InferenceError) -> Answer | None:
        """What was kept longer than it is fresh, because there is nothing better."""
        now = self._around.clock()
        oldest = now - search.caching.stale_if_error
        kept = [old if each is None else each for each, old in zip(have, search.kept, strict=True)]
        usable = [each for each in kept if each is not None and each.until > oldest]
        if error.kind not in FAILURES or len(usable) < len(kept):
            return None
        answer = search.parts.joined(usable)
        left = min([each.until for each in usable]) - now
        return None if answer is None else replace(answer, cached=Cached("stale", left, detail=error.reason))

    def _renew(self, search: _Search, have: Sequence[Kept | None]) -> None:
        """Asks again in the background, for as long as the route allows."""
        call = search.call
        key = search.parts.key([index for index, each in enumerate(have) if each is None])
        at = self._around.clock() + call.plan.timeout
        call = replace(call, deadline=Deadline(at), received=at - call.plan.timeout)
        again = replace(search, call=call, kept=[None] * len(have))

        async def renew() -> None:
            async with asyncio.timeout(call.plan.timeout):
                await self._fetch(again, have, "miss")

        self._renewals.begin(key, renew, f"renew an answer of {call.model}")

    def _divided(self, call: Call) -> _Parts:
        assert call.plan.cache is not None
        asked = (call.plan, call.principal, call.model, call.request)
        if call.plan.cache.rows and 0 < (call.request.rows or 0) <= MOST_ROWS:
            return _Rows(call, self._keys.rows(*asked), self._keys)
        return _Whole(call, self._keys.whole(*asked))


class _Parts(Protocol):
    """A question as what is looked up one by one: itself, or its rows."""

    keys: Sequence[bytes]

    def question(self, missing: Sequence[int]) -> InferenceRequest:
        """About these only, with nothing of the client in it."""
        ...

    def key(self, missing: Sequence[int]) -> bytes:
        """Equal for equal such questions."""
        ...

    def pieces(self, answer: Answer, missing: Sequence[int]) -> Sequence[Kept] | None:
        """The answer to each of them; None where it cannot be divided so."""
        ...

    def joined(self, kept: Sequence[Kept], cached: Cached | None = None) -> Answer | None:
        """The answer to all of them together, which cost nothing; None where they do not fit."""
        ...


class _Search(msgspec.Struct):
    """One question on its way through the cache; `kept` is what was found, fresh or not, for each of its parts."""

    call: Call
    ask: Ask
    worth: Worth
    parts: _Parts
    kept: Sequence[Kept | None] = ()
    before: Before | None = None

    @property
    def caching(self) -> Caching:
        """How the policy says that its answer is kept."""
        assert self.call.plan.cache is not None
        return self.call.plan.cache


class _Whole:
    """One entry for the question as it stands."""

    def __init__(self, call: Call, key: bytes) -> None:
        self._call = call
        self.keys: Sequence[bytes] = (key,)

    def question(self, missing: Sequence[int]) -> InferenceRequest:
        return anonymous(self._call.request, self._call.request.payload.tensors())

    def key(self, missing: Sequence[int]) -> bytes:
        return self.keys[0]

    def pieces(self, answer: Answer, missing: Sequence[int]) -> Sequence[Kept] | None:
        response = replace(answer.response, model=self._call.model)
        return (_kept(self._call, self.keys[0], response, answer),)

    def joined(self, kept: Sequence[Kept], cached: Cached | None = None) -> Answer | None:
        (each,) = kept
        return Answer(each.response, each.shares, 0.0, 0.0, each.escalation, each.asks, cached=cached)


class _Rows:
    """An entry for each row."""

    def __init__(self, call: Call, keys: Sequence[bytes], maker: Keys) -> None:
        self._call = call
        self._maker = maker
        self.keys = keys

    def question(self, missing: Sequence[int]) -> InferenceRequest:
        tensors = self._call.request.payload.tensors()
        if len(missing) < len(self.keys):
            tensors = tuple([_taken(tensor, missing) for tensor in tensors])
        return anonymous(self._call.request, tensors)

    def key(self, missing: Sequence[int]) -> bytes:
        return self._maker.several([self.keys[row] for row in missing])

    def pieces(self, answer: Answer, missing: Sequence[int]) -> Sequence[Kept] | None:
        outputs, shares = answer.response.payload.tensors(), answer.shares
        owners = answer.owners or (0,) * len(missing)
        if answer.response.parameters or len(owners) != len(missing) or (len(shares) > 1 and not answer.owners):
            return None  # something is said of the batch as such, or nobody knows whose a row is
        if any(tensor.rows != len(missing) for tensor in outputs):
            return None
        given = [replace(share, rows=1) for share in shares]
        columns = [row_parts(tensor) for tensor in outputs]
        pieces, part = [], replace(answer, backend_seconds=answer.backend_seconds / len(missing), asks=())
        for place, row in enumerate(missing):
            share = given[owners[place]]
            tensors = tuple(
                [
                    of_rows(out.name, out.datatype, out.shape[1:], column[place : place + 1])
                    for out, column in zip(outputs, columns, strict=True)
                ]
            )
            response = InferenceResponse(self._call.model, share.version, "", {}, Tensors(tensors))
            pieces.append(_kept(self._call, self.keys[row], response, replace(part, shares=(share,))))
        return pieces

    def joined(self, kept: Sequence[Kept], cached: Cached | None = None) -> Answer | None:
        again = derived(self._call.request)
        known = None if again is None else again.get(_JOINED)
        if known is not None and len(known[0]) == len(kept) and all(map(is_, known[0], kept)):
            whole: Answer = replace(known[1], cached=cached)
            return whole
        rows = [each.response.payload.tensors() for each in kept]
        first = rows[0]
        alike = [(tensor.name, tensor.datatype, tensor.shape) for tensor in first]
        if any([(tensor.name, tensor.datatype, tensor.shape) for tensor in row] != alike for row in rows[1:]):
            return None
        outputs = tuple(
            [of_rows(out.name, out.datatype, out.shape[1:], [row[place].data for row in rows]) for place, out in enumerate(first)]
        )
        shares = counted_up(kept, self._call.plan)
        version = shares[0].version if len(shares) == 1 else ""
        response = InferenceResponse(self._call.model, version, "", {}, Tensors(outputs))
        ones = [replace(share, rows=1) for share in shares] if len(shares) > 1 else []
        owners = tuple([ones.index(each.shares[0]) for each in kept]) if ones else ()
        answer = Answer(response, shares, 0.0, 0.0, escalation(shares, self._call.plan), owners=owners, cached=cached)
        if again is not None and sum([len(tensor.data) for tensor in outputs]) <= _SHORT:
            again[_JOINED] = (tuple(kept), answer)
        return answer


def _kept(call: Call, key: bytes, response: InferenceResponse, answer: Answer) -> Kept:
    assert call.plan.cache is not None
    tag = call.plan.cache.tag
    return Kept(
        key,
        response,
        answer.shares,
        answer.escalation,
        answer.asks,
        answer.backend_seconds,
        asked=0.0,
        until=0.0,
        tag=tag,
        size=sized(response),
    )


def _taken(tensor: Tensor, rows: Sequence[int]) -> Tensor:
    parts = row_parts(tensor)
    return of_rows(tensor.name, tensor.datatype, tensor.shape[1:], [parts[row] for row in rows])


async def _unfit(search: _Search) -> Answer:
    """Entries do not fit together: outputs whose shape depends on more than the row."""
    return replace(await search.ask(search.call), cached=Cached("bypass", detail="rows"))


_SHORT = 8 * 1024  # bytes of an answer that is put together once only: it lies beside what the store's bound counts
_JOINED = b"joined"  # among what is derived from a question that comes again: its rows' entries, and their answer
