"""Clients that leave, by the hundred: how soon the backend sees it, whatever is asked and wherever it stands by then."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from time import monotonic
from typing import Any

import grpc.aio
import pytest
from tritonclient.grpc import service_pb2_grpc

from tests.faults.conftest import StartGateway
from tests.faults.figures import LONG, Figures, percentile
from tests.faults.silent import Silence, SilentGrpc, SilentHttp
from tests.faults.test_client_leaves import question
from tests.faults.traffic import BODY
from tests.features.conftest import Running, framed, packed, run
from tests.features.oip_server import Received, Server
from tests.real_parts import GatewayProcess, passed_through, until

pytestmark = pytest.mark.slow

SEEN = 0.1  # seconds, at p99
CLIENTS = 8
LEAVES = 400 if LONG else 64  # of each kind

Leave = Callable[[], Any]


@pytest.fixture
def gateway(silent: SilentHttp | SilentGrpc, start: StartGateway) -> GatewayProcess:
    """Before the backend that never answers."""
    backends = {"triton": {"protocol": silent.protocol, "endpoints": [f"127.0.0.1:{silent.port}"]}}
    return start({"version": 1, "backends": backends, "models": {"simple": passed_through("simple", "triton", "30s")}})


class Fronts:
    """Ways to ask; each returns how to leave."""

    def __init__(self, gateway: GatewayProcess) -> None:
        self._gateway = gateway
        self._channel = grpc.aio.insecure_channel(gateway.grpc)
        self._stub: Any = service_pb2_grpc.GRPCInferenceServiceStub(self._channel)

    async def http(self, id: str) -> Leave:
        """Hangs up."""
        host, port = self._gateway.http.split(":")
        _, writer = await asyncio.open_connection(host, int(port))
        fields = {"Host": "x", **self._gateway.credential, "X-Request-Id": id, "Content-Length": str(len(BODY))}
        lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        writer.write(f"POST /v2/models/simple/infer HTTP/1.1\r\n{lines}\r\n".encode() + BODY)
        return writer.close

    async def unary(self, id: str) -> Leave:
        """Cancels the call."""
        leave: Leave = self._stub.ModelInfer(question(), metadata=self._metadata(id)).cancel
        return leave

    async def stream(self, id: str) -> Leave:
        """Cancels the stream."""
        call = self._stub.ModelStreamInfer(metadata=self._metadata(id))
        await call.write(question())
        leave: Leave = call.cancel
        return leave

    async def close(self) -> None:
        """No more."""
        await self._channel.close()

    def _metadata(self, id: str) -> tuple[tuple[str, str], ...]:
        return (*self._gateway.credential.items(), ("x-request-id", id))


@pytest.fixture(autouse=True)
def small() -> Iterator[None]:
    """Gateways of this process need not walk through what the tests before have left in it: that alone takes 0.1 s."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


async def seen_after(silent: Sequence[Silence], ask: Callable[[str], Awaitable[Leave]], kind: str) -> list[float]:
    """Seconds from each leaving until all of those who were asked saw it."""
    left: dict[str, float] = {}
    numbers = iter(range(LEAVES))

    async def leaving() -> None:
        for number in numbers:
            id = f"{kind}-{number}"
            leave = await ask(id)
            for each in silent:
                await each.came[id].wait()
            left[id] = monotonic()
            leave()

    async with asyncio.timeout(60):
        await asyncio.gather(*(leaving() for _ in range(CLIENTS)))
        while any(left.keys() - each.gone.keys() for each in silent):  # noqa: ASYNC110 - they tell nobody
            await asyncio.sleep(0.005)
    return [max(each.gone[id] for each in silent) - moment for id, moment in left.items()]


async def test_the_backend_sees_it_soon(gateway: GatewayProcess, silent: SilentHttp | SilentGrpc, figures: Figures) -> None:
    """Within 100 ms at p99, whatever is asked; then nothing is in flight, and every leaving is counted once."""
    fronts = Fronts(gateway)
    kinds = {"http": fronts.http, "grpc": fronts.unary}
    if silent.protocol == "triton-grpc":
        kinds["stream"] = fronts.stream
    for kind, ask in kinds.items():
        seconds = await seen_after([silent], ask, kind)
        figures.within("Cancellation", f"p99 until {silent.protocol} sees that {kind} left", percentile(seconds, 0.99), SEEN)
    await fronts.close()
    until(gateway.idle, 2)
    until(lambda: len(kinds) * LEAVES == gateway.metric("penstock_abandoned_total", stage="backend"), 2)
    codes = {code: gateway.metric("penstock_requests_total", code=code) for code in ("499", "CANCELLED")}
    assert {"499": LEAVES, "CANCELLED": (len(kinds) - 1) * LEAVES} == codes


