"""Asks the store for a parent, which has no connections that its workers could come to share: a worker asks in its place."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import msgspec

from gateway.experiment.words import Hear, Heard
from gateway.rollout.words import Look, There, Write


class RelayedPages:
    """Implements gateway.rollout.words.Pages and gateway.experiment.words.Hearsay. `ask` has a worker's answer; "" if none."""

    def __init__(self, ask: Callable[[bytes], Awaitable[bytes]]) -> None:
        self._ask = ask

    async def look(self, look: Look) -> There | None:
        """As the protocol says."""
        told = await self._ask(msgspec.msgpack.encode(look))
        return msgspec.msgpack.decode(told, type=There) if told else None

    async def write(self, write: Write) -> bool | None:
        """As the protocol says."""
        told = await self._ask(msgspec.msgpack.encode(write))
        return msgspec.msgpack.decode(told, type=bool) if told else None

    async def hear(self, told: Hear) -> Heard | None:
        """As the protocol says."""
        heard = await self._ask(msgspec.msgpack.encode(told))
        return msgspec.msgpack.decode(heard, type=Heard) if heard else None
