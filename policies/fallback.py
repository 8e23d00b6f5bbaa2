"""Asks another target when the chosen one fails; never because an answer is unsure."""

from __future__ import annotations

from msgspec.structs import replace

from backends.errors import ErrorKind, InferenceError
from policies.call import Answer, Ask, Call, Observer

# The client's own mistakes would be mistakes anywhere, and past the deadline nobody waits.
FAILURES = frozenset({ErrorKind.UNAVAILABLE, ErrorKind.BROKEN, ErrorKind.OVERLOADED, ErrorKind.INTERNAL})


class FallbackPolicy:
    """Follows the plan's fallback map from variant to variant; the policy document's check refuses circles."""

    def __init__(self, observer: Observer) -> None:
        self._observer = observer

    async def __call__(self, call: Call, ask: Ask) -> Answer:
        """The target's answer, or that of the first fallback that has one; else the first failure, which is the cause."""
        first: InferenceError | None = None
        while True:
            try:
                return await ask(call)
            except InferenceError as error:
                first = first or error
                target = call.plan.fallback.get(call.target.variant) if call.target else None
                if error.kind not in FAILURES or target is None:
                    raise first from None
                assert call.target is not None
                self._observer.fell_back(call.model, call.target.variant, target.variant)
                call = replace(call, target=target)
