"""What the cache of answers and that of streams have in common: who keeps them, what the process gives, what is the client's."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import msgspec
from msgspec.structs import replace

from backends.errors import ErrorKind, InferenceError
from backends.inference import InferenceRequest, InferenceResponse, Tensors, TensorSpec
from backends.tensors import Tensor
from policies.call import Answer, Cached, Call, Kept, Share
from routing.cache.caching import Caching, Purge
from routing.cache.key import Made, Served, unkeyed
from routing.cache.worth import Worth
from routing.plan import Plan

INLINE = 256 * 1024  # bytes of a request whose key is made on the loop, in less than 1 ms
JITTER = 0.1  # of a time to live: what was kept together does not end together
OVERHEAD = 600  # bytes that an entry takes beside its tensors, and half as many for each of these
MEASURED = 0.1  # of the questions that a rollout draws; those that pass the cache cost what a miss does
_HASTE = ("priority", "timeout")  # parameters that Triton's queues obey
# What a stale answer is better than; the client's own mistakes and quotas stay what they are.
FAILURES = frozenset({ErrorKind.UNAVAILABLE, ErrorKind.BROKEN, ErrorKind.OVERLOADED, ErrorKind.INTERNAL, ErrorKind.DEADLINE})


class Store(Protocol):
    """Who keeps answers: this process's memory, or a store that several share in front of or behind it."""

    @property
    def generation(self) -> bytes:
        """Another after each purge: questions before and after it are not in flight together."""
        ...

    def find(self, keys: Sequence[bytes]) -> Sequence[Kept | None] | Awaitable[Sequence[Kept | None]]:
        """What is kept under each key, stale or fresh. Never raises: whoever cannot reach its store has found nothing."""
        ...

    def nearest(self, key: bytes) -> Kept | None:
        """The same of one key, and of what lies in this process's memory."""
        ...

    def same(self, kept: Kept, generation: bytes) -> Same | None:
        """How to ask once more for what has just been found, looked for in that generation; None where there is no way."""
        ...

    def keep(self, several: Sequence[Kept], ends: float) -> bool:
        """Takes them in, each under its own key, until the moment `ends`; whether there is room. Never raises, never waits."""
        ...

    def purge(self, which: Purge, now: float) -> None:
        """From now on nothing is found that was asked before `now` and is meant here. Never raises, never waits."""
        ...


class Same(Protocol):
    """Asks whether an entry that lies further away is still what it was."""

    @property
    def seconds(self) -> float:
        """The longest that it takes."""
        ...

    def open(self) -> bool:
        """Whether it can be asked, and may be."""
        ...

    def holds(self) -> bool:
        """Whether nothing was thrown away since it was found."""
        ...

    def ask(self, heard: Callable[[bool], None]) -> None:
        """`heard` is told once, and does not raise. Never raises."""
        ...


@dataclass(frozen=True, slots=True)
class Around:
    """What the policy needs of the process: time in seconds, chance from 0 to 1, and where background work runs."""

    clock: Callable[[], float]
    chance: Callable[[], float]
    spawn: Callable[[Coroutine[Any, Any, None], str], object]


class Found(msgspec.Struct, frozen=True, gc=False):
    """Implements policies.call.Still: under which keys, made of what, which entries were found, fresh and all of them.

    What the cache does with a question whose keys are known: worth, store and clock are asked anew each time, so that what was
    purged, replaced, evicted or has become stale is found out here as there.
    """

    model: str
    made: Made
    kept: Sequence[tuple[bytes, Kept]]
    until: float  # when the first of them is not fresh any more
    seconds: float  # that backends took for all of them
    store: Store
    worth: Worth
    clock: Callable[[], float]
    told: Callable[[str, str], None]

    def fresh(self) -> float | None:
        """Seconds for which the very same answer is fresh, counted as a hit; None, and nothing is counted: to be looked up."""
        start = self.clock()
        if not self.worth.on(start) or not self.made.holds():
            return None
        nearest = self.store.nearest
        for key, kept in self.kept:
            if nearest(key) is not kept:
                return None
        now = self.clock()
        if self.until <= now:
            return None
        self.worth.looked(now - start, now, self.seconds)
        self.told(self.model, "hit")
        return self.until - now


class Before(NamedTuple):
    """What the keys of a question that is known to come again were made of, and the purges, when a store was asked for it."""

    made: Made
    generation: bytes


class FoundAfar(msgspec.Struct, frozen=True, gc=False):
    """Implements policies.call.Afar, of one entry: as Found, but for the entry, about which the store is asked."""

    model: str
    made: Made
    same: Same
    until: float
    backend_seconds: float  # that backends took for it
    worth: Worth
    clock: Callable[[], float]
    told: Callable[[str, str], None]

    @property
    def seconds(self) -> float:
        """The longest that it takes to ask."""
        return self.same.seconds

    def open(self) -> bool:
        """Whether the cache is looked at, under the same key, and the store can say."""
        now = self.clock()
        return now < self.until and self.worth.on(now) and self.made.holds() and self.same.open()

    def ask(self, heard: Callable[[bool], None]) -> None:
        """Asks the store."""
        self.same.ask(heard)

    def fresh(self, since: float) -> float | None:
        """Seconds for which it is fresh, counted as a hit that took since then to find; None, and nothing is counted."""
        now = self.clock()
        if self.until <= now or not self.made.holds() or not self.same.holds():
            return None
        self.worth.looked(now - since, now, self.backend_seconds)
        self.told(self.model, "hit")
        return self.until - now


