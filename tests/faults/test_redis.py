"""A Redis that is hung, killed, emptied, full or wrong behind gateways: limits stay limits, no request fails or waits for it."""

from __future__ import annotations

import asyncio
import json
import random
import signal
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest

from gateway.store.address import parse
from gateway.store.connection import Connection, Word, packed
from gateway.store.link import Link
from gateway.store.login import Login
from gateway.store.meter import SharedMeter
from gateway.store.scripts import LEASES, stored
from routing.demand import Demand, Verdict
from routing.gcra import gcra
from tests.faults.fault_proxy import NONE, FaultProxy, Faults
from tests.faults.figures import LONG, Figures
from tests.faults.sharing import Client, limited, sharing, up, usual
from tests.faults.silent import SilentHttp
from tests.faults.traffic import traffic
from tests.features.conftest import Running, ask, framed, image
from tests.features.oip_server import Server
from tests.real_parts import Redis, passed_through, start_gateway, until

pytestmark = pytest.mark.slow

PART = "Redis"
RATE, BURST = 100, 20
STEADY = 10.0 if LONG else 2.0  # seconds
AWAY = 4.0 if LONG else 1.0
CANCELS = 10_000 if LONG else 1_000
OPEN = 1_000_000  # a second: a limit that is counted, and never reached


async def test_two_gateways_keep_one_limit(redis: Redis, tmp_path: Path, figures: Figures) -> None:
    """What both let through together is what one exact bucket would have of the same questions, to a per cent."""
    async with sharing(tmp_path, limited(RATE, BURST), redis.url) as gates:
        error, well = 0.0, False
        for _ in range(4):  # on a starved machine Redis is late at times, which is no steady state
            await asyncio.sleep(BURST / RATE)  # until the bucket is as at first
            await up(gates)
            clients, before = [Client(gate) for gate in gates], await decided_alone(gates)
            await asyncio.gather(*(client.ask_for(STEADY, 2 * RATE) for client in clients))
            exact = allowed_by_one([at - seconds / 2 for client in clients for _, at, seconds in client.told])
            assert exact > RATE * STEADY / 2
            error = 100 * abs(sum(client.allowed() for client in clients) / exact - 1)
            for client in clients:
                client.close()
            if well := before == await decided_alone(gates):
                break
        assert well
        figures.at_most("Limits", "error of a limit that two gateways share", error, 1, " %")


def allowed_by_one(times: Iterable[float]) -> int:
    """How many of the questions at these times one bucket lets through."""
    tat, allowed = float("-inf"), 0
    for at in sorted(times):
        fits, tat, _ = gcra(tat, at, 1, 1 / RATE, BURST)
        allowed += fits
    return allowed


async def decided_alone(gates: Sequence[Running]) -> float:
    """How many requests the gateways have counted without Redis."""
    found = [await gate.metrics() for gate in gates]
    every = [sample for each in found for sample in each.items()]
    return sum(value for (name, labels), value in every if name == "penstock_store_requests_total" and labels != ("ok",))


@pytest.mark.parametrize("fault", ["hung", "killed"])
async def test_while_redis_is_away_at_most_twice_a_limit(redis: Redis, tmp_path: Path, figures: Figures, fault: str) -> None:
    """Each gateway goes on alone, from where it was; none refuses everything."""
    async with sharing(tmp_path, limited(RATE, BURST), redis.url) as gates:
        await up(gates)
        clients = [Client(gate) for gate in gates]
        await asyncio.gather(*(client.ask_for(0.5, 2 * RATE) for client in clients))
        redis.hang() if fault == "hung" else redis.kill()
        began = time.monotonic()
        await asyncio.gather(*(client.ask_for(AWAY, 2 * RATE) for client in clients))
        taken = time.monotonic() - began
        let_through = sum(client.allowed(began) for client in clients)
        figures.at_most("Limits", f"times a limit, Redis {fault}", let_through / (BURST + RATE * taken), 2)
        assert let_through > 0.9 * RATE * taken
        if fault == "hung":
            redis.go_on()
        for client in clients:
            client.close()


