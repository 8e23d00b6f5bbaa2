"""Asks an endpoint whether it is there, and whether its models are ready."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from time import monotonic

from backends.deadline import Deadline
from backends.endpoint import Endpoint, Key
from backends.errors import ErrorKind, InferenceError

CHECKING = 8  # questions of one check at once
_SILENT = frozenset({ErrorKind.UNAVAILABLE, ErrorKind.DEADLINE, ErrorKind.BROKEN})


async def check(endpoint: Endpoint, models: Collection[Key], within: float) -> None:
    """One check of one endpoint, which is told what was found; `within` in seconds.

    An endpoint that answered a question meanwhile is there, however long its answer to the check takes. A server that
    is not ready is there, too: a Triton is not as long as any of its models is not, and each model is asked about itself.
    """
    answers = endpoint.answers
    deadline = Deadline(asyncio.get_running_loop().time() + within)
    try:
        await endpoint.backend.ready("", "", deadline)
    except InferenceError as error:
        if error.kind in _SILENT and (error.kind is not ErrorKind.DEADLINE or endpoint.answers == answers):
            endpoint.seen(False, frozenset(), monotonic())
            return
    room = asyncio.Semaphore(CHECKING)

    async def ready(key: Key) -> bool:
        async with room:
            try:
                return await endpoint.backend.ready(*key, deadline)
            except InferenceError:
                return True  # it does not tell

    states = await asyncio.gather(*(ready(key) for key in models))
    unready = frozenset(key for key, state in zip(models, states, strict=True) if not state)
    endpoint.seen(True, unready, monotonic())
