"""Thousands of questions taken back in the middle: no answer is ever given to another's question, over HTTP and over gRPC."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import grpc.aio
import pytest
from tritonclient.grpc import service_pb2, service_pb2_grpc

from backends.cluster import Cluster
from backends.deadline import Deadline
from backends.inference import InferenceRequest, Tensors, TensorSpec
from backends.rules import Rules
from backends.tensors import Tensor
from gateway.compile import cluster
from gateway.snapshot import ClusterSpec
from tests.faults.figures import LONG, Figures

pytestmark = pytest.mark.slow

CANCELS = 10_000 if LONG else 500
AT_ONCE = 24
LONGEST = 0.01  # seconds that an answer takes, and that a client has patience
SPEC = (TensorSpec("x", "INT64", (1,)),)
OUTPUT = b'{"name":"x","datatype":"INT64","shape":[1],"parameters":{"binary_data_size":8}}'
ANSWER = b'{"model_name":"m","model_version":"1","outputs":[' + OUTPUT + b"]}"
HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nInference-Header-Content-Length: %d\r\n\r\n" % (len(ANSWER) + 8, len(ANSWER))

Ask = Callable[[bytes], Awaitable[bytes]]  # eight bytes there, eight bytes back
Serving = Callable[[], Any]


async def read(reader: asyncio.StreamReader) -> bytes:
    """The last eight bytes of the next message."""
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    length = int(head.partition(b"\r\ncontent-length: ")[2].partition(b"\r\n")[0])
    return (await reader.readexactly(length))[-8:]


@asynccontextmanager
async def over_http() -> AsyncIterator[int]:
    """A server that gives every question back after a random while."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            while True:
                asked = await read(reader)
                await asyncio.sleep(random.random() * LONGEST)
                writer.write(HEAD + ANSWER + asked)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1]
    server.close()


class Echo(service_pb2_grpc.GRPCInferenceServiceServicer):  # type: ignore[misc]  # published without types
    """The same over gRPC, one by one or on a stream."""

    async def ModelInfer(self, asked: Any, rpc: Any) -> Any:  # noqa: N802 - the protocol's name
        await asyncio.sleep(random.random() * LONGEST)
        answer = service_pb2.ModelInferResponse(model_name="m", raw_output_contents=asked.raw_input_contents)
        answer.outputs.add(name="x", datatype="INT64", shape=[1])
        return answer

    async def ModelStreamInfer(self, questions: Any, rpc: Any) -> Any:  # noqa: N802 - the protocol's name
        async for asked in questions:
            yield service_pb2.ModelStreamInferResponse(infer_response=await self.ModelInfer(asked, rpc))


@asynccontextmanager
async def over_grpc() -> AsyncIterator[int]:
    server = grpc.aio.server()
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(Echo(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield port
    await server.stop(None)


SERVERS: dict[str, Serving] = {"triton-http": over_http, "triton-grpc": over_grpc}


def asking(backend: Cluster) -> Ask:
    """Of the cluster, as the data plane asks it."""
    loop = asyncio.get_running_loop()

    async def ask(asked: bytes) -> bytes:
        request = InferenceRequest("m", "", "", {}, SPEC, (), Tensors((Tensor("x", "INT64", (1,), asked),)))
        response = await backend.infer(request, Deadline(loop.time() + 10))
        (tensor,) = response.payload.tensors()
        return bytes(tensor.data)

    return ask


@asynccontextmanager
async def naive_http(port: int) -> AsyncIterator[Ask]:
    """The control: takes a cancelled ask's connection back into its pool."""
    idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def ask(asked: bytes) -> bytes:
        reader, writer = idle.pop() if idle else await asyncio.open_connection("127.0.0.1", port)
        try:
            writer.write(b"POST / HTTP/1.1\r\nContent-Length: 8\r\n\r\n" + asked)
            return await read(reader)
        finally:
            idle.append((reader, writer))

    yield ask
    for _, writer in idle:
        writer.transport.abort()


class Stream:
    """One call that is kept, with the answer that is being read."""

    def __init__(self, call: Any) -> None:
        self._call = call
        self._writing = asyncio.Lock()
        self._reading: asyncio.Future[Any] | None = None

    async def ask(self, asked: bytes) -> bytes:
        await asyncio.shield(self._write(asked))
        if self._reading is None or self._reading.done():
            self._reading = asyncio.ensure_future(self._call.read())
        answer = await asyncio.shield(self._reading)
        return bytes(answer.infer_response.raw_output_contents[0])

    async def _write(self, asked: bytes) -> None:
        async with self._writing:
            await self._call.write(service_pb2.ModelInferRequest(raw_input_contents=[asked]))


@asynccontextmanager
async def naive_grpc(port: int) -> AsyncIterator[Ask]:
    """The control: keeps streams; a cancelled ask's stream is asked again while it still owes an answer."""
    channel = grpc.aio.insecure_channel(f"127.0.0.1:{port}")
    stub: Any = service_pb2_grpc.GRPCInferenceServiceStub(channel)
    idle: deque[Stream] = deque()

    async def ask(asked: bytes) -> bytes:
        stream = idle.popleft() if idle else Stream(stub.ModelStreamInfer())
        try:
            return await stream.ask(asked)
        finally:
            idle.append(stream)

    yield ask
    await channel.close()


NAIVE: dict[str, Callable[[int], Any]] = {"triton-http": naive_http, "triton-grpc": naive_grpc}


async def crossings(ask: Ask, cancels: int) -> tuple[int, int]:
    """Numbered asks until so many were cancelled, at random moments: how many answers were another's, and how many right."""
    crossed = right = cancelled = number = 0
    loop = asyncio.get_running_loop()

    async def asker() -> None:
        nonlocal crossed, right, cancelled, number
        while cancelled < cancels:
            number += 1
            asked = number.to_bytes(8, "little")
            task = asyncio.ensure_future(ask(asked))
            if random.random() < 0.6:
                loop.call_later(random.random() * LONGEST, task.cancel)
            try:
                got = await task
            except asyncio.CancelledError:
                cancelled += 1
            else:
                crossed += got != asked
                right += got == asked

    await asyncio.gather(*(asker() for _ in range(AT_ONCE)))
    return crossed, right


@pytest.mark.parametrize("spoken", list(SERVERS))
async def test_no_answer_is_another_s(figures: Figures, spoken: str) -> None:
    """0 of 10 000 cancelled questions leave their answer to somebody else, and nothing stays in flight."""
    async with SERVERS[spoken]() as port:
        backend = cluster(ClusterSpec("c", spoken, (("127.0.0.1", port),), "round-robin", Rules(AT_ONCE)), lambda *_: None)
        crossed, right = await crossings(asking(backend), CANCELS)
        figures.none_of("Cancellation", f"answers crossed, {spoken}, after {CANCELS} cancels", crossed, right)
        assert right > CANCELS / 4
        assert (0, 0) == (backend.in_flight, backend.endpoints[0].in_flight)
        await backend.close()


@pytest.mark.parametrize("spoken", list(SERVERS))
async def test_the_naive_way_crosses(figures: Figures, spoken: str) -> None:
    """The control: who takes back what still owes an answer gives one client another's, and this is seen."""
    async with SERVERS[spoken]() as port, NAIVE[spoken](port) as ask:
        crossed, _ = await crossings(ask, 100)
        figures.at_least("Cancellation", f"answers crossed, {spoken}, by a naive pool (control)", crossed, 1)
