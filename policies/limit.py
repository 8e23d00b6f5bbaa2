"""Counts each question against the limits that bind its principal and model, and refuses what goes beyond one of them."""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from functools import partial
from typing import Literal, Protocol

import msgspec
from msgspec.structs import replace

from policies.call import Answer, Ask, Call, Counted, LimitedError, Quota, StreamAsk
from routing.buckets import Buckets
from routing.demand import Demand, Verdict
from routing.limits import Limit, binds, demands, window
from routing.principal import Principal

REMEMBERED = 8192  # principals with a model, and what binds them there


class Meter(Protocol):
    """Who counts: this process alone, or a store that several share."""

    def take(self, demands: Sequence[Demand]) -> Verdict | Awaitable[Verdict]:
        """All of the demands or none. Never raises InferenceError: whoever cannot reach its store decides alone.

        An awaitable that is cancelled holds nothing: what it had taken of `concurrency` it gives back itself.
        """
        ...

    def give_back(self, demands: Sequence[Demand]) -> None:
        """The concurrency of demands that were taken, once, when their request has ended. Never raises, never waits."""
        ...


class LocalMeter:
    """Counts in this process; never waits. Of so many `processes` for the same clients each allows its part."""

    def __init__(self, clock: Callable[[], float], processes: int = 1) -> None:
        self.buckets = Buckets()
        self.clock = clock
        self._processes = processes

    def take(self, demands: Sequence[Demand]) -> Verdict:
        """All of the demands or none."""
        return self.buckets.take(self.part(demands), self.clock())

    def part(self, demands: Sequence[Demand]) -> Sequence[Demand]:
        """This process's part of them."""
        return [demand.part(self._processes) for demand in demands] if self._processes > 1 else demands

    def give_back(self, demands: Sequence[Demand]) -> None:
        """Their request has ended."""
        self.buckets.give_back(demands)


class _Binding(msgspec.Struct, frozen=True, gc=False):
    """All that a principal's questions to a model take. `weighed`: places of demands whose cost is the question's size."""

    demands: tuple[Demand, ...]
    counted: tuple[Counted, ...]
    weighed: tuple[int, ...]
    held: bool  # whether something of it is given back at the end


class Toll:
    """What each of some questions takes, in this process. Implements policies.direct.Toll."""

    __slots__ = ("_clock", "_take", "counted", "weighed")

    def __init__(self, meter: LocalMeter, bound: _Binding, size: int) -> None:
        """`size` bytes has the body of each, as far as it is `weighed`."""
        self.counted, self.weighed, self._clock = bound.counted, bool(bound.weighed), meter.clock
        demands = meter.part(_weighed(bound, size) if bound.weighed else bound.demands)
        alone = len(demands) == 1  # a rate, as nothing is given back; take() would find that out each time
        self._take = partial(meter.buckets.pour, demands[0]) if alone else partial(meter.buckets.take, demands)

    def pay(self) -> Verdict | None:
        """What is left; None where that is too little, and nothing has been taken."""
        verdict = self._take(self._clock())
        return verdict if verdict.limited is None else None