@pytest.mark.parametrize("fault", ["hung", "killed"])
async def test_requests_hardly_wait(redis: Redis, tmp_path: Path, figures: Figures, fault: str) -> None:
    """The first lose 50 ms, the others nothing, and soon after its return Redis is asked again; none fails."""
    async with sharing(tmp_path, limited(OPEN, OPEN), redis.url, 1) as gates:
        await up(gates)
        clients = [Client(gates[0]) for _ in range(4)]
        normal = await usual(clients[0])
        redis.hang() if fault == "hung" else redis.kill()
        began = time.monotonic()
        await asyncio.gather(*(client.ask() for client in clients))
        first = max(max(client.seconds(began)) for client in clients)
        await up(gates, False)
        alone = await usual(clients[0])
        if fault == "killed":
            redis.start()
        redis.go_on()
        back = await up(gates)
        again = await usual(clients[0])
        assert {200} == {status for client in clients for status, _, _ in client.told}
        metrics = await gates[0].metrics()
        assert metrics["penstock_store_requests_total", ("ok",)] >= 200
        figures.within(PART, f"wait of the first requests, {fault}", max(0.0, first - normal), 0.05)
        figures.within(PART, f"wait of the others, {fault}", max(0.0, alone - normal), 0.001)
        figures.within(PART, f"asked again after its return, {fault}", back, 1.0)
        figures.within(PART, f"wait after its return, {fault}", max(0.0, again - normal), 0.001)
        for client in clients:
            client.close()


async def test_a_hang_that_begins_and_ends_and_begins(redis: Redis, tmp_path: Path) -> None:
    """However often it comes and goes, every request is answered."""
    async with sharing(tmp_path, limited(OPEN, OPEN), redis.url, 1) as gates:
        client = Client(gates[0])
        asking = asyncio.create_task(client.ask_for(1.0, 200))
        chance = random.Random(3)
        while not asking.done():
            redis.hang()
            await asyncio.sleep(0.2 * chance.random())
            redis.go_on()
            await asyncio.sleep(0.4 * chance.random())
        await asking
        await up(gates)
        assert (200, 200) == (len(client.told), client.allowed())
        client.close()


WIRE = {
    "slices of seven bytes": (Faults(slices=7), Faults(slices=7)),
    "5 ms more each way": (Faults(latency=0.005), Faults(latency=0.005, jitter=0.005)),
    "a black hole": (NONE, Faults(black_hole=True)),
    "a reset in an answer": (NONE, Faults(reset_after=300)),
    "half a close": (NONE, Faults(half_close_after=300)),
    "bits turned": (Faults(corruption=0.3), Faults(corruption=0.3)),
}


async def test_a_broken_wire_fails_nobody(redis: Redis, tmp_path: Path, figures: Figures) -> None:
    """Whatever becomes of the bytes on their way to Redis and back, requests are answered."""
    proxy = FaultProxy(redis.port)
    await proxy.start()
    async with sharing(tmp_path, limited(OPEN, OPEN), f"redis://127.0.0.1:{proxy.port}", 1) as gates:
        await up(gates)
        client, failed = Client(gates[0]), 0
        for fault, (proxy.asks, proxy.answers) in WIRE.items():
            told = len(client.told)
            await client.ask_for(1.0 if LONG else 0.25, 200)
            allowed = {200, 429} if fault == "bits turned" else {200}  # a turned bit may make a one of a zero: TLS would see it
            failed += sum(status not in allowed for status, _, _ in client.told[told:])
            proxy.asks = proxy.answers = NONE
            await up(gates)
        figures.none_of(PART, "failed requests on a broken wire", failed, len(client.told))
        client.close()
    await proxy.stop()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"requirepass": "hunter2"}, "redis.password_file or PENSTOCK_REDIS_PASSWORD"),
        ({"maxmemory": "1", "maxmemory-policy": "noeviction"}, "raise maxmemory"),
        ({"replicaof": "127.0.0.1 1", "replica-serve-stale-data": "yes"}, "name the primary"),
    ],
)
async def test_a_redis_that_refuses_fails_nobody(
    tmp_path: Path, options: dict[str, str], says: str, caplog: pytest.LogCaptureFixture
) -> None:
    """It is said once for limits, for budgets and for answers, with what to do; requests are counted without it."""
    with Redis(tmp_path, **options) as redis:
        async with sharing(tmp_path, limited(1, 5), redis.url, 1) as gates:
            client = Client(gates[0])
            assert [200] * 5 + [429] == [await client.ask() for _ in range(6)]
            await asyncio.sleep(0.6)  # some more tries
            assert 3 == sum(says in record.message for record in caplog.records if "store" in record.name)
            assert 6 == (await gates[0].metrics())["penstock_store_requests_total", ("away",)]
            client.close()


