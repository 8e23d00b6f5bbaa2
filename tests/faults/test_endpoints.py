"""Three servers behind one gateway, of which one is killed, stopped, cut or broken while clients ask: no client hears of it."""

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
from tests.faults.stand_in import FAILS, RESETS, WELL
from tests.features.conftest import Running, framed, image, run
from tests.real_parts import ROOT, free_ports

pytestmark = pytest.mark.slow

CLIENTS = 16
REQUESTS = 10_000  # over HTTP, all faults together
HELD = 4.0  # seconds that a hang lasts at least: longer than it takes the checks to find it
SHARE = 0.75  # of its fair part of the answers: an endpoint of that has its weight back, noise aside
OUTAGE = 2000  # requests
FAULTS = ("killed", "stopped", "resets", "fails")
POLICY = """
version: 1
backends:
  triton:
    protocol: PROTOCOL
    endpoints: [ENDPOINTS]
    retry: {attempts: 2, budget: 10%}
models:
  digits:
    timeout: 8s
    variants: {fast: {backend: triton, model: digits_fast, cost: 1}}
    routes: [{name: default, use: fast}]
"""


class Servers:
    """Three of them as processes of their own."""

    def __init__(self, protocol: str) -> None:
        self.protocol = protocol
        self.ports = free_ports(3)
        self._running = [self._start(port) for port in self.ports]

    def _start(self, port: int) -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, "-m", "tests.faults.stand_in", self.protocol, str(port)], cwd=ROOT)

    def breaks(self, fault: str, count: int = 1) -> None:
        """The first one does, or so many."""
        signals = {"killed": signal.SIGKILL, "stopped": signal.SIGSTOP, "resets": RESETS, "fails": FAILS}
        for each in self._running[:count]:
            each.send_signal(signals[fault])

    def mend(self, fault: str) -> None:
        """The first one is as before."""
        if fault == "killed":
            self._running[0].wait()
            self._running[0] = self._start(self.ports[0])
        else:
            self._running[0].send_signal(signal.SIGCONT if fault == "stopped" else WELL)

    def end(self) -> None:
        """All of them, at once."""
        for each in self._running:
            each.kill()
            each.wait()


@pytest.fixture(params=["triton-http", "triton-grpc"])
def servers(request: pytest.FixtureRequest) -> Iterator[Servers]:
    """The servers."""
    made = Servers(request.param)
    yield made
    made.end()


@pytest.fixture
async def gate(servers: Servers, tmp_path: Path) -> AsyncIterator[Running]:
    """A gateway before them that has found them well."""
    endpoints = ", ".join(f"127.0.0.1:{port}" for port in servers.ports)
    policy = POLICY.replace("PROTOCOL", servers.protocol).replace("ENDPOINTS", endpoints)
    async with asyncio.timeout(20):
        for port in servers.ports:
            while not await listens(port):  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.05)
    running = await run(tmp_path, policy)
    yield running
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


async def back_after(cluster: Cluster) -> float:
    """Seconds until the first endpoint has its weight back: its share of the answers in a quarter of a second."""
    began = time.monotonic()
    while True:
        before = [endpoint.answers for endpoint in cluster.endpoints]
        await asyncio.sleep(0.25)
        answers = [endpoint.answers - was for endpoint, was in zip(cluster.endpoints, before, strict=True)]
        if answers[0] >= SHARE * sum(answers) / 3:
            return time.monotonic() - began


async def test_no_client_hears_of_a_broken_endpoint(gate: Running, servers: Servers) -> None:
    """Not one of 10 000 requests fails while one of three servers is killed, stopped, cut or broken, nor on its way back."""
    cluster = gate.gateway.plane.snapshot.clusters["triton"]
    faults = [fault for fault in FAULTS if servers.protocol == "triton-http" or fault != "resets"]
    for fault in faults:
        clients = Clients(gate)
        async with asyncio.timeout(25), clients.asking():
            servers.breaks(fault)
            await asyncio.sleep(HELD if fault == "stopped" else 0)
            await until_told(clients, REQUESTS // len(FAULTS))
            servers.mend(fault)
            back = await back_after(cluster)
        told = f"{dict(clients.told)}, slowest {clients.slowest:.2f} s, weight back after {back:.1f} s"
        sys.stdout.write(f"{servers.protocol} {fault}: {told}\n")
        assert {200} == set(clients.told)
        assert 5.0 >= back


@pytest.mark.parametrize("fault", ["killed", "fails"])
async def test_a_total_outage_is_not_multiplied(gate: Running, servers: Servers, fault: str) -> None:
    """When all three are away, or fail everything, endpoints are asked at most 1.10 times as often as the gateway is."""
    servers.breaks(fault, 3)
    clients = Clients(gate)
    async with asyncio.timeout(25), clients.asking():
        await until_told(clients, OUTAGE)
    offered = clients.told.total()
    found = await gate.metrics()
    attempts = sum(value for (name, _), value in found.items() if name == "penstock_backend_requests_total")
    sys.stdout.write(f"{servers.protocol} all {fault}: {dict(clients.told)}, {attempts / offered:.2f} attempts for each\n")
    assert clients.told[200] < offered / 10  # until the servers had heard of it
    assert attempts <= 1.10 * offered


async def until_told(clients: Clients, count: int) -> None:
    """Returns when the clients have had so many answers."""
    while clients.told.total() < count:  # noqa: ASYNC110 - what is waited for is seen from outside only
        await asyncio.sleep(0.01)
