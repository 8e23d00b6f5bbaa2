"""Three servers behind one gateway, of which one, or the way to it, breaks in every way while clients ask: nobody hears of it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from backends.cluster import Cluster
from tests.faults.fault_proxy import BLACK_HOLE, NONE, FaultProxy, Faults
from tests.faults.figures import LONG, Figures
from tests.faults.stand_in import FAILS, RESETS, WELL
from tests.features.conftest import Running, framed, image, run
from tests.real_parts import ROOT, free_ports

pytestmark = pytest.mark.slow

CLIENTS = 10  # so many may wait whatever was before (backends.admission.SPARE): what is seen here is the endpoints, not overload
FIRST, SECOND = 0, 1
REQUESTS = 10_000 if LONG else 1200  # all faults together
HELD = 2.5 if LONG else 0.8  # seconds that a hang lasts at least; 2.5: longer than it takes the checks to find it
SHARE = 0.75  # of its fair part of the answers: an endpoint of that has its weight back, noise aside
BEHIND_PROXY = 0.25  # the same for one to which the way is slower
BACK = 5.0  # seconds until then
OUTAGE = 2000 if LONG else 400  # requests
SERVER = ("killed", "stopped", "fails", "resets")  # what happens to the second server
WAYS = {  # and to the first one's answers on their way
    "cut": Faults(reset_after=60),
    "swallowed": BLACK_HOLE,
    "late": Faults(latency=0.05, jitter=0.05),
    "in crumbs": Faults(slices=40),
}
PROTOCOLS = ("triton-http", "triton-grpc")
HANGS = ("stopped", "swallowed")
RETURNS = ("killed", *HANGS) if LONG else ("killed",)  # after which it is seen how soon the endpoint has its weight back
POLICY = """
version: 1
backends:
  triton:
    protocol: PROTOCOL
    endpoints: [ENDPOINTS]
    retry: {attempts: 2, budget: 10%}
    health: {interval: INTERVAL}
models:
  digits:
    timeout: TIMEOUT
    variants: {fast: {backend: triton, model: digits_fast, cost: 1}}
    routes: [{name: default, use: fast}]
