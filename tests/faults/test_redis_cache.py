"""A cache whose second level is a Redis that is hung, killed, full, read-only or failed over: no request fails or waits."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from statistics import median

import pytest

from gateway.spawner import Spawner
from gateway.store.address import parse
from gateway.store.answer_scripts import STATE
from gateway.store.answers import SharedAnswers
from gateway.store.link import Link
from gateway.store.login import Login
from policies.keeping import Around
from policies.local_store import LocalStore
from routing.cache.key import Keys
from tests.faults.fault_proxy import FaultProxy
from tests.faults.figures import LONG, Figures
from tests.faults.sharing import Client, sharing, up
from tests.faults.test_crossed_cache import OPERATIONS, TENANTS, Crowd
from tests.features.conftest import Reply, Running, ask, framed, image
from tests.features.oip_server import Server
from tests.real_parts import Redis, passed_through, start_gateway
from tests.real_parts import until as wait_until

pytestmark = pytest.mark.slow

PART = "Cache in Redis"
LOAD = 6.0 if LONG else 0.9  # seconds; the fault is there for the middle third
RATE = 150.0  # questions a second of each client
POLICY = """
version: 1
backends: {triton: {protocol: triton-http, endpoints: ["127.0.0.1:PORT"]}}
models:
  digits:
    timeout: 5s
    cache: {ttl: 400ms, rows: ROWS}
    variants: {fast: {backend: triton, model: digits_fast}}
    routes: [{name: default, use: fast}]