async def test_it_fills_up_or_forgets_its_scripts_while_it_is_used(redis: Redis, tmp_path: Path) -> None:
    """The request that hears of it is decided here, and nobody fails."""
    async with sharing(tmp_path, limited(OPEN, OPEN), redis.url, 1) as gates:
        await up(gates)
        client = Client(gates[0])
        for words in (("SCRIPT", "FLUSH"), ("CONFIG", "SET", "maxmemory", "1"), ("CLIENT", "KILL", "TYPE", "normal")):
            assert 200 == await client.ask()
            redis.told(*words)
            assert [200] * 3 == [await client.ask() for _ in range(3)]
            redis.told("CONFIG", "SET", "maxmemory", "0")
            await up(gates)
        metrics = await gates[0].metrics()
        assert [1, 1] == [metrics["penstock_store_requests_total", (outcome,)] for outcome in ("forgotten", "full")]
        client.close()


class Careless(Connection):
    """The control: a question that nobody waits for any more loses its place, so its answer goes to the next."""

    async def ask(self, *words: Word) -> object:
        """As it should be but for that."""
        promise: asyncio.Future[object] = asyncio.get_running_loop().create_future()

        def answered(answer: object) -> None:
            if not promise.done():
                promise.set_result(answer)

        self.send(packed(*words), answered)
        place = self._waiting[-1]
        try:
            return await promise
        except asyncio.CancelledError:
            self._waiting.remove(place)
            raise


