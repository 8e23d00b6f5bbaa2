"""Several servers as one backend: failures are asked once more elsewhere, slow ones hedged, tenants kept with one server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING

import grpc
import numpy as np
import pytest
from tritonclient.grpc import service_pb2

from tests.features.conftest import until
from tests.features.oip_server import Script, Server, Waiting, failing, resetting, saying

if TYPE_CHECKING:
    from tests.features.conftest import Running, Start

POLICY = """
version: 1
backends:
  triton: {protocol: triton-http, endpoints: ["127.0.0.1:PORT", "127.0.0.1:OTHER"], balance: round-robin, RULES}
models:
  digits:
    timeout: 5s
    variants: {fast: {backend: triton, model: digits_fast, cost: 1}}
    routes: [{name: default, use: fast}]
"""
RETRY = "retry: {attempts: 2, budget: 100%}"
Pair = Callable[[str], Awaitable[tuple["Running", Server]]]


@pytest.fixture
async def pair(start: Start) -> AsyncIterator[Pair]:
    """A gateway before two servers that follow the same scripts; the second one is returned beside it."""
    other = Server()
    await other.start()

    async def begin(rules: str) -> tuple[Running, Server]:
        return await start(POLICY.replace("OTHER", str(other.port)).replace("RULES", rules)), other

    yield begin
    await other.close()


@pytest.mark.parametrize("script", [failing(500), failing(503), failing(429), resetting, saying(b"garbage\r\n\r\n")])
async def test_a_failure_of_one_server_is_the_other_s_answer(pair: Pair, script: Script) -> None:
    """Whatever kind of failure, as long as no part of an answer was passed on."""
    gate, other = await pair(RETRY)
    other.scripts["digits_fast"] = script
    replies = [await gate.infer([7]) for _ in range(6)]
    assert {200} == {reply.status for reply in replies}
    assert [107] == replies[0].output("label")
    repeats = (await gate.metrics())["penstock_repeats_total", ("triton", "retry")]
    assert len(other.asked) >= repeats >= 3  # more where a kept connection was reset: as good as refused


async def test_over_grpc_too(pair: Pair) -> None:
    """The same policy stands behind both fronts, unary and streaming."""
    gate, other = await pair(RETRY)
    other.scripts["digits_fast"] = failing(500)
    request = service_pb2.ModelInferRequest(model_name="digits")
    request.inputs.add(name="image", datatype="FP32", shape=[1, 4])
    request.raw_input_contents.append(np.zeros((1, 4), "<f4").tobytes())
    metadata = tuple((name.lower(), value) for name, value in gate.credential("free").items())
    for _ in range(4):
        await gate.stub().ModelInfer(request, metadata=metadata)
        async for answer in gate.stub().ModelStreamInfer(iter([request]), metadata=metadata):
            assert "" == answer.error_message
    keyed = (*metadata, ("idempotency-key", "once"))
    codes = set()
    for _ in range(2):
        try:
            await gate.stub().ModelInfer(request, metadata=keyed)
        except grpc.aio.AioRpcError as error:
            codes.add(error.code())
    assert {grpc.StatusCode.UNAVAILABLE} == codes


@pytest.mark.parametrize(("rules", "headers"), [("", {}), (RETRY, {"Idempotency-Key": "once"})])
async def test_what_nobody_allowed_is_not_repeated(pair: Pair, rules: str, headers: dict[str, str]) -> None:
    """Without `retry`, and for a client that says once is enough; the server is given the client's key."""
    gate, other = await pair(f"max_in_flight: 8, {rules or 'breaker: {failures: 100}'}")
    other.scripts["digits_fast"] = failing(500)
    statuses = [(await gate.infer([0], headers)).status for _ in range(4)]
    assert [200, 200, 502, 502] == sorted(statuses)
    assert 4 == len(gate.backend.asked) + len(other.asked)
    assert {headers.get("Idempotency-Key")} == {each.headers.get("idempotency-key") for each in other.asked}