class Off(msgspec.Struct, frozen=True, gc=False):
    """Implements policies.call.Past, of a model whose cache has turned itself off; `told` as the cache's."""

    model: str
    worth: Worth
    told: Callable[[str, str], None]

    def stands(self, now: float) -> bool:
        """Whether it is off still."""
        return now < self.worth.off_until

    def count(self) -> None:
        """As the cache does."""
        self.told(self.model, "off")


_NO_STORE, _NO_GAIN, _MEASURED = Cached("request"), Cached("off", detail="no-gain"), Cached("bypass", detail="rollout")


def unlooked(request: InferenceRequest, wishes: Collection[str], on: bool) -> Cached | None:
    """Why a question is not looked up; None where it is. `on`: the cache is worth its while."""
    if "no-store" in wishes:
        return _NO_STORE
    if not on:
        return _NO_GAIN
    why = unkeyed(request)
    return Cached("bypass", detail=why) if why else None


def measured(call: Call, chance: Callable[[], float]) -> tuple[Cached | None, Call]:
    """Of a question that a rollout has drawn, whether it passes the cache, to be counted; else it counts on neither side.

    Whether a side is asked hangs on what it has kept, and the candidate's has kept nothing yet: of those that miss it has far
    more than its share, however good it is. So who counts is drawn before anybody looks, the same for both sides.
    """
    if not any(draw.open for draw in call.drawn):
        return None, call
    if chance() < MEASURED:
        return _MEASURED, call
    return None, replace(call, drawn=tuple([draw for draw in call.drawn if not draw.open]))


def lasts(caching: Caching, now: float, chance: float) -> tuple[float, float]:
    """Until when what is kept now is fresh, and until when it is of any use."""
    until = now + caching.ttl * (1 - JITTER * chance)
    return until, until + max(caching.stale_while_revalidate, caching.stale_if_error)


class Renewals:
    """What is asked again in the background, each key once at a time. If one fails, the next question tries again."""

    def __init__(self, spawn: Callable[[Coroutine[Any, Any, None], str], object]) -> None:
        self._spawn = spawn
        self._under_way: set[bytes] = set()

    def begin(self, key: bytes, renew: Callable[[], Coroutine[Any, Any, None]], name: str) -> None:
        """Unless it is under way already."""
        if key in self._under_way:
            return
        self._under_way.add(key)
        try:
            self._spawn(self._renewed(key, renew), name)
        except RuntimeError:  # there is too much to do in the background already
            self._under_way.discard(key)

    async def _renewed(self, key: bytes, renew: Callable[[], Coroutine[Any, Any, None]]) -> None:
        try:
            await renew()
        except (InferenceError, TimeoutError):
            pass
        finally:
            self._under_way.discard(key)


def wished(call: Call) -> Collection[str]:
    """The names of what its Cache-Control says."""
    control = call.question.headers.get("cache-control", "") if call.question is not None else ""
    return {each.partition("=")[0].strip().lower() for each in control.split(",")} if control else ()


def anonymous(request: InferenceRequest, tensors: tuple[Tensor, ...]) -> InferenceRequest:
    """The question in tensors, so that its answer comes in tensors too, and without the client's id."""
    specs = tuple([TensorSpec(tensor.name, tensor.datatype, tensor.shape) for tensor in tensors])
    return replace(request, id="", inputs=specs, payload=Tensors(tensors))


def apart(request: InferenceRequest) -> bytes:
    """What equal questions must have in common to be asked together: else one would be refused, or not be retried, for another's
    haste."""
    said = [f"{name}={request.parameters[name]}" for name in _HASTE if name in request.parameters] if request.parameters else []
    return ",".join(said if request.repeatable else [*said, "once"]).encode()


def as_planned(answer: Answer, call: Call, served: Served) -> bool:
    """Whether it is of those that were planned, and of the versions that its key is about.

    A backend that has loaded another version since the last look says so in its answer.
    """
    known = {stage.target.variant: versions for stage, versions in zip(call.plan.stages, served, strict=True)}
    for share in answer.shares:
        versions = known.get(share.variant)
        if versions and share.version and share.version not in versions:
            return False
    return answer.planned


def complete(response: InferenceResponse, request: InferenceRequest) -> bool:
    """Whether it has the outputs that were asked for, or any where none was named."""
    given = {each.name for each in response.payload.tensors()}
    return bool(given) and given.issuperset([output.name for output in request.outputs])


def plain(response: InferenceResponse) -> InferenceResponse:
    """With its tensors in bytes of their own, and nothing left of the message that they came in. Raises BROKEN."""
    found = response.payload.tensors()
    tensors = tuple([Tensor(each.name, each.datatype, each.shape, bytes(each.data)) for each in found])
    return replace(response, id="", payload=Tensors(tensors))


def sized(response: InferenceResponse) -> int:
    """Bytes that it takes to keep it, about."""
    return OVERHEAD + sum([OVERHEAD // 2 + len(tensor.data) for tensor in response.payload.tensors()])


def counted_up(kept: Sequence[Kept], plan: Plan) -> tuple[Share, ...]:
    """One share for each variant and version, in stage order."""
    found: dict[Share, int] = {}
    for each in kept:
        found[each.shares[0]] = found.get(each.shares[0], 0) + 1
    places = {stage.target.variant: place for place, stage in enumerate(plan.stages)}
    ordered = sorted(found, key=lambda share: (places.get(share.variant, 0), share.version))
    return tuple([replace(share, rows=found[share]) for share in ordered])


def escalation(shares: Sequence[Share], plan: Plan) -> str:
    """As a cascade says it: all stages up to the last that answered a row."""
    answered = {share.variant for share in shares}
    top = max([place for place, stage in enumerate(plan.stages) if stage.target.variant in answered], default=0)
    return "→".join([stage.target.variant for stage in plan.stages[: top + 1]]) if top else "none"