"""


class Servers:
    """Three of them as processes of their own, and the way to the first."""

    def __init__(self, protocol: str) -> None:
        self.protocol = protocol
        self.ports = free_ports(3)
        self.way = FaultProxy(self.ports[0])
        self._running = [self._start(port) for port in self.ports]

    def _start(self, port: int) -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, "-m", "tests.faults.stand_in", self.protocol, str(port)], cwd=ROOT)

    async def there(self) -> None:
        """Returns when all of them listen."""
        async with asyncio.timeout(20):
            for port in self.ports:
                while not await listens(port):  # noqa: ASYNC110 - another process
                    await asyncio.sleep(0.02)

    def breaks(self, fault: str, count: int = 1) -> None:
        """One does, or so many."""
        if fault in WAYS:
            self.way.answers = WAYS[fault]
            if fault == "cut":
                self.way.reset()
        else:
            signals = {"killed": signal.SIGKILL, "stopped": signal.SIGSTOP, "resets": RESETS, "fails": FAILS}
            for each in (self._running[SECOND], *self._running)[:count]:
                each.send_signal(signals[fault])

    async def mend(self, fault: str) -> None:
        """It is as before."""
        if fault in WAYS:
            self.way.answers = NONE
            self.way.reset()  # what was swallowed does not come any more
        elif fault == "killed":
            self._running[SECOND].wait()
            self._running[SECOND] = self._start(self.ports[SECOND])
            await self.there()
        else:
            self._running[SECOND].send_signal(signal.SIGCONT if fault == "stopped" else WELL)

    def end(self) -> None:
        """All of them, at once."""
        for each in self._running:
            each.kill()
            each.wait()


@pytest.fixture(params=PROTOCOLS)
def servers(request: pytest.FixtureRequest) -> Iterator[Servers]:
    """The servers."""
    made = Servers(request.param)
    yield made
    made.end()


@pytest.fixture
async def gate(servers: Servers, tmp_path: Path) -> AsyncIterator[Running]:
    """A gateway before them that has found them well."""
    await servers.there()
    await servers.way.start()
    endpoints = ", ".join(f"127.0.0.1:{port}" for port in (servers.way.port, *servers.ports[1:]))
    policy = POLICY.replace("PROTOCOL", servers.protocol).replace("ENDPOINTS", endpoints)
    policy = policy.replace("INTERVAL", "1s" if LONG else "500ms").replace("TIMEOUT", "8s" if LONG else "4s")
    running = await run(tmp_path, policy)
    yield running
    await servers.way.stop()
    await running.stop()


async def listens(port: int) -> bool:
    """Whether somebody takes connections there."""
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True


class Clients:
    """Ask over connections that are kept alive, and count what they are told."""

    def __init__(self, gate: Running) -> None:
        self._port = gate.gateway.ports.http.port
        body = json.dumps({"inputs": [image([7])]}).encode()
        self._bytes = b"".join(framed("POST", "/v2/models/digits/infer", gate.credential("free"), body))
        self.told: Counter[int] = Counter()
        self.slowest = 0.0
        self._over = False

    async def _ask(self) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        while not self._over:
            began = time.monotonic()
            writer.write(self._bytes)
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
            await reader.readexactly(length)
            self.told[int(head.split()[1])] += 1
            self.slowest = max(self.slowest, time.monotonic() - began)
        writer.close()

    @contextlib.asynccontextmanager
    async def asking(self) -> AsyncIterator[None]:
        """While the block lasts."""
        async with asyncio.TaskGroup() as group:
            for _ in range(CLIENTS):
                group.create_task(self._ask())
            try:
                yield
            finally:
                self._over = True


async def back_after(cluster: Cluster, fault: str) -> float:
    """Seconds until the endpoint has its weight back: its share of the answers in a quarter of a second."""
    index, share = (FIRST, BEHIND_PROXY) if fault in WAYS else (SECOND, SHARE)
    began = time.monotonic()
    while True:
        before = [endpoint.answers for endpoint in cluster.endpoints]
        await asyncio.sleep(0.25)
        answers = [endpoint.answers - was for endpoint, was in zip(cluster.endpoints, before, strict=True)]
        if answers[index] >= share * sum(answers) / 3:
            return time.monotonic() - began


async def test_no_client_hears_of_a_broken_endpoint(gate: Running, servers: Servers, figures: Figures) -> None:
    """Not one of 10 000 requests fails while one of three servers is killed, stopped, cut off or broken, nor on its way back."""
    cluster = gate.gateway.plane.snapshot.clusters["triton"]
    faults = [fault for fault in (*SERVER, *WAYS) if servers.protocol == "triton-http" or fault != "resets"]
    told: Counter[int] = Counter()
    returning: Counter[int] = Counter()
    slowest = longest = 0.0
    for fault in faults:
        clients = Clients(gate)
        async with asyncio.timeout(40), clients.asking():
            servers.breaks(fault)
            await asyncio.sleep(HELD if fault in HANGS else 0)
            await until_told(clients, REQUESTS // len(faults))
            before = clients.told.copy()
            await servers.mend(fault)
            if fault in RETURNS:
                longest = max(longest, await back_after(cluster, fault))
        returning.update(clients.told - before)
        told.update(clients.told)
        slowest = max(slowest, clients.slowest)
    assert {200} == set(told), told
    figures.none_of("Endpoints", f"failed while 2 of 3 are well, {servers.protocol}", told.total() - told[200], told.total())
    figures.within("Endpoints", f"the slowest of them, {servers.protocol}", slowest, 5.0)
    figures.within("Endpoints", f"weight back, {servers.protocol}, the slowest of {len(RETURNS)} faults", longest, BACK)
    errors = 100 * (1 - returning[200] / returning.total())
    figures.at_most("Endpoints", f"errors on the way back, {servers.protocol}", errors, 1, " %")


@pytest.mark.parametrize("servers", PROTOCOLS if LONG else PROTOCOLS[:1], indirect=True)
async def test_a_total_outage_is_not_multiplied(gate: Running, servers: Servers, figures: Figures) -> None:
    """When all three fail everything, or are away, endpoints are asked at most 1.10 times as often as the gateway is."""
    attempts = await asked(gate)
    for fault in ("fails", "killed"):
        servers.breaks(fault, 4)
        clients = Clients(gate)
        async with asyncio.timeout(25), clients.asking():
            await until_told(clients, OUTAGE)
        before, attempts = attempts, await asked(gate)
        ratio = (attempts - before) / clients.told.total()
        figures.at_most("Retries", f"attempts for each request, {servers.protocol}, all {fault}", ratio, 1.10)
        assert clients.told[200] < OUTAGE / 10  # until the servers had heard of it


async def asked(gate: Running) -> float:
    """How often endpoints were asked so far."""
    found = await gate.metrics()
    return sum(value for (name, _), value in found.items() if name == "penstock_backend_requests_total")


async def until_told(clients: Clients, count: int) -> None:
    """Returns when the clients have had so many answers."""
    while clients.told.total() < count:  # noqa: ASYNC110 - what is waited for is seen from outside only
        await asyncio.sleep(0.01)
