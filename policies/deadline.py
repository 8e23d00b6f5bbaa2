"""Ends the call when its time is up, whatever the layers below are waiting for."""

from __future__ import annotations

import asyncio

from backends.errors import ErrorKind, InferenceError
from policies.call import Answer, Ask, Call


class DeadlinePolicy:
    """Cancels everything inside at the call's deadline and answers DEADLINE instead."""

    async def __call__(self, call: Call, ask: Ask) -> Answer:
        """The answer from below, if it comes in time."""
        loop = asyncio.get_running_loop()
        if call.deadline.at <= loop.time():
            raise _late()
        try:
            async with asyncio.timeout_at(call.deadline.at):
                return await ask(call)
        except TimeoutError:
            raise _late() from None


def _late() -> InferenceError:
    return InferenceError(ErrorKind.DEADLINE, "no answer within the deadline; allow more time or send fewer rows")