"""
ROWS = POLICY.replace("ROWS", "true")
AT_ONCE = {"repl-diskless-sync-delay": "0"}  # a replica waits 5 s for others, else
KEPT = POLICY.replace("ROWS", "false").replace("400ms", "10m")


class Asker(Client):
    """Asks about two images at random, so that some are near, some in Redis and some nowhere; checks what it is told."""

    def __init__(self, gate: Running, seed: int) -> None:
        super().__init__(gate)
        self._chance = random.Random(seed)
        self._gate = gate
        self.about(0, 1)

    def about(self, *images: int) -> None:
        """The next question."""
        body = json.dumps({"inputs": [image(images)]}).encode()
        self.request = b"".join(framed("POST", "/v2/models/digits/infer", self._gate.credential("free"), body))

    async def ask(self) -> int:
        """One question; the status."""
        self.about(*self._chance.choices(range(60), k=2))
        return await super().ask()


async def hit(gate: Running, row: int) -> bool:
    """Asks about one image; whether it was kept."""
    reply = await gate.infer([row])
    assert 200 == reply.status
    return "penstock; hit" in reply.headers["cache-status"]


async def until(condition: Callable[[], Awaitable[bool]]) -> float:
    """How long it took."""
    began = time.monotonic()
    async with asyncio.timeout(20):
        while not await condition():  # noqa: ASYNC110 - what is waited for is seen from outside only
            await asyncio.sleep(0.005)
    return time.monotonic() - began


@pytest.fixture
async def backend() -> AsyncIterator[Server]:
    """One for all gateways: what they are asked is the same question only if it goes to the same place."""
    server = Server()
    await server.start()
    yield server
    await server.close()


@asynccontextmanager
async def two(folder: Path, policy: str, store: str, backend: Server, **settings: str) -> AsyncIterator[list[Running]]:
    """Two gateways that have found the store."""
    async with sharing(folder, policy.replace("PORT", str(backend.port)), store, 2, "", **settings) as gates:
        await up(gates)
        yield gates


async def shared(gates: Sequence[Running], first: int) -> float:
    """How long it takes until what one gateway is asked the other has from Redis."""
    numbers = iter(range(first, first + 10_000))

    async def is_shared() -> bool:
        number = next(numbers)
        await hit(gates[0], number)
        return await hit(gates[1], number)

    return await until(is_shared)


def offset(redis: Redis, name: str) -> int:
    """How far it has come in what the primary writes."""
    return int(redis.told("INFO", "replication").partition(f"{name}:")[2].split()[0])


@asynccontextmanager
async def failed_over(tmp_path: Path) -> AsyncIterator[tuple[FaultProxy, Callable[[], Awaitable[None]]]]:
    """A primary with a replica behind one address; what kills the primary, and lets the replica take its place."""
    (tmp_path / "one").mkdir()
    (tmp_path / "other").mkdir()
    with Redis(tmp_path / "one", **AT_ONCE) as one, Redis(tmp_path / "other", replicaof=f"127.0.0.1 {one.port}") as other:

        async def is_replica() -> bool:
            return "master_link_status:up" in other.told("INFO", "replication")

        await until(is_replica)
        proxy = FaultProxy(one.port)
        await proxy.start()

        async def over() -> None:
            written = offset(one, "master_repl_offset")

            async def caught_up() -> bool:
                return offset(other, "slave_repl_offset") >= written

            await until(caught_up)
            one.kill()
            proxy.behind = "127.0.0.1", other.port
            await asyncio.sleep(LOAD / 6)  # for so long it is a replica still
            other.told("REPLICAOF", "NO", "ONE")

        yield proxy, over
        await proxy.stop()


async def asked_through(clients: Sequence[Client], begin: Callable[[], object], end: Callable[[], object]) -> None:
    """All of them ask all the time while the fault begins and ends."""
    asking = asyncio.gather(*(client.ask_for(LOAD, RATE) for client in clients))
    for step in (begin, end):
        await asyncio.sleep(LOAD / 3)
        done = step()
        if isinstance(done, Awaitable):
            await done
    await asking


async def through(gates: Sequence[Running], begin: Callable[[], object], end: Callable[[], object]) -> tuple[int, int]:
    """Asks both gateways all the time while the fault begins and ends: how many failed, of how many."""
    clients = [Asker(gate, seed) for seed, gate in enumerate((*gates, *gates))]
    await asked_through(clients, begin, end)
    for client in clients:
        client.close()
    told = [status for client in clients for status, _, _ in client.told]
    return sum(status != 200 for status in told), len(told)


FAULTS: dict[str, tuple[Callable[[Redis], object], Callable[[Redis], object]]] = {
    "hung": (Redis.hang, Redis.go_on),
    "killed": (Redis.kill, Redis.start),
    "flushed": (lambda redis: redis.told("FLUSHALL"), lambda redis: redis.told("SCRIPT", "FLUSH")),
    "full": (
        lambda redis: redis.told("CONFIG", "SET", "maxmemory", "1"),
        lambda redis: redis.told("CONFIG", "SET", "maxmemory", "0"),
    ),
    "read-only": (
        lambda redis: redis.told("REPLICAOF", "127.0.0.1", "1"),
        lambda redis: redis.told("REPLICAOF", "NO", "ONE"),
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_no_request_fails(redis: Redis, backend: Server, tmp_path: Path, figures: Figures, fault: str) -> None:
    """Before, during and after the fault everybody is answered; afterwards the gateways share answers again."""
    begin, end = FAULTS[fault]
    async with two(tmp_path, ROWS, redis.url, backend) as gates:
        failed, asked = await through(gates, lambda: begin(redis), lambda: end(redis))
        figures.none_of(PART, f"failed requests, {fault}", failed, asked)
        await shared(gates, 1000)
        found = sum([(await gate.metrics())["penstock_cache_store_total", ("found",)] for gate in gates])
        assert found > 0


async def test_a_failover_fails_nobody(backend: Server, tmp_path: Path, figures: Figures) -> None:
    """The primary is killed, its replica takes its address, read-only at first; what was kept is found there."""
    async with failed_over(tmp_path) as (proxy, over), two(tmp_path, KEPT, f"redis://127.0.0.1:{proxy.port}", backend) as gates:
        for number in range(7000, 7020):
            assert not await hit(gates[0], number)
        await shared(gates, 1000)
        failed, asked = await through(gates, over, lambda: None)
        figures.none_of(PART, "failed requests, failed over", failed, asked)
        await up(gates)
        before = iter(range(7000, 7020))
        await until(lambda: hit(gates[1], next(before)))  # one, as Redis may be late now and then
        await shared(gates, 2000)


@pytest.mark.timed
@pytest.mark.parametrize("fault", ["hung", "killed"])
async def test_requests_hardly_wait(redis: Redis, backend: Server, tmp_path: Path, figures: Figures, fault: str) -> None:
    """The first lose 50 ms, the others nothing, and soon after its return it is asked again."""
    async with two(tmp_path, KEPT, redis.url, backend) as gates:
        asker, number = Client(gates[0]), 0

        async def asks(count: int) -> list[float]:
            nonlocal number
            before = len(asker.told)
            for _ in range(count):
                number += 1
                body = json.dumps({"inputs": [image([number])]}).encode()
                asker.request = b"".join(framed("POST", "/v2/models/digits/infer", gates[0].credential("free"), body))
                await asker.ask()
            return [seconds for _, _, seconds in asker.told[before:]]

        normal = median(await asks(100))
        redis.hang() if fault == "hung" else redis.kill()
        first = max(await asks(3))
        await up(gates, False)
        alone = median(await asks(100))
        redis.start() if fault == "killed" else redis.go_on()
        back = await up(gates)
        await shared(gates, 5000)
        again = median(await asks(100))
        asker.close()
        assert {200} == {status for status, _, _ in asker.told}
        figures.within(PART, f"wait of the first requests, {fault}", max(0.0, first - normal), 0.05)
        figures.within(PART, f"wait of the others, {fault}", max(0.0, alone - normal), 0.001)
        figures.within(PART, f"asked again after its return, {fault}", back, 1.0)
        figures.within(PART, f"wait after its return, {fault}", max(0.0, again - normal), 0.001)


@pytest.mark.timed
async def test_a_purge_reaches_the_other_gateway(redis: Redis, backend: Server, tmp_path: Path, figures: Figures) -> None:
    """Within a second also what it has in memory is gone; while Redis is away the API says that others do not know."""
    async with two(tmp_path, KEPT, redis.url, backend) as gates:

        async def gone() -> bool:
            return not await hit(gates[1], 1)

        assert [False, True, True] == [await hit(gates[place], 1) for place in (0, 1, 1)]
        assert {"purged": "answers of model digits", "heard": True} == (await purge(gates[0])).json
        figures.within(PART, "a purge is heard of by another gateway", await until(gone), 1.0)
        redis.hang()
        assert {"purged": "answers of model digits", "heard": False} == (await purge(gates[0])).json
        assert await hit(gates[1], 1)
        redis.go_on()
        await up(gates)
        await until(gone)


async def purge(gate: Running) -> Reply:
    """What `penstock cache purge --model digits` asks."""
    body = json.dumps({"model": "digits"}).encode()
    port = gate.gateway.ports.admin.port
    return await ask(port, framed("POST", "/api/cache/purge", gate.credential("admin"), body))


async def test_a_changed_policy_finds_nothing_of_before(redis: Redis, backend: Server, tmp_path: Path) -> None:
    """At either gateway: neither another version's answers nor another definition's."""
    changes = ("{backend: triton, model: digits_fast, version: '2'}", "{backend: triton, model: digits_fast, cost: 2}")
    async with two(tmp_path, KEPT, redis.url, backend) as gates:
        for place, change in enumerate(changes):
            await shared(gates, 1000 * place)
            numbers = 1000 * place + 500, 1000 * place + 501
            for gate in gates:
                assert [True, True] == [await hit(gate, number) or await hit(gate, number) for number in numbers]
            for gate in gates:
                await gate.reload(
                    KEPT.replace("{backend: triton, model: digits_fast}", change).replace("PORT", str(backend.port))
                )
            assert [False, False] == [await hit(gate, number) for gate, number in zip(gates, numbers, strict=True)]
        await shared(gates, 1000 * len(changes))


async def test_workers_share_and_a_purge_is_one_order(redis: Redis, backend: Server, tmp_path: Path) -> None:
    """Two workers have one another's answers; both are told of a purge, and in Redis it has one number."""
    model = {**passed_through("digits_fast", "triton"), "cache": {"ttl": "10m"}}
    document = {
        "version": 1,
        "backends": {"triton": {"protocol": "triton-http", "endpoints": [f"127.0.0.1:{backend.port}"]}},
        "models": {"digits_fast": model},
    }
    gateway = await asyncio.to_thread(start_gateway, tmp_path, document, settings={"store": redis.url, "workers": 2})
    try:
        await asyncio.to_thread(wait_until, lambda: 2 == gateway.metric("penstock_store_up"))
        body = json.dumps({"inputs": [image([1])]}).encode()
        request = framed("POST", "/v2/models/digits_fast/infer", gateway.credential, body)
        port = int(gateway.http.rpartition(":")[2])

        async def asks() -> list[Reply]:
            return [await ask(port, request) for _ in range(20)]  # each over a connection of its own, dealt out to both

        order = framed("POST", "/api/cache/purge", gateway.bearer(scope="models:admin"), b"{}")
        missed = orders = 0

        async def purged() -> bool:
            nonlocal orders
            orders += 1
            told = (await ask(int(gateway.admin.rpartition(":")[2]), order)).json
            assert told in [{"purged": "all answers", "heard": heard} for heard in (True, False)]
            return bool(told["heard"])  # not, if Redis was late

        for number in (1, 2):
            told = await asks()
            missed += sum("fwd=miss; stored" in each.headers["cache-status"] for each in told)  # others collapsed with it
            assert (20, missed) == (sum(200 == each.status for each in told), len(backend.asked))
            assert number <= missed <= 2 * number
            await until(purged)
            assert number <= int(redis.told("HGET", STATE, "stamp").split()[0]) <= orders
    finally:
        status = await asyncio.to_thread(gateway.stop)
    assert (0, False) == (status, "Traceback" in gateway.log())


