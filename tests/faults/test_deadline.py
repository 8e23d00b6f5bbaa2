"""How long after the deadline a client hears that there is no answer: over HTTP and gRPC, with one attempt and with three."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Awaitable, Callable, Iterator
from time import monotonic
from typing import Any

import grpc.aio
import pytest
from tritonclient.grpc import service_pb2_grpc

from tests.faults.conftest import StartGateway
from tests.faults.figures import LONG, Figures, percentile
from tests.faults.silent import SilentGrpc, SilentHttp
from tests.faults.test_client_leaves import question
from tests.faults.traffic import BODY
from tests.real_parts import GatewayProcess, passed_through

pytestmark = pytest.mark.slow

TIMEOUT = 0.2  # seconds
CLIENTS = 25  # of each front
REQUESTS = 1000 if LONG else 50  # of each kind
OVERSHOOT = 0.05  # seconds, at p99.9

Told = tuple[str, float]  # the status, and seconds since it was asked
Ask = Callable[[], Awaitable[Told]]


@pytest.fixture(autouse=True)
def uncollected() -> Iterator[None]:
    """The clients' own collector stops them for up to 70 ms, which would count as the gateway's."""
    gc.collect()
    gc.freeze()
    gc.disable()
    yield
    gc.enable()
    gc.unfreeze()


@pytest.fixture
def gateway(silent: SilentHttp | SilentGrpc, start: StartGateway) -> GatewayProcess:
    """Before the backend that never answers; whoever fails may be asked three times in all.

    Each client has a model of its own: one that never answers would soon be asked by few at once, and the others refused.
    """
    retry = {"attempts": 3, "budget": "100%"}
    backend = {
        "protocol": silent.protocol,
        "endpoints": [f"127.0.0.1:{silent.port}"],
        "max_in_flight": 1_000_000,  # a twentieth of them are retries that need not be earned
        "retry": retry,
    }
    models = {f"{front}{number}": passed_through(f"{front}{number}", "triton") for front in FRONTS for number in range(CLIENTS)}
    return start({"version": 1, "backends": {"triton": backend}, "models": models})


async def over_http(gateway: GatewayProcess, model: str, headers: dict[str, str]) -> Ask:
    """Asks over a connection that is kept."""
    host, port = gateway.http.split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    fields = {"Host": "x", **gateway.credential, **headers, "Content-Length": str(len(BODY))}
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    sent = f"POST /v2/models/{model}/infer HTTP/1.1\r\n{lines}\r\n".encode() + BODY

    async def ask() -> Told:
        began = monotonic()
        writer.write(sent)
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        await reader.readexactly(int(head.partition("content-length: ")[2].split("\r\n")[0]))
        return head.split(" ")[1], monotonic() - began

    return ask


async def over_grpc(gateway: GatewayProcess, model: str, headers: dict[str, str]) -> Ask:
    """Asks over a connection that all share; without a deadline of gRPC's, whose end the client would see to itself."""
    channel = grpc.aio.insecure_channel(gateway.grpc)
    await channel.channel_ready()
    stub: Any = service_pb2_grpc.GRPCInferenceServiceStub(channel)
    metadata = (*gateway.credential.items(), *headers.items())
    asked = question()
    asked.model_name = model

    async def ask() -> Told:
        began = monotonic()
        try:
            await stub.ModelInfer(asked, metadata=metadata)
        except grpc.aio.AioRpcError as error:
            return error.code().name, monotonic() - began
        return "OK", monotonic() - began

    return ask


FRONTS = {"http": (over_http, "504"), "grpc": (over_grpc, "DEADLINE_EXCEEDED")}


async def told(gateway: GatewayProcess, front: str) -> list[Told]:
    """What so many requests were told."""
    connect, _ = FRONTS[front]
    found: list[Told] = []

    async def asking(number: int) -> None:
        ask = await connect(gateway, f"{front}{number}", {"x-request-timeout-ms": str(int(TIMEOUT * 1000))})
        await asyncio.sleep(TIMEOUT * number / CLIENTS)  # not all deadlines at once
        found.extend([await ask() for _ in range(REQUESTS // CLIENTS)])

    await asyncio.gather(*(asking(number) for number in range(CLIENTS)))
    return found


@pytest.mark.timed
async def test_the_deadline_is_kept(gateway: GatewayProcess, silent: SilentHttp | SilentGrpc, figures: Figures) -> None:
    """That there is no answer is told within 50 ms after the deadline, hardly before it, however often was asked."""
    for attempts in (1, 3):
        silent.fails, silent.after = attempts - 1, 0.01
        found = await asyncio.gather(*(told(gateway, front) for front in FRONTS))
        for front, each in zip(FRONTS, found, strict=True):
            assert {FRONTS[front][1]} == {status for status, _ in each}
            assert TIMEOUT * 0.9 <= min(seconds for _, seconds in each)
            late = percentile([seconds - TIMEOUT for _, seconds in each], 0.999)
            what = f"p99.9 past the deadline, {front} before {silent.protocol}, attempts: {attempts}"
            figures.within("Deadline", what, late, OVERSHOOT)
        assert attempts == 1 or {attempts} == set(silent.times.values())
    assert gateway.idle()
