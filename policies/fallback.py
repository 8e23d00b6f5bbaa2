"""Asks another target when the chosen one fails or takes longer than it may; never because an answer is unsure."""

from __future__ import annotations

from collections.abc import Callable

from msgspec.structs import replace

from backends.deadline import RESERVE
from backends.errors import ErrorKind, InferenceError
from policies.call import Answer, Ask, Call, Observer

# The client's own mistakes would be mistakes anywhere, and past the deadline nobody waits.
FAILURES = frozenset({ErrorKind.UNAVAILABLE, ErrorKind.BROKEN, ErrorKind.OVERLOADED, ErrorKind.INTERNAL})


class FallbackPolicy:
    """Follows the plan's fallback map from variant to variant; the policy document's check refuses circles."""

    def __init__(self, observer: Observer, clock: Callable[[], float]) -> None:
        self._observer = observer
        self._clock = clock

    async def __call__(self, call: Call, ask: Ask) -> Answer:
        """The target's answer, or that of the first fallback that has one; else the first failure, which is the cause, or, where
        time is up, that it is."""
        first: InferenceError | None = None
        lost = 0.0  # paid for what has failed: it had the question in hand until its time was over
        while True:
            try:
                answer = await ask(call)
                return answer if first is None else replace(answer, cost=answer.cost + lost, planned=False)
            except InferenceError as error:
                lost += error.cost
                if first is None or error.kind is ErrorKind.DEADLINE:
                    first = error
                assert call.target is not None, "a layer above chooses the target"
                target = call.plan.fallback.get(call.target.variant)
                if target is None or not (error.kind in FAILURES or self._in_time(error, call)):
                    first.cost = lost
                    raise first from None
                error.ended()
                self._observer.fell_back(call.model, call.target.variant, target.variant)
                call = replace(call, target=target)

    def _in_time(self, error: InferenceError, call: Call) -> bool:
        """Whether the target's own timeout ran out, and more time is left than what every ask leaves over."""
        own = call.target is not None and call.target.timeout is not None
        return own and error.kind is ErrorKind.DEADLINE and self._clock() + RESERVE < call.deadline.at