async def test_a_client_s_mistake_is_not_repeated(pair: Pair) -> None:
    """It would be one anywhere."""
    gate, other = await pair(RETRY)
    gate.backend.scripts["digits_fast"] = other.scripts["digits_fast"] = failing(400, "your mistake")
    assert 400 == (await gate.infer([0])).status
    assert 1 == len(gate.backend.asked) + len(other.asked)


async def test_an_ejected_server_is_left_alone(pair: Pair) -> None:
    """After two failures nobody asks it any more; that the checks are answered changes nothing for the model that fails."""
    gate, other = await pair(f"breaker: {{failures: 2, open: 1m}}, health: {{interval: 50ms}}, {RETRY}")
    other.scripts["digits_fast"] = failing(500)
    for _ in range(12):
        assert 200 == (await gate.infer([0])).status
    assert 2 == len(other.asked)


async def test_a_server_that_is_not_ready_is_passed_over(pair: Pair) -> None:
    """Without one failure: the checks tell, and they tell when it is back."""
    gate, other = await pair("health: {interval: 20ms}")
    other.ready = False
    endpoint = gate.gateway.plane.snapshot.clusters["triton"].endpoints[1]
    await until(lambda: not endpoint.sound)
    for _ in range(6):
        assert 200 == (await gate.infer([0])).status
    assert [] == other.asked
    other.ready = True
    async with asyncio.timeout(5):
        while not other.asked:
            await gate.infer([0])


async def test_a_server_that_hangs_costs_half_the_time(pair: Pair) -> None:
    """The other server's answer comes in time, and the one that hangs is let go."""
    gate, other = await pair(RETRY)
    waiting = other.scripts["digits_fast"] = Waiting()
    for _ in range(2):
        reply = await gate.infer([7], {"X-Request-Timeout-Ms": "400"})
        assert (200, [107]) == (reply.status, reply.output("label"))
    async with asyncio.timeout(5):
        await waiting.left.wait()
    found = await gate.metrics()
    assert 1 == found["penstock_repeats_total", ("triton", "late")]
    assert 1 == found["penstock_backend_requests_total", ("triton", f"127.0.0.1:{other.port}", "overtaken")]


async def test_a_slow_server_is_hedged(pair: Pair) -> None:
    """After the usual time, which is far from half the time."""
    gate, other = await pair("hedge: {after: p95, budget: 100%}")
    for _ in range(64):
        await gate.infer([0])
    waiting = other.scripts["digits_fast"] = Waiting()
    for _ in range(2):
        assert [107] == (await gate.infer([7])).output("label")
    async with asyncio.timeout(2):
        await waiting.left.wait()
    assert 1 <= (await gate.metrics())["penstock_repeats_total", ("triton", "hedge")]


async def test_a_tenant_keeps_its_server(start: Start) -> None:
    """Each of four tenants is always asked of the same server, and not all of the same."""
    servers = [Server() for _ in range(8)]
    for server in servers:
        await server.start()
    addresses = ", ".join(f'"127.0.0.1:{server.port}"' for server in servers)
    policy = POLICY.replace('"127.0.0.1:PORT", "127.0.0.1:OTHER"', addresses).replace("round-robin, RULES", "hash")
    gate = await start(policy)
    asked: dict[str, set[int]] = {}
    for caller in ("free", "enterprise", "digits-only"):
        for _ in range(5):
            before = [len(server.asked) for server in servers]
            await gate.infer([0], caller=caller)
            asked.setdefault(caller, set()).update(
                index for index, server in enumerate(servers) if len(server.asked) > before[index]
            )
    assert {1} == set(map(len, asked.values()))
    for server in servers:
        await server.close()


async def test_endpoints_in_the_metrics(start: Start) -> None:
    """One that is away counts 0 as soon as a check has found it so."""
    gate = await start(POLICY.replace("OTHER", "9").replace("RULES", "health: {interval: 20ms}"))
    there, away = (("penstock_endpoint_up", ("triton", f"127.0.0.1:{port}")) for port in (gate.backend.port, 9))
    found = await gate.metrics()
    async with asyncio.timeout(5):
        while found[away]:
            found = await gate.metrics()
    assert 1 == found[there]