async def crossed(kind: type[Connection], port: int, cancels: int) -> int:
    """How many questions got another's answer while so many others were cancelled on the way."""
    chance, wrong, left, number = random.Random(11), 0, 0, 0
    loop = asyncio.get_running_loop()
    connection = None
    while left < cancels:
        if connection is None or connection.over:
            _, connection = await loop.create_connection(lambda: kind(lambda _: None, 5.0), "127.0.0.1", port)
        asked = {each: asyncio.create_task(connection.ask("ECHO", each)) for each in range(number, number + 32)}
        number += 32
        for _ in range(1 + chance.randrange(3)):
            await asyncio.sleep(0)
        waiting = [task for task in asked.values() if not task.done()]
        for task in chance.sample(waiting, len(waiting) // 2):
            left += task.cancel()
        answers = await asyncio.gather(*asked.values(), return_exceptions=True)
        wrong += sum(answer != b"%d" % own for own, answer in zip(asked, answers, strict=True) if isinstance(answer, bytes))
    assert connection is not None
    connection.close()
    return wrong


async def test_no_answer_goes_to_another_question(redis: Redis, figures: Figures) -> None:
    """However many leave while they wait; a connection that forgets who left crosses answers in the same test."""
    figures.none_of("Cancellation", "crossed answers, Redis", await crossed(Connection, redis.port, CANCELS), CANCELS)
    figures.at_least("Cancellation", "crossed answers, Redis, careless control", await crossed(Careless, redis.port, 100), 1)


class _Nobody:
    def stored(self, outcome: str, seconds: float) -> None:
        """Nobody is told."""


async def test_no_permit_is_lost(redis: Redis, figures: Figures) -> None:
    """Of those who leave while they wait for a permit, none keeps one, here or in Redis."""
    link = Link(parse(redis.url), Login(), 5.0)
    meter = SharedMeter(link, _Nobody())
    assert await link.attempt()
    demands, chance, left = [Demand("slot", "concurrency", 1, 0.0, 20)], random.Random(5), 0

    async def take() -> bool:
        found = meter.take(demands)
        verdict = found if isinstance(found, Verdict) else await found
        return verdict.limited is None

    while left < CANCELS:
        tasks = [asyncio.create_task(take()) for _ in range(32)]
        for _ in range(1 + chance.randrange(3)):
            await asyncio.sleep(0)
        for task in chance.sample(tasks, 16):
            left += task.cancel()
        for taken in await asyncio.gather(*tasks, return_exceptions=True):
            if taken is True:
                meter.give_back(demands)
    await take()
    meter.give_back(demands)
    await take()  # answered after all that was given back
    meter.give_back(demands)
    assert link.connection is not None
    assert b"PONG" == await link.connection.ask("ECHO", "PONG")
    lost = sum(meter.in_flight.values()) + sum(map(int, redis.told("HVALS", stored("slot")).split()))
    figures.none_of("Cancellation", "permits lost, Redis", lost, CANCELS)
    link.close()


async def test_a_killed_gateway_lets_go_of_its_permits(redis: Redis, tmp_path: Path, figures: Figures) -> None:
    """kill -9 with requests in flight: another gateway has their permits when the lease is over, and not before."""
    silent = SilentHttp()
    await silent.start()
    (folder := tmp_path / "killed").mkdir()
    document = {
        "version": 1,
        "backends": {"b": {"protocol": "triton-http", "endpoints": [f"127.0.0.1:{silent.port}"]}},
        "models": {"simple": passed_through("simple", "b", "60s")},
        "limits": [{"name": "few", "concurrency": 1}],
    }
    killed = start_gateway(folder, document, settings={"store": redis.url})
    policy = limited(OPEN, OPEN).partition("limits:")[0] + "limits: [{name: few, concurrency: 1}]\n"
    async with sharing(tmp_path, policy, redis.url, 1) as gates:
        await up(gates)
        client = Client(gates[0])
        assert 200 == await client.ask()
        with traffic(killed, ("http",)):
            async with asyncio.timeout(5):
                await silent.asked.wait()
            assert 429 == await client.ask()
            killed.process.send_signal(signal.SIGKILL)
            began = time.monotonic()
            await asyncio.to_thread(killed.process.wait)
            assert 429 == await client.ask()
            while 200 != await client.ask():
                assert time.monotonic() - began < 30
                await asyncio.sleep(0.02)
        figures.within(PART, "permits of a gateway killed with -9 are free", time.monotonic() - began, 4.0)
        client.close()
    await silent.stop()


async def test_each_worker_is_a_gateway_of_its_own(redis: Redis, tmp_path: Path) -> None:
    """Two workers keep one limit through Redis, and their metrics say that both have it."""
    backend = Server()
    await backend.start()
    document = {
        "version": 1,
        "backends": {"triton": {"protocol": "triton-http", "endpoints": [f"127.0.0.1:{backend.port}"]}},
        "models": {"digits_fast": passed_through("digits_fast", "triton")},
        "limits": [{"name": "few", "requests": "1/h", "burst": 7}],
    }
    gateway = await asyncio.to_thread(start_gateway, tmp_path, document, settings={"store": redis.url, "workers": 2})
    try:
        await asyncio.to_thread(until, lambda: 2 == gateway.metric("penstock_store_up"))
        body = json.dumps({"inputs": [image([1])]}).encode()
        request = framed("POST", "/v2/models/digits_fast/infer", gateway.credential, body)
        port = int(gateway.http.rpartition(":")[2])
        told = [(await ask(port, request)).status for _ in range(20)]  # each over a connection of its own, dealt out to both
        assert {200: 7, 429: 13} == Counter(told)
        assert 2 == len(redis.told("HKEYS", LEASES).split())
    finally:
        status = await asyncio.to_thread(gateway.stop)
        await backend.close()
    assert (0, False) == (status, "Traceback" in gateway.log())
