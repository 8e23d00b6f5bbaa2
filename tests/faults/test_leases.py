"""Equal questions at several processes that share a Redis: one asks for all; leaders are killed, and Redis under them."""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.faults.figures import LONG, Figures
from tests.faults.sharing import up
from tests.features.conftest import Running, ask, framed, image, run
from tests.features.oip_server import Received, Server, answered, written
from tests.real_parts import GatewayProcess, Redis, passed_through, start_gateway, until

pytestmark = pytest.mark.slow

PART = "Leases"
CLIENTS = 1000
QUESTIONS, TIMES, AT_ONCE = (400, 20, 32) if LONG else (20, 20, 32)
USUAL = 1.5 if LONG else 4  # of four workers each asks once at most, however late Redis is on a busy machine
SECONDS = 20.0 if LONG else 2.0
DEATHS = 10 if LONG else 1


class Slow(Server):
    """A backend whose answers wait until `go` is set, and then take so many `seconds`; `moments`: when it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.go = asyncio.Event()
        self.go.set()
        self.seconds = 0.0
        self.moments: list[float] = []
        self._news = asyncio.Condition()
        self.scripts["digits_fast"] = self._late

    async def _late(self, asked: Received, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        self.moments.append(time.monotonic())
        async with self._news:
            self._news.notify_all()
        await self.go.wait()
        await asyncio.sleep(self.seconds)
        writer.write(written(200, *answered(asked, {})))
        return True

    async def was_asked(self, times: int) -> None:
        """Returns when it was asked so often."""
        async with self._news:
            await self._news.wait_for(lambda: len(self.moments) >= times)


@pytest.fixture
async def backend() -> AsyncIterator[Slow]:
    """Counts who asks it."""
    server = Slow()
    await server.start()
    yield server
    server.go.set()
    await server.close()


def document(backend: Slow) -> dict[str, Any]:
    """One model with a cache. Its version is said: else what a gateway has seen the backend serve would be in the key."""
    variant = {"backend": "triton", "model": "digits_fast", "version": "1"}
    model = {**passed_through("digits_fast", "triton"), "variants": {"digits_fast": variant}, "cache": {"ttl": "10m"}}
    return {
        "version": 1,
        "backends": {"triton": {"protocol": "triton-http", "endpoints": [f"127.0.0.1:{backend.port}"]}},
        "models": {"digits_fast": model},
    }


@asynccontextmanager
async def started(folder: Path, policy: Mapping[str, Any], redis: Redis, workers: int = 1) -> AsyncIterator[GatewayProcess]:
    """Processes of their own, so many workers, that have found Redis. This loop goes on: the backend is here."""
    await asyncio.to_thread(folder.mkdir)
    running = await asyncio.to_thread(start_gateway, folder, policy, settings={"store": redis.url, "workers": workers})
    try:
        await asyncio.to_thread(until, lambda: workers == running.metric("penstock_store_up"))
        yield running
    finally:
        await asyncio.to_thread(running.stop)
    assert "Traceback" not in running.log()


def question(to: GatewayProcess, row: int) -> tuple[int, list[bytes]]:
    """Where it goes, and its bytes."""
    body = json.dumps({"inputs": [image([row])]}).encode()
    return int(to.http.rpartition(":")[2]), framed("POST", "/v2/models/digits_fast/infer", to.credential, body)


async def test_a_thousand_equal_questions_are_one(redis: Redis, backend: Slow, tmp_path: Path, figures: Figures) -> None:
    """At four workers, all at the same moment: the backend is asked by one of them, four times at most."""
    async with started(tmp_path / "gateway", document(backend), redis, 4) as running:
        backend.go.clear()
        asking = [asyncio.ensure_future(ask(*question(running, 1))) for _ in range(CLIENTS)]
        await backend.was_asked(1)
        await asyncio.sleep(0.5)  # the others come meanwhile
        backend.go.set()
        replies = await asyncio.gather(*asking)
        assert {200: CLIENTS} == Counter(each.status for each in replies)
        assert 1 == len({json.dumps(each.json["outputs"]) for each in replies})
        asked = len(backend.moments)
        figures.at_most(PART, f"asks for {CLIENTS} equal questions at 4 workers", asked, 4)

        backend.seconds, rows, places = 0.05, list(range(100, 100 + QUESTIONS)) * TIMES, asyncio.Semaphore(AT_ONCE)
        random.Random(5).shuffle(rows)

        async def one(row: int) -> int:
            async with places:
                return (await ask(*question(running, row))).status

        assert {200: len(rows)} == Counter(await asyncio.gather(*(one(row) for row in rows)))
        each = (len(backend.moments) - asked) / QUESTIONS
        figures.at_most(PART, f"asks for each of {QUESTIONS} questions that {AT_ONCE} clients ask", each, USUAL)


@pytest.mark.timed
async def test_a_dead_leader_is_replaced(redis: Redis, backend: Slow, tmp_path: Path, figures: Figures) -> None:
    """A process is killed while it asks for another as well, which asks then, and nobody there fails."""
    policy, seconds = document(backend), list[float]()
    (tmp_path / "survivor").mkdir()
    survivor = await run(tmp_path / "survivor", json.dumps(policy), store=redis.url)
    await up([survivor])
    for number in range(DEATHS):
        backend.go.clear()
        backend.moments.clear()
        async with started(tmp_path / f"leader-{number}", policy, redis) as leader:
            lost = asyncio.ensure_future(ask(*question(leader, number)))
            await backend.was_asked(1)
            body = question(leader, number)[1][1]
            waiting = asyncio.ensure_future(survivor.ask("POST", "/v2/models/digits_fast/infer", body))
            await asyncio.sleep(0.3)
            assert 1 == len(backend.moments)
            leader.process.kill()
            killed = time.monotonic()
            await backend.was_asked(2)
            seconds.append(backend.moments[1] - killed)
            backend.go.set()
            assert 200 == (await waiting).status
            with pytest.raises((OSError, asyncio.IncompleteReadError)):
                await lost
    await survivor.stop()
    figures.within(PART, f"until a killed leader is replaced, worst of {DEATHS}", max(seconds), 0.2)


async def trouble(redis: Redis, chance: random.Random) -> None:
    """In every way, again and again."""
    began = time.monotonic()
    for fault in itertools.cycle(("kill", "hang", "flush")):
        if time.monotonic() - began > SECONDS:
            break
        if fault == "kill":
            redis.kill()
            await asyncio.to_thread(redis.start)
        elif fault == "hang":
            redis.hang()
            await asyncio.sleep(0.2 * chance.random())
            redis.go_on()
        else:
            await asyncio.to_thread(redis.told, "FLUSHALL")
        await asyncio.sleep(0.4)


async def test_redis_fails_under_flights(redis: Redis, backend: Slow, tmp_path: Path, figures: Figures) -> None:
    """Killed, hung, emptied while flights are on their way: no question fails, and no lease is left at the end."""
    backend.seconds = 0.03
    policy = json.dumps(document(backend))
    gates = list[Running]()
    for name in ("a", "b", "c"):
        (tmp_path / name).mkdir()
        gates.append(await run(tmp_path / name, policy, store=redis.url))
    await up(gates)
    chance, statuses, over = random.Random(11), Counter[int](), False

    async def client(gate: Running) -> None:
        while not over:
            row = (
                chance.randrange(10_000_000) if chance.random() < 0.3 else int(time.monotonic() * 20)
            )  # many ask about the latter
            body = json.dumps({"inputs": [image([row])]}).encode()
            statuses[(await gate.ask("POST", "/v2/models/digits_fast/infer", body)).status] += 1

    clients = [asyncio.ensure_future(client(gate)) for gate in gates for _ in range(8)]
    await trouble(redis, chance)
    over = True
    await asyncio.gather(*clients)
    total = statuses.total()
    figures.none_of(PART, "failed requests while Redis is killed, hung and emptied", total - statuses[200], total)
    leases = [gate.gateway._store.leases for gate in gates if gate.gateway._store is not None]
    figures.none_of(PART, "leases left after it", sum(each.held for each in leases if each is not None), total)
    for gate in gates:
        await gate.stop()