POLICY = """
version: 1
backends:
  triton: {protocol: triton-http, endpoints: ["127.0.0.1:PORT"], max_in_flight: 64}
  pair: {protocol: triton-http, endpoints: ["127.0.0.1:PORT", "127.0.0.1:OTHER"], hedge: {after: p50, budget: 100%}}
models:
  digits:
    timeout: 20s
    variants:
      fast: {backend: triton, model: digits_fast}
      accurate: {backend: triton, model: digits_accurate}
      hedged: {backend: pair, model: digits_balanced}
    routes:
      - {name: hedged, match: {header: {x-hedged: "1"}}, use: hedged}
      - name: default
        cascade:
          confidence: {output: probabilities, metric: max-softmax}
          stages: [{use: fast, accept: 0.9}, {use: accurate}]
"""


class Unanswering(Silence):
    """A script of the small server that never answers."""

    async def __call__(self, asked: Received, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        id = asked.headers["x-request-id"]
        self.begin(id)
        try:
            await reader.read(1)
        finally:
            self.end(id)


@pytest.fixture
async def other() -> AsyncIterator[Server]:
    """The second server of the pair."""
    made = Server()
    await made.start()
    yield made
    await made.close()


@pytest.fixture
async def running(tmp_path: Path, other: Server) -> AsyncIterator[Running]:
    """A gateway with a cascade, and two servers of which the second may be asked as well."""
    made = await run(tmp_path, POLICY.replace("OTHER", str(other.port)))
    yield made
    await made.stop()


def asking(running: Running, **headers: str) -> Callable[[str], Awaitable[Leave]]:
    """Over HTTP; hangs up."""
    body, described = packed([1])

    async def ask(id: str) -> Leave:
        _, writer = await asyncio.open_connection("127.0.0.1", running.gateway.ports.http.port)
        sent = {**running.credential("free"), **described, **headers, "X-Request-Id": id}
        writer.writelines(framed("POST", "/v2/models/digits/infer", sent, body))
        return writer.close

    return ask


def left_over(running: Running) -> dict[str, int]:
    """Places and questions that are still held, at clusters and at endpoints."""
    clusters = running.gateway.plane.snapshot.clusters
    return {name: each.in_flight + sum(at.in_flight for at in each.endpoints) for name, each in clusters.items()}


async def test_a_later_stage_is_left(running: Running, figures: Figures) -> None:
    """Who leaves while the second stage works takes its question along, and the first answer is nobody's."""
    running.backend.confidence = {"digits_fast": {1: 0.5}}
    silent = running.backend.scripts["digits_accurate"] = Unanswering()
    seconds = await seen_after([silent], asking(running), "cascade")
    figures.within("Cancellation", "p99 until a later stage sees it", percentile(seconds, 0.99), SEEN)
    assert {"triton": 0, "pair": 0} == left_over(running)


async def test_both_of_a_hedge_are_left(running: Running, other: Server, figures: Figures) -> None:
    """Who leaves while two servers work on the question takes it from both."""
    hedged = {"X-Hedged": "1"}
    body, described = packed([1])
    hedging = running.gateway.plane.snapshot.clusters["pair"].hedging
    assert hedging is not None
    while [True, True] != [each.quantile is not None for each in hedging._latencies.values()]:  # what is usual is not known yet
        assert 200 == (await running.ask("POST", "/v2/models/digits/infer", body, {**described, **hedged})).status
    silent = [Unanswering(), Unanswering()]
    running.backend.scripts["digits_balanced"], other.scripts["digits_balanced"] = silent
    seconds = await seen_after(silent, asking(running, **hedged), "hedge")
    figures.within("Cancellation", "p99 until both of a hedge see it", percentile(seconds, 0.99), SEEN)
    assert {"triton": 0, "pair": 0} == left_over(running)
