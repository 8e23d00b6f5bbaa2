"""Requests that are answered unread while a Redis says that their answers are the same: it may break as it likes."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from statistics import median

import pytest

from gateway.store.connection import Connection
from tests.faults.figures import Figures
from tests.faults.sharing import Client, up
from tests.faults.test_redis_cache import FAULTS, KEPT, PART, asked_through, backend, failed_over, purge, two, until
from tests.features.conftest import Running, framed, image
from tests.features.oip_server import Server
from tests.features.test_cache_again import Line
from tests.real_parts import Redis

__all__ = ["backend"]
pytestmark = pytest.mark.slow

MEMORY = "1KiB"  # no answer has room in it
SHORT = KEPT.replace("10m", "500ms")


class Repeating(Client):
    """Asks the same again and again, in the same bytes; checks what it is told."""

    def __init__(self, gate: Running, number: int) -> None:
        super().__init__(gate)
        self.gate, self.number = gate, number
        body = json.dumps({"inputs": [image([number])]}).encode()
        self.request = b"".join(framed("POST", "/v2/models/digits/infer", gate.credential("free"), body))
        self.unread = 0

    def _known(self) -> object:
        return self.gate.gateway.ports.http._shared._again.get(self.request)

    async def ask(self) -> int:
        before = self._known()
        status = await super().ask()
        self.unread += before is not None and before is self._known()
        return status


async def settled(clients: Sequence[Repeating]) -> None:
    """Each of them is answered unread."""
    for client in clients:

        async def unread(client: Repeating = client) -> bool:
            before = client.unread
            await client.ask()
            return client.unread > before

        await until(unread)


def patient(gates: Sequence[Running]) -> list[Connection]:
    """They wait for Redis however long it takes, on a machine that may stand still; their connections."""
    found = []
    for gate in gates:
        assert gate.gateway._store is not None
        connection = gate.gateway._store.answers_link.connection
        assert connection is not None
        connection._seconds = 10.0
        found.append(connection)
    return found


async def through(gates: Sequence[Running], begin: Callable[[], object], end: Callable[[], object]) -> tuple[int, int]:
    """As test_redis_cache.through, of clients that repeat themselves, two of them the same."""
    clients = [Repeating(gate, number) for gate in gates for number in (1, 1, 2, 3)]
    await settled(clients)
    await asked_through(clients, begin, end)
    told = [status for client in clients for status, _, _ in client.told]
    assert sum(client.unread for client in clients) > 2 * len(clients)
    await asyncio.gather(*(up([gate]) for gate in gates))
    await settled(clients)
    for client in clients:
        client.close()
    return sum(status != 200 for status in told), len(told)


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("policy", [KEPT, SHORT], ids=["kept", "short"])
async def test_no_request_fails(redis: Redis, backend: Server, tmp_path: Path, figures: Figures, fault: str, policy: str) -> None:
    """Before, during and after the fault everybody is answered, and soon unread again."""
    begin, end = FAULTS[fault]
    async with two(tmp_path, policy, redis.url, backend, cache=MEMORY) as gates:
        failed, asked = await through(gates, lambda: begin(redis), lambda: end(redis))
    lasting = "" if policy is KEPT else ", fresh for 500 ms"
    figures.none_of(PART, f"failed requests, unread{lasting}, {fault}", failed, asked)


async def test_a_failover_fails_nobody(backend: Server, tmp_path: Path, figures: Figures) -> None:
    """The primary is killed, its replica takes its address."""
    async with (
        failed_over(tmp_path) as (proxy, over),
        two(tmp_path, KEPT, f"redis://127.0.0.1:{proxy.port}", backend, cache=MEMORY) as gates,
    ):
        failed, asked = await through(gates, over, lambda: None)
    figures.none_of(PART, "failed requests, unread, failed over", failed, asked)


@pytest.mark.timed
@pytest.mark.parametrize("fault", ["hung", "killed"])
async def test_requests_hardly_wait(redis: Redis, backend: Server, tmp_path: Path, figures: Figures, fault: str) -> None:
    """The first lose 50 ms, once, though they take two ways."""
    async with two(tmp_path, KEPT, redis.url, backend, cache=MEMORY) as gates:
        clients = [Repeating(gates[0], 1) for _ in range(3)]
        await settled(clients)
        for _ in range(50):
            await clients[0].ask()
        normal = median(clients[0].seconds()[-50:])
        redis.hang() if fault == "hung" else redis.kill()
        began = time.monotonic()
        await asyncio.gather(*(client.ask() for client in clients))
        first = max(client.seconds(began)[0] for client in clients)
        if fault == "hung":
            redis.go_on()
        for client in clients:
            client.close()
    assert {200} == {status for client in clients for status, _, _ in client.told}
    figures.within(PART, f"wait of the first requests, unread, {fault}", max(0.0, first - normal), 0.05)


async def test_what_another_gateway_has_renewed(redis: Redis, backend: Server, tmp_path: Path) -> None:
    """The very next has the new answer, and none comes back to the old one."""
    async with two(tmp_path, KEPT, redis.url, backend, cache=MEMORY) as gates:
        link = patient(gates)[1]
        line, other = Line(gates[0]), Line(gates[1], headers={"cache-control": "no-cache"})
        for sure in (0.5, 0.75):
            before = await line.settle()
            backend.confidence["digits_fast"] = {1: sure}
            anew, _ = await other.ask()
            await link.ask("PING")  # what was sent before is there
            (reply, unread), (again, _) = await line.ask(), await line.ask()
            assert ("fwd=request; stored" in anew.headers["cache-status"], False) == (True, unread)
            assert anew.json["outputs"] == reply.json["outputs"] == again.json["outputs"] != before.json["outputs"]
            assert "penstock; hit" in reply.headers["cache-status"]
        await line.settle()
        line.close()
        other.close()


async def test_a_purge_at_another_gateway(redis: Redis, backend: Server, tmp_path: Path) -> None:
    """Holds here at once, since Redis is asked each time: the very next one asks the backend."""
    async with two(tmp_path, KEPT, redis.url, backend, cache=MEMORY) as gates:
        patient(gates)
        clients = [Repeating(gates[0], 7), Repeating(gates[0], 7)]
        for turn in (1, 2, 3):
            await settled(clients)
            before = len(backend.asked)
            assert {"purged": "answers of model digits", "heard": True} == (await purge(gates[1])).json
            assert [200, 200] == [await client.ask() for client in clients]
            assert before + 1 <= len(backend.asked), turn
        for client in clients:
            client.close()


async def test_clients_that_leave_leave_nothing(redis: Redis, backend: Server, tmp_path: Path) -> None:
    """In the middle of it, at any moment, while Redis is slow now and then."""
    async with two(tmp_path, KEPT, redis.url, backend, cache=MEMORY) as gates:
        gate, (link, _) = gates[0], patient(gates)
        known = [Repeating(gate, number) for number in range(4)]
        await settled(known)
        for turn in range(100):
            client = Repeating(gate, turn % 4)
            asking = asyncio.ensure_future(client.ask_for(0.02, 2000))
            if turn % 10 == 3:
                redis.hang()
            await asyncio.sleep(0.0005 * (turn % 20))
            asking.cancel()
            client.close()
            redis.go_on()
            with suppress(asyncio.CancelledError, ConnectionError, asyncio.IncompleteReadError):
                await asking
        shared = gate.gateway.ports.http._shared

        async def gone() -> bool:
            return len(shared.connections) <= len(known)

        await until(gone)
        await link.ask("PING")
        assert (0, [None] * len(known)) == (len(link._waiting), [each._errand for each in shared.connections])
        for client in known:
            client.close()
