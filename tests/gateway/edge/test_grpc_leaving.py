"""How the gRPC port is left: what is in flight or on the wire is answered, and an open stream holds nobody up."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio
import pytest
from tritonclient.grpc import service_pb2, service_pb2_grpc

from gateway.edge.grpc import GrpcLimits, GrpcListener, listen
from tests.gateway.edge.test_grpc import Recording, message

OWN_CONNECTION = (("grpc.use_local_subchannel_pool", 1),)


@pytest.fixture
async def app() -> Recording:
    """The application behind the port."""
    return Recording()


@pytest.fixture
async def listener(app: Recording) -> AsyncIterator[GrpcListener]:
    """An open port."""
    listener = await listen(app, "127.0.0.1", 0, GrpcLimits())
    yield listener
    await listener.drain(0)


@pytest.fixture
async def stub(listener: GrpcListener) -> AsyncIterator[Any]:
    """The bare service."""
    async with grpc.aio.insecure_channel(f"127.0.0.1:{listener.port}") as channel:
        yield service_pb2_grpc.GRPCInferenceServiceStub(channel)


async def test_drain_lets_calls_end(app: Recording, listener: GrpcListener, stub: Any) -> None:
    """While draining, what is in flight is answered, and soon what is new is refused."""
    app.hang = True
    call = stub.ModelInfer(message())
    await app.entered.wait()
    draining = asyncio.create_task(listener.drain(10))
    with contextlib.suppress(grpc.aio.AioRpcError):
        while (await stub.ServerLive(service_pb2.ServerLiveRequest(), timeout=1)).live:
            pass
    with pytest.raises(grpc.aio.AioRpcError, match="UNAVAILABLE"):
        await stub.ServerLive(service_pb2.ServerLiveRequest(), timeout=1)
    app.go.set()
    assert (await call).model_name == "m"
    await draining


async def test_drain_loses_no_call_on_the_wire(app: Recording) -> None:
    """Clients that ask without a pause are answered until they know, and then find nobody; no call is cut off."""
    told = set[str]()
    for _ in range(5):
        listener = await listen(app, "127.0.0.1", 0, GrpcLimits())

        async def ask(port: int) -> str:
            async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", OWN_CONNECTION) as channel:
                with contextlib.suppress(grpc.aio.AioRpcError):
                    while await (call := service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelInfer(message(), timeout=5)):
                        app.entered.set()
                return str((await call.code()).name)

        asking = [asyncio.create_task(ask(listener.port)) for _ in range(8)]
        await app.entered.wait()
        await listener.drain(5)
        told |= set(await asyncio.gather(*asking))
    assert {"UNAVAILABLE"} == told


async def test_an_open_stream_does_not_hold_up_the_end(app: Recording, listener: GrpcListener, stub: Any) -> None:
    """Its question is answered, it may ask another one for a while, and who asks nothing is told to open it anew."""
    stream = stub.ModelStreamInfer()
    await stream.write(message())
    await stream.read()
    draining = asyncio.create_task(listener.drain(30, idle=0.5))
    await asyncio.sleep(0)
    await stream.write(message(id="q2"))
    seen = set[str]()
    with contextlib.suppress(grpc.aio.AioRpcError):
        while True:
            seen.add((await stream.read()).infer_response.id)
    assert {"q", "q2"} == seen
    assert grpc.StatusCode.UNAVAILABLE is await stream.code()
    assert "this gateway is stopping: open the stream anew" == await stream.details()
    async with asyncio.timeout(5):
        await draining


async def test_drain_ends_after_its_grace(app: Recording, listener: GrpcListener, stub: Any) -> None:
    """What does not end in time is cancelled."""
    app.hang = True
    call = stub.ModelInfer(message())
    await app.entered.wait()
    await listener.drain(0.05)
    await app.left.wait()
    with pytest.raises(grpc.aio.AioRpcError):
        await call


async def test_answers_wait_while_clients_are_told(app: Recording, listener: GrpcListener, stub: Any) -> None:
    """Of calls and of streams: nothing of the library's may be half written then."""
    listener._calls.giving.clear()
    call, stream = stub.ModelInfer(message()), stub.ModelStreamInfer([message()])
    reading = asyncio.ensure_future(stream.read())
    while len(app.requests) < 2:  # noqa: ASYNC110
        await asyncio.sleep(0.001)
    await asyncio.wait((reading,), timeout=0.1)
    assert (False, False) == (call.done(), reading.done())
    listener._calls.giving.set()
    assert ("m", "m") == ((await call).model_name, (await reading).infer_response.model_name)
