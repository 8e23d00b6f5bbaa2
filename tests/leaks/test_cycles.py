"""Requests that fail leave nothing to the garbage collector: what it has to find stops every other request."""

from __future__ import annotations

import asyncio
import gc
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any

import grpc.aio
import pytest
from tritonclient.grpc import service_pb2

from tests.features.conftest import Running, framed, packed, run
from tests.features.oip_server import Script, Server, Waiting, failing, resetting

pytestmark = pytest.mark.slow

POLICY = """
version: 1
backends:
  triton: {protocol: triton-http, endpoints: ["127.0.0.1:PORT", "127.0.0.1:OTHER"], max_in_flight: 1000, RULES}
models:
  digits:
    timeout: 5s
    variants: {fast: {backend: triton, model: digits_fast}, dear: {backend: triton, model: digits_accurate}}
    routes: [{name: dear, match: {header: {x-dear: "1"}}, use: dear}, {name: default, use: fast}]
    fallback: {dear: fast}
"""
RULES = "retry: {attempts: 2, budget: 100%}"
SCRIPTS: dict[str, Callable[[], Script]] = {"late": Waiting, "fails": lambda: failing(500), "resets": lambda: resetting}
REQUESTS = 4
ROOT = Path(__file__).parents[2]
OURS = ("gateway", "policies", "routing", "backends")
Ask = Callable[[dict[str, str]], Awaitable[None]]


@pytest.fixture
async def other() -> AsyncIterator[Server]:
    """The second server."""
    made = Server()
    await made.start()
    yield made
    await made.close()


@pytest.fixture
async def gate(tmp_path: Path, other: Server) -> AsyncIterator[Running]:
    """A gateway before two servers."""
    running = await run(tmp_path, POLICY.replace("OTHER", str(other.port)).replace("RULES", RULES))
    yield running
    await running.stop()


def over_http(gate: Running, **more: str) -> Ask:
    """A question on a connection of its own."""
    body, described = packed([0])

    async def ask(headers: dict[str, str]) -> None:
        await gate.ask("POST", "/v2/models/digits/infer", body, {**described, **headers, **more})

    return ask


def over_grpc(gate: Running) -> Ask:
    """The same over gRPC."""
    stub: Any = gate.stub()
    asked = service_pb2.ModelInferRequest(model_name="digits", raw_input_contents=[bytes(16)])
    asked.inputs.add(name="image", datatype="FP32", shape=[1, 4])
    credential = (("x-api-key", gate.keys["free"]),)

    async def ask(headers: dict[str, str]) -> None:
        with suppress(grpc.aio.AioRpcError):
            await stub.ModelInfer(asked, metadata=(*((name.lower(), value) for name, value in headers.items()), *credential))

    return ask


def left_by_http(gate: Running) -> Ask:
    """A question whose client leaves."""
    body, described = packed([0])

    async def ask(headers: dict[str, str]) -> None:
        _, writer = await asyncio.open_connection("127.0.0.1", gate.gateway.ports.http.port)
        writer.writelines(framed("POST", "/v2/models/digits/infer", {**gate.credential("free"), **described, **headers}, body))
        await asyncio.sleep(0.005)
        writer.transport.abort()

    return ask


async def circles(ask: Ask, headers: dict[str, str]) -> Counter[str]:
    """Functions of ours whose frames the collector has to find after some questions."""
    await ask(headers)  # what is made once
    await asyncio.sleep(0.02)
    gc.collect()
    gc.freeze()  # what is there already need not be walked again
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        for _ in range(REQUESTS):
            await ask(headers)
        await asyncio.sleep(0.02)  # everybody has noticed
        gc.collect()
        frames = [each.f_code for each in gc.garbage if isinstance(each, FrameType)]
        return Counter(
            code.co_qualname
            for code in frames
            if Path(code.co_filename).is_relative_to(ROOT) and Path(code.co_filename).relative_to(ROOT).parts[0] in OURS
        )
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.unfreeze()
        gc.enable()


@pytest.mark.parametrize("ends", list(SCRIPTS))
async def test_a_failure_leaves_no_circle(gate: Running, other: Server, ends: str) -> None:
    """However it fails, at one server, or at both with a fallback, whoever hears of it: nothing holds itself afterwards."""
    for servers, headers in (([other], {}), ([gate.backend, other], {"X-Dear": "1"})):
        for each in (gate.backend, other):
            each.scripts = dict.fromkeys(("digits_fast", "digits_accurate"), SCRIPTS[ends]()) if each in servers else {}
        for front in (over_http, over_grpc, left_by_http):
            asked = {**headers, "X-Request-Timeout-Ms": "20"}
            found = await circles(front(gate), asked)
            for _ in range(5):  # two things may end in the same moment, but not every time
                found = found and found & await circles(front(gate), asked)
            assert Counter() == found


@pytest.mark.parametrize("headers", [{"X-Request-Timeout-Ms": "x"}, {"X-API-Key": "no"}, {"X-Model-Version": "77"}])
async def test_a_refusal_leaves_none(gate: Running, headers: dict[str, str]) -> None:
    """Whoever is refused costs nothing afterwards."""
    for front in (over_http, over_grpc):
        assert Counter() == await circles(front(gate), headers)
