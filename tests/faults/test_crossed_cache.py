"""Two hundred tenants ask and leave while operators purge and change policies: nobody has an answer that is not his own."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import pytest

from backends.deadline import Deadline
from backends.errors import ErrorKind, InferenceError
from backends.inference import InferenceRequest, InferenceResponse, Tensors, TensorSpec
from backends.tensors import from_array
from gateway.spawner import Spawner
from policies.cache import CachePolicy
from policies.call import Answer, Call, Policy, Share
from policies.coalesce import CoalescePolicy, Leases
from policies.keeping import Around, Store
from policies.local_store import LocalStore
from policies.onion import onion
from routing.cache.caching import Caching, Purge
from routing.cache.key import Keys
from routing.match import Question
from routing.plan import Plan, Stage, Target
from routing.principal import Principal
from tests.faults.figures import LONG, Figures
from tests.policies.leased import Held, Shared

TENANTS, ROWS, EPOCHS = 200, 12, 3
OPERATIONS = 100_000 if LONG else 10_000
AT_ONCE = 100
ROOM = 600_000  # bytes, less than all there is: entries are pushed out, too
TARGET = Target("fast", "triton", "f", "1", 1.0)


@dataclass
class Crowd:
    """Asks at random. The backend writes into each row whose it is, which row, under which policy and about which parameter."""

    shared: bool = False
    chance: random.Random = field(default_factory=lambda: random.Random(7))
    now: float = 0.0
    crossed: int = 0
    answered: int = 0
    left: int = 0
    failed: int = 0
    asked: int = 0
    stores: Sequence[Store] = ()
    keys: Sequence[Keys] = (Keys(b"k" * 32, lambda _: ()),)  # of each store
    leases: Leases | None = None

    def __post_init__(self) -> None:
        self.spawner = Spawner()
        if not self.stores:
            self.stores = [LocalStore(ROOM, lambda: self.now)]
        self.plans = [
            Plan("r", (Stage(TARGET),), 30.0, cache=Caching(2.0, bytes([epoch]), rows, self.shared, 6.0, 9.0, tag="all"))
            for epoch in range(EPOCHS)
            for rows in (False, True)
        ]
        self.results: dict[str, int] = {}
        self.change()

    def change(self) -> None:
        """As a reload does: new layers before the same store."""
        around = Around(lambda: self.now, self.chance.random, self.spawner.spawn)
        self.asks = []
        for store, keys in zip(self.stores, self.keys, strict=True):
            cache = CachePolicy(store, keys, self._told, around)
            coalesce = CoalescePolicy(self.spawner.spawn, lambda: self.now, self.leases)
            layers: dict[str, Policy] = {"cache": cache, "coalesce": coalesce}
            self.asks.append(onion(layers, self.backend))

    def _told(self, _: str, result: str) -> None:
        self.results[result] = self.results.get(result, 0) + 1

    async def backend(self, call: Call) -> Answer:
        self.asked += 1
        for _ in range(self.chance.randrange(6)):
            await asyncio.sleep(0)
        if self.chance.random() < 0.05:
            raise InferenceError(ErrorKind.UNAVAILABLE, "away")
        (x,) = call.request.payload.tensors()
        rows = x.array()[:, 0]
        assert call.plan.cache is not None
        marks = (int(call.principal.tenant), call.plan.cache.epoch[0], int(call.request.parameters["seed"]))
        output = from_array("marks", "INT64", np.array([[*marks, row] for row in rows]))
        response = InferenceResponse("f", "1", "", {}, Tensors((output,)))
        return Answer(response, (Share("fast", len(rows), "f", "1"),), 1.0 * len(rows), 0.001)

    def question(self) -> tuple[Call, list[list[int]]]:
        """A call, and what its answer must say."""
        tenant, seed = int(TENANTS * self.chance.random() ** 6), self.chance.randrange(2)
        plan = self.chance.choice(self.plans)
        rows = self.chance.choices(range(ROWS), k=self.chance.randint(1, 4))
        tensors = (from_array("x", "INT32", np.array([[row] for row in rows])),)
        specs = tuple(TensorSpec(each.name, each.datatype, each.shape) for each in tensors)
        request = InferenceRequest("digits", "", "id", {"seed": seed}, specs, (), Tensors(tensors))
        who = Principal("ann", str(tenant))
        control = self.chance.choice(("no-cache", "no-store", *[""] * 18))
        heard = Question(who, {"cache-control": control} if control else {}, len(rows), {}, "", "r")
        call = Call("digits", request, who, plan, Deadline(self.now + 30), question=heard, received=self.now)
        assert plan.cache is not None
        return call, [[tenant, plan.cache.epoch[0], seed, row] for row in rows]

    async def one(self) -> None:
        """One operation."""
        self.now += 0.004
        what = self.chance.random()
        if what < 0.001:
            which = self.chance.choice((Purge(model="digits"), Purge(variant="fast", version="1"), Purge(tag="none")))
            self.chance.choice(self.stores).purge(which, self.now)
        elif what < 0.002:
            self.change()
        call, expected = self.question()
        asking = asyncio.ensure_future(self.chance.choice(self.asks)(call))
        if self.chance.random() < 0.2:
            for _ in range(self.chance.randrange(8)):
                await asyncio.sleep(0)
            asking.cancel()
        try:
            answer = await asking
        except asyncio.CancelledError:
            self.left += 1
        except InferenceError:
            self.failed += 1
        else:
            self.answered += 1
            (marks,) = answer.response.payload.tensors()
            self.crossed += marks.array().tolist() != expected

    async def run(self, operations: int) -> None:
        async def several(count: int) -> None:
            for _ in range(count):
                await self.one()

        await asyncio.gather(*(several(operations // AT_ONCE) for _ in range(AT_ONCE)))
        await self.spawner.close()


@pytest.mark.slow
async def test_no_answer_crosses(figures: Figures) -> None:
    """Of all answers none is another tenant's, row's, policy's or question's; and the cache was in use in all its ways."""
    crowd = Crowd()
    await crowd.run(OPERATIONS)
    figures.none_of("Cache", f"answers crossed between {TENANTS} tenants", crowd.crossed, crowd.answered)
    assert {"hit", "stale", "miss", "partial", "collapsed", "request"} <= set(used(crowd.results, OPERATIONS / 2000))
    assert crowd.left > OPERATIONS / 50


class Fickle(Shared):
    """Leases of a store that goes away, comes back and forgets."""

    def __init__(self, chance: random.Random) -> None:
        super().__init__()
        self._chance = chance

    async def take(self, key: bytes, until: float) -> Held | Literal["landed"] | None:
        self.away = self._chance.random() < 0.02
        if self._chance.random() < 0.1:
            self.landed.clear()
        return await super().take(key, until)


@pytest.mark.slow
async def test_no_answer_crosses_between_processes(figures: Figures) -> None:
    """Two that share a store and its leases, and wait for each other's flights: none either, and nothing is held at the end."""
    leases = Fickle(random.Random(3))
    store = LocalStore(ROOM, lambda: crowd.now)
    crowd = Crowd(stores=[store, store], keys=[*Crowd.keys, *Crowd.keys], leases=leases)
    await crowd.run(OPERATIONS if LONG else 4_000)
    figures.none_of("Leases", f"answers crossed between {TENANTS} tenants at two processes", crowd.crossed, crowd.answered)
    assert min(len(leases.given), leases.refused) > 20
    assert {} == leases.held


async def test_the_test_sees_crossed_answers() -> None:
    """The control: with a cache that tenants share, which this backend's answers are not fit for, they are seen at once."""
    crowd = Crowd(shared=True)
    await crowd.run(2_000)
    assert crowd.crossed > crowd.answered / 10


def used(results: dict[str, int], least: float) -> Sequence[str]:
    return [result for result, count in results.items() if count >= least]
