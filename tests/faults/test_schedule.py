"""A real Triton's queue obeys the time and the priority that the gateway tells it, and other models are told nothing."""

from __future__ import annotations

import asyncio
import http.client
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import grpc.aio
import numpy as np
import pytest
from tritonclient.grpc import service_pb2, service_pb2_grpc

from tests.faults.conftest import StartGateway
from tests.faults.figures import LONG
from tests.real_parts import GatewayProcess, Triton, get, policy, start_triton, until

pytestmark = pytest.mark.slow

HELD = 800  # milliseconds that the model's one instance is busy: until all others are in the queue behind it


@pytest.fixture(scope="module")
def scheduling() -> Iterator[Triton]:
    """A Triton whose model takes as long as it is told, one request at a time."""
    with start_triton(["scheduled"]) as server:
        yield server
    server.log.unlink()


@pytest.fixture
def gateway(scheduling: Triton, protocol: str, start: StartGateway) -> GatewayProcess:
    """Before it, once it knows what the queue obeys."""
    made = start(policy(scheduling, protocol))
    until(lambda: 400 == misfit(made))
    return made


@pytest.fixture
async def client(gateway: GatewayProcess) -> AsyncIterator[Client]:
    """Asks it."""
    made = Client(gateway)
    yield made
    await made.close()


def misfit(gateway: GatewayProcess) -> int:
    """The status of a question that only a gateway which has read the model's description refuses."""
    connection = http.client.HTTPConnection(gateway.http, timeout=5)
    body = {"inputs": [{"name": "MILLISECONDS", "datatype": "FP32", "shape": [1, 1], "data": [0]}]}
    connection.request("POST", "/v2/models/scheduled/infer", json.dumps(body), gateway.credential)
    answer = connection.getresponse()
    found = json.loads(answer.read())
    connection.close()
    return answer.status if "it takes" in found["error"] else 0


class Client:
    """Asks over gRPC, in the order of its calls."""

    def __init__(self, gateway: GatewayProcess) -> None:
        self._gateway = gateway
        self._channel = grpc.aio.insecure_channel(gateway.grpc)
        self._stub: Any = service_pb2_grpc.GRPCInferenceServiceStub(self._channel)

    def ask(self, milliseconds: int, **headers: str) -> asyncio.Task[tuple[str, int]]:
        """The status, and whose turn it was."""
        return asyncio.ensure_future(self._asked(milliseconds, {name.replace("_", "-"): headers[name] for name in headers}))

    async def _asked(self, milliseconds: int, headers: dict[str, str]) -> tuple[str, int]:
        asked = service_pb2.ModelInferRequest(model_name="scheduled")
        asked.inputs.add(name="MILLISECONDS", datatype="UINT32", shape=[1, 1])
        asked.raw_input_contents.append(np.array([milliseconds], "<u4").tobytes())
        try:
            answer = await self._stub.ModelInfer(asked, metadata=(*self._gateway.credential.items(), *headers.items()))
        except grpc.aio.AioRpcError as error:
            return error.code().name, -1
        return "OK", int(np.frombuffer(answer.raw_output_contents[0], "<u4")[0])

    async def queued(self, count: int) -> None:
        """Returns when so many of its questions are at the backend."""
        async with asyncio.timeout(5):
            while count != self._gateway.metric("penstock_in_flight", backend="triton"):  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.005)

    async def close(self) -> None:
        await self._channel.close()


def counted(triton: Triton) -> tuple[int, int]:
    """How many questions it has worked on, and how many it has refused."""
    (found,) = json.loads(get(triton.http, "/v2/models/scheduled/stats")[1])["model_stats"]
    return found["inference_count"], found["inference_stats"]["fail"]["count"]


@pytest.mark.parametrize("protocol", ["triton-http", "triton-grpc"] if LONG else ["triton-http"])
async def test_the_queue_obeys(client: Client, scheduling: Triton) -> None:
    """A question whose deadline comes while it waits is refused there, so nobody works for nobody; 0 goes before 9."""
    worked, refused = counted(scheduling)
    first = client.ask(300)
    await client.queued(1)
    late = [client.ask(1, x_request_timeout_ms="100") for _ in range(3)]
    patient = client.ask(1)
    assert {("DEADLINE_EXCEEDED", -1)} == set(await asyncio.gather(*late))
    assert {"OK"} == {status for status, _ in await asyncio.gather(first, patient)}
    await asyncio.to_thread(until, lambda: counted(scheduling) == (worked + 2, refused + 3))

    before = [client.ask(HELD)]
    await client.queued(1)
    before.append(client.ask(1))  # Triton takes one more out of its queue, for the moment the instance is free
    await client.queued(2)
    asked = []
    for number, priority in enumerate("9900"):
        asked.append(client.ask(1, x_priority=priority))
        await client.queued(3 + number)
    await asyncio.gather(*before)
    turns = [turn for _, turn in await asyncio.gather(*asked)]
    assert max(turns[2:]) < min(turns[:2])