class LimitPolicy:
    """Stands behind authorize, so that a stranger uses up nobody's quota, and before everything that could answer.

    `limited` is told the name of the limit each time one refuses.
    """

    def __init__(self, limits: Sequence[Limit], meter: Meter, limited: Callable[[str], None]) -> None:
        self._limits = [limit for limit in limits if limit.allowances]
        self._meter = meter
        self._limited = limited
        self._known: dict[tuple[Principal, str], _Binding | None] = {}

    def __call__(self, call: Call, ask: Ask) -> Awaitable[Answer]:
        """The answer from below, with what is left of the quota; raises LimitedError. Unbound questions pass as they are."""
        bound = self._bound(call)
        return ask(call) if bound is None else self._answer(call, ask, bound)

    def stream(self, call: Call, ask: StreamAsk) -> AsyncGenerator[Answer, None]:
        """The same of a question with any number of answers; it counts once, and is in flight until the last."""
        bound = self._bound(call)
        return ask(call) if bound is None else self._answers(call, ask, bound)

    def toll(self, call: Call) -> Toll | Literal[False] | None:
        """What questions like the call's take; None: nothing, False: something that is given back, or has to be waited for."""
        bound = self._bound(call)
        if bound is None:
            return None
        if bound.held or not isinstance(self._meter, LocalMeter):
            return False
        return Toll(self._meter, bound, call.size)

    async def _answer(self, call: Call, ask: Ask, bound: _Binding) -> Answer:
        if call.quota is not None:  # counted before it was asked, with what was begun
            answer = await ask(call)
            return replace(answer, quota=_together(call.quota, answer.quota))
        demands = _weighed(bound, call.size) if bound.weighed else bound.demands
        found = self._meter.take(demands)
        verdict = found if isinstance(found, Verdict) else await found
        if verdict.limited is not None:
            raise self._refused(verdict, bound)
        try:
            answer = await ask(call)
            return replace(answer, quota=_together(Quota(bound.counted, verdict), answer.quota))
        finally:
            if bound.held:
                self._meter.give_back(demands)

    async def _answers(self, call: Call, ask: StreamAsk, bound: _Binding) -> AsyncGenerator[Answer, None]:
        demands = _weighed(bound, call.size) if bound.weighed else bound.demands
        found = self._meter.take(demands)
        verdict = found if isinstance(found, Verdict) else await found
        if verdict.limited is not None:
            raise self._refused(verdict, bound)
        quota = Quota(bound.counted, verdict)
        try:
            async with aclosing(ask(call)) as answers:
                async for answer in answers:
                    yield replace(answer, quota=_together(quota, answer.quota))
        finally:
            if bound.held:
                self._meter.give_back(demands)

    def _refused(self, verdict: Verdict, bound: _Binding) -> LimitedError:
        counted = bound.counted[verdict.told]
        self._limited(counted.limit)
        return LimitedError(_said(counted, verdict.retry_after), Quota(bound.counted, verdict))

    def _bound(self, call: Call) -> _Binding | None:
        key = (call.principal, call.model)
        try:
            return self._known[key]
        except KeyError:
            if len(self._known) >= REMEMBERED:
                self._known.clear()
            found = self._known[key] = self._found(*key)
            return found

    def _found(self, principal: Principal, model: str) -> _Binding | None:
        binding = [limit for limit in self._limits if binds(limit, principal, model)]
        if not binding:
            return None
        taken = tuple(demand for limit in binding for demand in demands(limit, principal, model))
        counted = tuple(
            Counted(limit.name, each.kind, each.burst, window(each)) for limit in binding for each in limit.allowances
        )
        weighed = tuple(at for at, demand in enumerate(taken) if demand.kind == "bytes")
        return _Binding(taken, counted, weighed, any(demand.kind == "concurrency" for demand in taken))


def _weighed(bound: _Binding, size: int) -> Sequence[Demand]:
    found = list(bound.demands)
    for at in bound.weighed:
        found[at] = replace(found[at], cost=max(1, size))
    return found


def _together(own: Quota, below: Quota | None) -> Quota:
    """With what budgets have counted; told is what is nearest to its end."""
    if below is None:
        return own
    counted, one, other = (*own.counted, *below.counted), own.verdict, below.verdict
    if one.remaining / own.counted[one.told].burst <= other.remaining / below.counted[other.told].burst:
        return Quota(counted, one)
    return Quota(counted, replace(other, told=len(own.counted) + other.told))


def _said(counted: Counted, retry_after: float) -> str:
    if counted.kind == "concurrency":
        return f"limit '{counted.limit}' allows {counted.burst} requests at the same time: try again when one has ended"
    units = "requests" if counted.kind == "requests" else "bytes"
    return f"limit '{counted.limit}' has no {units} left: try again in {max(1, math.ceil(retry_after))} s"