class _Nobody:
    def __init__(self) -> None:
        self.told: dict[str, int] = {}

    def stored(self, outcome: str, seconds: float) -> None:
        """Nobody is told."""

    def shared(self, outcome: str, count: int) -> None:
        self.told[outcome] = self.told.get(outcome, 0) + count


async def test_no_answer_crosses(redis: Redis, figures: Figures) -> None:
    """Two gateways with little memory and one Redis, two hundred tenants who leave, purges and changes of policy."""
    crowd, spawner, told = Crowd(), Spawner(), _Nobody()
    around = Around(lambda: crowd.now, crowd.chance.random, spawner.spawn)
    keys = [Keys(bytes([number]) * 32, lambda _: ()) for number in range(2)]
    links = [Link(parse(redis.url), Login(), 5.0, most=1 << 20) for _ in keys]
    stores = [
        SharedAnswers(link, LocalStore(60_000, lambda: crowd.now), key, told, around)
        for link, key in zip(links, keys, strict=True)
    ]
    crowd.stores, crowd.keys = stores, keys
    crowd.change()
    for link, store in zip(links, stores, strict=True):
        assert await link.attempt()
        spawner.spawn(store.renew(), "agreement")
    operations = OPERATIONS if LONG else OPERATIONS // 3
    await crowd.run(operations)
    for link in links:
        link.close()
    await spawner.close()
    figures.none_of("Cache", f"answers crossed between {TENANTS} tenants, through Redis", crowd.crossed, crowd.answered)
    assert told.told["found"] > operations / 20
    assert crowd.left > operations / 50
