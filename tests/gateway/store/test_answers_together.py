"""Equal questions that look for an answer in the store at the same moment look once, and miss nothing that comes meanwhile."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable

import pytest

from backends.inference import InferenceResponse, Tensors
from backends.tensors import Tensor
from gateway.spawner import Spawner
from gateway.store.address import parse
from gateway.store.answers import SharedAnswers
from gateway.store.link import Link
from gateway.store.login import Login
from policies.call import Kept, Share
from policies.keeping import Around
from policies.local_store import LocalStore
from routing.cache.key import Keys
from tests.real_parts import Redis

pytestmark = pytest.mark.slow

KEYS = [number.to_bytes(32, "little") for number in range(3)]


class Gate:
    """One gateway's answers; `told`: how asking the store went."""

    def __init__(self, redis: Redis) -> None:
        self.told: Counter[str] = Counter()
        self.link = Link(parse(redis.url), Login(), 5.0, most=1 << 20)
        self.near = LocalStore(1 << 20, lambda: 0.0)
        around, keys = Around(lambda: 0.0, lambda: 0.0, Spawner().spawn), Keys(b"k" * 32, lambda _: ())
        self.store = SharedAnswers(self.link, self.near, keys, self, around)

    def stored(self, outcome: str, seconds: float) -> None:
        self.told[outcome] += 1

    def shared(self, outcome: str, count: int) -> None:
        pass

    async def open(self) -> Gate:
        while not await self.link.attempt():  # half a second is not enough on a busy machine
            pass
        return self

    def find(self, *keys: bytes) -> asyncio.Task[list[bool]]:
        """Which of them are kept."""

        async def find() -> list[bool]:
            found = self.store.find(keys)
            return [each is not None for each in (await found if isinstance(found, Awaitable) else found)]

        return asyncio.ensure_future(find())


def answer(key: bytes) -> Kept:
    response = InferenceResponse("digits", "1", "", {}, Tensors((Tensor("x", "UINT8", (1,), b"x"),)))
    return Kept(key, response, (Share("fast", 1, "m", "1"),), "none", (), 0.1, 1.0, 60.0, "", 600)


@pytest.fixture
async def gate(redis: Redis) -> AsyncIterator[Gate]:
    """One whose Redis has the first key's answer, which another gateway kept there."""
    other, made = await Gate(redis).open(), await Gate(redis).open()
    other.store.keep([answer(KEYS[0])], 60.0)
    assert other.link.connection is not None
    await other.link.connection.ask("PING")
    other.link.close()
    yield made
    made.link.close()


async def test_equal_ones_look_once(gate: Gate) -> None:
    """Whoever misses the same; what is near to one and not to another makes no difference."""
    gate.near.keep([answer(KEYS[2])], 60.0)
    asking = [gate.find(KEYS[0], KEYS[1]) for _ in range(5)] + [gate.find(KEYS[2], KEYS[0], KEYS[1])]
    assert [[True, False]] * 5 + [[True, True, False]] == await asyncio.gather(*asking)
    assert {"ok": 1} == gate.told


async def test_others_look_for_themselves(gate: Gate) -> None:
    """Other keys are another question; so is the same one later."""
    assert [[True], [False]] == list(await asyncio.gather(gate.find(KEYS[0]), gate.find(KEYS[1])))
    assert [False] == await gate.find(KEYS[1])
    assert {"ok": 3} == gate.told


@pytest.mark.parametrize("leaving", [0, 1])
async def test_one_may_leave(gate: Gate, redis: Redis, leaving: int) -> None:
    """If it was the one who looks, another does."""
    redis.hang()
    asking = [gate.find(KEYS[0]) for _ in range(3)]
    await asyncio.sleep(0)
    asking.pop(leaving).cancel()
    await asyncio.sleep(0)
    redis.go_on()
    assert [[True], [True]] == await asyncio.gather(*asking)
    assert {} == gate.store._looking


async def test_what_comes_meanwhile_is_found(gate: Gate, redis: Redis) -> None:
    """It was kept here while the store was asked; also where the store never answers."""
    redis.hang()
    asking = [gate.find(KEYS[1]), gate.find(KEYS[2])]
    await asyncio.sleep(0)
    gate.near.keep([answer(KEYS[1])], 60.0)
    redis.go_on()
    assert [[True], [False]] == await asyncio.gather(*asking)
    redis.hang()
    late = gate.find(KEYS[2])
    await asyncio.sleep(0)
    gate.near.keep([answer(KEYS[2])], 60.0)
    redis.kill()
    assert [True] == await late
