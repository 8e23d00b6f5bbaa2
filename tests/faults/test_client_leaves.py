"""Clients that hang up mid-request: the backend is told at once, nothing stays in flight, and the leaving is counted."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import grpc.aio
import numpy as np
import pytest
from tritonclient.grpc import service_pb2, service_pb2_grpc

from tests.faults.conftest import StartGateway
from tests.faults.silent import SilentGrpc, SilentHttp
from tests.faults.traffic import BODY, ROW
from tests.real_parts import GatewayProcess, Triton, passed_through, policy, until

pytestmark = pytest.mark.slow

AT_ONCE = 0.1  # seconds


@pytest.fixture
def own_gateway(silent: SilentHttp | SilentGrpc, start: StartGateway) -> GatewayProcess:
    """A gateway before the backend that never answers."""
    backends = {"triton": {"protocol": silent.protocol, "endpoints": [f"127.0.0.1:{silent.port}"]}}
    return start({"version": 1, "backends": backends, "models": {"simple": passed_through("simple", "triton", "30s")}})


async def ask_over_http(gateway: GatewayProcess) -> Callable[[], None]:
    """Sends a question; what is returned hangs up."""
    host, port = gateway.http.split(":")
    _, writer = await asyncio.open_connection(host, int(port))
    head = f"POST /v2/models/simple/infer HTTP/1.1\r\nHost: x\r\nX-API-Key: {gateway.key}\r\nContent-Length: {len(BODY)}\r\n\r\n"
    writer.write(head.encode() + BODY)
    await writer.drain()
    return writer.close


def question(**inputs: Any) -> Any:
    """A message for `simple`, or with inputs for `repeat_int32`."""
    if not inputs:
        request = service_pb2.ModelInferRequest(model_name="simple")
        for name in ("INPUT0", "INPUT1"):
            request.inputs.add(name=name, datatype="INT32", shape=[1, 16]).contents.int_contents.extend(ROW)
        return request
    request = service_pb2.ModelInferRequest(model_name="repeat_int32")
    for name, values in inputs.items():
        request.inputs.add(name=name, datatype="INT32" if name == "IN" else "UINT32", shape=[len(values)])
        request.raw_input_contents.append(np.array(values, "<i4").tobytes())
    return request


async def ask_over_grpc(gateway: GatewayProcess) -> Callable[[], None]:
    """The same over gRPC."""
    channel = grpc.aio.insecure_channel(gateway.grpc)
    call = service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelInfer(question(), metadata=tuple(gateway.credential.items()))

    def leave() -> None:
        call.cancel()

    return leave


ASK: dict[str, Callable[[GatewayProcess], Awaitable[Callable[[], None]]]] = {"http": ask_over_http, "grpc": ask_over_grpc}
LEFT = {"http": "499", "grpc": "CANCELLED"}


@pytest.mark.parametrize("front", ["http", "grpc"])
async def test_the_backend_hears_of_it_at_once(own_gateway: GatewayProcess, silent: SilentHttp | SilentGrpc, front: str) -> None:
    """Its connection is closed, or its call cancelled, within 100 ms; gauges go back and counters say what happened."""
    leave = await ASK[front](own_gateway)
    async with asyncio.timeout(5):
        await silent.asked.wait()
    assert 1 == own_gateway.metric("penstock_in_flight", backend="triton")
    leave()
    async with asyncio.timeout(AT_ONCE):
        await silent.left.wait()
    until(own_gateway.idle, 1)
    until(lambda: 1 == own_gateway.metric("penstock_requests_total", model="simple", code=LEFT[front]), 1)
    assert 1 == own_gateway.metric("penstock_abandoned_total", stage="backend")
    assert 1 == own_gateway.metric("penstock_abandoned_total", stage="request")
    assert 1 == own_gateway.metric("penstock_backend_requests_total", backend="triton", outcome="abandoned")


def threads(server: Triton, model: str) -> int:
    """How many threads the model's process has; `repeat_int32` sends every question's answers from one of its own."""
    children = Path(f"/proc/{server.process.pid}/task").glob("*/children")
    for process in (Path("/proc") / number for each in children for number in each.read_text().split()):
        if f"/{model}/" in (process / "cmdline").read_text():
            return len(list((process / "task").iterdir()))
    raise AssertionError(f"no process of {model}")


async def test_leaving_a_real_stream(own_triton: Triton, start: StartGateway) -> None:
    """The question of a stream that was cancelled ends at Triton, too: the model stops sending long before its last answer."""
    gateway = start(policy(own_triton, "triton-http"))
    resting = threads(own_triton, "repeat_int32")
    async with grpc.aio.insecure_channel(gateway.grpc) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        call = stub.ModelStreamInfer(metadata=tuple(gateway.credential.items()))
        await call.write(question(IN=list(range(1000)), DELAY=[20] * 1000, WAIT=[0]))  # 20 s of answers
        first = await call.read()
        assert b"\0\0\0\0" == first.infer_response.raw_output_contents[0]
        assert 1 == gateway.metric("penstock_in_flight", backend="streams")
        assert resting < threads(own_triton, "repeat_int32")
        call.cancel()
        until(gateway.idle, 0.5)
        until(lambda: resting == threads(own_triton, "repeat_int32"), 2)
    until(lambda: 1 == gateway.metric("penstock_abandoned_total", stage="request"), 1)
    assert 1 == gateway.metric("penstock_abandoned_total", stage="backend")
    assert 1 == gateway.metric("penstock_requests_total", model="repeat_int32", code="CANCELLED")
