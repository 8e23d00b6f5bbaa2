"""A backend that is full: who waits, who is refused before his body is read, and who goes first."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import grpc.aio
import pytest
from tritonclient.grpc import service_pb2

from tests.features.conftest import PLAIN, Running, Start, framed, image, until
from tests.features.oip_server import Waiting

FULL = PLAIN.replace('PORT"]', 'PORT"], max_in_flight: 1')
HASTE = {"X-Request-Timeout-Ms": "1"}  # no time to wait for anybody
pytestmark = pytest.mark.slow


async def full(start: Start, policy: str = FULL) -> tuple[Running, Waiting, asyncio.Task[Any]]:
    """A gateway that knows how quick its backend is, and one question at the backend that holds the only place."""
    gate = await start(policy)
    for row in range(70):
        assert 200 == (await gate.infer([row])).status
    lane = gate.gateway.plane.snapshot.clusters["triton"].places.lane("digits_fast")
    lane.concurrency.pace, lane.concurrency.quickest = 0.002, 0.0
    gate.backend.scripts["digits_fast"] = waiting = Waiting()
    held = asyncio.create_task(gate.infer([0]))
    await until(lambda: 1 == gate.gateway.plane.snapshot.clusters["triton"].in_flight)
    return gate, waiting, held


async def test_a_refusal_comes_before_the_body(start: Start) -> None:
    """Only the head was sent; the body that follows is thrown away, and the connection goes on."""
    gate, waiting, held = await full(start)
    reader, writer = await asyncio.open_connection("127.0.0.1", gate.gateway.ports.http.port)
    body = b"x" * 100_000
    head, body = framed("POST", "/v2/models/digits/infer", {**gate.credential("free"), **HASTE}, body)
    writer.write(head)
    told = (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)).decode().lower()
    assert told.startswith("http/1.1 503 ")
    assert "x-penstock-error: max-in-flight\r\n" in told
    assert any(f"retry-after: {seconds}\r\n" in told for seconds in (1, 2, 3))
    text = await reader.readexactly(int(told.partition("content-length: ")[2].split("\r\n")[0]))
    assert b"try again" in text
    writer.write(body)
    writer.writelines(framed("GET", "/v2/health/live", {}))
    assert (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)).startswith(b"HTTP/1.1 200 ")
    writer.close()
    assert 1 == (await gate.metrics())["penstock_shed_total", ("max-in-flight",)]
    waiting.go.set()
    assert 200 == (await held).status


async def test_a_large_body_is_not_waited_for(start: Start) -> None:
    """It is refused, and its connection is closed."""
    gate, waiting, held = await full(start)
    reader, writer = await asyncio.open_connection("127.0.0.1", gate.gateway.ports.http.port)
    lines = framed("POST", "/v2/models/digits/infer", {**gate.credential("free"), **HASTE, "Content-Length": "9000000"})
    writer.writelines(lines)
    told = (await asyncio.wait_for(reader.read(), 5)).decode().lower()
    assert told.startswith("http/1.1 503 ")
    assert "connection: close\r\n" in told
    writer.close()
    waiting.go.set()
    assert 200 == (await held).status


async def test_over_grpc_it_is_the_same(start: Start) -> None:
    """UNAVAILABLE, with the reason and the pause in the trailers."""
    gate, waiting, held = await full(start)
    question = service_pb2.ModelInferRequest(model_name="digits")
    question.inputs.add(name="image", datatype="FP32", shape=[1, 4]).contents.fp32_contents.extend([1, 0, 0, 0])
    metadata = [(name.lower(), value) for name, value in {**gate.credential("free"), **HASTE}.items()]
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await gate.stub().ModelInfer(question, metadata=metadata, timeout=5)
    trailers = dict(caught.value.trailing_metadata() or ())
    assert (grpc.StatusCode.UNAVAILABLE, "max-in-flight") == (caught.value.code(), trailers["x-penstock-error"])
    assert trailers["retry-after"] in ("1", "2", "3")
    waiting.go.set()
    assert 200 == (await held).status


async def test_who_has_time_waits_and_the_better_priority_goes_first(start: Start) -> None:
    """Among those who may say so; a claim without the scope changes nothing."""
    gate, waiting, held = await full(start)
    asked = [(1, "free", "0"), (2, "free", "9"), (3, "free", ""), (4, "urgent", "1")]
    tasks = []
    lane = gate.gateway.plane.snapshot.clusters["triton"].places.lane("digits_fast")
    for row, caller, priority in asked:
        headers = {"X-Priority": priority} if priority else {}
        tasks.append(asyncio.create_task(gate.infer([row], headers, caller)))
        await until(lambda: len(lane.queue) == len(tasks))
    del gate.backend.scripts["digits_fast"]
    waiting.go.set()
    assert [200] * 5 == [(await each).status for each in (held, *tasks)]
    order = [int(each.inputs()["image"][0][0]) for each in gate.backend.asked[-4:]]
    assert [4, 1, 3, 2] == order


async def test_a_fallback_with_room_keeps_the_door_open(start: Start) -> None:
    """The question comes in, since another target can take it."""
    policy = FULL.replace("variants: {", "variants: {spare: {backend: other, model: digits_balanced}, ").replace(
        "backends: {", 'backends: {other: {protocol: triton-http, endpoints: ["127.0.0.1:PORT"]}, '
    )
    gate, waiting, held = await full(start, policy + "    fallback: {fast: spare}\n")
    reply = await gate.infer([7], {"X-Request-Timeout-Ms": "400"})
    assert (200, "spare") == (reply.status, reply.headers["x-penstock-variant"])
    waiting.go.set()
    assert 200 == (await held).status


async def test_a_later_stage_that_is_full_keeps_the_answer_in_hand(start: Start) -> None:
    """The cascade's first answer is given, and says that the rest was skipped."""
    policy = (
        PLAIN.replace("routes: [{name: default, use: fast}]", CASCADE)
        .replace("variants: {", "variants: {dear: {backend: dear, model: digits_accurate, cost: 9}, ")
        .replace("backends: {", 'backends: {dear: {protocol: triton-http, max_in_flight: 1, endpoints: ["127.0.0.1:PORT"]}, ')
    )
    gate = await start(policy)
    gate.backend.scripts["digits_accurate"] = waiting = Waiting()
    held = asyncio.create_task(gate.infer([1]))
    await until(lambda: 1 == gate.gateway.plane.snapshot.clusters["dear"].in_flight)
    reply = await gate.infer([2], {"X-Request-Timeout-Ms": "300"})
    assert (200, "skipped;error") == (reply.status, reply.headers["x-penstock-escalation"])
    assert [image([2])["data"][0][0] + 100] == reply.output("label")
    waiting.go.set()
    assert 200 == (await held).status


CASCADE = """
    routes:
      - name: default
        cascade:
          confidence: {output: probabilities, metric: max-softmax}
          stages: [{use: fast, accept: 0.999}, {use: dear}]
"""
