"""Work beside requests: what is taken, what is refused and why, and that nothing of it is left."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import msgspec
import pytest

from gateway.spawner import Spawner
from policies.beside import ROOM, Places, Work


class Limits(msgspec.Struct, frozen=True):
    """Bounds."""

    in_flight: int = 1
    queue: int = 1
    budget: tuple[float, float] | None = None


class Bench:
    """Places whose work waits to be let go."""

    def __init__(self, spawner: Spawner) -> None:
        self.now, self.told, self.go = 0.0, list[str](), asyncio.Event()
        self.places, self.spawner = Places(lambda: self.now), spawner

    def offer(self, bounds: Limits, size: int = 10) -> str:
        async def do() -> str:
            await self.go.wait()
            return "done"

        return self.places.offer(bounds, Work(size, do, self.told.append), self.spawner.spawn, "work")

    async def ended(self) -> None:
        self.go.set()
        for _ in range(20):
            await asyncio.sleep(0)


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    spawner = Spawner()
    yield Bench(spawner)
    await spawner.close()


async def test_places_and_a_queue(bench: Bench) -> None:
    """One at once, one waits, the third is refused; when all have ended nothing is held."""
    assert ["", "", "queue-full"] == [bench.offer(Limits()) for _ in range(3)]
    assert (1, 1, 20) == (bench.places.running, len(bench.places.waiting), bench.places.held)
    await bench.ended()
    assert (["done", "done"], 0, 0) == (bench.told, bench.places.held, len(bench.places.waiting))


async def test_bytes(bench: Bench) -> None:
    """One piece may always be held; beyond the room no other."""
    bounds = Limits(queue=9)
    assert ["", "memory"] == [bench.offer(bounds, ROOM + 1), bench.offer(bounds, 1)]


async def test_a_budget(bench: Bench) -> None:
    """Is overdrawn by one at most, and grows back with time."""
    bounds = Limits(in_flight=9, budget=(2.0, 1.0))
    assert "" == bench.offer(bounds)
    bench.places.spent(3.0)
    assert "budget" == bench.offer(bounds)
    bench.now += 1.5
    assert "" == bench.offer(bounds)


async def test_the_end_of_the_process(bench: Bench) -> None:
    """What is done then is abandoned, and what is offered later refused."""
    bench.offer(Limits())
    await asyncio.sleep(0)
    await bench.spawner.close()
    assert (["abandoned"], 0, 0) == (bench.told, bench.places.running, bench.places.held)
    assert "busy" == bench.offer(Limits())
