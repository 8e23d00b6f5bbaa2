"""A variant's own timeout: how long one ask of it may take, however long the whole answer may."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING

import grpc
import numpy as np
import pytest
from tritonclient.grpc import service_pb2 as pb

from tests.features.oip_server import Waiting

if TYPE_CHECKING:
    from tests.features.conftest import Running, Start

POLICY = """
version: 1
backends: {triton: {protocol: triton-http, endpoints: ["127.0.0.1:PORT"]}}
models:
  digits:
    timeout: 20s
    variants:
      fast: {backend: triton, model: digits_fast, cost: 1}
      balanced: {backend: triton, model: digits_balanced, cost: 6, timeout: 100ms}
      accurate: {backend: triton, model: digits_accurate, cost: 40, timeout: 100ms}
    routes:
      - name: cascade
        match: {header: {x-use: cascade}}
        cascade:
          confidence: {output: probabilities, metric: max-softmax}
          stages: [{use: fast, accept: 1.0}, {use: balanced}]
      - {name: alone, match: {header: {x-use: alone}}, use: balanced}
      - {name: hasty, match: {header: {x-use: hasty}}, use: accurate, timeout: 100ms}
      - {name: default, use: accurate}
    fallback: {accurate: fast}
"""


@pytest.fixture
async def gate(start: Start) -> Running:
    """Two variants that never answer."""
    gate = await start(POLICY)
    gate.backend.scripts.update(digits_balanced=Waiting(), digits_accurate=Waiting())
    return gate


async def over_grpc(gate: Running, use: str) -> dict[str, str]:
    """The metadata of the answer."""
    question = pb.ModelInferRequest(model_name="digits", raw_input_contents=[np.zeros((1, 4), "<f4").tobytes()])
    question.inputs.add(name="image", datatype="FP32", shape=[1, 4])
    call = gate.stub().ModelInfer(question, metadata=[("x-api-key", gate.keys["free"]), ("x-use", use)])
    await call
    return dict(await call.initial_metadata())


async def test_a_fallback_stands_in(gate: Running) -> None:
    """When the variant's own time is up and the answer's is not; the backend is left at once, the ask counts as a deadline."""
    before = monotonic()
    reply = await gate.infer([0])
    cost = reply.headers["x-penstock-cost"]  # 40 of it in vain
    assert (200, "fast", "41") == (reply.status, reply.headers["x-penstock-variant"], cost)
    assert "fast" == (await over_grpc(gate, "default"))["x-penstock-variant"]
    assert 0.19 <= monotonic() - before < 5
    waiting = gate.backend.scripts["digits_accurate"]
    assert isinstance(waiting, Waiting)
    await waiting.left.wait()
    metrics = await gate.metrics()
    assert 2 == metrics["penstock_fallbacks_total", ("digits", "accurate", "fast")]
    assert 2 == metrics["penstock_backend_requests_total", ("triton", f"127.0.0.1:{gate.backend.port}", "deadline")]


async def test_a_later_stage_is_skipped(gate: Running) -> None:
    """The rows keep the answer in hand."""
    reply = await gate.infer([0, 1], {"x-use": "cascade"})
    found = reply.headers["x-penstock-variant"], reply.headers["x-penstock-escalation"]
    assert (200, ("fast", "skipped;deadline"), [100, 101]) == (reply.status, found, reply.output("label"))
    assert "skipped;deadline" == (await over_grpc(gate, "cascade"))["x-penstock-escalation"]


async def test_without_either_it_is_a_deadline(gate: Running) -> None:
    """504 and DEADLINE_EXCEEDED, long before the whole answer's time is up."""
    before = monotonic()
    assert (504, "deadline") == (await gate.infer([0], {"x-use": "alone"})).error
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await over_grpc(gate, "alone")
    assert grpc.StatusCode.DEADLINE_EXCEEDED is caught.value.code()
    assert monotonic() - before < 5


async def test_the_whole_answer_s_end_is_no_reason_to_fall_back(gate: Running) -> None:
    """When both end at the same moment, or the client's own timeout is first, nobody waits for a fallback."""
    for headers in ({"x-use": "hasty"}, {"x-request-timeout-ms": "80"}):
        assert (504, "deadline") == (await gate.infer([0], headers)).error
    assert "digits_fast" not in [each.model for each in gate.backend.asked]


async def test_in_time_it_changes_nothing(gate: Running) -> None:
    """A variant that answers within its timeout answers."""
    gate.backend.scripts.clear()
    assert "accurate" == (await gate.infer([0])).headers["x-penstock-variant"]
    assert "fast→balanced" == (await gate.infer([0], {"x-use": "cascade"})).headers["x-penstock-escalation"]
