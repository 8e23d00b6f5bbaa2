"""Clients that leave, by the hundred: how soon the backend sees it, whatever is asked and wherever it stands by then."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import TYPE_CHECKING, Any

import grpc.aio
import pytest
from tritonclient.grpc import service_pb2_grpc

from tests.faults.conftest import StartGateway
from tests.faults.figures import LONG, Figures, percentile
from tests.faults.silent import SilentGrpc, SilentHttp
from tests.faults.test_client_leaves import question
from tests.faults.traffic import BODY
from tests.real_parts import GatewayProcess, passed_through, until

if TYPE_CHECKING:
    from tests.faults.silent import Silence

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


async def seen_after(silent: Silence, ask: Callable[[str], Awaitable[Leave]], kind: str) -> list[float]:
    """Seconds from each leaving until the backend saw it."""
    left: dict[str, float] = {}
    numbers = iter(range(LEAVES))

    async def leaving() -> None:
        for number in numbers:
            id = f"{kind}-{number}"
            leave = await ask(id)
            await silent.came[id].wait()
            left[id] = monotonic()
            leave()

    async with asyncio.timeout(60):
        await asyncio.gather(*(leaving() for _ in range(CLIENTS)))
        while left.keys() - silent.gone.keys():  # noqa: ASYNC110 - the backend tells nobody
            await asyncio.sleep(0.005)
    return [silent.gone[id] - moment for id, moment in left.items()]


async def test_the_backend_sees_it_soon(gateway: GatewayProcess, silent: SilentHttp | SilentGrpc, figures: Figures) -> None:
    """Within 100 ms at p99, whatever is asked; then nothing is in flight, and every leaving is counted once."""
    fronts = Fronts(gateway)
    kinds = {"http": fronts.http, "grpc": fronts.unary}
    if silent.protocol == "triton-grpc":
        kinds["stream"] = fronts.stream
    for kind, ask in kinds.items():
        seconds = await seen_after(silent, ask, kind)
        figures.within("Cancellation", f"p99 until {silent.protocol} sees that {kind} left", percentile(seconds, 0.99), SEEN)
    await fronts.close()
    until(gateway.idle, 2)
    until(lambda: len(kinds) * LEAVES == gateway.metric("penstock_abandoned_total", stage="backend"), 2)
    codes = {code: gateway.metric("penstock_requests_total", code=code) for code in ("499", "CANCELLED")}
    assert {"499": LEAVES, "CANCELLED": (len(kinds) - 1) * LEAVES} == codes
