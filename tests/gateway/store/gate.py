"""One gateway's shared answers as a test wants them: a clock that stands still unless told, and all that it tells counted."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager

from backends.inference import InferenceResponse, Tensors
from backends.tensors import Tensor
from gateway.spawner import Spawner
from gateway.store.address import Address
from gateway.store.answers import SharedAnswers
from gateway.store.link import Link
from gateway.store.login import Login
from policies.call import Kept, Share
from policies.keeping import Around
from policies.local_store import LocalStore
from routing.cache.key import Keys

MOST = 1 << 20


class Gate:
    """One gateway's answers, with a clock that stands still unless told."""

    def __init__(self, address: Address, name: bytes = b"a", most: int = MOST, room: int = 64 << 20) -> None:
        self.now = 1000.0
        self.told: Counter[str] = Counter()
        self.spawner = Spawner()
        self.link = Link(address, Login(), 5.0, most=most)
        self.keys = Keys(name * 32, lambda _: ())
        self.near = LocalStore(room, lambda: self.now)
        self.store = SharedAnswers(
            self.link, self.near, self.keys, self, Around(lambda: self.now, random.random, self.spawner.spawn)
        )

    def stored(self, outcome: str, seconds: float) -> None:
        """As metrics are told."""
        self.told[outcome] += 1

    def shared(self, outcome: str, count: int) -> None:
        """As metrics are told."""
        self.told[outcome] += count

    async def find(self, *keys: bytes) -> list[Kept | None]:
        """What is kept, wherever."""
        found = self.store.find(keys)
        return list(await found if isinstance(found, Awaitable) else found)

    async def has(self, *keys: bytes) -> list[bool]:
        """Which of them are kept."""
        return [each is not None for each in await self.find(*keys)]

    def keep(self, *keys: bytes, size: int = 40, fresh: float = 50.0, stale: float = 10.0) -> bool:
        """Keeps an answer under each key."""
        return self.store.keep([answer(key, self.now, size, fresh) for key in keys], self.now + fresh + stale)

    async def settled(self) -> None:
        """All that was sent is answered, and what is done aside is done."""
        while len(self.spawner):  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.001)
        if self.link.connection is not None:
            await self.link.connection.ask("PING")

    async def agree(self) -> None:
        """What is done each second."""
        assert self.link.connection is not None
        await self.store._agree(self.link.connection)

    async def close(self) -> None:
        """The end."""
        self.link.close()
        await self.spawner.close()


def key(number: int) -> bytes:
    """A key."""
    return number.to_bytes(32, "little")


def answer(name: bytes, now: float, size: int, fresh: float) -> Kept:
    """An answer that says under which key it was kept."""
    data = (name * (size // len(name) + 1))[:size]
    response = InferenceResponse("digits", "1", "", {}, Tensors((Tensor("x", "UINT8", (1, size), data),)))
    return Kept(name, response, (Share("fast", 1, "m", "1"),), "none", (), 0.1, now, now + fresh, "", 600 + size)


@asynccontextmanager
async def two(address: Address, most: int = MOST, room: int = 64 << 20) -> AsyncIterator[tuple[Gate, Gate]]:
    """Two gateways that have found the store, the other with so much memory."""
    gates = (Gate(address, b"a", most), Gate(address, b"b", most, room))
    try:
        for gate in gates:
            assert await gate.link.attempt()
        yield gates
    finally:
        for gate in gates:
            await gate.close()
